//! Decides what a statement on a plugin's `SQLite` file may do, thing by thing as the engine asks. Everything that is
//! not listed is refused. Pure: it runs nothing and remembers nothing.

use libsqlite3_sys as ffi;

/// Longest name repeated in a refusal, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// One thing that a statement would do, in the words of the engine's authorizer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) action: i32,
    pub(super) first: Option<&'a str>,
    pub(super) second: Option<&'a str>,
    pub(super) schema: Option<&'a str>,
}

/// Rows of own tables, and pure functions.
pub(super) fn runtime(question: &Question<'_>, modules: &[String]) -> Result<(), String> {
    match question.action {
        ffi::SQLITE_SELECT | ffi::SQLITE_RECURSIVE => Ok(()),
        // The first thing that every change of shape would do.
        ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE if question.first == Some("sqlite_master") => {
            Err("statement:schema".to_owned())
        }
        ffi::SQLITE_READ | ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => {
            own_table(question.first, question.schema, modules)
        }
        ffi::SQLITE_FUNCTION => function(question.second),
        other => Err(format!("statement:{}", action_name(other))),
    }
}

/// Also the shape of own tables. The engine itself writes its catalog on the way; a plugin's own statement
/// cannot, because the file is opened defensive.
pub(super) fn migration(question: &Question<'_>, modules: &[String]) -> Result<(), String> {
    match question.action {
        // What the engine makes beside a table with AUTOINCREMENT, UNIQUE or PRIMARY KEY; a plugin that names it
        // is refused by the engine.
        ffi::SQLITE_CREATE_TABLE if question.first == Some("sqlite_sequence") => Ok(()),
        ffi::SQLITE_CREATE_INDEX if question.first.is_some_and(|name| name.starts_with("sqlite_autoindex_")) => {
            own_table(question.second, question.schema, modules)
        }
        ffi::SQLITE_CREATE_TABLE | ffi::SQLITE_DROP_TABLE => own_table(question.first, question.schema, modules),
        ffi::SQLITE_CREATE_INDEX | ffi::SQLITE_DROP_INDEX => {
            own_table(question.first, question.schema, modules)?;
            own_table(question.second, question.schema, modules)
        }
        // Schema and table come in other places than elsewhere.
        ffi::SQLITE_ALTER_TABLE => own_table(question.second, question.first, modules),
        // CREATE INDEX and a rename rebuild through it.
        ffi::SQLITE_REINDEX => Ok(()),
        ffi::SQLITE_READ | ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE if is_catalog(question) => {
            Ok(())
        }
        // ADD COLUMN with a CHECK lets the engine check the rows that are there. The answer is about the own file.
        ffi::SQLITE_READ | ffi::SQLITE_PRAGMA
            if matches!(question.first, Some("pragma_quick_check" | "quick_check")) =>
        {
            Ok(())
        }
        ffi::SQLITE_FUNCTION if question.second.is_some_and(|name| ALTER_FUNCTIONS.contains(&name)) => Ok(()),
        _ => runtime(question, modules),
    }
}

/// The catalog of the file, the counters of AUTOINCREMENT, and the catalog of temporary things, always empty, which
/// a rename reads and writes as well.
fn is_catalog(question: &Question<'_>) -> bool {
    matches!(
        (question.schema, question.first),
        (Some("main"), Some("sqlite_master" | "sqlite_sequence")) | (Some("temp"), Some("sqlite_temp_master"))
    )
}

/// A table that the plugin may have made: in the main schema or, for the name of a common table expression,
/// in none; not internal, not the engine's.
fn own_table(name: Option<&str>, schema: Option<&str>, modules: &[String]) -> Result<(), String> {
    if !matches!(schema, None | Some("main")) {
        return Err("schema".to_owned());
    }
    let name = name.unwrap_or_default();
    if is_internal(name) || is_module(name) || modules.iter().any(|module| module.eq_ignore_ascii_case(name)) {
        return Err(format!("table:{}", shown(name)));
    }
    Ok(())
}

/// Whether a name is kept for the host or the engine: it begins with `__`, `sqlite_` or `pragma_`.
pub(super) fn is_internal(name: &str) -> bool {
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    begins("__") || begins("sqlite_") || begins("pragma_")
}

/// Virtual tables that the engine makes up only when their name is read, so that its list lacks them.
fn is_module(name: &str) -> bool {
    ["json_each", "json_tree", "jsonb_each", "jsonb_tree"].iter().any(|module| module.eq_ignore_ascii_case(name))
}

