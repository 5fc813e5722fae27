//! The statement guard: what it refuses, what it lets pass, and that what it prints means one thing.
//! The engines' answers to what it prints are the matter of `guard_live.rs`.

use bulkhead_database::StorageError;
use bulkhead_database::tenant::guard::{self, Checked, Denied, Engines, FUNCTIONS, Guard, Kind, Reason, Verb};
use proptest::prelude::*;

use crate::guard_cases::{self, Case};

fn refuse(cases: &[Case]) {
    let passed: Vec<_> = cases
        .iter()
        .filter(|case| case.statements.iter().all(|text| guard::check(text, Kind::Execute).is_ok()))
        .map(|case| format!("{case}: {:?}", case.statements))
        .collect();
    assert!(passed.is_empty(), "passed:\n{}", passed.join("\n"));
}

fn pass(cases: &[Case]) {
    let refused: Vec<_> = cases
        .iter()
        .flat_map(|case| case.statements.iter().map(move |text| (case, guard::check(text, Kind::Execute))))
        .filter_map(|(case, verdict)| verdict.err().map(|denied| format!("{case}: {denied}")))
        .collect();
    assert!(refused.is_empty(), "refused:\n{}", refused.join("\n"));
}

#[test]
fn every_hostile_statement_is_refused() {
    let [both, postgres, sqlite] =
        [guard_cases::hostile_both(), guard_cases::hostile_postgres(), guard_cases::hostile_sqlite()];
    assert!(both.len() + postgres.len() >= 350 && both.len() + sqlite.len() >= 250);

    refuse(&both);
    refuse(&postgres);
    refuse(&sqlite);
}

#[test]
fn every_benign_statement_passes() {
    assert!(guard_cases::benign().len() >= 80);

    pass(&guard_cases::benign());
    pass(&guard_cases::benign_postgres());
    pass(&guard_cases::bombs());
}

#[test]
fn a_view_is_whatever_reads_and_takes_no_parameters() {
    let mut views = 0;
    for case in guard_cases::all() {
        for text in &case.statements {
            let reads = guard::check(text, Kind::Query).is_ok_and(|checked| checked.parameters == 0);
            let view = guard::check_view(text);
            assert_eq!(view.is_ok(), reads, "{text}: {view:?}");
            views += usize::from(reads);
        }
    }
    assert!(views >= 40, "{views}");
}

#[test]
fn every_hostile_migration_is_refused() {
    let cases = guard_cases::migrations_hostile();
    assert!(cases.len() >= 150, "{}", cases.len());

    let passed: Vec<_> = cases
        .iter()
        .filter(|case| guard::check_script(&case.script()).is_ok())
        .map(|case| format!("{case}: {}", case.script()))
        .collect();
    assert!(passed.is_empty(), "passed:\n{}", passed.join("\n"));
}

#[test]
fn every_good_migration_passes_statement_by_statement() {
    let good = [
        guard_cases::setup(),
        guard_cases::migrations_good(),
        guard_cases::migrations_good_postgres(),
        guard_cases::migrations_good_postgres_alone(),
        guard_cases::migrations_good_sqlite(),
    ];

    for case in good.into_iter().flatten() {
        let checked = guard::check_script(&case.script()).unwrap_or_else(|denied| panic!("{case}: {denied}"));
        assert_eq!(checked.len(), case.statements.len(), "{case}");
    }
}

#[test]
fn what_is_printed_prints_the_same_again() {
    for case in guard_cases::all() {
        for text in &case.statements {
            same_again(text);
        }
        script_same_again(&case.script());
    }
}

fn same_again(text: &str) {
    if let Ok(checked) = guard::check(text, Kind::Execute) {
        assert_eq!(guard::check(&checked.text, Kind::Execute), Ok(checked.clone()), "{text}");
    }
}

fn script_same_again(text: &str) {
    if let Ok(statements) = guard::check_script(text) {
        let texts: Vec<_> = statements.iter().map(|checked| checked.text.as_str()).collect();
        assert_eq!(guard::check_script(&texts.join(";")), Ok(statements), "{text}");
    }
}

