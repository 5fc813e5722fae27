//! Wraps the few C functions of `SQLite` that plugin storage needs, so that no other file is `unsafe`: open
//! with everything dangerous off, authorize, prepare, bind, step, read cells.
//! It decides nothing: what may be prepared and for how long it may run is the [`Gate`]'s answer.

#![expect(
    unsafe_code,
    reason = "the authorizer, the limits and a byte-exact read of a row exist only in SQLite's C interface"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::functions::{Answer, FUNCTIONS, Function};
use super::gate::Gate;
use super::rules::Question;
use super::settings::{BUSY_MS, LIMITS, STEPS_PER_LOOK, SWITCHES};

/// An error of the engine. The text is for the host's log alone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("engine error {code}: {message}")]
pub(super) struct Failure {
    /// Extended result code.
    pub(super) code: c_int,
    /// Byte of the statement where reading stopped, if known.
    pub(super) offset: Option<usize>,
    /// The engine's text: may hold names and values, never leaves the host.
    pub(super) message: String,
}

impl Failure {
    /// The code without its extension.
    pub(super) fn primary(&self) -> c_int {
        self.code & 0xff
    }
}

/// An open file. It is closed when it and every statement of it are gone.
#[derive(Clone, Debug)]
pub(super) struct Handle(Arc<Database>);

#[derive(Debug)]
struct Database {
    raw: NonNull<ffi::sqlite3>,
    /// The callbacks hold a pointer to it: it must live as long as `raw`.
    gate: Arc<Gate>,
}

// SAFETY: the database is opened with FULLMUTEX, so that every call on it from any thread takes its mutex.
unsafe impl Send for Database {}
// SAFETY: as above.
unsafe impl Sync for Database {}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: `raw` came from sqlite3_open_v2, is closed once, and no statement is left: each holds an `Arc` of this.
        unsafe { ffi::sqlite3_close(self.raw.as_ptr()) };
    }
}

impl Handle {
    /// Opens or creates the file at `path`, hardened, with `gate` asked before anything is prepared and while anything runs.
    pub(super) fn open(path: &Path, gate: Arc<Gate>) -> Result<Self, Failure> {
        let bad_path =
            || Failure { code: ffi::SQLITE_CANTOPEN, offset: None, message: "the path is not text".to_owned() };
        let name = path.to_str().and_then(|text| CString::new(text).ok()).ok_or_else(bad_path)?;
        let flags = ffi::SQLITE_OPEN_READWRITE
            | ffi::SQLITE_OPEN_CREATE
            | ffi::SQLITE_OPEN_FULLMUTEX
            | ffi::SQLITE_OPEN_PRIVATECACHE
            | ffi::SQLITE_OPEN_NOFOLLOW
            | ffi::SQLITE_OPEN_EXRESCODE;
        let mut raw = ptr::null_mut();
        // SAFETY: `name` is a C string that outlives the call; `raw` is where the result goes.
        let code = unsafe { ffi::sqlite3_open_v2(name.as_ptr(), &raw mut raw, flags, ptr::null()) };
        let Some(raw) = NonNull::new(raw) else {
            return Err(Failure { code, offset: None, message: "no memory for a connection".to_owned() });
        };
        // From here on the database is closed whatever happens.
        let handle = Self(Arc::new(Database { raw, gate }));
        handle.check(code)?;
        handle.harden()?;
        Ok(handle)
    }

    fn raw(&self) -> *mut ffi::sqlite3 {
        self.0.raw.as_ptr()
    }

    fn harden(&self) -> Result<(), Failure> {
        let gate = Arc::as_ptr(&self.0.gate).cast_mut().cast::<c_void>();
        // SAFETY: `raw` is open; the callbacks get a pointer to the gate, which `Database` keeps alive as long as `raw`.
        unsafe {
            ffi::sqlite3_extended_result_codes(self.raw(), 1);
            ffi::sqlite3_busy_timeout(self.raw(), BUSY_MS);
            for (limit, value) in LIMITS {
                ffi::sqlite3_limit(self.raw(), limit, value);
            }
            for (switch, state) in SWITCHES {
                self.check(ffi::sqlite3_db_config(self.raw(), switch, state, ptr::null_mut::<c_int>()))?;
            }
            self.check(ffi::sqlite3_set_authorizer(self.raw(), Some(authorize), gate))?;
            ffi::sqlite3_progress_handler(self.raw(), STEPS_PER_LOOK, Some(look), gate);
        }
        FUNCTIONS.iter().try_for_each(|function| self.add_function(function))
    }

