//! One connection to a plugin's `SQLite` file: runs a checked statement within its bounds, decodes the rows.
//! Blocking; callers run it off the async threads. It decides nothing about who may call.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::gate::{Gate, Mode};
use super::raw::{Bind, Cell, Failure, Handle, RawStatement};
use super::settings::{HOST_TABLES, LAYOUT, PAGE_BYTES, PAGES_MIN, SETTINGS};
use super::statement::{Checked, Unfit, check};
use super::value::{ColumnKind, Parameter, answer, read};
use crate::tenant::limits;
use crate::tenant::value::{StorageError, Table, Value, limit_codes};

/// Prepared statements kept per connection, the plugin's and the host's each.
const STATEMENTS_MAX: usize = 64;
/// What a plugin's statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read rows.
    Read,
    /// Read and write rows.
    Write,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Connection {
    handle: Handle,
    gate: Arc<Gate>,
    storage_bytes_max: u64,
    /// The plugin's statements. Kept apart from the host's: equal text must not give equal rights.
    plugin: HashMap<Box<str>, Checked>,
    host: HashMap<&'static str, RawStatement>,
}

impl Connection {
    /// Opens or creates the file for at most `storage_bytes_max`.
    pub(super) fn open(path: &Path, storage_bytes_max: u64, deadline: Instant) -> Result<Self, StorageError> {
        let gate = Arc::new(Gate::new(deadline));
        let handle = Handle::open(path, Arc::clone(&gate)).map_err(|failure| answer(&failure, None, None))?;
        let mut connection = Self { handle, gate, storage_bytes_max: 0, plugin: HashMap::new(), host: HashMap::new() };
        for setting in SETTINGS {
            connection.host_once(setting)?;
        }
        // Before the bound: a full file of an older version gets its tables as well.
        if connection.host_number("PRAGMA user_version")? != LAYOUT {
            connection.create_host_tables()?;
        }
        connection.limit_pages(storage_bytes_max)?;
        let modules = connection.modules()?;
        connection.gate.reserve(modules);
        Ok(connection)
    }

    /// From here on the file may hold `storage_bytes_max`. A file that holds more already takes no new page.
    pub(super) fn limit_pages(&mut self, storage_bytes_max: u64) -> Result<(), StorageError> {
        if self.storage_bytes_max == storage_bytes_max {
            return Ok(());
        }
        self.storage_bytes_max = storage_bytes_max;
        let pages = (storage_bytes_max / PAGE_BYTES).clamp(PAGES_MIN, u64::from(u32::MAX) - 1);
        self.host_once(&format!("PRAGMA max_page_count = {pages}"))
    }

    fn create_host_tables(&mut self) -> Result<(), StorageError> {
        self.host_once("BEGIN IMMEDIATE")?;
        // Another process may have been first.
        let found = self.host_number("PRAGMA user_version")?;
        for (_, statement) in HOST_TABLES.iter().filter(|(layout, _)| *layout > found) {
            self.host_once(statement)?;
        }
        self.host_once("COMMIT")
    }

    fn modules(&mut self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        self.host_rows("SELECT name FROM pragma_module_list LIMIT 1000", &[], |row| {
            names.push(text(row.cell(0)));
            Ok(())
        })?;
        Ok(names)
    }

    /// The rules that the connection works under, to stop it from another task.
    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether it is as good as freshly opened: no transaction is left.
    pub(super) fn is_clean(&self) -> bool {
        self.handle.is_autocommit()
    }

    /// Begins a piece of work of a caller. It may have waited for a thread: a caller that has gone is not served.
    pub(super) fn begin_work(&mut self, storage_bytes_max: u64, deadline: Instant) -> Result<(), StorageError> {
        self.start(deadline);
        if !self.gate.may_go_on() {
            return Err(self.stopped());
        }
        self.limit_pages(storage_bytes_max)
    }

    /// From here on time is up at `deadline`.
    pub(super) fn start(&self, deadline: Instant) {
        self.gate.enter(Mode::Host, deadline);
    }

    /// From here on the engine works for the host; the clock runs on.
    pub(super) fn set_host_mode(&self) {
        self.gate.set_mode(Mode::Host);
    }

    /// Forgets prepared statements: the shape of the tables has changed.
    pub(super) fn forget_statements(&mut self) {
        self.plugin.clear();
    }

