//! The SQL of a project's migrations and views, read as a host reads it: what every host refuses, and what an author should
//! know before all tenants run it. It runs nothing, and knows no tables but those that a file makes itself.

use std::collections::BTreeSet;
use std::fmt;

use bulkhead_host::sql::{self, Checked, Denied, Phase, PluginMigration, Verb};
use bulkhead_model::{Issue, Manifest};
use bulkhead_trust::Files;
use serde_json::{Value, json};

/// Bytes that the search for a refused statement reads at most; beyond it the refusal has no number.
const SEARCH_BYTES_MAX: usize = 16 << 20;

/// Something to know about one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The file in the artifact.
    file: String,
    /// Number of the statement, from 1.
    statement: usize,
    /// Stable name of the warning.
    code: &'static str,
    /// What happens, and what to do instead.
    text: &'static str,
}

impl Warning {
    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "file": self.file, "statement": self.statement, "code": self.code, "message": self.text })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, statement {}: {}: {}", self.file, self.statement, self.code, self.text)
    }
}

/// Reads every migration, and every view that the manifest publishes: what is worth knowing, or all that is refused.
pub(crate) fn check(manifest: &Manifest, migrations: &Files, assets: &Files) -> Result<Vec<Warning>, Vec<Issue>> {
    let migrations = migrations.iter().map(|(name, file)| {
        let place = format!("migrations/{name}");
        let read = Script::read(name, &file.bytes).and_then(|script| script.warnings(&place));
        (place, read)
    });
    let published: BTreeSet<&str> = manifest.views.provides.iter().map(|view| view.sql.as_str()).collect();
    let views = assets.iter().filter(|(path, _)| published.contains(path)).map(|(path, file)| {
        let place = format!("assets/{path}");
        let read = view(&place, &file.bytes);
        (place, read)
    });
    let (mut warnings, mut issues) = (Vec::new(), Vec::new());
    for (place, read) in migrations.chain(views) {
        match read {
            Ok(found) => warnings.extend(found),
            Err(reason) => issues.push(Issue::new(place, reason)),
        }
    }
    if issues.is_empty() { Ok(warnings) } else { Err(issues) }
}

/// What works on one engine alone in the SELECT of a view.
fn view(place: &str, bytes: &[u8]) -> Result<Vec<Warning>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    sql::check_view(text).map_err(|denied| denied.to_string())?;
    let found = sql::portability(text).map_err(|denied| denied.to_string())?;
    let warn = |it: sql::Warning| Warning { file: place.to_owned(), statement: 1, code: it.code, text: it.text };
    Ok(found.into_iter().map(warn).collect())
}

/// A file that passed the guard.
struct Script {
    migration: PluginMigration,
    statements: Vec<Checked>,
    /// Whom its name says that it is for.
    engine: Engine,
    /// Whether it takes a migration back.
    is_down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Both,
    Sqlite,
    Postgres,
}

impl Script {
    fn read(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let marks: Vec<&str> = name.split('.').collect();
        let engine = match (marks.contains(&"sqlite"), marks.contains(&"postgres")) {
            (true, _) => Engine::Sqlite,
            (false, true) => Engine::Postgres,
            (false, false) => Engine::Both,
        };
        // Directives mean the same in every file: it is read by its plain name.
        let plain = format!("{}.sql", marks.first().copied().unwrap_or_default());
        let mut selected = sql::select_migrations([(plain.as_str(), bytes)]).map_err(|error| error.to_string())?;
        let migration = selected.pop().ok_or("it is no migration")?;
        let statements = sql::check_script(&migration.sql).map_err(|denied| refusal(&migration.sql, &denied))?;
        if migration.no_transaction && engine != Engine::Sqlite && statements.len() != 1 {
            let count = statements.len();
            return Err(format!("with `-- no-transaction` a file holds one statement, not {count}"));
        }
        Ok(Self { migration, statements, engine, is_down: marks.contains(&"down") })
    }

