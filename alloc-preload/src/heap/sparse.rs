//! Sparse slabs: the few blocks that are in use hold all of the pages. Once nothing has moved in such a slab for a decay
//! time, the pages on which no block is in use go back. Nothing of ours lies in free blocks, so nothing is lost with
//! them; they read as zero when their blocks are handed out next, as fresh ones do.
//!
//! Every decay time a sweep goes through a heap's partial slabs, some at each look at the clock. It marks those that it
//! finds (see `Seen`), and what is still marked when the next one comes is cold.

use super::{Heap, of, slab_at};
use crate::harden;
use crate::options::{Huge, options};
use crate::os::{self, PAGE};
use crate::slab::{NO_UNIT, Pages, Seen, Slab};
use crate::span;
use crate::stats::globals;
use crate::window::{WINDOW, huge};
use core::cell::Cell;
use shm_layout::class::{CLASSES, SizeClass};

/// Slabs looked at in one go, and those of them that are thinned.
const LOOK: usize = 512;
const THINNED: usize = 16;
/// Fewer pages of a slab are not worth the calls.
const LEAST: usize = 4;

/// How far a heap's sweep has come.
#[repr(C)]
pub(super) struct Sweep {
    /// The class whose partial slabs it goes through; `CLASSES` once it is through.
    class: Cell<u8>,
    /// The slab that is next.
    next: Cell<u32>,
}

/// Not what lies in the freed blocks of a hardened heap, nor what the kernel would bring back at once.
fn may_thin() -> bool {
    !harden::is_on() && options().huge != Huge::Always
}

impl Sweep {
    /// None is on its way.
    pub(super) fn end(&self) {
        self.class.set(CLASSES as u8);
        self.next.set(NO_UNIT);
    }

    /// The slab is about to leave its list.
    pub(super) fn pass_over(&self, slab: &Slab) {
        if self.next.get() == slab.unit().0 {
            self.next.set(slab.next.get());
        }
    }
}

impl Heap {
    /// Has a sweep begin, unless one is still on its way.
    pub(super) fn begin_sweep(&self) {
        if may_thin() && usize::from(self.sweep.class.get()) == CLASSES {
            self.sweep.class.set(0);
            self.sweep.next.set(of(&self.partial, SizeClass(0)).get());
        }
    }

    /// Goes on with the sweep, if there is one. True if there is more to do.
    pub(super) fn sweep(&self) -> bool {
        let mut thinned = 0;
        for _ in 0..LOOK {
            let Some(slab) = self.next_to_sweep() else { return false };
            match slab.seen() {
                Seen::No => slab.set_seen(Seen::Once),
                Seen::Once => {
                    self.thin(slab);
                    thinned += 1;
                }
                Seen::Swept => {}
            }
            if thinned == THINNED {
                break;
            }
        }
        true
    }

    fn next_to_sweep(&self) -> Option<&'static Slab> {
        while usize::from(self.sweep.class.get()) < CLASSES {
            let unit = self.sweep.next.get();
            if unit != NO_UNIT {
                let slab = slab_at(unit);
                self.sweep.next.set(slab.next.get());
                return Some(slab);
            }
            let class = self.sweep.class.get() + 1;
            self.sweep.class.set(class);
            if usize::from(class) < CLASSES {
                self.sweep.next.set(of(&self.partial, SizeClass(class)).get());
            }
        }
        None
    }

    /// Gives back what there is in all partial slabs, cold or not.
    pub(crate) fn thin_all(&self) {
        if !may_thin() {
            return;
        }
        for class in self.classes() {
            let mut unit = of(&self.partial, class).get();
            while unit != NO_UNIT {
                let slab = slab_at(unit);
                self.thin(slab);
                unit = slab.next.get();
            }
        }
    }

    /// Gives back the pages of a slab on which no block is in use, if they are not too few.
    fn thin(&self, slab: &Slab) {
        let all = slab.touched_bytes() / PAGE;
        // A huge page is kept until a half of it can go.
        let enough = if huge::is_huge(slab.unit()) { all.div_ceil(2) } else { (all / 4).max(LEAST) };
        let mut pages = 0;
        if slab.resting() as usize * slab.block_size.get() as usize / PAGE >= enough {
            // SAFETY: our slab.
            let Some(idle) = (unsafe { slab.idle_pages() }) else { return };
            pages = idle;
        }
        slab.set_seen(Seen::Swept);
        if pages != 0 && slab.gone_pages() + pages.count_ones() as usize >= enough {
            self.give_pages(slab, pages);
        }
    }

    /// Gives back pages of our slab with nothing but free blocks on them.
    fn give_pages(&self, slab: &Slab, mut pages: Pages) {
        let (mut gone, counted) = (0, slab.counted());
        slab.each_unit(huge::thinned);
        while pages != 0 {
            let first = pages.trailing_zeros();
            let count = (pages >> first).trailing_ones();
            let run = (Pages::MAX >> (Pages::BITS - count)) << first;
            let address = WINDOW.address(slab.unit());
            // SAFETY: as above.
            if unsafe { os::purge(address.add(first as usize * PAGE), count as usize * PAGE) }.is_err() {
                // Denied or locked in memory.
                break;
            }
            gone |= run;
            pages &= !run;
        }
        if gone == 0 {
            return;
        }
        let (before, bytes) = (slab.gone_pages(), gone.count_ones() as usize * PAGE);
        slab.add_gone(gone);
        if let Some(line) = self.line(slab.class.get() as usize) {
            line.capacity_out.add_owned(u64::from(counted - slab.counted()));
        }
        slab.part(before, slab.gone_pages()).lose();
        span::untouch(slab.unit(), bytes);
        globals().purged.add_shared(bytes as u64);
        globals().purges.add_shared(1);
    }

    /// Blocks of a slab that pages have gone of have been woken: whatever is on them may be used.
    pub(super) fn come_back(&self, slab: &Slab) {
        if let Some(line) = self.line(slab.class.get() as usize) {
            line.capacity_in.add_owned(u64::from(slab.gone_blocks()));
        }
        // Before it is forgotten: a child that is born meanwhile counts too much rather than less than nothing.
        slab.part(0, slab.gone_pages()).regain();
        slab.forget_gone();
    }
}
