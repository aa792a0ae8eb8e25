//! The C library's own names of the allocator, made to mean this one.
//!
//! A preloaded `malloc` comes first where a name is looked up in the whole program. It does not where it is looked up in one
//! library and what that needs: for all of a library that is loaded with `RTLD_DEEPBIND`, as PHP loads its extensions, and
//! for who asks `dlsym` for a library's `free`, as Python's `ctypes` does. These would give blocks of this heap, which
//! `strdup` and the program hand them, to the other `free`. So before the first library is loaded by `dlopen`, which both
//! of them need, the addresses in the C library's table of symbols are changed to those of the functions here.
//!
//! Where the table cannot be written, or is not found, or the program has a `malloc` of its own, all stays as it is.

use crate::options::lend_environment;
use crate::os;
use crate::print;
use crate::window::WINDOW;
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use shm_layout::class::GRANULE;

/// What takes, gives or describes blocks.
const NAMES: [&CStr; 27] = [
    c"malloc",
    c"free",
    c"calloc",
    c"realloc",
    c"reallocarray",
    c"posix_memalign",
    c"aligned_alloc",
    c"memalign",
    c"valloc",
    c"pvalloc",
    c"malloc_usable_size",
    c"malloc_trim",
    c"mallinfo",
    c"mallinfo2",
    c"malloc_stats",
    c"malloc_info",
    c"mallopt",
    c"cfree",
    c"free_sized",
    c"free_aligned_sized",
    c"__libc_malloc",
    c"__libc_free",
    c"__libc_calloc",
    c"__libc_realloc",
    c"__libc_memalign",
    c"__libc_valloc",
    c"__libc_pvalloc",
];

/// The next library's `dlopen`; 0 before the first call.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The `dlopen` to go on to, before which the names are changed.
pub(crate) extern "C" fn before_loading() -> usize {
    let mut next = NEXT.load(Ordering::Acquire);
    if next == 0 {
        // SAFETY: a name that ends in a zero byte.
        next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) } as usize;
        if next == 0 {
            print::fatal("dlopen: there is no C library to load anything");
        }
        // SAFETY: a name that ends in a zero byte.
        let malloc = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) } as usize;
        let mut objects = Objects { malloc, here: None, libc: None };
        // The dynamic linker calls with its lock held, so one thread at a time.
        // SAFETY: `visit` takes what it is given here.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut objects).cast()) };
        NEXT.store(next, Ordering::Release);
    }
    next
}

/// The two libraries, as far as they have been met.
struct Objects {
    /// What the program's calls of `malloc` come to. Where that is not here, its blocks are not, and the names stay.
    malloc: usize,
    here: Option<Object>,
    libc: Option<Object>,
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, objects: *mut c_void) -> c_int {
    // SAFETY: the dynamic linker's description of a loaded object, which stays loaded during this call.
    let info = unsafe { &*info };
    // SAFETY: what `before_loading` passes.
    let objects = unsafe { &mut *objects.cast::<Objects>() };
    // SAFETY: the name of a loaded object.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    if name.ends_with(b"/libc.so.6") {
        objects.libc = Object::new(info);
    } else if segments(info).any(|segment| segment.covers(info, visit as *const () as usize)) {
        objects.here = Object::new(info);
    }
    match objects {
        Objects { malloc, here: Some(here), libc: Some(libc) } => {
            if here.meaning(c"malloc") == Some(*malloc as u64) {
                libc.name_as(here);
            }
            1
        }
        _ => 0,
    }
}

