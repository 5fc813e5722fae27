//! A host in the author's own process, so that `cargo test` of a plugin needs nothing else.
//! It keeps keys, values, blobs and views and records logs and statements for real; SQL it does not run: a test
//! scripts the answers, and an unscripted statement is an error that quotes it.
//!
//! ```
//! use bulkhead_sdk::{authz, config, mock};
//! use serde_json::json;
//!
//! let host = mock::Host::new()
//!     .with_config(json!({ "greeting": "Ciao" }))
//!     .with_permission("hello.greet");
//!
//! let greeting: serde_json::Value = host.run(|| config::get()).unwrap();
//! assert_eq!(greeting["greeting"], "Ciao");
//! assert!(host.run(|| authz::has("hello.greet")));
//! ```

mod blob;
mod kv;
mod sha256;
mod sql;
mod views;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::Context;
use crate::bindings::bulkhead::plugin::log::Level;
use crate::bindings::bulkhead::plugin::sql::Statement;

pub use sql::{Answer, affected, failure, rows, unavailable, violation};

/// Milliseconds that a mock call has, from the mock's clock.
const DEADLINE_MS: u64 = 1_000;

/// 2026-01-01T00:00:00Z, where a mock's clock stands unless it is set.
const NOW_US: i64 = 1_767_225_600_000_000;

/// One host with one tenant. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host(Rc<RefCell<State>>);

/// One line of the plugin's log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Level that it was written at.
    pub level: Level,
    /// Message, variables filled in.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct State {
    tenant: String,
    user: Option<String>,
    locale: String,
    permissions: BTreeSet<String>,
    roles: Vec<String>,
    config: String,
    config_version: u32,
    now_us: i64,
    log: Vec<Line>,
    kv: kv::Store,
    blob: blob::Store,
    answers: VecDeque<(String, Answer)>,
    statements: Vec<Statement>,
    has_transaction: bool,
    views: Vec<views::View>,
}

thread_local! {
    /// The hosts whose `run` is on this thread's stack, the innermost last.
    static RUNNING: RefCell<Vec<Host>> = const { RefCell::new(Vec::new()) };
}

impl Host {
    /// A host with tenant `acme`, no user, no permission, an empty configuration, empty storage.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "`Host::new().with_..` is the one way to make it")]
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            tenant: "acme".to_owned(),
            user: None,
            locale: "en".to_owned(),
            permissions: BTreeSet::new(),
            roles: Vec::new(),
            config: "{}".to_owned(),
            config_version: 1,
            now_us: NOW_US,
            log: Vec::new(),
            kv: kv::Store::default(),
            blob: blob::Store::default(),
            answers: VecDeque::new(),
            statements: Vec::new(),
            has_transaction: false,
            views: Vec::new(),
        })))
    }

    /// Runs `work` with this host behind every import, on this thread.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        RUNNING.with_borrow_mut(|running| running.push(self.clone()));
        let _leave = Leave;
        work()
    }

    /// What the host tells a plugin about a call of this tenant and user.
    #[must_use]
    pub fn context(&self) -> Context {
        let state = self.0.borrow();
        Context {
            tenant: state.tenant.clone(),
            user: state.user.clone(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            locale: state.locale.clone(),
            deadline_ms: u64::try_from(state.now_us / 1_000).unwrap_or(0) + DEADLINE_MS,
        }
    }

    /// The same host for another tenant.
    #[must_use]
    pub fn with_tenant(self, tenant: &str) -> Self {
        self.change(|state| state.tenant = tenant.to_owned())
    }

    /// The same host with this user calling.
    #[must_use]
    pub fn with_user(self, user: &str) -> Self {
        self.change(|state| state.user = Some(user.to_owned()))
    }

    /// The same host with this language, BCP 47.
    #[must_use]
    pub fn with_locale(self, locale: &str) -> Self {
        self.change(|state| state.locale = locale.to_owned())
    }

    /// The same host with one permission more for the user, written as the plugin asks for it.
    #[must_use]
    pub fn with_permission(self, permission: &str) -> Self {
        self.change(|state| {
            state.permissions.insert(permission.to_owned());
        })
    }

    /// The same host with one role more for the user.
    #[must_use]
    pub fn with_role(self, role: &str) -> Self {
        self.change(|state| state.roles.push(role.to_owned()))
    }

    /// The same host with this configuration, which is not checked against a schema here.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a test writes `with_config(json!(..))`")]
    pub fn with_config(self, config: serde_json::Value) -> Self {
        self.change(|state| state.config = config.to_string())
    }

    /// The same host with its clock here, in microseconds since 1970, UTC. It does not move by
    /// itself.
    #[must_use]
    pub fn with_now_us(self, now_us: i64) -> Self {
        self.change(|state| state.now_us = now_us)
    }

    /// The same host with one answer more for a statement that contains `fragment`. An answer
    /// serves once; of several that fit, the first given is taken.
    #[must_use]
    pub fn with_sql(self, fragment: &str, answer: Answer) -> Self {
        self.change(|state| state.answers.push_back((fragment.to_owned(), answer)))
    }

    /// The lines that were logged.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        self.0.borrow().log.clone()
    }

    /// The statements that were sent, in their order, each with its white space made single;
    /// transactions show as `BEGIN`, `COMMIT` and `ROLLBACK`.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.0.borrow().statements.clone()
    }

    /// The texts of [`Host::statements`].
    #[must_use]
    pub fn statement_texts(&self) -> Vec<String> {
        self.0.borrow().statements.iter().map(|statement| statement.text.clone()).collect()
    }

    fn change(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.0.borrow_mut());
        self
    }
}

