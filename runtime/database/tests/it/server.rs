//! Storage on a database server: what a file does not have to prove. Locks and half-done work after a death, logins,
//! shares, indexes built outside of transactions, and what is told of a database that is not closed enough.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginMigration, Run, StorageConfig};
use bulkhead_database::{Isolation, StorageError, Value};
use sqlx::{Connection as _, PgConnection};

use crate::engines::{plugin, tenant};
use crate::postgres;
use crate::stores::{QUOTA_BYTES, Stores, execute, migrate, number, query, server_config, soon};

const NOTES: &str = "CREATE TABLE notes (title TEXT NOT NULL UNIQUE)";
/// Database of the child's storage; set for the child alone.
const DATABASE: &str = "BULKHEAD_TEST_CRASH_DATABASE";

async fn on_server() -> Stores {
    Stores::on_server(server_config()).await
}

async fn owner(stores: &Stores) -> PgConnection {
    PgConnection::connect(&stores.url).await.unwrap()
}

/// Waits until no session of a plugin's login is inside of a transaction.
async fn nothing_is_open(stores: &Stores) {
    const OPEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND usename LIKE 'bh\\_%' AND (state <> 'idle' OR xact_start IS NOT NULL)";
    let mut owner = owner(stores).await;
    let began = Instant::now();
    while sqlx::query_scalar::<_, i64>(OPEN).fetch_one(&mut owner).await.unwrap() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "a dead transaction stays open");
    }
}

