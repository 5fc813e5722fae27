//! What guests do to their storage through a call: grants, tenants, and what a call leaves open.
//! SQL itself is tested where it is executed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{
    PluginMigration, PluginStorage, PluginStore, PluginView, Run, StorageConfig, ViewSelect,
};
use bulkhead_engine::{CallContext, Cell, CellConfig, NoView, ViewSource};
use bulkhead_model::{Code, Grants, Interface};
use tempfile::TempDir;

use crate::guests::{blob_user, kv_counter, sql_user, view_reader};
use crate::host::{Host, code, context_of, filter, filter_value, reuse};

/// Storage of plugins, and the folder that it is in.
struct Data {
    storage: PluginStorage,
    _folder: TempDir,
}

impl Data {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = PluginStorage::open(folder.path(), StorageConfig::default()).await.unwrap();
        Self { storage, _folder: folder }
    }

    /// The storage of `plugin` in `tenant`, with the table `t`.
    async fn store(&self, tenant: &str, plugin: &str) -> PluginStore {
        let store = self.storage.store(&tenant.parse().unwrap(), &plugin.parse().unwrap(), 16 << 20);
        let table = PluginMigration::new(1, "t", b"create table t (n integer)").unwrap();
        store.migrate(vec![table], Run::Apply, 0).await.unwrap();
        store
    }
}

/// Gives a cell storage and the right to use it.
fn with(store: PluginStore) -> impl FnOnce(&mut CellConfig) {
    move |config| {
        config.storage = Some(store);
        config.grants = Grants::of([Interface::Sql, Interface::Kv, Interface::Blob]);
        config.limits.deadline_ms = Some(5_000);
    }
}

async fn sql_cell(host: &Host, data: &Data, kept: bool) -> Arc<Cell> {
    let store = data.store("t1", "acme.test").await;
    host.cell_with(&sql_user(), |config| {
        with(store)(config);
        if kept {
            reuse(config);
        }
    })
    .await
}

