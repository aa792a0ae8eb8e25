//! The ledger: one byte for every granule of the window, out of reach of any overflow of a block.
//!
//! | byte        | meaning |
//! |-------------|---------|
//! | `0..=0x3F`  | no block starts here: 0 in fresh and purged memory, else a digit (6 bits) of the wide slack of the block before it |
//! | [`WIDE`]    | a live block starts here; its slack stands in the next three bytes as digits |
//! | [`PENDING`] | freed by another thread, not yet back with its owner |
//! | [`CONFINED`] | freed, in its heap's quarantine |
//! | [`FREE`]    | a block starts here that was live once |
//! | [`FRESH`]   | a carved block starts here that was never live |
//! | [`BLANK`]   | likewise, in memory that was never touched: it reads as zero |
//! | `0x80..=0xFF` | a live block starts here; slack = byte - 0x80 |
//!
//! slack = block size - requested bytes. The sign tells nearly every live block of up to 1 KiB, and the largest positive values
//! the free ones: either question is one comparison.
//!
//! The entries do not lie in the order of their granules. Those of a [`GROUP`] stand in four *areas*, by what the
//! granule's number leaves when divided by four: see [`place`]. Blocks whose size is a multiple of 64 begin at granules of
//! the first area alone, and so does a large block. So of these the ledger takes a quarter of the memory and of the lines
//! that it takes of blocks of 16 bytes.

mod search;

pub(crate) use search::{Grid, Row};

use crate::bare::BARE;
use crate::sync::{AtomicU8, Ordering};
use crate::window::{UNIT_GRANULES, WINDOW};
use core::arch::asm;
use core::hint::cold_path;
use shm_layout::class::{CLASSES, FINE_MAX, GRANULE, SizeClass};

pub(crate) const WIDE: u8 = 0x50;
pub(crate) const PENDING: u8 = 0x51;
pub(crate) const CONFINED: u8 = 0x52;
pub(crate) const FREE: u8 = 0x7D;
pub(crate) const FRESH: u8 = 0x7E;
pub(crate) const BLANK: u8 = 0x7F;

/// Tag of a live block without slack; slack that fits in one byte is added to it.
pub(crate) const NARROW: u8 = 0x80;
/// Largest slack that fits in one byte.
pub(crate) const NARROW_MAX: usize = 0x7F;

/// So much slack is more than two digits hold.
const TWO_DIGITS: usize = 1 << 12;

/// Granules whose entries lie together.
pub(crate) const GROUP: usize = 1 << 16;
/// Areas of a group.
pub(crate) const AREAS: usize = 4;
/// Entries of an area.
const AREA: usize = GROUP / AREAS;
/// Entries that a unit has in each area: they lie side by side.
pub(crate) const PART: usize = UNIT_GRANULES / AREAS;

/// So many entries tell of a live block with the wide tag: the tag and the digits.
const WIDE_ENTRIES: usize = 4;

// All of them lie in the unit that the block begins in: behind that one there may be another group, and behind an area's last
// entry stands the first of the next, which is another block's.
const _: () = {
    let mut number = 0;
    while number < CLASSES {
        let class = SizeClass(number as u8);
        let step = class.block_size() / GRANULE;
        let mut start = 0;
        while start < class.slab_blocks() * step && step > (WIDE_ENTRIES - 1) * AREAS {
            assert!(start % UNIT_GRANULES + (WIDE_ENTRIES - 1) * AREAS < UNIT_GRANULES);
            start += step;
        }
        number += 1;
    }
};

/// Where the granule's entry lies: the lowest sixteen bits of its number, turned by two.
#[inline(always)]
pub(crate) fn place(granule: usize) -> usize {
    let mut place = granule;
    // The compiler would take the number apart and put it together again.
    // SAFETY: touches nothing but the register and the flags.
    unsafe { asm!("ror {place:x}, 2", place = inout(reg) place, options(pure, nomem, nostack)) };
    place
}

/// How many areas the blocks of a slab begin in, if they are so many granules apart: one, two (every other one) or all.
pub(crate) const fn areas(step: usize) -> usize {
    match step % AREAS {
        0 => 1,
        2 => 2,
        _ => AREAS,
    }
}

/// Which areas these are: a bit for each.
pub(crate) const fn area_bits(areas: usize) -> u32 {
    match areas {
        0 => 0b0000,
        1 => 0b0001,
        2 => 0b0101,
        _ => 0b1111,
    }
}

/// One entry of the ledger.
#[repr(transparent)]
pub(crate) struct Entry(AtomicU8);

