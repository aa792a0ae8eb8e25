//! Programs that are asked one question: start-up, scaling, cost by live heap, memory given back.

use crate::cases::{Case, Figure};
use crate::compile;
use crate::micro;
use crate::options::Options;

/// Programs that do next to nothing.
///
/// # Errors
///
/// None; the signature is every mode's.
pub(crate) fn startup(_: &Options) -> Result<Vec<Case>, String> {
    let page = compile::source("bench.h").to_string_lossy().into_owned();
    let small = [
        Case::new("true", "startup", "/bin/true".into(), &[]),
        Case::new("less", "startup", "/usr/bin/less".into(), &[&page]),
    ];
    Ok(small.into_iter().filter(Case::installed).collect())
}

/// The same work by more and more threads; threads that write to neighbouring blocks, or to blocks passed between them; and
/// a thread's start, first allocation and end.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn scaling(options: &Options) -> Result<Vec<Case>, String> {
    let program = compile::program("scaling.c")?;
    let operations = if options.quick { "20000" } else { "6000000" };
    let mut cases = Vec::new();
    for kind in ["pairs", "tables", "exchange"] {
        for threads in [1, 2, 4, 8, 16, 64] {
            let name = format!("{kind}, {threads} threads");
            let arguments = [kind, &threads.to_string(), operations];
            cases.push(Case::new(&name, "scaling", program.clone(), &arguments).figure(Figure::Nanoseconds));
        }
    }
    for row in ["thread", "thread-pinned"] {
        cases.push(micro::case(row, options)?);
    }
    let (program, rounds) = (compile::program("sharing.c")?, if options.quick { "20000" } else { "4000000" });
    for kind in ["neighbours", "passed"] {
        for threads in ["2", "8", "64"] {
            let name = format!("{kind}, {threads} threads");
            cases.push(Case::new(&name, "scaling", program.clone(), &[kind, threads, rounds]));
        }
    }
    Ok(cases)
}

/// The same operation while more and more is live.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn heap(options: &Options) -> Result<Vec<Case>, String> {
    let program = compile::program("curve.c")?;
    let (sizes, operations): (&[u32], _) =
        if options.quick { (&[1, 4], "10000") } else { (&[1, 4, 16, 64, 256, 1024, 4096, 8192], "2000000") };
    let case = |size: &u32| {
        let name = format!("{size} MiB live");
        Case::new(&name, "heap", program.clone(), &[&size.to_string(), operations]).figure(Figure::Nanoseconds)
    };
    Ok(sizes.iter().map(case).collect())
}

/// What stays resident after everything, or nine tenths in the order of addresses, was freed.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn giveback(options: &Options) -> Result<Vec<Case>, String> {
    let program = compile::program("giveback.c")?;
    let size = if options.quick { "16" } else { "256" };
    // Waiting has no quick form.
    let times = if options.quick { &["at-once"][..] } else { &["at-once", "later", "idle"] };
    let mut rows = Vec::new();
    for blocks in ["small", "large"] {
        for freed in ["all", "most"] {
            rows.extend(times.iter().map(|when| [blocks, freed, when, size]));
        }
    }
    rows.push(["middling", "scattered", if options.quick { "at-once" } else { "going-on" }, size]);
    let case = |row: [&str; 4]| {
        let name = format!("{}, {} freed, {}", row[0], row[1], row[2]);
        Case::new(&name, "giveback", program.clone(), &row).figure(Figure::Kibibytes)
    };
    Ok(rows.into_iter().map(case).collect())
}
