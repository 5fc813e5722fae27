//! A plugin's migrations: once each, in order, whole or not at all, drift refused, only the shape of own tables.

use bulkhead_database::tenant::{Drift, MigrationError, Run};
use bulkhead_database::{ConstraintKind, StorageError, Value};
use bulkhead_model::{Code, Coded, Digest};

use crate::stores::{Stores, execute, for_each_store, migrate, migration, number, query};

const ONE: &str =
    "CREATE TABLE notes (title TEXT, size BIGINT); -- the first\nCREATE INDEX notes_title ON notes (title);";
const TWO: &str = "ALTER TABLE notes ADD COLUMN done boolean NOT NULL DEFAULT false; INSERT INTO notes (title) VALUES ('welcome; really');";

#[tokio::test]
async fn migrations_run_once_and_in_order() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        assert_eq!(migrate(&store, &[ONE]).await, Ok(1));
        assert_eq!(migrate(&store, &[ONE, TWO]).await, Ok(1));
        assert_eq!(migrate(&store, &[ONE, TWO]).await, Ok(0));

        let rows = query(&store, "SELECT title, done FROM notes").await.unwrap().rows;
        assert_eq!(rows, [[Value::Text("welcome; really".into()), Value::Boolean(false)]]);
        let ledger = store.applied_migrations().await.unwrap();
        assert_eq!(
            ledger.iter().map(|ran| (ran.number, ran.checksum, ran.applied_at)).collect::<Vec<_>>(),
            [(1, Digest::of(ONE.as_bytes()), 7), (2, Digest::of(TWO.as_bytes()), 7)]
        );
    })
    .await;
}

#[tokio::test]
async fn a_changed_or_missing_migration_is_reported_and_nothing_runs() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        migrate(&store, &[ONE, TWO]).await.unwrap();

        let changed = migrate(&store, &["CREATE TABLE other (id INTEGER)", TWO, "CREATE TABLE third (id INTEGER)"])
            .await
            .unwrap_err();
        let missing = migrate(&store, &[ONE]).await.unwrap_err();

        let carried = Digest::of(b"CREATE TABLE other (id INTEGER)");
        assert_eq!(
            changed,
            MigrationError::Drift(vec![Drift {
                number: 1,
                applied: Some(Digest::of(ONE.as_bytes())),
                carried: Some(carried)
            }])
        );
        assert_eq!(changed.code(), Code::MigrationDrift);
        assert_eq!(
            missing,
            MigrationError::Drift(vec![Drift { number: 2, applied: Some(Digest::of(TWO.as_bytes())), carried: None }])
        );
        assert!(matches!(query(&store, "SELECT * FROM third").await, Err(StorageError::Invalid(_))));
    })
    .await;
}

#[tokio::test]
async fn a_failing_migration_is_undone_whole_and_can_be_repeated() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let broken = "CREATE TABLE half (id INTEGER); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1);";

        let failed = migrate(&store, &[ONE, broken]).await.unwrap_err();

        assert!(matches!(&failed, MigrationError::Failed { number: 2, .. }), "{failed:?}");
        assert_eq!(failed.code(), Code::MigrationFailed);
        assert!(matches!(query(&store, "SELECT * FROM half").await, Err(StorageError::Invalid(_))));
        assert_eq!(store.applied_migrations().await.unwrap().len(), 1);
        assert_eq!(migrate(&store, &[ONE, TWO]).await, Ok(1));
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_leaves_nothing() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        let would = store.migrate(vec![migration(1, ONE), migration(2, TWO)], Run::DryRun, 7).await.unwrap();
        let fails = store.migrate(vec![migration(1, ONE), migration(2, "DROP TABLE nowhere")], Run::DryRun, 7).await;

        assert_eq!(would.len(), 2);
        assert!(matches!(fails, Err(MigrationError::Failed { number: 2, .. })), "{fails:?}");
        assert!(store.applied_migrations().await.unwrap().is_empty());
        assert!(matches!(query(&store, "SELECT * FROM notes").await, Err(StorageError::Invalid(_))));
    })
    .await;
}

