//! The functions that a plugin may call, with the engines that have each. None makes much from little, waits, reads a
//! catalog, takes SQL as text, or returns a set. An engine's own list may be shorter, never longer.

use super::warnings::Note;

/// The engines that have a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// Both, with the same answer.
    Both,
    /// Both, with answers that differ in some cases.
    Unlike,
    /// PostgreSQL alone.
    Postgres,
    /// SQLite alone.
    Sqlite,
}

/// A function that a plugin may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name in lower case.
    pub name: &'static str,
    /// Who has it.
    pub engines: Engines,
}

const fn both(name: &'static str) -> Function {
    Function { name, engines: Engines::Both }
}

const fn unlike(name: &'static str) -> Function {
    Function { name, engines: Engines::Unlike }
}

const fn postgres(name: &'static str) -> Function {
    Function { name, engines: Engines::Postgres }
}

const fn sqlite(name: &'static str) -> Function {
    Function { name, engines: Engines::Sqlite }
}

/// All of them, sorted by name.
pub const FUNCTIONS: &[Function] = &[
    both("abs"),
    postgres("age"),
    postgres("ascii"),
    unlike("avg"),
    postgres("bool_and"),
    postgres("bool_or"),
    postgres("btrim"),
    postgres("ceil"),
    postgres("ceiling"),
    postgres("char_length"),
    postgres("clock_timestamp"),
    both("coalesce"),
    unlike("concat"),
    unlike("concat_ws"),
    both("count"),
    both("cume_dist"),
    unlike("current_date"),
    unlike("current_time"),
    unlike("current_timestamp"),
    sqlite("date"),
    postgres("date_part"),
    postgres("date_trunc"),
    sqlite("datetime"),
    postgres("decode"),
    both("dense_rank"),
    postgres("encode"),
    postgres("every"),
    postgres("exp"),
    postgres("extract"),
    both("first_value"),
    postgres("floor"),
    both("gen_random_uuid"),
    postgres("greatest"),
    sqlite("group_concat"),
    sqlite("hex"),
    sqlite("ifnull"),
    sqlite("iif"),
    postgres("initcap"),
    sqlite("instr"),
    sqlite("json"),
    postgres("json_agg"),
    sqlite("json_array"),
    unlike("json_array_length"),
    postgres("json_build_array"),
    postgres("json_build_object"),
    sqlite("json_extract"),
    sqlite("json_group_array"),
    sqlite("json_group_object"),
    sqlite("json_insert"),
    sqlite("json_object"),
    postgres("json_object_agg"),
    sqlite("json_remove"),
    sqlite("json_replace"),
    sqlite("json_set"),
    sqlite("json_type"),
    postgres("json_typeof"),
    sqlite("json_valid"),
    postgres("jsonb_agg"),
    postgres("jsonb_array_length"),
    postgres("jsonb_build_array"),
    postgres("jsonb_build_object"),
    postgres("jsonb_object_agg"),
    postgres("jsonb_set"),
    postgres("jsonb_strip_nulls"),
    postgres("jsonb_typeof"),
    sqlite("julianday"),
    both("lag"),
    both("last_value"),
    both("lead"),
    postgres("least"),
    postgres("left"),
    both("length"),
    postgres("ln"),
    postgres("log"),
    unlike("lower"),
    both("ltrim"),
    unlike("max"),
    postgres("md5"),
    unlike("min"),
    postgres("mod"),
    unlike("now"),
    both("nth_value"),
    both("ntile"),
    both("nullif"),
    both("octet_length"),
    both("percent_rank"),
    postgres("position"),
    postgres("pow"),
    postgres("power"),
    sqlite("quote"),
    unlike("random"),
    both("rank"),
    both("replace"),
    postgres("reverse"),
    postgres("right"),
    unlike("round"),
    both("row_number"),
    both("rtrim"),
    postgres("sha256"),
    both("sign"),
    postgres("split_part"),
    postgres("sqrt"),
    postgres("starts_with"),
    postgres("statement_timestamp"),
    sqlite("strftime"),
    both("string_agg"),
    postgres("strpos"),
    both("substr"),
    both("substring"),
    unlike("sum"),
    sqlite("time"),
    sqlite("timediff"),
    postgres("to_char"),
    postgres("to_date"),
    postgres("to_json"),
    postgres("to_jsonb"),
    postgres("to_timestamp"),
    sqlite("total"),
    postgres("translate"),
    both("trim"),
    postgres("trunc"),
    sqlite("typeof"),
    sqlite("unicode"),
    sqlite("unixepoch"),
    unlike("upper"),
];

/// The function of that name, if a plugin may call it.
pub(super) fn find(name: &str) -> Option<Function> {
    let place = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
    FUNCTIONS.get(place).copied()
}

/// What is to be said about a call of it.
pub(super) fn note(function: Function) -> Option<Note> {
    match (function.engines, function.name) {
        (Engines::Both, _) => None,
        (Engines::Postgres, _) => Some(Note::PostgresFunction),
        (Engines::Sqlite, _) => Some(Note::SqliteFunction),
        (Engines::Unlike, "upper" | "lower") => Some(Note::AsciiCase),
        (Engines::Unlike, "now" | "current_date" | "current_time" | "current_timestamp") => Some(Note::Clock),
        (Engines::Unlike, _) => Some(Note::FunctionDiffers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_names_nothing_that_makes_much_from_little_or_runs_sql() {
        assert!(FUNCTIONS.is_sorted_by(|one, other| one.name < other.name));
        for dangerous in [
            "repeat",
            "lpad",
            "rpad",
            "format",
            "printf",
            "zeroblob",
            "generate_series",
            "unnest",
            "query_to_xml",
            "set_config",
            "current_setting",
            "pg_sleep",
            "nextval",
            "setval",
            "load_extension",
            "lo_import",
        ] {
            assert_eq!(find(dangerous), None, "{dangerous}");
        }
    }
}
