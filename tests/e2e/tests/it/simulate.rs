//! What another policy would change, told before it is installed.

use bulkhead_model::Role;
use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::guests::{ROUTES, hostile};
use bulkhead_testkit::keys::MALLORY;
use bulkhead_testkit::policies::{STANDARD, policy, signed_by};
use bulkhead_testkit::{Client, TestHost, tokens};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/policy/simulate";

fn banks_alone() -> Value {
    let text = STANDARD.replace("tenants = [\"*\"]", "tenants = [\"bank-*\"]");
    serde_json::from_slice(&policy(9, &text).to_json()).unwrap()
}

/// Each change with its plugin and tenant, all pages of them.
async fn changes(client: &Client, query: &str, body: &Value) -> Vec<(String, String, String)> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.post_json(&format!("{PATH}?{query}{cursor}"), body).await.expect(200).json();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        for item in page["items"].as_array().unwrap() {
            found.push((text(&item["change"]), text(&item["plugin_id"]), text(&item["tenant_id"])));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

fn named(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|row| (row.0.to_owned(), row.1.to_owned(), row.2.to_owned())).collect()
}

#[tokio::test]
async fn what_a_policy_would_stop_and_start_is_told_and_nothing_is_changed() {
    let host = TestHost::new().tenant("acme").tenant("bank-one").with(ROUTES).with(hostile("echo")).await;
    let security = host.security();

    let stops = changes(&security, "limit=200", &banks_alone()).await;
    let all = changes(&security, "all=true&limit=200", &banks_alone()).await;
    let in_pages = changes(&security, "all=true&limit=1", &banks_alone()).await;
    let unsigned = signed_by(&MALLORY.signing(), 9, "");
    let nothing_left = changes(&security, "limit=200", &serde_json::from_str(&unsigned).unwrap()).await;

    assert_eq!(stops, named(&[("stops", "hostile.echo", "acme"), ("stops", "test.routes", "acme")]));
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(all, in_pages);
    assert!(nothing_left.len() == 6 && nothing_left.iter().all(|(change, ..)| change == "stops"), "{nothing_left:?}");
    assert_eq!(security.get("/api/v1/policy").await.json()["version"], 1);
    host.user("acme", &[]).get_route("test.routes", "/").await.expect(200);
    host.install_policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"bank-*\"]")).await;
    let again = json!(serde_json::from_slice::<Value>(&policy(9, STANDARD).to_json()).unwrap());
    let starts = changes(&security, "limit=200", &again).await;
    assert_eq!(starts, named(&[("starts", "hostile.echo", "acme"), ("starts", "test.routes", "acme")]));
}

#[tokio::test]
async fn another_ceiling_is_a_change_and_revocations_outlive_the_policy() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let more_fuel = STANDARD.replace("fuel_per_call = 10_000_000_000", "fuel_per_call = 5_000_000_000");
    let more_fuel: Value = serde_json::from_slice(&policy(9, &more_fuel).to_json()).unwrap();

    let changed = changes(&host.security(), "limit=200", &more_fuel).await;
    let body = json!({ "plugin": "test.routes", "reason": "a test" });
    host.security().post_json("/api/v1/revocations", &body).await.expect(201);
    let after = changes(&host.security(), "limit=200", &more_fuel).await;

    assert_eq!(changed, named(&[("changes", "test.routes", "acme"), ("changes", "test.routes", "-")]));
    assert_eq!(after, []);
}

#[tokio::test]
async fn only_security_simulates_and_only_policies() {
    let host = TestHost::new().await;

    let by_admin = host.admin().post_json(PATH, &banks_alone()).await;
    let check = async |query: &str, body: &Value, code: &str| {
        let answer = host.security().post_json(&format!("{PATH}{query}"), body).await;
        assert_eq!(answer.outcome(), (422, code.to_owned()), "{query} {body}");
    };

    assert_eq!(by_admin.outcome(), (403, "role-required".to_owned()));
    check("", &json!({}), "policy-invalid").await;
    check("", &json!({ "payload": 1 }), "policy-invalid").await;
    check("?cursor=x", &banks_alone(), "invalid-input").await;
}

#[tokio::test]
async fn a_policy_file_is_simulated_from_the_command_line() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), "version = 9\nexpires = \"2199-01-01T00:00:00Z\"\n").unwrap();
    let bulkhead = Bulkhead::at(folder.path())
        .env("BULKHEAD_SERVER", &format!("http://{}", host.address()))
        .env("BULKHEAD_TOKEN", &tokens::token("sec", None, &[Role::Security], &[]));

    let json = bulkhead.run(["policy", "simulate", "policy.toml", "--json"]).expect(0).json();
    let text = bulkhead.run(["policy", "simulate", "policy.toml"]).expect(0).stdout;
    let revoked = bulkhead.run(["revoke", "--plugin", "test.routes", "--reason", "a test", "--json"]).expect(0).json();
    let waiting = bulkhead.run(["review", "list"]).expect(0).stdout;

    assert_eq!(json["items"].as_array().unwrap().len(), 2, "{json}");
    assert!(text.contains("stops") && text.contains("acme"), "{text}");
    assert_eq!(revoked["epoch"], 1);
    assert!(waiting.contains("nothing waits"), "{waiting}");
}
