//! C++'s `operator new` and `delete`, so that they save the way through the C++ library.
//!
//! A program may replace the two basic ones, and every other form then has to go to its versions. So the other forms here
//! jump to whatever the dynamic linker has found for the basic ones, as libstdc++'s do; the aligned ones and those that
//! do not throw are left to libstdc++.

use crate::fast::{self, Otherwise};
use crate::print;
use core::arch::naked_asm;
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
    /// `operator delete(void *, size_t)`
    _ZdlPvm = "_ZdlPv";
    /// `operator delete[](void *, size_t)`
    _ZdaPvm = "_ZdaPv";
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
        allocate = sym fast::allocate_slow,
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
