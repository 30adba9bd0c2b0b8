//! What `/proc` says of the target: cheap at every tick, dear by ration.

pub mod cgroup;
mod own;
mod ration;
mod sampler;

pub use cgroup::Cgroup;
pub use own::{Own, own};
pub use ration::Ration;
pub use sampler::{Sampler, Smaps};

pub use crate::proc::{Resident, Statm};
