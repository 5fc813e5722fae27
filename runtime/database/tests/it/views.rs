//! Views that plugins publish, on both engines: what they give, what is none, what a reader can say and what it learns.
//! Who may read is the host's to decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{BrokenView, PluginView, PluginViews, ViewSelect, limit_codes, limits};
use bulkhead_database::{Isolation, PluginStore, StorageError, Table, Value};

use crate::stores::{execute, for_each_store, migrate, number, soon};

const SCHEMA: &str = "CREATE TABLE notes (id bigint PRIMARY KEY, title text NOT NULL); \
     CREATE TABLE secrets (id bigint PRIMARY KEY, body text NOT NULL); \
     INSERT INTO notes (id, title) VALUES (1, 'one'), (2, 'two'), (3, 'three'); \
     INSERT INTO secrets (id, body) VALUES (7, 'hunter2')";
const NOTES: &str = "SELECT id, title FROM notes";
/// Reads for ever.
const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS total FROM n";

fn select(version: u32, sql: &str) -> ViewSelect {
    ViewSelect { name: "notes".parse().unwrap(), version, sql: Arc::from(sql) }
}

async fn open(store: &PluginStore, sql: &str) -> Result<PluginViews, BrokenView> {
    store.open_views(&[select(1, sql)]).await
}

async fn view(store: &PluginStore, sql: &str) -> PluginView {
    let views = open(store, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}: {}", error.source));
    views.find("notes", 1).unwrap()
}