/// Asks the guest of `sql_user` to do the thing of this number; what it answers.
async fn ask(cell: &Cell, thing: usize) -> String {
    filter_value(cell, &"1".repeat(thing)).await.result.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_leaves_open_is_rolled_back_at_its_end() {
    let (host, data) = (Host::new(), Data::new().await);

    for kept in [false, true] {
        let cell = sql_cell(&host, &data, kept).await;
        let before = ask(&cell, 2).await;

        assert_eq!(ask(&cell, 1).await, "0", "kept {kept}");
        assert_eq!(ask(&cell, 2).await, before, "kept {kept}");
        assert_eq!(ask(&cell, 3).await, "0", "kept {kept}");
        assert_ne!(ask(&cell, 2).await, before, "kept {kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_an_earlier_call_has_ended() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = sql_cell(&host, &data, true).await;

    ask(&cell, 1).await;

    // `g` is the seventh storage error: ended.
    assert_eq!(ask(&cell, 4).await, "g");
    assert_eq!(ask(&cell, 2).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_transaction_and_publishes_no_event() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = sql_cell(&host, &data, true).await;

    // `f` is a limit, `a` a denial.
    assert_eq!(ask(&cell, 5).await, "f");
    assert_eq!(ask(&cell, 6).await, "a");
    assert_eq!(ask(&cell, 3).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_left_open_is_closed_at_the_end_of_its_call() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = sql_cell(&host, &data, true).await;
    ask(&cell, 3).await;
    ask(&cell, 3).await;

    for _ in 0..20 {
        assert_eq!(ask(&cell, 7).await, "0");
    }
    assert_eq!(ask(&cell, 8).await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_inside_a_transaction_undoes_it_and_frees_the_file() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = sql_cell(&host, &data, false).await;

    let trapped = filter_value(&cell, &"1".repeat(9)).await;

    assert_eq!(code(&trapped), Some(Code::PluginFailed));
    assert_eq!(ask(&cell, 2).await, "0");
    assert_eq!(ask(&cell, 3).await, "0");
    assert_eq!(ask(&cell, 2).await, "1");
}

#[tokio::test]
async fn storage_needs_a_grant_and_asking_counts() {
    let (host, data) = (Host::new(), Data::new().await);
    let store = data.store("t1", "acme.test").await;
    let cell = host
        .cell_with(&kv_counter(), |config| {
            config.storage = Some(store);
            config.grants = Grants::of([Interface::Sql]);
        })
        .await;

    let outcome = filter(&cell).await;

    assert_eq!(outcome.result, Ok(Some("a".to_owned())));
    assert_eq!(outcome.usage.host_calls, 1);
}

#[tokio::test]
async fn a_plugin_without_storage_is_told_that_there_is_none() {
    let host = Host::new();
    let cell = host.cell_with(&kv_counter(), |config| config.grants = Grants::of([Interface::Kv])).await;

    // `h` is the eighth storage error: unavailable.
    assert_eq!(filter(&cell).await.result, Ok(Some("h".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_of_two_tenants_or_two_plugins_share_no_key() {
    let (host, data) = (Host::new(), Data::new().await);
    let component = host.component(&kv_counter()).await;
    let mut cells = Vec::new();
    for (tenant, plugin) in [("t1", "acme.test"), ("t2", "acme.test"), ("t1", "acme.other")] {
        let store = data.store(tenant, plugin).await;
        cells.push(host.cell_of(component.clone(), |config| {
            with(store)(config);
            reuse(config);
            config.tenant = tenant.parse().unwrap();
            config.plugin = plugin.parse().unwrap();
        }));
    }

    for wanted in ["1", "2", "3"] {
        for cell in &cells {
            let outcome = cell.apply_filter(&context_of(cell.tenant().as_str()), "order.total", "1", "[]").await;
            assert_eq!(outcome.result, Ok(Some(wanted.to_owned())), "{cell:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_of_calls_by_two_tenants_touches_the_others_rows() {
    let (host, data) = (Host::new(), Data::new().await);
    let component = host.component(&sql_user()).await;
    let mut cells = Vec::new();
    for tenant in ["t1", "t2"] {
        let store = data.store(tenant, "acme.test").await;
        cells.push(host.cell_of(component.clone(), |config| {
            with(store)(config);
            reuse(config);
            config.tenant = tenant.parse().unwrap();
        }));
    }
    let mut rows = [0_u32; 2];
    let mut random = 1_u32;

    for _ in 0..150 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (who, thing) = ((random >> 30) as usize % 2, 1 + (random >> 16) as usize % 9);
        let cell = &cells[who];
        let context = context_of(cell.tenant().as_str());
        let value = "1".repeat(thing);
        let outcome = cell.apply_filter(&context, "order.total", &value, "[]").await;
        match (thing, outcome.result) {
            (3, answer) => {
                assert_eq!(answer, Ok(Some("0".to_owned())));
                rows[who] += 1;
            }
            // The guest shows one character: of a greater count, the one that follows the digits.
            (2, answer) => {
                let shown = char::from_u32(u32::from('0') + rows[who]).unwrap();
                assert_eq!(answer, Ok(Some(shown.to_string())), "{rows:?}");
            }
            // A handle that this instance never had traps, as the trap does.
            (4 | 9, _) => {}
            (_, answer) => assert!(answer.is_ok(), "{thing}: {answer:?}"),
        }
    }
    assert!(rows[0] > 3 && rows[1] > 3, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_works_in_a_scope_of_its_own_plugin_and_in_no_other() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = sql_cell(&host, &data, true).await;
    let own = data.store("t1", "acme.test").await.scope(Instant::now() + Duration::from_secs(20));
    let call = async |store: PluginStore, thing: usize| {
        let context = CallContext { storage: Some(store), ..context_of("t1") };
        cell.apply_filter(&context, "order.total", &"1".repeat(thing), "[]").await
    };

    for (tenant, plugin) in [("t2", "acme.test"), ("t1", "acme.other")] {
        let foreign = data.store(tenant, plugin).await;
        let foreign_scope = foreign.scope(Instant::now() + Duration::from_secs(20));
        for store in [foreign_scope.begin_call(), foreign] {
            assert_eq!(code(&call(store, 3).await), Some(Code::Internal), "{tenant} {plugin}");
        }
    }
    let inserted = call(own.begin_call(), 3).await;
    own.end_call(true).await.unwrap();
    let trapped = call(own.begin_call(), 9).await;
    own.end_call(false).await.unwrap();
    let inside = call(own.begin_call(), 2).await;

    assert_eq!((inserted.result, code(&trapped)), (Ok(Some("0".to_owned())), Some(Code::PluginFailed)));
    assert_eq!((inside.result, ask(&cell, 2).await), (Ok(Some("1".to_owned())), "0".to_owned()));
    own.end_call(true).await.unwrap();
    own.seal().await.unwrap().unwrap().commit().await.unwrap();
    // The kept instance works on its own storage again.
    assert_eq!((ask(&cell, 3).await, ask(&cell, 2).await), ("0".to_owned(), "2".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_end_of_a_cell_is_told_of_a_stop_before_or_after() {
    let (host, data) = (Host::new(), Data::new().await);
    for closes in [false, true] {
        let cell = sql_cell(&host, &data, false).await;
        let waiting = tokio::spawn({
            let cell = Arc::clone(&cell);
            async move { cell.stopped().await }
        });
        assert!(!cell.is_stopped());
        tokio::task::yield_now().await;

        if closes {
            cell.close()
        } else {
            cell.kill()
        }

        waiting.await.unwrap();
        cell.stopped().await;
        assert!(cell.is_stopped());
    }
}

async fn blob_cell(host: &Host, data: &Data, kept: bool) -> Arc<Cell> {
    let store = data.store("t1", "acme.test").await;
    host.cell_with(&blob_user(), |config| {
        with(store)(config);
        config.limits.host_call_bytes = 64 << 20;
        if kept {
            reuse(config);
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_a_call_does_not_finish_is_discarded_at_its_end() {
    let (host, data) = (Host::new(), Data::new().await);

    for kept in [false, true] {
        let cell = blob_cell(&host, &data, kept).await;
        for _ in 0..5 {
            assert_eq!(ask(&cell, 1).await, "0", "kept {kept}");
        }

        assert_eq!(ask(&cell, 2).await, if kept { "1" } else { "0" });
        assert_eq!(ask(&cell, 3).await, "0", "kept {kept}");
        assert_eq!(ask(&cell, 2).await, "1", "kept {kept}");
        assert_eq!(ask(&cell, 8).await, "0", "kept {kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_of_an_earlier_call_has_ended() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = blob_cell(&host, &data, true).await;

    ask(&cell, 1).await;

    // `g` is the seventh storage error: ended.
    assert_eq!(ask(&cell, 4).await, "g");
    assert_eq!(ask(&cell, 2).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_writer_and_what_is_not_there_is_told() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = blob_cell(&host, &data, true).await;

    // `f` is a limit; `j`, the tenth, has a code of its own.
    assert_eq!(ask(&cell, 5).await, "f");
    assert_eq!(ask(&cell, 11).await, "j");
    assert_eq!(ask(&cell, 12).await, "f");
    assert_eq!(ask(&cell, 3).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_writers_leaves_nothing_and_stops_nobody() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = blob_cell(&host, &data, false).await;

    for _ in 0..3 {
        assert_eq!(ask(&cell, 7).await, "0");
    }

    assert_eq!(ask(&cell, 2).await, "0");
    assert_eq!(ask(&cell, 3).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_beyond_the_quota_is_refused_and_makes_no_blob() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = blob_cell(&host, &data, false).await;
    ask(&cell, 3).await;

    assert_eq!(ask(&cell, 10).await, "f");
    // The writer has ended with the refusal.
    assert_eq!(ask(&cell, 13).await, "g");
    assert_eq!(ask(&cell, 8).await, "0");
    assert_eq!(ask(&cell, 2).await, "1");
    assert_eq!(ask(&cell, 3).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_or_a_second_finish_costs_the_call_and_nothing_else() {
    let (host, data) = (Host::new(), Data::new().await);
    let cell = blob_cell(&host, &data, false).await;

    for thing in [9, 6, 9, 9, 9] {
        let trapped = filter_value(&cell, &"1".repeat(thing)).await;
        assert_eq!(code(&trapped), Some(Code::PluginFailed), "{thing}");
    }

    assert_eq!(ask(&cell, 3).await, "0");
    assert_eq!(ask(&cell, 2).await, "1");
}

#[tokio::test]
async fn blobs_need_a_grant_of_their_own() {
    let (host, data) = (Host::new(), Data::new().await);
    let store = data.store("t1", "acme.test").await;
    let cell = host
        .cell_with(&blob_user(), |config| {
            config.storage = Some(store);
            config.grants = Grants::of([Interface::Sql, Interface::Kv]);
        })
        .await;

    for thing in [2, 3, 8] {
        assert_eq!(ask(&cell, thing).await, "a", "{thing}");
    }
}

/// A cell that reads the view which `source` finds.
async fn view_cell(host: &Host, source: ViewSource, granted: bool) -> Arc<Cell> {
    host.cell_with(&view_reader(), |config| {
        config.views = source;
        config.grants = Grants::of(granted.then_some(Interface::Views));
        config.limits.deadline_ms = Some(5_000);
    })
    .await
}

/// A view of the table `t` of another plugin.
async fn view(data: &Data, sql: &str) -> PluginView {
    let owner = data.store("t1", "acme.notes").await;
    let select = ViewSelect { name: "notes".parse().unwrap(), version: 1, sql: sql.into() };
    owner.open_views(&[select]).await.unwrap().find("notes", 1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_reads_the_view_that_the_host_finds_under_a_grant() {
    let (host, data) = (Host::new(), Data::new().await);
    let two = view(&data, "SELECT 1 AS one UNION ALL SELECT 2").await;
    let check = async |source: ViewSource, granted: bool, wanted: &str| {
        let cell = view_cell(&host, source, granted).await;
        let outcome = filter(&cell).await;
        assert_eq!(outcome.result, Ok(Some(wanted.to_owned())));
        assert_eq!(outcome.usage.host_calls, 1);
    };
    let named =
        {
            let two = two.clone();
            ViewSource::new(move |plugin, view| {
                if (plugin, view) == ("acme.notes", "notes") { Ok(two.clone()) } else { Err(NoView::Denied) }
            })
        };

    // `a` is a denial, `h` what is not available.
    check(named.clone(), true, "2").await;
    check(named, false, "a").await;
    check(ViewSource::default(), true, "a").await;
    check(ViewSource::new(|_, _| Err(NoView::Denied)), true, "a").await;
    check(ViewSource::new(|_, _| Err(NoView::Unavailable)), true, "h").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_through_views_counts_in_the_bytes_of_the_call() {
    let (host, data) = (Host::new(), Data::new().await);
    let wide = view(&data, &format!("SELECT '{}' AS wide", "x".repeat(30_000))).await;
    let cell = host
        .cell_with(&view_reader(), |config| {
            config.views = ViewSource::new(move |_, _| Ok(wide.clone()));
            config.grants = Grants::of([Interface::Views]);
            config.limits.host_call_bytes = 100_000;
            config.limits.deadline_ms = Some(5_000);
        })
        .await;

    assert_eq!(ask(&cell, 3).await, "1");
    let over = filter_value(&cell, &"1".repeat(4)).await;

    assert_eq!(code(&over), Some(Code::HostCallsExceeded));
}
