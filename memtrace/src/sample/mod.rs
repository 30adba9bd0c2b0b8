//! What `/proc` says of the target: cheap at every tick, dear by ration.

mod ration;
mod sampler;

pub use ration::Ration;
pub use sampler::{Sampler, Smaps};

pub use crate::proc::{Resident, Statm};