async fn read(view: &PluginView, equals: &[(&str, Value)]) -> Result<Table, StorageError> {
    let equals = equals.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    view.read(equals, 10_000, soon()).await
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Each line of a file: what stands before the last arrow, and behind it.
fn cases(file: &str) -> Vec<(String, String)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (sql, wanted) = line.rsplit_once('→').unwrap();
            (sql.trim_end_matches(' ').replace('⏎', "\n"), wanted.trim().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_view_gives_its_rows_and_columns_by_any_of_its_columns() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let view = view(&store, "SELECT id, title, id * 10 AS tenfold FROM notes").await;

        assert_eq!(view.columns(), ["id", "title", "tenfold"]);
        let two = [Value::Int64(2), text("two"), Value::Int64(20)];
        for equals in [
            vec![("id", Value::Int64(2))],
            vec![("title", text("two"))],
            vec![("tenfold", Value::Int64(20))],
            vec![("title", text("two")), ("id", Value::Int64(2)), ("id", Value::Int64(2))],
        ] {
            let table = read(&view, &equals).await.unwrap();
            assert_eq!((table.rows, table.affected), (vec![two.to_vec()], 0), "{equals:?}");
        }
        assert_eq!(read(&view, &[]).await.unwrap().rows.len(), 3);
        assert_eq!(read(&view, &[("id", Value::Int64(2)), ("title", text("one"))]).await.unwrap().rows, [[]; 0]);
        assert_eq!(read(&view, &[("title", text("x' OR '1' = '1"))]).await.unwrap().rows, [[]; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_column_of_any_type_equals_its_value_and_none_equals_none() {
    for_each_store(async |stores| {
        let schema = "CREATE TABLE every (id bigint PRIMARY KEY, b boolean, i bigint, f double precision, t text, x BYTES, \
             at timestamptz, u uuid, n numeric)";
        let store = stores.with_schema("bank", &schema.replace("BYTES", stores.either("blob", "bytea"))).await;
        let values = [
            ("b", Value::Boolean(true)),
            ("i", Value::Int64(i64::MIN)),
            ("f", Value::Float64(0.5)),
            ("t", text("ü\u{10ffff}' --")),
            ("x", Value::Bytes(vec![0, 255])),
            ("at", Value::Timestamp(-1)),
            ("u", Value::Uuid(1, u64::MAX)),
            ("n", Value::Decimal("12.50".into())),
        ];
        let insert = "INSERT INTO every (id, b, i, f, t, x, at, u, n) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)";
        let params = values.iter().map(|(_, value)| value.clone()).collect();
        store.execute(insert, params, soon()).await.unwrap();
        execute(&store, "INSERT INTO every (id) VALUES (2)").await.unwrap();
        let view = view(&store, "SELECT * FROM every").await;

        let found = async |equals: &[(&str, Value)]| -> Vec<Value> {
            let table = read(&view, equals).await.unwrap_or_else(|error| panic!("{equals:?}: {error}"));
            table.rows.into_iter().map(|row| row[0].clone()).collect()
        };
        for (name, value) in &values {
            assert_eq!(found(&[(name, value.clone())]).await, [Value::Int64(1)], "{name}");
            assert_eq!(found(&[(name, Value::Null)]).await, [Value::Int64(2)], "{name}");
        }
        assert_eq!(found(&values).await, [Value::Int64(1)]);
        let nulls: Vec<_> = values.iter().map(|(name, _)| (*name, Value::Null)).collect();
        assert_eq!(found(&nulls).await, [Value::Int64(2)]);
        assert_eq!(found(&[("b", Value::Null), ("i", Value::Int64(i64::MIN))]).await, [Value::Null; 0]);
        let row = read(&view, &[("id", Value::Int64(1))]).await.unwrap().rows.remove(0);
        let typed: Vec<_> = values.iter().map(|(_, value)| value.clone()).take(7).collect();
        assert_eq!(row[1..8], typed, "types pass through a view");
    })
    .await;
}

#[tokio::test]
async fn what_a_reader_says_is_a_column_a_value_and_a_number_of_rows_and_nothing_else() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let view = view(&store, NOTES).await;
        let no_column = |place| Err(StorageError::Parameter(place, "a column of the view".into()));

        for name in [
            "",
            "ID",
            "Title",
            "body",
            "rowid",
            "oid",
            "_rowid_",
            "ctid",
            "xmin",
            "tableoid",
            "view",
            "VIEW",
            "notes",
            "count",
            "row_to_json",
            "to_json",
            "pg_typeof",
            "current_user",
            "notes.id",
            "VIEW\".\"id",
            "id\" = 1 OR \"id",
            "id\"; --",
            "1",
            "*",
            "id ",
            "id\0",
            "title\n",
            "ıd",
            "$1",
        ] {
            assert_eq!(read(&view, &[(name, Value::Int64(1))]).await, no_column(1), "{name:?}");
            assert_eq!(read(&view, &[("id", Value::Null), (name, Value::Null)]).await, no_column(2), "{name:?}");
        }
        let long = "a".repeat(1 << 20);
        assert_eq!(read(&view, &[(&long, Value::Null)]).await, no_column(1));
        let json = Value::Json("1".into());
        assert_eq!(
            read(&view, &[("title", json)]).await,
            Err(StorageError::Parameter(1, "a value that is no JSON".into()))
        );
        // The place is that in `equals`, of which those without a value are no parameters.
        let nul = [("id", Value::Null), ("title", Value::Null), ("title", text("a\0b"))];
        assert_eq!(read(&view, &nul).await, Err(StorageError::Parameter(3, "text without NUL".into())));

        let many = vec![("id", Value::Int64(1)); limits::PARAMETERS_MAX];
        assert_eq!(read(&view, &many).await.unwrap().rows.len(), 1);
        let more = vec![("id", Value::Int64(1)); limits::PARAMETERS_MAX + 1];
        assert_eq!(read(&view, &more).await, Err(StorageError::Limit(limit_codes::PARAMETERS)));
        for (limit, wanted) in
            [(1, Some(1)), (2, Some(2)), (10_000, Some(3)), (0, None), (10_001, None), (u32::MAX, None)]
        {
            let found = view.read(vec![], limit, soon()).await.map(|table| table.rows.len());
            let refused = StorageError::Invalid("a limit of 1 to 10000 rows".into());
            assert_eq!(found, wanted.ok_or(refused), "{limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_view_is_refused_and_changes_nothing() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;

        let mut others = Vec::new();
        for (sql, wanted) in cases(include_str!("../data/guard/views_hostile.txt")) {
            let reason = open(&store, &sql).await.expect_err(&sql).source.to_string();
            if !reason.starts_with(&wanted) {
                others.push(format!("{sql} → {reason}"));
            }
            assert!(bulkhead_database::tenant::guard::check_view(&sql).is_err(), "{sql}");
        }
        assert_eq!(others, [""; 0]);
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 3);
        assert_eq!(number(&store, "SELECT count(*) FROM secrets").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_ends_in_comments_semicolons_and_parentheses_is_one_table() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;

        for (sql, wanted) in cases(include_str!("../data/guard/views_good.txt")) {
            let view = view(&store, &sql).await;
            let table = read(&view, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(table.rows.len().to_string(), wanted, "{sql}");
            let first = view.columns()[0].clone();
            assert_eq!(read(&view, &[(&first, Value::Null)]).await.unwrap().rows.len(), 0, "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_view_that_cannot_be_read_is_found_before_anybody_reads_it() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let check = async |sql: &str, wanted: &str| {
            let views = [select(1, NOTES), select(2, sql)];
            let broken = store.open_views(&views).await.expect_err(sql);
            assert_eq!(broken.to_string(), "the view `notes` version 2 cannot be read", "{sql}");
            let reason = broken.source.to_string();
            assert!(reason.starts_with(wanted), "{sql}: {reason}");
        };

        check("SELECT id FROM nowhere", "invalid: no such table").await;
        check("SELECT nothing FROM notes", "invalid: no such column").await;
        let column = |place: u32| format!("invalid: column {place} needs a name of its own");
        check("SELECT id, count(*) FILTER (WHERE id > 1) + 1 FROM notes GROUP BY id", &column(2)).await;
        check("SELECT id, title AS \"Title\" FROM notes", &column(2)).await;
        check("SELECT id, id FROM notes", &column(2)).await;
        check("SELECT a.id, b.id FROM notes AS a JOIN notes AS b ON a.id = b.id", &column(2)).await;
        check(&format!("SELECT '{}' AS a", "x".repeat(60 << 10)), "limit `statement-bytes`").await;
        check(&format!("SELECT {} AS a", vec!["1"; 1_200].join(" + ")), "refused: tokens").await;
    })
    .await;
}

#[tokio::test]
async fn a_view_shows_what_is_committed_and_waits_for_no_writer() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let view = view(&store, NOTES).await;
        let mut open = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
        open.execute("INSERT INTO notes (id, title) VALUES (4, 'four')", vec![], soon()).await.unwrap();
        open.execute("UPDATE notes SET title = 'changed' WHERE id = 1", vec![], soon()).await.unwrap();

        assert_eq!(read(&view, &[("id", Value::Int64(4))]).await.unwrap().rows.len(), 0);
        assert_eq!(read(&view, &[("id", Value::Int64(1))]).await.unwrap().rows, [[Value::Int64(1), text("one")]]);
        open.commit().await.unwrap();
        assert_eq!(read(&view, &[("id", Value::Int64(4))]).await.unwrap().rows.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_read_has_bounds_in_bytes_and_time() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";

        let wide = view(&store, &format!("{many} SELECT '{}' AS wide FROM n", "x".repeat(1_000))).await;
        assert_eq!(read(&wide, &[]).await, Err(StorageError::Limit(limit_codes::BYTES)));
        assert_eq!(wide.read(vec![], 100, soon()).await.unwrap().rows.len(), 100);

        let began = Instant::now();
        let endless = view(&store, ENDLESS).await;
        assert!(began.elapsed() < Duration::from_secs(1), "looking at a view runs none of it");
        assert_eq!(read(&endless, &[]).await, Err(StorageError::Limit(limit_codes::DEADLINE)));
        let began = Instant::now();
        let soonest = endless.read(vec![], 1, Instant::now() + Duration::from_millis(100)).await;
        assert_eq!(soonest, Err(StorageError::Limit(limit_codes::DEADLINE)));
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 3);
    })
    .await;
}

#[tokio::test]
async fn readers_who_hang_leave_the_owner_its_connections() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let endless = view(&store, ENDLESS).await;
        let readers = (0..16).map(|_| {
            let endless = endless.clone();
            tokio::spawn(async move { endless.read(vec![], 1, soon()).await })
        });
        let readers: Vec<_> = readers.collect();

        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 3);
            assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), Err(StorageError::Limit(limit_codes::DEADLINE)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_learns_nothing_of_the_tables_behind_a_view() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let divided =
            view(&store, "SELECT id, CAST(title AS integer) AS number, 1 / (id - id) AS never FROM notes").await;
        if stores.engine == "postgres" {
            let told = StorageError::Invalid("a value that cannot be compared or computed".into());
            assert_eq!(read(&divided, &[]).await, Err(told));
        }
        let notes = view(&store, NOTES).await;
        migrate(&store, &[SCHEMA, "ALTER TABLE notes RENAME COLUMN title TO caption"]).await.unwrap();
        assert_eq!(read(&notes, &[]).await, Err(StorageError::Unavailable));
        migrate(&store, &[SCHEMA, "ALTER TABLE notes RENAME COLUMN title TO caption", "DROP TABLE notes"])
            .await
            .unwrap();
        assert_eq!(read(&notes, &[]).await, Err(StorageError::Unavailable));
    })
    .await;
}