    fn warnings(&self, place: &str) -> Result<Vec<Warning>, String> {
        let text = &self.migration.sql;
        let denied = |denied: Denied| denied.to_string();
        let mut found = Vec::new();
        // What is there to be taken back takes away.
        if !self.is_down {
            let lints = sql::lint(text).map_err(denied)?;
            found.extend(lints.into_iter().filter(|warning| self.is_worth(warning)));
        }
        if self.engine == Engine::Both {
            found.extend(sql::portability(text).map_err(denied)?);
        }
        found.sort_by_key(|warning| warning.statement);
        let warn = |statement: usize, code, text| Warning { file: place.to_owned(), statement, code, text };
        let mut warnings: Vec<_> = found.into_iter().map(|w| warn(w.statement + 1, w.code, w.text)).collect();
        let is_concurrent = |statement: &Checked| statement.verb == Verb::CreateIndexConcurrently;
        if let Some(index) = self.statements.iter().position(is_concurrent).filter(|_| !self.migration.no_transaction) {
            warnings.push(warn(
                index + 1,
                "concurrently-in-transaction",
                "without `-- no-transaction` at the top of the file the index is built in the migration's transaction and \
                 holds up writes to its table",
            ));
        }
        Ok(warnings)
    }

    /// Whether a lint tells something: a table that the file makes is empty and has no user, a contract phase is there to
    /// take away, and a plugin's file of SQLite has one writer anyway.
    fn is_worth(&self, warning: &sql::Warning) -> bool {
        let before = self.statements.get(..warning.statement).unwrap_or_default();
        let made: Vec<&str> = before.iter().filter_map(made).collect();
        let tables = self.statements.get(warning.statement).map(|statement| statement.tables.as_slice());
        let is_new = tables
            .is_some_and(|tables| !tables.is_empty() && tables.iter().all(|table| made.contains(&table.as_str())));
        match warning.code {
            "concurrently-alone" => true,
            "drops" if self.migration.phase == Phase::Contract => false,
            "index-locks" if self.engine == Engine::Sqlite => false,
            _ => !is_new,
        }
    }
}

/// The table that a statement makes anew: the first name of its printed text.
fn made(statement: &Checked) -> Option<&str> {
    statement.text.strip_prefix("CREATE TABLE \"")?.split('"').next()
}

/// The refusal of a text, with the number of its statement and the line where that begins.
fn refusal(text: &str, denied: &Denied) -> String {
    let place = passing(text).map(|(statements, line)| format!("statement {} (line {line}): ", statements + 1));
    format!("{}{denied}", place.unwrap_or_default())
}

/// How many statements at the beginning of a text pass, and the line on which the next begins. A semicolon inside of a
/// constant or a comment ends nothing that passes.
fn passing(text: &str) -> Option<(usize, usize)> {
    let (mut best, mut end, mut read) = (0, 0, 0_usize);
    for (at, _) in text.match_indices(';') {
        read = read.saturating_add(at);
        if read > SEARCH_BYTES_MAX {
            return None;
        }
        let passed = text.get(..=at).and_then(|head| sql::check_script(head).ok()).map_or(0, |checked| checked.len());
        if passed > best {
            (best, end) = (passed, at + 1);
        }
    }
    let (head, rest) = text.split_at_checked(end)?;
    let blank = rest.lines().take_while(|line| line.trim().is_empty() || line.trim().starts_with("--")).count();
    Some((best, head.matches('\n').count() + blank + 1))
}

#[cfg(test)]
mod tests {
    use bulkhead_trust::File;

    use super::*;

    fn files(name: &str, text: &str) -> Files {
        let mut files = Files::new();
        files.insert(name, File { media_type: "application/sql".to_owned(), bytes: text.into() }).unwrap();
        files
    }

    fn manifest(views: &str) -> Manifest {
        let text = format!("[plugin]\nid = \"acme.crm\"\nversion = \"1.0.0\"\nname = \"x\"\n{views}");
        Manifest::parse_toml(&text).unwrap()
    }

    fn check(migrations: &Files) -> Result<Vec<Warning>, Vec<Issue>> {
        super::check(&manifest(""), migrations, &Files::new())
    }

