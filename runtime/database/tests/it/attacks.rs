//! The attack suite: each hostile text of `attacks.txt` gets the refusal that stands there, in bounded time, and
//! legal work of both tenants goes on after it as if it had not been.

use std::time::{Duration, Instant};

use bulkhead_database::{Isolation, KvCondition, PluginStore, StorageError, Table, Value};

use crate::stores::{Stores, execute, query, soon};

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
    let stores = Stores::new().await;
    let (victim, hostile) = (prepared(&stores, "victim").await, prepared(&stores, "hostile").await);
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
    let files: Vec<_> = walk(stores.folder.path());
    assert!(files.iter().all(|name| name.starts_with("acme__notes.db")), "{files:?}");
}

/// As a query, a statement of its own, and inside a transaction.
async fn each_way(store: &PluginStore, text: &str) -> [Result<Table, StorageError>; 3] {
    let end = || Instant::now() + DEADLINE;
    let query = store.query(text, vec![], end()).await;
    let execute = store.execute(text, vec![], end()).await;
    let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
    let inside = tx.execute(text, vec![], end()).await;
    [query, execute, inside]
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

async fn prepared(stores: &Stores, name: &str) -> PluginStore {
    let store = stores.with_schema(name, SCHEMA).await;
    execute(&store, &format!("INSERT INTO notes (id, title) VALUES (1, 'secret of {name}')")).await.unwrap();
    store.kv_set("secret", name.as_bytes().to_vec(), None, KvCondition::Always, 1, soon()).await.unwrap();
    store
}

async fn goes_on(store: &PluginStore, name: &str) {
    let rows = query(store, "SELECT title FROM notes ORDER BY id").await.unwrap().rows;
    assert_eq!(rows, [[Value::Text(format!("secret of {name}"))]]);
    execute(store, "INSERT INTO notes (id, title) VALUES (2, 'x')").await.unwrap();
    assert_eq!(execute(store, "DELETE FROM notes WHERE id = 2").await.unwrap().affected, 1);
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
