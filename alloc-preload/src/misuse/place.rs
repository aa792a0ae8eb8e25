//! What an address outside the heap points into: found out on the cold path, by reading and never by touching it.
//!
//! A block of another allocator lies in anonymous memory or on the break. What lies in a stack, in a file's data or
//! text, or nowhere, was never anybody's block. Two of these look anonymous: a thread's stack, known by the stack and
//! thread pointers that its row holds, and an object's `.bss`, which its program headers tell the end of.

use super::maps::{self, FileName, Mapping, PathEnd};
use crate::os;
use crate::print::Line;
use crate::segment;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use shm_layout::layout::row_state;

/// What an address points into.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Nothing is mapped there, or ever can be.
    Nothing,
    /// Mapped, but nobody may read it.
    Forbidden,
    /// A stack: of this thread of the process, or (0) of the main thread.
    Stack(u32),
    /// The code, or the data, of this file or of the kernel's.
    File { name: FileName, code: bool },
    /// The memory that `brk` hands out.
    Break,
    /// Memory that some allocator may have got from the kernel.
    Anonymous,
    /// It cannot be found out.
    Unknown,
}

impl Place {
    /// Whether another allocator's block may lie there.
    pub(super) fn may_be_foreign(&self) -> bool {
        matches!(self, Self::Break | Self::Anonymous | Self::Unknown)
    }

    /// `, where nothing is mapped` and the like.
    pub(super) fn describe(&self, line: Line) -> Line {
        match self {
            Self::Nothing => line.text(", where nothing is mapped"),
            Self::Forbidden => line.text(" points into memory that nobody may read"),
            Self::Stack(0) => line.text(" points into the main thread's stack"),
            Self::Stack(tid) => line.text(" points into the stack of thread ").number((*tid).into()),
            Self::File { name, code } => {
                let into = if *code { " points into the code of " } else { " points into the data of " };
                name.describe(line.text(into))
            }
            Self::Break => line.text(" points into the memory of brk"),
            Self::Anonymous => line.text(" points into anonymous memory"),
            Self::Unknown => line.text(" is not from this heap"),
        }
    }
}

/// The file that an address of code lies in.
#[derive(Clone, Copy)]
pub(super) struct Module {
    pub(super) path: PathEnd,
    /// The address as the file has it: of a shared object how far behind its start, of an executable that is always
    /// loaded at the same place the address itself. Symbolisers take it so.
    pub(super) offset: usize,
}

impl Module {
    /// ` (libx.so+0x123)`
    pub(super) fn describe(&self, line: Line) -> Line {
        self.path.file_name().describe(line.text(" (")).text("+").hex(self.offset as u64).text(")")
    }
}

/// How often the mappings are read. Others may change them meanwhile, and one that has just been joined to its
/// neighbour below, of which less was read, is missed.
const READINGS: usize = 4;

/// Looks up what `address` points into, and which module `caller` is in.
#[cold]
#[inline(never)]
pub(super) fn look_up(address: usize, caller: usize) -> (Place, Option<Module>) {
    let mut readings = 0;
    let search = loop {
        let mut search = Search::of(address, caller);
        let read = maps::each(&mut |mapping| search.visit(mapping));
        readings += 1;
        if is_impossible(address) {
            search.place = Place::Nothing;
        } else if matches!(search.place, Place::Nothing) && os::is_mapped(address) {
            search.place = Place::Unknown;
        }
        if read.is_err() || readings == READINGS || !matches!(search.place, Place::Unknown) {
            break search;
        }
    };
    if matches!(search.place, Place::Break | Place::Anonymous) {
        KNOWN_FOREIGN.add(search.before.start, search.before.end);
    }
    (search.place, search.module)
}

/// Whether no memory of a program can have this address: the first page, and all that is not in the lower half.
pub(super) fn is_impossible(address: usize) -> bool {
    address < os::PAGE || address >> 47 != 0
}

/// Whether `address` lies in memory that was found to be another allocator's before. It may have become something else
/// since; then a wrong free in it passes for foreign.
pub(super) fn is_known_foreign(address: usize) -> bool {
    KNOWN_FOREIGN.contains(address)
}

struct Search {
    address: usize,
    caller: usize,
    /// The mapping visited last; once `address` is found, the one that holds it.
    before: Mapping,
    /// The last that begins at the start of a file.
    head: Mapping,
    place: Place,
    module: Option<Module>,
}

impl Search {
    fn of(address: usize, caller: usize) -> Self {
        Self { address, caller, before: Mapping::NONE, head: Mapping::NONE, place: Place::Nothing, module: None }
    }