#[tokio::test]
async fn runs_at_the_same_time_apply_each_migration_once() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        let runs =
            tokio::join!(migrate(&store, &[ONE, TWO]), migrate(&store, &[ONE, TWO]), migrate(&store, &[ONE, TWO]));

        assert_eq!(runs.0.unwrap() + runs.1.unwrap() + runs.2.unwrap(), 2);
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
    })
    .await;
}

#[tokio::test]
async fn open_connections_see_the_new_shape() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        migrate(&store, &[ONE]).await.unwrap();
        execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
        assert_eq!(query(&store, "SELECT * FROM notes").await.unwrap().columns, ["title", "size"]);

        migrate(&store, &[ONE, TWO]).await.unwrap();

        let table = query(&store, "SELECT * FROM notes").await.unwrap();
        assert_eq!(table.columns, ["title", "size", "done"]);
        assert_eq!(table.rows[0].len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_leaves_a_dangling_reference_is_undone_and_references_hold_afterwards() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");
    let schema = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER REFERENCES p (id)); \
         INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);";
    migrate(&store, &[schema]).await.unwrap();

    let failed = migrate(&store, &[schema, "DELETE FROM p"]).await.unwrap_err();

    let source = StorageError::Violation { kind: ConstraintKind::ForeignKey, name: Some("c".into()) };
    assert_eq!(failed, MigrationError::Failed { number: 2, name: "step".into(), source });
    assert_eq!(number(&store, "SELECT count(*) FROM p").await, 1);
    assert!(matches!(
        execute(&store, "DELETE FROM p").await,
        Err(StorageError::Violation { kind: ConstraintKind::ForeignKey, .. })
    ));
}

#[tokio::test]
async fn the_usual_changes_of_shape_are_possible() {
    let stores = Stores::new().await;
    for (place, sql) in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t (x) VALUES ('a');",
        "CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT); CREATE UNIQUE INDEX u ON t (b) WHERE b IS NOT NULL; CREATE INDEX e ON t (lower(b));",
        "CREATE TABLE t (a TEXT, b TEXT); ALTER TABLE t RENAME COLUMN b TO c; ALTER TABLE t DROP COLUMN a; ALTER TABLE t RENAME TO t2;",
        "CREATE TABLE t (a INTEGER NOT NULL DEFAULT 1 CHECK (a > 0), b TEXT GENERATED ALWAYS AS (upper(a)) STORED); INSERT INTO t (a) VALUES (2);",
        "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'x' CHECK (b <> '');",
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER REFERENCES p (id)); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1); \
         CREATE TABLE p2 (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO p2 (id) SELECT id FROM p; DROP TABLE p; ALTER TABLE p2 RENAME TO p;",
        "CREATE TABLE IF NOT EXISTS t (a INTEGER); DROP TABLE IF EXISTS absent; CREATE INDEX i ON t (a); DROP INDEX i; DROP TABLE t;",
        "CREATE TABLE t (a INTEGER); UPDATE t SET a = a + 1; DELETE FROM t;",
        "-- nothing but a comment",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let store = stores.empty(&format!("t{place}"));
        assert_eq!(migrate(&store, &[sql]).await, Ok(1), "{sql}");
    }
}

