//! The memory limit that a process runs under, and when it will be met.

use super::Process;
use serde::Serialize;

/// A control group's limit on memory.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Limits {
    /// The lowest limit on the way from the process's group to the root.
    pub(crate) cgroup_limit_bytes: u64,
    /// What that group uses, all its processes and caches included.
    pub(crate) cgroup_used_bytes: u64,
    /// Until the limit is met at the present growth; unknown where nothing grows.
    pub(crate) seconds_to_limit: Option<f64>,
}

impl Limits {
    /// A limit, at a growth of so many bytes a second.
    pub(crate) fn at_growth(limit: u64, used: u64, bytes_per_second: Option<f64>) -> Self {
        let room = limit.saturating_sub(used) as f64;
        Self {
            cgroup_limit_bytes: limit,
            cgroup_used_bytes: used,
            seconds_to_limit: bytes_per_second.filter(|&growth| growth >= 1.0).map(|growth| room / growth),
        }
    }
}

/// The growth that counts for the limit: the diagnosed one, which looks further back than the present rate.
pub(crate) fn growth(process: &Process) -> Option<f64> {
    let diagnosed = process.diagnosis.as_ref().and_then(|diagnosis| diagnosis.growth());
    diagnosed.or(process.rates.requested_growth_bytes_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_leads_to_a_limit() {
        assert_eq!(Limits::at_growth(1000, 400, Some(10.0)).seconds_to_limit, Some(60.0));
        assert_eq!(Limits::at_growth(1000, 2000, Some(10.0)).seconds_to_limit, Some(0.0));
        for standing in [None, Some(0.0), Some(-5.0)] {
            assert_eq!(Limits::at_growth(1000, 400, standing).seconds_to_limit, None);
        }
    }
}
