//! Plugin SQL on a file: values, transactions, cursors, limits, quota, errors.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::{StorageConfig, limit_codes, limits};
use bulkhead_database::{ConstraintKind, Statement, StorageError, Value};

use crate::engines::{plugin, tenant};
use crate::stores::{Stores, execute, migrate, number, query, soon};

const NOTES: &str =
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, size INTEGER CHECK (size >= 0))";

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_went() {
    let stores = Stores::new().await;
    let store = stores
        .with_schema(
            "bank",
            "CREATE TABLE every (id integer primary key, b boolean, i bigint, f double precision, t text, x blob, j jsonb, \
             at timestamptz, u uuid, d decimal_text, n numeric)",
        )
        .await;
    let values = vec![
        Value::Boolean(true),
        Value::Int64(i64::MIN),
        Value::Float64(2.0),
        Value::Text("ü\u{10ffff}".into()),
        Value::Bytes(vec![0, 255]),
        Value::Json("{\"a\": [1.10]}".into()),
        Value::Timestamp(-1),
        Value::Uuid(1, u64::MAX),
        Value::Decimal("12345678901234567890.0100".into()),
        Value::Decimal("1.5".into()),
    ];

    store
        .execute(
            "INSERT INTO every (b, i, f, t, x, j, at, u, d, n) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            values.clone(),
            soon(),
        )
        .await
        .unwrap();
    let nulls =
        store.execute("INSERT INTO every (b) VALUES ($1) RETURNING b, t", vec![Value::Null], soon()).await.unwrap();

    let table = query(&store, "SELECT b, i, f, t, x, j, at, u, d, n FROM every WHERE id = 1").await.unwrap();
    assert_eq!(table.columns, ["b", "i", "f", "t", "x", "j", "at", "u", "d", "n"]);
    assert_eq!(table.rows, [values]);
    assert_eq!((nulls.rows, nulls.affected), (vec![vec![Value::Null, Value::Null]], 1));
}

#[tokio::test]
async fn parameters_are_matched_by_number_not_by_place() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");

    let table = store
        .query("SELECT $2 || $1, $2", vec![Value::Text("one".into()), Value::Text("two".into())], soon())
        .await
        .unwrap();

    assert_eq!(table.rows, [[Value::Text("twoone".into()), Value::Text("two".into())]]);
}

#[tokio::test]
async fn a_parameter_that_is_missing_or_too_much_or_of_another_form_is_refused() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");
    let check = async |text: &str, count: usize, wanted: StorageError| {
        let params = vec![Value::Int64(1); count];
        assert_eq!(store.query(text, params, soon()).await, Err(wanted), "{text} with {count}");
    };

    check("SELECT $1, $2", 1, StorageError::Parameter(2, "a value".into())).await;
    check("SELECT $1", 2, StorageError::Parameter(2, "no value".into())).await;
    check("SELECT $1, $3", 3, StorageError::Denied("parameter".into())).await;
    check("SELECT $0", 1, StorageError::Denied("parameter".into())).await;
    check("SELECT $01", 1, StorageError::Denied("parameter".into())).await;
    check("SELECT $1::int", 1, StorageError::Denied("parameter".into())).await;
    check("SELECT ?", 1, StorageError::Denied("parameter".into())).await;
    check("SELECT :a", 1, StorageError::Denied("parameter".into())).await;
    check(
        &format!("SELECT {}", (1..=65).map(|n| format!("${n}")).collect::<Vec<_>>().join(",")),
        65,
        StorageError::Limit(limit_codes::PARAMETERS),
    )
    .await;
}

