//! What can be looked at, and how far back.

/// A tab of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tab {
    Overview,
    Classes,
    Threads,
    Large,
    Safety,
    Log,
}

impl Tab {
    /// All, in order.
    pub(super) const ALL: [Self; 6] =
        [Self::Overview, Self::Classes, Self::Threads, Self::Large, Self::Safety, Self::Log];

    /// As in the line of tabs.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Classes => "Classes",
            Self::Threads => "Threads",
            Self::Large => "Large",
            Self::Safety => "Safety",
            Self::Log => "Log",
        }
    }
}

/// How far back the graphs reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Window {
    TwoMinutes,
    TenMinutes,
    HalfHour,
    TwoHours,
    Day,
    Week,
}

impl Window {
    /// All, the shortest first.
    pub(super) const ALL: [Self; 6] =
        [Self::TwoMinutes, Self::TenMinutes, Self::HalfHour, Self::TwoHours, Self::Day, Self::Week];
}