#[tokio::test]
async fn a_view_of_one_tenant_gives_nothing_of_another() {
    for_each_store(async |stores| {
        let bank = stores.with_schema("bank", SCHEMA).await;
        let shop = stores.with_schema("shop", SCHEMA).await;
        execute(&shop, "UPDATE notes SET title = 'of the shop'").await.unwrap();
        execute(&bank, "DELETE FROM notes WHERE id > 1").await.unwrap();

        let (bank, shop) = (view(&bank, NOTES).await, view(&shop, NOTES).await);

        assert_eq!(read(&bank, &[]).await.unwrap().rows, [[Value::Int64(1), text("one")]]);
        assert_eq!(read(&bank, &[("title", text("of the shop"))]).await.unwrap().rows.len(), 0);
        assert_eq!(read(&shop, &[("title", text("of the shop"))]).await.unwrap().rows.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn views_that_are_closed_wait_for_their_reads_and_begin_none() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let views = open(&store, ENDLESS).await.unwrap();
        let view = views.find("notes", 1).unwrap();
        assert!(views.find("notes", 2).is_none() && views.find("note", 1).is_none());
        let reads = |count: usize| {
            let reads = (0..count).map(|_| {
                let view = view.clone();
                tokio::spawn(async move { view.read(vec![], 1, soon()).await })
            });
            reads.collect::<Vec<_>>()
        };
        let (running, waiting) = (reads(limits::VIEW_READERS_MAX), reads(1));
        tokio::task::yield_now().await;

        assert!(views.close(Duration::from_secs(10)).await);

        for read in running.into_iter().chain(waiting) {
            let answer = read.await.unwrap();
            assert!(matches!(answer, Err(StorageError::Limit(_) | StorageError::Unavailable)), "{answer:?}");
        }
        assert_eq!(view.read(vec![], 1, soon()).await, Err(StorageError::Unavailable));
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_view_follows_a_change_of_its_tables_that_keeps_its_columns() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", SCHEMA).await;
        let every = view(&store, "SELECT * FROM notes").await;
        read(&every, &[]).await.unwrap();

        migrate(&store, &[SCHEMA, "ALTER TABLE notes ADD COLUMN size bigint"]).await.unwrap();

        let table = read(&every, &[("id", Value::Int64(1))]).await.unwrap();
        assert_eq!(table.columns, ["id", "title", "size"]);
    })
    .await;
}
