//! What the header says about this process. Unknown is 0.

use super::object;
use crate::os;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, Ordering};

/// Inode of this process's PID namespace.
pub(super) fn pid_namespace() -> u64 {
    os::target_status(c"/proc/self/ns/pid").map_or(0, |status| status.inode)
}

/// When this process was started, in clock ticks since boot.
pub(super) fn start_ticks() -> u64 {
    let mut buffer = [0; 512];
    let length = read_start(c"/proc/self/stat", &mut buffer).unwrap_or(0);
    parse_start_ticks(buffer.get(..length).unwrap_or_default()).unwrap_or(0)
}

/// Stores the path of the executable, as much of it as fits, and returns its length.
pub(super) fn executable(place: &[AtomicU8; 256]) -> u32 {
    let mut path = [0; 256];
    let length = os::read_link(c"/proc/self/exe", &mut path).unwrap_or(0);
    for (to, from) in place.iter().zip(path) {
        to.store(from, Ordering::Relaxed);
    }
    length as u32
}

fn read_start(path: &CStr, buffer: &mut [u8]) -> os::Result<usize> {
    let fd = object::open(path, libc::O_RDONLY)?;
    let result = os::read(fd, buffer);
    os::close(fd);
    result
}

/// Field 22 of `/proc/PID/stat`. Field 2, the command in parentheses, may itself hold blanks and parentheses.
fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    let rest = stat.get(stat.iter().rposition(|&byte| byte == b')')? + 1..)?;
    let digits = rest.split(|&byte| byte == b' ').nth(20)?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let fields = " S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 2222 23 24";
        for command in ["sh", "a b", ") R 1 (", "(((", ""] {
            let stat = std::format!("1234 ({command}){fields}");
            assert_eq!(parse_start_ticks(stat.as_bytes()), Some(2222), "{stat}");
        }
    }

    #[test]
    fn a_cut_line_has_no_start_time() {
        for stat in ["", "1234", "1234 (sh", "1234 (sh) S 3 4", "1234 (sh)"] {
            assert_eq!(parse_start_ticks(stat.as_bytes()), None);
        }
    }

    #[test]
    fn this_process_has_a_start_time_and_a_namespace() {
        assert!(start_ticks() > 0);
        assert!(pid_namespace() > 0);
    }
}
