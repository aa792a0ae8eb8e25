//! Which sizes and threads are named.

use super::*;

#[test]
fn blame_names_the_fewest_classes_and_the_threads_that_allocate_in_them() {
    let mut process = grown(20 * MINUTES, |second| mib(20.0 + second / 20.0));
    let before = |bytes: u64| vec![bytes; 20];
    let series = |size: u64, bytes: u64| ClassSeries {
        line: Line::class(size),
        allocated_bytes: before(bytes),
        pinned_bytes: before(0),
    };
    process.class_history = Some(ClassHistory {
        times: process.history.as_ref().unwrap().minutes.iter().map(|point| point.time).collect(),
        // What was large before does not grow, and is not to blame.
        classes: vec![series(16, 100 * MIB), series(64, 4 * MIB)],
    });
    for class in process.size_classes.iter_mut().flatten() {
        class.allocated_bytes = match class.block_size {
            16 => 100 * MIB,
            64 => 60 * MIB,
            128 => 3 * MIB,
            _ => 0,
        };
    }
    process.large.as_mut().unwrap().classes.clear();
    let line = |size: u64, bytes: u64| ThreadLine::whole(Line::class(size), [bytes / size, 0, bytes, 0]);
    let threads = process.threads.as_mut().unwrap();
    let worker = |tid: u32, name: &str, classes: Vec<ThreadLine>| Thread {
        tid: Some(tid),
        name: name.into(),
        state: ThreadState::Live,
        allocated_by_bytes: classes.iter().map(|class| class.row_allocated_by_bytes).sum(),
        classes,
        ..threads.rows[0].clone()
    };
    threads.rows = vec![
        worker(1, "main", vec![line(16, 100 * MIB), line(64, 10 * MIB)]),
        worker(2, "worker-3", vec![line(64, 50 * MIB)]),
    ];
    let found = &examine(&process, &Vec::new())[0];
    assert_eq!(found.classes.len(), 1, "{:?}", found.classes);
    assert_eq!((found.classes[0].line, found.classes[0].bytes), (Line::class(64), 56 * MIB));
    let named: Vec<(&str, u64)> =
        found.threads.iter().map(|thread| (thread.name.as_str(), (thread.share * 100.0).round() as u64)).collect();
    assert_eq!(named, [("worker-3", 83), ("main", 17)]);
}

#[test]
fn what_was_there_at_the_start_has_not_grown() {
    // The growth is looked for from before the first minute on.
    let mut process = grown(7 * MINUTES, |second| mib(300.0 + second / 4.0));
    let times: Vec<Time> = process.history.as_ref().unwrap().minutes.iter().map(|point| point.time).collect();
    let series = |size: u64, bytes: &dyn Fn(u64) -> u64| ClassSeries {
        line: Line::class(size),
        allocated_bytes: (1..=times.len() as u64).map(bytes).collect(),
        pinned_bytes: vec![0; times.len()],
    };
    let classes = vec![series(48, &|minute| 15 * minute * MIB), series(1024, &|_| 300 * MIB)];
    for class in process.size_classes.iter_mut().flatten() {
        class.allocated_bytes = match class.block_size {
            48 => 105 * MIB,
            1024 => 300 * MIB,
            _ => 0,
        };
    }
    process.large.as_mut().unwrap().classes.clear();
    let blamed = |process: &Process| -> Vec<Line> {
        let found = examine(process, &Vec::new()).swap_remove(0);
        assert_eq!(found.kind, Kind::LeakSuspected);
        found.classes.iter().map(|class| class.line).collect()
    };
    // Where nothing is known of the sizes' past, none is named.
    assert_eq!(blamed(&process), []);
    process.class_history = Some(ClassHistory { times: times.clone(), classes });
    assert_eq!(blamed(&process), [Line::class(48)]);
}

#[test]
fn what_comes_and_goes_is_not_to_blame_for_a_leak() {
    // 10 MiB a minute leak in class 208; a wave of class 4096 is at its height at every look but those of the minutes' ends.
    let at = |minute: u64, wave: u64| {
        let mut process = grown(minute * MINUTES, |second| mib(20.0 + second / 6.0));
        process.totals.allocated_bytes = Some((20 + 10 * minute + wave) * MIB);
        for class in process.size_classes.iter_mut().flatten() {
            class.allocated_bytes = match class.block_size {
                208 => (20 + 10 * minute) * MIB,
                4096 => wave * MIB,
                _ => 0,
            };
        }
        process.large.as_mut().unwrap().classes.clear();
        process
    };
    let mut process = at(20, 400);
    let times: Vec<Time> = process.history.as_ref().unwrap().minutes.iter().map(|point| point.time).collect();
    let series = |size: u64, bytes: &dyn Fn(u64) -> u64| ClassSeries {
        line: Line::class(size),
        allocated_bytes: (1..=times.len() as u64).map(bytes).collect(),
        pinned_bytes: vec![0; times.len()],
    };
    let classes = vec![series(208, &|minute| (20 + 10 * minute) * MIB), series(4096, &|_| 0)];
    process.class_history = Some(ClassHistory { times: times.clone(), classes });
    let found = examine(&process, &Vec::new()).swap_remove(0);
    assert_eq!(found.kind, Kind::LeakSuspected);
    assert_eq!(found.classes.iter().map(|class| class.line).collect::<Vec<_>>(), [Line::class(208)]);
}
