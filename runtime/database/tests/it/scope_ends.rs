//! How scopes end: by a commit, by their time, by whoever goes away or dies; and what others notice until then.
//! What a scope keeps and undoes is tested in `scopes`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginStorage, Run, StorageConfig, limit_codes};
use bulkhead_database::{KvCondition, PluginStore, StorageError};

use crate::engines::{plugin, tenant};
use crate::scopes::{COUNT, NOTES, commit, names, of_engine, schema, write};
use crate::stores::{QUOTA_BYTES, Stores, execute, for_each_store, migration, number, server_config, soon};

#[tokio::test]
async fn others_of_the_plugin_are_told_that_they_wait_for_a_scope_and_reads_go_on() {
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let neighbour = schema(stores, "other", NOTES).await;
        let scope = store.scope(soon());
        let reads_only = scope.begin_call();
        assert_eq!(number(&reads_only, COUNT).await, 0);
        write(&store, "not in its way").await.unwrap();
        write(&scope.begin_call(), "a").await.unwrap();
        scope.end_call(true).await.unwrap();

        let began = Instant::now();
        let row = execute(&store, "INSERT INTO notes (title) VALUES ('a')").await;
        let key = store.kv_set("a", vec![], None, KvCondition::Always, 1, soon()).await;
        let second = store.scope(soon());
        let in_second = write(&second.begin_call(), "a").await;
        second.end_call(false).await.unwrap();

        let waits = StorageError::Limit(limit_codes::LOCK_WAIT);
        assert_eq!((row.unwrap_err(), key.unwrap_err(), in_second), (waits.clone(), waits.clone(), Err(waits)));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert_eq!(number(&store, COUNT).await, 1);
        execute(&neighbour, "INSERT INTO notes (id, title) VALUES (1, 'a')").await.unwrap();
        commit(&scope).await.unwrap();
        write(&second.begin_call(), "b").await.unwrap();
        second.end_call(true).await.unwrap();
        commit(&second).await.unwrap();
        assert_eq!(names(&store).await, ["a", "b", "not in its way"]);
    })
    .await;
}

#[tokio::test]
async fn a_scope_whose_time_is_up_is_undone_whoever_uses_it_or_not() {
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let scope = store.scope(Instant::now() + Duration::from_millis(700));
        let call = scope.begin_call();
        write(&call, "a").await.unwrap();
        scope.end_call(true).await.unwrap();
        let call = scope.begin_call();
        write(&call, "b").await.unwrap();

        // Nobody ends it: the next writer gets its turn all the same.
        let mut tries = 0;
        while write(&store, "a").await.is_err() {
            tries += 1;
            assert!(tries < 10, "the scope keeps the row");
        }

        assert_eq!(write(&call, "c").await, Err(StorageError::Ended));
        assert_eq!(scope.end_call(true).await, Err(StorageError::Ended));
        assert!(scope.is_lost().await);
        assert_eq!(commit(&scope).await, Err(StorageError::Ended));
        assert_eq!(names(&store).await, ["a"]);
    })
    .await;
}