    /// Runs one plugin statement and collects its rows within the bounds of a result.
    pub(super) fn run(&mut self, text: &str, params: Vec<Value>, access: Access) -> Result<Table, StorageError> {
        let mut statement = self.checked(text)?;
        let before = self.handle.total_changes();
        let answer = self.run_checked(&mut statement, params, access);
        statement.raw.reset();
        self.gate.set_mode(Mode::Host);
        let mut table = answer?;
        if !statement.is_readonly {
            table.affected = self.handle.total_changes().saturating_sub(before);
        }
        if self.plugin.len() >= STATEMENTS_MAX {
            self.plugin.clear();
        }
        self.plugin.insert(text.into(), statement);
        Ok(table)
    }

    fn run_checked(
        &mut self,
        statement: &mut Checked,
        params: Vec<Value>,
        access: Access,
    ) -> Result<Table, StorageError> {
        self.bind(statement, params, access)?;
        let (mut table, mut bytes) = (Table::default(), 0);
        self.gate.set_mode(Mode::Runtime);
        let kinds = &mut Vec::new();
        while self.step(&mut statement.raw)? {
            if table.rows.len() >= limits::RESULT_ROWS_MAX {
                return Err(StorageError::Limit(limit_codes::ROWS));
            }
            table.rows.push(row(&statement.raw, kinds, &mut bytes)?);
        }
        // Asked last: the engine may have read the statement again when it began to run.
        table.columns = columns(&statement.raw);
        Ok(table)
    }

    /// Checks and binds a read, to be stepped by [`Connection::next_rows`].
    pub(super) fn open_read(&mut self, text: &str, params: Vec<Value>) -> Result<(Checked, Vec<String>), StorageError> {
        let mut statement = self.checked(text)?;
        self.bind(&mut statement, params, Access::Read)?;
        let columns = columns(&statement.raw);
        Ok((statement, columns))
    }

