//! Our statistics through glibc's interfaces: `malloc_stats`, `malloc_info`, `mallinfo` and `mallinfo2`.

use crate::os;
use crate::print::Line;
use crate::segment::{LineSum, Segment, Sums, collect};
use shm_layout::class::{CLASSES, bucket_limit};

/// The present totals.
pub(crate) fn sums(segment: Segment) -> Sums {
    collect(segment, |_, _| {})
}

/// The totals of the reports, under the names of our vocabulary; in bytes, blocks or calls.
fn totals(sums: &Sums) -> [(&'static str, u64); 16] {
    [
        ("requested", sums.requested),
        ("allocated", sums.allocated),
        ("pinned", sums.pinned),
        ("cached", sums.cached),
        ("metadata", sums.metadata),
        ("committed", sums.committed),
        ("retained", sums.retained),
        ("purged", sums.purged),
        ("stranded", sums.stranded),
        ("peak requested", sums.peak_requested),
        ("peak allocated", sums.peak_allocated),
        ("live blocks", sums.live_blocks),
        ("allocations", sums.allocations),
        ("frees", sums.frees),
        ("reallocations", sums.reallocations),
        ("remote frees", sums.remote_frees),
    ]
}

/// How many of these are bytes; the others are counts.
const BYTE_TOTALS: usize = 11;

/// `malloc_stats`: one line for each total, on standard error.
#[cold]
#[inline(never)]
pub(crate) fn malloc_stats(segment: Segment) {
    Line::new().text("statsalloc heap of process ").number(os::pid().into()).text(":").print();
    for (i, (name, value)) in totals(&sums(segment)).into_iter().enumerate() {
        let name = pad(Line::new().text(name).text(if i < BYTE_TOTALS { " bytes" } else { "" }), 20);
        right(name.text(" = "), value, 20).print();
    }
}

/// `malloc_info`: XML, in pieces of at most one line.
#[cold]
#[inline(never)]
pub(crate) fn malloc_info(segment: Segment, write: &mut dyn FnMut(&[u8])) {
    write(b"<malloc version=\"statsalloc-1\">\n<heap nr=\"0\">\n<sizes>\n");
    let mut from = 0;
    let sums = collect(segment, |line, sum| {
        let to = if line < CLASSES { sum.block_size } else { bucket_limit(line - CLASSES) };
        if sum.allocations != 0 {
            write(size_element(from, to, sum).bytes());
        }
        from = to.wrapping_add(1);
    });
    write(b"</sizes>\n");
    for (i, (name, value)) in totals(&sums).into_iter().enumerate() {
        let line = Line::new().text("<total type=\"").text(name).text("\" ");
        let line = line.text(if i < BYTE_TOTALS { "size" } else { "count" }).text("=\"").number(value);
        write(line.text("\"/>\n").bytes());
    }
    write(b"</heap>\n</malloc>\n");
}

/// Blocks of `from` to `to` bytes, of which there were some.
#[cold]
#[inline(never)]
fn size_element(from: u64, to: u64, sum: &LineSum) -> Line {
    let attribute = |line: Line, name, value| line.text(" ").text(name).text("=\"").number(value).text("\"");
    let mut line = attribute(Line::new().text("  <size"), "from", from);
    if to != u64::MAX {
        line = attribute(line, "to", to);
    }
    for (name, value) in [
        ("live", sum.live_blocks()),
        ("free", sum.free_blocks()),
        ("requested", sum.requested()),
        ("allocated", sum.allocated()),
        ("pinned", sum.pinned()),
        ("allocations", sum.allocations),
        ("frees", sum.frees),
    ] {
        line = attribute(line, name, value);
    }
    line.text("/>\n")
}

/// `mallinfo2`:
///
/// | field | is |
/// |---|---|
/// | `arena` | committed |
/// | `ordblks` | free blocks in slabs in use |
/// | `uordblks` | allocated |
/// | `fordblks` | pinned + cached |
/// | `keepcost` | cached, nearly all of which `malloc_trim` hands back |
/// | `hblks`, `hblkhd` | 0: no block is a mapping of its own, and programs add them to `uordblks` |
/// | `smblks`, `usmblks`, `fsmblks` | 0: glibc's fast bins |
#[cold]
#[inline(never)]
pub(crate) fn mallinfo2(sums: &Sums) -> libc::mallinfo2 {
    libc::mallinfo2 {
        arena: sums.committed as usize,
        ordblks: sums.free_blocks as usize,
        smblks: 0,
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: 0,
        uordblks: sums.allocated as usize,
        fordblks: (sums.pinned + sums.cached) as usize,
        keepcost: sums.cached as usize,
    }
}

/// `mallinfo`: as [`mallinfo2`], but what does not fit is `INT_MAX`.
#[cold]
#[inline(never)]
pub(crate) fn mallinfo(sums: &Sums) -> libc::mallinfo {
    let wide = mallinfo2(sums);
    let narrow = |value: usize| value.min(i32::MAX as usize) as i32;
    libc::mallinfo {
        arena: narrow(wide.arena),
        ordblks: narrow(wide.ordblks),
        smblks: 0,
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: 0,
        uordblks: narrow(wide.uordblks),
        fordblks: narrow(wide.fordblks),
        keepcost: narrow(wide.keepcost),
    }
}

/// Blanks up to `width`.
fn pad(mut line: Line, width: usize) -> Line {
    while line.bytes().len() < width {
        line.push(b" ");
    }
    line
}

/// `value`, right-aligned in `width` columns.
fn right(line: Line, value: u64, width: usize) -> Line {
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    let end = line.bytes().len() + width.saturating_sub(digits);
    pad(line, end).number(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_right_aligned() {
        for (value, wanted) in [(0, "x    0"), (9, "x    9"), (10, "x   10"), (12345, "x12345"), (123456, "x123456")] {
            assert_eq!(right(Line::new().text("x"), value, 5).bytes(), wanted.as_bytes());
        }
    }

    #[test]
    fn mallinfo_saturates() {
        let sums = Sums { allocated: 5 << 30, pinned: 1, cached: 2, committed: 1 << 31, ..Sums::default() };
        assert_eq!(mallinfo2(&sums).uordblks, 5 << 30);
        assert_eq!(mallinfo2(&sums).fordblks, 3);
        let narrow = mallinfo(&sums);
        assert_eq!((narrow.uordblks, narrow.arena, narrow.keepcost), (i32::MAX, i32::MAX, 2));
    }

    #[test]
    fn the_byte_totals_come_first() {
        let totals = totals(&Sums::default());
        assert_eq!(totals[BYTE_TOTALS - 1].0, "peak allocated");
        assert_eq!(totals[BYTE_TOTALS].0, "live blocks");
    }
}
