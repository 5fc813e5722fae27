//! The server's own wall, tried with no guard before it: whatever a plugin sends, it reads no row of another, no
//! error names another's schema, the next borrower of the connection finds nothing, and legal work goes on.
//! The same with the guard is in the crate's integration tests.

#[path = "../../../tests/it/postgres.rs"]
mod cluster;
#[path = "../../../tests/it/guard_cases.rs"]
#[expect(dead_code, reason = "the other cases are the guard's")]
mod guard_cases;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::{PluginId, TenantId};
use sqlx::Row as _;

use super::names::Login;
use super::{Engine, Scope, Storage, Store};
use crate::db::DatabaseConfig;
use crate::tenant::admission::{Admission, Admitted};
use crate::tenant::guard::Kind;
use crate::tenant::kv::Put;
use crate::tenant::value::{Isolation, KvCondition, StorageError, Table, Value};
use crate::tenant::{PluginMigration, Run, StorageConfig};

const SCHEMA: &str = "CREATE TABLE notes (id integer PRIMARY KEY, title text NOT NULL, revision bigint NOT NULL DEFAULT 0); \
     CREATE TABLE tags (note integer REFERENCES notes (id), tag text); CREATE TABLE drafts (id integer, body text DEFAULT 'empty');";
/// Time that an attack may ask for.
const DEADLINE: Duration = Duration::from_millis(300);
/// What the victim keeps, and nobody else may see.
const SECRET: &str = "the-victims-own-words";

/// What reads rows, names or keys of others, with the names that an attacker could find out.
const READS: &[&str] = &[
    "SELECT title FROM {victim}.notes",
    "SELECT (SELECT title FROM {victim}.notes LIMIT 1)",
    "TABLE {victim}.notes",
    "SELECT * FROM public.storage_keys",
    "SELECT value FROM public.storage_keys",
    "SELECT random_name FROM public.storage_installation",
    "SELECT * FROM public.tenants",
    "SELECT * FROM storage_keys",
    "RESET ROLE ;; SELECT title FROM {victim}.notes",
    "SET ROLE {victim} ;; SELECT title FROM {victim}.notes",
    "SET ROLE {victim} ;; SELECT title FROM notes",
    "SET LOCAL ROLE {victim} ;; SELECT title FROM {victim}.notes",
    "SET ROLE postgres ;; SELECT title FROM {victim}.notes",
    "SET SESSION AUTHORIZATION postgres ;; SELECT title FROM {victim}.notes",
    "SET search_path = {victim} ;; SELECT title FROM notes",
    "SELECT set_config('role', '{victim}', false) ;; SELECT title FROM {victim}.notes",
    "SELECT set_config('role', '{victim}', true), (SELECT title FROM {victim}.notes LIMIT 1)",
    "SELECT set_config('search_path', '{victim}', false) ;; SELECT title FROM notes",
    "UPDATE pg_settings SET setting = '{victim}' WHERE name = 'role' ;; SELECT title FROM {victim}.notes",
    "SELECT query_to_xml('select set_config(''role'', ''{victim}'', true)', true, true, '') ;; SELECT title FROM {victim}.notes",
    "SELECT query_to_xml('select title from {victim}.notes', true, true, '')",
    "SELECT table_to_xml('{victim}.notes', true, true, '')",
    "SELECT schema_to_xml('{victim}', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT cursor_to_xml('c', 1, true, true, '')",
    "SELECT * FROM ts_stat('select title::tsvector from {victim}.notes')",
    "DO $$ BEGIN PERFORM set_config('role', '{victim}', false); END $$ ;; SELECT title FROM {victim}.notes",
    "DO $$ DECLARE t text; BEGIN SET LOCAL ROLE {victim}; SELECT title INTO t FROM {victim}.notes; RAISE EXCEPTION '%', t; END $$",
    "CREATE FUNCTION pg_temp.f() RETURNS SETOF text LANGUAGE sql AS 'SELECT title FROM {victim}.notes' ;; SELECT pg_temp.f()",
    "CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT title FROM {victim}.notes' ;; SELECT f()",
    "CREATE VIEW v AS SELECT title FROM {victim}.notes ;; SELECT * FROM v",
    "PREPARE p AS SELECT title FROM {victim}.notes ;; EXECUTE p",
    "DECLARE c CURSOR WITH HOLD FOR SELECT title FROM {victim}.notes ;; FETCH ALL FROM c",
    "EXPLAIN ANALYZE SELECT title FROM {victim}.notes",
    "COPY {victim}.notes TO STDOUT",
    "COPY (SELECT title FROM {victim}.notes) TO '/tmp/bulkhead-stolen'",
    "COPY notes FROM PROGRAM 'id'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "CREATE TEMP TABLE notes AS SELECT title FROM {victim}.notes ;; SELECT title FROM notes",
    "GRANT {victim} TO CURRENT_USER ;; SELECT title FROM {victim}.notes",
    "ALTER ROLE CURRENT_USER SUPERUSER ;; SELECT title FROM {victim}.notes",
    "ALTER TABLE {victim}.notes OWNER TO CURRENT_USER ;; SELECT title FROM {victim}.notes",
    "COMMIT ;; SELECT title FROM {victim}.notes",
    "COMMIT ;; RESET ROLE ;; SET ROLE {victim} ;; SELECT title FROM notes",
    "ROLLBACK AND CHAIN ;; SELECT title FROM {victim}.notes",
    "COMMIT; RESET ROLE; SELECT title FROM {victim}.notes",
    "SELECT 1; SET ROLE {victim}; SELECT title FROM {victim}.notes",
    "SELECT query FROM pg_stat_activity",
    "SELECT * FROM pg_stats WHERE schemaname = '{victim}'",
    "SELECT pg_get_viewdef('{victim}.notes'::regclass)",
    "SELECT nspname FROM pg_namespace",
    "SELECT rolname FROM pg_roles",
    "SELECT setting FROM pg_settings WHERE name = 'data_directory'",
    "INSERT INTO {victim}.notes (id, title) VALUES (9, 'forged')",
    "UPDATE {victim}.notes SET title = 'forged'",
    "DELETE FROM {victim}.notes",
    "TRUNCATE {victim}.notes",
    "DROP TABLE {victim}.notes",
    "DROP SCHEMA {victim} CASCADE",
    "DROP ROLE {victim}",
    "LOCK TABLE {victim}.notes IN ACCESS EXCLUSIVE MODE",
    "DELETE FROM public.storage_migrations",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_sleep(5)",
];

