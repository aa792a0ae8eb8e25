//! The process's own segment: made, filled in, kept up and removed here.
//!
//! | module | subject |
//! |---|---|
//! | [`object`]   | the named object: claimed by lock, mapped, removed |
//! | [`sweep`]    | objects that dead processes left behind |
//! | [`identity`] | what the header says about this process |
//! | [`populate`] | memory behind rows and rings before they are touched |
//! | [`sums`]     | totals over all rows |
//! | [`history`]  | the rings |

mod history;
mod identity;
mod object;
mod populate;
mod sums;
mod sweep;

pub(crate) use history::tick;
pub(crate) use populate::bytes as memory_bytes;
pub(crate) use sums::{LineSum, Sums, collect};

use crate::beside;
use crate::clock;
use crate::options::Options;
use crate::os::{self, Errno};
use crate::print::Line;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use object::Object;
use shm_layout::class::{BUCKETS, CLASSES, LINES, SizeClass, bucket_limit};
use shm_layout::layout::*;

/// Where the heap lies; copied to the header.
pub(crate) struct Ranges {
    /// Address and bytes of the window.
    pub(crate) window: (usize, usize),
    /// Address and bytes of the tables.
    pub(crate) tables: (usize, usize),
}

/// A mapped segment: a shared object, or private memory of the same layout where it cannot be published.
///
/// `base` is the start of [`mapped`](Self::mapped) bytes, of which those that [`populate`] stands for have memory behind them. They
/// stay mapped as long as the process lives, but for rows that it can have no more ([`release`]); a forked child puts its own in
/// their place.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    base: *mut u8,
    pid: u32,
    suffix: u32,
    published: bool,
    /// Its name outlives an orderly end.
    kept: bool,
}

// SAFETY: everything behind `base` is atomic and is never unmapped.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

/// Why a segment is not published.
struct Refusal {
    what: &'static str,
    errno: Option<Errno>,
}

impl Refusal {
    fn failed(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { what, errno: Some(errno) }
    }
}

impl Segment {
    /// Creates the calling process's segment, in the place of the parent's in a forked child; `forked_from` is then the
    /// parent's PID. Called while the process boots, or by the first thread of a child that uses the heap.
    ///
    /// There is memory behind `row`, and what prevents publishing costs only that: the same memory is then private.
    /// `None` if there is no memory.
    pub(crate) fn create(options: &Options, ranges: Ranges, forked_from: u32, row: usize) -> Option<Self> {
        let place = Place::of_this_program();
        let segment = match Self::publish(options, place, row) {
            Ok(segment) => segment,
            Err(refusal) => {
                if options.verbose {
                    refusal.print();
                }
                Self::private(place, row)?
            }
        };
        segment.describe(options, ranges, forked_from);
        if segment.published {
            segment.describe_process();
        }
        history::start(segment);
        segment.header().magic.set(MAGIC);
        Some(segment)
    }

    /// Bytes that are mapped: for as many rows as there can be heaps.
    fn mapped(&self) -> usize {
        bytes(beside::count())
    }

