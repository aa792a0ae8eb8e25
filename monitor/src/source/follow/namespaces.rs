//! Descendants in PID namespaces of their own. Their segments bear PIDs that are none here.

use super::{Coming, Family, Here, Member, Who, last};
use crate::source::locks::Locks;
use crate::source::proc::{Origin, Proc, all_pids, origin, own_pid_namespace, pid_namespaces};

impl Family {
    /// Notes the PID namespaces that members have made, as long as these live: what appears now may be of one.
    pub(super) fn note_namespaces(&mut self) {
        if self.coming.iter().all(|coming| coming.here.is_some()) {
            return;
        }
        let coming = self.coming.iter().filter_map(|coming| coming.here.as_ref());
        let members = self.living.values().map(|member| &member.here).chain(coming);
        let made = members.flat_map(|here| pid_namespaces(here.pid)).flatten();
        self.namespaces.extend(made.filter(|&namespace| Some(namespace) != own_pid_namespace()));
    }

    pub(super) fn take_in_elsewhere(&mut self, coming: Coming, namespace: u64, in_header: Option<Origin>) {
        let Coming { entry, segment, .. } = coming;
        let locks = Locks::read();
        // Whoever sweeps has the lock for a moment, too.
        let is_its = |pid: &u32| Proc::find(*pid).is_some_and(|proc| proc.namespace_pid == entry.pid);
        let pid = locks.holder(segment.id).filter(is_its);
        // Whoever descends from a process here has a PID here.
        let is_out_of_sight = pid.is_none() && locks.are_told() && !segment.is_orphaned();
        match self.is_ours(namespace, pid).or(is_out_of_sight.then_some(false)) {
            Some(true) => {
                pid.into_iter().for_each(|pid| self.know(pid));
                let here = pid.map_or_else(Here::default, |pid| self.find(pid));
                let start_ticks = in_header.map_or(0, |origin| origin.start_ticks);
                let who = Who { namespace: Some(namespace), pid: entry.pid, start_ticks };
                self.adopt(who, Member { entry, is_child: false, segment, here, was_orphaned: false });
            }
            Some(false) => {}
            None => {
                self.missed.insert(entry.pid);
                // Its process took its leave, and would have taken the name away, had it not been told to keep it.
                if last::has_ended(&segment) {
                    entry.remove_dead(segment.id.inode);
                }
            }
        }
    }

    /// Whether a PID namespace was made by the family, which all within it descend from then; `None` where nobody is left
    /// to tell. `within` is a process in it.
    fn is_ours(&mut self, namespace: u64, within: Option<u32>) -> Option<bool> {
        if self.namespaces.contains(&namespace) {
            return Some(true);
        }
        if self.foreign.contains(&namespace) {
            return Some(false);
        }
        let within = within.or_else(|| all_pids().find(|&pid| pid_namespaces(pid).contains(&Some(namespace))))?;
        let ours = self.descends(within, origin(within))?;
        if ours {
            self.namespaces.insert(namespace)
        } else {
            self.foreign.insert(namespace)
        };
        Some(ours)
    }
}