#[tokio::test]
async fn a_dropped_transaction_or_cursor_leaves_no_lock() {
    let stores = on_server().await;
    let store = stores.with_schema("bank", NOTES).await;
    let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
    tx.execute("INSERT INTO notes (title) VALUES ('a')", vec![], soon()).await.unwrap();
    let mut cursor = store.open_cursor("SELECT title FROM notes", vec![], soon()).await.unwrap();
    cursor.next(1, soon()).await.unwrap();

    drop((tx, cursor));

    nothing_is_open(&stores).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_in_a_transaction_leaves_no_lock() {
    let stores = on_server().await;
    let store = stores.with_schema("bank", NOTES).await;
    let mut tx = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
    tx.execute("INSERT INTO notes (title) VALUES ('a')", vec![], soon()).await.unwrap();
    let endless = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

    let gone = tokio::time::timeout(Duration::from_millis(100), tx.query(endless, vec![], soon())).await;

    assert!(gone.is_err());
    nothing_is_open(&stores).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_killed_in_a_transaction_leaves_nothing_half_done() {
    let url = postgres::database();
    let stores = Stores::on_database(url.clone(), server_config()).await;
    let store = stores.with_schema("bank", NOTES).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_host_stays_in_a_transaction_until_it_is_killed", "--nocapture"])
        .env(DATABASE, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "inside"), "the child ended by itself");

    child.kill().unwrap();
    child.wait().unwrap();

    nothing_is_open(&stores).await;
    let titles = query(&store, "SELECT title FROM notes ORDER BY title").await.unwrap().rows;
    assert_eq!(titles, [[Value::Text("acknowledged".into())]]);
    execute(&store, "INSERT INTO notes (title) VALUES ('half')").await.unwrap();
}

/// The child of the test above; by itself it has nothing to do.
#[tokio::test]
async fn a_host_stays_in_a_transaction_until_it_is_killed() {
    let Some(url) = std::env::var_os(DATABASE) else {
        return;
    };
    let stores = Stores::on_database(url.into_string().unwrap(), server_config()).await;
    let store = stores.empty("bank");
    execute(&store, "INSERT INTO notes (title) VALUES ('acknowledged')").await.unwrap();
    let mut tx = store.begin(Isolation::ReadCommitted, soon()).await.unwrap();
    tx.execute("INSERT INTO notes (title) VALUES ('half')", vec![], soon()).await.unwrap();
    writeln!(std::io::stdout(), "\ninside").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_tenant_that_holds_its_share_keeps_no_other_from_working() {
    let stores = Stores::on_server(StorageConfig { connections_max: 4, ..server_config() }).await;
    let (greedy, other) = (stores.with_schema("greedy", NOTES).await, stores.with_schema("other", NOTES).await);
    let held = greedy.begin(Isolation::ReadCommitted, soon()).await.unwrap();

    let second = greedy.query("SELECT title FROM notes", vec![], Instant::now() + Duration::from_millis(200)).await;

    assert_eq!(second, Err(StorageError::Limit(bulkhead_database::tenant::limit_codes::DEADLINE)));
    assert_eq!(number(&other, "SELECT count(*) FROM notes").await, 0);
    drop(held);
}

#[tokio::test]
async fn two_hosts_migrate_at_once_and_each_step_runs_once() {
    let url = postgres::database();
    let hosts =
        [Stores::on_database(url.clone(), server_config()).await, Stores::on_database(url, server_config()).await];
    let steps =
        ["CREATE TABLE counted (n BIGINT)", "INSERT INTO counted (n) VALUES (1)", "INSERT INTO counted (n) VALUES (2)"];
    let [left, right] = [0, 1].map(|host: usize| hosts[host].empty("bank"));

    let (one, two) = tokio::join!(migrate(&left, &steps), migrate(&right, &steps));

    assert_eq!(one.unwrap() + two.unwrap(), 3);
    assert_eq!(number(&left, "SELECT count(*) FROM counted").await, 2);
}

#[tokio::test]
async fn what_another_host_deleted_or_migrated_is_noticed() {
    let url = postgres::database();
    let (here, there) =
        (Stores::on_database(url.clone(), server_config()).await, Stores::on_database(url, server_config()).await);
    let store = here.with_schema("bank", NOTES).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
    query(&store, "SELECT * FROM notes").await.unwrap();

    migrate(&there.empty("bank"), &[NOTES, "ALTER TABLE notes ADD COLUMN size BIGINT"]).await.unwrap();
    let first = query(&store, "SELECT * FROM notes").await;
    assert!(first == Err(StorageError::Retry) || first.as_ref().is_ok_and(|t| t.columns.len() == 2), "{first:?}");
    assert_eq!(query(&store, "SELECT * FROM notes").await.unwrap().columns, ["title", "size"]);

    there.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();
    assert_eq!(query(&store, "SELECT title FROM notes").await, Err(StorageError::Invalid("no such table".into())));
}

#[tokio::test]
async fn an_index_is_built_outside_of_a_transaction_and_a_broken_one_is_built_again() {
    let stores = on_server().await;
    let store = stores.with_schema("bank", NOTES).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
    let build = "-- no-transaction\nCREATE INDEX CONCURRENTLY notes_lower ON notes (lower(title))";
    let steps = || {
        let step = |number, sql: &str| PluginMigration::new(number, "step", sql.as_bytes()).unwrap();
        vec![step(1, NOTES), step(2, build)]
    };
    assert_eq!(store.migrate(steps(), Run::DryRun, 7).await.unwrap().len(), 1);

    // Somebody's snapshot is older than the index: it cannot become valid in time.
    let mut old = owner(&stores).await;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tenants")
        .execute(&mut old)
        .await
        .unwrap();
    let failed = store.migrate(steps(), Run::Apply, 7).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(store.failed_migration().await.unwrap().unwrap().number, 2);
    sqlx::raw_sql("ROLLBACK").execute(&mut old).await.unwrap();

    assert_eq!(store.migrate(steps(), Run::Apply, 7).await.unwrap().len(), 1);
    let valid: Vec<bool> =
        sqlx::query_scalar("SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text LIKE '%notes_lower'")
            .fetch_all(&mut old)
            .await
            .unwrap();
    assert_eq!(valid, [true]);
    assert_eq!(store.failed_migration().await, Ok(None));
}

#[tokio::test]
async fn a_sound_database_has_no_findings_and_an_opened_layer_is_named() {
    let stores = on_server().await;
    stores.with_schema("bank", NOTES).await;
    assert_eq!(stores.storage.check().await.unwrap(), []);
    let mut owner = owner(&stores).await;
    let role: String = sqlx::query_scalar("SELECT name FROM storage_schemas").fetch_one(&mut owner).await.unwrap();
    let login: String = sqlx::query_scalar("SELECT login FROM storage_logins WHERE login LIKE '%\\_r_'")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let open = format!(
        "GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC; GRANT SELECT ON pg_settings TO PUBLIC; \
         GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC; \
         ALTER ROLE {login} INHERIT; ALTER ROLE {role} LOGIN"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(open)).execute(&mut owner).await.unwrap();

    let found = stores.storage.check().await.unwrap();

    let layers: Vec<_> = found.iter().map(|finding| finding.layer).collect();
    assert_eq!(layers, ["server-functions", "server-views", "languages", "schemas", "logins", "roles"]);
    assert!(found.iter().all(|finding| !finding.detail.is_empty() && !finding.remedy.is_empty()));
}

#[tokio::test]
async fn an_owner_that_is_no_superuser_keeps_plugins_apart_and_is_told_what_stays_open() {
    let url = postgres::database();
    let mut superuser = PgConnection::connect(&url).await.unwrap();
    let name: String =
        sqlx::query_scalar("SELECT 'owner_' || current_database()").fetch_one(&mut superuser).await.unwrap();
    let make = format!(
        "CREATE ROLE {name} LOGIN CREATEROLE; ALTER DATABASE {} OWNER TO {name}",
        name.strip_prefix("owner_").unwrap()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut superuser).await.unwrap();

    let stores = Stores::on_database(url.replace("postgres@", &format!("{name}@")), server_config()).await;
    let store = stores.with_schema("bank", NOTES).await;
    execute(&store, "INSERT INTO notes (title) VALUES ('a')").await.unwrap();
    let found = stores.storage.check().await.unwrap();
    stores.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();

    assert!(found.iter().any(|finding| finding.layer == "server-functions"), "{found:?}");
    assert!(found.iter().all(|finding| finding.layer != "database"), "{found:?}");
    assert_eq!(stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_login_has_the_password_of_the_hosts_key() {
    let stores = on_server().await;
    stores.with_schema("bank", NOTES).await;
    let mut owner = owner(&stores).await;

    let kept: Vec<String> =
        sqlx::query_scalar("SELECT rolpassword FROM pg_authid AS a JOIN storage_logins AS l ON l.login = a.rolname")
            .fetch_all(&mut owner)
            .await
            .unwrap();

    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|verifier| verifier.starts_with("SCRAM-SHA-256$4096:")), "{kept:?}");
    assert!(
        stores
            .storage
            .store(&tenant("bank"), &plugin("acme.notes"), QUOTA_BYTES)
            .query("SELECT 1", vec![], soon())
            .await
            .is_ok()
    );
}
