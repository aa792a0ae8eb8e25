//! C++'s `operator new` and `delete`, so that they save the way through the C++ library.
//!
//! A program may replace the two basic ones, and every other form then has to go to its versions. So the other forms here
//! jump to whatever the dynamic linker has found for the basic ones, as libstdc++'s do; the aligned ones and those that
//! do not throw are left to libstdc++.

use crate::fast::{self, Allocating, Freeing, slow};
use crate::harden::SIZES_ARE_CHECKED;
use crate::misuse::Call;
use crate::names;
use crate::print;
use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::transmute;

/// `operator new(size_t)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _Znwm(size: usize) -> *mut c_void {
    fast::allocate_or::<OrThrow>(size).cast()
}

/// `operator delete(void *)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPv(pointer: *mut c_void) {
    fast::free_or::<OrThrow>(pointer.cast());
}

/// Exports `$name` as a jump to what the process calls `$target`.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident = $target:literal;)*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(".cfi_startproc", concat!("jmp qword ptr [rip + ", $target, "@GOTPCREL]"), ".cfi_endproc")
        })*
    };
}

forward! {
    /// `operator new[](size_t)`
    _Znam = "_Znwm";
    /// `operator delete[](void *)`
    _ZdaPv = "_ZdlPv";
}

/// Exports `$name`, which is given the size too, as `forward` does, by way of [`delete_sized`] where sizes are checked.
macro_rules! forward_sized {
    ($($(#[$doc:meta])* $name:ident = $target:literal;)*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {checked}], 0",
                "jne 2f",
                concat!("jmp qword ptr [rip + ", $target, "@GOTPCREL]"),
                "2:",
                "mov rdx, [rsp]",
                concat!("mov rcx, qword ptr [rip + ", $target, "@GOTPCREL]"),
                "jmp {sized}",
                ".cfi_endproc",
                checked = sym SIZES_ARE_CHECKED,
                sized = sym delete_sized,
            )
        })*
    };
}

forward_sized! {
    /// `operator delete(void *, size_t)`
    _ZdlPvm = "_ZdlPv";
    /// `operator delete[](void *, size_t)`
    _ZdaPvm = "_ZdaPv";
}

/// Frees what was deleted with a size; the wrong one is told. `plain` is the form without a size as the process has it: if
/// either of those is the program's own, the block is none that we know the size of.
unsafe extern "C" fn delete_sized(pointer: *mut u8, size: usize, caller: usize, plain: unsafe extern "C" fn(*mut u8)) {
    let delete = names::process!("_ZdlPv");
    if names::is_own(plain as usize) && names::is_own(delete) && !names::process_has_another() {
        slow::free_sized_for(pointer, size, Call::Delete, caller);
    } else {
        // SAFETY: the caller's, who wants exactly this.
        unsafe { plain(pointer) };
    }
}

/// Where memory is exhausted, the C++ library's own operator tries once more: it calls the program's new-handler, and
/// throws. Where the process has another `malloc`, its blocks are wanted, as the C++ library's operators would give them: there no
/// thread has a heap here, and nothing succeeds on the fast path.
struct OrThrow;

impl Allocating for OrThrow {
    #[inline(always)]
    fn slow(size: usize) -> *mut u8 {
        allocate_or_throw(size)
    }
}

impl Freeing for OrThrow {
    #[inline(always)]
    fn slow(pointer: *mut u8) {
        free_by_name(pointer);
    }
}

/// Jumped to, so that a misuse is told of with the caller's place.
#[unsafe(naked)]
extern "C" fn free_by_name(pointer: *mut u8) {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {free}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        free = sym free_for_all,
    )
}

/// What frees the process's blocks.
extern "C" fn free_for_all() -> usize {
    if names::process_has_another() { names::process!("free") } else { slow::free_slow as *const () as usize }
}

extern "C" fn allocate_by_name(size: usize) -> *mut u8 {
    if names::process_has_another() {
        let malloc = names::process!("malloc");
        // SAFETY: the process's `malloc`.
        unsafe { transmute::<usize, names::Malloc>(malloc)(size.max(1)) }
    } else {
        slow::allocate_slow(size)
    }
}

/// No frame of ours may lie below an exception: the C++ library is jumped to.
#[unsafe(naked)]
extern "C" fn allocate_or_throw(size: usize) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {allocate}",
        "test rax, rax",
        "jz 2f",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        "2:",
        ".cfi_adjust_cfa_offset 8",
        "call {next}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp rax",
        ".cfi_endproc",
        allocate = sym allocate_by_name,
        next = sym next_new,
    )
}

/// The operator of the next library in the search order.
extern "C" fn next_new() -> usize {
    // SAFETY: a name that ends in a zero byte.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"_Znwm".as_ptr()) };
    if next.is_null() {
        print::fatal("operator new: out of memory, and no C++ library to tell");
    }
    next as usize
}
