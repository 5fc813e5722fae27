//! `/api/v1/tenants`: create, suspend, resume, delete; and what each does to the tenant's plugins.

use std::time::{Duration, Instant};

use bulkhead_database::{Act, DatabaseConfig, Db, TenantStatus};
use bulkhead_testkit::guests::{HELLO, ROUTES};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{TestHost, eventually};
use insta::assert_json_snapshot;
use serde_json::json;

use crate::kill::is_running;

const GREET: &str = "acme.hello.hello.greet";

#[tokio::test]
async fn a_tenant_is_created_once_and_shown() {
    let host = TestHost::new().await;
    let admin = host.admin();

    let created = admin.create_tenant("acme").await.expect(201).json();
    let again = admin.create_tenant("acme").await;

    assert_eq!((&created["id"], &created["status"]), (&json!("acme"), &json!("active")));
    assert_json_snapshot!(again.problem(), @r#"
    {
      "code": "conflict",
      "detail": "the tenant `acme` exists",
      "status": 409,
      "title": "The request conflicts with what is there",
      "type": "/problems/conflict"
    }
    "#);
    assert_eq!(admin.get("/api/v1/tenants/acme").await.expect(200).json(), created);
    assert_eq!(admin.get("/api/v1/tenants/globex").await.outcome(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn a_tenants_id_is_checked() {
    let host = TestHost::new().await;

    for id in ["", "-acme", "ACME", "a_b", "a.b", "../x", "é", &"a".repeat(64)] {
        let answer = host.admin().create_tenant(id).await;
        assert_eq!(answer.outcome(), (422, "invalid-input".to_owned()), "{id}");
        assert_eq!(answer.problem()["errors"][0]["pointer"], "/id", "{id}");
    }
    for id in ["a", "0", "a-", &"a".repeat(63)] {
        host.admin().create_tenant(id).await.expect(201);
    }
}

#[tokio::test]
async fn tenants_are_listed_in_pages() {
    let host = TestHost::new().await;
    for id in ["c", "a", "b"] {
        host.admin().create_tenant(id).await.expect(201);
    }

    let first = host.admin().get("/api/v1/tenants?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = host.admin().get(&format!("/api/v1/tenants?limit=2&cursor={cursor}")).await.json();

    let ids = |page: &serde_json::Value| {
        page["items"].as_array().unwrap().iter().map(|tenant| tenant["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&first), ids(&second)), (vec![json!("a"), json!("b")], vec![json!("c")]));
    assert_eq!(second["next_cursor"], json!(null));
}

#[tokio::test]
async fn a_suspended_tenant_is_served_by_nothing_and_loses_nothing() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let visit = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/visits").await;
    visit("acme").await.expect(200);

    let suspended = host.admin().post("/api/v1/tenants/acme/suspend").await.expect(200).json();
    let refused = visit("acme").await;
    let other = visit("globex").await;
    let enabled = host.tenant_admin("acme").enable_here("acme.hello").await;
    let host = host.restart().await;
    let visit = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/visits").await;
    let after_restart = visit("acme").await;
    host.admin().post("/api/v1/tenants/acme/resume").await.expect(200);

    assert_eq!(suspended["status"], "suspended");
    assert_eq!(refused.outcome(), (404, "not-found".to_owned()));
    assert_eq!(after_restart.outcome(), (404, "not-found".to_owned()));
    assert_eq!(enabled.outcome(), (409, "conflict".to_owned()));
    other.expect(200);
    assert_eq!(visit("acme").await.expect(200).json()["total"], 2);
}

#[tokio::test]
async fn a_suspension_ends_a_loop_that_runs() {
    let endless = ROUTES.source().edit(|manifest| {
        manifest.limits.fuel_per_call = Some(10_000_000_000);
        manifest.limits.deadline_ms = Some(5_000);
    });
    let host = TestHost::new().tenant("acme").with_release(endless.signed_by(ALICE)).await;
    let user = host.user("acme", &[]);
    let began = Instant::now();
    let call = tokio::spawn(async move { user.get_route("test.routes", "/loop").await });
    eventually("the call in the metrics", || async { is_running(&host).await.then_some(()) }).await;

    host.admin().post("/api/v1/tenants/acme/suspend").await.expect(200);

    assert_eq!(call.await.unwrap().status, 403);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_new_tenant_has_what_every_new_tenant_gets() {
    let by_default = vec!["acme.hello".parse().unwrap(), "acme.absent".parse().unwrap()];
    let host = TestHost::new().configured(|config| config.plugins.by_default = by_default).await;
    host.admin().install_release(&HELLO.signed_by(ALICE)).await;

    host.admin().create_tenant("acme").await.expect(201);

    host.user("acme", &[GREET]).get_route("acme.hello", "/visits").await.expect(200);
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_goes_on_by_itself() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    host.user("acme", &[GREET]).get_route("acme.hello", "/visits").await.expect(200);
    let tables = Db::open(&DatabaseConfig::new(host.config().database.url.clone())).await.unwrap();
    let mut tx = tables.begin().await.unwrap();
    let act = Act { actor: "root".to_owned(), ..Act::system(1) };
    tx.set_tenant_status(&"acme".parse().unwrap(), TenantStatus::Deleting, &act).await.unwrap();
    tx.commit().await.unwrap();
    tables.close().await;

    let host = host.restart().await;
    eventually("the tenant to be gone", || async {
        (host.admin().get("/api/v1/tenants/acme").await.status == 404).then_some(())
    })
    .await;
    host.admin().create_tenant("acme").await.expect(201);
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);

    let visits = host.user("acme", &[GREET]).get_route("acme.hello", "/visits").await.expect(200).json();
    assert_eq!(visits["total"], 1);
}

#[tokio::test]
async fn a_deleted_tenant_leaves_no_data_behind() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let visit = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/visits").await;
    visit("acme").await.expect(200);
    visit("globex").await.expect(200);

    host.admin().delete("/api/v1/tenants/acme").await.expect(204);

    assert_eq!(visit("acme").await.outcome(), (404, "not-found".to_owned()));
    assert_eq!(host.admin().delete("/api/v1/tenants/acme").await.outcome(), (404, "not-found".to_owned()));
    assert_eq!(host.tenant_admin("acme").enable_here("acme.hello").await.outcome(), (404, "not-found".to_owned()));
    host.admin().create_tenant("acme").await.expect(201);
    assert_eq!(visit("acme").await.outcome(), (404, "not-found".to_owned()), "nothing is enabled in the new tenant");
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
    assert_eq!(visit("acme").await.expect(200).json()["total"], 1);
    assert_eq!(visit("globex").await.expect(200).json()["total"], 2);
}

#[tokio::test]
async fn a_tenant_disables_and_enables_for_itself() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let greet = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/visits").await.status;
    assert_eq!(greet("acme").await, 200);

    let disabled = host.tenant_admin("acme").disable_here("acme.hello").await.expect(200).json();
    let while_disabled = (greet("acme").await, greet("globex").await);
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);

    assert_eq!((&disabled["enabled"], &disabled["status"]), (&json!(false), &json!("disabled")));
    assert_eq!(while_disabled, (404, 200));
    assert_eq!(host.user("acme", &[GREET]).get_route("acme.hello", "/visits").await.json()["total"], 2);
}

#[tokio::test]
async fn a_tenants_admin_acts_for_its_own_tenant_alone() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let admin = host.tenant_admin("acme");

    for path in [
        "/api/v1/tenant/plugins",
        "/api/v1/tenant/plugins/acme.hello/config",
        "/api/v1/tenant/plugins/acme.hello/errors",
        "/api/v1/tenant/plugins/acme.hello/health",
    ] {
        assert_eq!(
            admin.get(&format!("{path}?tenant=globex")).await.outcome(),
            (403, "role-required".to_owned()),
            "{path}"
        );
        admin.get(path).await.expect(200);
        host.admin().get(&format!("{path}?tenant=globex")).await.expect(200);
        assert_eq!(host.admin().get(path).await.outcome(), (422, "tenant-required".to_owned()), "{path}");
        assert_eq!(host.user("acme", &[GREET]).get(path).await.outcome(), (403, "role-required".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_tenant_narrows_what_a_plugin_may_use() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let visit = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/visits").await;
    let consent = |names: &[&str]| json!({ "interfaces": names });
    let path = "/api/v1/tenant/plugins/acme.hello/consent";

    let narrowed = host.tenant_admin("acme").post_json(path, &consent(&[])).await;
    let refused = visit("acme").await;
    visit("globex").await.expect(200);
    host.tenant_admin("acme").post_json(path, &json!({})).await.expect(200);

    // The plugin reports itself unhealthy without its table, so it may not even start.
    assert_ne!(refused.status, 200, "{}", narrowed.text());
    assert_eq!(visit("acme").await.expect(200).json()["total"], 1);
    let unknown = host.tenant_admin("acme").post_json(path, &consent(&["telepathy"])).await;
    assert_eq!(unknown.outcome(), (422, "invalid-input".to_owned()));
    assert_eq!(unknown.problem()["errors"][0]["pointer"], "/interfaces/0");
}
