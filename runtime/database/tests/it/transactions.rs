//! What a guest holds between two calls: transactions and cursors, how they end, who waits for them.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::limit_codes;
use bulkhead_database::{Isolation, StorageError, Value};

use crate::stores::{execute, for_each_store, number, query, soon};

const NOTES: &str = "CREATE TABLE notes (title TEXT NOT NULL UNIQUE)";

#[tokio::test]
async fn a_committed_transaction_stays_and_a_dropped_one_does_not() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;

        let mut kept = store.begin(Isolation::Serializable, soon()).await.unwrap();
        kept.execute("INSERT INTO notes (title) VALUES ('kept')", vec![], soon()).await.unwrap();
        assert_eq!(kept.query("SELECT title FROM notes", vec![], soon()).await.unwrap().rows.len(), 1);
        kept.commit().await.unwrap();
        let mut dropped = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
        dropped.execute("INSERT INTO notes (title) VALUES ('dropped')", vec![], soon()).await.unwrap();
        drop(dropped);

        execute(&store, "INSERT INTO notes (title) VALUES ('after')").await.unwrap();
        let titles = query(&store, "SELECT title FROM notes ORDER BY title").await.unwrap().rows;
        assert_eq!(titles, [[Value::Text("after".into())], [Value::Text("kept".into())]]);
    })
    .await;
}

#[tokio::test]
async fn an_error_ends_a_transaction_but_a_refusal_does_not() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
        tx.execute("INSERT INTO notes (title) VALUES ('a')", vec![], soon()).await.unwrap();

        let refused = tx.execute("DROP TABLE notes", vec![], soon()).await;
        assert_eq!(refused, Err(StorageError::Denied("statement:schema".into())));
        let violated = tx.execute("INSERT INTO notes (title) VALUES ('a')", vec![], soon()).await;
        assert!(matches!(violated, Err(StorageError::Violation { .. })));

        assert_eq!(tx.query("SELECT 1", vec![], soon()).await, Err(StorageError::Ended));
        assert_eq!(tx.commit().await, Err(StorageError::Ended));
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_ends_by_itself_when_its_time_is_up() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let mut tx = store.begin(Isolation::Serializable, Instant::now() + Duration::from_millis(150)).await.unwrap();
        tx.execute("INSERT INTO notes (title) VALUES ('a')", vec![], soon()).await.unwrap();

        // Nobody uses or drops it: the next writer of the same gets its turn all the same.
        execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();

        assert_eq!(
            tx.execute("INSERT INTO notes (title) VALUES ('c')", vec![], soon()).await,
            Err(StorageError::Ended)
        );
        assert_eq!(query(&store, "SELECT title FROM notes").await.unwrap().rows, [[Value::Text("a".into())]]);
    })
    .await;
}

#[tokio::test]
async fn a_writer_waits_for_the_one_before_and_never_sees_a_lock() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let store = store.clone();
            writers.spawn(async move {
                for place in 0..10 {
                    let title = Value::Text(format!("{writer}-{place}"));
                    store.execute("INSERT INTO notes (title) VALUES ($1)", vec![title], soon()).await.unwrap();
                }
            });
        }

        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }

        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 80);
    })
    .await;
}

#[tokio::test]
async fn a_writer_behind_a_long_transaction_is_told_so_and_readers_go_on() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let mut tx = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
        tx.execute("INSERT INTO notes (title) VALUES ('b')", vec![], soon()).await.unwrap();

        let blocked = execute(&store, "INSERT INTO notes (title) VALUES ('b')").await;
        let read = query(&store, "SELECT count(*) FROM notes").await;

        assert_eq!(blocked, Err(StorageError::Limit(limit_codes::LOCK_WAIT)));
        assert!(read.is_ok());
        drop(tx);
        execute(&store, "INSERT INTO notes (title) VALUES ('b')").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_so_many_transactions_and_cursors_are_open_at_once() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
        let cursor = store.open_cursor("SELECT 1", vec![], soon()).await.unwrap();

        let third = store.open_cursor("SELECT 1", vec![], soon()).await.unwrap_err();
        assert_eq!(third, StorageError::Limit(limit_codes::OPEN_TRANSACTIONS));

        drop((tx, cursor));
        execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
        store.open_cursor("SELECT 1", vec![], soon()).await.unwrap();
    })
    .await;
}

const COUNT_TO: &str = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) SELECT n FROM c";

#[tokio::test]
async fn a_cursor_gives_all_rows_in_pages_and_then_none() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let mut cursor = store.open_cursor(COUNT_TO, vec![Value::Int64(25_000)], soon()).await.unwrap();

        let mut sizes = Vec::new();
        loop {
            let rows = cursor.next(u32::MAX, soon()).await.unwrap();
            sizes.push(rows.len());
            if rows.is_empty() {
                break;
            }
        }

        assert_eq!(cursor.columns(), ["n"]);
        assert_eq!(sizes, [10_000, 10_000, 5_000, 0]);
        assert!(cursor.next(1, soon()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_cursor_sees_one_moment_while_others_write() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        execute(&store, "INSERT INTO notes (title) VALUES ('a'), ('b'), ('c')").await.unwrap();
        let mut cursor = store.open_cursor("SELECT title FROM notes ORDER BY title", vec![], soon()).await.unwrap();
        assert_eq!(cursor.next(1, soon()).await.unwrap().len(), 1);

        execute(&store, "DELETE FROM notes").await.unwrap();

        assert_eq!(cursor.next(10, soon()).await.unwrap().len(), 2);
        assert_eq!(number(&store, "SELECT count(*) FROM notes").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_nobody_uses_ends_before_its_time() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", NOTES).await;
        let mut tx = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
        tx.execute("INSERT INTO notes (title) VALUES ('b')", vec![], soon()).await.unwrap();

        // Each try waits half a second; a transaction that is used may last ten times as long.
        let mut tries = 0;
        while execute(&store, "INSERT INTO notes (title) VALUES ('b')").await.is_err() {
            tries += 1;
            assert!(tries < 6, "the idle transaction keeps the row");
        }

        assert_eq!(tx.query("SELECT 1", vec![], soon()).await, Err(StorageError::Ended));
    })
    .await;
}
