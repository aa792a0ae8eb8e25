//! Points in time, as the segment and the JSON have them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, UTC. Shown as RFC 3339 with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    /// The present.
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// `seconds` later.
    pub(crate) fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS)))
    }

    /// Seconds from `earlier` to this; 0 where that lies later.
    pub(crate) fn seconds_since(self, earlier: Self) -> f64 {
        Duration::from_nanos(self.0.saturating_sub(earlier.0)).as_secs_f64()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A u64 of nanoseconds ends in the year 2554: always within what RFC 3339 can say.
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(self.0)).fmt(out)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Nanoseconds in a second.
pub(crate) const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_utc_with_milliseconds_up_to_the_last_one() {
        assert_eq!(Time(1_769_860_800_123_999_999).to_string(), "2026-01-31T12:00:00.123Z");
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(u64::MAX).to_string(), "2554-07-21T23:34:33.709Z");
    }
}