    /// Up to `rows_max` further rows, fewer when the page's bytes are used up, none at the end.
    pub(super) fn next_rows(
        &mut self,
        statement: &mut Checked,
        columns: usize,
        rows_max: usize,
    ) -> Result<Vec<Vec<Value>>, StorageError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        self.gate.set_mode(Mode::Runtime);
        let kinds = &mut Vec::new();
        // A page ends behind the row that fills half of its bytes; a row alone is bounded by `row`.
        while rows.len() < rows_max && bytes < limits::RESULT_BYTES_MAX / 2 && !statement.is_at_end {
            if !self.step(&mut statement.raw)? {
                statement.is_at_end = true;
                break;
            }
            if statement.raw.column_count() != columns {
                return Err(StorageError::Retry);
            }
            let mut row_bytes = 0;
            rows.push(row(&statement.raw, kinds, &mut row_bytes)?);
            bytes += row_bytes;
        }
        Ok(rows)
    }

    fn bind(&self, statement: &mut Checked, params: Vec<Value>, access: Access) -> Result<(), StorageError> {
        if access == Access::Read && !statement.is_readonly {
            return Err(StorageError::Denied("write".to_owned()));
        }
        let wanted = statement.order.len();
        if params.len() < wanted {
            return Err(StorageError::Parameter(position(params.len() + 1), "a value".to_owned()));
        }
        if params.len() > wanted {
            return Err(StorageError::Parameter(position(wanted + 1), "no value".to_owned()));
        }
        let params: Vec<Parameter> = params
            .into_iter()
            .enumerate()
            .map(|(index, value)| Parameter::of(value, index + 1))
            .collect::<Result<_, _>>()?;
        for (index, place) in statement.order.iter().enumerate() {
            let value = params.get(*place).map_or(Bind::Null, Parameter::bind);
            statement.raw.bind(index + 1, value).map_err(|failure| self.answer(&failure))?;
        }
        Ok(())
    }

    fn step(&self, raw: &mut RawStatement) -> Result<bool, StorageError> {
        // A step stops at its first row: time is looked at here too, for statements that are many short steps.
        if !self.gate.may_go_on() {
            return Err(self.stopped());
        }
        raw.step().map_err(|failure| self.answer(&failure))
    }

    fn stopped(&self) -> StorageError {
        let interrupted = Failure { code: libsqlite3_sys::SQLITE_INTERRUPT, offset: None, message: String::new() };
        self.answer(&interrupted)
    }

    fn answer(&self, failure: &Failure) -> StorageError {
        answer(failure, self.gate.take_refused(), self.gate.stopped())
    }

    /// The statement of `text`, from the cache or checked.
    fn checked(&mut self, text: &str) -> Result<Checked, StorageError> {
        if let Some(statement) = self.plugin.remove(text) {
            return Ok(statement);
        }
        self.gate.set_mode(Mode::Runtime);
        let checked = check(&self.handle, &self.gate, text);
        self.gate.set_mode(Mode::Host);
        checked.map_err(|unfit| match unfit {
            Unfit::Refused(error) => error,
            Unfit::Unread(failure) => self.answer(&failure),
        })
    }

    /// Reads and runs the statements of a migration one after the other, as the engine splits them.
    pub(super) fn run_script(&mut self, script: &str) -> Result<(), StorageError> {
        let denied = |code: &str| StorageError::Denied(code.to_owned());
        let script = CString::new(script).map_err(|_| denied("nul"))?;
        let mut from = 0;
        loop {
            self.gate.set_mode(Mode::Migration);
            let (statement, end) = self.handle.prepare(&script, from).map_err(|failure| self.answer(&failure))?;
            let Some(mut raw) = statement else {
                // A lone semicolon or comment; at the end nothing is read any more.
                if end == from {
                    break;
                }
                from = end;
                continue;
            };
            // VACUUM, which asks nobody, is refused by the engine inside a transaction.
            if raw.is_explain() {
                return Err(denied("statement:explain"));
            }
            if raw.parameter_count() > 0 {
                return Err(denied("parameter"));
            }
            while self.step(&mut raw)? {}
            from = end;
        }
        self.gate.set_mode(Mode::Host);
        Ok(())
    }

    /// Runs a statement of the host and gives each row to `each`.
    pub(super) fn host_rows(
        &mut self,
        text: &'static str,
        params: &[Bind<'_>],
        mut each: impl FnMut(&RawStatement) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut raw = match self.host.remove(text) {
            Some(raw) => raw,
            None => self.prepare_host(text)?,
        };
        let result = self.host_steps(&mut raw, params, &mut each);
        raw.reset();
        self.host.insert(text, raw);
        result
    }

    fn host_steps(
        &self,
        raw: &mut RawStatement,
        params: &[Bind<'_>],
        each: &mut dyn FnMut(&RawStatement) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for (index, value) in params.iter().enumerate() {
            raw.bind(index + 1, *value).map_err(|failure| self.answer(&failure))?;
        }
        while raw.step().map_err(|failure| self.answer(&failure))? {
            each(raw)?;
        }
        Ok(())
    }

    /// Runs a statement of the host that answers no rows.
    pub(super) fn host(&mut self, text: &'static str, params: &[Bind<'_>]) -> Result<(), StorageError> {
        self.host_rows(text, params, |_| Ok(()))
    }

    /// The one number that a statement of the host answers; 0 when there is no row.
    pub(super) fn host_number(&mut self, text: &'static str) -> Result<i64, StorageError> {
        let mut number = 0;
        self.host_rows(text, &[], |row| {
            number = integer(row.cell(0));
            Ok(())
        })?;
        Ok(number)
    }

    /// Runs a statement of the host that is not kept: one that is rare, or a PRAGMA, which may act while it is prepared.
    pub(super) fn host_once(&mut self, text: &str) -> Result<(), StorageError> {
        let mut raw = self.prepare_host(text)?;
        while raw.step().map_err(|failure| self.answer(&failure))? {}
        Ok(())
    }

    /// Runs a statement of the host that only reads and may be long, until `deadline`, and gives each row to `each`.
    pub(super) fn host_read(
        &self,
        text: &str,
        deadline: Instant,
        mut each: impl FnMut(&RawStatement) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut raw = self.prepare_host(text)?;
        loop {
            // Others' memory grows and shrinks meanwhile: a row's own begins here.
            self.start(deadline);
            if !self.step(&mut raw)? {
                return Ok(());
            }
            each(&raw)?;
        }
    }

    fn prepare_host(&self, text: &str) -> Result<RawStatement, StorageError> {
        let text = CString::new(text).map_err(|_| StorageError::Denied("nul".to_owned()))?;
        let (raw, _) = self.handle.prepare(&text, 0).map_err(|failure| self.answer(&failure))?;
        raw.ok_or_else(|| StorageError::Invalid("no statement".to_owned()))
    }

    /// Begins a transaction that may write; no other writer can be in between.
    pub(super) fn begin_immediate(&mut self) -> Result<(), StorageError> {
        self.host("BEGIN IMMEDIATE", &[])
    }

    /// Moves the write-ahead log into the file, as far as readers let it, and cuts it.
    pub(super) fn checkpoint(&mut self) -> Result<(), StorageError> {
        self.host_once("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Makes the open transaction permanent.
    pub(super) fn commit(&mut self) -> Result<(), StorageError> {
        self.gate.set_mode(Mode::Host);
        self.host("COMMIT", &[])
    }

    /// Undoes the open transaction, if there is one: the engine ends it itself on some errors.
    pub(super) fn rollback(&mut self) -> Result<(), StorageError> {
        self.gate.set_mode(Mode::Host);
        if self.is_clean() { Ok(()) } else { self.host("ROLLBACK", &[]) }
    }

    /// Whether references are left that may be so until the commit.
    pub(super) fn has_open_references(&self) -> bool {
        self.handle.has_open_references()
    }

    /// Runs `work` in a savepoint of the open transaction: all of it, or nothing when it fails.
    pub(super) fn in_savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.host("SAVEPOINT __work", &[])?;
        let done = work(self);
        self.gate.set_mode(Mode::Host);
        let ended = match &done {
            Ok(_) => self.host("RELEASE __work", &[]),
            // The engine ends a transaction itself on some errors.
            Err(_) if self.is_clean() => Ok(()),
            Err(_) => self.host("ROLLBACK TO __work", &[]).and_then(|()| self.host("RELEASE __work", &[])),
        };
        match ended {
            Ok(()) => done,
            Err(error) => {
                self.rollback()?;
                done.and(Err(error))
            }
        }
    }

    /// Runs `work`, which only reads, on one moment of the file.
    pub(super) fn in_snapshot<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if !self.is_clean() {
            return work(self);
        }
        self.host("BEGIN", &[])?;
        let done = work(self);
        self.rollback()?;
        done
    }

    /// Runs `work` in a transaction of its own, or in a savepoint of the one that is open: all of it, or nothing when it fails.
    pub(super) fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if !self.is_clean() {
            return self.in_savepoint(work);
        }
        self.begin_immediate()?;
        match work(self).and_then(|answer| self.commit().map(|()| answer)) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.rollback()?;
                Err(error)
            }
        }
    }
}

