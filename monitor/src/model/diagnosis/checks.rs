//! Every rule but that of growth. Each says what it has found, or nothing.

use super::blame::Over;
use super::rules::*;
use super::{Case, Finding, Footprint, Kind, Numbers, blame, earliest, series};
use crate::model::lines::Line;
use crate::model::threads::RATE_AGE;
use crate::model::{Point, Time};

/// Most of the process's memory, or of its growth, is not the heap's.
pub(super) fn not_heap(case: &Case<'_>) -> Option<Finding> {
    let totals = &case.process.totals;
    let (rss, heap) = (totals.rss_bytes? as f64, totals.resident_bytes? as f64);
    let said = case.said(Kind::NotHeap);
    let outside = rss - heap;
    let is_large = outside >= threshold(NOT_HEAP_SHARE * rss, said)
        && outside >= threshold(NOT_HEAP_BYTES.max(case.material.size()), said);
    let growth = outside_growth(case, said);
    if !is_large && growth.is_none() {
        return None;
    }
    let (bytes, seconds, per_second) = match growth {
        Some((bytes, seconds)) => (bytes, Some(seconds), Some(bytes / seconds)),
        None => (outside, None, None),
    };
    let bytes = if is_large { outside } else { bytes };
    Some(Finding {
        kind: Kind::NotHeap,
        since: None,
        numbers: Numbers {
            bytes: Some(bytes.max(0.0) as u64),
            share: Some(outside / rss.max(1.0)),
            bytes_per_second: per_second,
            seconds,
            file_bytes: totals.rss_file_bytes,
            ..Numbers::default()
        },
        classes: Vec::new(),
        threads: Vec::new(),
    })
}

/// Growth outside the heap over the time since the earliest look of the last minutes, and that time: where it is most
/// of the whole growth.
fn outside_growth(case: &Case<'_>, said: bool) -> Option<(f64, f64)> {
    let first = earliest(case.evidence.footprints, case.now(), &case.evidence.rules)?;
    let seconds = case.now().seconds_since(first.time);
    let totals = &case.process.totals;
    let (rss, heap) = (totals.rss_bytes? as f64, totals.resident_bytes? as f64);
    let (grown, by_heap) = (rss - first.rss as f64, heap - first.heap as f64);
    let material = threshold(case.material.growth(), said).max(threshold(0.05 * rss, said));
    let outside = grown - by_heap.max(0.0);
    (grown >= material && outside >= threshold(NOT_HEAP_GROWTH_SHARE, said) * grown).then_some((outside, seconds))
}

/// The heap's memory grows, and what it holds does not: blocks that were allocated before are being touched.
pub(super) fn filling(case: &Case<'_>) -> Option<Finding> {
    let said = case.said(Kind::Filling);
    let first = earliest(case.evidence.footprints, case.now(), &case.evidence.rules)?;
    let seconds = case.now().seconds_since(first.time);
    let present = Footprint::of(case.process, case.now())?;
    let grown = present.heap as f64 - first.heap as f64;
    let filled = grown - (present.held as f64 - first.held as f64).max(0.0);
    if grown < case.material.filling(said) || filled < threshold(NOT_HEAP_GROWTH_SHARE, said) * grown {
        return None;
    }
    let blamed = blame::fewest(blame::allocated(case.process));
    let threads = blame::threads(case, &blamed, Over::All);
    Some(Finding {
        kind: Kind::Filling,
        since: None,
        numbers: Numbers {
            bytes: Some(filled as u64),
            share: Some(filled / case.material.heap.max(1.0)),
            bytes_per_second: Some(filled / seconds),
            seconds: Some(seconds),
            ..Numbers::default()
        },
        classes: blamed,
        threads,
    })
}

/// Free blocks between live ones take much of the heap, all the time.
pub(super) fn fragmentation(case: &Case<'_>) -> Option<Finding> {
    let (least, since) = held(case, Kind::Fragmentation, case.evidence.rules.minute, |point| point.pinned_bytes)?;
    let classes = case.process.size_classes.iter().flatten();
    let pinned = classes.clone().map(|class| (Line::class(class.block_size), class.pinned_bytes));
    let blamed = blame::fewest(pinned.collect());
    let first = blamed.first().and_then(|first| {
        case.process.size_classes.iter().flatten().find(|class| Some(class.block_size) == first.line.block_size)
    });
    let threads = blame::threads(case, &blamed, Over::All);
    Some(Finding {
        kind: Kind::Fragmentation,
        since: Some(since),
        numbers: Numbers {
            bytes: Some(least),
            share: Some(least as f64 / case.material.heap.max(1.0)),
            live_blocks: first.map(|class| class.live_blocks),
            carved_blocks: first.map(|class| class.live_blocks.saturating_add(class.free_list_length)),
            slabs: first.map(|class| class.slabs),
            ..Numbers::default()
        },
        classes: blamed,
        threads,
    })
}

/// The blocks are much larger than what was asked for.
pub(super) fn rounding(case: &Case<'_>) -> Option<Finding> {
    let said = case.said(Kind::Rounding);
    let totals = &case.process.totals;
    let (allocated, requested) = (totals.allocated_bytes?, totals.requested_bytes?);
    let rounding = allocated.saturating_sub(requested);
    let share = rounding as f64 / case.material.allocated.max(1.0);
    if share < threshold(FRAGMENTED_SHARE, said) || (rounding as f64) < threshold(case.material.size(), said) {
        return None;
    }
    let classes = case.process.size_classes.iter().flatten();
    let parts = classes
        .map(|class| (Line::class(class.block_size), class.allocated_bytes.saturating_sub(class.requested_bytes)));
    let blamed = blame::fewest(parts.collect());
    let threads = blame::threads(case, &blamed, Over::All);
    Some(Finding {
        kind: Kind::Rounding,
        since: None,
        numbers: Numbers { bytes: Some(rounding), share: Some(share), ..Numbers::default() },
        classes: blamed,
        threads,
    })
}

