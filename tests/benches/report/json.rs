//! Every reading, for other programs.

use super::page::facts;
use crate::allocators::Allocator;
use crate::cases::Outcome;
use crate::options::Mode;
use crate::rounds::Results;
use serde_json::{Map, Value, json};

/// One object: the facts, the allocators, and each mode's cases with all their runs in the order of the rounds. A run is
/// an object of `figure` (in the case's unit), `processor_ms` and `peak_rss_kib`, or of `failure`.
pub(crate) fn document(allocators: &[Allocator], sections: &[(Mode, Results)]) -> Value {
    let facts: Map<String, Value> = facts().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let versions: Map<String, Value> =
        allocators.iter().map(|allocator| (allocator.name.clone(), allocator.version.clone().into())).collect();
    let modes: Vec<Value> = sections.iter().map(|(mode, results)| section(*mode, results)).collect();
    json!({"facts": facts, "allocators": versions, "modes": modes})
}

fn section(mode: Mode, results: &Results) -> Value {
    let case = |(case, outcomes): (&crate::cases::Case, &Vec<Vec<Outcome>>)| {
        let runs: Map<String, Value> = results
            .allocators
            .iter()
            .zip(outcomes)
            .map(|(allocator, outcomes)| (allocator.name.clone(), outcomes.iter().map(run).collect()))
            .collect();
        json!({"name": case.name, "group": case.group, "unit": case.figure.unit(), "runs": runs})
    };
    let cases: Vec<Value> = results.cases.iter().zip(&results.outcomes).map(case).collect();
    json!({"mode": format!("{mode:?}").to_lowercase(), "cases": cases})
}

fn run(outcome: &Outcome) -> Value {
    match outcome {
        Ok(reading) => json!({
            "figure": reading.figure,
            "processor_ms": reading.processor,
            "peak_rss_kib": reading.resident,
        }),
        Err(why) => json!({"failure": why}),
    }
}
