//! The memory limit of a process's control group, and who was killed for want of memory.

use super::proc::Proc;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Limit and use, read now and then.
#[derive(Default)]
pub(crate) struct Cgroup {
    known: Option<(u64, u64)>,
    due: Option<Instant>,
}

impl Cgroup {
    /// The limit above a process that leaves the least room, and what its group uses, in bytes; nothing where there is none.
    pub(crate) fn of(&mut self, proc: &Proc) -> Option<(u64, u64)> {
        const EVERY: Duration = Duration::from_secs(2);
        if self.due.is_none_or(|due| Instant::now() >= due) {
            self.due = Some(Instant::now() + EVERY);
            let (unified, memory) = proc.cgroups();
            let in_unified =
                unified.and_then(|path| tightest(Path::new("/sys/fs/cgroup"), &path, "memory.max", "memory.current"));
            let in_memory = || {
                let root = Path::new("/sys/fs/cgroup/memory");
                tightest(root, &memory?, "memory.limit_in_bytes", "memory.usage_in_bytes")
            };
            self.known = in_unified.or_else(in_memory);
        }
        self.known
    }
}

/// Of the limits on the way from the group at `path` up to `root` the one that leaves the least room, with the use of the
/// group that has it: a parent whose other children have filled it is in the way before the group's own lower limit.
fn tightest(root: &Path, path: &str, limit: &str, usage: &str) -> Option<(u64, u64)> {
    // What the old hierarchy has where nothing is limited: the largest number of whole pages.
    const UNLIMITED: u64 = 1 << 62;
    let mut group: PathBuf = root.join(path.trim_start_matches('/'));
    let mut tightest: Option<(u64, u64)> = None;
    let room = |(limit, used): (u64, u64)| limit.saturating_sub(used);
    while group.starts_with(root) {
        let read = |name: &str| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        if let (Some(limit), Some(used)) = (read(limit).filter(|&limit| limit < UNLIMITED), read(usage))
            && tightest.is_none_or(|known| room((limit, used)) < room(known))
        {
            tightest = Some((limit, used));
        }
        if !group.pop() {
            break;
        }
    }
    tightest
}

/// How many processes the kernel has killed for want of memory, up to one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OomKills {
    /// In this process's control group; in a unified hierarchy in those below it as well.
    group: Option<u64>,
    /// On the system.
    system: Option<u64>,
}

impl OomKills {
    /// Up to now.
    pub(crate) fn count() -> Self {
        let (unified, memory) = Proc::find(std::process::id()).map_or((None, None), |own| own.cgroups());
        let in_unified = || in_group(Path::new("/sys/fs/cgroup"), &unified?, "memory.events");
        let in_memory = || in_group(Path::new("/sys/fs/cgroup/memory"), &memory?, "memory.oom_control");
        Self { group: in_unified().or_else(in_memory), system: kills(Path::new("/proc/vmstat")) }
    }

    /// Those since an earlier moment, in the group and on the system.
    pub(crate) fn since(self, before: Self) -> (u64, u64) {
        let more = |now: Option<u64>, before: Option<u64>| {
            now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before))
        };
        (more(self.group, before.group), more(self.system, before.system))
    }
}

fn in_group(root: &Path, path: &str, file: &str) -> Option<u64> {
    kills(&root.join(path.trim_start_matches('/')).join(file))
}

fn kills(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_told_from_other_events_of_a_group_and_from_those_it_had_before() {
        let file = std::env::temp_dir().join(format!("statsmon-events-{}", std::process::id()));
        let counted = |text: &str| {
            std::fs::write(&file, text).unwrap();
            kills(&file)
        };
        let unified = counted("low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 1\n");
        assert_eq!(unified, Some(3));
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 1\noom_kill 2\n"), Some(2));
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 0\n"), None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(kills(&file), None);
        let at = |group, system| OomKills { group, system };
        assert_eq!(at(Some(3), Some(9)).since(at(Some(1), Some(9))), (2, 0));
        assert_eq!(at(None, Some(9)).since(at(Some(1), Some(7))), (0, 2));
        assert!(OomKills::count().system.is_some(), "the system's count is public");
    }

    #[test]
    fn the_limit_on_the_way_up_that_leaves_the_least_room_counts() {
        let root = std::env::temp_dir().join(format!("statsmon-cgroup-{}", std::process::id()));
        let group = root.join("a/b");
        std::fs::create_dir_all(&group).unwrap();
        let write = |path: &str, text: &str| std::fs::write(root.join(path), text).unwrap();
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "10\n");
        assert_eq!(tightest(&root, "/a/b", "memory.max", "memory.current"), None);
        write("a/memory.max", "1000\n");
        write("a/memory.current", "300\n");
        assert_eq!(tightest(&root, "/a/b", "memory.max", "memory.current"), Some((1000, 300)));
        write("a/b/memory.max", "5000\n");
        assert_eq!(tightest(&root, "/a/b", "memory.max", "memory.current"), Some((1000, 300)));
        write("a/b/memory.max", "9223372036854771712\n");
        assert_eq!(tightest(&root, "a/b", "memory.max", "memory.current"), Some((1000, 300)));
        // Lower than its parent's, but with more room.
        write("a/b/memory.max", "900\n");
        assert_eq!(tightest(&root, "/a/b", "memory.max", "memory.current"), Some((1000, 300)));
        write("a/b/memory.current", "290\n");
        assert_eq!(tightest(&root, "/a/b", "memory.max", "memory.current"), Some((900, 290)));
        assert_eq!(tightest(&root, "/../../etc", "memory.max", "memory.current"), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
