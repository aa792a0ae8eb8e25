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

/// The last measurement, if there was one.
#[derive(Default)]
pub(crate) struct Residency(Option<Measurement>);

struct Measurement {
    /// `None` where this user may not know.
    bytes: Option<u64>,
    /// The process's RSS at that time.
    rss: Option<u64>,
    when: Instant,
    /// The processor time that it took.
    cost: Duration,
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
        if self.0.as_ref().is_none_or(|last| last.when.elapsed() >= last.rest(rss, among)) {
            let started = thread_cpu_time();
            let by_pages = || pages::resident(&proc.pagemap().ok()?, ranges).ok()?.checked_add(published);
            let by_mappings = || resident(proc.smaps().ok()?, ranges);
            let bytes = by_pages().or_else(by_mappings);
            let cost = thread_cpu_time().saturating_sub(started);
            self.0 = Some(Measurement { bytes, rss, when: Instant::now(), cost });
        }
        let last = self.0.as_ref()?;
        Some((last.bytes?, last.when.elapsed().as_secs_f64()))
    }
}

impl Measurement {
    /// How long it has to do, where the RSS is such now and so many processes share the time.
    fn rest(&self, rss: Option<u64>, among: usize) -> Duration {
        let moved = rss.zip(self.rss).map_or(0, |(now, then)| now.abs_diff(then));
        let has_moved = moved as f64 > MOVED * self.bytes.unwrap_or(u64::MAX) as f64;
        let share = if has_moved { SHARE_MOVING } else { SHARE };
        self.cost.div_f64(share) * u32::try_from(among).unwrap_or(u32::MAX)
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
    fn what_moves_is_measured_ten_times_as_often() {
        let cost = Duration::from_millis(2);
        let last = Measurement { bytes: Some(640 << 20), rss: Some(700 << 20), when: Instant::now(), cost };
        let seconds = |rss_mib: u64, among| last.rest(Some(rss_mib << 20), among).as_secs_f64();
        assert_eq!([seconds(700, 1), seconds(710, 1), seconds(690, 1)], [2.0; 3]);
        assert_eq!([seconds(711, 1), seconds(689, 1)], [0.2; 2]);
        assert_eq!([seconds(700, 5), last.rest(None, 1).as_secs_f64()], [10.0, 2.0]);
    }

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
