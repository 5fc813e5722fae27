//! Revocations: what they hit stops at once, everywhere, and never comes back, whatever policy comes.

use std::time::{Duration, Instant};

use bulkhead_testkit::guests::{ROUTES, hostile};
use bulkhead_testkit::keys::{ALICE, MALLORY};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Answer, Release, TestHost, eventually};
use serde_json::{Value, json};

const PLUGIN: &str = "test.routes";
const PATH: &str = "/api/v1/revocations";
/// Longest time from the request to the stop.
const STOP_MAX: Duration = Duration::from_secs(1);

async fn revoke(host: &TestHost, body: &Value) -> Answer {
    host.security().post_json(PATH, body).await
}

async fn serves(host: &TestHost) -> bool {
    host.user("acme", &[]).get_route(PLUGIN, "/").await.status == 200
}

fn release() -> Release {
    ROUTES.signed_by(ALICE)
}

#[tokio::test]
async fn a_revoked_key_stops_what_it_signed_within_a_second_and_for_good() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    assert!(serves(&host).await);

    let began = Instant::now();
    let body = json!({ "key": ALICE.verifying().to_policy_text(), "reason": "stolen" });
    revoke(&host, &body).await.expect(201);
    let (stopped, took) = (!serves(&host).await, began.elapsed());
    let published = host.admin().publish(&hostile("echo").signed_by(ALICE)).await;
    let enabled = host.tenant_admin("acme").enable_here(PLUGIN).await;
    host.install_policy(STANDARD).await;
    let after_policy = serves(&host).await;
    let host = host.restart().await;
    let after_restart = serves(&host).await;

    assert!(stopped && took < STOP_MAX, "{took:?}");
    assert_eq!(published.outcome(), (403, "revoked".to_owned()));
    assert_eq!(enabled.outcome(), (403, "revoked".to_owned()));
    assert!(!after_policy && !after_restart);
    let shown = host.admin().plugin(PLUGIN).await.json();
    assert!(shown["last_error"].as_str().unwrap().contains("stolen"), "{shown}");
    let signers = host.security().get("/api/v1/signers").await.expect(200).json();
    assert_eq!(signers["items"][0]["status"], "denied");
}

#[tokio::test]
async fn a_release_a_plugin_or_a_range_of_versions_is_revoked_and_nothing_beside_it() {
    let check = async |body: Value, wanted: bool| {
        let host = TestHost::new().tenant("acme").with(ROUTES).await;
        revoke(&host, &body).await.expect(201);
        assert_eq!(!serves(&host).await, wanted, "{body}");
    };
    let digest = bulkhead_model::Digest::of(&release().bytes).to_string();
    let other = bulkhead_model::Digest::of(b"another").to_string();
    let key_id = ALICE.verifying().id().to_string();

    check(json!({ "digest": digest, "reason": "x" }), true).await;
    check(json!({ "digest": other, "reason": "x" }), false).await;
    check(json!({ "plugin": PLUGIN, "reason": "x" }), true).await;
    check(json!({ "plugin": "test.*", "version": "=0.1.0", "reason": "x" }), true).await;
    check(json!({ "plugin": PLUGIN, "version": ">=0.2.0", "reason": "x" }), false).await;
    check(json!({ "key": key_id, "reason": "x" }), true).await;
    check(json!({ "key": MALLORY.verifying().to_policy_text(), "reason": "x" }), false).await;
    check(json!({ "plugin": PLUGIN, "from": "2199-01-01T00:00:00Z", "reason": "x" }), false).await;
    check(json!({ "plugin": PLUGIN, "from": "2020-01-01T00:00:00Z", "reason": "x" }), true).await;
}

#[tokio::test]
async fn a_revocation_names_something_and_says_why() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let check = async |body: Value| {
        assert_eq!(revoke(&host, &body).await.status, 422, "{body}");
    };

    check(json!({ "reason": "everything" })).await;
    check(json!({ "version": "*", "reason": "everything" })).await;
    check(json!({ "plugin": PLUGIN })).await;
    check(json!({ "plugin": PLUGIN, "reason": "" })).await;
    check(json!({ "plugin": "acme*", "reason": "x" })).await;
    check(json!({ "plugin": PLUGIN, "version": "new", "reason": "x" })).await;
    check(json!({ "key": "ed25519:AAAA", "reason": "x" })).await;
    check(json!({ "key": MALLORY.verifying().id().to_string(), "reason": "x" })).await;
    let by_admin = host.admin().post_json(PATH, &json!({ "plugin": PLUGIN, "reason": "x" })).await;
    assert_eq!(by_admin.outcome(), (403, "role-required".to_owned()));
    assert_eq!(host.admin().get(PATH).await.status, 403);
    assert!(serves(&host).await);
}

#[tokio::test]
async fn revocations_are_listed_by_epoch_and_are_on_record() {
    let host = TestHost::new().await;
    for number in 1..=3 {
        revoke(&host, &json!({ "plugin": format!("acme.p{number}"), "reason": "x" })).await.expect(201);
    }

    let first = host.security().get(&format!("{PATH}?limit=2")).await.expect(200).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = host.security().get(&format!("{PATH}?limit=2&cursor={cursor}")).await.expect(200).json();
    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();

    let epochs = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|one| one["epoch"].as_u64().unwrap()).collect()
    };
    assert_eq!((epochs(&first), epochs(&rest)), (vec![1, 2], vec![3]));
    assert_eq!(rest["items"][0]["revoked_by"], "sec");
    let added = audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "revocation.add");
    assert_eq!(added.count(), 3);
}

#[tokio::test]
async fn what_one_host_revokes_stops_on_the_others_and_never_starts_on_one_that_was_away() {
    let one = TestHost::on_postgres().tenant("acme").with(ROUTES).await;
    let two = one.another().await;
    eventually("the second host", || async { serves(&two).await.then_some(()) }).await;

    revoke(&one, &json!({ "plugin": PLUGIN, "reason": "CVE" })).await.expect(201);
    let began = Instant::now();
    eventually("the stop on the other host", || async { (!serves(&two).await).then_some(()) }).await;
    let took = began.elapsed();
    let away = one.another().await;
    eventually("the third host", || async { (away.anyone().get("/ready").await.status == 200).then_some(()) }).await;

    assert!(took < STOP_MAX, "{took:?}");
    assert!(!serves(&away).await && !serves(&one).await);
}