impl Entry {
    #[inline(always)]
    pub(crate) fn get(&self) -> u8 {
        let tag = self.0.load(Ordering::Relaxed);
        if BARE && tag != FREE { NARROW } else { tag }
    }

    /// As `get`, for the block that a call was handed: a bare build believes that it is live.
    #[inline(always)]
    pub(crate) fn check(&self) -> u8 {
        if BARE { NARROW } else { self.get() }
    }

    /// Whether a block waits here for its owner; a bare build believes that it does.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        BARE || self.get() == PENDING
    }

    /// What becomes of a block, for the one thread that may say: that of its slab, whoever holds the central lock where
    /// nobody owns it, the holder of a span.
    #[inline(always)]
    pub(crate) fn note(&self, tag: u8) {
        if !BARE {
            self.set(tag);
        }
    }

    #[inline(always)]
    fn set(&self, tag: u8) {
        self.0.store(tag, Ordering::Relaxed);
    }

    /// Replaces `old` by `tag`; false if somebody else was faster. Whoever takes the live tag away has freed the block.
    #[inline]
    pub(crate) fn exchange_if(&self, old: u8, tag: u8) -> bool {
        BARE || self.0.compare_exchange(old, tag, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The entry `n` places behind this one, of the granule `n` times [`AREAS`] further on.
    ///
    /// # Safety
    /// That lies in the same block.
    #[inline(always)]
    pub(crate) unsafe fn behind(&self, n: usize) -> &Self {
        // SAFETY: the ledger is one array, and the caller names a granule of a committed block.
        unsafe { &*core::ptr::from_ref(self).add(n) }
    }

    /// Marks a block as live.
    ///
    /// # Safety
    /// The entry is the start of a block of more than `slack` bytes that the caller owns.
    #[inline(always)]
    pub(crate) unsafe fn set_live(&self, slack: usize) {
        if slack <= NARROW_MAX {
            self.note(NARROW | slack as u8);
        } else if !BARE {
            cold_path();
            // SAFETY: a block of which so much is slack has 256 bytes at least (see `SizeClass::of_aligned`; without
            // alignment no more than an eighth is slack): more than twelve further granules, all in one unit.
            unsafe { self.set_wide(slack) };
        }
    }

    /// As `set_live`, of a block in a slab of blocks of so many bytes. Above [`FINE_MAX`] all tags are wide, however much the
    /// slack: which way a block takes, its class says then, and not what was requested, which no processor foresees.
    ///
    /// # Safety
    /// As of `set_live`.
    #[inline]
    pub(crate) unsafe fn set_live_of(&self, block: usize, slack: usize) {
        // SAFETY: the caller's; larger blocks have more than four granules.
        unsafe {
            match block {
                ..=FINE_MAX => self.set_live(slack),
                _ => self.set_live_medium(slack),
            }
        }
    }

    /// As `set_live_of`, of a block above [`FINE_MAX`].
    ///
    /// # Safety
    /// As of `set_live`.
    #[inline(always)]
    pub(crate) unsafe fn set_live_medium(&self, slack: usize) {
        if slack >= TWO_DIGITS {
            cold_path();
            if !BARE {
                // SAFETY: the caller's.
                unsafe { self.set_wide(slack) };
            }
        } else if !BARE {
            // SAFETY: the caller's.
            unsafe { self.write(slack & 0x3F | (slack & 0x3F << 6) << 2) };
        }
    }

    #[inline(always)]
    unsafe fn set_wide(&self, slack: usize) {
        // SAFETY: the caller's.
        unsafe { self.write(slack & 0x3F | (slack & 0x3F << 6) << 2 | (slack & 0x3F << 12) << 4) };
    }

    /// Writes tag and digits at once: a child that is forked in between finds all of them or none.
    #[inline(always)]
    unsafe fn write(&self, digits: usize) {
        let word = (digits << 8) as u32 + u32::from(WIDE);
        // SAFETY: four entries side by side, as in `set_live`, which nobody else writes.
        unsafe {
            asm!("mov dword ptr [{at}], {word:e}", at = in(reg) self, word = in(reg) word, options(nostack, preserves_flags))
        };
    }

    /// Tag and digits of the live block that starts here with the wide tag.
    #[inline(always)]
    unsafe fn read(&self) -> u32 {
        let mut word: u32;
        // SAFETY: a wide tag is only ever set together with its three digits.
        unsafe {
            asm!("mov {word:e}, dword ptr [{at}]", at = in(reg) self, word = out(reg) word, options(nostack, preserves_flags, readonly))
        };
        word
    }

    /// Slack of the live block that starts here with the wide tag, if two digits are enough for it; `None` also if there is no
    /// such block.
    ///
    /// # Safety
    /// The entry belongs to committed memory.
    #[inline(always)]
    pub(crate) unsafe fn medium_slack(&self) -> Option<usize> {
        // First: what is no such block may begin in one of the last entries of all.
        if self.check() != WIDE {
            return None;
        }
        // SAFETY: the caller's.
        let word = unsafe { self.read() };
        let digits = (word >> 8) as usize;
        (digits < 1 << 16).then_some(digits & 0x3F | digits >> 2 & 0x3F << 6)
    }

    /// Slack of the live block that starts here with the wide tag.
    ///
    /// # Safety
    /// The entry belongs to committed memory.
    #[inline(always)]
    pub(crate) unsafe fn wide_slack(&self) -> usize {
        // SAFETY: the caller's. Whatever has become of the tag.
        let digits = (unsafe { self.read() } >> 8) as usize;
        digits & 0x3F | digits >> 2 & 0x3F << 6 | digits >> 4 & 0x3F << 12
    }

    /// Slack of the live block that starts here with `tag`; `None` if the tag is not a live one.
    ///
    /// # Safety
    /// The entry belongs to committed memory.
    #[inline]
    pub(crate) unsafe fn slack(&self, tag: u8) -> Option<usize> {
        if is_narrow(tag) {
            return Some((tag - NARROW) as usize);
        }
        // SAFETY: the caller's.
        (tag == WIDE).then(|| unsafe { self.wide_slack() })
    }
}

/// What only slow paths do, once for all of them.
pub(crate) mod out_of_line {
    use super::Entry;

    /// As [`Entry::slack`].
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub(crate) unsafe fn slack(entry: &Entry, tag: u8) -> Option<usize> {
        // SAFETY: the caller's.
        unsafe { entry.slack(tag) }
    }

    /// As [`Entry::set_live_of`].
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub(crate) unsafe fn set_live_of(entry: &Entry, block: usize, slack: usize) {
        // SAFETY: the caller's.
        unsafe { entry.set_live_of(block, slack) }
    }
}

/// A free block returns to its slab. Only a bare build has not marked it before.
#[inline(always)]
pub(crate) fn rest(block: *mut u8) {
    if BARE && let Some(granule) = WINDOW.granule_of(block) {
        // SAFETY: `granule_of` answered.
        unsafe { WINDOW.entry(granule) }.set(FREE);
    }
}

/// A free block leaves its slab for a bin; only a bare build does not call it free there.
#[inline(always)]
pub(crate) fn wake(block: *mut u8) {
    if BARE && let Some(granule) = WINDOW.granule_of(block) {
        // SAFETY: `granule_of` answered.
        unsafe { WINDOW.entry(granule) }.set(0);
    }
}

/// Whether a live block starts at an entry with this tag.
#[inline(always)]
pub(crate) fn is_live(tag: u8) -> bool {
    is_narrow(tag) || tag == WIDE
}

/// Whether a block that may be handed out starts at an entry with this tag.
#[inline(always)]
pub(crate) fn is_free(tag: u8) -> bool {
    tag as i8 >= FREE as i8
}

/// A live tag whose slack stands in the tag itself.
#[inline(always)]
pub(crate) fn is_narrow(tag: u8) -> bool {
    (tag as i8) < 0
}

#[cfg(all(test, not(loom), not(feature = "bare")))]
mod tests {
    use super::*;

    #[test]
    fn every_slack_up_to_a_page_or_a_slab_block_is_read_back() {
        let entries: [Entry; 8] = std::array::from_fn(|_| Entry(AtomicU8::new(0)));
        for slack in 0..40_000 {
            // SAFETY: entry 0 has three entries behind it.
            unsafe {
                entries[0].set_live(slack);
                assert_eq!(entries[0].slack(entries[0].get()), Some(slack));
            }
            assert!(is_live(entries[0].get()));
            assert!((1..4).all(|n| !is_live(entries[n].get())));
        }
    }

    #[test]
    fn entries_of_a_group_share_no_place_and_stand_by_area_then_unit() {
        let mut taken = std::vec![false; GROUP];
        for granule in 0..GROUP {
            let (unit, within) = (granule / UNIT_GRANULES, granule % UNIT_GRANULES);
            let at = place(5 * GROUP + granule) - 5 * GROUP;
            assert_eq!(at, granule % AREAS * AREA + unit * PART + within / AREAS);
            assert!(!core::mem::replace(&mut taken[at], true));
        }
    }

    #[test]
    fn no_state_reads_as_live() {
        for tag in [0, FREE, FRESH, BLANK, PENDING, CONFINED, 1, 0x3F] {
            assert!(!is_live(tag));
        }
    }
}
