//! Change per second.

use super::time::Time;

pub(crate) use super::Rates;

/// Counters at one time, from a ring's slot or an earlier look.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sample {
    /// When.
    pub(crate) time: Time,
    /// Blocks handed out since the start.
    pub(crate) allocations: u64,
    /// Blocks taken back since the start.
    pub(crate) frees: u64,
    /// Live bytes the program asked for.
    pub(crate) requested_bytes: u64,
}

/// Age of the sample that a rate is best taken against.
const BEST_AGE: f64 = 5.0;
/// Older samples say nothing about the present.
const OLDEST: f64 = 15.0;
/// Younger samples are mostly noise.
const YOUNGEST: f64 = 0.05;

/// The rates at present, against an earlier look, if there is one that is old enough. Otherwise both ends are slots of the
/// seconds' ring, where the second that is just gone has one: what a slot holds is older than the end of its second, the more
/// so the more a program works in bursts, and taken against the present it would make these too many. Between two slots that
/// cancels out.
pub(crate) fn present(
    now: Sample,
    slots: impl Iterator<Item = Sample> + Clone,
    looks: impl Iterator<Item = Sample> + Clone,
) -> Rates {
    let age = |sample: &Sample| now.time.seconds_since(sample.time);
    if !looks.clone().any(|look| (BEST_AGE - 1.0..=OLDEST).contains(&age(&look))) {
        let last = slots.clone().find(|slot| slot.time <= now.time && age(slot) < 1.0);
        let between = last.map(|last| until(last, slots.clone().filter(|slot| slot.time < last.time)));
        if let Some(known) = between.filter(|rates| rates.allocations_per_second.is_some()) {
            return known;
        }
    }
    until(now, slots.chain(looks))
}

/// The rates from the most suitable of `earlier` until `now`; unknown where there is none.
fn until(now: Sample, earlier: impl Iterator<Item = Sample> + Clone) -> Rates {
    let age = |sample: &Sample| now.time.seconds_since(sample.time);
    let distance = |sample: &Sample| (age(sample) - BEST_AGE).abs();
    let best = earlier
        .clone()
        .filter(|sample| (YOUNGEST..=OLDEST).contains(&age(sample)) && !is_behind(&now, sample))
        .min_by(|one, other| distance(one).total_cmp(&distance(other)));
    if let Some(sample) = best {
        return between(&sample, &now);
    }
    // A program that has done nothing since an old sample has done nothing of late either.
    match earlier.filter(|sample| age(sample) > OLDEST).max_by_key(|sample| sample.time) {
        Some(sample) if sample.allocations == now.allocations && sample.frees == now.frees => between(&sample, &now),
        _ => Rates::default(),
    }
}

/// Whether a sample claims more than has happened by now: then it is not of this program.
fn is_behind(now: &Sample, sample: &Sample) -> bool {
    now.allocations < sample.allocations || now.frees < sample.frees
}

fn between(then: &Sample, now: &Sample) -> Rates {
    let seconds = now.time.seconds_since(then.time);
    let rate = |later: u64, earlier: u64| Some((later as f64 - earlier as f64) / seconds);
    Rates {
        allocations_per_second: rate(now.allocations, then.allocations),
        frees_per_second: rate(now.frees, then.frees),
        requested_growth_bytes_per_second: rate(now.requested_bytes, then.requested_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::NANOS;

    fn sample(second: u64, allocations: u64, requested_bytes: u64) -> Sample {
        Sample { time: Time(second * NANOS), allocations, frees: 0, requested_bytes }
    }

    #[test]
    fn the_sample_nearest_to_five_seconds_is_taken() {
        let earlier = [sample(80, 0, 0), sample(94, 100, 600), sample(99, 900, 0)];
        let rates = until(sample(100, 1000, 0), earlier.into_iter());
        assert_eq!(rates.allocations_per_second, Some(150.0));
        assert_eq!(rates.requested_growth_bytes_per_second, Some(-100.0));
        assert_eq!(rates.frees_per_second, Some(0.0));
    }

    #[test]
    fn without_a_recent_sample_nothing_is_known() {
        assert_eq!(until(sample(100, 1000, 0), [].into_iter()), Rates::default());
        assert_eq!(until(sample(100, 1000, 0), [sample(10, 5, 0), sample(100, 1000, 0)].into_iter()), Rates::default());
    }

    #[test]
    fn a_long_idle_program_has_rates_of_zero() {
        let rates = until(sample(1000, 7, 70), [sample(3, 7, 70)].into_iter());
        assert_eq!(rates.allocations_per_second, Some(0.0));
    }

    #[test]
    fn a_sample_that_claims_more_than_now_is_passed_over() {
        let earlier = [sample(95, 2000, 0), sample(90, 500, 0)];
        assert_eq!(until(sample(100, 1000, 0), earlier.into_iter()).allocations_per_second, Some(50.0));
    }
}
