//! Resident pages of address ranges, counted by the kernel in the page tables alone: a tenth of what `smaps` costs, which
//! looks at every page. Linux 6.7 and later.
#![allow(unsafe_code)]

use linux_raw_sys::general::{PAGE_IS_PFNZERO, PAGE_IS_PRESENT, page_region, pm_scan_arg};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Pages after which a call returns, 512 MiB of small ones: the process cannot change its mappings in the meantime.
const PAGES_AT_ONCE: u64 = 1 << 17;
const REGIONS_AT_ONCE: usize = 512;
const NOTHING: page_region = page_region { start: 0, end: 0, categories: 0 };

/// Bytes of the pages in `ranges` that have memory of the process's own behind them, by its `/proc/PID/pagemap`.
///
/// # Errors
/// What the kernel says: `ENOTTY` where it does not know the call.
pub(super) fn resident(pagemap: &File, ranges: &[Range<u64>]) -> io::Result<u64> {
    let page = rustix::param::page_size() as u64;
    let mut regions = [NOTHING; REGIONS_AT_ONCE];
    let mut sum = 0u64;
    for range in ranges {
        let (mut at, end) = (range.start / page * page, range.end / page * page);
        while at < end {
            // SAFETY: the call is the pagemap's, whatever file it is made on: another one does not know it.
            let (found, next) = unsafe { ioctl(pagemap, Scan::new(at..end, &mut regions))? };
            for region in &regions[..found.min(REGIONS_AT_ONCE)] {
                sum = sum.saturating_add(region.end.saturating_sub(region.start));
            }
            if next <= at {
                return Err(Errno::INVAL.into());
            }
            at = next;
        }
    }
    Ok(sum)
}

/// `PAGEMAP_SCAN`: the regions whose pages are there, and not the one page of zeros that all share.
struct Scan<'a> {
    argument: pm_scan_arg,
    /// The kernel writes here.
    _regions: &'a mut [page_region],
}

impl<'a> Scan<'a> {
    fn new(range: Range<u64>, regions: &'a mut [page_region]) -> Self {
        let argument = pm_scan_arg {
            size: size_of::<pm_scan_arg>() as u64,
            flags: 0,
            start: range.start,
            end: range.end,
            walk_end: 0,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            max_pages: PAGES_AT_ONCE,
            category_inverted: PAGE_IS_PFNZERO.into(),
            category_mask: (PAGE_IS_PRESENT | PAGE_IS_PFNZERO).into(),
            category_anyof_mask: 0,
            return_mask: PAGE_IS_PRESENT.into(),
        };
        Self { argument, _regions: regions }
    }
}

// SAFETY: number, size and direction are the kernel's, and so is the argument's layout; it reads and writes that, and at
// most `vec_len` regions at `vec`, which are borrowed exclusively for as long as this lives.
unsafe impl Ioctl for Scan<'_> {
    /// How many regions there are, and where the walk stopped.
    type Output = (usize, u64);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<pm_scan_arg>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.argument).cast()
    }

    unsafe fn output_from_ptr(count: IoctlOutput, argument: *mut c_void) -> rustix::io::Result<Self::Output> {
        // SAFETY: what `as_ptr` has given, after a call that succeeded.
        let argument = unsafe { &*argument.cast::<pm_scan_arg>() };
        Ok((usize::try_from(count).unwrap_or(0), argument.walk_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    const PAGES: usize = 4096;

    /// Pages of our own that nothing else uses; unmapped when dropped.
    struct Own(*mut c_void, usize);

    impl Own {
        fn new(page: usize) -> Self {
            let (size, protection) = (PAGES * page, ProtFlags::READ | ProtFlags::WRITE);
            // SAFETY: a new mapping.
            let start = unsafe { mmap_anonymous(std::ptr::null_mut(), size, protection, MapFlags::PRIVATE).unwrap() };
            // SAFETY: it is ours.
            unsafe { madvise(start, size, Advice::LinuxNoHugepage).unwrap() };
            Self(start, size)
        }

        fn range(&self) -> Range<u64> {
            self.0 as u64..self.0 as u64 + self.1 as u64
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            // SAFETY: it is ours, and nobody holds a reference into it.
            unsafe { munmap(self.0, self.1).unwrap() };
        }
    }

    #[test]
    fn pages_count_once_they_are_written_and_not_while_they_share_the_page_of_zeros() {
        let page = rustix::param::page_size();
        let own = Own::new(page);
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        // A file that knows nothing of it.
        assert!(resident(&File::open("/proc/self/maps").unwrap(), &[own.range()]).is_err());
        match resident(&pagemap, &[own.range()]) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTTY) => {
                ::tests::require::skipped("needs a kernel with PAGEMAP_SCAN");
                return;
            }
            nothing => assert_eq!(nothing.unwrap(), 0),
        }
        // Every second page: more regions than one call returns.
        for at in 0..PAGES {
            let byte = own.0.cast::<u8>().wrapping_add(at * page);
            // SAFETY: within the mapping.
            unsafe { if at % 2 == 0 { byte.write_volatile(1) } else { _ = byte.read_volatile() } };
        }
        assert_eq!(resident(&pagemap, &[own.range()]).unwrap(), (PAGES / 2 * page) as u64);
        let middle = own.range().start + (PAGES / 2 * page) as u64;
        let halves = [own.range().start..middle, middle..own.range().end];
        assert_eq!(resident(&pagemap, &halves).unwrap(), (PAGES / 2 * page) as u64);
    }
}