fn function(name: Option<&str>) -> Result<(), String> {
    let name = name.unwrap_or_default().to_ascii_lowercase();
    if FUNCTIONS.binary_search(&name.as_str()).is_ok() { Ok(()) } else { Err(format!("function:{}", shown(&name))) }
}

fn shown(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().map(|c| if legal(c) { c } else { '?' }).take(NAME_BYTES_MAX).collect()
}

/// Functions that a plugin may call: each takes time in proportion to its arguments. `json_patch` does not. Sorted.
const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "avg",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "gen_random_uuid",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "ln",
    "log",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "pow",
    "power",
    "quote",
    "random",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "time",
    "timediff",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
];

/// Functions that ALTER TABLE calls inside the engine; none can be called by name on an open file, because the
/// engine keeps them for itself.
const ALTER_FUNCTIONS: &[&str] = &[
    "printf",
    "sqlite_drop_column",
    "sqlite_rename_column",
    "sqlite_rename_quotefix",
    "sqlite_rename_table",
    "sqlite_rename_test",
];

fn action_name(action: i32) -> &'static str {
    match action {
        ffi::SQLITE_CREATE_INDEX => "create-index",
        ffi::SQLITE_CREATE_TABLE => "create-table",
        ffi::SQLITE_CREATE_TEMP_INDEX
        | ffi::SQLITE_CREATE_TEMP_TABLE
        | ffi::SQLITE_CREATE_TEMP_TRIGGER
        | ffi::SQLITE_CREATE_TEMP_VIEW => "create-temp",
        ffi::SQLITE_CREATE_TRIGGER => "create-trigger",
        ffi::SQLITE_CREATE_VIEW => "create-view",
        ffi::SQLITE_CREATE_VTABLE => "create-virtual-table",
        ffi::SQLITE_DROP_INDEX
        | ffi::SQLITE_DROP_TABLE
        | ffi::SQLITE_DROP_TEMP_INDEX
        | ffi::SQLITE_DROP_TEMP_TABLE
        | ffi::SQLITE_DROP_TEMP_TRIGGER
        | ffi::SQLITE_DROP_TEMP_VIEW
        | ffi::SQLITE_DROP_TRIGGER
        | ffi::SQLITE_DROP_VIEW
        | ffi::SQLITE_DROP_VTABLE => "drop",
        ffi::SQLITE_PRAGMA => "pragma",
        ffi::SQLITE_TRANSACTION | ffi::SQLITE_SAVEPOINT => "transaction",
        ffi::SQLITE_ATTACH | ffi::SQLITE_DETACH => "attach",
        ffi::SQLITE_ALTER_TABLE => "alter-table",
        ffi::SQLITE_REINDEX => "reindex",
        ffi::SQLITE_ANALYZE => "analyze",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_name_no_function_that_makes_size_from_nothing() {
        assert!(FUNCTIONS.is_sorted());
        for dangerous in
            ["zeroblob", "randomblob", "printf", "format", "load_extension", "fts3_tokenizer", "readfile", "edit"]
        {
            assert!(!FUNCTIONS.contains(&dangerous), "{dangerous}");
        }
    }

    #[test]
    fn a_name_that_is_the_hosts_or_the_engines_is_internal_however_it_is_spelled() {
        for internal in ["__kv", "__", "SQLITE_master", "sqlite_x", "Pragma_table_info"] {
            assert!(is_internal(internal), "{internal}");
        }
        for own in ["_kv", "k__v", "sqlite", "pragma", "notes", "", "ü__"] {
            assert!(!is_internal(own), "{own}");
        }
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        let rows = [
            ffi::SQLITE_SELECT,
            ffi::SQLITE_RECURSIVE,
            ffi::SQLITE_READ,
            ffi::SQLITE_INSERT,
            ffi::SQLITE_UPDATE,
            ffi::SQLITE_DELETE,
        ];
        // ALTER TABLE gives schema and table in other places: this question is of a schema `notes`.
        let shape = [
            ffi::SQLITE_CREATE_TABLE,
            ffi::SQLITE_DROP_TABLE,
            ffi::SQLITE_CREATE_INDEX,
            ffi::SQLITE_DROP_INDEX,
            ffi::SQLITE_REINDEX,
        ];
        for action in 0..64 {
            let question = Question { action, first: Some("notes"), second: Some("notes"), schema: Some("main") };
            assert_eq!(runtime(&question, &[]).is_ok(), rows.contains(&action), "{action}");
            let wanted = rows.contains(&action) || shape.contains(&action);
            assert_eq!(migration(&question, &[]).is_ok(), wanted, "{action}");
        }
    }
}