#[tokio::test]
async fn a_violation_names_its_kind_and_the_plugins_own_columns() {
    let stores = Stores::new().await;
    let store = stores
        .with_schema(
            "bank",
            &format!(
                "{NOTES}; CREATE TABLE tags (note INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE, tag TEXT);"
            ),
        )
        .await;
    execute(&store, "INSERT INTO notes (id, title, size) VALUES (1, 'a', 1)").await.unwrap();
    let check = async |text: &str, kind: ConstraintKind, name: Option<&str>| {
        let wanted = StorageError::Violation { kind, name: name.map(str::to_owned) };
        assert_eq!(execute(&store, text).await, Err(wanted), "{text}");
    };

    check("INSERT INTO notes (title) VALUES ('a')", ConstraintKind::Unique, Some("notes.title")).await;
    check("INSERT INTO notes (id, title) VALUES (1, 'b')", ConstraintKind::Unique, Some("notes.id")).await;
    check("INSERT INTO notes (title) VALUES (NULL)", ConstraintKind::NotNull, Some("notes.title")).await;
    check("INSERT INTO notes (title, size) VALUES ('b', -1)", ConstraintKind::Check, Some("size >= 0")).await;
    check("INSERT INTO tags (note) VALUES (9)", ConstraintKind::ForeignKey, None).await;
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
}

#[tokio::test]
async fn a_deleted_row_takes_its_referencing_rows_with_it_where_declared() {
    let stores = Stores::new().await;
    let store = stores
        .with_schema(
            "bank",
            &format!("{NOTES}; CREATE TABLE tags (note INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE);"),
        )
        .await;
    execute(&store, "INSERT INTO notes (id, title) VALUES (1, 'a')").await.unwrap();
    execute(&store, "INSERT INTO tags (note) VALUES (1), (1)").await.unwrap();

    execute(&store, "DELETE FROM notes WHERE id = 1").await.unwrap();

    assert_eq!(number(&store, "SELECT count(*) FROM tags").await, 0);
}

#[tokio::test]
async fn a_query_cannot_write() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", NOTES).await;

    for text in [
        "INSERT INTO notes (title) VALUES ('a')",
        "DELETE FROM notes",
        "INSERT INTO notes (title) VALUES ('a') RETURNING id",
    ] {
        assert_eq!(query(&store, text).await, Err(StorageError::Denied("write".into())), "{text}");
    }
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 0);
}

#[tokio::test]
async fn a_batch_is_done_whole_or_not_at_all() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", NOTES).await;
    let insert = |title: &str| Statement {
        text: "INSERT INTO notes (title) VALUES ($1)".into(),
        params: vec![Value::Text(title.into())],
    };

    let failed = store.batch(vec![insert("a"), insert("b"), insert("a")], soon()).await;
    assert!(matches!(failed, Err(StorageError::Violation { .. })), "{failed:?}");
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 0);

    let done = store.batch(vec![insert("a"), insert("b")], soon()).await.unwrap();
    assert_eq!(done.iter().map(|table| table.affected).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 2);
    let many = vec![insert("c"); limits::BATCH_STATEMENTS_MAX + 1];
    assert_eq!(store.batch(many, soon()).await, Err(StorageError::Limit(limit_codes::STATEMENTS)));
}

#[tokio::test]
async fn a_result_has_bounds_in_rows_bytes_and_time() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", "CREATE TABLE big (x BLOB)").await;
    for _ in 0..5 {
        store.execute("INSERT INTO big VALUES ($1)", vec![Value::Bytes(vec![7; 1 << 20])], soon()).await.unwrap();
    }
    let check = async |text: &str, wanted: &'static str| {
        assert_eq!(query(&store, text).await, Err(StorageError::Limit(wanted)), "{text}");
    };

    check("WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c", limit_codes::ROWS).await;
    check("SELECT x FROM big", limit_codes::BYTES).await;
    check("SELECT x, x, x, x, x FROM big LIMIT 1", limit_codes::BYTES).await;
    check(
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
        limit_codes::DEADLINE,
    )
    .await;
    assert_eq!(query(&store, "SELECT x FROM big LIMIT 3").await.unwrap().rows.len(), 3);
}

