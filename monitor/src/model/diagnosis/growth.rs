//! Does it grow, and does that go on?

use super::rules::*;
use super::series::{Cuts, Rise};
use super::{Case, Finding, Kind, Numbers, blame};
use crate::model::Time;
use crate::model::time::NANOS;

/// The floor of the allocated bytes rises. Over five minutes and more that is a suspected leak, or a warming up; over
/// less it is only growth.
///
/// The whole history (two hours at most) is looked at first, then its second half, and so on, since a leak may begin
/// after a warming up. The shorter a stretch is beside the longest that rises, the more evenly it must do so: growth that
/// decays looks even from near. What is too slow to be seen in two hours is looked for in the days before them.
///
/// What has climbed like that before and came back, as a batch does, is only growing until it has gone further.
pub(super) fn growth(case: &Case<'_>) -> Option<Finding> {
    let minute = case.evidence.rules.minute;
    let known = case.now().seconds_since(case.series.begin);
    let whole = known.min(LONGEST_GROWTH * minute);
    let leak = case.said(Kind::LeakSuspected);
    let (mut slowing, mut again, mut longest) = (None, None, None);
    let mut seconds = whole;
    while seconds >= SHORTEST_LEAK * minute {
        let cuts = Cuts { said: leak || case.said(Kind::WarmingUp), stairs: true };
        let going_on = |rise: &Rise| !case.series.has_stopped(rise, case.now(), minute, cuts.said);
        if let Some(found) = material(case, seconds, cuts).filter(going_on) {
            let even = threshold(EVEN_SLOPE, leak).powf(seconds / *longest.get_or_insert(seconds));
            let before = if leak { None } else { case.series.came_back_from(&found, case.now()) };
            match before {
                Some(top) => again = again.or(Some((found, top))),
                None if found.evenness >= even => return Some(finding(case, Kind::LeakSuspected, &found)),
                None => slowing = slowing.or(Some(found)),
            }
        }
        seconds /= 2.0;
    }
    if let Some(found) = slow_growth(case, leak) {
        return Some(finding(case, Kind::LeakSuspected, &found));
    }
    if let Some(found) = slowing {
        return Some(finding(case, Kind::WarmingUp, &found));
    }
    if let Some((found, top)) = again {
        let mut finding = finding(case, Kind::Growing, &found);
        finding.numbers.high_bytes = Some(top as u64);
        return Some(finding);
    }
    // The youngest growth: all of a short history, or the end of a long one. The segment's seconds are not quite two
    // minutes.
    let shortest = SHORTEST_LEAK * minute;
    let young = [known.min(shortest), case.series.fine_seconds(case.now()).min(2.0 * minute), minute];
    let young = young.into_iter().filter(|&seconds| seconds <= known);
    let young_cuts = Cuts { said: case.said(Kind::Growing), stairs: false };
    let found = young.filter_map(|seconds| material(case, seconds, young_cuts)).next()?;
    Some(finding(case, Kind::Growing, &case.series.since_its_begin(found, case.now(), shortest)))
}

/// The same over a week at most, and no less than some hours.
fn slow_growth(case: &Case<'_>, leak: bool) -> Option<Rise> {
    let hour = 60.0 * case.evidence.rules.minute;
    let whole = case.series.coarse_seconds(case.now());
    let mut seconds = whole;
    while seconds >= SHORTEST_SLOW_LEAK * hour {
        let even = threshold(EVEN_SLOPE, leak).powf(seconds / whole);
        let found = case.series.slow_rise(case.now(), seconds, leak).filter(|rise| {
            is_material(case, rise, leak)
                && rise.evenness >= even
                && !case.series.has_stopped_slowly(rise, case.now(), hour, leak)
        });
        if found.is_some() {
            return found;
        }
        seconds /= 2.0;
    }
    None
}

fn material(case: &Case<'_>, seconds: f64, cuts: Cuts) -> Option<Rise> {
    case.series.rise(case.now(), seconds, cuts).filter(|rise| is_material(case, rise, cuts.said))
}

/// Whether a rise is worth a word, and still there: minutes and hours do not know yet what has been freed since the last one.
fn is_material(case: &Case<'_>, rise: &Rise, said: bool) -> bool {
    (threshold(case.material.growth(), said)..=case.material.allocated).contains(&rise.bytes())
}

fn finding(case: &Case<'_>, kind: Kind, rise: &Rise) -> Finding {
    let ago = |seconds: f64| Time(case.now().0.saturating_sub((seconds * NANOS as f64) as u64));
    let since = ago(rise.seconds);
    // The growth is counted from the floor of the first stretch to that of the last.
    let stretch = rise.seconds / STRETCHES as f64;
    let from = blame::End { begin: since, end: ago(rise.seconds - stretch), bytes: rise.from.bytes };
    let to = blame::End { begin: ago(stretch), end: case.now(), bytes: rise.to.bytes };
    let change = blame::change_by_line(case, from, to, rise.bytes());
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