struct Neighbours {
    storage: Storage,
    victim: Store,
    hostile: Store,
    owner: sqlx::PgPool,
}

impl Neighbours {
    async fn new() -> Self {
        let url = cluster::database();
        let engine = Engine::open(&url, &DatabaseConfig::new(&url)).await.unwrap();
        // On one login, where the walls between two pairs are thinnest.
        let config = StorageConfig { shards: 1, login_key: Some([7; 32]), ..StorageConfig::default() };
        let storage = Storage::open(&engine, &config).await.unwrap();
        let (victim, hostile) = (prepared(&storage, "victim").await, prepared(&storage, "hostile").await);
        execute(&victim, &format!("UPDATE notes SET title = '{SECRET}'")).await;
        let owner = engine.pool().clone();
        // Only to be asked what is left on its own session.
        let login = storage.server().names.login(Login::Run(0)).unwrap();
        let ask = format!("GRANT EXECUTE ON FUNCTION pg_cursor(), pg_listening_channels() TO {login}");
        sqlx::query(sqlx::AssertSqlSafe(ask)).execute(&owner).await.unwrap();
        Self { storage, victim, hostile, owner }
    }

    /// Sends the statements one after another, in each way that a guest has, and shows all that came back.
    async fn attack(&self, statements: &[String]) -> Vec<String> {
        let end = || Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        for text in statements {
            let text = Admitted::unguarded(text);
            seen.push(shown(&self.hostile.execute(&text, vec![], end()).await));
            seen.push(shown(&self.hostile.query(&text, vec![], end()).await));
        }
        let batch = statements.iter().map(|text| (Admitted::unguarded(text), vec![])).collect();
        seen.push(match self.hostile.batch(batch, end()).await {
            Ok(tables) => format!("{tables:?}"),
            Err(error) => format!("{error:?}"),
        });
        let tx = self.hostile.begin(Isolation::ReadCommitted, soon()).await.unwrap();
        for text in statements {
            seen.push(shown(&tx.execute(&Admitted::unguarded(text), vec![], end()).await));
        }
        drop(tx.commit().await);
        seen.extend(self.attack_in_scope(statements).await);
        if let [only] = statements
            && let Ok(cursor) = self.hostile.open_cursor(&Admitted::unguarded(only), vec![], end()).await
        {
            seen.push(format!("{:?}", cursor.next(100, end()).await));
        }
        seen
    }