fn a_table_again(text: &str) {
    if let Ok(view) = guard::check_view(text) {
        assert!(view.reads_only() && view.parameters == 0, "{text}");
        assert_eq!(guard::check_view(&view.text), Ok(view), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_passes_of_any_text_prints_the_same_again(text in any::<String>()) {
        same_again(&text);
        script_same_again(&text);
        a_table_again(&text);
    }

    #[test]
    fn whatever_passes_of_spliced_cases_prints_the_same_again(text in spliced()) {
        same_again(&text);
        script_same_again(&text);
        a_table_again(&text);
    }
}

/// Pieces of cases, cut at blanks and joined.
fn spliced() -> impl Strategy<Value = String> {
    let words: Vec<Vec<String>> = guard_cases::all()
        .iter()
        .flat_map(|case| &case.statements)
        .filter(|text| text.len() < 300)
        .map(|text| text.split(' ').map(str::to_owned).collect())
        .collect();
    let piece = (any::<prop::sample::Index>(), 0.0..1.0, 0.0..1.0).prop_map(move |(which, from, share)| {
        let words = which.get(&words);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let place = |part: f64, length: usize| (part * length as f64) as usize;
        let from = place(from, words.len());
        let length = place(share, words.len() - from) + 1;
        words[from..from + length].join(" ")
    });
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.join(" "))
}

#[test]
fn the_deepest_and_the_longest_need_no_more_than_a_small_stack() {
    let texts = [
        format!("SELECT {}1", "1+".repeat(6_000)),
        format!("SELECT {}1", "1+".repeat(900)),
        format!("SELECT {}1", "1-".repeat(900)),
        format!("SELECT 1{}", "::int".repeat(900)),
        format!("SELECT 1{}", " IS NULL".repeat(900)),
        format!("SELECT {}1", "- ".repeat(300)),
        format!("SELECT {}TRUE", "NOT ".repeat(1_900)),
        format!("SELECT {}1{}", "(".repeat(64), ")".repeat(64)),
        format!("SELECT {}1{}", "(SELECT ".repeat(64), ")".repeat(64)),
        format!("SELECT 1 FROM {}notes{}", "(SELECT 1 FROM ".repeat(64), ") AS x".repeat(64)),
        format!("SELECT {}1{}", "EXISTS (SELECT ".repeat(64), ")".repeat(64)),
        format!("SELECT {}1{}", "CASE WHEN TRUE THEN ".repeat(64), " END".repeat(64)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(100)),
        format!("SELECT 1 FROM {}t{}", "((SELECT 1 FROM ".repeat(31), ") AS x JOIN u ON TRUE)".repeat(31)),
        format!("SELECT {}1{}", "EXISTS ((SELECT ".repeat(31), ") UNION SELECT 1)".repeat(31)),
        format!("SELECT 1 FROM notes{}{}", " JOIN notes".repeat(400), " ON TRUE".repeat(400)),
        "(".repeat(60_000),
        "CASE ".repeat(12_000),
        "EXPLAIN ".repeat(8_000),
    ];

    let check = move || {
        for text in &texts {
            same_again(text);
            script_same_again(text);
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(check).unwrap().join().unwrap();
}

#[test]
fn a_statement_is_printed_quoted_and_in_parentheses() {
    let check = |text: &str, printed: &str| {
        assert_eq!(guard::check(text, Kind::Execute).map(|checked| checked.text).as_deref(), Ok(printed), "{text}");
    };
    check("select ID from Notes n -- all", r#"SELECT "id" FROM "notes" AS "n""#);
    check(r#"SELECT "Id" FROM "Notes""#, r#"SELECT "Id" FROM "Notes""#);
    check("SELECT a = 1 OR b = 2 AND c", r#"SELECT ("a" = 1) OR (("b" = 2) AND "c")"#);
    check("SELECT ((1)) + 2 + 3 * 4", "SELECT 1 + 2 + (3 * 4)");
    check("SELECT 1 - (-1)", "SELECT 1 - (-1)");
    check("SELECT '1'::int", "SELECT CAST('1' AS INT)");
    check("SELECT 'it''s' x", r#"SELECT 'it''s' AS "x""#);
    check("SELECT trim(LEADING 'x' FROM a)", r#"SELECT ltrim("a", 'x')"#);
    check("SELECT 1 LIMIT ALL", "SELECT 1");
    check("SELECT 1 FETCH FIRST 2 ROWS ONLY", "SELECT 1 LIMIT 2");
    check("(SELECT 1) UNION (SELECT 2)", "SELECT 1 UNION SELECT 2");
    check("SELECT 1 IN ((SELECT 1))", "SELECT 1 IN (SELECT 1)");
    check(
        "INSERT INTO a (b) SELECT 1 FROM c ON CONFLICT DO NOTHING",
        r#"INSERT INTO "a" ("b") SELECT 1 FROM "c" WHERE TRUE ON CONFLICT DO NOTHING"#,
    );
    check("UPDATE a SET b = DEFAULT", r#"UPDATE "a" SET "b" = DEFAULT"#);
}

#[test]
fn a_verdict_tells_parameters_verb_and_what_is_named() {
    let checked = guard::check(
        "WITH k AS (SELECT note FROM tags) INSERT INTO notes (id, title) SELECT $2, upper($1::text) FROM k",
        Kind::Execute,
    )
    .unwrap();

    let Checked { text: _, parameters, verb, ref tables, ref functions, ref types } = checked;
    assert_eq!((parameters, verb), (2, Verb::Insert));
    assert_eq!(
        (tables.as_slice(), functions.as_slice(), types.as_slice()),
        (
            ["k", "notes", "tags"].map(str::to_owned).as_slice(),
            ["upper".to_owned()].as_slice(),
            ["text".to_owned()].as_slice(),
        )
    );
    assert!(!checked.reads_only());
}

#[test]
fn a_query_may_not_write_and_nothing_at_run_time_changes_the_shape() {
    let denied = |text: &str, kind| guard::check(text, kind).unwrap_err();
    assert_eq!(denied("DELETE FROM notes", Kind::Query).reason, Reason::Statement);
    assert_eq!(denied("CREATE TABLE a (b text)", Kind::Execute).reason, Reason::Statement);
    assert!(guard::check("SELECT 1", Kind::Query).unwrap().reads_only());
}

#[test]
fn a_refusal_says_what_and_where_and_never_much() {
    let check = |text: &str, wanted: &str| {
        assert_eq!(guard::check(text, Kind::Execute).unwrap_err().to_string(), wanted, "{text}");
    };
    check("SELECT pg_sleep(1)", "function:pg_sleep");
    check("SELECT *\nFROM __kv", "table:__kv at line 2, column 6");
    check("SELECT * FROM other.notes", "schema:other at line 1, column 15");
    check("SELECT 'x'::regclass", "type:regclass");
    check("SELECT 1; SELECT 2", "multiple-statements");
    check("VACUUM", "statement:vacuum");
    check("SELECT $2", "parameter:not each of $1 to $n is used");
    check("SELECT * FROM notes FOR UPDATE", "clause:locks");

    let long = guard::check(&format!("SELECT 1 FROM \"{}\" x y z", "é".repeat(2_000)), Kind::Query).unwrap_err();
    assert!(long.what.chars().count() <= 200);
}

#[test]
fn a_refusal_becomes_the_error_that_a_plugin_sees() {
    let check = |text: &str, wanted: fn(&StorageError) -> bool| {
        let error = StorageError::from(guard::check(text, Kind::Execute).unwrap_err());
        assert!(wanted(&error), "{error:?}");
    };
    check("SELECT pg_sleep(1)", |error| matches!(error, StorageError::Denied(code) if code == "function:pg_sleep"));
    check("SELEC 1", |error| matches!(error, StorageError::Invalid(_)));
    check(&"x".repeat(70_000), |error| matches!(error, StorageError::Limit("statement-bytes")));
    check("SELECT $65", |error| matches!(error, StorageError::Limit("parameters")));
}

#[test]
fn a_guard_remembers_what_passed_for_its_kind_alone() {
    let guard = Guard::default();
    let text = "DELETE FROM notes";

    let first = guard.check(text, Kind::Execute).unwrap();

    assert!(std::sync::Arc::ptr_eq(&first, &guard.check(text, Kind::Execute).unwrap()));
    assert!(matches!(guard.check(text, Kind::Query), Err(Denied { reason: Reason::Statement, .. })));
}

#[test]
fn each_function_has_a_case_that_runs_on_its_engines() {
    let check = |cases: &[Case], engines: &[Engines]| {
        let tried: Vec<_> = cases.iter().map(|case| case.name).collect();
        let listed = FUNCTIONS.iter().filter(|function| engines.contains(&function.engines));
        assert_eq!(tried, listed.map(|function| function.name).collect::<Vec<_>>());
        pass(cases);
    };
    check(&guard_cases::functions(), &[Engines::Both, Engines::Unlike]);
    check(&guard_cases::functions_postgres(), &[Engines::Postgres]);
    check(&guard_cases::functions_sqlite(), &[Engines::Sqlite]);
}

#[test]
fn what_differs_between_the_engines_is_warned_of() {
    let check = |text: &str, wanted: &[&str]| {
        let codes: Vec<_> = guard::portability(text).unwrap().iter().map(|warning| warning.code).collect();
        assert_eq!(codes, wanted, "{text}");
    };
    check("SELECT id FROM notes ORDER BY id NULLS LAST", &[]);
    check("SELECT title FROM notes WHERE title LIKE 'a'", &["like-case"]);
    check("SELECT upper(title) FROM notes WHERE title ILIKE 'a'", &["ilike", "ascii-case"]);
    check("SELECT 0.1 + 0.2", &["decimal"]);
    check("SELECT now() - INTERVAL '1 day'", &["clock", "interval"]);
    check("SELECT title::jsonb #> 'a' FROM notes", &["jsonb-text", "json-operator", "cast"]);
    check("SELECT to_char(id, '9') FROM notes ORDER BY id", &["postgres-function", "null-order"]);
    check("SELECT hex(title) FROM notes", &["sqlite-function"]);
    check("SELECT id FROM \"Notes\"", &["name-case"]);
    check("CREATE TABLE a (b bigint GENERATED ALWAYS AS IDENTITY, c bytea)", &["identity", "postgres-type"]);
    check("CREATE TABLE a (b blob) STRICT", &["sqlite-type", "sqlite-table"]);
    check("CREATE INDEX i ON a USING gin (b)", &["index-method"]);
    check("ALTER TABLE a ALTER COLUMN b SET NOT NULL", &["alter-postgres"]);
}

#[test]
fn what_locks_rewrites_or_destroys_is_warned_of() {
    let check = |text: &str, wanted: &[(usize, &str)]| {
        let warnings = guard::lint(text).unwrap();
        let codes: Vec<_> = warnings.iter().map(|warning| (warning.statement, warning.code)).collect();
        assert_eq!(codes, wanted, "{text}");
    };
    check("CREATE TABLE a (b text); INSERT INTO a VALUES ('x')", &[]);
    check("ALTER TABLE a ADD COLUMN b text", &[]);
    check("CREATE INDEX i ON a (b)", &[(0, "index-locks")]);
    check("CREATE INDEX CONCURRENTLY i ON a (b)", &[]);
    check("SELECT 1; CREATE INDEX CONCURRENTLY i ON a (b)", &[(1, "concurrently-alone")]);
    check("ALTER TABLE a ADD COLUMN b timestamptz DEFAULT now()", &[(0, "column-rewrites")]);
    check("ALTER TABLE a ADD COLUMN b text NOT NULL", &[(0, "not-null-without-default")]);
    check("ALTER TABLE a ADD COLUMN b text UNIQUE", &[(0, "unique-locks")]);
    check("ALTER TABLE a ALTER COLUMN b TYPE text", &[(0, "type-rewrites")]);
    check("ALTER TABLE a ALTER COLUMN b SET NOT NULL", &[(0, "not-null-scans")]);
    check("ALTER TABLE a ADD CHECK (b > 0); ALTER TABLE a ADD CHECK (b > 0) NOT VALID", &[(0, "constraint-scans")]);
    check("SELECT 1; DROP TABLE a; ALTER TABLE b DROP COLUMN c", &[(1, "drops"), (2, "drops")]);
    check("ALTER TABLE a RENAME TO b", &[(0, "renames")]);
    check("UPDATE a SET b = 1; DELETE FROM a WHERE b = 1", &[(0, "touches-all-rows")]);
}
