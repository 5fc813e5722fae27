//! Plugin SQL on a file: what is `SQLite`'s own. What both engines do is in `sql.rs`.

use std::time::{Duration, Instant};

use bulkhead_database::tenant::{StorageConfig, limit_codes};
use bulkhead_database::{StorageError, Value};

use crate::engines::{plugin, tenant};
use crate::stores::{Stores, execute, number, query, soon};

const NOTES: &str =
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, size INTEGER CHECK (size >= 0))";

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
    let stores = Stores::with(StorageConfig { open_files_max: 3, ..StorageConfig::default() }).await;
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
