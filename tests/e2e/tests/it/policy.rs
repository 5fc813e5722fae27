//! `/api/v1/policy`: installing a newer one, what it does to plugins that run, and why a release may run or not.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::guests::{HELLO, hostile};
use bulkhead_testkit::keys::{ALICE, BOB, MALLORY};
use bulkhead_testkit::policies::{STANDARD, signed, signed_by};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

const GREET: &str = "acme.hello.hello.greet";

async fn greet(host: &TestHost) -> u16 {
    host.user("acme", &[GREET]).get_route("acme.hello", "/hello").await.status
}

#[tokio::test]
async fn without_a_policy_nothing_is_allowed() {
    let host = TestHost::new().policy("").await;

    let answer = host.admin().publish(&HELLO.signed_by(ALICE)).await;

    assert_eq!(answer.outcome(), (403, "unknown-signer".to_owned()));
    assert!(host.admin().plugins().await.is_empty());
}

#[tokio::test]
async fn denying_a_key_stops_what_it_signed_and_allowing_it_again_brings_it_back() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    assert_eq!(greet(&host).await, 200);

    host.install_policy(&format!("{STANDARD}\n[[deny]]\nplugin = \"*\"\nkey = \"alice\"\nreason = \"stolen\"\n")).await;
    let denied = greet(&host).await;
    let shown = host.admin().plugin("acme.hello").await.json();
    let host = host.restart().await;
    let denied_after_restart = greet(&host).await;
    host.install_policy(STANDARD).await;

    assert_ne!(denied, 200);
    assert!(shown["last_error"].as_str().unwrap().contains("revoked"), "{shown}");
    assert_ne!(denied_after_restart, 200);
    host.user("acme", &[]).ready("acme.hello").await;
    assert_eq!(greet(&host).await, 200);
}

#[tokio::test]
async fn a_lower_ceiling_takes_an_interface_from_a_running_plugin() {
    let host = TestHost::new().tenant("acme").with(HELLO).with(hostile("echo")).await;

    host.install_policy(&STANDARD.replace("bulkhead:plugin/*", "bulkhead:plugin/kv")).await;

    assert_ne!(greet(&host).await, 200, "the plugin asks for sql");
    host.user("acme", &[]).get_route("hostile.echo", "/ready").await.expect(200);
}

