//! A program's instructions one by one, by `ptrace`.
//!
//! The program marks what is to be looked at with `int3`: the first starts the stepping, the next ends it, and so on
//! in pairs.

use crate::artefacts::library;
use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// What was executed inside the library between two marks.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Offsets in the library and instructions as `objdump` writes them, in the order they were executed.
    pub instructions: Vec<(u64, String)>,
    /// Instructions executed in the program itself.
    pub program: usize,
    /// Instructions executed elsewhere: there should be none.
    pub elsewhere: usize,
}

impl Section {
    /// Instructions that have no place on a fast path, with where they stand.
    pub fn forbidden(&self) -> Vec<String> {
        let forbidden = self.instructions.iter().filter(|(_, text)| is_forbidden(text));
        forbidden.map(|(offset, text)| format!("{offset:x}: {text}")).collect()
    }
}

/// Calls, locked instructions, system calls, fences, traps and exchanges with memory (which lock by themselves).
fn is_forbidden(text: &str) -> bool {
    let mut words = text.split_whitespace().filter(|word| !matches!(*word, "data16" | "notrack" | "bnd"));
    let name = words.next().unwrap_or_default();
    let exchange = name.starts_with("xchg") && text.contains('(');
    let named =
        ["lock", "syscall", "sysenter", "int", "mfence", "cpuid", "rep", "rdtsc", "ud2", "xsave", "div", "idiv"];
    exchange || name.starts_with("call") || named.contains(&name) || name.starts_with("xacquire")
}

/// Steps through `command`, run under the library, and returns its marked sections.
pub fn sections(command: &mut Command) -> Vec<Section> {
    let library = library();
    let listing = disassembly(&library.to_string_lossy());
    command.env("LD_PRELOAD", &library).stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: one system call without pointers between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    // This thread is the tracer, and every request below comes from it.
    let mut tracee = Tracee { child: command.spawn().expect("a program to step through") };
    tracee.wait();
    let mut sections = Vec::new();
    let mut code = None;
    loop {
        if !tracee.resume(libc::PTRACE_CONT) {
            return sections;
        }
        let code = code.get_or_insert_with(|| Code::of(tracee.child.id(), &library.to_string_lossy()));
        sections.push(tracee.step_to_next_mark(code, &listing));
    }
}

struct Tracee {
    child: Child,
}

impl Tracee {
    /// Waits for a stop; `false` when the program has ended, which must be well.
    fn wait(&mut self) -> bool {
        let mut status = 0;
        let pid = self.child.id().cast_signed();
        // SAFETY: `status` outlives the call.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        assert_eq!(waited, pid, "the stepped program is lost");
        if libc::WIFSTOPPED(status) {
            assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP, "the stepped program got a signal");
            return true;
        }
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "it ended with {status:#x}");
        false
    }

    fn resume(&mut self, how: libc::c_uint) -> bool {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: neither request uses the pointers; the tracee is stopped.
        let done = unsafe { libc::ptrace(how, self.child.id().cast_signed(), none, none) };
        assert_eq!(done, 0, "ptrace: {}", std::io::Error::last_os_error());
        self.wait()
    }

    fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: a struct of integers; the request fills it.
        unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            let none = std::ptr::null_mut::<libc::c_void>();
            let pid = self.child.id().cast_signed();
            let done = libc::ptrace(libc::PTRACE_GETREGS, pid, none, &raw mut registers);
            assert_eq!(done, 0, "ptrace: {}", std::io::Error::last_os_error());
            registers
        }
    }

    fn is_mark(&self, address: u64) -> bool {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: reads a word of the tracee's text; an address it does not have gives an error, not a fault.
        let word = unsafe {
            libc::ptrace(libc::PTRACE_PEEKTEXT, self.child.id().cast_signed(), address as *mut libc::c_void, none)
        };
        word.to_le_bytes()[0] == 0xcc
    }

    fn step_to_next_mark(&mut self, code: &Code, listing: &HashMap<u64, String>) -> Section {
        let mut section = Section::default();
        loop {
            let at = self.registers().rip;
            if code.program.contains(&at) && self.is_mark(at) {
                // Over the mark itself, which traps.
                assert!(self.resume(libc::PTRACE_SINGLESTEP), "the program ended at a mark");
                return section;
            }
            if code.library.contains(&at) {
                let offset = at - code.library.start;
                let text = listing.get(&offset).unwrap_or_else(|| panic!("no instruction at {offset:#x}"));
                section.instructions.push((offset, text.clone()));
            } else if code.program.contains(&at) {
                section.program += 1;
            } else {
                section.elsewhere += 1;
            }
            assert!(section.elsewhere < 100_000, "lost outside the library");
            assert!(self.resume(libc::PTRACE_SINGLESTEP), "the program ended between two marks");
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // Kills and reaps our own child; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the library and the program lie in a process.
struct Code {
    library: std::ops::Range<u64>,
    program: std::ops::Range<u64>,
}

impl Code {
    fn of(pid: u32, library: &str) -> Self {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the maps of a stopped child");
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("the path of a stopped child");
        let library = std::fs::canonicalize(library).expect("the path of the library");
        let range = |path: &std::path::Path| {
            let of_path = maps.lines().filter(|line| line.ends_with(&*path.to_string_lossy()));
            let ranges = of_path.filter_map(|line| {
                let (start, end) = line.split_whitespace().next()?.split_once('-')?;
                Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
            });
            let (starts, ends): (Vec<_>, Vec<_>) = ranges.unzip();
            let start = starts.into_iter().min().unwrap_or_else(|| panic!("{} is not mapped", path.display()));
            start..ends.into_iter().max().unwrap_or(start)
        };
        Self { library: range(&library), program: range(&program) }
    }
}

/// Every instruction of a library, by its offset from where it is loaded.
fn disassembly(library: &str) -> HashMap<u64, String> {
    let output = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn", "-w", library])
        .output()
        .expect("objdump, of the package binutils");
    assert!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let instructions = text.lines().filter_map(|line| {
        let (address, instruction) = line.split_once(":\t")?;
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        Some((address, instruction.trim().to_owned()))
    });
    instructions.collect()
}

#[cfg(test)]
mod tests {
    use super::is_forbidden;

    #[test]
    fn what_costs_much_is_recognised() {
        for text in
            ["call   1234 <x>", "call   *0x8(%rax)", "lock cmpxchg %rdx,(%rcx)", "xchg   %rax,(%rdi)", "syscall"]
        {
            assert!(is_forbidden(text), "{text}");
        }
        for text in ["xchg   %ax,%ax", "mov    %rax,(%rdi)", "jmp    *0x8(%rax)", "inc    (%rax)", "nop"] {
            assert!(!is_forbidden(text), "{text}");
        }
    }
}
