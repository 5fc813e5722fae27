//! Two tenants do random things in random order: neither ever sees a trace of the other.

use bulkhead_database::{Isolation, KvCondition, PluginStore, Value};
use proptest::prelude::*;

use crate::stores::{Stores, server_config, soon};

#[derive(Clone, Copy, Debug)]
enum Act {
    Insert(u8),
    InsertAndDrop(u8),
    Delete(u8),
    Set(u8),
    Remove(u8),
    Hostile(u8),
    Cursor,
}

const HOSTILE: [&str; 6] = [
    "ATTACH 'file:../other/acme__notes.db' AS other",
    "SELECT * FROM __kv",
    "BEGIN",
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
    "PRAGMA locking_mode = EXCLUSIVE",
    "SELECT $0",
];

fn acts() -> impl Strategy<Value = Vec<(bool, Act)>> {
    let act = prop_oneof![
        any::<u8>().prop_map(Act::Insert),
        any::<u8>().prop_map(Act::InsertAndDrop),
        any::<u8>().prop_map(Act::Delete),
        any::<u8>().prop_map(Act::Set),
        any::<u8>().prop_map(Act::Remove),
        any::<u8>().prop_map(Act::Hostile),
        Just(Act::Cursor),
    ];
    proptest::collection::vec((any::<bool>(), act), 1..40)
}

async fn run(store: &PluginStore, owner: &str, act: Act) {
    let row = |n: u8| vec![Value::Text(format!("{owner}-{n}"))];
    let insert = "INSERT INTO notes (title) VALUES ($1)";
    match act {
        Act::Insert(n) => drop(store.execute(insert, row(n), soon()).await.unwrap()),
        Act::InsertAndDrop(n) => {
            let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
            tx.execute(insert, row(n), soon()).await.unwrap();
        }
        Act::Delete(n) => drop(store.execute("DELETE FROM notes WHERE title = $1", row(n), soon()).await.unwrap()),
        Act::Set(n) => {
            let value = format!("{owner}-{n}").into_bytes();
            store.kv_set(&format!("k{n}"), value, None, KvCondition::Always, 1, soon()).await.unwrap();
        }
        Act::Remove(n) => drop(store.kv_delete(&format!("k{n}"), KvCondition::Always, 1, soon()).await.unwrap()),
        Act::Hostile(n) => {
            let text = HOSTILE[usize::from(n) % HOSTILE.len()];
            store.execute(text, vec![], soon()).await.unwrap_err();
        }
        Act::Cursor => {
            let mut cursor = store.open_cursor("SELECT title FROM notes", vec![], soon()).await.unwrap();
            cursor.next(1, soon()).await.unwrap();
        }
    }
}

/// Everything that a tenant can read of its own.
async fn all(store: &PluginStore) -> Vec<String> {
    let rows = store.query("SELECT title FROM notes", vec![], soon()).await.unwrap().rows;
    let mut seen: Vec<String> = rows
        .into_iter()
        .flatten()
        .map(|value| match value {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    for key in store.kv_scan("", None, 1_000, 1, soon()).await.unwrap().keys {
        let entry = store.kv_get(&key, 1, soon()).await.unwrap().unwrap();
        seen.push(String::from_utf8(entry.value).unwrap());
    }
    seen
}

#[test]
fn whatever_two_tenants_do_each_sees_only_its_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    proptest!(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() }, |(acts in acts())| {
        for on_server in [false, true] {
            let (left, right) = runtime.block_on(played(&acts, on_server));
            prop_assert!(left.iter().all(|text| text.starts_with("left-")), "{left:?}");
            prop_assert!(right.iter().all(|text| text.starts_with("right-")), "{right:?}");
            let inserted = |side: bool| acts.iter().filter(|(is_left, act)| *is_left == side && matches!(act, Act::Insert(_))).count();
            prop_assert!(left.len() <= inserted(true) + acts.len() && right.len() <= inserted(false) + acts.len());
        }
    });
}

/// What both tenants see after these acts.
async fn played(acts: &[(bool, Act)], on_server: bool) -> (Vec<String>, Vec<String>) {
    let stores = if on_server { Stores::on_server(server_config()).await } else { Stores::new().await };
    let schema = "CREATE TABLE notes (title TEXT)";
    let (left, right) = (stores.with_schema("left", schema).await, stores.with_schema("right", schema).await);
    for (is_left, act) in acts {
        let (store, owner) = if *is_left { (&left, "left") } else { (&right, "right") };
        run(store, owner, *act).await;
    }
    let seen = (all(&left).await, all(&right).await);
    stores.close().await;
    seen
}