#[tokio::test]
async fn a_scope_outlives_the_idle_time_of_a_guests_transaction() {
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let scope = store.scope(Instant::now() + Duration::from_secs(25));
        write(&scope.begin_call(), "a").await.unwrap();
        scope.end_call(true).await.unwrap();

        // The host application works meanwhile; the server ends a guest's transaction after five seconds.
        let works = Instant::now() + Duration::from_millis(5_300);
        while Instant::now() < works {
            number(&store, COUNT).await;
            tokio::time::sleep_until((Instant::now() + Duration::from_millis(50)).into()).await;
        }

        commit(&scope).await.unwrap();
        assert_eq!(names(&store).await, ["a"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_goes_away_in_the_middle_of_a_statement_leaves_nothing_and_no_lock() {
    const SLOW: &str = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) \
         INSERT INTO notes (title) SELECT 'x' FROM c WHERE n < 0";
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let scope = store.scope(soon());
        let call = scope.begin_call();
        let gone = tokio::time::timeout(Duration::from_millis(100), execute(&call, SLOW)).await;
        assert!(gone.is_err(), "{gone:?}");
        scope.end_call(false).await.unwrap();

        // Nothing was kept before it: the scope begins anew.
        let mut tries = 0;
        let call = scope.begin_call();
        while let Err(error) = write(&call, "a").await {
            tries += 1;
            assert!(tries < 10, "{error:?}");
        }
        scope.end_call(true).await.unwrap();
        let call = scope.begin_call();
        assert!(tokio::time::timeout(Duration::from_millis(100), execute(&call, SLOW)).await.is_err());
        scope.end_call(false).await.unwrap();

        // Now something was: it is lost, and that is told.
        assert!(scope.is_lost().await);
        assert_eq!(write(&scope.begin_call(), "b").await, Err(StorageError::Ended));
        assert_eq!(commit(&scope).await, Err(StorageError::Ended));
        let mut tries = 0;
        while write(&store, "c").await.is_err() {
            tries += 1;
            assert!(tries < 10, "a lock is left");
        }
        assert_eq!(names(&store).await, ["c"]);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_deleted_and_a_schema_changed_as_soon_as_its_scopes_have_ended() {
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let scope = store.scope(soon());
        write(&scope.begin_call(), "a").await.unwrap();
        scope.end_call(true).await.unwrap();
        let ends = tokio::spawn(async move {
            tokio::time::sleep_until((Instant::now() + Duration::from_millis(200)).into()).await;
            scope.end().await;
        });

        let more = migration(2, "ALTER TABLE notes ADD COLUMN more TEXT");
        let first = migration(1, &of_engine(stores, NOTES));
        store.migrate(vec![first, more], Run::Apply, 8).await.unwrap();
        let again = store.scope(soon());
        write(&again.begin_call(), "b").await.unwrap();
        again.end_call(true).await.unwrap();
        again.end().await;
        stores.storage.delete_tenant(&"bank".parse().unwrap()).await.unwrap();

        ends.await.unwrap();
        assert_eq!(write(&again.begin_call(), "c").await, Err(StorageError::Ended));
    })
    .await;
}

/// Storage of the child: a folder or a server's URL; set for the child alone.
const CHILDS: &str = "BULKHEAD_TEST_SCOPE_STORAGE";

#[tokio::test]
async fn a_host_that_is_killed_in_a_scope_leaves_nothing_half_done() {
    for_each_store(async |stores| {
        let store = schema(stores, "bank", NOTES).await;
        let place = stores.either(stores.folder.path().display().to_string(), stores.url.clone());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scope_ends::a_host_stays_in_a_scope_until_it_is_killed", "--nocapture"])
            .env(CHILDS, place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "inside"), "the child ended by itself");

        child.kill().unwrap();
        child.wait().unwrap();

        let mut tries = 0;
        while let Err(error) = write(&store, "half").await {
            tries += 1;
            assert!(tries < 10, "a dead scope holds a lock: {error:?}");
        }
        assert_eq!(names(&store).await, ["acknowledged", "half"]);
    })
    .await;
}

