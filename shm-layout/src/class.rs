//! Size classes (small blocks, carved from slabs) and buckets (large blocks, one span each).
//!
//! Eight classes a doubling up to 2 KiB, where rounding wastes at most an eighth of a block above 128 bytes. Then four up to
//! 16 KiB, and one for what is a little larger than 2, 4 or 8 KiB, as pages with a header are; at last two, whose blocks are
//! whole pages. Every class that a thread uses costs it some blocks that lie ready, and large ones more than what finer classes
//! would save.

/// Every block starts on a multiple of this many bytes, and has at least this size.
pub const GRANULE: usize = 16;
/// The address range behind one slab record: slabs and spans are whole units.
pub const UNIT: usize = 32 << 10;
/// Slabs of blocks above 1 KiB, but for those of one class, are whole pairs of units, and so are spans: so fewer lengths are in
/// use, and what one has left serves another.
pub const PAIR: usize = 2 * UNIT;
/// Of blocks of so many bytes the eighteenth would begin 128 bytes before the slab's second unit: too near for what the library
/// notes of it, 192 bytes on. One unit wastes as little of itself as two.
const NEAR_A_BORDER: usize = 1920;
/// Largest block that comes from a slab; anything above is a span.
pub const SMALL_MAX: usize = 32 << 10;
/// Number of size classes.
pub const CLASSES: usize = 57;
/// Number of buckets that large blocks are counted in.
pub const BUCKETS: usize = 24;
/// Lines of a row: the classes, then the buckets.
pub const LINES: usize = CLASSES + BUCKETS;

/// Index of a size class, `0..CLASSES`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SizeClass(pub u8);

impl SizeClass {
    /// The smallest class whose blocks hold `size` bytes; `None` above [`SMALL_MAX`].
    #[inline(always)]
    pub const fn of(size: usize) -> Option<Self> {
        if size <= FINE_MAX {
            Some(Self(FINE[(size + 15) >> 4]))
        } else if size <= SMALL_MAX {
            Some(Self(COARSE[(size - 1) >> 7]))
        } else {
            None
        }
    }

    /// The smallest class that holds `size` bytes at addresses that are multiples of `align` (a power of two);
    /// `None` where no slab gives that. Slabs start on a unit, so a block is aligned as its size is. None below 256 bytes is
    /// given of which 128 or more would not be asked for, which only happens to `size` zero: the library notes such a
    /// difference in several places, 64 bytes apart.
    pub const fn of_aligned(size: usize, align: usize) -> Option<Self> {
        if align > SMALL_MAX {
            return None;
        }
        let at_least = if size < align { align } else { size };
        let Some(mut class) = Self::of(at_least) else { return None };
        while !class.block_size().is_multiple_of(align) || class.block_size() < 256 && class.block_size() >= size + 128
        {
            class.0 += 1;
            if class.0 as usize == CLASSES {
                return None;
            }
        }
        Some(class)
    }

    /// Bytes of one block.
    #[inline(always)]
    pub const fn block_size(self) -> usize {
        // One entry for every `u8`, so that no check is needed.
        BLOCK_SIZE[self.0 as usize] as usize
    }

    /// Bytes by which its blocks are larger than those of the class below.
    pub const fn step(self) -> usize {
        match self.0.checked_sub(1) {
            Some(below) => self.block_size() - Self(below).block_size(),
            None => self.block_size(),
        }
    }

    /// Units of one slab: one up to 1 KiB, two up to 8 KiB, then as many as eight blocks need; one for [`NEAR_A_BORDER`].
    pub const fn slab_units(self) -> usize {
        let size = self.block_size();
        if size <= FINE_MAX || size == NEAR_A_BORDER { 1 } else { (size * 8).div_ceil(PAIR) * (PAIR / UNIT) }
    }

    /// Blocks in one slab.
    pub const fn slab_blocks(self) -> usize {
        match (self.slab_units() * UNIT).checked_div(self.block_size()) {
            Some(blocks) => blocks,
            None => 0,
        }
    }
}

/// The bucket (`0..BUCKETS`) in which a large block of `allocated` bytes is counted.
pub const fn bucket_of(allocated: usize) -> usize {
    let doublings = (allocated.saturating_sub(1) / PAIR).checked_ilog2();
    match doublings {
        None => 0,
        Some(log2) if log2 as usize + 2 < BUCKETS => log2 as usize + 1,
        Some(_) => BUCKETS - 1,
    }
}

/// The largest block counted in `bucket`, in bytes: 64 KiB, doubling; the last has no limit (`u64::MAX`).
pub const fn bucket_limit(bucket: usize) -> u64 {
    if bucket + 1 >= BUCKETS { u64::MAX } else { (PAIR as u64) << bucket }
}