    fn add_function(&self, function: &'static Function) -> Result<(), Failure> {
        let kept = if function.is_pure { ffi::SQLITE_DETERMINISTIC } else { 0 };
        let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_INNOCUOUS | kept;
        let data = ptr::from_ref(function).cast_mut().cast::<c_void>();
        // SAFETY: `raw` is open, the name is a C string, `data` lives for ever and `call` only reads it.
        let code = unsafe {
            let (name, count) = (function.name.as_ptr(), function.arguments);
            ffi::sqlite3_create_function_v2(self.raw(), name, count, flags, data, Some(call), None, None, None)
        };
        self.check(code)
    }

    fn check(&self, code: c_int) -> Result<(), Failure> {
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.failure(code)) }
    }

    fn failure(&self, code: c_int) -> Failure {
        // SAFETY: `raw` is open; the text is copied before the next call on it.
        let (offset, message) = unsafe {
            (
                ffi::sqlite3_error_offset(self.raw()),
                CStr::from_ptr(ffi::sqlite3_errmsg(self.raw())).to_string_lossy().into_owned(),
            )
        };
        Failure { code, offset: usize::try_from(offset).ok(), message }
    }

    /// Reads the first statement of `script` behind the byte `from`, and where it ends. `None`: only blanks,
    /// comments and semicolons were there. The text ends in NUL so that the engine need not copy it.
    pub(super) fn prepare(&self, script: &CStr, from: usize) -> Result<(Option<RawStatement>, usize), Failure> {
        let from = from.min(script.count_bytes());
        let (mut raw, mut tail) = (ptr::null_mut(), ptr::null());
        let flags = ffi::SQLITE_PREPARE_PERSISTENT;
        // SAFETY: `from` lies within `script`, which ends in NUL; the outputs are valid for writing.
        let (code, start) = unsafe {
            let start = script.as_ptr().add(from);
            (ffi::sqlite3_prepare_v3(self.raw(), start, -1, flags, &raw mut raw, &raw mut tail), start)
        };
        self.check(code)?;
        let read = if tail.is_null() { 0 } else { tail.addr().saturating_sub(start.addr()) };
        let statement = NonNull::new(raw).map(|raw| RawStatement { raw, handle: self.clone() });
        Ok((statement, from.saturating_add(read)))
    }

    /// Whether no transaction is open.
    pub(super) fn is_autocommit(&self) -> bool {
        // SAFETY: `raw` is open.
        unsafe { ffi::sqlite3_get_autocommit(self.raw()) != 0 }
    }

    /// Whether references are open that the commit would refuse.
    pub(super) fn has_open_references(&self) -> bool {
        let (mut open, mut most) = (0, 0);
        let asked = ffi::SQLITE_DBSTATUS_DEFERRED_FKS;
        // SAFETY: `raw` is open; both numbers outlive the call.
        let code = unsafe { ffi::sqlite3_db_status(self.raw(), asked, &raw mut open, &raw mut most, 0) };
        code != ffi::SQLITE_OK || open != 0
    }

    /// Rows changed since the file was opened.
    pub(super) fn total_changes(&self) -> u64 {
        // SAFETY: `raw` is open.
        u64::try_from(unsafe { ffi::sqlite3_total_changes64(self.raw()) }).unwrap_or(0)
    }
}

/// A prepared statement; it keeps its file open.
#[derive(Debug)]
pub(super) struct RawStatement {
    raw: NonNull<ffi::sqlite3_stmt>,
    handle: Handle,
}

// SAFETY: a statement is used by one thread at a time (`&mut self` where it changes) and its database is serialized.
unsafe impl Send for RawStatement {}