#[tokio::test]
async fn the_callers_deadline_stops_a_statement_in_time() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");
    let endless = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    let began = Instant::now();

    let answer = store.query(endless, vec![], began + Duration::from_millis(100)).await;

    assert_eq!(answer, Err(StorageError::Limit(limit_codes::DEADLINE)));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_its_statement_and_undoes_it() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", NOTES).await;
    let endless = "INSERT INTO notes (title) WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT 't' || n FROM c";
    let began = Instant::now();

    let gone = tokio::time::timeout(Duration::from_millis(100), store.execute(endless, vec![], soon())).await;

    assert!(gone.is_err());
    execute(&store, "INSERT INTO notes (title) VALUES ('next')").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
}

#[tokio::test]
async fn a_sort_of_too_much_is_stopped_before_the_host_runs_out_of_memory() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", "CREATE TABLE big (x BLOB)").await;
    store.execute("INSERT INTO big VALUES ($1)", vec![Value::Bytes(vec![7; 1 << 20])], soon()).await.unwrap();

    let answer = query(
        &store,
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) \
         SELECT length(y) FROM (SELECT x || n AS y FROM big, c ORDER BY random(), y) LIMIT 1",
    )
    .await;

    assert!(matches!(answer, Err(StorageError::Limit(limit_codes::MEMORY | limit_codes::DEADLINE))), "{answer:?}");
    assert_eq!(number(&store, "SELECT count(*) FROM big").await, 1);
}

#[tokio::test]
async fn no_function_takes_longer_than_its_arguments_are_long() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");
    let (long, half) = ("a".repeat(1 << 20), "a".repeat(1 << 19));
    let check = async |text: &str, second: String| {
        let began = Instant::now();
        let params = vec![Value::Text(long.clone()), Value::Text(second)];
        drop(store.query(text, params, soon()).await);
        assert!(began.elapsed() < Duration::from_secs(2), "{text}: {:?}", began.elapsed());
    };

    check("SELECT instr($1, $2)", format!("{half}b")).await;
    check("SELECT length(replace($1, $2, ''))", format!("{half}b")).await;
    check("SELECT length(trim($1, $2))", format!("{}a", "b".repeat(1 << 19))).await;
    check("SELECT length(ltrim($1, $2))", ('\u{100}'..'\u{d000}').collect::<String>() + "a").await;
    check("SELECT $1 LIKE $2", format!("%{}b", "a_".repeat(62))).await;
    check("SELECT $1 GLOB $2", format!("*[{}]c", "b".repeat(120))).await;
    check("SELECT $1 GLOB $2", format!("*{}b", "[a-z]".repeat(24))).await;
}

#[tokio::test]
async fn a_full_store_refuses_writes_and_serves_reads_and_deletes() {
    let stores = Stores::new().await;
    let quota_bytes = 1 << 20;
    let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), quota_bytes);
    migrate(&store, &["CREATE TABLE big (id INTEGER PRIMARY KEY, x BLOB)"]).await.unwrap();
    let insert =
        async || store.execute("INSERT INTO big (x) VALUES ($1)", vec![Value::Bytes(vec![7; 100_000])], soon()).await;

    let mut written = 0;
    let full = loop {
        match insert().await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 20, "the quota does not hold");
    };

    assert_eq!(full, StorageError::Limit(limit_codes::QUOTA));
    assert_eq!(number(&store, "SELECT count(*) FROM big").await, written);
    let used = stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap();
    assert!(used <= quota_bytes + limits::LOG_BYTES_MAX, "{used}");
    execute(&store, "DELETE FROM big WHERE id <= 3").await.unwrap();
    insert().await.unwrap();
    let raised = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 4 << 20);
    for _ in 0..10 {
        raised.execute("INSERT INTO big (x) VALUES ($1)", vec![Value::Bytes(vec![7; 100_000])], soon()).await.unwrap();
    }
}

