//! A version that may do more than the one before: held until somebody in security decides, and then until the tenant consents.

use bulkhead_model::Role;
use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::keys::{ALICE, CAROL};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Client, Release, TestHost, eventually};
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{Capabilities, ReleaseStatement, Review, StructuralLimits, bundle};
use serde_json::{Value, json};

use crate::capabilities::{narrow, wide};

const PLUGIN: &str = "test.routes";

/// [`STANDARD`], with reviews of what is wider.
fn reviewed() -> String {
    STANDARD.replace("plugin = \"*\"", "plugin = \"*\"\nreview_wider = true")
}

/// A host that runs the narrow version in a tenant.
async fn host() -> TestHost {
    TestHost::new().policy(&reviewed()).tenant("acme").with(ROUTES).await
}

/// Registers another version in the place of the one that runs, and begins to install it.
async fn replace(host: &TestHost, release: &Release) -> Value {
    let admin = host.admin();
    if admin.status_of(PLUGIN).await == "active" {
        admin.disable(PLUGIN).await.expect(200);
    }
    if admin.status_of(PLUGIN).await != "registered" {
        admin.uninstall(PLUGIN, "").await.expect(200);
    }
    let published = admin.publish(release).await;
    assert!(matches!(published.status, 200 | 201), "{}", published.text());
    admin.install(PLUGIN).await.expect(200).json()
}

async fn pending(host: &TestHost) -> Vec<Value> {
    let list = host.security().get("/api/v1/reviews?status=pending").await.expect(200).json();
    list["items"].as_array().unwrap().clone()
}

async fn decide(client: &Client, review: &Value, decision: &str) -> bulkhead_testkit::Answer {
    let path = format!("/api/v1/reviews/{}", review["id"].as_str().unwrap());
    client.post_json(&path, &json!({ "decision": decision, "reason": "RISK-1" })).await
}

async fn end_of(host: &TestHost, operation: &Value) -> Value {
    let path = format!("/api/v1/operations/{}", operation["id"].as_str().unwrap());
    eventually("the end of the installation", || async {
        let operation = host.admin().get(&path).await.expect(200).json();
        (!["running", "pending-review"].contains(&operation["status"].as_str().unwrap())).then_some(operation)
    })
    .await
}

#[tokio::test]
async fn a_version_that_may_do_more_serves_nobody_until_security_approves_it() {
    let host = host().await;

    let operation = replace(&host, &wide("0.2.0")).await;
    let host = host.restart().await;
    let (held, route) = (host.admin().plugin(PLUGIN).await.json(), host.user("acme", &[]).get_route(PLUGIN, "/").await);
    let enabling = host.tenant_admin("acme").enable_here(PLUGIN).await;
    let waiting = pending(&host).await;

    assert_eq!(
        (&operation["status"], &operation["error"]["code"]),
        (&json!("pending-review"), &json!("pending-review"))
    );
    assert_eq!(held["status"], "installing");
    assert!(held["last_error"].as_str().unwrap().starts_with("pending-review"), "{held}");
    assert_eq!((route.status, enabling.status), (404, 409));
    let [review] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((&review["base_version"], &review["version"]), (&json!("0.1.0"), &json!("0.2.0")));
    let added: Vec<&str> =
        review["wider"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(added.contains(&"bulkhead:plugin/kv"), "{review}");

    decide(&host.security(), review, "approve").await.expect(200);
    let ended = end_of(&host, &operation).await;

    assert_eq!(ended["status"], "succeeded", "{ended}");
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
    assert!(pending(&host).await.is_empty());
    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
    let entry = audit["items"].as_array().unwrap().iter().find(|entry| entry["action"] == "review.approved").unwrap();
    assert_eq!((&entry["actor"], &entry["detail"]["diff_digest"]), (&json!("sec"), &review["diff_digest"]));
}

#[tokio::test]
async fn what_a_wider_version_asks_for_waits_for_the_tenants_consent() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    assert_eq!(replace(&host, &wide("0.2.0")).await["status"], "succeeded", "no rule asks for a review");
    let admin = host.tenant_admin("acme");
    let shown = async || admin.get("/api/v1/tenant/plugins").await.expect(200).json()["items"][0].clone();

    let upgraded = shown().await;
    admin.enable_here(PLUGIN).await.expect(200);
    let enabled_again = shown().await;
    admin.post_json(&format!("/api/v1/tenant/plugins/{PLUGIN}/consent"), &json!({})).await.expect(200);
    let consented = shown().await;

    for before in [upgraded, enabled_again] {
        assert_eq!((&before["granted"], &before["pending_consent"]), (&json!([]), &json!(["bulkhead:plugin/kv"])));
        assert_eq!((&before["current_version"], &before["status"]), (&json!("0.2.0"), &json!("ready")), "{before}");
    }
    assert_eq!((&consented["granted"], &consented["pending_consent"]), (&json!(["bulkhead:plugin/kv"]), &json!([])));
}

#[tokio::test]
async fn a_rejected_version_is_not_installed_and_can_be_asked_for_again() {
    let host = host().await;
    let operation = replace(&host, &wide("0.2.0")).await;
    let review = pending(&host).await.remove(0);

    decide(&host.security(), &review, "reject").await.expect(200);
    let ended = end_of(&host, &operation).await;
    let twice = decide(&host.security(), &review, "approve").await;
    let status = host.admin().status_of(PLUGIN).await;
    let again = host.admin().install(PLUGIN).await.expect(200).json();

    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("review-rejected")));
    assert!(ended["error"]["detail"].as_str().unwrap().contains("RISK-1"), "{ended}");
    assert_eq!(twice.outcome(), (409, "conflict".to_owned()));
    assert_eq!(status, "registered");
    assert_eq!(again["status"], "pending-review");
    assert_eq!(pending(&host).await.len(), 1);
}