    /// In a call of a scope: alone, and in a transaction of its own.
    async fn attack_in_scope(&self, statements: &[String]) -> Vec<String> {
        let end = || Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        let scope = Arc::new(Scope::new(&self.hostile, soon()));
        let call = scope.begin_call();
        for text in statements {
            seen.push(shown(&call.execute(&Admitted::unguarded(text), vec![], end()).await));
        }
        seen.push(format!("{:?}", scope.end_call(true).await));
        let call = scope.begin_call();
        if let Ok(tx) = call.begin(Isolation::ReadCommitted, soon()).await {
            for text in statements {
                seen.push(shown(&tx.execute(&Admitted::unguarded(text), vec![], end()).await));
            }
            drop(tx.commit().await);
        }
        seen.push(format!("{:?}", scope.end_call(true).await));
        if let Ok(Some(sealed)) = scope.seal().await {
            drop(sealed.commit().await);
        }
        seen
    }

    async fn victim_is_whole(&self, case: &str) {
        let rows = self.victim.execute(&Admitted::unguarded("SELECT title FROM notes"), vec![], soon()).await;
        assert_eq!(rows.unwrap().rows, [[Value::Text(SECRET.into())]], "after {case}");
        let key = self.victim.kv_get("secret", 1, soon()).await.unwrap().unwrap();
        assert_eq!(key.value, b"victim", "after {case}");
    }

    /// What the next borrower of the connection finds.
    async fn connection_is_as_new(&self, case: &str) {
        const SETTINGS: &str = "SELECT session_user = current_user AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_cursor() WHERE name <> '') \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels()), \
             concat_ws(' ', current_setting('search_path'), current_setting('statement_timeout'), current_setting('work_mem'), \
             current_setting('default_transaction_read_only'), current_setting('role')), pg_catalog.pg_backend_pid()";
        const LEFT: &str = "SELECT (SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory') + \
             (SELECT count(*) FROM pg_class WHERE relpersistence = 't') + \
             (SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND xact_start IS NOT NULL)";
        let mut lease = self.storage.server().plugins.lease(Login::Run(0), soon()).await.unwrap();
        let row = sqlx::query(SETTINGS).fetch_one(lease.connection().unwrap()).await.unwrap();
        let left: i64 = sqlx::query_scalar(LEFT).bind(row.get::<i32, _>(2)).fetch_one(&self.owner).await.unwrap();

        assert!(row.get::<bool, _>(0), "role, cursor or listener left after {case}");
        assert_eq!(row.get::<String, _>(1), "pg_catalog 0 4MB off none", "after {case}");
        assert_eq!(left, 0, "locks, temporary tables or a transaction left after {case}");
        lease.put_back();
    }

