//! `/api/v1/audit`: every act with its actor, in a chain that proves itself.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::{ALICE, MALLORY};
use serde_json::{Value, json};

#[tokio::test]
async fn every_act_is_in_the_chain_with_its_actor() {
    let host = TestHost::new().tenant("acme").with(hostile("echo")).await;
    host.admin().publish(&hostile("loop").signed_by(MALLORY)).await;
    host.admin().kill("hostile.echo").await.expect(200);
    host.app("acme").declare_filter("demo.value").await.expect(200);
    host.tenant_admin("acme").disable_here("hostile.echo").await.expect(200);

    let entries = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();

    let acts: Vec<String> = entries["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} by {}", entry["action"].as_str().unwrap(), entry["actor"].as_str().unwrap()))
        .collect();
    insta::assert_json_snapshot!(acts, @r#"
    [
      "key.new by bulkhead",
      "key.new by bulkhead",
      "policy.install by sec",
      "key.add by sec",
      "tenant.create by root",
      "release.register by root",
      "plugin.install by root",
      "plugin.version by root",
      "plugin.finish-install by bulkhead",
      "tenant.enable by admin@acme",
      "plugin.enable by admin@acme",
      "tenant.start by bulkhead",
      "plugin.refuse by root",
      "plugin.kill by root",
      "hook.declare by app@acme",
      "tenant.disable by admin@acme"
    ]
    "#);
    let proof = host.security().get("/api/v1/audit/verify").await.expect(200).json();
    assert_eq!((&proof["first_broken"], &proof["entries"]), (&json!(null), &json!(acts.len())));
}

#[tokio::test]
async fn entries_are_read_in_pages_and_by_security_alone() {
    let host = TestHost::new().tenant("acme").await;
    host.admin().publish(&hostile("echo").signed_by(ALICE)).await.expect(201);

    let mut sequences: Vec<Value> = Vec::new();
    let mut path = "/api/v1/audit?limit=1".to_owned();
    loop {
        let page = host.security().get(&path).await.expect(200).json();
        sequences.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["sequence"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/audit?limit=1&cursor={cursor}");
    }

    assert_eq!(sequences, (1..=sequences.len()).map(|sequence| json!(sequence)).collect::<Vec<_>>());
    assert!(sequences.len() >= 3);
    for client in [host.admin(), host.tenant_admin("acme"), host.app("acme"), host.user("acme", &[])] {
        assert_eq!(client.get("/api/v1/audit").await.outcome(), (403, "role-required".to_owned()));
        assert_eq!(client.get("/api/v1/audit/verify").await.outcome(), (403, "role-required".to_owned()));
    }
}

#[tokio::test]
async fn the_chain_holds_over_restarts() {
    let host = TestHost::new().tenant("acme").await;

    let host = host.restart().await;
    host.admin().create_tenant("globex").await.expect(201);

    let proof = host.security().get("/api/v1/audit/verify").await.expect(200).json();
    assert_eq!(proof["first_broken"], json!(null));
    assert!(proof["entries"].as_u64().unwrap() >= 3, "{proof}");
}