#[tokio::test]
async fn nobody_approves_what_they_registered_or_install() {
    let host = host().await;
    replace(&host, &wide("0.2.0")).await;
    let review = pending(&host).await.remove(0);
    let root = host.client("root", None, &[Role::Security], &[]);

    let own = decide(&root, &review, "approve").await;
    let by_admin = decide(&host.admin(), &review, "approve").await;
    let unknown = decide(&host.security(), &json!({ "id": "none" }), "approve").await;
    let wordless = format!("/api/v1/reviews/{}", review["id"].as_str().unwrap());
    let wordless = host.security().post_json(&wordless, &json!({ "decision": "approve", "reason": "" })).await;

    assert_eq!(own.outcome(), (403, "self-review".to_owned()));
    assert_eq!(by_admin.outcome(), (403, "role-required".to_owned()));
    assert_eq!(unknown.outcome(), (404, "not-found".to_owned()));
    assert_eq!(wordless.outcome(), (422, "invalid-input".to_owned()));
    assert_eq!(host.admin().get("/api/v1/reviews").await.outcome(), (403, "role-required".to_owned()));
    assert_eq!(pending(&host).await.len(), 1);
    decide(&root, &review, "reject").await.expect(200);
}

#[tokio::test]
async fn what_is_no_wider_waits_for_nobody() {
    let host = host().await;

    let same = replace(&host, &narrow("0.2.0")).await;
    let wider = replace(&host, &wide("0.3.0")).await;
    let review = pending(&host).await.remove(0);
    decide(&host.security(), &review, "approve").await.expect(200);
    end_of(&host, &wider).await;
    let still_wide = replace(&host, &wide("0.4.0")).await;
    let narrower = replace(&host, &narrow("0.5.0")).await;

    assert_eq!((&same["status"], &wider["status"]), (&json!("succeeded"), &json!("pending-review")));
    assert_eq!((&still_wide["status"], &narrower["status"]), (&json!("succeeded"), &json!("succeeded")));
}

/// The release with a reviewer's signature over a step between two releases.
fn signed_off(release: Release, base: &Value, diff: &Value) -> Release {
    let review = Review {
        policy_version: 1,
        base_digest: Some(base.as_str().unwrap().parse().unwrap()),
        capability_diff_digest: Some(diff.as_str().unwrap().parse().unwrap()),
        decision: Decision::Approve,
        reason: "read the difference".to_owned(),
    };
    let statement = ReleaseStatement { review: Some(review), ..release.statement() };
    let mut release = release;
    release.bundles.push(bundle::sign(&CAROL.signing(), &statement));
    release
}

/// [`reviewed`], with carol as the reviewer of every release.
fn reviewed_by_carol() -> String {
    let author = "signers = [{ role = \"author\", of = [\"alice\"], threshold = 1 }";
    let signers = format!("{author}, {{ role = \"reviewer\", of = [\"carol\"], threshold = 1 }}");
    reviewed()
        .replace(author, &signers)
        .replace("[[allow]]", "[[principal]]\nname = \"carol\"\nkeys = [\"carol\"]\n[[allow]]")
}

#[tokio::test]
async fn a_reviewers_signature_over_exactly_this_step_lets_a_version_go_on() {
    let host = TestHost::new()
        .policy(&reviewed_by_carol())
        .tenant("acme")
        .with_release(ROUTES.signed_by(ALICE).reviewed_by(CAROL))
        .await;
    // That somebody reviewed the release says nothing of the step.
    let release = wide("0.2.0").reviewed_by(CAROL);
    let operation = replace(&host, &release).await;
    let review = pending(&host).await.remove(0);
    let (base, diff, own) = (&review["base_digest"], &review["diff_digest"], &review["digest"]);

    for (wrong_base, wrong_diff) in [(own, diff), (base, own), (diff, base)] {
        host.admin().publish(&signed_off(release.clone(), wrong_base, wrong_diff)).await.expect(200);
        assert_eq!(pending(&host).await.len(), 1);
    }
    host.admin().publish(&signed_off(release.clone(), base, diff)).await.expect(200);
    let ended = end_of(&host, &operation).await;

    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert!(pending(&host).await.is_empty());
    host.user("acme", &[]).get_route(PLUGIN, "/").await.expect(200);
    let decided = host.security().get("/api/v1/reviews?status=approved").await.expect(200).json()["items"][0].clone();
    assert_eq!(decided["decided_by"], "signature:carol");
}

#[tokio::test]
async fn a_version_whose_step_was_signed_before_waits_for_nobody() {
    let base = ROUTES.signed_by(ALICE).reviewed_by(CAROL);
    let host = TestHost::new().policy(&reviewed_by_carol()).tenant("acme").with_release(base.clone()).await;
    let release = wide("0.2.0");
    let limits = StructuralLimits::default();
    let of = |bytes: &[u8]| Capabilities::of(bytes, &limits).unwrap();
    let diff = json!(of(&base.bytes).diff(&of(&release.bytes)).digest().to_string());
    let base = json!(bulkhead_model::Digest::of(&base.bytes).to_string());

    let operation = replace(&host, &signed_off(release, &base, &diff)).await;

    assert_eq!(operation["status"], "succeeded", "{operation}");
}