    async fn own_work_goes_on(&self, case: &str) {
        let insert = Admitted::unguarded("INSERT INTO drafts (id) VALUES (1)");
        let done = self.hostile.execute(&insert, vec![], soon()).await;
        assert!(done.is_ok(), "after {case}: {done:?}");
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn shown(answer: &Result<Table, StorageError>) -> String {
    format!("{answer:?}")
}

async fn execute(store: &Store, text: &str) -> Table {
    store.execute(&Admitted::unguarded(text), vec![], soon()).await.unwrap()
}

async fn prepared(storage: &Storage, name: &str) -> Store {
    let (tenant, plugin): (TenantId, PluginId) = (name.parse().unwrap(), "acme.notes".parse().unwrap());
    let store = storage.store(&tenant, &plugin, 64 << 20);
    let schema = PluginMigration::new(1, "schema", SCHEMA.as_bytes()).unwrap();
    store.migrate(vec![schema], Arc::default(), Run::Apply, 7).await.unwrap();
    execute(&store, "INSERT INTO notes (id, title) VALUES (1, 'mine')").await;
    let put = Put { key: "secret".into(), value: name.into(), ttl_ms: None, when: KvCondition::Always };
    store.kv_set(put, 1, soon()).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_no_statement_reads_or_changes_what_is_anothers() {
    let neighbours = Neighbours::new().await;
    let victim = neighbours.victim.pair_name().to_owned();

    for attack in READS {
        let statements: Vec<_> = attack.replace("{victim}", &victim).split(" ;; ").map(str::to_owned).collect();
        let began = Instant::now();
        let seen = neighbours.attack(&statements).await.join("\n");

        assert!(!seen.contains(SECRET), "{attack} read the secret: {seen}");
        // The attacker wrote the name: only in an error does it tell anything.
        let errors: Vec<_> = seen.lines().filter(|line| line.starts_with("Err")).collect();
        assert!(errors.iter().all(|line| !line.contains(&victim)), "{attack}: {errors:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{attack} took {:?}", began.elapsed());
        neighbours.victim_is_whole(attack).await;
        neighbours.connection_is_as_new(attack).await;
        neighbours.own_work_goes_on(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_the_guards_own_cases_reach_no_neighbour() {
    let neighbours = Neighbours::new().await;
    let cases = [guard_cases::hostile_both(), guard_cases::hostile_postgres()];
    let cases: Vec<_> = cases.into_iter().flatten().collect();
    assert!(cases.len() > 300, "{}", cases.len());

    for case in &cases {
        // What only takes long or large is the guard's: it is tried with the guard.
        let seen = neighbours.attack(&case.statements).await.join("\n");
        let name = case.to_string();
        assert!(!seen.contains(SECRET), "{name} read the secret: {seen}");
        neighbours.victim_is_whole(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_guard_a_connection_is_as_new_after_every_case() {
    let neighbours = Neighbours::new().await;
    let admission = Admission::default();
    let cases = [guard_cases::hostile_both(), guard_cases::hostile_postgres(), guard_cases::bombs()];

    for case in cases.iter().flatten() {
        for text in &case.statements {
            if let Ok(admitted) = admission.admit(text, Kind::Execute) {
                drop(neighbours.hostile.execute(&admitted, vec![], Instant::now() + DEADLINE).await);
            }
        }
        let name = case.to_string();
        neighbours.connection_is_as_new(&name).await;
        neighbours.victim_is_whole(&name).await;
        neighbours.own_work_goes_on(&name).await;
    }
}

/// What would end a transaction or leave its savepoints.
const ESCAPES: [&str; 16] = [
    "COMMIT",
    "END",
    "ABORT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "ROLLBACK AND CHAIN ;; SAVEPOINT \"__call\" ;; SAVEPOINT \"__work\"",
    "COMMIT ;; BEGIN ;; SAVEPOINT work",
    "PREPARE TRANSACTION 'x'",
    "SAVEPOINT a",
    "SAVEPOINT a ;; ROLLBACK TO a ;; RELEASE a",
    "RELEASE \"__work\"",
    "ROLLBACK TO \"__call\"",
    "ROLLBACK TO still_open",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET CONSTRAINTS ALL IMMEDIATE",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_a_scope_whose_savepoints_were_left_is_never_committed() {
    let neighbours = Neighbours::new().await;
    let store = &neighbours.hostile;
    let admitted = |text: &str| Admitted::unguarded(text);
    for (case, nested) in ESCAPES.iter().flat_map(|case| [(case, false), (case, true)]) {
        let scope = Arc::new(Scope::new(store, soon()));
        execute(&scope.begin_call(), "INSERT INTO drafts (id) VALUES (2)").await;
        scope.end_call(true).await.unwrap();

        let call = scope.begin_call();
        execute(&call, "INSERT INTO drafts (id) VALUES (3)").await;
        if nested {
            let tx = call.begin(Isolation::ReadCommitted, soon()).await.unwrap();
            for text in case.split(" ;; ") {
                drop(tx.execute(&admitted(text), vec![], soon()).await);
            }
            drop(tx.execute(&admitted("INSERT INTO drafts (id) VALUES (4)"), vec![], soon()).await);
            drop(tx.commit().await);
        } else {
            for text in case.split(" ;; ") {
                drop(call.execute(&admitted(text), vec![], soon()).await);
            }
            drop(call.execute(&admitted("INSERT INTO drafts (id) VALUES (4)"), vec![], soon()).await);
        }
        scope.end_call(false).await.unwrap();
        let rows = async || execute(store, "SELECT id FROM drafts ORDER BY id").await.rows;
        match scope.seal().await {
            Ok(sealed) => {
                assert_eq!(rows().await, [[Value::Int64(0)]; 0], "{case} {nested}");
                sealed.unwrap().commit().await.unwrap();
                assert_eq!(rows().await, [[Value::Int64(2)]], "{case} {nested}");
            }
            // What the plugin committed by itself is its own; of the scope nothing is.
            Err(error) => assert_eq!(error, StorageError::Ended, "{case} {nested}"),
        }

        execute(store, "DELETE FROM drafts").await;
        neighbours.victim_is_whole(case).await;
        neighbours.connection_is_as_new(case).await;
    }
}