/// Takes a host off the stack again, also when a test panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

/// The host that is running.
#[expect(clippy::panic, reason = "a test that forgot `run` can only be told so")]
fn running() -> Host {
    RUNNING
        .with_borrow(|running| running.last().cloned())
        .unwrap_or_else(|| panic!("an import was called outside `mock::Host::run`"))
}

fn with_state<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut running().0.borrow_mut())
}

pub(crate) fn now_us() -> i64 {
    with_state(|state| state.now_us)
}

/// The imports as the generated bindings have them.
pub(crate) mod imports {
    pub(crate) use super::{blob::imports as blob, kv::imports as kv, sql::imports as sql, views::imports as views};

    /// `bulkhead:plugin/authz`.
    pub(crate) mod authz {
        use crate::mock::with_state;

        pub(crate) fn has(permission: &str) -> bool {
            with_state(|state| state.permissions.contains(permission))
        }

        pub(crate) fn roles() -> Vec<String> {
            with_state(|state| state.roles.clone())
        }
    }

    /// `bulkhead:plugin/config`.
    pub(crate) mod config {
        use crate::mock::with_state;

        pub(crate) fn get() -> String {
            with_state(|state| state.config.clone())
        }

        pub(crate) fn version() -> u32 {
            with_state(|state| state.config_version)
        }
    }

    /// `bulkhead:plugin/log`.
    pub(crate) mod log {
        use crate::log::Level;
        use crate::mock::{Line, with_state};

        pub(crate) fn write(level: Level, message: &str, fields: &[(String, String)]) {
            let line = Line { level, message: message.to_owned(), fields: fields.to_vec() };
            with_state(|state| state.log.push(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authz, log};

    #[test]
    fn a_host_is_behind_the_imports_only_while_it_runs() {
        let outer = Host::new().with_permission("outer");
        let inner = Host::new().with_permission("inner");

        outer.run(|| {
            inner.run(|| assert!(authz::has("inner") && !authz::has("outer")));
            assert!(authz::has("outer") && !authz::has("inner"));
        });
    }

    #[test]
    fn an_import_outside_run_says_so() {
        let panicked = std::panic::catch_unwind(|| log::info!("any")).unwrap_err();

        let text = panicked.downcast_ref::<&str>().copied().or(panicked.downcast_ref::<String>().map(String::as_str));
        assert!(text.is_some_and(|text| text.contains("outside `mock::Host::run`")), "{text:?}");
    }

    #[test]
    fn a_host_is_off_the_stack_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| Host::new().run(|| panic!("in the plugin")));

        assert!(panicked.is_err());
        assert!(RUNNING.with_borrow(Vec::is_empty));
    }

    #[test]
    fn fields_of_a_line_are_recorded() {
        let host = Host::new();

        host.run(|| log::error!("broken", part.name = "wheel"));

        let fields = vec![("part.name".to_owned(), "wheel".to_owned())];
        assert_eq!(host.log(), [Line { level: Level::Error, message: "broken".to_owned(), fields }]);
    }

    #[test]
    fn a_call_has_a_second_of_the_mocks_clock() {
        let host = Host::new();

        assert_eq!(host.run(|| host.context().remaining_ms()), DEADLINE_MS);
    }
}