#[tokio::test]
async fn deleted_storage_is_gone_from_disk_and_starts_empty() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", NOTES).await;
    let other = stores.with_schema("shop", NOTES).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();

    stores.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();

    assert_eq!(stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap(), 0);
    assert_eq!(std::fs::read_dir(stores.folder.path().join("tenants/bank")).unwrap().count(), 0);
    assert_eq!(query(&store, "SELECT title FROM notes").await, Err(StorageError::Invalid("no such table".into())));
    assert!(query(&other, "SELECT title FROM notes").await.is_ok());
    stores.storage.delete_tenant(&tenant("shop")).await.unwrap();
    assert!(!stores.folder.path().join("tenants/shop").exists());
    stores.storage.delete(&tenant("none"), &plugin("acme.notes")).await.unwrap();
}

#[tokio::test]
async fn more_files_than_may_be_open_take_turns() {
    let stores = Stores::with(StorageConfig { open_files_max: 3 }).await;
    let mut all = Vec::new();
    for place in 0..10 {
        all.push(stores.with_schema(&format!("t{place}"), NOTES).await);
    }

    for round in 0..3 {
        for store in &all {
            store.execute("INSERT INTO notes (title) VALUES ($1)", vec![Value::Int64(round)], soon()).await.unwrap();
        }
    }

    for store in &all {
        assert_eq!(number(store, "SELECT count(*) FROM notes").await, 3);
    }
    let held = stores.folder.path().join("tenants").canonicalize().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open =
        open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).filter(|path| path.starts_with(&held));
    assert!(open.count() <= 9);
}

#[tokio::test]
async fn files_are_for_the_host_alone() {
    use std::os::unix::fs::PermissionsExt;
    let stores = Stores::new().await;
    stores.with_schema("bank", NOTES).await;

    let mode = std::fs::metadata(stores.folder.path().join("tenants/bank")).unwrap().permissions().mode();

    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn an_unreadable_statement_is_answered_by_place_without_the_engines_words() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", NOTES).await;
    let check = async |text: &str, wanted: &str| {
        assert_eq!(query(&store, text).await, Err(StorageError::Invalid(wanted.into())), "{text}");
    };

    check("SELEC 1", "syntax error at byte 0").await;
    check("SELECT nope FROM notes", "no such column at byte 7").await;
    check("SELECT * FROM nope", "no such table").await;
    check("SELECT \"nope\"", "no such column at byte 7").await;
    check("", "no statement").await;
    check(" -- only a comment", "no statement").await;
    check("SELECT", "incomplete statement").await;
    check("SELECT abs(-9223372036854775807 - 1)", "integer overflow").await;
}

#[tokio::test]
async fn like_tells_upper_from_lower_case_as_postgresql_does() {
    let stores = Stores::new().await;
    let store = stores.empty("bank");

    assert_eq!(number(&store, "SELECT count(*) FROM (SELECT 'a' AS x) WHERE x LIKE 'A'").await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM (SELECT 'a' AS x) WHERE x LIKE 'a'").await, 1);
}

#[tokio::test]
async fn the_hosts_clock_and_uuids_are_there_as_on_postgresql() {
    let stores = Stores::new().await;
    let store = stores
        .with_schema("bank", "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT (gen_random_uuid()), at timestamptz NOT NULL DEFAULT (now()), x integer)")
        .await;

    let table = execute(&store, "INSERT INTO t (x) VALUES (1), (2) RETURNING id, at").await.unwrap();

    let [first, second] = table.rows.as_slice() else { panic!("{table:?}") };
    let stored = query(&store, "SELECT id, at FROM t ORDER BY x").await.unwrap().rows;
    assert!(
        matches!(stored[0].as_slice(), [Value::Uuid(_, _), Value::Timestamp(at)] if *at > 1_600_000_000_000_000),
        "{stored:?}"
    );
    assert_ne!(first[0], second[0]);
}
