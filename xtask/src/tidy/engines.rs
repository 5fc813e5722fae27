//! Which files of the database crate know the SQL engine that runs.
//!
//! It looks at type names alone; what differs in SQL text shows in the tests on both engines.

use super::Finding;
use super::tree::Tree;

const CRATE: &str = "runtime/database/src/";

/// Files that may: the closed enums, what differs by engine, and the guard, which knows what each engine has and not which one
/// runs.
const MAY_KNOW: [&str; 4] = ["db.rs", "dialect.rs", "dialect/", "tenant/guard/"];

/// Refuses an engine's type name in any other file of the crate, tests excepted.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let Some(name) = path.strip_prefix(CRATE).filter(|name| !MAY_KNOW.iter().any(|known| name.starts_with(known)))
        else {
            continue;
        };
        let end = source.tests_begin().unwrap_or(usize::MAX);
        for (line, code) in source.code().take_while(|(line, _)| *line < end) {
            if let Some(word) = code.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| is_engine(word)) {
                let text = format!(
                    "`{word}` in `{name}`: only db.rs, dialect and what the guard knows of both know the engine"
                );
                findings.push(Finding::new(path, line, text));
            }
        }
    }
    findings
}

fn is_engine(word: &str) -> bool {
    let postgres = word.strip_prefix("Pg").and_then(|rest| rest.chars().next()).is_some_and(char::is_uppercase);
    postgres || word.starts_with("Sqlite") || word.starts_with("Postgres")
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn an_engines_type_is_found_outside_its_files() {
        check_rule(
            check,
            &[
                ("runtime/database/src/db.rs", "pub enum Db { Sqlite(SqlitePool), Postgres(PgPool) }\n"),
                ("runtime/database/src/dialect/postgres.rs", "type A = PgPool;\n"),
                ("runtime/database/src/dialect/sqlite/raw.rs", "type A = SqliteConnection;\n"),
                ("runtime/database/src/plugins.rs", "// On Sqlite this is slow.\nfn f(p: &PgPool) {}\n"),
                (
                    "runtime/database/src/audit.rs",
                    "match db { Db::Sqlite(_) => {} }\n#[cfg(test)]\nmod t { use super::Sqlite; }\n",
                ),
                ("runtime/host/src/lib.rs", "enum Choice { Sqlite }\n"),
            ],
            &["runtime/database/src/audit.rs:1", "runtime/database/src/plugins.rs:2"],
        );
    }
}
