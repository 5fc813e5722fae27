//! Plugin SQL, the same tests on both engines: values, errors, limits, quota, deletion.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::{limit_codes, limits};
use bulkhead_database::{ConstraintKind, Statement, StorageError, Value};

use crate::engines::{plugin, tenant};
use crate::stores::{execute, for_each_store, migrate, number, query, soon};

const NOTES: &str = "CREATE TABLE notes (title TEXT NOT NULL UNIQUE, size BIGINT CHECK (size >= 0))";

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_went() {
    for_each_store(async |stores| {
        let schema = "CREATE TABLE every (id bigint PRIMARY KEY, b boolean, i bigint, f double precision, t text, x BYTES, \
             j json, at timestamptz, u uuid, n numeric)";
        let store = stores.with_schema("bank", &schema.replace("BYTES", stores.either("blob", "bytea"))).await;
        let values = vec![
            Value::Boolean(true),
            Value::Int64(i64::MIN),
            Value::Float64(2.0),
            Value::Text("ü\u{10ffff}".into()),
            Value::Bytes(vec![0, 255]),
            Value::Json("{\"a\": [1.10]}".into()),
            Value::Timestamp(-1),
            Value::Uuid(1, u64::MAX),
            // One engine keeps 15 digits of such a column, the other all.
            Value::Decimal(stores.either("1234567890.5", "12345678901234567890.0100").into()),
        ];

        let insert = "INSERT INTO every (id, b, i, f, t, x, j, at, u, n) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9)";
        store.execute(insert, values.clone(), soon()).await.unwrap();
        let null = "INSERT INTO every (id, b) VALUES (2, $1) RETURNING b, t";
        let nulls = store.execute(null, vec![Value::Null], soon()).await.unwrap();

        let table = query(&store, "SELECT b, i, f, t, x, j, at, u, n FROM every WHERE id = 1").await.unwrap();
        assert_eq!(table.columns, ["b", "i", "f", "t", "x", "j", "at", "u", "n"]);
        assert_eq!(table.rows, [values]);
        assert_eq!((nulls.rows, nulls.affected), (vec![vec![Value::Null, Value::Null]], 1));
    })
    .await;
}

#[tokio::test]
async fn parameters_are_matched_by_number_not_by_place() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        let table = store
            .query("SELECT $2 || $1, $2", vec![Value::Text("one".into()), Value::Text("two".into())], soon())
            .await
            .unwrap();

        assert_eq!(table.rows, [[Value::Text("twoone".into()), Value::Text("two".into())]]);
    })
    .await;
}

