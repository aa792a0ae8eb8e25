//! `STATSALLOC_HARDEN=1`: writes beyond a block's end and after its free are noticed.
//!
//! *Seal.* What a block has beyond the requested bytes is filled with a pattern, which is looked at when the block is freed
//! or resized. *Spoilt.* A freed block of a slab is filled with [`JUNK`], waits in its heap's quarantine, and is looked at
//! when it leaves that and when it is handed out again. *Guard.* Behind a large block lies a page that faults.
//!
//! The fast path knows nothing of this: a hardened heap shows it empty bins and a key that fits no unit, so that every
//! call is a slow one.

use crate::options::options;
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

/// What freed blocks are filled with. Read as a pointer it leads nowhere.
const JUNK: u8 = 0xDB;
/// So many bytes of the slack are sealed.
const SEALED: usize = 64;
/// Blocks that wait in a heap's quarantine.
const PLACES: usize = 256;

/// Whether heaps are hardened.
#[inline]
pub(crate) fn is_on() -> bool {
    options().harden
}

/// Whether C++'s sized `delete` has the size looked at. Deleting by a pointer to a base class without a virtual destructor
/// passes the base's: wrong, but nothing that ever broke a program. So it is told to those only who ask for all.
pub(crate) static SIZES_ARE_CHECKED: AtomicBool = AtomicBool::new(false);

/// Once, when the options are known.
pub(crate) fn start() {
    SIZES_ARE_CHECKED.store(is_on(), Ordering::Relaxed);
}

/// The seal's byte for the `i`th of the slack: never zero, which is what an overflow writes most.
fn seal_byte(block: *mut u8, i: usize) -> u8 {
    let mixed = (block as usize).wrapping_add(i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8 | 1
}

/// Seals the slack of a block of `size` bytes.
///
/// # Safety
/// A block of ours that nobody else uses, with `requested <= size`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn seal(block: *mut u8, requested: usize, size: usize) {
    for i in 0..(size - requested).min(SEALED) {
        // SAFETY: within the block.
        unsafe { block.add(requested + i).write(seal_byte(block, i)) };
    }
}

/// Whether the slack is as it was sealed.
///
/// # Safety
/// A live block of ours.
#[cold]
#[inline(never)]
pub(crate) unsafe fn is_sealed(block: *mut u8, requested: usize, size: usize) -> bool {
    // SAFETY: within the block.
    (0..size.saturating_sub(requested).min(SEALED))
        .all(|i| unsafe { block.add(requested + i).read() } == seal_byte(block, i))
}

/// Fills a freed block of `size` bytes with junk.
///
/// # Safety
/// A block of ours that nobody uses.
#[cold]
#[inline(never)]
pub(crate) unsafe fn spoil(block: *mut u8, size: usize) {
    // SAFETY: the caller's.
    unsafe { core::ptr::write_bytes(block, JUNK, size) };
}

/// Fills in what the link of a pending block has taken of its junk.
///
/// # Safety
/// A freed block of ours, in no chain any more.
pub(crate) unsafe fn spoil_link(block: *mut u8) {
    if is_on() {
        // SAFETY: the caller's; a block has at least sixteen bytes.
        unsafe { spoil(block, 2 * size_of::<*mut u8>()) };
    }
}

/// Whether nobody has written to a freed block of `size` bytes, a multiple of sixteen.
///
/// # Safety
/// A freed block of ours.
#[cold]
#[inline(never)]
pub(crate) unsafe fn is_spoilt(block: *mut u8, size: usize) -> bool {
    const WORD: usize = usize::from_ne_bytes([JUNK; 8]);
    /// Words between two looks at what has been found, so that the processor reads several at once.
    const APART: usize = 32;
    let words = size / size_of::<usize>();
    // SAFETY: within the block, which begins at a multiple of sixteen.
    let written = |i| unsafe { block.cast::<usize>().add(i).read() } ^ WORD;
    (0..words).step_by(APART).all(|from| (from..words.min(from + APART)).fold(0, |so_far, i| so_far | written(i)) == 0)
}

/// A heap's freed blocks that may not be handed out yet, first in, first out. Zeroed memory is an empty one.
pub(crate) struct Quarantine {
    next: Cell<usize>,
    places: [Cell<*mut u8>; PLACES],
}

impl Quarantine {
    /// Takes a block in; the one that has waited longest comes out, or null.
    pub(crate) fn enter(&self, block: *mut u8) -> *mut u8 {
        let next = self.next.get() % PLACES;
        self.next.set(next + 1);
        self.places.get(next).map_or(null_mut(), |place| place.replace(block))
    }

    /// Takes any block out; null if there is none.
    pub(crate) fn leave(&self) -> *mut u8 {
        let full = self.places.iter().find(|place| !place.get().is_null());
        full.map_or(null_mut(), |place| place.replace(null_mut()))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn any_byte_beyond_the_end_breaks_the_seal() {
        let mut block = [0_u64; 16];
        let block = block.as_mut_ptr().cast::<u8>();
        for requested in 0..=128 {
            // SAFETY: a block of 128 bytes.
            unsafe {
                seal(block, requested, 128);
                assert!(is_sealed(block, requested, 128));
                for at in requested..(requested + SEALED).min(128) {
                    let old = block.add(at).read();
                    assert_ne!(old, 0);
                    block.add(at).write(old ^ 0x10);
                    assert!(!is_sealed(block, requested, 128), "{requested}, {at}");
                    block.add(at).write(old);
                }
            }
        }
    }

    #[test]
    fn any_byte_written_to_a_spoilt_block_shows() {
        let mut block = [0_u64; 6];
        let block = block.as_mut_ptr().cast::<u8>();
        // SAFETY: a block of 48 bytes.
        unsafe {
            spoil(block, 48);
            assert!(is_spoilt(block, 48));
            for at in 0..48 {
                block.add(at).write(0);
                assert!(!is_spoilt(block, 48), "{at}");
                block.add(at).write(JUNK);
            }
        }
    }

    #[test]
    fn blocks_leave_the_quarantine_in_the_order_they_came() {
        let quarantine = Quarantine { next: Cell::new(0), places: [const { Cell::new(null_mut()) }; PLACES] };
        let out: std::vec::Vec<_> = (1..=3 * PLACES).map(|i| quarantine.enter(i as *mut u8) as usize).collect();
        assert!(out[..PLACES].iter().all(|&block| block == 0));
        assert!(out[PLACES..].iter().enumerate().all(|(i, &block)| block == i + 1));
        assert_eq!((0..PLACES).filter(|_| !quarantine.leave().is_null()).count(), PLACES);
        assert!(quarantine.leave().is_null());
    }
}
