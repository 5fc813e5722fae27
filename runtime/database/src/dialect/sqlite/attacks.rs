//! The file's own wall, tried with no guard before it: each hostile text of `attacks.txt` gets the refusal that stands
//! there, in bounded time, and legal work of both tenants goes on after it as if it had not been.
//! The same with the guard is in the crate's integration tests.

use std::time::{Duration, Instant};

use std::sync::Arc;

use bulkhead_model::{PluginId, TenantId};
use tempfile::TempDir;

use super::raw::memory_used_bytes;
use super::{Scope, Storage, Store};
use crate::tenant::admission::Admitted;
use crate::tenant::kv::Put;
use crate::tenant::value::{KvCondition, StorageError, Table, Value};
use crate::tenant::{PluginMigration, Run};

const ATTACKS: &str = include_str!("attacks.txt");
const SCHEMA: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT NOT NULL, x BLOB); \
     CREATE TABLE tags (note INTEGER REFERENCES notes (id), tag TEXT);";
/// Time that an attack may ask for.
const DEADLINE: Duration = Duration::from_millis(250);
/// Time in which it must be over, on a loaded machine.
const OVER: Duration = Duration::from_secs(3);

struct Attack {
    line: usize,
    wanted: &'static str,
    text: String,
}

/// A case is a line `== <wanted refusal>` and the text up to the next one. `\0` stands for NUL, `%N:piece%` for
/// `piece` N times.
fn attacks() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = Vec::new();
    for (line, content) in (1..).zip(ATTACKS.lines()).filter(|(_, content)| !content.starts_with('#')) {
        match (content.strip_prefix("== "), attacks.last_mut()) {
            (Some(wanted), _) => attacks.push(Attack { line, wanted, text: String::new() }),
            (None, Some(attack)) => attack.text.push_str(&format!("{content}\n")),
            (None, None) => {}
        }
    }
    for attack in &mut attacks {
        attack.text = expand(attack.text.trim_end_matches('\n'));
    }
    attacks
}

