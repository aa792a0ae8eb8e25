//! The C interface: glibc 2.36's names and semantics, so that a program never reaches the other heap.
//!
//! `errno` is set on failure and untouched on success.

use crate::boot;
use crate::cancel;
use crate::clock;
use crate::fast;
use crate::fast::slow::{self, no_memory, or_enomem, set_errno};
use crate::heap;
use crate::limits;
use crate::misuse::Call;
use crate::names;
use crate::os;
use crate::report;
use crate::segment::Segment;
use crate::span;
use crate::thread::with_heap;
use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::mem::transmute;
use core::ptr::null_mut;

type Pointer = *mut c_void;

/// The segment of this process; `None` while there is no memory for one.
fn segment() -> Option<Segment> {
    with_heap(|_, _| ()).and_then(|()| boot::segment())
}

macro_rules! export {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) $(-> $result)? $body)*
    };
}

/// Exports `$name` as another name of `$target`.
macro_rules! alias {
    ($($name:ident = $target:ident;)*) => {
        $(#[doc = concat!("As [`", stringify!($target), "`].")]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(".cfi_startproc", "jmp {}", ".cfi_endproc", sym $target)
        })*
    };
}

export! {
    /// `malloc(3)`
    fn malloc(size: usize) -> Pointer {
        fast::allocate(size).cast()
    }

    /// `free(3)`
    fn free(pointer: Pointer) {
        fast::free(pointer.cast());
    }

    /// `calloc(3)`
    fn calloc(count: usize, size: usize) -> Pointer {
        // More than there can be, where that overflows.
        fast::zeroed::allocate_zeroed(count.saturating_mul(size)).cast()
    }

    /// `realloc(3)`; size 0 frees and returns null, as glibc does.
    fn realloc(pointer: Pointer, size: usize) -> Pointer {
        fast::resize::reallocate(pointer.cast(), size).cast()
    }

    /// `posix_memalign(3)`
    fn posix_memalign(result: *mut Pointer, align: usize, size: usize) -> c_int {
        if !align.is_power_of_two() || !align.is_multiple_of(size_of::<Pointer>()) {
            return libc::EINVAL;
        }
        let block = slow::allocate_silently(size, align);
        if block.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller's pointer, which the interface requires to be writable.
        unsafe { *result = block.cast() };
        0
    }

    /// `memalign(3)`; an alignment that is no power of two is rounded up to one, as glibc does.
    fn memalign(align: usize, size: usize) -> Pointer {
        let Some(align) = align.checked_next_power_of_two() else {
            set_errno(libc::EINVAL);
            return null_mut();
        };
        or_enomem(slow::allocate_aligned(size, align)).cast()
    }

    /// `rtld-audit(7)`: loaded by `LD_AUDIT`, the library watches nothing. It is an allocator for itself there, and cannot be
    /// unloaded again, as it would be without this answer.
    fn la_version(version: c_uint) -> c_uint {
        version
    }

    /// `pvalloc(3)`
    fn pvalloc(size: usize) -> Pointer {
        match size.checked_next_multiple_of(os::PAGE) {
            Some(bytes) => or_enomem(slow::allocate_aligned(bytes, os::PAGE)).cast(),
            None => no_memory().cast(),
        }
    }

    /// `valloc(3)`
    fn valloc(size: usize) -> Pointer {
        or_enomem(slow::allocate_aligned(size, os::PAGE)).cast()
    }

    /// `malloc_usable_size(3)`: the size of the whole block.
    fn malloc_usable_size(pointer: Pointer) -> usize {
        fast::usable_size(pointer.cast())
    }

    /// `malloc_trim(3)`: gives back all cached memory of the process and what the calling thread's heap keeps; other threads'
    /// spare slabs stay.
    #[cold]
    fn malloc_trim(_pad: usize) -> c_int {
        let released = with_heap(|_, heap| {
            let before = crate::stats::globals().purged.get();
            heap::cool(u64::MAX);
            heap.trim();
            heap.thin_all();
            heap::give_all_parked(heap);
            span::purge_older(clock::read(), usize::MAX);
            crate::stats::globals().purged.get() != before
        });
        c_int::from(released == Some(true))
    }

    /// `mallopt(3)`: accepted without effect; this heap is tuned by `STATSALLOC_*`.
    fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
        1
    }

    /// `mallinfo(3)`
    fn mallinfo() -> libc::mallinfo {
        // SAFETY: all-zero integers.
        let none = unsafe { core::mem::zeroed() };
        segment().map_or(none, |segment| report::mallinfo(&report::sums(segment)))
    }

    /// `mallinfo2(3)`
    fn mallinfo2() -> libc::mallinfo2 {
        // SAFETY: all-zero integers.
        let none = unsafe { core::mem::zeroed() };
        segment().map_or(none, |segment| report::mallinfo2(&report::sums(segment)))
    }

    /// `malloc_stats(3)`
    fn malloc_stats() {
        if let Some(segment) = segment() {
            report::malloc_stats(segment);
        }
    }

    /// `malloc_info(3)`
    fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
        if options != 0 {
            return libc::EINVAL;
        }
        if let Some(segment) = segment() {
            report::malloc_info(segment, &mut |bytes| {
                // SAFETY: the caller's stream.
                unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stream) };
            });
        }
        0
    }

    /// `setrlimit(2)`. A limit on address space must not meet our reservation.
    fn setrlimit(resource: c_uint, limit: *const libc::rlimit64) -> c_int {
        limits::set(0, resource, limit, null_mut())
    }

    /// `prlimit(2)`; as `setrlimit`.
    fn prlimit(pid: libc::pid_t, resource: c_uint, new: *const libc::rlimit64, old: *mut libc::rlimit64) -> c_int {
        limits::set(pid, resource, new, old)
    }

    /// `mlockall(2)`. What our reservation hands out later is to be locked like any new mapping.
    fn mlockall(flags: c_int) -> c_int {
        limits::lock_all(flags)
    }

    /// `prctl(2)`. A filter of system calls must not meet ours at the end.
    fn prctl(operation: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int {
        limits::control(operation, [a, b, c, d])
    }

    /// `pthread_setcanceltype(3)`. A thread that is cancelled in the midst of a call must not leave it half done.
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int {
        // SAFETY: the caller's pointer, which the interface requires to be null or writable.
        unsafe { cancel::set_type(kind, old) }
    }

    /// `_exit(2)`. Programs that end this way, like every shell, run no destructors.
    fn _exit(status: c_int) -> ! {
        boot::remove();
        os::exit_group(status)
    }

    /// `daemon(3)`. glibc's parent ends by an `_exit` that does not come here: its segment would stay, as after a crash.
    #[cold]
    fn daemon(keep_directory: c_int, keep_files: c_int) -> c_int {
        // SAFETY: plain calls, as glibc makes them.
        unsafe {
            match libc::fork() {
                -1 => return -1,
                0 => {}
                _ => _exit(0),
            }
            if libc::setsid() == -1 {
                return -1;
            }
            if keep_directory == 0 {
                libc::chdir(c"/".as_ptr());
            }
            if keep_files != 0 {
                return 0;
            }
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            let mut status: libc::stat = core::mem::zeroed();
            if null == -1 || libc::fstat(null, &raw mut status) != 0 {
                if null != -1 {
                    libc::close(null);
                }
                return -1;
            }
            if status.st_mode & libc::S_IFMT != libc::S_IFCHR || status.st_rdev != libc::makedev(1, 3) {
                libc::close(null);
                set_errno(libc::ENODEV);
                return -1;
            }
            for standard in 0..=2 {
                libc::dup2(null, standard);
            }
            if null > 2 {
                libc::close(null);
            }
            0
        }
    }
}

