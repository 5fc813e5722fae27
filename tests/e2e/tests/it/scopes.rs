//! Scopes of a host application that embeds the host: what plugins write in them is kept call by call, and for good at the
//! commit alone. Over HTTP there are none.

use std::time::{Duration, Instant};

use bulkhead_model::manifest::OnFailure;
use bulkhead_model::{Code, Coded as _};
use bulkhead_testkit::guests;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Builder, Source, TestHost, eventually};
use bulkhead_trust::{File, Files};
use serde_json::json;

const STEPS: &str = include_str!("scopes/steps.wat");
const FILTER: &str = "order.text";
const ACTION: &str = "order.done";
const TABLE: &str = "CREATE TABLE t (n BIGINT NOT NULL)";
/// Longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(25);

/// The plugin `acme.<letter twice>`, which takes the steps of its letter.
fn plugin(letter: char) -> Source {
    let id = format!("acme.{0}{0}", letter.to_ascii_lowercase());
    let module = STEPS.replace("LETTER", &u32::from(letter).to_string());
    let manifest = format!(
        "[plugin]\nid = \"{id}\"\nversion = \"0.1.0\"\nname = \"x\"\n[capabilities]\nsql = true\nkv = true\n\
         [migrations]\npath = \"migrations\"\n\
         [[hooks]]\nname = \"{FILTER}\"\nkind = \"filter\"\n[[hooks]]\nname = \"{ACTION}\"\nkind = \"action\"\n"
    );
    let mut migrations = Files::new();
    let table = File { media_type: "application/sql".to_owned(), bytes: TABLE.as_bytes().to_vec() };
    migrations.insert("0001_t.sql", table).unwrap();
    let component = guests::component(&module, &["sql", "kv"], &["hooks"]);
    Source { migrations, ..guests::plain(&manifest, component) }
}

/// On each engine, a host with these plugins in the tenants `acme` and `globex`.
async fn on_each_engine(plugins: &[Source], test: impl AsyncFn(&TestHost)) {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        test(&host_with(builder, plugins).await).await;
    }
}

async fn host_with(builder: Builder, plugins: &[Source]) -> TestHost {
    let tenants = builder.tenant("acme").tenant("globex");
    let host = plugins.iter().fold(tenants, |builder, plugin| builder.with_release(plugin.signed_by(ALICE))).await;
    for tenant in ["acme", "globex"] {
        let app = host.app(tenant);
        app.declare(FILTER, &json!({ "kind": "filter", "schema": { "type": "string" } })).await.expect(200);
        app.declare(ACTION, &json!({ "kind": "action" })).await.expect(200);
    }
    host
}

/// Rows and key of a plugin in a tenant, outside of any scope.
async fn kept(host: &TestHost, tenant: &str, letter: char) -> String {
    let applied = host.library().apply_filter(&host.caller(tenant), FILTER, text(&format!("{letter}:c")), "[]").await;
    applied.unwrap().value.trim_matches('"').to_owned()
}

fn text(steps: &str) -> String {
    json!(steps).to_string()
}

fn args(steps: &str) -> String {
    json!([steps]).to_string()
}

#[tokio::test]
async fn of_three_plugins_the_one_that_fails_undoes_its_own_writes_alone() {
    on_each_engine(&['A', 'B', 'C'].map(plugin), async |host| {
        let caller = host.caller("acme");
        for (failing, code) in
            [("t", "plugin-failed"), ("l", "fuel-exhausted"), ("e", "conflict"), ("s", "invalid-input")]
        {
            let steps = format!("A:iko;B:iko{failing};C:iko");

            for ends in ["dropped", "rolled back"] {
                let mut scope = host.library().begin_scope(&caller, LONG).unwrap();
                let applied = scope.apply_filter(FILTER, text(&steps), "[]").await.unwrap();
                assert_eq!(applied.failures.len(), 1, "{:?}", applied.failures);
                match ends {
                    "dropped" => drop(scope),
                    _ => scope.rollback().await,
                }
                for letter in ['A', 'B', 'C'] {
                    assert_eq!(kept(host, "acme", letter).await, "00", "{failing} {ends}");
                }
            }
            let mut scope = host.library().begin_scope(&caller, LONG).unwrap();
            let applied = scope.apply_filter(FILTER, text(&steps), "[]").await.unwrap();
            assert_eq!(applied.failures.len(), 1, "{:?}", applied.failures);
            let failure = &applied.failures[0];
            assert_eq!((failure.plugin.as_str(), failure.code.as_str()), ("acme.bb", code), "{failure:?}");
            let committed = scope.commit().await.unwrap();

            let names: Vec<_> = committed.plugins.iter().map(|plugin| plugin.as_str()).collect();
            assert_eq!(names, ["acme.aa", "acme.cc"]);
            assert!(committed.lost.is_empty());
            assert_eq!(kept(host, "acme", 'A').await, "21", "{failing}");
            assert_eq!(kept(host, "acme", 'B').await, "00", "{failing}");
            assert_eq!(kept(host, "acme", 'C').await, "21", "{failing}");
            assert_eq!(kept(host, "globex", 'A').await, "00");
            clear(host).await;
        }
    })
    .await;
}