impl Drop for RawStatement {
    fn drop(&mut self) {
        // SAFETY: `raw` came from sqlite3_prepare_v3 and is finalized once, before its database closes.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// What a parameter is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bind<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(&'a str),
    /// BLOB.
    Blob(&'a [u8]),
}

/// A cell of the current row, valid until the next step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT; the engine does not promise that it is UTF-8.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

impl RawStatement {
    fn raw(&self) -> *mut ffi::sqlite3_stmt {
        self.raw.as_ptr()
    }

    /// Whether it writes nothing.
    pub(super) fn is_readonly(&self) -> bool {
        // SAFETY: `raw` is a live statement, here and below.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw()) != 0 }
    }

    /// Whether it is an EXPLAIN.
    pub(super) fn is_explain(&self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::sqlite3_stmt_isexplain(self.raw()) != 0 }
    }

    /// Number of parameters.
    pub(super) fn parameter_count(&self) -> usize {
        // SAFETY: as above.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.raw()) }).unwrap_or(0)
    }

    /// Name of the parameter at `index` from 1, with its first character; `None` for a nameless one.
    pub(super) fn parameter_name(&self, index: usize) -> Option<&str> {
        let index = c_int::try_from(index).ok()?;
        // SAFETY: as above; the name lives as long as the statement.
        let name = unsafe { ffi::sqlite3_bind_parameter_name(self.raw(), index) };
        self.text(name)
    }

    /// Binds the parameter at `index` from 1.
    pub(super) fn bind(&mut self, index: usize, value: Bind<'_>) -> Result<(), Failure> {
        let index = c_int::try_from(index).map_err(|_| too_big())?;
        let copy = ffi::SQLITE_TRANSIENT();
        // SAFETY: as above; the engine copies text and bytes before it returns.
        let code = unsafe {
            match value {
                Bind::Null => ffi::sqlite3_bind_null(self.raw(), index),
                Bind::Integer(value) => ffi::sqlite3_bind_int64(self.raw(), index, value),
                Bind::Real(value) => ffi::sqlite3_bind_double(self.raw(), index, value),
                Bind::Text(text) => {
                    let length = c_int::try_from(text.len()).map_err(|_| too_big())?;
                    ffi::sqlite3_bind_text(self.raw(), index, text.as_ptr().cast(), length, copy)
                }
                Bind::Blob([]) => ffi::sqlite3_bind_zeroblob(self.raw(), index, 0),
                Bind::Blob(bytes) => {
                    let length = c_int::try_from(bytes.len()).map_err(|_| too_big())?;
                    ffi::sqlite3_bind_blob(self.raw(), index, bytes.as_ptr().cast(), length, copy)
                }
            }
        };
        self.handle.check(code)
    }

    /// Runs up to the next row. `false`: the end.
    pub(super) fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: as above.
        match unsafe { ffi::sqlite3_step(self.raw()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(self.handle.failure(code)),
        }
    }

    /// Ends the run and forgets the parameters; the statement may run again. An error of the run was reported by `step`.
    pub(super) fn reset(&mut self) {
        // SAFETY: as above.
        unsafe {
            ffi::sqlite3_reset(self.raw());
            ffi::sqlite3_clear_bindings(self.raw());
        }
    }

    /// Number of result columns.
    pub(super) fn column_count(&self) -> usize {
        // SAFETY: as above.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.raw()) }).unwrap_or(0)
    }

    /// Name of the result column at `index` from 0.
    pub(super) fn column_name(&self, index: usize) -> Option<&str> {
        let index = c_int::try_from(index).ok()?;
        // SAFETY: as above; the name lives until the statement is prepared again or dropped, which needs `&mut`.
        let name = unsafe { ffi::sqlite3_column_name(self.raw(), index) };
        self.text(name)
    }

    /// Type with which the table declares the result column at `index` from 0; `None` for an expression.
    pub(super) fn column_type(&self, index: usize) -> Option<&str> {
        let index = c_int::try_from(index).ok()?;
        // SAFETY: as for the name.
        let name = unsafe { ffi::sqlite3_column_decltype(self.raw(), index) };
        self.text(name)
    }

    fn text(&self, name: *const c_char) -> Option<&str> {
        // SAFETY: `name` is null or a C string owned by this statement, which `self` borrows.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }).and_then(|name| name.to_str().ok())
    }

    /// The cell at `index` from 0 of the current row; NULL when there is none.
    pub(super) fn cell(&self, index: usize) -> Cell<'_> {
        let Ok(index) = c_int::try_from(index) else {
            return Cell::Null;
        };
        // SAFETY: as above; the bytes live until the next step or reset, which need `&mut self`. The pointer is
        // asked for before the length, as the engine wants it.
        unsafe {
            match ffi::sqlite3_column_type(self.raw(), index) {
                ffi::SQLITE_INTEGER => Cell::Integer(ffi::sqlite3_column_int64(self.raw(), index)),
                ffi::SQLITE_FLOAT => Cell::Real(ffi::sqlite3_column_double(self.raw(), index)),
                ffi::SQLITE_TEXT => {
                    let start = ffi::sqlite3_column_text(self.raw(), index);
                    Cell::Text(bytes(start, ffi::sqlite3_column_bytes(self.raw(), index)))
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_column_blob(self.raw(), index);
                    Cell::Blob(bytes(start.cast(), ffi::sqlite3_column_bytes(self.raw(), index)))
                }
                _ => Cell::Null,
            }
        }
    }
}