/// `dlopen(3)`. Who looks names up in a library is to find this heap there. The caller's place tells the dynamic linker where
/// to look for the file, so that it is jumped to.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> Pointer {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {next}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        next = sym names::before_loading,
    )
}

/// `reallocarray(3)`
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(pointer: Pointer, count: usize, size: usize) -> Pointer {
    naked_asm!(".cfi_startproc", "mov rcx, [rsp]", "jmp {}", ".cfi_endproc", sym reallocarray_from)
}

unsafe extern "C" fn reallocarray_from(pointer: *mut u8, count: usize, size: usize, caller: usize) -> *mut u8 {
    let Some(bytes) = count.checked_mul(size) else { return no_memory() };
    // A process with a `malloc` of its own seldom has one of this name, and its blocks come here.
    if names::process_has_another() {
        let realloc = names::process!("realloc");
        // SAFETY: the process's `realloc`, and the caller's pointer.
        return unsafe { transmute::<usize, Reallocate>(realloc)(pointer, bytes) };
    }
    slow::reallocate_for(pointer, bytes, Call::Reallocarray, caller)
}

type Reallocate = unsafe extern "C" fn(*mut u8, usize) -> *mut u8;

/// C23's `free_sized`. Another size than the block was asked for with is a misuse.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(pointer: Pointer, size: usize) {
    naked_asm!(".cfi_startproc", "mov rdx, [rsp]", "jmp {}", ".cfi_endproc", sym free_sized_from)
}

unsafe extern "C" fn free_sized_from(pointer: *mut u8, size: usize, caller: usize) {
    slow::free_sized_for(pointer, size, Call::FreeSized, caller);
}

/// C23's `free_aligned_sized`; as `free_sized`, and the alignment is not needed.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(pointer: Pointer, align: usize, size: usize) {
    naked_asm!(".cfi_startproc", "mov rsi, rdx", "mov rdx, [rsp]", "jmp {}", ".cfi_endproc", sym free_sized_from)
}

alias! {
    cfree = free;
    aligned_alloc = memalign;
    _Exit = _exit;
    setrlimit64 = setrlimit;
    prlimit64 = prlimit;
    __libc_malloc = malloc;
    __libc_free = free;
    __libc_calloc = calloc;
    __libc_realloc = realloc;
    __libc_reallocarray = reallocarray;
    __libc_memalign = memalign;
    __libc_valloc = valloc;
    __libc_pvalloc = pvalloc;
    __posix_memalign = posix_memalign;
}
