//! Where the addresses of the blocks in bins stand, and how many each class's bin may have.

use core::cell::Cell;
use core::ptr::null;
use shm_layout::class::{CLASSES, SizeClass};

/// Where a block's address stands.
pub(crate) type Slot = Cell<*mut u8>;

/// Slots of a bin at first. Those of all classes together are two pages, where all slots of a small class alone are one.
pub(crate) const FIRST: usize = 16;

/// Slots of each class's bin: as many blocks as lie in 32 KiB, within limits.
pub(crate) const USUAL: [u16; CLASSES] = slots(1);

/// A bin has a quarter as many slots as blocks of its class are in use, but no fewer than usual and no more than [`MOST`].
const SHARE: u64 = 4;
/// Twice the bytes, except of blocks up to 1 KiB: of these the usual number is enough, and more would take memory.
const MOST: [u16; CLASSES] = slots(2);

const fn slots(times: usize) -> [u16; CLASSES] {
    let mut slots = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let size = SizeClass(class as u8).block_size();
        let bytes = if size > 1 << 10 { times * (32 << 10) } else { 32 << 10 };
        slots[class] = match bytes / size {
            ..2 => 2,
            some @ 2..512 => some as u16,
            _ => 512,
        };
        class += 1;
    }
    slots
}

/// Number of the slot where each class's begin, and of all.
const BEGINS: [u32; CLASSES + 1] = {
    let mut begins = [0; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        begins[class + 1] = begins[class] + if MOST[class] as usize > FIRST { MOST[class] as u32 } else { 0 };
        class += 1;
    }
    begins
};

/// Slots for the bin of a class of which so many blocks are in use.
pub(crate) fn fitting(class: SizeClass, in_use: impl FnOnce() -> u64) -> u16 {
    let class = class.0 as usize;
    let (usual, most) = (USUAL.get(class).copied().unwrap_or(0), MOST.get(class).copied().unwrap_or(0));
    if most == usual {
        return usual;
    }
    (in_use() / SHARE).min(most.into()).max(usual.into()) as u16
}

/// The slots of a heap's bins. Most classes of most heaps never use more than the first.
#[repr(C)]
pub(crate) struct Slots {
    first: [[Slot; FIRST]; CLASSES],
    all: [Slot; BEGINS[CLASSES] as usize],
}

impl Slots {
    /// Bytes that no bin uses until it has been filled often.
    pub(crate) const SPARE: usize = BEGINS[CLASSES] as usize * size_of::<Slot>();

    /// The class's first slots, and how many those are.
    pub(crate) fn first(&self, class: SizeClass) -> (*const Slot, u16) {
        let class = class.0 as usize;
        let slots = USUAL.get(class).map_or(0, |&slots| slots.min(FIRST as u16));
        (self.first.get(class).map_or(null(), |first| first.as_ptr()), slots)
    }

    /// All the class's slots; `None` if the first are all.
    pub(crate) fn all(&self, class: SizeClass) -> Option<&[Slot]> {
        let class = class.0 as usize;
        let bounds = *BEGINS.get(class)? as usize..*BEGINS.get(class + 1)? as usize;
        self.all.get(bounds).filter(|all| !all.is_empty())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bin_has_more_slots_where_much_of_its_class_is_in_use() {
        let slots_with = |size: usize, in_use: u64| fitting(SizeClass::of(size).unwrap(), || in_use);
        assert_eq!([0, 32, 40, 64, 1000].map(|in_use| slots_with(4096, in_use)), [8, 8, 10, 16, 16]);
        assert_eq!([0, 1000, 1 << 40].map(|in_use| slots_with(1536, in_use)), [21, 42, 42]);
        assert_eq!([0, 1 << 40].map(|in_use| slots_with(64, in_use)), [512, 512]);
        assert_eq!([0, 1 << 40].map(|in_use| slots_with(32 << 10, in_use)), [2, 2]);
    }

    #[test]
    fn no_bin_is_given_more_slots_than_there_are() {
        // SAFETY: slots may be zero.
        let slots: std::boxed::Box<Slots> = unsafe { std::boxed::Box::new_zeroed().assume_init() };
        for class in (0..CLASSES as u8).map(SizeClass) {
            let (few, most) = (slots.first(class).1 as usize, fitting(class, || u64::MAX) as usize);
            assert!(few <= FIRST && most <= slots.all(class).map_or(FIRST, <[Slot]>::len), "{class:?}");
            assert!(fitting(class, || 0) as usize >= few);
        }
    }
}
