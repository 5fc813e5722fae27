//! What is read for an archive: every table of one moment, the same on both engines, however its columns are named and
//! whatever is in them.

use bulkhead_database::tenant::{TablePiece, limits};
use bulkhead_database::{PluginStore, StorageError, Value};
use tokio::sync::mpsc;

use crate::engines::{plugin, tenant};
use crate::stores::{QUOTA_BYTES, Stores, execute, for_each_store, soon};

/// A table as it was read: its name, its columns, its rows.
type Read = (String, Vec<String>, Vec<Vec<Value>>);

/// Everything that is in a store's tables, and the bytes of the largest piece.
async fn export(store: &PluginStore) -> (Vec<Read>, usize) {
    let (sender, mut receiver) = mpsc::channel(1);
    let collect = async {
        let (mut tables, mut largest) = (Vec::<Read>::new(), 0);
        while let Some(piece) = receiver.recv().await {
            match piece {
                TablePiece::Begin { table, columns } => tables.push((table, columns, Vec::new())),
                TablePiece::Rows(rows) => {
                    largest = largest.max(rows.iter().flatten().map(Value::size_bytes).sum());
                    tables.last_mut().unwrap().2.extend(rows);
                }
            }
        }
        (tables, largest)
    };
    let (read, collected) = tokio::join!(store.export_tables(sender, soon()), collect);
    read.unwrap();
    collected
}

async fn insert(store: &PluginStore, text: &str, params: Vec<Value>) {
    store.execute(text, params, soon()).await.unwrap();
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

const EVERY_KIND: &str = "CREATE TABLE kinds (id BIGINT PRIMARY KEY, flag BOOLEAN, ratio DOUBLE PRECISION, \
     amount NUMERIC, name TEXT, raw BYTEA, doc JSON, at TIMESTAMPTZ, uid UUID)";

async fn every_kind(stores: &Stores) -> Vec<Read> {
    let schema = format!(
        "{EVERY_KIND}; CREATE TABLE empty (a TEXT); \
         CREATE TABLE strange (\"it's\" TEXT, \"na\u{ef}ve; DROP\" TEXT, \"select\" TEXT, PRIMARY KEY (\"select\", \"it's\"))"
    );
    let store = stores.with_schema("bank", &schema).await;
    let values = "INSERT INTO kinds (id, flag, ratio, amount, name, raw, doc, at, uid) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    for id in [10, 2, i64::MAX] {
        let cells = vec![
            Value::Int64(id),
            Value::Boolean(id == 2),
            Value::Float64(f64::NEG_INFINITY),
            Value::Decimal("12.25".into()),
            text("a\n\"\u{10ffff}"),
            Value::Bytes(vec![0, 255]),
            Value::Json("{\"a\": [1.10]}".into()),
            Value::Timestamp(-1),
            Value::Uuid(1, u64::MAX),
        ];
        insert(&store, values, cells).await;
    }
    insert(&store, "INSERT INTO kinds (id) VALUES ($1)", vec![Value::Int64(-1)]).await;
    let strange = "INSERT INTO strange (\"it's\", \"na\u{ef}ve; DROP\", \"select\") VALUES ($1, $2, $3)";
    for (one, two) in [("b", "x"), ("B", "x"), ("\u{e9}", "x"), ("a", "y"), ("Z", "W")] {
        insert(&store, strange, vec![text(one), Value::Null, text(two)]).await;
    }
    store.kv_set("k", b"v".to_vec(), None, bulkhead_database::KvCondition::Always, 1, soon()).await.unwrap();
    export(&store).await.0
}

#[tokio::test]
async fn both_engines_export_the_same_tables_rows_and_order() {
    let on_files = every_kind(&Stores::new().await).await;
    let on_server = every_kind(&Stores::on_server(crate::stores::server_config()).await).await;

    assert_eq!(on_files, on_server);
    let names: Vec<&str> = on_files.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["empty", "kinds", "strange"], "no table of the host");
    let ids: Vec<&Value> = on_files[1].2.iter().map(|row| &row[0]).collect();
    assert_eq!(ids, [-1, 2, 10, i64::MAX].map(Value::Int64).iter().collect::<Vec<_>>());
    assert_eq!(on_files[1].2[0][1..], vec![Value::Null; 8]);
    assert_eq!(on_files[2].1, ["it's", "na\u{ef}ve; DROP", "select"]);
    let order: Vec<&Value> = on_files[2].2.iter().map(|row| &row[0]).collect();
    assert_eq!(order, ["Z", "B", "b", "\u{e9}", "a"].map(text).iter().collect::<Vec<_>>(), "by bytes, the key's order");
}