    /// The codes of the warnings, each with its statement.
    fn check_warnings(name: &str, text: &str, wanted: &[(usize, &str)]) {
        let warnings = check(&files(name, text)).unwrap();
        let found: Vec<_> = warnings.iter().map(|warning| (warning.statement, warning.code)).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn what_locks_or_destroys_is_worth_a_warning_where_somebody_waits_or_loses() {
        let index = "CREATE INDEX i ON notes (title)";
        check_warnings("0002_a.sql", index, &[(1, "index-locks")]);
        check_warnings("0002_a.postgres.sql", index, &[(1, "index-locks")]);
        check_warnings("0002_a.sqlite.sql", index, &[]);
        check_warnings("0002_a.sql", "CREATE TABLE notes (title text); CREATE INDEX i ON notes (title)", &[]);
        check_warnings(
            "0002_a.sql",
            "CREATE TABLE tags (note text REFERENCES notes (id)); CREATE INDEX i ON notes (title)",
            &[(2, "index-locks")],
        );
        check_warnings("0002_a.sql", "SELECT 1; DROP TABLE notes", &[(2, "drops")]);
        check_warnings(
            "0002_a.sql",
            "-- phase: contract\nDROP TABLE notes; UPDATE a SET b = 1",
            &[(2, "touches-all-rows")],
        );
        check_warnings("0002_a.down.sql", "DROP TABLE notes", &[]);
    }

    #[test]
    fn what_works_on_one_engine_alone_is_worth_a_warning_in_a_file_for_both() {
        let clock = "CREATE TABLE a (b timestamp); INSERT INTO a (b) VALUES (now())";
        check_warnings("0001_a.sql", clock, &[(2, "clock")]);
        check_warnings("0001_a.down.sql", clock, &[(2, "clock")]);
        check_warnings("0001_a.postgres.sql", clock, &[]);
        check_warnings("0001_a.sqlite.sql", clock, &[]);
    }

    #[test]
    fn an_index_is_built_beside_the_work_only_alone_and_outside_of_a_transaction() {
        let index = "CREATE INDEX CONCURRENTLY i ON notes (title)";
        check_warnings("0002_a.postgres.sql", &format!("-- no-transaction\n{index}"), &[]);
        check_warnings("0002_a.postgres.sql", index, &[(1, "concurrently-in-transaction")]);
        check_warnings(
            "0002_a.postgres.sql",
            &format!("SELECT 1; {index}"),
            &[(2, "concurrently-alone"), (2, "concurrently-in-transaction")],
        );
    }

    #[test]
    fn a_refusal_names_its_statement_and_its_reason() {
        let check = |text: &str, wanted: &str| {
            let issues = check(&files("0001_a.sql", text)).unwrap_err();
            assert_eq!(issues, [Issue::new("migrations/0001_a.sql", wanted)], "{text}");
        };
        check("SELECT pg_sleep(10)", "statement 1 (line 1): function:pg_sleep");
        check("SELECT ';';\n-- a;b\n\nTRUNCATE notes", "statement 2 (line 4): statement:truncate");
        check("SELECT 1; CREATE VIEW v AS SELECT 1;", "statement 2 (line 1): statement:createview");
        check("-- no-transaction\nSELECT 1; SELECT 2", "with `-- no-transaction` a file holds one statement, not 2");
        check("-- phase: destroy\nSELECT 1", "the migrations cannot run: a phase is expand, backfill or contract");
    }

    #[test]
    fn a_view_is_read_as_a_host_reads_it() {
        let manifest = manifest("[[views.provides]]\nname = \"notes\"\nversion = 1\nsql = \"views/notes.sql\"\n");
        let check = |text: &str, wanted: Result<&[&str], &str>| {
            let found = super::check(&manifest, &Files::new(), &files("views/notes.sql", text));
            let codes = found.map(|warnings| warnings.iter().map(|warning| warning.code).collect::<Vec<_>>());
            let wanted = wanted.map(<[_]>::to_vec).map_err(|why| vec![Issue::new("assets/views/notes.sql", why)]);
            assert_eq!(codes, wanted, "{text}");
        };
        check("SELECT id FROM notes -- all", Ok(&[]));
        check("SELECT id, now() AS at FROM notes", Ok(&["clock"]));
        check("SELECT id FROM notes WHERE id = $1", Err("parameter:a view takes none"));
        check("DELETE FROM notes", Err("statement:write"));
        check("SELECT 1 AS a; SELECT 2 AS b", Err("multiple-statements"));
        // A file that no view names is nobody's SELECT.
        assert!(super::check(&manifest, &Files::new(), &files("other.sql", "DELETE FROM notes")).is_ok());
    }

    #[test]
    fn every_refused_file_is_told_at_once() {
        let mut both = files("0001_a.sql", "SELECT pg_sleep(10)");
        both.insert("0002_b.sql", File { media_type: "application/sql".to_owned(), bytes: b"COMMIT".to_vec() })
            .unwrap();

        assert_eq!(check(&both).unwrap_err().len(), 2);
    }

    #[test]
    fn the_search_for_a_statement_is_bounded() {
        let text = format!("SELECT '{}'; TRUNCATE notes", ";".repeat(60_000));

        let issues = check(&files("0001_a.sql", &text)).unwrap_err();

        assert_eq!(issues[0].message, "statement:truncate");
    }
}