    /// The process-wide counters.
    pub(crate) fn globals(&self) -> &'static Globals {
        // SAFETY: within the populated start of the mapping; all atomics.
        unsafe { &*self.base.add(GLOBALS_OFFSET).cast() }
    }

    /// The header.
    pub(crate) fn header(&self) -> &'static Header {
        // SAFETY: as in `globals`.
        unsafe { &*self.base.cast() }
    }

    /// Row `i`, with memory behind it; `None` if there is no room, which rows 0 and 1 always have. The caller holds the
    /// central lock.
    pub(crate) fn row(&self, i: usize) -> Option<&'static Row> {
        // SAFETY: `populate` answers for the row's memory.
        populate::row(*self, i).then(|| unsafe { self.row_unchecked(i) })
    }

    /// The rows in use. Any thread, any time.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> + Clone + use<> {
        let segment = *self;
        // SAFETY: these have memory behind them.
        (0..populate::rows_end()).filter(|&i| populate::has_row(i)).map(move |i| unsafe { segment.row_unchecked(i) })
    }

    /// Ends the segment in an orderly way: marks it and removes its name, unless that is to be kept.
    /// Async-signal-safe, and does nothing the second time. A `vfork` child, which is another process in the same
    /// memory, must not end its parent's.
    pub(crate) fn remove(&self) {
        // The PID comes first: a child that was forked a moment ago must not touch the mapping.
        let ended = if self.kept { ENDED_KEPT } else { ENDED_REMOVED };
        if os::pid() == self.pid && self.globals().ended.elect(0, ended) && self.published && !self.kept {
            object::unlink(self.pid, self.suffix);
        }
    }

    fn publish(options: &Options, place: Place, row: usize) -> Result<Self, Refusal> {
        if !options.publish {
            return Err(Refusal { what: "STATSALLOC_PUBLISH=0", errno: None });
        }
        if is_filtered() {
            return Err(Refusal { what: "its system calls may be filtered", errno: None });
        }
        let pid = os::pid();
        sweep::sweep(pid);
        let object = Object::create(pid)?;
        let segment = Self { base: place.base, pid, suffix: object.suffix, published: true, kept: options.keep };
        // SAFETY: a process has one segment at a time; whatever lies there is not used any more.
        let result = unsafe { object.map(place) }.and_then(|()| segment.open_up(row)).map(|()| segment);
        if result.is_err() {
            object::unlink(pid, object.suffix);
        }
        object.close();
        result
    }

    #[cold]
    fn private(place: Place, row: usize) -> Option<Self> {
        // SAFETY: as in `publish`.
        unsafe { os::reserve_again(place.base, place.bytes) }.ok()?;
        let segment = Self { base: place.base, pid: process_number(), suffix: 0, published: false, kept: false };
        segment.open_up(row).ok()?;
        Some(segment)
    }

    /// Makes the start of a fresh, inaccessible mapping usable, and `row`.
    fn open_up(&self, row: usize) -> Result<(), Refusal> {
        const WHAT: &str = "no room in /dev/shm";
        populate::reset();
        // Of a full file system the kernel says that the address is bad.
        let known = |errno: Errno| Some(errno).filter(|errno| errno.0 != libc::EFAULT);
        populate::start(*self).map_err(|errno| Refusal { what: WHAT, errno: known(errno) })?;
        if populate::row(*self, row) { Ok(()) } else { Err(Refusal { what: WHAT, errno: None }) }
    }

    /// Row `i` if it is in use. Any thread, any time.
    pub(crate) fn row_in_use(&self, i: usize) -> Option<&'static Row> {
        // SAFETY: these have memory behind them.
        (i < populate::rows_end() && populate::has_row(i)).then(|| unsafe { self.row_unchecked(i) })
    }

    /// Lets go of the parent's segment, in a forked child: the lock that tells that the parent lives must not live on
    /// with the child. In its place comes zeroed memory for what an interrupted call still counts; false if none does.
    pub(crate) fn leave(&self) -> bool {
        // SAFETY: the mapping is ours, and a child makes its own segment before it reads one.
        unsafe {
            os::reserve_again(self.base, self.mapped()).is_ok()
                && os::make_accessible(self.base, populate::accessible().min(self.mapped())).is_ok()
        }
    }

    /// # Safety
    /// Row `i` has memory behind it.
    unsafe fn row_unchecked(&self, i: usize) -> &'static Row {
        // SAFETY: the caller's; all atomics, and 64-byte aligned like the mapping.
        unsafe { &*self.base.add(ROWS_OFFSET).cast::<Row>().add(i) }
    }

    /// Line `i` of the class table.
    fn class_info(&self, i: usize) -> &'static ClassInfo {
        debug_assert!(i < LINES);
        // SAFETY: within the populated start of the mapping.
        unsafe { &*self.base.add(CLASSES_OFFSET).cast::<ClassInfo>().add(i) }
    }

    /// Everything but `magic` and what [`Segment::describe_process`] says.
    fn describe(&self, options: &Options, ranges: Ranges, forked_from: u32) {
        let set = |field: &AtomicU32, value: u32| field.store(value, Ordering::Relaxed);
        let header = self.header();
        set(&header.layout_version, LAYOUT_VERSION);
        set(&header.header_bytes, size_of::<Header>() as u32);
        header.segment_bytes.set(SEGMENT_BYTES as u64);
        set(&header.globals_offset, GLOBALS_OFFSET as u32);
        set(&header.globals_bytes, size_of::<Globals>() as u32);
        set(&header.classes_offset, CLASSES_OFFSET as u32);
        set(&header.class_count, CLASSES as u32);
        set(&header.bucket_count, BUCKETS as u32);
        set(&header.class_bytes, size_of::<ClassInfo>() as u32);
        set(&header.totals_offset, TOTALS_OFFSET as u32);
        set(&header.totals_bytes, size_of::<TotalsSlot>() as u32);
        for (field, slots) in header.totals_slots.iter().zip([SECONDS, MINUTES, HOURS]) {
            set(field, slots as u32);
        }
        set(&header.class_ring_slots, CLASS_MINUTES as u32);
        set(&header.class_ring_offset, CLASS_RING_OFFSET as u32);
        set(&header.class_slot_bytes, size_of::<ClassSlot>() as u32);
        header.rows_offset.set(ROWS_OFFSET as u64);
        set(&header.row_bytes, size_of::<Row>() as u32);
        set(&header.row_count, ROWS as u32);

        set(&header.pid, self.pid);
        header.created_realtime_ns.set(clock::ask(libc::CLOCK_REALTIME));
        header.created_monotonic_ns.set(clock::ask(libc::CLOCK_MONOTONIC));
        header.window_address.set(ranges.window.0 as u64);
        header.window_bytes.set(ranges.window.1 as u64);
        header.tables_address.set(ranges.tables.0 as u64);
        header.tables_bytes.set(ranges.tables.1 as u64);
        set(&header.forked_from, forked_from);
        set(&header.decay_ms, options.decay_ms.unwrap_or(u32::MAX));

        for class in 0..CLASSES {
            let (class, info) = (SizeClass(class as u8), self.class_info(class));
            info.block_size.set(class.block_size() as u64);
            set(&info.slab_blocks, class.slab_blocks() as u32);
            set(&info.slab_bytes, (class.slab_units() * shm_layout::class::UNIT) as u32);
        }
        for bucket in 0..BUCKETS {
            self.class_info(CLASSES + bucket).block_size.set(bucket_limit(bucket));
        }
    }

    /// Who this is, for those who look from outside.
    fn describe_process(&self) {
        let header = self.header();
        header.uid.store(os::effective_uid(), Ordering::Relaxed);
        header.pid_namespace.set(identity::pid_namespace());
        header.start_ticks.set(identity::start_ticks());
        header.parent.store(os::parent_pid(), Ordering::Relaxed);
        header.executable_len.store(identity::executable(&header.executable), Ordering::Relaxed);
    }
}

