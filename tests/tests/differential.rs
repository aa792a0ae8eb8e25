//! Random calls against naive models: of the figures here, of the contents in the test programs.

use std::process::Command;
use tests::script::{Random, Script};
use tests::{Run, program, snapshot};

#[test]
fn random_sequences_match_the_naive_model() {
    for seed in 1..=6 {
        let mut random = Random::new(seed);
        let mut script = Script::new();
        let mut held: Vec<Option<u64>> = vec![None; 700];
        script.pause();
        for step in 1..=12_000 {
            let slot = random.below(held.len() as u64);
            let block = &mut held[slot as usize];
            let slot = slot as u32;
            match (*block, random.below(8)) {
                (None, 0) => *block = Some(size_of_calloc(&mut script, &mut random, slot)),
                (None, 1) => {
                    let size = random.size();
                    script.posix_memalign(slot, 8 << random.below(11), size);
                    // Its class may be wider than its size's: no realloc.
                    *block = Some(u64::MAX);
                }
                (None, 2) => {
                    *block = Some(random.size());
                    script.realloc(slot, block.unwrap());
                }
                (None, _) => {
                    *block = Some(random.size());
                    script.malloc(slot, block.unwrap());
                }
                // Growing only: whether a shrinking block stays where it is is the allocator's own affair.
                (Some(size), 0..=2) if size < 2_000_000 => {
                    *block = Some(size + 1 + random.below(size + 64));
                    script.realloc(slot, block.unwrap());
                }
                (Some(_), _) => {
                    *block = None;
                    script.free(slot);
                }
            }
            if step % 3000 == 0 {
                script.pause();
            }
        }
        eprintln!("seed {seed}");
        script.check();
    }
}

fn size_of_calloc(script: &mut Script, random: &mut Random, slot: u32) -> u64 {
    let (count, size) = (random.below(50), random.below(100));
    script.calloc(slot, count, size);
    count * size
}

#[test]
fn random_sequences_of_threads_that_hand_blocks_on_match_the_naive_model() {
    const THREADS: u64 = 4;
    const SLOTS: u64 = 150;
    for seed in 21..=23 {
        let mut random = Random::new(seed);
        let mut script = Script::new();
        let mut full = vec![false; (THREADS * SLOTS) as usize];
        script.on(THREADS as u8 - 1).pause();
        for round in 0..24 {
            // In every round each thread works on the slots that another had the round before.
            for thread in 0..THREADS {
                script.on(thread as u8);
                let first = (thread + round) % THREADS * SLOTS;
                for _ in 0..300 {
                    let slot = (first + random.below(SLOTS)) as usize;
                    if full[slot] {
                        script.free(slot as u32);
                    } else {
                        script.malloc(slot as u32, random.size());
                    }
                    full[slot] = !full[slot];
                }
            }
            if round % 6 == 5 {
                script.pause();
            } else {
                script.barrier();
            }
        }
        eprintln!("seed {seed}");
        script.check();
    }
}

/// `differential.c` keeps a model of its own, of contents and counts, and hands blocks between its threads unasked.
fn differential(threads: u32, steps: u32, seeds: std::ops::Range<u32>, harden: &str) {
    for seed in seeds {
        let mut command = Command::new(program("differential.c"));
        command.args([threads, steps, seed].map(|number| number.to_string()));
        command.env("STATSALLOC_HARDEN", harden);
        let mut running = command.preload().begin();
        let mut before = None;
        loop {
            let line = running.line();
            if line == "done" {
                break;
            }
            let own: Vec<i64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let [allocations, frees, reallocations, requested_in, requested_out] = own[..] else {
                panic!("five counts, not {line}");
            };
            let now = snapshot(running.pid()).figures();
            let change = &now - before.get_or_insert(now.clone());
            let counted = [
                ("allocations", change.allocations, allocations),
                ("frees", change.frees, frees),
                ("reallocations", change.reallocations, reallocations),
                ("cumulative_requested", change.cumulative_requested, requested_in),
                ("requested", change.requested, requested_in - requested_out),
                ("live blocks", change.live_blocks, allocations - frees),
            ];
            for (what, ours, theirs) in counted {
                assert_eq!(ours, theirs, "{what}, seed {seed}");
            }
            running.go();
        }
        running.finish().success();
    }
}

#[test]
fn random_calls_keep_every_content() {
    differential(1, 60_000, 1..5, "0");
}

#[test]
fn random_calls_of_threads_that_hand_blocks_on_keep_every_content() {
    differential(6, 40_000, 11..14, "0");
}

#[test]
fn contents_and_counts_of_a_hardened_heap_match_their_own_model() {
    differential(1, 20_000, 41..43, "1");
    differential(4, 10_000, 43..45, "1");
}