/// Takes the plugins' data away, so that the next case begins as new.
async fn clear(host: &TestHost) {
    let admin = host.admin();
    admin.delete("/api/v1/tenants/acme").await.expect(204);
    admin.create_tenant("acme").await.expect(201);
    for plugin in admin.plugins().await {
        host.tenant_admin("acme").enable_here(plugin["id"].as_str().unwrap()).await.expect(200);
    }
}

#[tokio::test]
async fn of_two_calls_of_a_plugin_the_one_that_fails_undoes_its_own_writes_alone() {
    on_each_engine(&[plugin('A')], async |host| {
        let caller = host.caller("acme");
        let mut scope = host.library().begin_scope(&caller, LONG).unwrap();

        for (steps, fails) in [("A:ik", false), ("A:iikkt", true), ("A:op", false), ("A:ooke", true)] {
            let failures = scope.dispatch_action(ACTION, &args(steps)).await.unwrap();
            assert_eq!(!failures.is_empty(), fails, "{steps}: {failures:?}");
        }
        let inside = scope.apply_filter(FILTER, text("A:c"), "[]").await.unwrap().value;
        let outside = kept(host, "acme", 'A').await;
        drop(scope.commit().await.unwrap());

        // What `p` left open is undone with its end.
        assert_eq!((inside.as_str(), outside.as_str()), ("\"21\"", "00"));
        assert_eq!(kept(host, "acme", 'A').await, "21");
    })
    .await;
}

