//! Resident bytes of a process's heap, measured so rarely that it never costs more than a fixed share of a core.

use super::pages;
use super::proc::Proc;
use rustix::time::{ClockId, clock_gettime};
use shm_layout::name::{DIRECTORY, PREFIX};
use std::io::BufRead;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The share of a core that measuring may take, for all processes together,
const SHARE: f64 = 0.001;
/// and while a process's memory moves: what was measured is then soon wrong.
const SHARE_MOVING: f64 = 0.01;
/// It moves when its RSS has changed by so large a part of what was measured.
const MOVED: f64 = 1.0 / 64.0;

/// The last measurement, and when the next is due.
#[derive(Default)]
pub(crate) struct Residency {
    last: Option<Measurement>,
    /// When the next is due, and when if the RSS, which then was so high, moves.
    due: Option<(Instant, Instant, u64)>,
}

struct Measurement {
    bytes: u64,
    when: Instant,
}

impl Residency {
    /// Resident bytes of the address ranges and of the segment, which has `published` bytes, and the seconds since they
    /// were measured. Unknown where this user may not know. `rss` is that of the process, `among` the number of
    /// processes that share the time.
    pub(crate) fn of(
        &mut self,
        proc: &Proc,
        ranges: &[Range<u64>],
        published: u64,
        rss: Option<u64>,
        among: usize,
    ) -> Option<(u64, f64)> {
        let rss = rss.unwrap_or(0);
        if self.due.is_none_or(|due| self.is_due(due, rss)) {
            let started = thread_cpu_time();
            let by_pages = || pages::resident(&proc.pagemap().ok()?, ranges).ok()?.checked_add(published);
            let by_mappings = || resident(proc.smaps().ok()?, ranges);
            let measured = by_pages().or_else(by_mappings);
            let when = Instant::now();
            let cost = thread_cpu_time().saturating_sub(started);
            let after = |share| when + cost.div_f64(share) * u32::try_from(among).unwrap_or(u32::MAX);
            self.due = Some((after(SHARE), after(SHARE_MOVING), rss));
            self.last = measured.map(|bytes| Measurement { bytes, when });
        }
        self.last.as_ref().map(|last| (last.bytes, last.when.elapsed().as_secs_f64()))
    }

    fn is_due(&self, (still, moving, rss_then): (Instant, Instant, u64), rss: u64) -> bool {
        let measured = self.last.as_ref().map_or(0, |last| last.bytes);
        let has_moved = rss.abs_diff(rss_then) as f64 > MOVED * measured as f64;
        Instant::now() >= if has_moved { moving } else { still }
    }
}

/// Sums `Rss` over the mappings that overlap one of `ranges` or belong to a segment.
fn resident(mut smaps: impl BufRead, ranges: &[Range<u64>]) -> Option<u64> {
    let mut line = Vec::new();
    let mut sum = 0u64;
    let mut ours = false;
    loop {
        line.clear();
        if smaps.read_until(b'\n', &mut line).ok()? == 0 {
            return Some(sum);
        }
        if let Some(range) = mapping_range(&line) {
            ours = ranges.iter().any(|wanted| wanted.start < range.end && range.start < wanted.end)
                || contains(&line, format!("{DIRECTORY}{PREFIX}").as_bytes());
        } else if let Some(rest) = line.strip_prefix(b"Rss:").filter(|_| ours) {
            let kib: u64 = std::str::from_utf8(rest).ok()?.trim().strip_suffix("kB")?.trim().parse().ok()?;
            sum = sum.saturating_add(kib.saturating_mul(1024));
        }
    }
}

/// The range at the start of a mapping's first line: `7f0000000000-7f0000021000 rw-p …`.
fn mapping_range(line: &[u8]) -> Option<Range<u64>> {
    let end = line.iter().position(|&byte| byte == b' ')?;
    let (from, to) = std::str::from_utf8(&line[..end]).ok()?.split_once('-')?;
    Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

pub(super) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &[u8] = b"\
55d0c0000000-55d0c0001000 r--p 00000000 08:01 1 /usr/bin/less
Size:                  4 kB
Rss:                   4 kB
Pss:                   4 kB
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
Rss:                 100 kB
Anonymous:           100 kB
7f0000200000-7f0000400000 ---p 00000000 00:00 0 
Rss:                   0 kB
7f1000000000-7f1000100000 rw-s 00000000 00:19 7 /dev/shm/statsalloc.77
Rss:                  40 kB
7f2000000000-7f2000100000 rw-p 00000000 00:00 0 
Rss:                  16 kB
";

    #[test]
    fn only_the_heap_its_tables_and_the_segment_count() {
        let window = 0x7f00_0000_0000..0x7f00_0040_0000;
        assert_eq!(resident(SMAPS, &[window]), Some(140 * 1024));
        assert_eq!(
            resident(SMAPS, &[0x7f00_0000_0000..0x7f00_0040_0000, 0x7f20_0000_0000..u64::MAX]),
            Some(156 * 1024)
        );
        assert_eq!(resident(&b""[..], &[]), Some(0));
    }
}