/// Free memory is kept for longer than it should: nothing has called for its return, or it is replaced all the time.
pub(super) fn cache(case: &Case<'_>) -> Option<Finding> {
    let decay = case.process.decay_seconds;
    let time = decay.map_or(case.evidence.rules.minute, |decay| (2.0 * decay).max(1.0));
    let (least, since) = held(case, Kind::Cache, time, |point| point.cached_bytes)?;
    Some(Finding {
        kind: Kind::Cache,
        since: Some(since),
        numbers: Numbers {
            bytes: Some(least),
            share: Some(least as f64 / case.material.heap.max(1.0)),
            seconds: decay,
            ..Numbers::default()
        },
        classes: Vec::new(),
        threads: Vec::new(),
    })
}

/// The least of a figure over the last `seconds`, where that is much of the heap; and since when it has been so much.
fn held(case: &Case<'_>, kind: Kind, seconds: f64, figure: fn(&Point) -> u64) -> Option<(u64, Time)> {
    let said = case.said(kind);
    let least = threshold(FRAGMENTED_SHARE * case.material.heap, said).max(threshold(case.material.size(), said));
    let enough = |point: &Point| figure(point) as f64 >= least;
    let recent = series::last(&case.series.all, seconds);
    if !recent.iter().all(enough) {
        return None;
    }
    let since = case.series.all.iter().rev().take_while(|point| enough(point)).last()?.time;
    Some((recent.iter().map(figure).min()?, since))
}

/// All that the heap holds is freed and allocated anew within a second.
pub(super) fn churn(case: &Case<'_>) -> Option<Finding> {
    let said = case.said(Kind::Churn);
    let (first, last) = (case.recent().first()?, case.recent().last()?);
    let seconds = last.time.seconds_since(first.time);
    let requested = last.cumulative_requested_bytes.checked_sub(first.cumulative_requested_bytes)? as f64;
    let net = last.requested_bytes as f64 - first.requested_bytes as f64;
    let freed = (requested - net) / seconds;
    let allocations = last.allocations.checked_sub(first.allocations)? as f64 / seconds;
    let net_limit = CHURN_NET_SHARE / threshold(1.0, said);
    let churns = freed >= threshold(case.material.allocated, said)
        && net.abs() / seconds <= net_limit * freed
        && allocations >= threshold(CHURN_ALLOCATIONS, said);
    if !churns || seconds <= 0.0 {
        return None;
    }
    let classes = case.process.size_classes.iter().flatten();
    let turnover = classes.map(|class| (Line::class(class.block_size), class.cumulative_requested_bytes));
    let blamed = blame::fewest(turnover.collect());
    let threads = blame::threads(case, &blamed, Over::Since(Time(0)));
    Some(Finding {
        kind: Kind::Churn,
        since: None,
        numbers: Numbers {
            bytes_per_second: Some(freed),
            allocations_per_second: Some(allocations),
            seconds: Some(seconds),
            ..Numbers::default()
        },
        classes: blamed,
        threads,
    })
}

/// Threads end all the time: a few that end together, once, are none of that.
pub(super) fn thread_churn(case: &Case<'_>) -> Option<Finding> {
    let threads = case.process.threads.as_ref()?;
    let enough = threads.ended_lately >= threshold(THREAD_ENDS * RATE_AGE, case.said(Kind::ThreadChurn));
    enough.then(|| Finding {
        kind: Kind::ThreadChurn,
        since: None,
        // Over as long as it is judged by: the present rate may be that of an instant.
        numbers: Numbers { thread_ends_per_second: Some(threads.ended_lately / RATE_AGE), ..Numbers::default() },
        classes: Vec::new(),
        threads: Vec::new(),
    })
}

/// Ended threads left much behind.
pub(super) fn stranded(case: &Case<'_>) -> Option<Finding> {
    let said = case.said(Kind::Stranded);
    let stranded = case.process.threads.as_ref()?.stranded_bytes;
    let share = stranded as f64 / case.material.allocated.max(1.0);
    let enough = share >= threshold(STRANDED_SHARE, said) && stranded as f64 >= threshold(case.material.size(), said);
    let finding = || {
        let blamed = blame::fewest(blame::allocated(case.process));
        let threads = blame::threads(case, &blamed, Over::All);
        Finding {
            kind: Kind::Stranded,
            since: None,
            numbers: Numbers { bytes: Some(stranded), share: Some(share), ..Numbers::default() },
            classes: blamed,
            threads,
        }
    };
    enough.then(finding)
}

/// How far the allocated bytes move.
pub(super) fn range(case: &Case<'_>) -> Option<Finding> {
    let bytes = case.recent().iter().map(|point| point.allocated_bytes);
    let (low, high) = (bytes.clone().min()?, bytes.max()?);
    let limit = STABLE_RANGE / threshold(1.0, case.said(Kind::Stable));
    let kind = if (high - low) as f64 <= limit * high as f64 { Kind::Stable } else { Kind::Varying };
    Some(Finding {
        kind,
        since: None,
        numbers: Numbers {
            low_bytes: Some(low),
            high_bytes: Some(high),
            seconds: case.recent().first().map(|first| case.now().seconds_since(first.time)),
            ..Numbers::default()
        },
        classes: Vec::new(),
        threads: Vec::new(),
    })
}