#[tokio::test]
async fn a_chain_that_closes_leaves_the_choice_to_the_application() {
    let closed = plugin('B').edit(|manifest| manifest.hooks[0].on_failure = OnFailure::Closed);
    on_each_engine(&[plugin('A'), closed, plugin('C')], async |host| {
        let caller = host.caller("acme");
        let mut scope = host.library().begin_scope(&caller, LONG).unwrap();

        let refused = scope.apply_filter(FILTER, text("A:ik;B:ikt;C:ik"), "[]").await.unwrap_err();
        assert_eq!(refused.code(), Code::HookClosed);
        let committed = scope.commit().await.unwrap();

        assert_eq!(committed.plugins.len(), 1);
        assert_eq!(kept(host, "acme", 'A').await, "11");
        assert_eq!(kept(host, "acme", 'B').await, "00");
        assert_eq!(kept(host, "acme", 'C').await, "00");
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_is_stopped_loses_what_it_wrote_and_the_others_keep_theirs() {
    let closed = plugin('C').edit(|manifest| manifest.hooks[0].on_failure = OnFailure::Closed);
    on_each_engine(&[plugin('A'), plugin('B'), closed], async |host| {
        let (caller, admin) = (host.caller("acme"), host.admin());
        let mut scope = host.library().begin_scope(&caller, LONG).unwrap();
        scope.apply_filter(FILTER, text("A:ik;B:ik"), "[]").await.unwrap();

        admin.kill_in("acme.bb", "acme").await.expect(200);
        let failures = scope.dispatch_action(ACTION, &args("A:i;B:i")).await.unwrap();
        let lost = eventually("the loss", || async {
            let lost = scope.lost().await;
            (!lost.is_empty()).then_some(lost)
        })
        .await;
        let committed = scope.commit().await.unwrap();
        admin.revive_in("acme.bb", "acme").await.expect(200);

        assert_eq!((failures.len(), failures[0].code), (1, Code::PluginKilled));
        assert_eq!((lost.len(), &lost), (1, &committed.lost));
        assert_eq!(lost[0].as_str(), "acme.bb");
        assert_eq!(kept(host, "acme", 'A').await, "21");
        assert_eq!(kept(host, "acme", 'B').await, "00");

        // One whose hook fails closed takes the commit with it.
        let mut scope = host.library().begin_scope(&caller, LONG).unwrap();
        scope.apply_filter(FILTER, text("A:ik;C:ik"), "[]").await.unwrap();
        admin.kill_in("acme.cc", "acme").await.expect(200);
        let refused = scope.commit().await.unwrap_err();
        admin.revive_in("acme.cc", "acme").await.expect(200);

        assert_eq!(refused.code(), Code::HookClosed, "{refused}");
        assert_eq!(kept(host, "acme", 'A').await, "21");
        assert_eq!(kept(host, "acme", 'C').await, "00");
    })
    .await;
}

#[tokio::test]
async fn a_scope_whose_time_is_up_keeps_nothing() {
    on_each_engine(&[plugin('A')], async |host| {
        let caller = host.caller("acme");
        let mut scope = host.library().begin_scope(&caller, Duration::from_millis(700)).unwrap();
        scope.apply_filter(FILTER, text("A:ik"), "[]").await.unwrap();

        // It still holds the file or the rows; nobody ends it.
        let ended = eventually("the end of its time", || {
            let call = host.library().apply_filter(&caller, FILTER, text("A:k"), "[]");
            async { call.await.unwrap().failures.is_empty().then(Instant::now) }
        })
        .await;
        assert!(ended.elapsed() < Duration::from_secs(1));

        let call = scope.apply_filter(FILTER, text("A:i"), "[]").await.unwrap_err();
        let commit = scope.commit().await.unwrap_err();
        assert_eq!((call.code(), commit.code()), (Code::DeadlineExceeded, Code::DeadlineExceeded));
        assert_eq!(kept(host, "acme", 'A').await, "01");
    })
    .await;
}

#[tokio::test]
async fn other_calls_of_the_plugin_are_refused_in_time_and_other_tenants_notice_nothing() {
    on_each_engine(&['A', 'B'].map(plugin), async |host| {
        let (acme, globex) = (host.caller("acme"), host.caller("globex"));
        let mut scope = host.library().begin_scope(&acme, LONG).unwrap();
        scope.apply_filter(FILTER, text("A:ik"), "[]").await.unwrap();

        let began = Instant::now();
        let waits = host.library().apply_filter(&acme, FILTER, text("A:k"), "[]").await.unwrap();
        let mut second = host.library().begin_scope(&acme, LONG).unwrap();
        let in_second = second.apply_filter(FILTER, text("A:k;B:ik"), "[]").await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        // `f` is a limit.
        assert_eq!([&waits.failures[0].detail, &in_second.failures[0].detail], ["conflict: f", "conflict: f"]);
        assert_eq!(kept(host, "acme", 'A').await, "00");

        let mut elsewhere = host.library().begin_scope(&globex, LONG).unwrap();
        assert_eq!(elsewhere.apply_filter(FILTER, text("A:iik;B:i"), "[]").await.unwrap().failures, []);
        drop(elsewhere.commit().await.unwrap());
        drop(second.commit().await.unwrap());
        scope.rollback().await;

        assert_eq!((kept(host, "acme", 'A').await, kept(host, "acme", 'B').await), ("00".into(), "11".into()));
        assert_eq!((kept(host, "globex", 'A').await, kept(host, "globex", 'B').await), ("21".into(), "10".into()));
    })
    .await;
}

#[tokio::test]
async fn whoever_stops_waiting_for_a_hook_has_undone_its_call() {
    let endless = plugin('B').edit(|manifest| {
        manifest.limits.fuel_per_call = Some(10_000_000_000);
        manifest.limits.deadline_ms = Some(5_000);
    });
    on_each_engine(&[plugin('A'), endless], async |host| {
        let caller = host.caller("acme");
        let mut scope = host.library().begin_scope(&caller, LONG).unwrap();
        scope.apply_filter(FILTER, text("B:ik"), "[]").await.unwrap();

        let chain = scope.apply_filter(FILTER, text("A:ik;B:ikl"), "[]");
        assert!(tokio::time::timeout(Duration::from_secs(2), chain).await.is_err());
        scope.dispatch_action(ACTION, &args("A:i;B:i")).await.unwrap();
        let committed = scope.commit().await.unwrap();

        assert_eq!((committed.plugins.len(), committed.lost.len()), (2, 0));
        assert_eq!((kept(host, "acme", 'A').await, kept(host, "acme", 'B').await), ("21".into(), "21".into()));
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_suspended_and_deleted_whatever_scopes_it_has() {
    on_each_engine(&['A', 'B'].map(plugin), async |host| {
        let (caller, admin) = (host.caller("acme"), host.admin());
        let mut suspended = host.library().begin_scope(&caller, LONG).unwrap();
        suspended.apply_filter(FILTER, text("A:ik;B:ik"), "[]").await.unwrap();
        let mut elsewhere = host.library().begin_scope(&host.caller("globex"), LONG).unwrap();
        elsewhere.apply_filter(FILTER, text("A:ik"), "[]").await.unwrap();

        admin.post_json("/api/v1/tenants/acme/suspend", &json!({})).await.expect(200);
        assert_eq!(suspended.apply_filter(FILTER, text("A:i"), "[]").await.unwrap_err().code(), Code::NotFound);
        assert_eq!(suspended.commit().await.unwrap().lost.len(), 2);
        admin.post_json("/api/v1/tenants/acme/resume", &json!({})).await.expect(200);
        assert_eq!(kept(host, "acme", 'A').await, "00");
        let mut deleted = host.library().begin_scope(&caller, LONG).unwrap();
        deleted.apply_filter(FILTER, text("A:ik;B:ik"), "[]").await.unwrap();
        let began = Instant::now();
        admin.delete("/api/v1/tenants/acme").await.expect(204);

        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(deleted.commit().await.unwrap().lost.len(), 2);
        assert_eq!(host.library().begin_scope(&caller, LONG).err().unwrap().code(), Code::NotFound);
        assert_eq!(elsewhere.commit().await.unwrap().plugins.len(), 1);
        assert_eq!(kept(host, "globex", 'A').await, "11");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_so_many_scopes_and_the_host_so_many_more() {
    let host = (0..5).fold(TestHost::new(), |builder, tenant| builder.tenant(&format!("t{tenant}"))).await;
    let open = |tenant: usize| host.library().begin_scope(&host.caller(&format!("t{tenant}")), LONG);

    let mut scopes: Vec<_> = (0..16).map(|_| open(0).unwrap()).collect();
    assert_eq!(open(0).err().unwrap().code(), Code::Overloaded);
    for tenant in 1..4 {
        scopes.extend((0..16).map(|_| open(tenant).unwrap()));
    }
    assert_eq!(open(4).err().unwrap().code(), Code::Overloaded);

    scopes.pop();
    drop(open(4).unwrap());
    drop(scopes.pop().unwrap().commit().await.unwrap());
    drop(open(3).unwrap());
}

#[tokio::test]
async fn scopes_in_many_tenants_at_once_end_each_as_it_should() {
    on_each_engine(&['A', 'B'].map(plugin), async |host| {
        let mut running = Vec::new();
        for (tenant, times) in [("acme", 3), ("globex", 4)] {
            let (library, caller) = (host.library().clone(), host.caller(tenant));
            running.push(tokio::spawn(async move {
                for _ in 0..times {
                    for ends in ["commit", "rollback"] {
                        let mut scope = library.begin_scope(&caller, LONG).unwrap();
                        let applied = scope.apply_filter(FILTER, text("A:ik;B:ikt"), "[]").await.unwrap();
                        assert_eq!(applied.failures.len(), 1, "{:?}", applied.failures);
                        match ends {
                            "commit" => drop(scope.commit().await.unwrap()),
                            _ => scope.rollback().await,
                        }
                    }
                }
            }));
        }

        for one in running {
            one.await.unwrap();
        }

        assert_eq!((kept(host, "acme", 'A').await, kept(host, "globex", 'A').await), ("33".into(), "44".into()));
        assert_eq!((kept(host, "acme", 'B').await, kept(host, "globex", 'B').await), ("00".into(), "00".into()));
    })
    .await;
}

#[tokio::test]
async fn a_plugin_whose_connection_breaks_loses_its_part_whole_and_the_others_keep_theirs() {
    const BREAK: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'bh\\_%'";
    let host = host_with(TestHost::on_postgres(), &['A', 'B'].map(plugin)).await;
    let mut scope = host.library().begin_scope(&host.caller("acme"), LONG).unwrap();
    scope.apply_filter(FILTER, text("A:ik"), "[]").await.unwrap();

    host.tamper(&[BREAK]);
    assert_eq!(scope.apply_filter(FILTER, text("B:ik"), "[]").await.unwrap().failures, []);
    let committed = scope.commit().await.unwrap();

    assert_eq!((committed.plugins.len(), committed.lost.len()), (1, 1));
    // The keys had a connection of their own, which did not break.
    assert_eq!((kept(&host, "acme", 'A').await, kept(&host, "acme", 'B').await), ("00".into(), "11".into()));
}
