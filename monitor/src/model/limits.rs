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
    /// Whether that is the heap's growth alone: the rest of the process has not been watched for long enough.
    pub(crate) heap_growth_alone: bool,
}

/// The growth that leads to a limit, in bytes a second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Growth {
    /// The heap's.
    pub(crate) heap: Option<f64>,
    /// That of the rest of the process, where it is known.
    pub(crate) outside: Option<f64>,
}

impl Growth {
    /// The heap's as diagnosed, which looks further back than the present rate, and what was seen of the rest.
    pub(crate) fn of(process: &Process, outside: Option<f64>) -> Self {
        let diagnosed = process.diagnosis.as_ref().and_then(|diagnosis| diagnosis.growth());
        Self { heap: diagnosed.or(process.rates.requested_growth_bytes_per_second), outside }
    }

    /// Both. What shrinks may stop doing so, and is not set off.
    fn bytes_per_second(&self) -> f64 {
        self.heap.unwrap_or(0.0).max(0.0) + self.outside.unwrap_or(0.0).max(0.0)
    }
}

impl Limits {
    /// A limit, its group's use, and the time until it is met.
    pub(crate) fn at_growth(limit: u64, used: u64, growth: &Growth) -> Self {
        let room = limit.saturating_sub(used) as f64;
        let per_second = growth.bytes_per_second();
        Self {
            cgroup_limit_bytes: limit,
            cgroup_used_bytes: used,
            seconds_to_limit: (per_second >= 1.0).then(|| room / per_second),
            heap_growth_alone: growth.outside.is_none(),
        }
    }

    /// Which growth the time is counted at, in words.
    pub(crate) fn whose_growth(&self) -> &'static str {
        if self.heap_growth_alone { "at the heap's growth" } else { "at this growth" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_leads_to_a_limit() {
        let seconds = |used, heap, outside| Limits::at_growth(1000, used, &Growth { heap, outside }).seconds_to_limit;
        assert_eq!(seconds(400, Some(10.0), None), Some(60.0));
        assert_eq!(seconds(2000, Some(10.0), None), Some(0.0));
        for standing in [None, Some(0.0), Some(-5.0)] {
            assert_eq!(seconds(400, standing, None), None);
            assert_eq!(seconds(400, standing, standing), None);
        }
    }

    #[test]
    fn memory_that_grows_outside_the_heap_counts_for_the_limit_as_well() {
        let at = |heap, outside| Limits::at_growth(1000, 400, &Growth { heap, outside });
        assert_eq!(at(Some(10.0), Some(20.0)).seconds_to_limit, Some(20.0));
        assert_eq!(at(None, Some(20.0)).seconds_to_limit, Some(30.0));
        assert_eq!(at(Some(10.0), Some(-30.0)).seconds_to_limit, Some(60.0));
        assert_eq!(at(Some(-30.0), Some(10.0)).seconds_to_limit, Some(60.0));
        assert!(at(Some(10.0), None).heap_growth_alone && !at(Some(10.0), Some(0.0)).heap_growth_alone);
    }
}
