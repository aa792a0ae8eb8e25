//! C++'s `operator new` and `delete`, so that they save the way through the C++ library.
//!
//! A program may replace the two basic ones, and every other form then has to go to its versions. So the other forms here
//! jump to whatever the dynamic linker has found for the basic ones, as libstdc++'s do; the aligned ones and those that
//! do not throw are left to libstdc++.

use crate::fast::{self, Otherwise, slow};
use crate::harden::SIZES_ARE_CHECKED;
use crate::misuse::Call;
use crate::print;
use core::arch::{asm, naked_asm};
use core::ffi::c_void;

/// `operator new(size_t)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _Znwm(size: usize) -> *mut c_void {
    fast::allocate_or::<OrThrow>(size).cast()
}

/// `operator delete(void *)`
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZdlPv(pointer: *mut c_void) {
    fast::free(pointer.cast());
}

/// Exports `$name` as a jump to what the process calls `$target`.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident = $target:literal;)*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(concat!("jmp qword ptr [rip + ", $target, "@GOTPCREL]"))
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
                "cmp byte ptr [rip + {checked}], 0",
                "jne 2f",
                concat!("jmp qword ptr [rip + ", $target, "@GOTPCREL]"),
                "2:",
                "mov rdx, [rsp]",
                concat!("mov rcx, qword ptr [rip + ", $target, "@GOTPCREL]"),
                "jmp {sized}",
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
    let delete: usize;
    // SAFETY: reads one word, which the dynamic linker has filled in.
    unsafe { asm!("mov {}, qword ptr [rip + _ZdlPv@GOTPCREL]", out(reg) delete, options(pure, readonly, nostack)) };
    if is_own(plain as usize) && is_own(delete) {
        slow::free_sized_for(pointer, size, Call::Delete, caller);
    } else {
        // SAFETY: the caller's, who wants exactly this.
        unsafe { plain(pointer) };
    }
}

/// Whether this is an address of the library's code.
fn is_own(code: usize) -> bool {
    let (start, end): (usize, usize);
    // SAFETY: two addresses that the linker defines: the library's first byte, and one behind its code.
    unsafe {
        asm!(
            "lea {}, [rip + __ehdr_start]",
            "lea {}, [rip + _DYNAMIC]",
            out(reg) start,
            out(reg) end,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (start..end).contains(&code)
}

/// Where memory is exhausted, the C++ library's own operator tries once more: it calls the program's new-handler, and
/// throws.
struct OrThrow;

impl Otherwise for OrThrow {
    #[inline(always)]
    fn allocate(size: usize) -> *mut u8 {
        allocate_or_throw(size)
    }
}

/// No frame of ours may lie below an exception: the C++ library is jumped to.
#[unsafe(naked)]
extern "C" fn allocate_or_throw(size: usize) -> *mut u8 {
    naked_asm!(
        "push rdi",
        "call {allocate}",
        "test rax, rax",
        "jz 2f",
        "add rsp, 8",
        "ret",
        "2:",
        "call {next}",
        "pop rdi",
        "jmp rax",
        allocate = sym slow::allocate_slow,
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