#[tokio::test]
async fn rows_of_a_mebibyte_come_one_by_one_and_small_ones_in_pieces() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE notes (id BIGINT PRIMARY KEY, body TEXT)").await;
        let large = "x".repeat(1 << 20);
        for id in 0..3 {
            insert(&store, "INSERT INTO notes (id, body) VALUES ($1, $2)", vec![Value::Int64(id), text(&large)]).await;
        }
        let many = "WITH RECURSIVE c (n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM c WHERE n < 12000) \
             INSERT INTO notes (id, body) SELECT n, 'small' FROM c";
        execute(&store, many).await.unwrap();

        let (tables, largest) = export(&store).await;

        assert_eq!(tables[0].2.len(), 12_001);
        assert!(largest <= limits::EXPORT_PIECE_BYTES + large.len() + 8, "{largest}");
    })
    .await;
}

#[tokio::test]
async fn an_export_sees_one_moment_and_holds_up_no_writer() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE a (n BIGINT); CREATE TABLE b (n BIGINT)").await;
        insert(&store, "INSERT INTO a (n) VALUES ($1)", vec![Value::Int64(1)]).await;
        insert(&store, "INSERT INTO b (n) VALUES ($1)", vec![Value::Int64(1)]).await;
        let (sender, mut receiver) = mpsc::channel(1);
        let write_between = async {
            let first = receiver.recv().await.unwrap();
            insert(&store, "INSERT INTO b (n) VALUES ($1)", vec![Value::Int64(2)]).await;
            let mut pieces = vec![first];
            while let Some(piece) = receiver.recv().await {
                pieces.push(piece);
            }
            pieces
        };

        let (read, pieces) = tokio::join!(store.export_tables(sender, soon()), write_between);

        read.unwrap();
        let last = pieces.last().unwrap();
        assert_eq!(last, &TablePiece::Rows(vec![vec![Value::Int64(1)]]), "what came later is not in it");
        assert_eq!(export(&store).await.0[1].2.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_export_that_nobody_takes_ends_and_leaves_the_store_as_it_was() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE a (n BIGINT)").await;
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);

        assert_eq!(store.export_tables(sender, soon()).await, Err(StorageError::Ended));

        insert(&store, "INSERT INTO a (n) VALUES ($1)", vec![Value::Int64(1)]).await;
        assert_eq!(export(&store).await.0[0].2.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_anothers_is_in_no_export_and_looking_makes_nothing() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE a (n BIGINT)").await;
        insert(&store, "INSERT INTO a (n) VALUES ($1)", vec![Value::Int64(7)]).await;
        let (stranger, other) =
            (stores.empty("shop"), stores.storage.store(&tenant("bank"), &plugin("acme.other"), QUOTA_BYTES));

        assert!(store.is_there().await.unwrap());
        for empty in [&stranger, &other] {
            assert!(!empty.is_there().await.unwrap());
        }
        let theirs = stores.with_schema("shop", "CREATE TABLE a (n BIGINT)").await;
        assert_eq!(export(&theirs).await.0, [("a".to_owned(), vec!["n".to_owned()], Vec::new())]);
    })
    .await;
}

#[tokio::test]
async fn a_cell_that_no_value_can_hold_comes_as_its_text() {
    let stores = Stores::on_server(crate::stores::server_config()).await;
    let schema = "CREATE TABLE odd (id BIGINT PRIMARY KEY, at TIMESTAMPTZ, amount NUMERIC, took INTERVAL)";
    let store = stores.with_schema("bank", schema).await;
    let insert = "INSERT INTO odd (id, at, amount, took) VALUES (1, CAST('infinity' AS TIMESTAMPTZ), CAST('NaN' AS NUMERIC), \
         CAST('1 day' AS INTERVAL)), (2, CAST('-infinity' AS TIMESTAMPTZ), CAST('-Infinity' AS NUMERIC), NULL)";
    execute(&store, insert).await.unwrap();

    let rows = export(&store).await.0.remove(0).2;

    assert_eq!(rows[0][1..], [text("infinity"), text("NaN"), text("1 day")]);
    assert_eq!(rows[1][1..], [text("-infinity"), text("-Infinity"), Value::Null]);
}
