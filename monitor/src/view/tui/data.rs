//! What the screen shows: looks, kept so that a frozen screen costs nothing.

use crate::model::{Identity, Process, Time};
use std::rc::Rc;

/// What the screen shows, as it was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// When.
    pub(super) time: Option<Time>,
    /// The selected processes.
    pub(super) list: Rc<Vec<Process>>,
    /// What could not be seen of them.
    pub(super) problems: Rc<Vec<String>>,
    /// The opened process.
    opened: Option<Rc<Process>>,
    /// Why the opened process can be seen no more.
    pub(super) lost: Option<String>,
}

impl Data {
    /// Takes a look at all selected processes.
    pub(super) fn take_list(&mut self, time: Time, processes: Vec<Process>, problems: Vec<String>) {
        self.time = Some(time);
        self.list = Rc::new(processes);
        self.problems = Rc::new(problems);
    }

    /// Takes a look at the opened process.
    pub(super) fn take_opened(&mut self, time: Time, process: Box<Process>) {
        self.time = Some(time);
        self.lost = None;
        self.opened = Some(Rc::from(process));
    }

    /// No process is open any more.
    pub(super) fn forget_opened(&mut self) {
        self.opened = None;
        self.lost = None;
    }

    /// A process: as it was opened, else as the list has it.
    pub(super) fn process(&self, id: Identity) -> Option<&Process> {
        let opened = self.opened.as_deref().filter(|process| process.id == id);
        opened.or_else(|| self.list.iter().find(|process| process.id == id))
    }
}
