//! All cases under all allocators, interleaved in random order.

use crate::allocators::Allocator;
use crate::cases::{Case, Figure, Outcome, Reading, Way};
use crate::options::{Mode, Options};
use crate::{launch, redis};
use std::io::{IsTerminal, Write};

/// What all rounds gave: `outcomes[case][allocator][round]`.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) cases: Vec<Case>,
    pub(crate) allocators: Vec<Allocator>,
    pub(crate) outcomes: Vec<Vec<Vec<Outcome>>>,
}

impl Results {
    /// The readings of one case under one allocator, in the order of the rounds; nothing if any run failed.
    pub(crate) fn readings(&self, case: usize, allocator: usize) -> Option<Vec<Reading>> {
        self.outcomes[case][allocator].iter().map(|outcome| outcome.as_ref().ok().copied()).collect()
    }

    /// Each round's ratio of `one` to `other`: the geometric mean over those of `cases` in which neither ever failed.
    /// `value` says what of a reading is compared.
    pub(crate) fn ratios(&self, cases: &[usize], one: usize, other: usize, value: fn(&Reading) -> f64) -> Vec<f64> {
        let pairs: Vec<_> =
            cases.iter().filter_map(|&case| Some((self.readings(case, one)?, self.readings(case, other)?))).collect();
        if pairs.is_empty() {
            return Vec::new();
        }
        let in_round = |round: usize| {
            let logarithm =
                |(one, other): &(Vec<Reading>, Vec<Reading>)| (value(&one[round]) / value(&other[round])).ln();
            (pairs.iter().map(logarithm).sum::<f64>() / pairs.len() as f64).exp()
        };
        (0..pairs[0].0.len()).map(in_round).collect()
    }

    /// Everything that failed: the case's and the allocator's names, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.cases.iter().zip(&self.outcomes).flat_map(move |(case, per_allocator)| {
            self.allocators.iter().zip(per_allocator).flat_map(move |(allocator, outcomes)| {
                let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
                failed.map(|why| (case.name.as_str(), allocator.name.as_str(), why.as_str()))
            })
        })
    }
}

/// Runs everything as often as `options` say. In a round the cases come in random order, and the allocators of one case
/// right after each other, in random order too: what is compared is then close in time, and nobody always comes first.
///
/// # Errors
///
/// Nothing is to be measured, or a program already fails without any preload.
pub(crate) fn measure(
    mode: Mode,
    cases: Vec<Case>,
    allocators: &[Allocator],
    options: &Options,
) -> Result<Results, String> {
    if cases.is_empty() || allocators.is_empty() {
        return Err(format!("{}: nothing is left to measure", mode.title()));
    }
    let expected = cases.iter().map(expected).collect::<Result<Vec<_>, _>>()?;
    let rounds = options.rounds(mode);
    let mut outcomes = vec![vec![Vec::new(); allocators.len()]; cases.len()];
    let mut random = Shuffle(0x5DEE_CE66);
    for round in 1..=rounds {
        for (number, case) in random.order(cases.len()).into_iter().enumerate() {
            progress(&format!("{}: round {round} of {rounds}, {} of {}", mode.title(), number + 1, cases.len()));
            for allocator in random.order(allocators.len()) {
                let outcome = match cases[case].way {
                    Way::Alone => launch::checked(&cases[case], &allocators[allocator], expected[case].as_deref()),
                    Way::Redis { requests } => redis::run(&cases[case], &allocators[allocator], requests),
                };
                outcomes[case][allocator].push(outcome);
            }
        }
    }
    progress("");
    Ok(Results { cases, allocators: allocators.to_vec(), outcomes })
}

/// What a program must print under every allocator, if that is always the same. This also warms the page cache.
fn expected(case: &Case) -> Result<Option<Vec<u8>>, String> {
    if case.figure != Figure::Wall || case.way != Way::Alone {
        return Ok(None);
    }
    let (_, output) = launch::run(case, &Allocator::baseline()).map_err(|why| format!("{}: {why}", case.name))?;
    Ok(Some(output))
}

/// Shows how far it is, where somebody looks on.
fn progress(text: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Only decoration: it may be lost.
        let _ = write!(terminal, "\r\x1b[K{text}").and_then(|()| terminal.flush());
    }
}

/// Random orders; the same in every run, so that a run can be repeated.
struct Shuffle(u64);

impl Shuffle {
    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    fn below(&mut self, limit: usize) -> usize {
        // Knuth's linear congruential generator; its high bits are the random ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