/// # Safety
/// `start` is null or points at `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, length: c_int) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: the caller's promise.
        Ok(length) if !start.is_null() => unsafe { std::slice::from_raw_parts(start, length) },
        _ => &[],
    }
}

/// Bytes that the engine holds in the whole process.
pub(super) fn memory_used_bytes() -> u64 {
    // SAFETY: takes no argument and locks inside.
    u64::try_from(unsafe { ffi::sqlite3_memory_used() }).unwrap_or(0)
}

fn too_big() -> Failure {
    Failure { code: ffi::SQLITE_TOOBIG, offset: None, message: "too long".to_owned() }
}

/// Asked by the engine while it prepares a statement, once for each thing that the statement would do.
unsafe extern "C" fn authorize(
    gate: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    schema: *const c_char,
    _inner: *const c_char,
) -> c_int {
    // SAFETY: `gate` is the pointer given at `harden`; the texts are null or C strings for the time of the call.
    let (gate, question) = unsafe {
        let text = |from: *const c_char| {
            if from.is_null() { None } else { Some(CStr::from_ptr(from).to_str().unwrap_or("\u{fffd}")) }
        };
        (&*gate.cast::<Gate>(), Question { action, first: text(first), second: text(second), schema: text(schema) })
    };
    if gate.allows(&question) { ffi::SQLITE_OK } else { ffi::SQLITE_DENY }
}

/// Asked by the engine each [`STEPS_PER_LOOK`] steps; anything but 0 interrupts the statement.
unsafe extern "C" fn look(gate: *mut c_void) -> c_int {
    // SAFETY: `gate` is the pointer given at `harden`.
    let gate = unsafe { &*gate.cast::<Gate>() };
    c_int::from(!gate.may_go_on())
}

/// Runs the [`Function`] whose pointer is the user data of the call.
unsafe extern "C" fn call(context: *mut ffi::sqlite3_context, count: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: `context` and the `count` values are the engine's for the time of the call; the user data is the
    // `&'static Function` given at `add_function`.
    unsafe {
        let function = &*ffi::sqlite3_user_data(context).cast::<Function>();
        let count = usize::try_from(count).unwrap_or(0);
        let arguments: Vec<Cell<'_>> = (0..count).map(|index| argument(*values.add(index))).collect();
        match (function.body)(&arguments) {
            Answer::Null => ffi::sqlite3_result_null(context),
            Answer::Integer(value) => ffi::sqlite3_result_int64(context, value),
            Answer::Text(text) => match c_int::try_from(text.len()) {
                Ok(length) => ffi::sqlite3_result_text(context, text.as_ptr().cast(), length, ffi::SQLITE_TRANSIENT()),
                Err(_) => ffi::sqlite3_result_error_toobig(context),
            },
            Answer::TooBig => ffi::sqlite3_result_error_toobig(context),
        }
    }
}

/// Numbers come as the text that they are written as.
///
/// # Safety
/// `value` is an argument of the running call.
unsafe fn argument<'a>(value: *mut ffi::sqlite3_value) -> Cell<'a> {
    // SAFETY: the caller's promise; the pointer is asked for before the length, as the engine wants it.
    unsafe {
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_NULL => Cell::Null,
            ffi::SQLITE_BLOB => {
                let start = ffi::sqlite3_value_blob(value);
                Cell::Blob(bytes(start.cast(), ffi::sqlite3_value_bytes(value)))
            }
            _ => {
                let start = ffi::sqlite3_value_text(value);
                Cell::Text(bytes(start, ffi::sqlite3_value_bytes(value)))
            }
        }
    }
}