    fn visit(&mut self, mapping: &Mapping) {
        if mapping.inode != 0 && mapping.offset == 0 {
            self.head = *mapping;
        }
        if mapping.contains(self.caller) && !mapping.name().is_empty() {
            let start = if self.head.inode == mapping.inode { self.head.start } else { mapping.start };
            let linked = extent(start).map_or(0, |(lowest, _)| lowest);
            self.module = Some(Module { path: mapping.path(), offset: (self.caller - start).wrapping_add(linked) });
        }
        if self.before.contains(self.address) {
            return;
        }
        if mapping.contains(self.address) {
            self.place = self.judge(mapping);
        }
        self.before = *mapping;
    }

    /// What `mapping`, which holds the address, is.
    fn judge(&self, mapping: &Mapping) -> Place {
        let name = mapping.name();
        if name == b"[stack]" {
            return Place::Stack(0);
        }
        if !mapping.accessible {
            return Place::Forbidden;
        }
        let anonymous = name.is_empty() || name == b"[heap]" || name.starts_with(b"[anon");
        if !anonymous {
            // Shared memory has a name, and is handed out in blocks as anonymous memory is.
            let shared = [&b"/memfd:"[..], b"/dev/zero", b"/dev/shm/", b"/SYSV", b"/anon_hugepage"];
            if shared.iter().any(|start| name.starts_with(start)) {
                return Place::Anonymous;
            }
            return Place::File { name: mapping.file_name(), code: mapping.executable };
        }
        // The zeroed end of an object's data follows the part that comes from its file.
        let file = &self.before;
        if file.inode != 0
            && file.end == mapping.start
            && file.inode == self.head.inode
            && data_end(self.head.start).is_some_and(|end| self.address < end)
        {
            return Place::File { name: file.file_name(), code: false };
        }
        match stack_of(mapping, self.address) {
            Some(tid) => Place::Stack(tid),
            None if name == b"[heap]" => Place::Break,
            None => Place::Anonymous,
        }
    }
}

/// The thread in whose stack, this mapping, the address lies. A stack made by libpthread ends with the thread's
/// descriptor, which the thread pointer points to; the kernel may have joined a mapping of somebody else's above it.
fn stack_of(mapping: &Mapping, address: usize) -> Option<u32> {
    const DESCRIPTOR: usize = os::PAGE;
    let holds = |stack: usize, thread: usize| {
        mapping.contains(stack) && mapping.contains(thread) && stack < thread && address < thread + DESCRIPTOR
    };
    let (stack, thread) = pointers();
    if holds(stack, thread) {
        return Some(segment::thread_number());
    }
    segment::rows().find_map(|row| {
        let own = holds(row.stack_pointer.get() as usize, row.thread_pointer.get() as usize);
        (own && row.state.load(Ordering::Relaxed) == row_state::LIVE).then(|| row.tid.load(Ordering::Relaxed))
    })
}

/// The calling thread's stack and thread pointers.
pub(crate) fn pointers() -> (usize, usize) {
    let (stack, thread): (usize, usize);
    // SAFETY: reads two registers; the first word of a thread's descriptor is its own address.
    unsafe {
        asm!(
            "mov {stack}, rsp",
            "mov {thread}, qword ptr fs:[0]",
            stack = out(reg) stack,
            thread = out(reg) thread,
            options(readonly, nostack, preserves_flags),
        );
    }
    (stack, thread)
}

/// Where the data of the object ends whose file's start is mapped at `start`, rounded up to a page. `None` if it is no
/// object of ours to read.
fn data_end(start: usize) -> Option<usize> {
    let (_, bytes) = extent(start)?;
    start.checked_add(bytes)?.checked_next_multiple_of(os::PAGE)
}

/// Where the object begins in its own terms, on a page, and up to which of its bytes it is loaded. As in [`data_end`].
fn extent(start: usize) -> Option<(usize, usize)> {
    const LOAD: u32 = 1;
    const MOST_SEGMENTS: u16 = 64;
    let header: [u8; 64] = read(start)?;
    let count = u16::from_le_bytes(piece(&header, 56)?);
    if !header.starts_with(b"\x7fELF\x02\x01") || count > MOST_SEGMENTS || u16::from_le_bytes(piece(&header, 54)?) != 56
    {
        return None;
    }
    let table = start.checked_add(u64::from_le_bytes(piece(&header, 32)?) as usize)?;
    let (mut lowest, mut highest) = (usize::MAX, 0);
    for i in 0..count as usize {
        let segment: [u8; 56] = read(table.checked_add(i * 56)?)?;
        if u32::from_le_bytes(piece(&segment, 0)?) == LOAD {
            let address = u64::from_le_bytes(piece(&segment, 16)?) as usize;
            let size = u64::from_le_bytes(piece(&segment, 40)?) as usize;
            lowest = lowest.min(address);
            highest = highest.max(address.checked_add(size)?);
        }
    }
    let lowest = lowest & !(os::PAGE - 1);
    Some((lowest, highest.checked_sub(lowest)?))
}