#[tokio::test]
async fn a_migration_reaches_nothing_but_the_shape_of_own_tables() {
    let stores = Stores::new().await;
    for (place, sql) in [
        "ATTACH 'x.db' AS x",
        "VACUUM",
        "VACUUM INTO '/tmp/x.db'",
        "PRAGMA user_version = 9",
        "PRAGMA writable_schema = ON",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT s",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER r AFTER INSERT ON __kv BEGIN SELECT 1; END",
        "CREATE TABLE t (a); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TEMP TABLE t (a)",
        "CREATE VIRTUAL TABLE t USING fts5 (a)",
        "CREATE TABLE __t (a)",
        "CREATE TABLE t (a); ALTER TABLE t RENAME TO __t",
        "CREATE TABLE t (a); CREATE INDEX __i ON t (a)",
        "CREATE INDEX i ON __kv (value)",
        "ALTER TABLE __kv ADD COLUMN x TEXT",
        "ALTER TABLE __migrations RENAME TO m",
        "DROP TABLE __kv",
        "DROP INDEX __kv_expiry",
        "DELETE FROM __migrations",
        "INSERT INTO __kv (key, value, version) VALUES ('a', 'b', 1)",
        "CREATE TABLE t AS SELECT * FROM __kv",
        "DROP TABLE sqlite_master",
        "UPDATE sqlite_master SET sql = ''",
        "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT 1')",
        "DELETE FROM sqlite_master",
        "CREATE TABLE dbstat (a)",
        "CREATE TABLE t (a DEFAULT (load_extension('x'))); INSERT INTO t DEFAULT VALUES",
        "CREATE TABLE t (a, b AS (randomblob(a)))",
        "EXPLAIN SELECT 1",
        "SELECT $1",
        "SELECT load_extension('x')",
        "SELECT sqlite_rename_column(1, 2, 3, 4, 5, 6, 7, 8, 9)",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT n FROM c; ANALYZE",
        "DETACH main",
    ]
    .into_iter()
    .enumerate()
    {
        let store = stores.empty(&format!("t{place}"));
        let failed = migrate(&store, &[sql]).await;
        assert!(matches!(failed, Err(MigrationError::Failed { number: 1, .. })), "{sql}: {failed:?}");
        assert_eq!(migrate(&store, &[ONE]).await, Ok(1), "after {sql}");
    }
}

#[tokio::test]
async fn why_a_migration_failed_is_kept_until_it_has_run() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        assert_eq!(store.failed_migration().await, Ok(None));

        migrate(&store, &[ONE, "INSERT INTO nowhere (a) VALUES (1)"]).await.unwrap_err();

        let failed = store.failed_migration().await.unwrap().unwrap();
        assert_eq!((failed.number, failed.name.as_str(), failed.failed_at), (2, "step", 7));
        assert!(failed.error.contains("no such table"), "{failed:?}");
        assert_eq!(migrate(&store, &[ONE, TWO]).await, Ok(1));
        assert_eq!(store.failed_migration().await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn what_ran_is_undone_from_the_last_back_and_can_run_again() {
    const ONE_DOWN: &str = "DROP TABLE notes;";
    const TWO_DOWN: &str = "DELETE FROM notes WHERE title = 'welcome; really'; ALTER TABLE notes DROP COLUMN done;";
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        migrate(&store, &[ONE, TWO]).await.unwrap();

        let without_a_file = store.revert(vec![migration(2, TWO_DOWN)], 0, 8).await.unwrap_err();
        let hostile = store.revert(vec![migration(2, "DROP SCHEMA public CASCADE")], 1, 8).await.unwrap_err();
        let untouched = store.applied_migrations().await.unwrap().len();
        let one = store.revert(vec![migration(1, ONE_DOWN), migration(2, TWO_DOWN)], 1, 8).await;
        let left = store.applied_migrations().await.unwrap().len();
        let again = migrate(&store, &[ONE, TWO]).await;
        let both = store.revert(vec![migration(1, ONE_DOWN), migration(2, TWO_DOWN)], 0, 9).await;
        let gone = query(&store, "SELECT title FROM notes").await;
        let anew = migrate(&store, &[ONE, TWO]).await;

        assert!(matches!(without_a_file, MigrationError::Malformed(_)), "{without_a_file:?}");
        assert!(matches!(hostile, MigrationError::Failed { number: 2, .. }), "{hostile:?}");
        assert_eq!((untouched, one, left), (2, Ok(vec![2]), 1));
        assert_eq!((again, both), (Ok(1), Ok(vec![2, 1])));
        assert!(gone.is_err(), "{gone:?}");
        assert_eq!(anew, Ok(2));
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
    })
    .await;
}