#[tokio::test]
async fn a_parameter_that_is_missing_or_too_much_or_of_another_form_is_refused() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let check = async |text: &str, count: usize, wanted: StorageError| {
            let params = vec![Value::Int64(1); count];
            assert_eq!(store.query(text, params, soon()).await, Err(wanted), "{text} with {count}");
        };

        check("SELECT $1, $2", 1, StorageError::Parameter(2, "a value".into())).await;
        check("SELECT $1", 2, StorageError::Parameter(2, "no value".into())).await;
        for text in ["SELECT $1, $3", "SELECT $0", "SELECT $01", "SELECT ?", "SELECT :a"] {
            let answer = store.query(text, vec![Value::Int64(1); 3], soon()).await;
            assert!(matches!(&answer, Err(StorageError::Denied(_) | StorageError::Invalid(_))), "{text}: {answer:?}");
        }
        check(
            &format!("SELECT {}", (1..=65).map(|n| format!("${n}")).collect::<Vec<_>>().join(",")),
            65,
            StorageError::Limit(limit_codes::PARAMETERS),
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_row_takes_its_referencing_rows_with_it_where_declared() {
    for_each_store(async |stores| {
        let schema = "CREATE TABLE notes (id BIGINT PRIMARY KEY); \
             CREATE TABLE tags (note BIGINT NOT NULL REFERENCES notes (id) ON DELETE CASCADE);";
        let store = stores.with_schema("bank", schema).await;
        execute(&store, "INSERT INTO notes (id) VALUES (1)").await.unwrap();
        execute(&store, "INSERT INTO tags (note) VALUES (1), (1)").await.unwrap();

        execute(&store, "DELETE FROM notes WHERE id = 1").await.unwrap();

        assert_eq!(number(&store, "SELECT count(*) FROM tags").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_query_cannot_write() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;

        for text in [
            "INSERT INTO notes (title) VALUES ('a')",
            "DELETE FROM notes",
            "INSERT INTO notes (title) VALUES ('a') RETURNING title",
        ] {
            assert_eq!(query(&store, text).await, Err(StorageError::Denied("statement:write".into())), "{text}");
        }
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_done_whole_or_not_at_all() {
    for_each_store(async |stores| {
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
    })
    .await;
}

#[tokio::test]
async fn a_result_has_bounds_in_rows_bytes_and_time() {
    for_each_store(async |stores| {
        let store =
            stores.with_schema("bank", stores.either("CREATE TABLE big (x BLOB)", "CREATE TABLE big (x BYTEA)")).await;
        for _ in 0..5 {
            store.execute("INSERT INTO big VALUES ($1)", vec![Value::Bytes(vec![7; 1 << 20])], soon()).await.unwrap();
        }
        let check = async |text: &str, wanted: &'static str| {
            assert_eq!(query(&store, text).await, Err(StorageError::Limit(wanted)), "{text}");
        };

        check("WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c", limit_codes::ROWS)
            .await;
        check("SELECT x FROM big", limit_codes::BYTES).await;
        check("SELECT x, x, x, x, x FROM big LIMIT 1", limit_codes::BYTES).await;
        check(
            "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
            limit_codes::DEADLINE,
        )
        .await;
        assert_eq!(query(&store, "SELECT x FROM big LIMIT 3").await.unwrap().rows.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn the_callers_deadline_stops_a_statement_in_time() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let endless = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
        let began = Instant::now();

        let answer = store.query(endless, vec![], began + Duration::from_millis(100)).await;

        assert_eq!(answer, Err(StorageError::Limit(limit_codes::DEADLINE)));
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_its_statement_and_undoes_it() {
    for_each_store(async |stores| {
    let store = stores.with_schema("bank", NOTES).await;
    let endless = "INSERT INTO notes (title) WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT 't' || CAST(n AS TEXT) FROM c";
    let began = Instant::now();

    let gone = tokio::time::timeout(Duration::from_millis(100), store.execute(endless, vec![], soon())).await;

    assert!(gone.is_err());
    execute(&store, "INSERT INTO notes (title) VALUES ('next')").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
    })
    .await;
}

#[tokio::test]
async fn like_tells_upper_from_lower_case_as_postgresql_does() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        assert_eq!(number(&store, "SELECT count(*) FROM (SELECT 'a' AS x) AS t WHERE x LIKE 'A'").await, 0);
        assert_eq!(number(&store, "SELECT count(*) FROM (SELECT 'a' AS x) AS t WHERE x LIKE 'a'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_hosts_clock_and_uuids_are_there_as_on_postgresql() {
    for_each_store(async |stores| {
    let store = stores
        .with_schema("bank", "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT (gen_random_uuid()), at timestamptz NOT NULL DEFAULT (now()), x bigint)")
        .await;

    let table = execute(&store, "INSERT INTO t (x) VALUES (1), (2) RETURNING id, at").await.unwrap();

    let [first, second] = table.rows.as_slice() else { panic!("{table:?}") };
    let stored = query(&store, "SELECT id, at FROM t ORDER BY x").await.unwrap().rows;
    assert!(
        matches!(stored[0].as_slice(), [Value::Uuid(_, _), Value::Timestamp(at)] if *at > 1_600_000_000_000_000),
        "{stored:?}"
    );
    assert_ne!(first[0], second[0]);
    })
    .await;
}

#[tokio::test]
async fn a_violation_has_a_kind_and_a_name_of_the_plugins_own() {
    for_each_store(async |stores| {
        let schema = "CREATE TABLE notes (title TEXT NOT NULL UNIQUE, size BIGINT CONSTRAINT positive CHECK (size >= 0)); \
             CREATE TABLE tags (title TEXT NOT NULL REFERENCES notes (title));";
        let store = stores.with_schema("bank", schema).await;
        execute(&store, "INSERT INTO notes (title, size) VALUES ('a', 1)").await.unwrap();
        let check = async |text: &str, wanted: ConstraintKind, (sqlite, postgres): (Option<&str>, Option<&str>)| {
            let name = stores.either(sqlite, postgres).map(str::to_owned);
            assert_eq!(execute(&store, text).await, Err(StorageError::Violation { kind: wanted, name }), "{text}");
        };

        check("INSERT INTO notes (title) VALUES ('a')", ConstraintKind::Unique, (Some("notes.title"), Some("notes_title_key"))).await;
        check("INSERT INTO notes (title) VALUES (NULL)", ConstraintKind::NotNull, (Some("notes.title"), Some("notes.title"))).await;
        check("INSERT INTO notes (title, size) VALUES ('b', -1)", ConstraintKind::Check, (Some("positive"), Some("positive"))).await;
        check("INSERT INTO tags (title) VALUES ('z')", ConstraintKind::ForeignKey, (None, Some("tags_title_fkey"))).await;
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_run_is_answered_without_the_engines_words() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let check = async |text: &str, wanted: &str| {
            let answer = query(&store, text).await;
            assert!(
                matches!(&answer, Err(StorageError::Invalid(found)) if found.starts_with(wanted)),
                "{text}: {answer:?}"
            );
        };

        check("SELECT nope FROM notes", "no such column").await;
        check("SELECT title FROM nope", "no such table").await;
        check("SELECT abs(-9223372036854775807 - 1)", "integer overflow").await;
    })
    .await;
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_parameter_is_refused_whatever_ran_before() {
    // The connection remembers a statement by its text: what is bound must fit what the server inferred, each time.
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE t (n INTEGER)").await;
        let insert = "INSERT INTO t (n) VALUES ($1)";
        store.execute(insert, vec![Value::Int64(7)], soon()).await.unwrap();

        for value in [Value::Text("abcd".into()), Value::Int64(i64::MAX), Value::Bytes(vec![0; 4])] {
            let answer = store.execute(insert, vec![value.clone()], soon()).await;
            match stores.engine {
                "postgres" => {
                    assert_eq!(answer, Err(StorageError::Parameter(1, "an integer of 32 bits".into())), "{value:?}")
                }
                // A column of this engine takes any form.
                _ => assert!(answer.is_ok(), "{value:?}"),
            }
        }

        assert_eq!(
            store.query("SELECT n FROM t WHERE n = $1", vec![Value::Int64(7)], soon()).await.unwrap().rows,
            [[Value::Int64(7)]]
        );
    })
    .await;
}

#[tokio::test]
async fn a_full_store_refuses_writes_and_serves_reads_and_deletes() {
    for_each_store(async |stores| {
        let quota_bytes = 1 << 20;
        let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), quota_bytes);
        let schema = stores.either("CREATE TABLE big (id BIGINT, x BLOB)", "CREATE TABLE big (id BIGINT, x BYTEA)");
        migrate(&store, &[schema]).await.unwrap();
        let insert = async |store: &bulkhead_database::PluginStore, id: i64| {
            let params = vec![Value::Int64(id), Value::Bytes(noise(id, 100_000))];
            store.execute("INSERT INTO big (id, x) VALUES ($1, $2)", params, soon()).await
        };

        let mut written = 0;
        let full = loop {
            match insert(&store, written).await {
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
        // The place of removed rows is given back a little later at most.
        let began = Instant::now();
        while insert(&store, written).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the place of removed rows is lost");
            tokio::task::yield_now().await;
        }
        let raised = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 4 << 20);
        for id in 100..110 {
            insert(&raised, id).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn deleted_storage_starts_empty_and_the_others_stay() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let other = stores.with_schema("shop", NOTES).await;
        execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
        store.kv_set("k", vec![1], None, bulkhead_database::KvCondition::Always, 1, soon()).await.unwrap();
        execute(&other, "INSERT INTO notes (title) VALUES ('b')").await.unwrap();

        stores.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();
        stores.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();

        assert_eq!(stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap(), 0);
        assert_eq!(query(&store, "SELECT title FROM notes").await, Err(StorageError::Invalid("no such table".into())));
        assert_eq!(store.kv_get("k", 1, soon()).await, Ok(None));
        assert!(store.applied_migrations().await.unwrap().is_empty());
        assert_eq!(number(&other, "SELECT count(*) FROM notes").await, 1);
        migrate(&store, &[NOTES]).await.unwrap();
        stores.storage.delete_tenant(&tenant("shop")).await.unwrap();
        assert_eq!(query(&other, "SELECT title FROM notes").await, Err(StorageError::Invalid("no such table".into())));
        stores.storage.delete(&tenant("none"), &plugin("acme.notes")).await.unwrap();
        stores.storage.delete_tenant(&tenant("none")).await.unwrap();
    })
    .await;
}

/// Bytes that no engine can make shorter.
fn noise(seed: i64, count: usize) -> Vec<u8> {
    let mut state = seed.unsigned_abs().wrapping_add(0x9e37_79b9_7f4a_7c15);
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(count).collect()
}