/// Largest size found in the fine table, which has one entry for every 16 bytes.
pub const FINE_MAX: usize = 1024;

static BLOCK_SIZE: [u16; 256] = block_sizes();
static FINE: [u8; FINE_MAX / 16 + 1] = fine_table();
static COARSE: [u8; SMALL_MAX / 128] = coarse_table();

/// The first class of those that are further apart.
const COARSER: usize = 40;
/// The sizes of one doubling there, in eighths of where it begins.
const EIGHTHS: [usize; 5] = [9, 10, 12, 14, 16];
/// The largest sizes.
const LARGEST: [usize; 2] = [24 << 10, SMALL_MAX];

const fn size_of_class(class: usize) -> usize {
    if class < 8 {
        16 * (class + 1)
    } else if class < COARSER {
        let base = 128 << ((class - 8) / 8);
        base + ((class - 8) % 8 + 1) * (base / 8)
    } else if class < CLASSES - LARGEST.len() {
        let step = class - COARSER;
        (256 << (step / EIGHTHS.len())) * EIGHTHS[step % EIGHTHS.len()]
    } else {
        LARGEST[class + LARGEST.len() - CLASSES]
    }
}

const fn block_sizes() -> [u16; 256] {
    let mut sizes = [0; 256];
    let mut class = 0;
    while class < CLASSES {
        sizes[class] = size_of_class(class) as u16;
        class += 1;
    }
    sizes
}

const fn smallest_holding(size: usize) -> u8 {
    let mut class = 0;
    while size_of_class(class) < size {
        class += 1;
    }
    class as u8
}

const fn fine_table() -> [u8; FINE_MAX / 16 + 1] {
    let mut table = [0; FINE_MAX / 16 + 1];
    let mut i = 0;
    while i < table.len() {
        table[i] = smallest_holding(i * 16);
        i += 1;
    }
    table
}

const fn coarse_table() -> [u8; SMALL_MAX / 128] {
    let mut table = [0; SMALL_MAX / 128];
    let mut i = 0;
    while i < table.len() {
        table[i] = smallest_holding((i + 1) * 128);
        i += 1;
    }
    table
}

const _: () = assert!(size_of_class(CLASSES - 1) == SMALL_MAX);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=SMALL_MAX {
            let class = SizeClass::of(size).unwrap();
            assert!(class.block_size() >= size);
            assert!(class.0 == 0 || SizeClass(class.0 - 1).block_size() < size);
        }
        assert!(SizeClass::of(SMALL_MAX + 1).is_none());
    }

    #[test]
    fn rounding_is_at_most_an_eighth_above_128_bytes_a_fifth_above_2_kib_and_two_pages_above_16() {
        for size in 129..=SMALL_MAX {
            let block = SizeClass::of(size).unwrap().block_size();
            let most = match size {
                ..2049 => block / 8,
                2049..16385 => block / 5,
                _ => 8192,
            };
            assert!(block - size <= most, "{size} -> {block}");
        }
    }

    #[test]
    fn a_page_with_a_header_wastes_no_more_than_an_eighth() {
        for page in [2048, 4096, 8192] {
            assert_eq!(SizeClass::of(page + 1).unwrap().block_size(), page / 8 * 9);
        }
    }

    #[test]
    fn aligned_classes_hold_and_align() {
        for shift in 4..=15 {
            let align = 1 << shift;
            for size in (0..2048).chain([4096, 5000, 20000, 32768]) {
                if let Some(class) = SizeClass::of_aligned(size, align) {
                    let unasked = class.block_size() - size;
                    assert!(class.block_size() % align == 0 && (unasked < 128 || class.block_size() >= 256));
                } else {
                    assert!(size > SMALL_MAX);
                }
            }
        }
    }

    #[test]
    fn slabs_of_several_units_hold_at_least_eight_blocks() {
        for class in 0..CLASSES {
            let class = SizeClass(class as u8);
            assert!(class.slab_blocks() >= 8);
            assert!(class.slab_units() <= 8);
        }
    }

    #[test]
    fn buckets_cover_every_size() {
        assert_eq!(bucket_of(1), 0);
        assert_eq!(bucket_of(PAIR), 0);
        assert_eq!(bucket_of(PAIR + 1), 1);
        assert_eq!(bucket_of(usize::MAX), BUCKETS - 1);
        for bucket in 0..BUCKETS - 1 {
            let limit = bucket_limit(bucket) as usize;
            assert_eq!((bucket_of(limit), bucket_of(limit + 1)), (bucket, bucket + 1));
        }
    }
}
