//! The first call of a process: options, window, segment.

use crate::background;
use crate::central::{self, wiped};
use crate::clock;
use crate::fork;
use crate::harden;
use crate::lock::Lock;
use crate::names;
use crate::options::{self, Options, options};
use crate::os;
use crate::print::Line;
use crate::segment::{self, Ranges, Segment};
use crate::stats::{self, globals};
use crate::thread;
use crate::window::{self, WINDOW};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::hint::cold_path;
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::layout::SHARED_ROW;

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
/// The options have been read, but there was no memory to start with: the next call tries again.
const WAITING: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(CLOSED);
static BOOTING: Lock = Lock::new();

struct Published(UnsafeCell<Option<Segment>>);

// SAFETY: written while booting, before `STATE` says open, and in a child while no other thread uses the
// heap.
unsafe impl Sync for Published {}

static SEGMENT: Published = Published(UnsafeCell::new(None));

/// The segment of this process, once it has booted.
#[inline]
pub(crate) fn segment() -> Option<Segment> {
    // SAFETY: see `Published`.
    unsafe { *SEGMENT.0.get() }
}

/// Boots on the first call. `None` if there is no memory to start with.
#[inline]
pub(crate) fn ensure() -> Option<()> {
    if STATE.load(Ordering::Acquire) == OPEN {
        return Some(());
    }
    cold_path();
    boot()
}

#[inline(never)]
fn boot() -> Option<()> {
    let _guard = BOOTING.lock();
    match STATE.load(Ordering::Acquire) {
        OPEN => return Some(()),
        CLOSED => choose(),
        _ => {}
    }
    if !WINDOW.is_open() {
        window::open(central::heap_area).ok()?;
        if !central::wipe_on_fork() {
            fork::wipe_by_hand();
        }
    }
    publish(0, SHARED_ROW)?;
    globals().metadata.add_shared(2 * os::PAGE as u64);
    thread::open_shared_row()?;
    wiped().ready.set();
    fork::watch_forks();
    clock::read();
    STATE.store(OPEN, Ordering::Release);
    Some(())
}

/// Under the boot lock, once.
fn choose() {
    // SAFETY: under the boot lock.
    unsafe { options::choose(Options::read()) };
    harden::start();
    STATE.store(WAITING, Ordering::Relaxed);
}

/// Reads the options, if that has not been done.
fn choose_options() {
    let _guard = BOOTING.lock();
    if STATE.load(Ordering::Acquire) == CLOSED {
        choose();
    }
}

/// Makes the segment of this process, with memory behind `row`. Only while no other thread uses the heap.
pub(crate) fn publish(forked_from: u32, row: usize) -> Option<()> {
    let ranges = Ranges { window: WINDOW.range(), tables: WINDOW.tables() };
    let segment = Segment::create(options(), ranges, forked_from, row)?;
    // SAFETY: see `Published`.
    unsafe { *SEGMENT.0.get() = Some(segment) };
    stats::set_globals(segment.globals());
    fork::remember_pid();
    background::remember_pid();
    Some(())
}

/// The library's constructor, with what glibc gives to all of them. A program that never allocates is published as well.
extern "C" fn construct(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: as glibc gave it.
    unsafe { options::give(environment) };
    // A process with another `malloc` does without this one.
    names::look_for_another();
    if names::process_has_another() {
        choose_options();
        if options().verbose {
            Line::new().text("statsalloc: statsmon cannot see this process: it has a malloc of its own").print();
        }
        return;
    }
    // SAFETY: the kernel's `clock_gettime` by its own name.
    unsafe { clock::spare_the_kernel(names::lent_by_kernel(c"__vdso_clock_gettime")) };
    thread::with_heap(|_, _| ());
    thread::watch_exits();
    // SAFETY: registers a function that stays loaded.
    unsafe { __cxa_at_quick_exit(destruct, core::ptr::null_mut()) };
}

/// At `exit` and `quick_exit`. Nobody will look at what waits in quarantine after that.
extern "C" fn destruct() {
    if STATE.load(Ordering::Acquire) == OPEN && harden::is_on() {
        thread::with_heap(|_, heap| heap.release_quarantine());
    }
    remove();
}

/// Removes the segment of an ending process.
pub(crate) fn remove() {
    if segment::is_filtered() {
        return;
    }
    if STATE.load(Ordering::Acquire) == OPEN
        && wiped().ready.get()
        && let Some(segment) = segment()
    {
        segment.remove();
    }
}

unsafe extern "C" {
    fn __cxa_at_quick_exit(function: extern "C" fn(), handle: *mut core::ffi::c_void) -> i32;
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCT: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = construct;

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCT: extern "C" fn() = destruct;
