//! What `/proc` says of the target: cheap at every tick, dear ones by a throttle.

pub mod cgroup;
mod gauges;
mod inspector;
mod mappings;
mod own;
mod sampler;
mod throttle;

pub use cgroup::{Cgroup, CgroupError};
pub use gauges::{ClosingGauges, Gauges};
pub use mappings::{MappingsError, MappingsFile, mappings};
pub use own::{Own, own};
pub use sampler::{Sampler, Smaps};
pub use throttle::Throttle;

pub use crate::proc::{Mappings, Resident, Statm};