#[tokio::test]
async fn only_a_newer_policy_by_a_root_key_is_installed() {
    let host = TestHost::new().await;
    let put = async |envelope: String| host.security().put_policy(&envelope).await;

    let stale = put(signed(1, STANDARD)).await;
    let foreign = put(signed_by(&MALLORY.signing(), 9, STANDARD)).await;
    let mut changed: Value = serde_json::from_str(&signed(9, STANDARD)).unwrap();
    let other: Value = serde_json::from_str(&signed(10, STANDARD)).unwrap();
    changed["payload"] = other["payload"].clone();
    let changed = put(changed.to_string()).await;

    assert_json_snapshot!(stale.problem(), @r#"
    {
      "code": "policy-stale",
      "detail": "1 problem(s)",
      "errors": [
        {
          "message": "the policy in force has version 1; a new one needs a higher version",
          "pointer": "/version"
        }
      ],
      "status": 409,
      "title": "The policy is older than the one in force",
      "type": "/problems/policy-stale"
    }
    "#);
    assert_json_snapshot!(foreign.problem(), @r#"
    {
      "code": "policy-invalid",
      "detail": "1 problem(s)",
      "errors": [
        {
          "message": "unknown-signer: no root key signed this policy, or it was changed after that",
          "pointer": ""
        }
      ],
      "status": 422,
      "title": "The policy is not valid",
      "type": "/problems/policy-invalid"
    }
    "#);
    assert_eq!(changed.outcome(), foreign.outcome());
    for text in ["", "{}", "[]", "x", "{\"payload\": 1}"] {
        let answer = put(text.to_owned()).await;
        assert_eq!(answer.status, 422, "{text}: {}", answer.text());
    }
    assert_eq!(host.security().get("/api/v1/policy").await.json()["version"], 1);
}

#[tokio::test]
async fn remarks_do_not_keep_a_usable_policy_out() {
    let host = TestHost::new().tenant("acme").await;

    // Two rules overlap, and no rule names bob: worth a remark, no reason for a refusal.
    let text = format!(
        "{STANDARD}\n[[allow]]\nid = \"also\"\nplugin = \"acme.*\"\nsigners = [{{ role = \"author\", of = [\"alice\"], threshold = 1 }}]\ntenants = [\"*\"]\n\
        [[principal]]\nname = \"bob\"\nkeys = [\"bob\"]\n"
    );
    let answer = host.security().put_policy(&signed(2, &text)).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_decision_is_explained() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;

    let allowed = host.security().get("/api/v1/policy/explain?plugin=acme.hello&tenant=acme").await.expect(200).json();
    host.install_policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"bank-*\"]")).await;
    let elsewhere = host
        .security()
        .get("/api/v1/policy/explain?plugin=acme.hello&version=0.1.0&tenant=acme")
        .await
        .expect(200)
        .json();

    assert_json_snapshot!(allowed, @r#"
    {
      "allowed": true,
      "interfaces": [
        "bulkhead:plugin/log",
        "bulkhead:plugin/sql",
        "bulkhead:plugin/config",
        "bulkhead:plugin/authz"
      ],
      "observed": [],
      "refusals": [],
      "rule": "everything-by-alice",
      "rules": [
        {
          "approved_by": "",
          "author": "",
          "expires": null,
          "id": "everything-by-alice",
          "reason": "",
          "refusals": [],
          "trust": "untrusted"
        }
      ],
      "signers": [
        "alice"
      ],
      "trust": "untrusted"
    }
    "#);
    assert_eq!(elsewhere["allowed"], json!(false));
    assert!(!elsewhere["refusals"].as_array().unwrap().is_empty(), "{elsewhere}");
    assert_eq!(
        host.security().get("/api/v1/policy/explain?plugin=acme.nothing").await.outcome(),
        (404, "not-found".to_owned())
    );
}

#[tokio::test]
async fn a_rule_for_other_tenants_keeps_this_one_out() {
    let host = TestHost::new()
        .tenant("acme")
        .tenant("bank-one")
        .policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"bank-*\"]"))
        .await;
    host.admin().install_release(&hostile("echo").signed_by(ALICE)).await;

    let here = host.tenant_admin("acme").enable_here("hostile.echo").await;

    assert!(here.status == 403, "{}", here.text());
    host.tenant_admin("bank-one").enable_here("hostile.echo").await.expect(200);
}

#[tokio::test]
async fn the_policy_is_for_security_alone() {
    let host = TestHost::new().tenant("acme").await;

    for client in [host.admin(), host.tenant_admin("acme"), host.app("acme")] {
        assert_eq!(client.put_policy(&signed(9, STANDARD)).await.outcome(), (403, "role-required".to_owned()));
        assert_eq!(client.get("/api/v1/policy").await.outcome(), (403, "role-required".to_owned()));
        assert_eq!(client.get("/api/v1/policy/explain?plugin=acme.crm").await.status, 403);
    }
}

#[tokio::test]
async fn a_rule_that_no_longer_names_a_tenant_stops_the_plugin_there_and_nowhere_else() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let greet = async |tenant: &str| host.user(tenant, &[GREET]).get_route("acme.hello", "/hello").await.status;

    host.install_policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"globex\"]")).await;
    let without_acme = (greet("acme").await, greet("globex").await);
    let shown = host.tenant_admin("acme").get("/api/v1/tenant/plugins").await.expect(200).json();
    host.install_policy(STANDARD).await;

    assert_eq!(without_acme, (404, 200));
    assert_eq!(shown["items"][0]["status"], "failed");
    assert!(shown["items"][0]["last_error"].as_str().unwrap().contains("tenant"), "{shown}");
    assert_eq!((greet("acme").await, greet("globex").await), (200, 200));
}

