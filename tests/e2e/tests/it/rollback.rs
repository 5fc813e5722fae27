//! Going back to an older version: an act of its own, with a reason, on record, and where policy says so with a reviewer's signature.

use bulkhead_model::Digest;
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::keys::{ALICE, CAROL, MALLORY};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Answer, Key, Release, TestHost};
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{ReleaseStatement, Review, bundle};
use serde_json::{Value, json};

const PLUGIN: &str = "acme.hello";
const INSTALL: &str = "/api/v1/plugins/acme.hello/install";
const ROLLBACK: &str = "/api/v1/plugins/acme.hello/rollback";

fn release(version: &str) -> Release {
    HELLO.source().version(version).signed_by(ALICE)
}

/// The release with a reviewer's word that it may come back in the place of another.
fn lets_back(release: Release, reviewer: Key, newer: &Release) -> Release {
    let review = Review {
        policy_version: 1,
        base_digest: Some(Digest::of(&newer.bytes)),
        capability_diff_digest: None,
        decision: Decision::Rollback,
        reason: "INC-42".to_owned(),
    };
    let statement = ReleaseStatement { review: Some(review), ..release.statement() };
    let mut release = release;
    release.bundles.push(bundle::sign(&reviewer.signing(), &statement));
    release
}

/// [`STANDARD`], in which carol reviews; lines are added to its rule.
fn reviewed(rule: &str) -> String {
    let text = STANDARD.replace("version = \"*\"", &format!("version = \"*\"\n{rule}"));
    format!(
        "[[principal]]\nname = \"carol\"\nkeys = [\"carol\"]\n{text}\n[[allow]]\nid = \"elsewhere\"\nplugin = \"other.plugin\"\n\
         tenants = [\"*\"]\nsigners = [{{ role = \"reviewer\", of = [\"carol\"], threshold = \"any\" }}]\n"
    )
}

async fn uninstall(host: &TestHost) {
    let admin = host.admin();
    if admin.status_of(PLUGIN).await == "active" {
        admin.disable(PLUGIN).await.expect(200);
    }
    admin.uninstall(PLUGIN, "").await.expect(200);
}

/// A host on which 0.1.0 ran, then 0.2.0, and nothing is installed now.
async fn host(policy: &str) -> TestHost {
    let host = TestHost::new().policy(policy).tenant("acme").with_release(release("0.1.0")).await;
    uninstall(&host).await;
    host.admin().install_release(&release("0.2.0")).await;
    uninstall(&host).await;
    host
}

async fn post(host: &TestHost, path: &str, body: &Value) -> Answer {
    let begun = host.admin().post_json(path, body).await;
    host.admin().ended(begun).await
}

async fn audited(host: &TestHost, action: &str) -> Vec<Value> {
    let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
    audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == action).cloned().collect()
}

fn is_back(answer: &Answer) {
    let operation = answer.json();
    assert_eq!((&operation["status"], &operation["version"]), (&json!("succeeded"), &json!("0.1.0")), "{operation}");
}

