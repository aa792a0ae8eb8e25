//! Whether an ELF file honours `LD_PRELOAD` with a 64-bit glibc library.

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const X86_64: u16 = 62;
const ET_DYN: u64 = 3;
const PT_INTERP: u32 = 3;

/// Whether these are the first bytes of an ELF file.
pub(crate) fn is_elf(start: &[u8]) -> bool {
    start.starts_with(b"\x7fELF")
}

/// Why the library cannot be preloaded into the ELF file `bytes`; `None` if it can.
pub(crate) fn refusal(bytes: &[u8]) -> Option<String> {
    let (class, endianness) = (byte(bytes, 4)?, byte(bytes, 5)?);
    let machine = number(bytes, 18, 2)? as u16;
    if class != CLASS_64 || endianness != LITTLE_ENDIAN || machine != X86_64 {
        let width = if class == CLASS_64 { "64-bit" } else { "32-bit" };
        return Some(format!("it is built for another architecture ({width}, {})", machine_name(machine)));
    }
    let Some(interpreter) = interpreter(bytes) else {
        return Some("it is statically linked: nothing can be preloaded into it".into());
    };
    // Some systems have other names for glibc's; musl's is the one known to fail.
    let musl = interpreter.windows(7).any(|window| window == b"ld-musl");
    musl.then(|| "it uses the C library musl; the library needs glibc".into())
}

/// Whether the file `bytes` is a shared library that a program of this architecture can load, and no program itself.
pub(crate) fn is_library(bytes: &[u8]) -> bool {
    let start = is_elf(bytes).then(|| (byte(bytes, 4), byte(bytes, 5), number(bytes, 16, 2), number(bytes, 18, 2)));
    start == Some((Some(CLASS_64), Some(LITTLE_ENDIAN), Some(ET_DYN), Some(u64::from(X86_64))))
        && interpreter(bytes).is_none()
}

/// The path of the dynamic linker the file asks for.
fn interpreter(bytes: &[u8]) -> Option<&[u8]> {
    let table = usize::try_from(number(bytes, 32, 8)?).ok()?;
    let entry_size = number(bytes, 54, 2)? as usize;
    let entries = number(bytes, 56, 2)? as usize;
    (0..entries).find_map(|index| {
        let entry = bytes.get(table.checked_add(index.checked_mul(entry_size)?)?..)?;
        if number(entry, 0, 4)? != u64::from(PT_INTERP) {
            return None;
        }
        let start = usize::try_from(number(entry, 8, 8)?).ok()?;
        let length = usize::try_from(number(entry, 32, 8)?).ok()?;
        // A path beyond what was read still is one.
        Some(bytes.get(start..start.checked_add(length)?).unwrap_or_default())
    })
}

fn byte(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(size)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".into(),
        40 => "Arm".into(),
        62 => "x86-64".into(),
        183 => "AArch64".into(),
        243 => "RISC-V".into(),
        other => format!("machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one program header.
    fn file(class: u8, machine: u16, header_type: u32, interpreter: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&header_type.to_le_bytes());
        bytes[72..80].copy_from_slice(&120u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&(interpreter.len() as u64).to_le_bytes());
        bytes.extend_from_slice(interpreter);
        bytes
    }

    fn refused(bytes: &[u8], because: &str) {
        let refusal = refusal(bytes).unwrap_or_default();
        assert!(refusal.contains(because), "{refusal}");
    }

    #[test]
    fn a_dynamic_program_of_this_architecture_is_taken() {
        assert_eq!(refusal(&file(2, 62, 3, b"/lib64/ld-linux-x86-64.so.2\0")), None);
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_elf(&own) && refusal(&own).is_none());
    }

    #[test]
    fn static_foreign_and_musl_programs_are_refused() {
        refused(&file(2, 62, 1, b""), "statically");
        refused(&file(2, 183, 3, b"/lib/ld-linux-aarch64.so.1\0"), "64-bit, AArch64");
        refused(&file(1, 3, 3, b"/lib/ld-linux.so.2\0"), "32-bit, x86");
        refused(&file(2, 62, 3, b"/lib/ld-musl-x86_64.so.1\0"), "musl");
    }

    #[test]
    fn programs_are_not_taken_for_libraries() {
        let mut bytes = file(2, 62, 1, b"");
        assert!(!is_library(&bytes), "it has no type");
        bytes[16] = 3;
        assert!(is_library(&bytes));
        let mut program = file(2, 62, 3, b"/lib64/ld-linux-x86-64.so.2\0");
        program[16] = 3;
        assert!(!is_library(&program));
        bytes[18] = 183;
        assert!(!is_library(&bytes), "it is of another architecture");
    }

    #[test]
    fn damaged_files_are_no_danger() {
        let mut whole = file(2, 62, 3, b"/lib64/ld-linux-x86-64.so.2\0");
        whole[16] = 3;
        for length in 0..whole.len() {
            let _ = (refusal(&whole[..length]), is_library(&whole[..length]));
        }
        let mut wild = whole;
        wild[32..64].fill(0xff);
        let _ = refusal(&wild);
    }
}
