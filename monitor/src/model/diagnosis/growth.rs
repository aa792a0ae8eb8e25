//! Does it grow, and does that go on?

use super::rules::*;
use super::series::Rise;
use super::{Case, Finding, Kind, Numbers, blame};
use crate::model::Time;
use crate::model::time::NANOS;

/// The floor of the allocated bytes rises. Over five minutes and more that is a suspected leak, or a warming up; over
/// less it is only growth.
///
/// The whole history (two hours at most) is looked at first, then its second half, and so on, since a leak may begin
/// after a warming up. The shorter the stretch, the more evenly it must rise: growth that decays looks even from near.
/// What is too slow to be seen in two hours is looked for in the days before them.
pub(super) fn growth(case: &Case<'_>) -> Option<Finding> {
    let minute = case.evidence.rules.minute;
    let known = case.now().seconds_since(case.series.begin);
    let whole = known.min(LONGEST_GROWTH * minute);
    let leak = case.said(Kind::LeakSuspected);
    let mut slowing = None;
    let mut seconds = whole;
    while seconds >= SHORTEST_LEAK * minute {
        if let Some(found) = material(case, seconds, leak || case.said(Kind::WarmingUp)) {
            let even = threshold(EVEN_SLOPE, leak).powf(seconds / whole);
            if found.evenness >= even {
                return Some(finding(case, Kind::LeakSuspected, &found));
            }
            slowing = slowing.or(Some(found));
        }
        seconds /= 2.0;
    }
    if let Some(found) = slow_growth(case, leak) {
        return Some(finding(case, Kind::LeakSuspected, &found));
    }
    if let Some(found) = slowing {
        return Some(finding(case, Kind::WarmingUp, &found));
    }
    // The youngest growth: all of a short history, or the end of a long one. The segment's seconds are not quite two
    // minutes.
    let shortest = SHORTEST_LEAK * minute;
    let young = [known.min(shortest), case.series.fine_seconds(case.now()).min(2.0 * minute), minute];
    let young = young.into_iter().filter(|&seconds| seconds <= known);
    let found = young.filter_map(|seconds| material(case, seconds, case.said(Kind::Growing))).next()?;
    Some(finding(case, Kind::Growing, &case.series.since_its_begin(found, case.now(), shortest)))
}

/// The same over a week at most, and no less than some hours.
fn slow_growth(case: &Case<'_>, leak: bool) -> Option<Rise> {
    let hour = 60.0 * case.evidence.rules.minute;
    let whole = case.series.coarse_seconds(case.now());
    let mut seconds = whole;
    while seconds >= SHORTEST_SLOW_LEAK * hour {
        let found = case.series.slow_rise(case.now(), seconds, leak).filter(|rise| is_material(case, rise, leak));
        if let Some(found) = found.filter(|rise| rise.evenness >= threshold(EVEN_SLOPE, leak).powf(seconds / whole)) {
            return Some(found);
        }
        seconds /= 2.0;
    }
    None
}

fn material(case: &Case<'_>, seconds: f64, said: bool) -> Option<Rise> {
    case.series.rise(case.now(), seconds, said).filter(|rise| is_material(case, rise, said))
}

/// Whether a rise is worth a word, and still there: minutes and hours do not know yet what has been freed since the last one.
fn is_material(case: &Case<'_>, rise: &Rise, said: bool) -> bool {
    (threshold(case.material.growth(), said)..=case.material.allocated).contains(&rise.bytes())
}

fn finding(case: &Case<'_>, kind: Kind, rise: &Rise) -> Finding {
    let ago = |seconds: f64| Time(case.now().0.saturating_sub((seconds * NANOS as f64) as u64));
    let since = ago(rise.seconds);
    // The growth is counted from the floor of the first stretch.
    let change = blame::change_by_line(case, ago(rise.seconds * (1.0 - 1.0 / STRETCHES as f64)), rise.bytes());
    let classes = blame::fewest(change);
    let threads = blame::threads(case, &classes, blame::Over::Since(since));
    Finding {
        kind,
        since: Some(since),
        numbers: Numbers {
            bytes: Some(rise.bytes() as u64),
            share: Some(rise.bytes() / case.material.allocated.max(1.0)),
            bytes_per_second: Some(rise.per_second()),
            seconds: Some(rise.seconds),
            ..Numbers::default()
        },
        classes,
        threads,
    }
}