fn columns(raw: &RawStatement) -> Vec<String> {
    (0..raw.column_count()).map(|index| raw.column_name(index).unwrap_or_default().to_owned()).collect()
}

/// The current row; `bytes` counts it into the budget of the result. `kinds` is filled at the first row: the
/// engine may read the statement again before that.
fn row(raw: &RawStatement, kinds: &mut Vec<ColumnKind>, bytes: &mut usize) -> Result<Vec<Value>, StorageError> {
    if kinds.is_empty() {
        kinds.extend((0..raw.column_count()).map(|index| ColumnKind::of(raw.column_type(index))));
    }
    let mut values = Vec::with_capacity(kinds.len());
    for (index, kind) in kinds.iter().enumerate() {
        let cell = raw.cell(index);
        // Counted before it is copied: a row of many large cells must not be built at all.
        *bytes = bytes.saturating_add(size_bytes(cell));
        if *bytes > limits::RESULT_BYTES_MAX {
            return Err(StorageError::Limit(limit_codes::BYTES));
        }
        values.push(read(cell, *kind)?);
    }
    Ok(values)
}

fn size_bytes(cell: Cell<'_>) -> usize {
    match cell {
        Cell::Null => 1,
        Cell::Integer(_) | Cell::Real(_) => 8,
        Cell::Text(bytes) | Cell::Blob(bytes) => bytes.len(),
    }
}

/// The integer in a cell of the host's own tables.
pub(super) fn integer(cell: Cell<'_>) -> i64 {
    match cell {
        Cell::Integer(value) => value,
        Cell::Null | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => 0,
    }
}

/// The text in a cell of the host's own tables.
pub(super) fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Blob(_) => String::new(),
    }
}

fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
