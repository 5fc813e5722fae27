//! The answers to the engine's two questions about a plugin's `SQLite` file: may this statement do that, and may it
//! run on. It remembers in whose name the engine works, until when, and why it was stopped.
//! What may be done is decided in [`super::rules`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::raw::memory_used_bytes;
use super::rules::{self as rules, Question};

/// Working memory that one statement may add before it is stopped, in bytes: sorts, grouping, row sets.
const WORKING_BYTES_MAX: u64 = 48 << 20;

/// On whose behalf the engine works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The host's own statements, constants of this crate.
    Host,
    /// A plugin's statement: rows of its own tables.
    Runtime,
    /// A plugin's migration: also its own tables' shape.
    Migration,
}

/// Why a running statement was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its time is up.
    Deadline,
    /// It took too much working memory.
    Memory,
    /// Nobody waits for it any more.
    Abandoned,
}

/// The rules of one open file.
#[derive(Debug)]
pub(super) struct Gate {
    work: Mutex<Work>,
    /// Set from another task when the caller has gone.
    abandoned: AtomicBool,
    /// Names of virtual tables that the engine offers without asking the schema.
    modules: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Work {
    mode: Mode,
    deadline: Instant,
    memory_base_bytes: u64,
    refused: Option<String>,
    stopped: Option<Stop>,
    /// Whether anything was asked since the mode was set.
    asked: bool,
}

impl Gate {
    /// A gate in host mode whose time is up at `deadline`.
    pub(super) fn new(deadline: Instant) -> Self {
        let work = Work {
            mode: Mode::Host,
            deadline,
            memory_base_bytes: memory_used_bytes(),
            refused: None,
            stopped: None,
            asked: false,
        };
        Self { work: Mutex::new(work), abandoned: AtomicBool::new(false), modules: Mutex::default() }
    }

    /// From here on the engine works in `mode` until `deadline`.
    pub(super) fn enter(&self, mode: Mode, deadline: Instant) {
        let memory_base_bytes = memory_used_bytes();
        *self.work.lock() = Work { mode, deadline, memory_base_bytes, refused: None, stopped: None, asked: false };
    }

    /// Changes the mode inside a piece of work; its clock runs on.
    pub(super) fn set_mode(&self, mode: Mode) {
        let mut work = self.work.lock();
        (work.mode, work.asked) = (mode, false);
    }

    /// Whether a statement that was prepared since [`Gate::set_mode`] said what it would do. VACUUM and an
    /// empty REINDEX say nothing.
    pub(super) fn was_asked(&self) -> bool {
        self.work.lock().asked
    }

    /// Names that no plugin may use for a table, because the engine gives them a meaning.
    pub(super) fn reserve(&self, modules: Vec<String>) {
        *self.modules.lock() = modules;
    }

    /// Stops whatever runs: nobody waits for it.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// What was refused since [`Gate::enter`], as a stable code.
    pub(super) fn take_refused(&self) -> Option<String> {
        self.work.lock().refused.take()
    }

    /// Why the work was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.work.lock().stopped
    }

    /// Asked while a statement runs.
    pub(super) fn may_go_on(&self) -> bool {
        let mut work = self.work.lock();
        let stop = if self.abandoned.load(Ordering::Relaxed) {
            Some(Stop::Abandoned)
        } else if Instant::now() >= work.deadline {
            Some(Stop::Deadline)
        } else if memory_used_bytes().saturating_sub(work.memory_base_bytes) > WORKING_BYTES_MAX {
            Some(Stop::Memory)
        } else {
            None
        };
        if stop.is_some() {
            work.stopped = stop;
        }
        stop.is_none()
    }

    /// Asked while a statement is prepared.
    pub(super) fn allows(&self, question: &Question<'_>) -> bool {
        let mut work = self.work.lock();
        work.asked = true;
        let verdict = match work.mode {
            Mode::Host => Ok(()),
            Mode::Runtime => rules::runtime(question, &self.modules.lock()),
            Mode::Migration => rules::migration(question, &self.modules.lock()),
        };
        match verdict {
            Ok(()) => true,
            Err(code) => {
                // The first reason is the one that a person can act on.
                work.refused.get_or_insert(code);
                false
            }
        }
    }
}