static FILTERED: AtomicBool = AtomicBool::new(false);

/// From now on the process's system calls may be filtered, and one that the filter does not expect may end it: the
/// segment's name is left to those who sweep, and a child's segment has none.
pub(crate) fn expect_filter() {
    FILTERED.store(true, Ordering::Relaxed);
}

/// Whether only such system calls may be made as any allocator makes.
pub(crate) fn is_filtered() -> bool {
    FILTERED.load(Ordering::Relaxed)
}

/// The process's number; where a filter may end it for the system call, that of the calling thread, which is the same in a
/// child that has no other.
pub(crate) fn process_number() -> u32 {
    if is_filtered() { os::tid_by_library() } else { os::pid() }
}

/// The calling thread's number, as far as it can be asked for.
pub(crate) fn thread_number() -> u32 {
    if is_filtered() { os::tid_by_library() } else { os::tid() }
}

/// The calling thread's name, NUL-padded; empty where a filter may end the process for the system call.
pub(crate) fn thread_name() -> [u8; 16] {
    if is_filtered() { [0; 16] } else { os::thread_name() }
}

/// Whether row `id` can be read.
pub(crate) fn has_row(id: u32) -> bool {
    (id as usize) < populate::rows_end() && populate::has_row(id as usize)
}

/// Rows in use of this process's present segment; none before there is one.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let base = beside::segment() as usize;
    let rows = (0..populate::rows_end()).filter(|&i| populate::has_row(i));
    // SAFETY: these have memory behind them.
    rows.map(move |i| unsafe { &*((base + ROWS_OFFSET) as *const Row).add(i) })
}