#[tokio::test]
async fn an_older_version_is_installed_only_by_an_act_of_its_own_that_is_on_record() {
    let host = host(STANDARD).await;
    host.admin().publish(&release("0.1.0")).await.expect(200);
    let body = json!({ "version": "0.1.0" });

    let silent = post(&host, INSTALL, &body).await;
    let latest = post(&host, INSTALL, &json!({})).await;
    let wordless = post(&host, INSTALL, &json!({ "version": "0.1.0", "rollback": true })).await;
    let empty = post(&host, INSTALL, &json!({ "version": "0.1.0", "rollback": true, "reason": "" })).await;
    let unmeant = post(&host, INSTALL, &json!({ "version": "0.1.0", "reason": "INC-42" })).await;
    let status = host.admin().status_of(PLUGIN).await;
    let meant = post(&host, INSTALL, &json!({ "version": "0.1.0", "rollback": true, "reason": "INC-42" })).await;

    assert_eq!(silent.outcome(), (409, "downgrade".to_owned()));
    assert_eq!(latest.outcome(), (409, "downgrade".to_owned()));
    for answer in [wordless, empty, unmeant] {
        assert_eq!(answer.outcome(), (422, "invalid-input".to_owned()), "{}", answer.text());
    }
    assert_eq!(status, "registered");
    is_back(&meant);
    let entries = audited(&host, "plugin.rollback").await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let digest = |version: &str| Digest::of(&release(version).bytes).to_string();
    assert_eq!((&entry["actor"], &entry["plugin"]), (&json!("root"), &json!(PLUGIN)));
    let wanted = json!({
        "from": { "version": "0.2.0", "digest": digest("0.2.0") },
        "to": { "version": "0.1.0", "digest": digest("0.1.0") },
        "reason": "INC-42",
    });
    assert_eq!(entry["detail"], wanted);
    assert_eq!(host.user("acme", &["acme.hello.hello.greet"]).get_route(PLUGIN, "/hello").await.status, 200);
    uninstall(&host).await;
    host.admin().install_release(&release("0.2.0")).await;
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_before_from_where_an_install_is_legal() {
    let host = host(STANDARD).await;

    let newer = post(&host, ROLLBACK, &json!({ "version": "0.2.0", "reason": "INC-42" })).await;
    let unknown = post(&host, ROLLBACK, &json!({ "version": "0.1.9", "reason": "INC-42" })).await;
    let wordless = post(&host, ROLLBACK, &json!({ "reason": "" })).await;
    let back = post(&host, ROLLBACK, &json!({ "reason": "INC-42" })).await;
    let further = post(&host, ROLLBACK, &json!({ "reason": "INC-42" })).await;
    let running = post(&host, ROLLBACK, &json!({ "version": "0.1.0", "reason": "INC-42" })).await;
    let nothing = host.admin().post_json("/api/v1/plugins/acme.none/rollback", &json!({ "reason": "x" })).await;
    let by_security = host.security().post_json(ROLLBACK, &json!({ "reason": "x" })).await;

    assert_eq!(newer.outcome(), (409, "conflict".to_owned()));
    assert_eq!(unknown.outcome(), (404, "not-found".to_owned()));
    assert_eq!(wordless.outcome(), (422, "invalid-input".to_owned()));
    is_back(&back);
    assert_eq!(further.outcome(), (409, "conflict".to_owned()), "there is no older one");
    assert_eq!(running.outcome(), (409, "conflict".to_owned()));
    assert_eq!(nothing.outcome(), (404, "not-found".to_owned()));
    assert_eq!(by_security.outcome(), (403, "role-required".to_owned()));
}

#[tokio::test]
async fn a_rollback_of_what_is_installed_names_the_legal_acts() {
    let host = TestHost::new().with_release(release("0.1.0")).await;
    uninstall(&host).await;
    host.admin().install_release(&release("0.2.0")).await;

    let refused = post(&host, ROLLBACK, &json!({ "reason": "INC-42" })).await;

    assert_eq!(refused.outcome(), (409, "refused-transition".to_owned()));
    assert!(refused.text().contains("uninstall"), "{}", refused.text());
    assert_eq!(audited(&host, "plugin.rollback").await, [] as [Value; 0]);
    assert_eq!(host.admin().plugin(PLUGIN).await.json()["version"], "0.2.0");
}

#[tokio::test]
async fn where_policy_says_so_a_reviewer_signs_for_exactly_this_step_back() {
    let host = host(&reviewed("review_rollback = true")).await;
    let body = json!({ "version": "0.1.0", "reason": "INC-42" });
    let (old, new) = (release("0.1.0"), release("0.2.0"));

    let unsigned = post(&host, ROLLBACK, &body).await;
    host.admin().publish(&lets_back(old.clone(), MALLORY, &new)).await.expect(200);
    let by_stranger = post(&host, ROLLBACK, &body).await;
    host.admin().publish(&lets_back(old.clone(), CAROL, &old)).await.expect(200);
    let elsewhere = post(&host, ROLLBACK, &body).await;
    host.admin().publish(&lets_back(old, CAROL, &new)).await.expect(200);
    let signed = post(&host, ROLLBACK, &body).await;

    for answer in [unsigned, by_stranger, elsewhere] {
        assert_eq!(answer.outcome(), (403, "threshold-not-met".to_owned()), "{}", answer.text());
    }
    is_back(&signed);
}

#[tokio::test]
async fn what_was_revoked_never_comes_back() {
    let host = host(&reviewed("")).await;
    let digest = Digest::of(&release("0.1.0").bytes).to_string();
    host.admin().publish(&lets_back(release("0.1.0"), CAROL, &release("0.2.0"))).await.expect(200);
    host.security().post_json("/api/v1/revocations", &json!({ "digest": digest, "reason": "CVE" })).await.expect(201);

    let back = post(&host, ROLLBACK, &json!({ "reason": "INC-42" })).await;

    assert_eq!(back.outcome(), (403, "revoked".to_owned()));
    assert_ne!(host.admin().status_of(PLUGIN).await, "installed");
}

#[tokio::test]
async fn a_release_older_than_the_newest_known_is_registered_only_with_a_reviewers_signature() {
    let host = TestHost::new().policy(&reviewed("")).with_release(release("0.2.0")).await;
    let (late, newest) = (release("0.1.5"), release("0.2.0"));

    let unsigned = host.admin().publish(&late).await;
    let by_author = host.admin().publish(&lets_back(late.clone(), ALICE, &newest)).await;
    let elsewhere = host.admin().publish(&lets_back(late.clone(), CAROL, &late)).await;
    let signed = host.admin().publish(&lets_back(late, CAROL, &newest)).await;

    for answer in [unsigned, by_author, elsewhere] {
        assert_eq!(answer.outcome(), (409, "downgrade".to_owned()), "{}", answer.text());
    }
    assert_eq!(signed.status, 201, "{}", signed.text());
    let entries = audited(&host, "release.rollback").await;
    assert_eq!(entries[0]["detail"]["reviewers"], json!(["carol"]), "{entries:?}");
}