#[tokio::test]
async fn every_refusal_by_policy_is_on_record() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    host.tenant_admin("acme").disable_here("acme.hello").await.expect(200);
    host.admin().publish(&hostile("echo").signed_by(MALLORY)).await.expect(403);
    host.install_policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"globex\"]")).await;
    host.tenant_admin("acme").enable_here("acme.hello").await.expect(403);

    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();

    let refusals: Vec<(Value, Value)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "plugin.refuse")
        .map(|entry| (entry["plugin"].clone(), entry["tenant"].clone()))
        .collect();
    assert_eq!(refusals, [(Value::Null, Value::Null), (json!("acme.hello"), json!("acme"))], "{audit}");
}

#[tokio::test]
async fn a_signature_that_comes_later_counts_for_a_release_that_runs() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    let author = "signers = [{ role = \"author\", of = [\"alice\"], threshold = 1 }";
    let reviewed = STANDARD
        .replace(author, &format!("{author}, {{ role = \"reviewer\", of = [\"bob\"], threshold = 1 }}"))
        .replace("[[allow]]", "[[principal]]\nname = \"bob\"\nkeys = [\"bob\"]\n[[allow]]");

    host.admin().publish(&HELLO.signed_by(ALICE).reviewed_by(BOB)).await.expect(200);
    host.install_policy(&reviewed).await;

    assert_eq!(greet(&host).await, 200);
    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
    let added = audit["items"].as_array().unwrap().iter().find(|entry| entry["action"] == "release.sign");
    assert_eq!(added.unwrap()["plugin"], "acme.hello");
}

#[tokio::test]
async fn a_host_whose_root_keys_were_changed_starts_and_allows_nothing_until_it_has_a_policy_of_theirs() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    let other_root = host.data_dir().join("other-root.pem");
    std::fs::write(&other_root, MALLORY.public_pem()).unwrap();
    let host = host.restart_with(|config| config.policy.root_keys = vec![other_root]).await;

    let refused = greet(&host).await;
    let envelope = signed_by(&MALLORY.signing(), 9, STANDARD);
    host.security().put_policy(&envelope).await.expect(200);

    assert_eq!(refused, 404);
    host.user("acme", &[]).ready("acme.hello").await;
    assert_eq!(greet(&host).await, 200);
}

#[tokio::test]
async fn the_signers_are_those_whose_keys_the_policy_knows() {
    let host = TestHost::new().await;
    let text = format!(
        "[[principal]]\nname = \"bob\"\nkeys = [\"bob\"]\nvalid = [\"2019-01-01\", \"2020-01-01\"]\n\
         [[principal]]\nname = \"mallory\"\nkeys = [\"mallory\"]\n{STANDARD}\n\
         [[deny]]\nplugin = \"*\"\nkey = \"mallory\"\nreason = \"stolen\"\n"
    );
    host.install_policy(&text).await;

    let signers = host.security().get("/api/v1/signers").await.expect(200).json();
    let refused = host.admin().get("/api/v1/signers").await;

    let told: Vec<_> = signers["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|signer| (signer["principal"].clone(), signer["status"].clone(), signer["rules"].clone()))
        .collect();
    let wanted = [
        ("bob", "expired", json!([])),
        ("mallory", "denied", json!([])),
        ("alice", "active", json!(["everything-by-alice"])),
    ];
    assert_eq!(told, wanted.map(|(who, status, rules)| (json!(who), json!(status), rules)));
    assert_eq!(signers["items"][1]["reason"], "stolen");
    assert!(signers["items"][2]["key"].as_str().unwrap().starts_with("ed25519:"));
    assert_eq!(refused.outcome(), (403, "role-required".to_owned()));
}
