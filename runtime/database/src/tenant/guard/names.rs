//! Which names a plugin may write: tables are its own, columns are anything printable.
//! Whether a table is there is the engine's answer.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::denied::{Denied, Reason};

/// Longest name in bytes: PostgreSQL cuts longer ones off, and two would become one.
const NAME_BYTES_MAX: usize = 63;

/// Tables that an engine makes up when their name is read, and the schema of the standard's own.
const MADE_UP: &[&str] = &[
    "bytecode",
    "dbstat",
    "generate_series",
    "information_schema",
    "json_each",
    "json_tree",
    "jsonb_each",
    "jsonb_tree",
    "tables_used",
];
/// Beginnings of names that belong to the engines and to the host.
const KEPT_PREFIXES: &[&str] = &["__", "pg_", "sqlite_", "pragma_", "fts3tokenize"];
/// Columns that PostgreSQL adds to each table; they tell about the whole server.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "cmax", "cmin", "tableoid", "xmax", "xmin"];
/// Words that are no names in SQL unless they are quoted, such as ONLY, DEFAULT and USER. Sorted.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_schema",
    "current_time", "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else",
    "end", "except", "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially",
    "intersect", "into", "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on",
    "only", "or", "order", "placing", "primary", "references", "returning", "select", "session_user", "some",
    "symmetric", "system_user", "table", "then", "to", "trailing", "true", "union", "unique", "user", "using",
    "variadic", "when", "where", "window", "with",
];

/// The name of a table, index, constraint or common table expression: ASCII letters, digits and `_`.
pub(super) fn table(name: &ObjectName) -> Result<String, Denied> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => table_ident(name),
        parts => Err(qualified(parts)),
    }
}

/// As [`table`], for a single word.
pub(super) fn table_ident(name: &Ident) -> Result<String, Denied> {
    let text = column(name)?;
    let is_plain = |text: &str| {
        !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let lower = text.to_ascii_lowercase();
    let is_kept = KEPT_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) || MADE_UP.contains(&lower.as_str());
    if is_kept || !is_plain(&text) { Err(Denied::name(Reason::Table, name)) } else { Ok(text) }
}

/// A column's name that stands alone in a list.
pub(super) fn single_column(name: &ObjectName) -> Result<String, Denied> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => column(name),
        parts => Err(qualified(parts)),
    }
}

/// The name of a column or the alias of anything. Without quotes it is folded to lower case, as PostgreSQL does.
pub(super) fn column(name: &Ident) -> Result<String, Denied> {
    let Ident { value, quote_style, span: _ } = name;
    let wrong = || Denied::name(Reason::Name, name);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let lower = value.to_ascii_lowercase();
    let text = match quote_style {
        // Quoted, they would become names without a word to the author.
        None if RESERVED.binary_search(&lower.as_str()).is_ok() || !value.chars().all(is_word) => return Err(wrong()),
        None => lower.clone(),
        Some('"') if value.chars().any(|c| c == '"' || c.is_control() || is_invisible(c)) => return Err(wrong()),
        Some('"') => value.clone(),
        Some(_) => return Err(wrong()),
    };
    // `alias.name` is a call of the function `name` where there is no such column: none of PostgreSQL's own.
    let is_system = SYSTEM_COLUMNS.contains(&lower.as_str()) || lower.starts_with("pg_");
    if text.is_empty() || text.len() > NAME_BYTES_MAX || is_system { Err(wrong()) } else { Ok(text) }
}

/// The name of a function: one word without quotes.
pub(super) fn function(name: &ObjectName) -> Result<String, Denied> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] if name.quote_style.is_none() => Ok(name.value.to_ascii_lowercase()),
        [ObjectNamePart::Identifier(name)] => Err(Denied::name(Reason::Function, name)),
        parts => Err(qualified(parts)),
    }
}

/// Characters that a reader of a log does not see, or sees elsewhere.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn qualified(parts: &[ObjectNamePart]) -> Denied {
    match parts.first() {
        Some(ObjectNamePart::Identifier(first)) => Denied::name(Reason::Schema, first),
        _ => Denied::new(Reason::Schema, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_words_are_sorted() {
        assert!(RESERVED.is_sorted());
    }
}
