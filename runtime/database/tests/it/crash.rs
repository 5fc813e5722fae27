//! A process that writes is killed: no row that it was told is safe may be lost, and the file stays sound.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bulkhead_database::tenant::{PluginStorage, StorageConfig};
use bulkhead_database::{KvCondition, Value};

use crate::engines::{plugin, tenant};
use crate::stores::{QUOTA_BYTES, migrate, number, query, soon};

/// Folder of the child's storage; set for the child alone.
const FOLDER: &str = "BULKHEAD_TEST_CRASH_FOLDER";
/// Kills.
const ROUNDS: usize = 5;
/// Acknowledged rows before each kill.
const ROWS: usize = 40;

#[tokio::test]
async fn no_acknowledged_row_is_lost_when_the_process_is_killed() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut acknowledged = Vec::new();

    for _ in 0..ROUNDS {
        acknowledged.extend(write_and_kill(folder.path().to_path_buf()));
    }

    let storage = PluginStorage::open(folder.path(), StorageConfig::default()).await.unwrap();
    let store = storage.store(&tenant("bank"), &plugin("acme.notes"), QUOTA_BYTES);
    let rows = query(&store, "SELECT id FROM notes ORDER BY id").await.unwrap().rows;
    for id in &acknowledged {
        assert!(rows.contains(&vec![Value::Int64(*id)]), "row {id} was acknowledged and is lost");
        assert!(
            store.kv_get(&format!("k{id}"), 1, soon()).await.unwrap().is_some(),
            "key {id} was acknowledged and is lost"
        );
    }
    assert!(acknowledged.len() >= ROUNDS * ROWS);
    assert_eq!(number(&store, "SELECT count(*) FROM notes WHERE title <> 'whole'").await, 0);
    store.execute("INSERT INTO notes (title) VALUES ('whole')", vec![], soon()).await.unwrap();
}

/// Starts this test program as a writer, reads what it acknowledges, kills it in the middle of its work.
fn write_and_kill(folder: PathBuf) -> Vec<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_writer_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < ROWS {
        let line = lines.next().expect("the writer ended by itself");
        acknowledged.extend(acknowledgement(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts too.
    acknowledged.extend(lines.filter_map(|line| acknowledgement(&line)));
    acknowledged
}

/// A line cut off by the kill has no end mark and is no acknowledgement.
fn acknowledgement(line: &str) -> Option<i64> {
    line.strip_prefix("safe ")?.strip_suffix('.')?.parse().ok()
}

/// The child of the test above; by itself it has nothing to do.
#[tokio::test]
async fn a_writer_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let storage = PluginStorage::open(folder.as_ref(), StorageConfig::default()).await.unwrap();
    let store = storage.store(&tenant("bank"), &plugin("acme.notes"), QUOTA_BYTES);
    migrate(&store, &["CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT)"]).await.unwrap();
    loop {
        let row = store
            .execute("INSERT INTO notes (title) VALUES ('whole') RETURNING id", vec![], soon())
            .await
            .unwrap()
            .rows;
        let [Value::Int64(id)] = row[0].as_slice() else { panic!("{row:?}") };
        store.kv_set(&format!("k{id}"), vec![], None, KvCondition::Always, 1, soon()).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nsafe {id}.").unwrap();
        out.flush().unwrap();
    }
}