/// Where the process's function of this name lies: the first in the order in which names are looked up.
macro_rules! process {
    ($name:literal) => {{
        let code: usize;
        // SAFETY: reads one word, which the dynamic linker has filled in.
        unsafe {
            core::arch::asm!(
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) code,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        code
    }};
}
#[cfg(not(test))]
pub(crate) use process;

pub(crate) type Malloc = unsafe extern "C" fn(usize) -> *mut u8;
type Free = unsafe extern "C" fn(*mut u8);

/// Whether the process's `malloc` is another.
static ANOTHER: AtomicBool = AtomicBool::new(false);

/// Whether the process has another `malloc` than this one, as far as has been found out.
pub(crate) fn process_has_another() -> bool {
    ANOTHER.load(Ordering::Relaxed)
}

/// Finds out whether it has. Where its name leads may be a way here all the same, of a program that takes its address or of a
/// library that wraps it: what it gives tells.
pub(crate) fn look_for_another() {
    let (malloc, free) = (process!("malloc"), process!("free"));
    if is_own(malloc) {
        return;
    }
    // Its first call may look for settings there, and the C library has not been initialised yet.
    lend_environment();
    // SAFETY: the process's functions of these names.
    unsafe {
        let block = transmute::<usize, Malloc>(malloc)(GRANULE);
        let is_ours = WINDOW.granule_of((block as usize & !(GRANULE - 1)) as *const u8).is_some();
        ANOTHER.store(!is_ours, Ordering::Relaxed);
        // Another one's stays: not every `free` can be called before the program has begun (GCL's ends Maxima).
        if is_ours {
            transmute::<usize, Free>(free)(block);
        }
    }
}

/// Whether this is an address of the library's code.
pub(crate) fn is_own(code: usize) -> bool {
    let (start, end): (usize, usize);
    // SAFETY: two addresses that the linker defines: the library's first byte, and one behind its code.
    unsafe {
        core::arch::asm!(
            "lea {}, [rip + __ehdr_start]",
            "lea {}, [rip + _DYNAMIC]",
            out(reg) start,
            out(reg) end,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (start..end).contains(&code)
}

/// Where a function lies that the kernel lends every process. Takes none of the dynamic linker's locks.
pub(crate) fn lent_by_kernel(name: &CStr) -> Option<usize> {
    // SAFETY: asks for a number.
    let header = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as *const libc::Elf64_Ehdr;
    // SAFETY: the header of an object that the kernel has loaded, or none.
    let about = unsafe { header.as_ref() }?;
    // SAFETY: numbers and addresses, all of which may be zero.
    let mut info: libc::dl_phdr_info = unsafe { core::mem::zeroed() };
    // Such an object is linked for address 0.
    info.dlpi_addr = header as u64;
    info.dlpi_phdr = header.wrapping_byte_add(about.e_phoff as usize).cast();
    info.dlpi_phnum = about.e_phnum;
    Object::new(&info)?.meaning(name).map(|address| address as usize)
}

/// The program headers of a loaded object.
fn segments(info: &libc::dl_phdr_info) -> impl Iterator<Item = Segment> {
    let headers = info.dlpi_phdr;
    // SAFETY: the object has as many.
    (0..usize::from(info.dlpi_phnum)).map(move |at| Segment(unsafe { *headers.add(at) }))
}

struct Segment(libc::Elf64_Phdr);

impl Segment {
    fn start(&self, info: &libc::dl_phdr_info) -> usize {
        info.dlpi_addr.wrapping_add(self.0.p_vaddr) as usize
    }

    fn covers(&self, info: &libc::dl_phdr_info, address: usize) -> bool {
        self.0.p_type == libc::PT_LOAD && address.wrapping_sub(self.start(info)) < self.0.p_memsz as usize
    }

    /// As `mprotect` wants it.
    fn protection(&self) -> c_int {
        let bits = [(libc::PF_R, libc::PROT_READ), (libc::PF_W, libc::PROT_WRITE), (libc::PF_X, libc::PROT_EXEC)];
        bits.iter().filter(|(flag, _)| self.0.p_flags & flag != 0).fold(0, |all, (_, bit)| all | bit)
    }
}

/// Where the dynamic section ends.
const DT_NULL: usize = 0;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;
const STT_FUNC: u8 = 2;

/// A loaded object and its table of symbols.
struct Object {
    base: usize,
    symbols: *mut libc::Elf64_Sym,
    strings: *const u8,
    hashes: *const u32,
    /// Start, size and protection of the memory that `symbols` is in.
    memory: (usize, usize, c_int),
}

impl Object {
    /// `None` where it has no such table as it should.
    fn new(info: &libc::dl_phdr_info) -> Option<Self> {
        let base = info.dlpi_addr as usize;
        let dynamic = segments(info).find(|segment| segment.0.p_type == libc::PT_DYNAMIC)?.start(info);
        let (mut symbols, mut strings, mut hashes) = (0, 0, 0);
        let mut entry = dynamic as *const [usize; 2];
        loop {
            // SAFETY: the dynamic section of a loaded object, whose end is marked.
            let [tag, value] = unsafe { *entry };
            // The dynamic linker adds the base itself where it may write there.
            let address = if value < base { value.wrapping_add(base) } else { value };
            match tag {
                DT_NULL => break,
                DT_SYMTAB => symbols = address,
                DT_STRTAB => strings = address,
                DT_GNU_HASH => hashes = address,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        let segment = segments(info).find(|segment| segment.covers(info, symbols))?;
        let start = segment.start(info) & !(os::PAGE - 1);
        let end = segment.start(info).wrapping_add(segment.0.p_memsz as usize).next_multiple_of(os::PAGE);
        let memory = (start, end.wrapping_sub(start), segment.protection());
        let found = symbols != 0 && strings != 0 && hashes != 0;
        found.then_some(Self { base, symbols: symbols as _, strings: strings as _, hashes: hashes as _, memory })
    }

    /// Has every name of [`NAMES`] that both have mean in `self` what it does in `other`.
    fn name_as(&self, other: &Self) {
        let (start, size, protection) = self.memory;
        // A linker that puts tables beside code would have code writable for that long.
        if protection & libc::PROT_EXEC != 0 {
            return;
        }
        // SAFETY: the memory of the object's first segment, which stays readable for whoever looks a name up meanwhile.
        if unsafe { os::protect(start, size, protection | libc::PROT_WRITE) }.is_err() {
            return;
        }
        for name in NAMES {
            let Some(meaning) = other.meaning(name) else { continue };
            self.each(name, |symbol| {
                // SAFETY: as above, and writable; who looks the name up meanwhile reads the old address or the new one.
                let value = unsafe { AtomicU64::from_ptr(&raw mut (*symbol).st_value) };
                value.store(meaning.wrapping_sub(self.base as u64), Ordering::Release);
            });
        }
        // SAFETY: as above.
        let _ = unsafe { os::protect(start, size, protection) };
    }

    /// The address of the function of this name.
    fn meaning(&self, name: &CStr) -> Option<u64> {
        let mut meaning = None;
        // SAFETY: a symbol of a loaded object.
        self.each(name, |symbol| meaning = Some(unsafe { (*symbol).st_value }.wrapping_add(self.base as u64)));
        meaning
    }

    /// Calls `found` with every function of this name, of whatever version.
    fn each(&self, name: &CStr, mut found: impl FnMut(*mut libc::Elf64_Sym)) {
        let hash =
            name.to_bytes().iter().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
        // The table has the number of buckets, the first symbol in it, the number of filter words, a shift, the filter in
        // words of eight bytes, the buckets, and a hash for each symbol, odd for the last one of a bucket.
        // SAFETY: all of it is the dynamic linker's own table of the loaded object.
        unsafe {
            let [buckets, first, filter, _] = *self.hashes.cast::<[u32; 4]>();
            let lists = self.hashes.add(4 + 2 * filter as usize);
            let Some(bucket) = hash.checked_rem(buckets) else { return };
            let mut at = *lists.add(bucket as usize);
            while at >= first {
                let hash_here = *lists.add(buckets as usize).add((at - first) as usize);
                let symbol = self.symbols.add(at as usize);
                let named = CStr::from_ptr(self.strings.add((*symbol).st_name as usize).cast()) == name;
                if named && (*symbol).st_shndx != 0 && (*symbol).st_info & 0xf == STT_FUNC {
                    found(symbol);
                }
                if hash_here & 1 != 0 {
                    return;
                }
                at += 1;
            }
        }
    }
}