fn expand(text: &str) -> String {
    let mut expanded = String::new();
    for (place, part) in text.split("%%").enumerate() {
        match part.split_once(':').filter(|_| place % 2 == 1) {
            Some((count, piece)) => expanded.push_str(&piece.repeat(count.parse().unwrap())),
            None => expanded.push_str(part),
        }
    }
    expanded.replace("\\0", "\0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_statement_is_refused_as_expected_and_legal_work_goes_on() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(folder.path(), 8).await.unwrap();
    let (victim, hostile) = (prepared(&storage, "victim").await, prepared(&storage, "hostile").await);
    let attacks = attacks();
    assert!(attacks.len() >= 90, "{} attacks", attacks.len());

    let mut wrong = Vec::new();
    for attack in &attacks {
        let began = Instant::now();
        for answer in each_way(&hostile, &attack.text).await {
            let found = shown(&answer);
            if !attack.wanted.split(" | ").any(|wanted| found.starts_with(wanted)) {
                wrong.push(format!("attacks.txt:{}: wanted {}, found {found}", attack.line, attack.wanted));
            }
        }
        assert!(began.elapsed() < OVER * 3, "attacks.txt:{} took {:?}", attack.line, began.elapsed());
        goes_on(&hostile, "hostile").await;
        goes_on(&victim, "victim").await;
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files: Vec<_> = walk(folder.path());
    assert!(files.iter().all(|name| name.starts_with("acme__notes.db")), "{files:?}");
}

/// As a query, a statement of its own, inside a transaction, and in a scope.
async fn each_way(store: &Store, text: &str) -> [Result<Table, StorageError>; 4] {
    let end = || Instant::now() + DEADLINE;
    let text = Admitted::unguarded(text);
    let query = store.query(&text, vec![], end()).await;
    let execute = store.execute(&text, vec![], end()).await;
    let tx = store.begin(soon()).await.unwrap();
    let inside = tx.execute(&text, vec![], end()).await;
    drop(tx);
    let scope = Arc::new(Scope::new(store, soon()));
    let in_scope = scope.begin_call().execute(&text, vec![], end()).await;
    scope.end().await;
    [query, execute, inside, in_scope]
}

/// What would end a transaction or leave its savepoints.
const ESCAPES: [&str; 11] = [
    "COMMIT",
    "END",
    "ROLLBACK",
    "BEGIN",
    "SAVEPOINT __work",
    "RELEASE __work",
    "ROLLBACK TO __work",
    "PRAGMA journal_mode = DELETE",
    "VACUUM",
    "INSERT OR ROLLBACK INTO notes (id, title) VALUES (1, 'again')",
    "INSERT OR FAIL INTO notes (id, title) VALUES (5, 'first'), (1, 'again')",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_no_statement_keeps_what_a_failed_call_of_a_scope_wrote() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(folder.path(), 8).await.unwrap();
    let store = prepared(&storage, "hostile").await;
    for escape in ESCAPES {
        let scope = Arc::new(Scope::new(&store, soon()));
        execute(&scope.begin_call(), "INSERT INTO notes (id, title) VALUES (2, 'kept')").await;
        scope.end_call(true).await.unwrap();

        let call = scope.begin_call();
        execute(&call, "INSERT INTO notes (id, title) VALUES (3, 'undone')").await;
        let answer = call.execute(&Admitted::unguarded(escape), vec![], soon()).await;
        assert!(answer.is_err(), "{escape}: {answer:?}");
        drop(
            call.execute(&Admitted::unguarded("INSERT INTO notes (id, title) VALUES (4, 'undone')"), vec![], soon())
                .await,
        );
        scope.end_call(false).await.unwrap();
        let kept = match scope.seal().await {
            Ok(sealed) => {
                sealed.unwrap().commit().await.unwrap();
                vec![vec![Value::Int64(1)], vec![Value::Int64(2)]]
            }
            // The engine's own end of a transaction: nothing of it is left.
            Err(error) => {
                assert_eq!((error, escape.contains("OR ROLLBACK")), (StorageError::Ended, true), "{escape}");
                vec![vec![Value::Int64(1)]]
            }
        };

        assert_eq!(execute(&store, "SELECT id FROM notes ORDER BY id").await.rows, kept, "{escape}");
        execute(&store, "DELETE FROM notes WHERE id <> 1").await;
        goes_on(&store, "hostile").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_scope_could_undo_takes_no_memory() {
    /// Far more than a connection's own cache.
    const ALLOWED_BYTES: u64 = 8 << 20;
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(folder.path(), 8).await.unwrap();
    let (tenant, plugin): (TenantId, PluginId) = ("bank".parse().unwrap(), "acme.notes".parse().unwrap());
    let store = storage.store(&tenant, &plugin, 128 << 20);
    let schema = PluginMigration::new(1, "schema", SCHEMA.as_bytes()).unwrap();
    store.migrate(vec![schema], Arc::default(), Run::Apply, 7).await.unwrap();
    for _ in 0..32 {
        fill(&store, "INSERT INTO notes (title, x) VALUES ('x', $1)", 0).await;
    }
    let scope = Arc::new(Scope::new(&store, soon()));
    let call = scope.begin_call();

    let before = memory_used_bytes();
    for id in 1..=32 {
        fill(&call, &format!("UPDATE notes SET x = $1 WHERE id = {id}"), 1).await;
    }
    let grown = memory_used_bytes().saturating_sub(before);

    assert!(grown < ALLOWED_BYTES, "{grown} bytes");
    scope.end_call(false).await.unwrap();
    let changed = execute(&store, "SELECT count(*) FROM notes WHERE hex(substr(x, 1, 1)) = '01'").await;
    assert_eq!(changed.rows, [[Value::Int64(0)]]);
}

/// Writes a mebibyte of `byte`.
async fn fill(store: &Store, text: &str, byte: u8) {
    let params = vec![Value::Bytes(vec![byte; 1 << 20])];
    store.execute(&Admitted::unguarded(text), params, soon()).await.unwrap();
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn execute(store: &Store, text: &str) -> Table {
    store.execute(&Admitted::unguarded(text), vec![], soon()).await.unwrap()
}

fn shown(answer: &Result<Table, StorageError>) -> String {
    match answer {
        Ok(table) => format!("ok {:?}", table.rows.first()),
        Err(StorageError::Denied(code)) => format!("denied {code}"),
        Err(StorageError::Invalid(text)) => format!("invalid {text}"),
        Err(StorageError::Limit(code)) => format!("limit {code}"),
        Err(StorageError::Parameter(place, _)) => format!("parameter {place}"),
        Err(other) => format!("{other:?}"),
    }
}

async fn prepared(storage: &Storage, name: &str) -> Store {
    let (tenant, plugin): (TenantId, PluginId) = (name.parse().unwrap(), "acme.notes".parse().unwrap());
    let store = storage.store(&tenant, &plugin, 8 << 20);
    let schema = PluginMigration::new(1, "schema", SCHEMA.as_bytes()).unwrap();
    store.migrate(vec![schema], Arc::default(), Run::Apply, 7).await.unwrap();
    execute(&store, &format!("INSERT INTO notes (id, title) VALUES (1, 'secret of {name}')")).await;
    let put = Put { key: "secret".into(), value: name.into(), ttl_ms: None, when: KvCondition::Always };
    store.kv_set(put, 1, soon()).await.unwrap();
    store
}

async fn goes_on(store: &Store, name: &str) {
    let rows = execute(store, "SELECT title FROM notes ORDER BY id").await.rows;
    assert_eq!(rows, [[Value::Text(format!("secret of {name}"))]]);
    execute(store, "INSERT INTO notes (id, title) VALUES (2, 'x')").await;
    assert_eq!(execute(store, "DELETE FROM notes WHERE id = 2").await.affected, 1);
    let secret = store.kv_get("secret", 1, soon()).await.unwrap().unwrap();
    assert_eq!(secret.value, name.as_bytes());
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            names.extend(walk(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names
}
