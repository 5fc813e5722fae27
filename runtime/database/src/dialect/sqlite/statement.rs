//! Checks a plugin's statement by the engine's own reading of it, before it may run.
//! It runs nothing; what a statement may do is the gate's answer while the engine reads it.

use std::ffi::CString;

use super::gate::Gate;
use super::raw::{Failure, Handle, RawStatement};
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

/// Pieces that may stand behind a statement: semicolons and comments.
const TAIL_PIECES_MAX: usize = 16;

/// A statement that passed the checks.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) raw: RawStatement,
    pub(super) is_readonly: bool,
    /// The position in the parameter list, from 0, for each of the engine's parameters in order.
    pub(super) order: Vec<usize>,
    pub(super) is_at_end: bool,
}

/// Why a statement did not pass.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Refused by the checks.
    Refused(StorageError),
    /// Not read by the engine.
    Unread(Failure),
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::Unread(failure)
    }
}

/// Checks `text`: one statement of at most 64 KiB without NUL that reads or writes rows, `$1` to `$n` and no other
/// parameter form, no EXPLAIN, nothing that the gate refuses.
pub(super) fn check(handle: &Handle, gate: &Gate, text: &str) -> Result<Checked, Unfit> {
    let denied = |code: &str| Unfit::Refused(StorageError::Denied(code.to_owned()));
    if text.len() > limits::STATEMENT_BYTES_MAX {
        return Err(Unfit::Refused(StorageError::Limit(limit_codes::STATEMENT_BYTES)));
    }
    let script = CString::new(text).map_err(|_| denied("nul"))?;
    let (first, end) = handle.prepare(&script, 0)?;
    let raw = first.ok_or_else(|| Unfit::Refused(StorageError::Invalid("no statement".to_owned())))?;
    if !gate.was_asked() {
        return Err(denied("statement"));
    }
    if !is_blank(handle, &script, end) {
        return Err(denied("multiple-statements"));
    }
    if raw.is_explain() {
        return Err(denied("statement:explain"));
    }
    let order = parameter_order(&raw).map_err(Unfit::Refused)?;
    Ok(Checked { is_readonly: raw.is_readonly(), raw, order, is_at_end: false })
}

/// Whether the engine reads no statement behind `from`, only blanks, comments and semicolons. What it cannot read is
/// not blank, and neither is an endless row of pieces.
fn is_blank(handle: &Handle, script: &CString, mut from: usize) -> bool {
    for _ in 0..TAIL_PIECES_MAX {
        match handle.prepare(script, from) {
            Ok((None, end)) if end > from => from = end,
            Ok((None, _)) => return true,
            Ok((Some(_), _)) | Err(_) => return false,
        }
    }
    false
}

/// The place in the parameter list for each of the engine's parameters. They are `$1` to `$n`, each at least once.
fn parameter_order(raw: &RawStatement) -> Result<Vec<usize>, StorageError> {
    let count = raw.parameter_count();
    if count > limits::PARAMETERS_MAX {
        return Err(StorageError::Limit(limit_codes::PARAMETERS));
    }
    let denied = || StorageError::Denied("parameter".to_owned());
    (1..=count)
        .map(|index| {
            let digits = raw.parameter_name(index).and_then(|name| name.strip_prefix('$')).ok_or_else(denied)?;
            // The plain spelling only: the engine takes `$01`, `$1` and `$1::int` for three parameters.
            let place = digits.parse::<usize>().ok().filter(|n| n.to_string() == digits && (1..=count).contains(n));
            place.map(|n| n - 1).ok_or_else(denied)
        })
        .collect()
}