/// A copy of what lies at `address`, made by the kernel; `None` where nothing can be read.
fn read<const N: usize>(address: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (os::read_memory(address, &mut bytes) == Ok(N)).then_some(bytes)
}

fn piece<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// A few ranges of another allocator's memory, so that its next block need not be looked up.
struct Ranges {
    /// Page number of the start in the upper 36 bits, pages in the lower 28; 0: none.
    ranges: [AtomicU64; 8],
    next: AtomicU32,
}

static KNOWN_FOREIGN: Ranges = Ranges { ranges: [const { AtomicU64::new(0) }; 8], next: AtomicU32::new(0) };

impl Ranges {
    fn add(&self, start: usize, end: usize) {
        let pages = ((end - start) / os::PAGE).min((1 << 28) - 1);
        let range = ((start / os::PAGE) as u64) << 28 | pages as u64;
        let next = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(place) = self.ranges.get(next % self.ranges.len()) {
            place.store(range, Ordering::Relaxed);
        }
    }

    fn contains(&self, address: usize) -> bool {
        self.ranges.iter().any(|range| {
            let range = range.load(Ordering::Relaxed);
            let (start, pages) = ((range >> 28) as usize, (range & ((1 << 28) - 1)) as usize);
            (start..start + pages).contains(&(address / os::PAGE))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::string::String;

    fn described(address: usize) -> String {
        let (place, _) = look_up(address, 0);
        String::from_utf8(place.describe(Line::new()).bytes().to_vec()).unwrap()
    }

    #[test]
    fn code_data_and_zeroed_data_belong_to_their_file() {
        static DATA: AtomicU64 = AtomicU64::new(5);
        static ZEROED: [AtomicU64; 100_000] = [const { AtomicU64::new(0) }; 100_000];
        let own = std::env::current_exe().unwrap();
        let own = own.file_name().unwrap().to_string_lossy().into_owned();
        let own = own.get(..64).unwrap_or(&own);
        assert_eq!(
            described(look_up as *const () as usize),
            format_args!(" points into the code of {own}").to_string()
        );
        for address in [&raw const DATA as usize, &raw const ZEROED as usize + 400_000] {
            assert_eq!(described(address), format_args!(" points into the data of {own}").to_string());
        }
    }

    #[test]
    fn blocks_of_others_may_be_foreign_and_nothing_else_may() {
        let block = Box::new([0u8; 1 << 20]);
        let (place, _) = look_up(&raw const *block as usize, 0);
        assert!(place.may_be_foreign());
        assert!(is_known_foreign(&raw const *block as usize));
        let local = 0u64;
        for address in
            [&raw const local as usize, 16, usize::MAX - 15, 0x4141_4141_4141_4140, look_up as *const () as usize]
        {
            let (place, _) = look_up(address, 0);
            assert!(!place.may_be_foreign(), "{address:#x}: {}", described(address));
        }
    }

    #[test]
    fn a_caller_is_named_by_its_module() {
        let (_, module) = look_up(16, look_up as *const () as usize);
        let line = module.unwrap().describe(Line::new());
        let text = String::from_utf8_lossy(line.bytes()).into_owned();
        assert!(text.starts_with(" (") && text.contains("+0x"), "{text}");
        assert!(look_up(16, 16).1.is_none());
    }

    #[test]
    fn ranges_hold_what_was_added_and_no_more() {
        let ranges = Ranges { ranges: [const { AtomicU64::new(0) }; 8], next: AtomicU32::new(0) };
        assert!(!ranges.contains(0) && !ranges.contains(0x7fff_0000_0000));
        for i in 1..20 {
            ranges.add(i << 30, (i << 30) + 0x3000);
            assert!(ranges.contains(i << 30) && ranges.contains((i << 30) + 0x2fff));
            assert!(!ranges.contains((i << 30) + 0x3000) && !ranges.contains((i << 30) - 1));
        }
        ranges.add(0, usize::MAX >> 1);
        assert!(ranges.contains(5 << 30));
    }
}
