//! How much a block that has grown out of its span will grow again.

/// Steps looked ahead. A block that grows by less than this many of them to twice its size gets room to double.
const STEPS: usize = 8;

/// Bytes to keep free behind a block that has grown from `old` requested bytes to `new`: programs grow a buffer by the same
/// factor every time, so as many steps of that as about double it, and no more, since room is address space whose memory was
/// in use before, and nobody else may use it.
pub(super) fn room(old: usize, new: usize) -> usize {
    // By what a step adds beside the factor, two times is not quite twice.
    let most = new.saturating_mul(2).saturating_add(new / 8);
    let mut reached = new;
    for _ in 0..STEPS {
        let next = (reached as u128 * new as u128).div_ceil(old.max(1) as u128);
        if next > most as u128 {
            return reached - new;
        }
        reached = next as usize;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes a buffer reaches in place that grows by `step` when it is full, with the room it gets on growing to `size`.
    fn reached(size: usize, step: impl Fn(usize) -> usize) -> usize {
        let grown = step(size);
        let end = grown + room(size, grown);
        let mut last = grown;
        while step(last) <= end {
            last = step(last);
        }
        assert!(end - last < last / 8, "{size}: room to {end}, used to {last}");
        last
    }

    #[test]
    fn a_buffer_that_doubles_has_room_for_it_and_one_that_grows_by_a_half_for_no_more_than_that() {
        for size in [40_000, 65_536, 100_001, 5_000_000] {
            assert_eq!(room(size, 2 * size), 2 * size);
            assert_eq!(reached(size, |size| size + size / 2 + 128) / size, 2);
            assert!(reached(size, |size| 2 * size + 16) >= 4 * size);
            assert!(reached(size, |size| size + size / 4) * 2 > size * 4);
            assert!(reached(size, |size| size + size / 8 + 6) * 2 > size * 4);
            assert_eq!(room(size, 3 * size), 0);
        }
    }

    #[test]
    fn a_buffer_that_grows_by_the_line_has_room_to_double() {
        assert_eq!(room(100_000, 100_096), 100_096);
        assert_eq!(room(100_000, 100_000), 100_000);
        assert_eq!(room(100_000, 90_000), 90_000);
    }

    proptest! {
        #[test]
        fn room_is_at_most_a_little_more_than_the_block(old in 0_usize.., new in 0_usize..) {
            prop_assert!(room(old, new) <= new.saturating_add(new / 8));
        }
    }
}
