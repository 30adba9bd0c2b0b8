//! The process that is traced: who it is, and whether it still is.

mod find;
pub mod limits;
mod spawn;

pub use find::living_thread;
pub use find::{Target, TargetError};
pub use spawn::{Held, Rights, SpawnError, Spawned};
