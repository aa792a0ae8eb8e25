//! The thresholds that the diagnosis goes by. README lists the same.

/// A size is worth a word from so many bytes,
const SIZE_BYTES: f64 = 8.0 * MIB;
/// and from this share of the resident heap.
const SIZE_SHARE: f64 = 0.10;
/// Growth is worth a word from so many bytes,
const GROWTH_BYTES: f64 = 4.0 * MIB;
/// and from this share of the allocated bytes.
const GROWTH_SHARE: f64 = 0.05;
/// What was said is withdrawn only below this part of the threshold.
const LEFT_AT: f64 = 0.8;
const MIB: f64 = 1_048_576.0;

/// Memory outside the heap: from this share of the RSS,
pub(super) const NOT_HEAP_SHARE: f64 = 0.50;
/// and from so many bytes;
pub(super) const NOT_HEAP_BYTES: f64 = 64.0 * MIB;
/// or this share of the RSS's growth.
pub(super) const NOT_HEAP_GROWTH_SHARE: f64 = 0.80;
/// A leak leads before memory outside the heap that was not seen to grow, from this share of the RSS in the heap.
pub(super) const LEADING_SHARE: f64 = 0.05;
/// Pinned bytes, cached bytes: this share of the resident heap. Rounding: this share of the allocated bytes.
pub(super) const FRAGMENTED_SHARE: f64 = 0.25;
/// Churn: net change over bytes freed at most this, and so many allocations a second.
pub(super) const CHURN_NET_SHARE: f64 = 0.01;
pub(super) const CHURN_ALLOCATIONS: f64 = 50_000.0;
/// So many threads end in a second, for as long as rates are taken over.
pub(super) const THREAD_ENDS: f64 = 10.0;
/// Stranded bytes: this share of the allocated ones.
pub(super) const STRANDED_SHARE: f64 = 0.10;
/// Allocated bytes that move by no more than this share are stable.
pub(super) const STABLE_RANGE: f64 = 0.02;
/// Growth goes on evenly if its last third is at least this part of its first third.
pub(super) const EVEN_SLOPE: f64 = 0.50;
/// Stretches of time into which growth is cut, and with how few it makes do where there are not enough points.
pub(super) const STRETCHES: usize = 10;
pub(super) const FEWEST_STRETCHES: usize = 5;
/// A step rises if it is at least this part of the mean step.
pub(super) const RISING_STEP: f64 = 0.10;
/// The longest and the shortest time that a leak is seen in, in minutes.
pub(super) const LONGEST_GROWTH: f64 = 120.0;
pub(super) const SHORTEST_LEAK: f64 = 5.0;
/// The shortest time that a slow one is seen in, in hours.
pub(super) const SHORTEST_SLOW_LEAK: f64 = 6.0;
/// Blame: classes that explain this share, so many at most.
pub(super) const BLAMED_SHARE: f64 = 0.80;
pub(super) const MOST_BLAMED: usize = 3;

/// How the rules see time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Rules {
    /// Seconds in the rules' minute: 60, less where a test has no minutes to wait.
    pub(crate) minute: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { minute: 60.0 }
    }
}

/// What is material for one heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    /// Resident bytes of the heap.
    pub(super) heap: f64,
    /// Allocated bytes.
    pub(super) allocated: f64,
}

impl Material {
    /// From which size on something is worth a word.
    pub(super) fn size(&self) -> f64 {
        SIZE_BYTES.max(SIZE_SHARE * self.heap)
    }

    /// From which growth on.
    pub(super) fn growth(&self) -> f64 {
        GROWTH_BYTES.max(GROWTH_SHARE * self.allocated)
    }

    /// The same of resident memory, as it stands for what was `said`.
    pub(super) fn filling(&self, said: bool) -> f64 {
        threshold(GROWTH_BYTES.max(GROWTH_SHARE * self.heap), said)
    }
}

/// A threshold as it stands for what was (`said`), or was not, said the last time.
pub(super) fn threshold(full: f64, said: bool) -> f64 {
    if said { full * LEFT_AT } else { full }
}
