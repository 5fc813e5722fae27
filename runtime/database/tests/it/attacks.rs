//! The attack suite, on both engines, as a plugin meets it: each hostile case is refused with a typed error, in bounded
//! time, no error names another's schema, and legal work of both tenants goes on after it as if it had not been.
//! The engines' walls without the guard are tried in the crate's unit tests.

use std::time::{Duration, Instant};

use bulkhead_database::{Isolation, KvCondition, PluginStore, StorageError, Table, Value};
use sqlx::Connection as _;

use crate::guard_cases::{self, Case};
use crate::stores::{Stores, execute, for_each_store, query, soon};

const SCHEMA: &str = "CREATE TABLE notes (id integer PRIMARY KEY, title text NOT NULL, revision bigint NOT NULL DEFAULT 0); \
     CREATE TABLE tags (note integer REFERENCES notes (id), tag text); \
     CREATE TABLE drafts (id integer, body text DEFAULT 'empty');";
/// Time that an attack may ask for.
const DEADLINE: Duration = Duration::from_millis(300);
/// Time in which one statement of it must be over, on a loaded machine.
const OVER: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_case_is_refused_and_legal_work_goes_on() {
    for_each_store(async |stores| {
        let (victim, hostile) = (prepared(stores, "victim").await, prepared(stores, "hostile").await);
        let names = schemas(stores).await;
        let of_engine = stores.either(guard_cases::hostile_sqlite(), guard_cases::hostile_postgres());
        let cases: Vec<_> = guard_cases::hostile_both().into_iter().chain(of_engine).collect();
        assert!(cases.len() >= 250, "{}", cases.len());

        for case in &cases {
            let answers = send(&hostile, case).await;
            assert!(answers.iter().any(Result::is_err), "{case} passed: {answers:?}");
            check(case, &answers, &names);
            goes_on(&hostile, "hostile", case).await;
            goes_on(&victim, "victim", case).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_take_long_or_much_ends_in_time() {
    for_each_store(async |stores| {
        let (victim, hostile) = (prepared(stores, "victim").await, prepared(stores, "hostile").await);
        let names = schemas(stores).await;

        for case in &guard_cases::bombs() {
            let answers = send(&hostile, case).await;
            check(case, &answers, &names);
            goes_on(&victim, "victim", case).await;
            goes_on(&hostile, "hostile", case).await;
        }
    })
    .await;
}

/// Sends the statements of a case in each way that a guest has.
async fn send(store: &PluginStore, case: &Case) -> Vec<Result<Table, StorageError>> {
    let end = || Instant::now() + DEADLINE;
    let mut answers = Vec::new();
    for text in &case.statements {
        let began = Instant::now();
        answers.push(store.query(text, vec![], end()).await);
        answers.push(store.execute(text, vec![], end()).await);
        answers.push(store.open_cursor(text, vec![], end()).await.map(|_| Table::default()));
        assert!(began.elapsed() < OVER * 3, "{case} took {:?}", began.elapsed());
    }
    let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
    for text in &case.statements {
        let began = Instant::now();
        answers.push(tx.execute(text, vec![], end()).await);
        assert!(began.elapsed() < OVER, "{case} took {:?}", began.elapsed());
    }
    answers
}

fn check(case: &Case, answers: &[Result<Table, StorageError>], names: &[String]) {
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let expected = matches!(
            error,
            StorageError::Denied(_)
                | StorageError::Invalid(_)
                | StorageError::Limit(_)
                | StorageError::Ended
                | StorageError::Parameter(_, _)
                | StorageError::Violation { .. }
        );
        assert!(expected, "{case}: {error:?}");
        let shown = format!("{error:?}");
        assert!(names.iter().all(|name| !shown.contains(name)), "{case}: {shown}");
    }
}

/// The names of the schemas of all pairs: no plugin may learn one.
async fn schemas(stores: &Stores) -> Vec<String> {
    if stores.url.is_empty() {
        return vec![stores.folder.path().display().to_string()];
    }
    let mut owner = sqlx::PgConnection::connect(&stores.url).await.unwrap();
    sqlx::query_scalar("SELECT name FROM storage_schemas UNION SELECT login FROM storage_logins")
        .fetch_all(&mut owner)
        .await
        .unwrap()
}

async fn prepared(stores: &Stores, name: &str) -> PluginStore {
    let store = stores.with_schema(name, SCHEMA).await;
    execute(&store, &format!("INSERT INTO notes (id, title) VALUES (1, 'secret of {name}')")).await.unwrap();
    store.kv_set("secret", name.as_bytes().to_vec(), None, KvCondition::Always, 1, soon()).await.unwrap();
    store
}

async fn goes_on(store: &PluginStore, name: &str, case: &Case) {
    let rows = query(store, "SELECT title FROM notes WHERE id = 1").await.unwrap().rows;
    if name == "victim" {
        assert_eq!(rows, [[Value::Text(format!("secret of {name}"))]], "after {case}");
    }
    execute(store, "INSERT INTO tags (tag) VALUES ('x')").await.unwrap_or_else(|error| panic!("after {case}: {error}"));
    execute(store, "DELETE FROM tags").await.unwrap();
    let secret = store.kv_get("secret", 1, soon()).await.unwrap().unwrap();
    assert_eq!(secret.value, name.as_bytes(), "after {case}");
}
