//! SQL functions that the host gives to plugins: a clock and UUIDs under PostgreSQL's names, and in place of the
//! engine's own those whose time grows with the product of two arguments, which no deadline could interrupt.
//! Each takes time in proportion to its arguments.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::CStr;

use uuid::Uuid;

use super::raw::Cell;
use super::settings::VALUE_BYTES_MAX;

/// A function that the engine calls.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static CStr,
    pub(super) arguments: i32,
    /// Whether equal arguments give equal answers, so that an index may use it.
    pub(super) is_pure: bool,
    pub(super) body: fn(&[Cell<'_>]) -> Answer,
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Null,
    Integer(i64),
    Text(String),
    TooBig,
}

/// Every function of the host.
pub(super) static FUNCTIONS: [Function; 7] = [
    Function { name: c"now", arguments: 0, is_pure: false, body: now },
    Function { name: c"gen_random_uuid", arguments: 0, is_pure: false, body: gen_random_uuid },
    Function { name: c"instr", arguments: 2, is_pure: true, body: instr },
    Function { name: c"replace", arguments: 3, is_pure: true, body: replace },
    Function { name: c"trim", arguments: 2, is_pure: true, body: |values| trim(values, true, true) },
    Function { name: c"ltrim", arguments: 2, is_pure: true, body: |values| trim(values, true, false) },
    Function { name: c"rtrim", arguments: 2, is_pure: true, body: |values| trim(values, false, true) },
];

/// Microseconds since 1970.
fn now(_: &[Cell<'_>]) -> Answer {
    #[expect(clippy::disallowed_methods, reason = "the statement runs now: SQL's own clock is the edge")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Answer::Integer(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A random UUID as text.
fn gen_random_uuid(_: &[Cell<'_>]) -> Answer {
    Answer::Text(Uuid::new_v4().to_string())
}

/// Place from 1 of the second text in the first, in characters, or bytes for two blobs; 0 if it is not there.
fn instr(values: &[Cell<'_>]) -> Answer {
    let [text, wanted] = values else { return Answer::Null };
    let texts = match (text, wanted) {
        // One character a byte, so that places in the text are places in the blob.
        (Cell::Blob(text), Cell::Blob(wanted)) => Some((latin(text), latin(wanted))),
        _ => string(*text).zip(string(*wanted)),
    };
    let Some((text, wanted)) = texts else { return Answer::Null };
    match text.split_once(wanted.as_ref()) {
        Some((before, _)) => {
            Answer::Integer(i64::try_from(before.chars().count()).unwrap_or(i64::MAX).saturating_add(1))
        }
        None => Answer::Integer(0),
    }
}

/// The first text with every second one in it replaced by the third.
fn replace(values: &[Cell<'_>]) -> Answer {
    let [text, from, to] = values else { return Answer::Null };
    let (Some(text), Some(from), Some(to)) = (string(*text), string(*from), string(*to)) else { return Answer::Null };
    if from.is_empty() {
        return Answer::Text(text.into_owned());
    }
    let count = text.matches(from.as_ref()).count();
    let grown = to.len().saturating_sub(from.len()).saturating_mul(count);
    if text.len().saturating_add(grown) > VALUE_BYTES_MAX {
        return Answer::TooBig;
    }
    Answer::Text(text.replace(from.as_ref(), &to))
}

/// The first text without the characters of the second at its ends.
fn trim(values: &[Cell<'_>], start: bool, end: bool) -> Answer {
    let [text, unwanted] = values else { return Answer::Null };
    let (Some(text), Some(unwanted)) = (string(*text), string(*unwanted)) else { return Answer::Null };
    let unwanted: HashSet<char> = unwanted.chars().collect();
    let mut rest = text.as_ref();
    if start {
        rest = rest.trim_start_matches(|c| unwanted.contains(&c));
    }
    if end {
        rest = rest.trim_end_matches(|c| unwanted.contains(&c));
    }
    Answer::Text(rest.to_owned())
}

fn string<'a>(cell: Cell<'a>) -> Option<Cow<'a, str>> {
    match cell {
        Cell::Null => None,
        Cell::Integer(value) => Some(value.to_string().into()),
        Cell::Real(value) => Some(value.to_string().into()),
        Cell::Text(bytes) | Cell::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
    }
}

fn latin(bytes: &[u8]) -> Cow<'_, str> {
    bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell<'_> {
        Cell::Text(text.as_bytes())
    }

    #[test]
    fn instr_counts_characters_of_texts_and_bytes_of_blobs() {
        let check = |values: [Cell<'_>; 2], wanted: Answer| assert_eq!(instr(&values), wanted, "{values:?}");
        check([text("üab"), text("b")], Answer::Integer(3));
        check([Cell::Blob("üab".as_bytes()), Cell::Blob(b"b")], Answer::Integer(4));
        check([text("abc"), text("")], Answer::Integer(1));
        check([text("abc"), text("d")], Answer::Integer(0));
        check([Cell::Null, text("d")], Answer::Null);
    }

    #[test]
    fn replace_replaces_all_and_never_outgrows_a_value() {
        let check = |values: [Cell<'_>; 3], wanted: Answer| assert_eq!(replace(&values), wanted, "{values:?}");
        check([text("a-b-c"), text("-"), text("+")], Answer::Text("a+b+c".into()));
        check([text("abc"), text(""), text("x")], Answer::Text("abc".into()));
        check([text("abc"), Cell::Null, text("x")], Answer::Null);

        let long = "x".repeat(VALUE_BYTES_MAX);
        assert_eq!(replace(&[text(&long), text("x"), text("xx")]), Answer::TooBig);
    }

    #[test]
    fn trim_takes_a_set_of_characters_from_the_ends_asked_for() {
        let values = [text("xyaxyx"), text("yx")];
        assert_eq!(trim(&values, true, true), Answer::Text("a".into()));
        assert_eq!(trim(&values, true, false), Answer::Text("axyx".into()));
        assert_eq!(trim(&values, false, true), Answer::Text("xya".into()));
    }
}
