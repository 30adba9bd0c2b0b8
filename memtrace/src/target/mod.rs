//! The process that is traced: who it is, and whether it still is.

mod find;
mod look;
mod spawn;
mod user;

pub use find::{Target, TargetError};
pub use look::LiveProcess;
pub use spawn::{Held, Rights, SpawnError, Spawned};
pub use user::{Invoker, invoker};
