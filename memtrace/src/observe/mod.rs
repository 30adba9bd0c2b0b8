//! What `/proc` says of the target: cheap at every tick, dear by ration.

pub mod cgroup;
mod gauges;
mod inspector;
mod mappings;
mod own;
mod ration;
mod sampler;

pub use cgroup::Cgroup;
pub use gauges::{ClosingGauges, Gauges};
pub use mappings::{MappingsFile, mappings};
pub use own::{Own, own};
pub use ration::Ration;
pub use sampler::{Sampler, Smaps};

pub use crate::proc::{Mappings, Resident, Statm};