/// The child of the test above; by itself it has nothing to do.
#[tokio::test]
async fn a_host_stays_in_a_scope_until_it_is_killed() {
    let Some(place) = std::env::var_os(CHILDS).map(|place| place.into_string().unwrap()) else {
        return;
    };
    let (tenant, plugin) = (tenant("bank"), plugin("acme.notes"));
    let stores;
    let store = if place.starts_with("postgres") {
        stores = Stores::on_database(place, server_config()).await;
        stores.storage.store(&tenant, &plugin, QUOTA_BYTES)
    } else {
        let storage = PluginStorage::open(place.as_ref(), StorageConfig::default()).await.unwrap();
        storage.store(&tenant, &plugin, QUOTA_BYTES)
    };
    let first = store.scope(soon());
    write(&first.begin_call(), "acknowledged").await.unwrap();
    first.end_call(true).await.unwrap();
    commit(&first).await.unwrap();
    let second = store.scope(soon());
    write(&second.begin_call(), "half").await.unwrap();
    second.end_call(true).await.unwrap();
    let _sealed = second.seal().await.unwrap();
    writeln!(std::io::stdout(), "\ninside").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn many_scopes_at_once_keep_to_their_tenants_and_leave_connections_for_others() {
    const TENANTS: usize = 12;
    const ROUNDS: usize = 6;
    for_each_store(async |stores| {
        let mut tasks = tokio::task::JoinSet::new();
        let mut tenants = Vec::new();
        for tenant in 0..TENANTS {
            let store = schema(stores, &format!("t{tenant}"), NOTES).await;
            tenants.push(store.clone());
            for worker in 0..2 {
                tasks.spawn(work(store.clone(), tenant, worker, ROUNDS));
            }
        }
        let bystander = schema(stores, "bystander", NOTES).await;
        for place in 0..20 {
            write(&bystander, &format!("n{place}")).await.unwrap();
        }

        let mut kept = vec![Vec::new(); TENANTS];
        while let Some(done) = tasks.join_next().await {
            let (tenant, mut names) = done.unwrap();
            kept[tenant].append(&mut names);
        }

        for (store, mut kept) in tenants.iter().zip(kept) {
            kept.sort();
            assert!(!kept.is_empty());
            assert_eq!(names(store).await, kept);
        }
        assert_eq!(names(&bystander).await.len(), 20);
    })
    .await;
}

/// Scopes one after another; answers the names that a commit kept.
async fn work(store: PluginStore, tenant: usize, worker: usize, rounds: usize) -> (usize, Vec<String>) {
    let mut kept = Vec::new();
    for round in 0..rounds {
        let scope = store.scope(soon());
        let mut mine = Vec::new();
        for (part, is_kept) in [("a", true), ("b", false), ("c", true)] {
            let name = format!("{tenant}-{worker}-{round}-{part}");
            let call = scope.begin_call();
            let wrote = write(&call, &name).await;
            // Another scope of the plugin, or of the tenant, is in the way: told, not waited for without end.
            assert!(matches!(wrote, Ok(()) | Err(StorageError::Limit(_))), "{wrote:?}");
            let stays = wrote.is_ok() && is_kept;
            scope.end_call(stays).await.unwrap();
            mine.extend(stays.then_some(name));
        }
        if round % 3 == 2 {
            scope.end().await;
        } else {
            commit(&scope).await.unwrap();
            kept.append(&mut mine);
        }
    }
    (tenant, kept)
}

#[tokio::test]
async fn scopes_of_one_tenant_leave_connections_to_its_other_calls() {
    let stores = Stores::on_server(crate::stores::server_config()).await;
    let mut scopes = Vec::new();
    let mut refused = 0;
    for place in 0..8 {
        let plugin = format!("acme.p{place}").parse().unwrap();
        let store = stores.storage.store(&"bank".parse().unwrap(), &plugin, QUOTA_BYTES);
        store.migrate(vec![migration(1, &of_engine(&stores, NOTES))], Run::Apply, 7).await.unwrap();
        let scope = store.scope(soon());
        match execute(&scope.begin_call(), "INSERT INTO notes (title) VALUES ('a')").await {
            Ok(_) => scopes.push((store, scope)),
            Err(error) => {
                assert_eq!(error, StorageError::Limit(limit_codes::OPEN_TRANSACTIONS));
                refused += 1;
            }
        }
    }

    // A tenant has eight of the 32 connections, two of which are no scope's.
    assert_eq!((scopes.len(), refused), (6, 2));
    for (store, _) in &scopes {
        assert_eq!(number(store, COUNT).await, 0);
    }
    stores.close().await;
}
