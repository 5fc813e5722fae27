//! What plugins use, month by month: counted to the call, kept over restarts, shared by hosts, and bounded.

use bulkhead_testkit::guests::{HELLO, ROUTES};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Client, TestHost, eventually};
use serde_json::{Value, json};

async fn usage(client: &Client, plugin: &str) -> Value {
    client.get(&format!("/api/v1/tenant/plugins/{plugin}/usage")).await.expect(200).json()
}

fn of_entry(usage: &Value, entry: &str, field: &str) -> u64 {
    let entries = usage["entries"].as_array().unwrap();
    entries.iter().find(|found| found["entry"] == entry).map_or(0, |found| found[field].as_u64().unwrap())
}

#[tokio::test]
async fn every_call_is_on_the_account_of_its_tenant_and_entry() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).await;
    let acme = host.user("acme", &[]);
    for _ in 0..3 {
        acme.get_route("test.routes", "/").await.expect(200);
    }
    acme.get_route("test.routes", "/trap").await.expect(500);
    acme.get_route("test.routes", "/loop").await.expect(503);
    host.user("globex", &[]).get_route("test.routes", "/").await.expect(200);

    let found = usage(&host.tenant_admin("acme"), "test.routes").await;

    assert_eq!((of_entry(&found, "route", "calls"), &found["tenant_id"]), (5, &json!("acme")));
    // The loop burnt its whole budget.
    let fuel_units = of_entry(&found, "route", "fuel_units");
    assert!((100_000_000..110_000_000).contains(&fuel_units), "{fuel_units}");
    assert_eq!(found["fuel_per_month"], 300_000_000_000_000_u64);
    assert_eq!(found["storage_bytes_max"], 256 << 20);
    let fleet = host.admin().get("/api/v1/plugins/test.routes/usage?limit=1").await.expect(200).json();
    assert_eq!(fleet["items"], json!([found]));
    let next = fleet["next_cursor"].as_str().unwrap();
    let rest = host.admin().get(&format!("/api/v1/plugins/test.routes/usage?cursor={next}")).await.json();
    assert_eq!((rest["items"][0]["tenant_id"].as_str(), &rest["next_cursor"]), (Some("globex"), &Value::Null));
    assert_eq!(rest["items"][0]["calls"], 1);
}

#[tokio::test]
async fn the_account_is_kept_over_a_restart_and_goes_on() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);
    let before = usage(&host.tenant_admin("acme"), "test.routes").await;

    let host = host.restart().await;
    assert_eq!(usage(&host.tenant_admin("acme"), "test.routes").await, before);
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);

    let after = usage(&host.tenant_admin("acme"), "test.routes").await;
    assert_eq!(after["calls"], 2);
    assert_eq!(after["fuel_units"].as_u64(), before["fuel_units"].as_u64().map(|units| 2 * units));
}

#[tokio::test]
async fn a_spent_month_refuses_until_the_next_also_after_a_restart_and_a_new_start() {
    let thrifty = ROUTES.source().edit(|manifest| manifest.limits.fuel_per_month = Some(150_000_000));
    let host = TestHost::new().tenant("acme").tenant("globex").with_release(thrifty.signed_by(ALICE)).await;
    let call =
        async |host: &TestHost, tenant: &str, path: &str| host.user(tenant, &[]).get_route("test.routes", path).await;
    call(&host, "acme", "/loop").await.expect(503);
    call(&host, "acme", "/loop").await.expect(503);

    let refused = call(&host, "acme", "/").await;
    assert_eq!(refused.outcome(), (429, "rate-limited".to_owned()));
    let wait_s: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=31 * 86_400).contains(&wait_s), "{wait_s}");
    assert!(refused.problem()["detail"].as_str().unwrap().contains("fuel of this month"), "{:?}", refused.problem());
    call(&host, "globex", "/").await.expect(200);

    let admin = host.tenant_admin("acme");
    admin.disable_here("test.routes").await.expect(200);
    admin.enable_here("test.routes").await.expect(200);
    assert_eq!(call(&host, "acme", "/").await.status, 429);
    let host = host.restart().await;
    assert_eq!(call(&host, "acme", "/").await.status, 429);
    call(&host, "globex", "/").await.expect(200);
}

#[tokio::test]
async fn a_policy_that_allows_more_ends_a_spent_month() {
    let allowing =
        |units: u64| STANDARD.replace("[allow.limits]", &format!("[allow.limits]\nfuel_per_month = {units}"));
    let host = TestHost::new().tenant("acme").policy(&allowing(90_000_000)).with(ROUTES).await;
    let acme = host.user("acme", &[]);
    acme.get_route("test.routes", "/loop").await.expect(503);
    assert_eq!(acme.get_route("test.routes", "/").await.status, 429);

    host.install_policy(&allowing(1_000_000_000)).await;

    eventually("the plugin to serve under the new policy", || async {
        (acme.get_route("test.routes", "/").await.status == 200).then_some(())
    })
    .await;
    let found = usage(&host.tenant_admin("acme"), "test.routes").await;
    assert_eq!(found["fuel_per_month"], 1_000_000_000);
}

#[tokio::test]
async fn hosts_that_share_a_database_share_the_account() {
    let one = TestHost::on_postgres().tenant("acme").with(HELLO).await;
    let two = one.another().await;
    eventually("the second host to have started", || async {
        (two.anyone().get("/ready").await.status == 200).then_some(())
    })
    .await;
    let before = usage(&one.tenant_admin("acme"), "acme.hello").await;
    for host in [&one, &two] {
        host.user("acme", &["acme.hello.hello.greet"]).get_route("acme.hello", "/visits").await.expect(200);
    }

    usage(&two.tenant_admin("acme"), "acme.hello").await;
    let after = usage(&one.tenant_admin("acme"), "acme.hello").await;

    assert_eq!(of_entry(&after, "route", "calls"), of_entry(&before, "route", "calls") + 2);
}

#[tokio::test]
async fn usage_is_for_those_who_may_and_for_months_that_are_ones() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(ROUTES).await;
    let check = async |client: Client, path: &str, status: u16, code: &str| {
        assert_eq!(client.get(path).await.outcome(), (status, code.to_owned()), "{path}");
    };

    check(host.anyone(), "/api/v1/plugins/test.routes/usage", 401, "unauthenticated").await;
    check(host.tenant_admin("acme"), "/api/v1/plugins/test.routes/usage", 403, "role-required").await;
    check(host.user("acme", &[]), "/api/v1/tenant/plugins/test.routes/usage", 403, "role-required").await;
    let of_another = "/api/v1/tenant/plugins/test.routes/usage?tenant=acme";
    check(host.tenant_admin("globex"), of_another, 403, "role-required").await;
    check(host.admin(), "/api/v1/plugins/test.nothing/usage", 404, "not-found").await;
    check(host.admin(), "/api/v1/plugins/test.routes/usage?tenant=nobody", 404, "not-found").await;
    check(host.admin(), "/api/v1/plugins/test.routes/usage?month=2026-13", 422, "invalid-input").await;
    let past = host.admin().get("/api/v1/plugins/test.routes/usage?month=2020-01").await.expect(200).json();
    assert_eq!(past, json!({ "items": [], "next_cursor": null }));
}

#[tokio::test]
async fn an_account_goes_with_its_tenant() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);
    host.admin().get("/api/v1/plugins/test.routes/usage").await.expect(200);

    host.admin().delete("/api/v1/tenants/acme").await.expect(204);

    let left = host.admin().get("/api/v1/plugins/test.routes/usage").await.expect(200).json();
    assert_eq!(left["items"], json!([]));
}
