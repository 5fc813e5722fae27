//! The gate of releases: what waits is seen by its owner alone, what the policy forbids is not taken, what a revocation hits is no
//! longer handed out, and a version takes nothing away from those who rely on one before it.

use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::{ALICE, CAROL, MALLORY};
use bulkhead_testkit::release::Release;
use bulkhead_testkit::{Client, TestHost, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::plugins::{CATALOGUE, CRM, artifact, attach, offer, publish, release, tags};
use super::{OPEN, ask, everything, get, holder, is, on_both, push, push_blob, sha256};

/// Authors alone release `acme.crm`; everything else of `acme` needs a reviewer as well.
const REVIEWED: &str = r#"
[[principal]]
name = "alice"
keys = ["alice"]
[[principal]]
name = "carol"
keys = ["carol"]
[[allow]]
id = "reviewed"
plugin = "acme.crm"
version = "*"
signers = [{ role = "author", of = ["alice"], threshold = 1 }, { role = "reviewer", of = ["carol"], threshold = 1 }]
tenants = ["*"]
[allow.ceiling]
interfaces = ["bulkhead:plugin/*"]
"#;

/// What a client finds of version 1.0.0: tag, manifest by digest, artifact, signatures, and the catalogue's word.
async fn seen(client: &Client, manifest: &str, release: &Release) -> (Vec<u16>, String) {
    let mut found = Vec::new();
    for path in [
        format!("/v2/{CRM}/manifests/{}", release.version),
        format!("/v2/{CRM}/manifests/{manifest}"),
        format!("/v2/{CRM}/blobs/{}", sha256(&release.bytes)),
    ] {
        found.push(get(client, &path).await.status);
    }
    let shown = client.get(&format!("{CATALOGUE}/acme.crm")).await;
    let state = match shown.status {
        200 => shown.json()["versions"][0]["state"].as_str().unwrap().to_owned(),
        _ => shown.code(),
    };
    (found, state)
}

fn wanted(statuses: [u16; 3], state: &str) -> (Vec<u16>, String) {
    (statuses.to_vec(), state.to_owned())
}

/// The codes of a refusal at the gate.
fn reasons(body: &Value) -> Vec<String> {
    let reasons = body["errors"][0]["detail"]["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_version_without_signatures_waits_and_only_its_owner_sees_it() {
    on_both(async |host| {
        let release = release("acme.crm", "1.0.0");
        let pusher = holder(host, &["acme"], &["push", "pull"]).await;
        let signer = holder(host, &["acme"], &["sign", "pull"]).await;
        let reader = holder(host, &["acme"], &["pull"]).await;

        let pushed = publish(&pusher, &release).await.expect(201);

        let warned = pushed.header("warning");
        assert!(warned.starts_with("299 - \"version 1.0.0 is pending-signatures"), "{warned}");
        let subject = pushed.header("docker-content-digest").to_owned();
        for owner in [&pusher, &signer] {
            assert_eq!(seen(owner, &subject, &release).await, wanted([200, 200, 200], "pending-signatures"));
            assert_eq!(tags(owner).await, json!(["1.0.0"]));
        }
        assert_eq!(seen(&reader, &subject, &release).await, wanted([404, 404, 404], "not-found"));
        assert_eq!(tags(&reader).await, json!([]));
        assert_eq!(reader.get(CATALOGUE).await.expect(200).json()["items"], json!([]));
        let shown = host.admin().get(CATALOGUE).await.expect(200).json();
        assert_eq!((&shown["items"][0]["latest"], &shown["items"][0]["id"]), (&Value::Null, &json!("acme.crm")));
        assert_eq!(shown["items"][0]["versions"][0]["reasons"][0]["code"], "unsigned");
        let referrers = format!("/v2/{CRM}/referrers/{subject}");

        // One that nobody knows changes nothing; its author's releases it.
        let unknown = release.clone().signed_by(MALLORY);
        let kept = attach(&signer, unknown.bundles[1].as_bytes(), &subject).await.expect(201);
        assert!(kept.header("warning").contains("unknown-signer"), "{}", kept.header("warning"));
        assert_eq!(get(&reader, &referrers).await.expect(200).json()["manifests"], json!([]));
        let released = attach(&signer, release.bundles[0].as_bytes(), &subject).await.expect(201);

        assert_eq!(released.header("warning"), "");
        assert_eq!(seen(&reader, &subject, &release).await, wanted([200, 200, 200], "released"));
        assert_eq!(tags(&reader).await, json!(["1.0.0"]));
        assert_eq!(get(&reader, &referrers).await.expect(200).json()["manifests"].as_array().unwrap().len(), 2);
        let listed = reader.get(CATALOGUE).await.expect(200).json();
        assert_eq!(listed["items"][0]["latest"], "1.0.0");
        let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let moved =
            audit["items"].as_array().unwrap().iter().find(|entry| entry["action"] == "registry.state").unwrap();
        assert!(moved.to_string().contains("released"), "{moved}");
    })
    .await;
}

#[tokio::test]
async fn signatures_may_come_before_the_version() {
    on_both(async |host| {
        let client = everything(host).await;
        let release = release("acme.crm", "1.0.0");
        let manifest = artifact(&client, &release.bytes, "x").await;
        let subject = sha256(manifest.to_string().as_bytes());
        attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);

        let pushed = push(&client, CRM, "1.0.0", &manifest).await.expect(201);

        assert_eq!(pushed.header("warning"), "");
        let reader = holder(host, &["acme"], &["pull"]).await;
        assert_eq!(seen(&reader, &subject, &release).await, wanted([200, 200, 200], "released"));
    })
    .await;
}

#[tokio::test]
async fn a_reviewer_lets_a_version_pass_or_turns_it_down() {
    on_both(async |host| {
        host.install_policy(REVIEWED).await;
        let client = everything(host).await;
        let push_signed = async |version: &str| {
            let release = release("acme.crm", version);
            let subject = offer(&client, &release).await;
            (release, subject)
        };
        let state = async || {
            let shown = client.get(&format!("{CATALOGUE}/acme.crm")).await.expect(200).json();
            shown["versions"][0]["state"].as_str().unwrap().to_owned()
        };

        let (good, subject) = push_signed("1.0.0").await;
        assert_eq!(state().await, "pending-review");
        attach(&client, good.reviewed_by(CAROL).bundles[1].as_bytes(), &subject).await.expect(201);
        assert_eq!(state().await, "released");

        let (bad, subject) = push_signed("1.1.0").await;
        attach(&client, bad.clone().turned_down_by(CAROL).bundles[1].as_bytes(), &subject).await.expect(201);
        assert_eq!(state().await, "rejected");
        is(&get(&client, &format!("/v2/{CRM}/manifests/1.1.0")).await, 404, "MANIFEST_UNKNOWN");
        assert_eq!(tags(&client).await, json!(["1.0.0"]));

        // Who said no may say yes.
        attach(&client, bad.reviewed_by(CAROL).bundles[1].as_bytes(), &subject).await.expect(201);
        assert_eq!(state().await, "released");
        assert_eq!(tags(&client).await, json!(["1.0.0", "1.1.0"]));
    })
    .await;
}

#[tokio::test]
async fn what_the_policy_forbids_whoever_signs_is_shown_to_its_owner_until_the_policy_changes() {
    on_both(async |host| {
        host.install_policy(&bulkhead_testkit::policies::STANDARD.replace("version = \"*\"", "version = \"<2.0.0\""))
            .await;
        let client = everything(host).await;
        let release = release("acme.crm", "2.0.0");
        let pushed = publish(&client, &release).await.expect(201);
        assert!(pushed.header("warning").contains("rejected"), "{}", pushed.header("warning"));
        let subject = pushed.header("docker-content-digest").to_owned();
        attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);
        let shown = client.get(&format!("{CATALOGUE}/acme.crm")).await.expect(200).json();
        assert_eq!(shown["versions"][0]["reasons"][0]["code"], "version-out-of-range");
        assert_eq!(tags(&client).await, json!([]));

        host.install_policy(bulkhead_testkit::policies::STANDARD).await;

        let reader = holder(host, &["acme"], &["pull"]).await;
        eventually("the version to be released", || async { (tags(&reader).await == json!(["2.0.0"])).then_some(()) })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_comes_later_releases_what_waited() {
    on_both(async |host| {
        host.install_policy(&REVIEWED.replace("acme.crm", "acme.other")).await;
        let client = everything(host).await;
        let release = release("acme.crm", "1.0.0");
        let subject = offer(&client, &release).await;
        let reader = holder(host, &["acme"], &["pull"]).await;
        assert_eq!(tags(&reader).await, json!([]));

        host.install_policy(bulkhead_testkit::policies::STANDARD).await;

        eventually("the version to be released", || async { (tags(&reader).await == json!(["1.0.0"])).then_some(()) })
            .await;
        // What was offered stays so under a policy that names it nowhere.
        host.install_policy(&REVIEWED.replace("acme.crm", "acme.other")).await;
        host.library().registry().judge_again().await.unwrap();
        assert_eq!(seen(&reader, &subject, &release).await, wanted([200, 200, 200], "released"));
    })
    .await;
}

#[tokio::test]
async fn what_was_revoked_is_not_taken_and_no_longer_handed_out() {
    on_both(async |host| {
        let client = everything(host).await;
        let (one, two) = (release("acme.crm", "1.0.0"), release("acme.crm", "1.1.0"));
        let mut subjects = Vec::new();
        for release in [&one, &two] {
            subjects.push(offer(&client, release).await);
        }
        let reader = holder(host, &["acme"], &["pull"]).await;
        assert_eq!(tags(&reader).await, json!(["1.0.0", "1.1.0"]));

        let revocation = json!({ "digest": sha256(&two.bytes), "reason": "steals" });
        host.security().post_json("/api/v1/revocations", &revocation).await.expect(201);

        eventually("the version to be revoked", || async { (tags(&reader).await == json!(["1.0.0"])).then_some(()) })
            .await;
        assert_eq!(seen(&reader, &subjects[1], &two).await, wanted([404, 403, 403], "revoked"));
        let refused = get(&reader, &format!("/v2/{CRM}/blobs/{}", sha256(&two.bytes))).await;
        assert_eq!(reasons(&refused.json()), ["revoked"]);
        assert_eq!(seen(&reader, &subjects[0], &one).await.0, [200, 200, 200]);
        let listed = reader.get(CATALOGUE).await.expect(200).json();
        assert_eq!(listed["items"][0]["latest"], "1.0.0");

        // By a key that is revoked nothing comes any more.
        let key = ALICE.signing().verifying_key().to_policy_text();
        let revocation = json!({ "key": key, "reason": "stolen" });
        host.security().post_json("/api/v1/revocations", &revocation).await.expect(201);
        let late = release("acme.crm", "1.2.0");
        let pushed = publish(&client, &late).await.expect(201);
        let subject = pushed.header("docker-content-digest").to_owned();
        let refused = attach(&client, late.bundles[0].as_bytes(), &subject).await;
        is(&refused, 403, "DENIED");
        assert_eq!(reasons(&refused.json())[0], "revoked");
        let digest = json!({ "digest": sha256(&release("acme.crm", "1.3.0").bytes), "reason": "steals" });
        host.security().post_json("/api/v1/revocations", &digest).await.expect(201);
        let refused = publish(&client, &release("acme.crm", "1.3.0")).await;
        is(&refused, 403, "DENIED");
        assert_eq!(reasons(&refused.json())[0], "revoked");
        is(&get(&client, &format!("/v2/{CRM}/manifests/1.3.0")).await, 404, "MANIFEST_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_would_hold_up_a_version_for_good_is_refused() {
    on_both(async |host| {
        let client = everything(host).await;
        let release = release("acme.crm", "1.0.0");
        let pushed = publish(&client, &release).await.expect(201);
        let subject = pushed.header("docker-content-digest").to_owned();
        let lying = release.clone().signed_as(ALICE, |statement| statement.size_bytes += 1);

        let refused = attach(&client, lying.bundles[1].as_bytes(), &subject).await;

        is(&refused, 403, "DENIED");
        assert!(reasons(&refused.json()).contains(&"manifest-mismatch".to_owned()), "{}", refused.text());
        attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);
        let reader = holder(host, &["acme"], &["pull"]).await;
        assert_eq!(seen(&reader, &subject, &release).await, wanted([200, 200, 200], "released"));
    })
    .await;
}

#[tokio::test]
async fn a_compatible_version_takes_nothing_away_unless_told_to() {
    on_both(async |host| {
        let client = everything(host).await;
        let with = |version: &str, names: &[&str]| {
            let permissions = permissions(names);
            let source = hostile("echo").source().id("acme.crm").version(version);
            source.edit(move |manifest| manifest.permissions = permissions).signed_by(ALICE)
        };
        let offer_with = async |release: &Release, breaking: bool| {
            let mut manifest = artifact(&client, &release.bytes, "x").await;
            if breaking {
                manifest["annotations"] = json!({ "bulkhead.allow-breaking": "true" });
            }
            let pushed = push(&client, CRM, &release.version, &manifest).await;
            if pushed.status == 201 {
                let subject = sha256(manifest.to_string().as_bytes());
                attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);
            }
            pushed
        };
        offer_with(&with("1.0.0", &["deals.view", "deals.edit"]), false).await.expect(201);

        let less = with("1.1.0", &["deals.view"]);
        let refused = offer_with(&less, false).await;

        is(&refused, 403, "DENIED");
        assert_eq!(reasons(&refused.json()), ["breaking-change"]);
        assert!(refused.text().contains("deals.edit"), "{}", refused.text());
        offer_with(&with("2.0.0", &["deals.view"]), false).await.expect(201);
        offer_with(&with("1.0.1", &["deals.view", "deals.edit", "deals.delete"]), false).await.expect(201);
        is(&offer_with(&with("1.0.2", &["deals.view", "deals.edit"]), false).await, 403, "DENIED");
        let early = offer_with(&with("1.1.0-rc.1", &[]), false).await.expect(201);
        assert!(early.header("warning").contains("rejected"), "{}", early.header("warning"));
        offer_with(&less, true).await.expect(201);
    })
    .await;
}

/// Permissions of these names.
fn permissions(names: &[&str]) -> Vec<bulkhead_model::manifest::Permission> {
    names.iter().map(|name| serde_json::from_value(json!({ "name": name })).unwrap()).collect()
}

#[tokio::test]
async fn a_namespace_is_taken_back_only_where_nothing_was_released() {
    on_both(async |host: &TestHost| {
        let client = everything(host).await;
        let digest = push_blob(&client, OPEN, b"x").await;
        push_blob(&client, CRM, b"y").await;
        let path = |namespace: &str| format!("/api/v1/registry/namespaces/{namespace}");
        let admin = host.admin();
        let check = async |namespace: &str, status: u16, code: &str| {
            let answer = admin.delete(&path(namespace)).await;
            assert_eq!(answer.outcome(), (status, code.to_owned()), "{namespace}");
        };

        assert_eq!(host.security().delete(&path("free")).await.code(), "role-required");
        check("none", 404, "not-found").await;
        check("free", 409, "conflict").await;
        check("free?force", 204, "").await;
        check("free", 404, "not-found").await;
        is(&get(&client, &format!("/v2/{OPEN}/blobs/{digest}")).await, 404, "NAME_UNKNOWN");
        super::grant(host, &json!({ "namespace": "free", "kind": "open" })).await.expect(201);
        is(&get(&client, &format!("/v2/{OPEN}/blobs/{digest}")).await, 404, "BLOB_UNKNOWN");

        let release = release("acme.crm", "1.0.0");
        let pushed = publish(&client, &release).await.expect(201);
        check("acme", 409, "conflict").await;
        let subject = pushed.header("docker-content-digest").to_owned();
        attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);
        check("acme?force=true", 409, "conflict").await;
        check("acme?force=perhaps", 422, "invalid-input").await;
        ask(&client, Method::GET, &format!("/v2/{CRM}/manifests/1.0.0"), &[], "").await.expect(200);
        let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let deleted =
            audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "registry.namespace.delete");
        assert_eq!(deleted.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_fresh_host_has_the_registry_from_the_database_alone() {
    let host = TestHost::on_postgres().await;
    super::grant(&host, &json!({ "namespace": "acme" })).await.expect(201);
    let client = everything(&host).await;
    let release = release("acme.crm", "1.0.0");
    let subject = offer(&client, &release).await;
    publish(&client, &self::release("acme.crm", "1.1.0")).await.expect(201);
    let begun = ask(&client, Method::POST, &format!("/v2/{CRM}/blobs/uploads/"), &[], "").await.expect(202);
    ask(&client, Method::PATCH, begun.header("location"), &[], "half").await.expect(202);

    let fresh = host.another().await;

    let there = fresh.anyone().with_token(client.token());
    let manifest = get(&there, &format!("/v2/{CRM}/manifests/1.0.0")).await.expect(200);
    assert_eq!(manifest.header("docker-content-digest"), subject);
    let layer = format!("/v2/{CRM}/blobs/{}", sha256(&release.bytes));
    assert!(get(&there, &layer).await.expect(200).body == release.bytes);
    let referrers = get(&there, &format!("/v2/{CRM}/referrers/{subject}")).await.expect(200).json();
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1);
    let versions = there.get(&format!("{CATALOGUE}/acme.crm")).await.expect(200).json()["versions"].clone();
    let states: Vec<&str> =
        versions.as_array().unwrap().iter().map(|version| version["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending-signatures", "released"]);
    assert_eq!(versions[1]["signers"][0]["principal"], "alice");
    let rest = format!("{}?digest={}", begun.header("location"), sha256(b"half and half"));
    ask(&there, Method::PUT, &rest, &[], " and half").await.expect(201);
    assert_eq!(super::grant(&fresh, &json!({ "namespace": "acrne" })).await.code(), "conflict");
    assert_eq!(tags(&holder(&fresh, &["acme"], &["pull"]).await).await, json!(["1.0.0"]));
}