/// The callers of foreign frees in this process's present segment; `None` before there is one.
pub(crate) fn foreign_slots() -> Option<&'static [ForeignSlot; FOREIGNERS]> {
    // SAFETY: they lie there; all atomics.
    start().map(|base| unsafe { &*((base + FOREIGN_OFFSET) as *const _) })
}

/// Where the callers of the misuse events are from; as `foreign_slots`.
pub(crate) fn misuse_modules() -> Option<&'static [MisuseModule; MISUSES]> {
    // SAFETY: they lie there; all atomics.
    start().map(|base| unsafe { &*((base + MODULES_OFFSET) as *const _) })
}

/// Where the present segment starts, with memory behind all that comes before the rings.
fn start() -> Option<usize> {
    (populate::rows_end() != 0).then(|| beside::segment() as usize)
}

impl Refusal {
    fn print(self) {
        let line = Line::new().text("statsalloc: statsmon cannot see this process: ").text(self.what);
        match self.errno {
            Some(Errno(number)) => {
                let why = match number {
                    libc::ENOSPC => "no space or no inodes left there, ",
                    libc::EROFS => "it is read-only, ",
                    libc::EACCES => "not permitted, ",
                    _ => "",
                };
                line.text(" (").text(why).text("error ").number(number as u64).text(")").print();
            }
            None => line.print(),
        }
    }
}

/// Where the segment of this program lies, and those of all children. Reserved once, with the window: a child may be under a
/// limit on address space that its parent's reservations exceed already.
#[derive(Clone, Copy)]
struct Place {
    base: *mut u8,
    bytes: usize,
}

impl Place {
    /// The window is open.
    fn of_this_program() -> Self {
        Self { base: beside::segment(), bytes: bytes(beside::count()) }
    }
}

/// Gives up the address space of rows from number `rows` on, of `all` that were mapped. Nobody has ever had one of them, and
/// there is room for no such heap any more.
#[cold]
pub(crate) fn release(rows: usize, all: usize) {
    // SAFETY: the end of our mapping, of which nothing is in use.
    let _ = unsafe { os::unmap(beside::segment().wrapping_add(bytes(rows)), bytes(all) - bytes(rows)) };
}

/// Rows that were ever asked for.
pub(crate) fn rows_end() -> usize {
    populate::rows_end()
}

/// Bytes of a segment with so many rows.
pub(crate) fn bytes(rows: usize) -> usize {
    ROWS_OFFSET + rows * size_of::<Row>()
}

const _: () = assert!(SEGMENT_BYTES == ROWS_OFFSET + ROWS * size_of::<Row>());

/// Rows, and heaps, that there can be under a limit on address space of so many bytes: one for every 2 MiB.
pub(crate) fn rows_under(limit: u64) -> usize {
    const FEWEST: u64 = 16;
    (limit >> 21).clamp(FEWEST, ROWS as u64) as usize
}
