//! Observe mode: what a rule, a deny entry or a policy would deny is told and recorded, and nothing is denied by it.

use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{TestHost, eventually};
use serde_json::{Value, json};

const PLUGIN: &str = "test.routes";

async fn observed(host: &TestHost) -> Vec<(Value, Value)> {
    let path = format!("/api/v1/policy/explain?plugin={PLUGIN}&tenant=acme");
    let told = host.security().get(&path).await.expect(200).json();
    assert_eq!(told["allowed"], json!(true), "{told}");
    told["observed"].as_array().unwrap().iter().map(|one| (one["by"].clone(), one["code"].clone())).collect()
}

async fn recorded(host: &TestHost) -> Vec<Value> {
    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
    let mut entries = audit["items"].as_array().unwrap().clone();
    entries.retain(|entry| entry["action"] == "plugin.observe");
    entries
}

#[tokio::test]
async fn an_observed_deny_entry_denies_nothing_and_is_recorded_once() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let denies = format!("{STANDARD}\n[[deny]]\nmode = \"observe\"\nplugin = \"{PLUGIN}\"\nreason = \"old\"\n");

    host.install_policy(&denies).await;
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
    let told = observed(&host).await;
    // Judged again, in the same hour.
    host.install_policy(&denies).await;
    let in_tenant = eventually("a record", || async {
        let mut entries = recorded(&host).await;
        entries.retain(|entry| entry["tenant"] == "acme");
        (!entries.is_empty()).then_some(entries)
    })
    .await;

    assert_eq!(told, [(json!("deny"), json!("revoked"))]);
    assert_eq!(in_tenant.len(), 1, "{in_tenant:?}");
    assert_eq!(in_tenant[0]["detail"]["reason"], "revoked");
    assert!(host.library().metrics_text().contains("reason=\"observed-revoked\""));
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
}

#[tokio::test]
async fn an_observed_rule_tells_what_a_stricter_one_would_deny() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let strict = "[[allow]]\nid = \"strict\"\nmode = \"observe\"\nplugin = \"test.*\"\nversion = \">=2\"\ntenants = [\"*\"]\n\
         signers = [{ role = \"author\", of = [\"alice\"], threshold = 1 }]\n";

    host.install_policy(&format!("{STANDARD}\n{strict}")).await;

    assert_eq!(observed(&host).await, [(json!("strict"), json!("version-out-of-range"))]);
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
}

#[tokio::test]
async fn an_observed_policy_stands_beside_the_one_in_force_until_a_newer_one_is_enforced() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;

    host.install_policy("mode = \"observe\"\n").await;
    let host = host.restart().await;
    host.user("acme", &[]).ready(PLUGIN).await;
    let told = observed(&host).await;
    let shown = host.security().get("/api/v1/policy").await.expect(200).json();
    let stale = host.security().put_policy(&bulkhead_testkit::policies::signed(2, STANDARD)).await;
    host.security().put_policy(&bulkhead_testkit::policies::signed(3, STANDARD)).await.expect(200);

    assert!(!told.is_empty() && told.iter().all(|(by, _)| by == "policy version 2"), "{told:?}");
    assert_eq!((&shown["version"], &shown["observed"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(stale.outcome(), (409, "policy-stale".to_owned()));
    assert_eq!(observed(&host).await, []);
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
}
