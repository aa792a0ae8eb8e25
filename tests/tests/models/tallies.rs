//! Tallies whose base moves on while another thread reads them.

use crate::world::check;
use loom::thread;
use shm_layout::class::SizeClass;
use shm_layout::counter::Counter;
use shm_layout::tally::{Counts, Scale, Tally, Way};

const SIZE: u64 = 100;
/// A call more, and the base is so far behind that it has to be moved on.
const BEGUN: u64 = (1 << 19) - 1;

static TALLY: Tally = Tally { sum: Counter::new(0), base: Counter::new(0) };

fn scale() -> Scale {
    Scale::class(SizeClass::of(SIZE as usize).unwrap())
}

/// What a look sees, which must be what some number of calls have added.
fn look(way: Way) -> u64 {
    let Counts { calls, requested } = TALLY.get(scale(), way);
    assert_eq!(requested, calls * SIZE);
    calls
}

#[test]
fn looks_while_a_base_moves_see_all_calls_and_none_twice() {
    for way in [Way::In, Way::Out] {
        check(None, move || {
            let [sum, _] = scale().pack(way, Counts { calls: BEGUN, requested: BEGUN * SIZE });
            TALLY.sum.set(sum);
            TALLY.base.set(0);
            let counts = thread::spawn(move || {
                for _ in 0..2 {
                    TALLY.count(scale(), way, SIZE as usize);
                }
            });
            let looks = [look(way), look(way)];
            assert!(BEGUN <= looks[0] && looks.is_sorted() && looks[1] <= BEGUN + 2);
            counts.join().unwrap();
            assert_eq!(look(way), BEGUN + 2);
            assert_ne!(TALLY.base.get(), 0, "the base has moved");
        });
    }
}
