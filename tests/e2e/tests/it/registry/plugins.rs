//! Namespaces of plugins: releases are immutable, signatures are found by what they speak for, yank hides.

use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::{ALICE, MALLORY};
use bulkhead_testkit::release::Release;
use bulkhead_testkit::{Answer, Client, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

use super::{BUNDLE, IMAGE, INDEX, ask, everything, get, holder, image, is, on_both, push, push_blob, sha256, sha512};

pub(super) const CRM: &str = "acme/crm";
pub(super) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(super) const CATALOGUE: &str = "/api/v1/registry/plugins";

pub(super) fn release(id: &str, version: &str) -> Release {
    hostile("echo").source().id(id).version(version).signed_by(ALICE)
}

/// The plain wasm artifact of a component; `created` is what clients write into the config.
pub(super) async fn artifact(client: &Client, bytes: &[u8], created: &str) -> Value {
    let config = json!({ "created": created, "architecture": "wasm", "os": "wasip2" }).to_string();
    image(client, CRM, (WASM_CONFIG, config.as_bytes()), &[("application/wasm", bytes)]).await
}

pub(super) async fn publish(client: &Client, release: &Release) -> Answer {
    let manifest = artifact(client, &release.bytes, "2026-01-01T00:00:00Z").await;
    push(client, CRM, &release.version, &manifest).await
}

/// Attaches a bundle to a manifest that was pushed.
pub(super) async fn attach(client: &Client, bundle: &[u8], subject: &str) -> Answer {
    let mut manifest = image(client, CRM, ("application/vnd.oci.empty.v1+json", b"{}"), &[(BUNDLE, bundle)]).await;
    manifest["artifactType"] = json!(BUNDLE);
    manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
    manifest["annotations"] = json!({ "dev.sigstore.bundle.content": "dsse-envelope" });
    push(client, CRM, "", &manifest).await
}

/// Publishes a release with its author's signature; answers the digest of its manifest.
pub(super) async fn offer(client: &Client, release: &Release) -> String {
    let pushed = publish(client, release).await.expect(201);
    let subject = pushed.header("docker-content-digest").to_owned();
    attach(client, release.bundles[0].as_bytes(), &subject).await.expect(201);
    subject
}

pub(super) async fn tags(client: &Client) -> Value {
    get(client, &format!("/v2/{CRM}/tags/list")).await.expect(200).json()["tags"].clone()
}

#[tokio::test]
async fn a_pushed_release_is_in_the_catalogue_with_who_signed_it() {
    on_both(async |host| {
        let client = everything(host).await;
        let release = release("acme.crm", "1.2.0");
        let pushed = publish(&client, &release).await.expect(201);
        let subject = pushed.header("docker-content-digest").to_owned();
        let signed = attach(&client, release.bundles[0].as_bytes(), &subject).await.expect(201);
        assert_eq!(signed.header("oci-subject"), subject);
        let unknown = release.clone().signed_by(MALLORY);
        attach(&client, unknown.bundles[1].as_bytes(), &subject).await.expect(201);
        let layer = format!("/v2/{CRM}/blobs/{}", sha256(&release.bytes));
        for _ in 0..2 {
            assert!(get(&client, &layer).await.expect(200).body == release.bytes);
        }
        ask(&client, Method::GET, &layer, &[("range", "bytes=5-9")], "").await.expect(206);

        let listed = host.admin().get(CATALOGUE).await.expect(200).json();

        let found = &listed["items"][0];
        assert_eq!(
            (&found["id"], &found["latest"], &found["downloads"]),
            (&json!("acme.crm"), &json!("1.2.0"), &json!(2))
        );
        let version = &found["versions"][0];
        assert_eq!(version["digest"], sha256(&release.bytes));
        assert_eq!((&version["size_bytes"], &version["trust"]), (&json!(release.bytes.len()), &json!("untrusted")));
        let signers: Vec<(Value, Value)> = version["signers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|signer| (signer["principal"].clone(), signer["key_id"].clone()))
            .collect();
        assert_eq!(
            signers,
            [
                (json!("alice"), json!(ALICE.signing().verifying_key().id().to_string())),
                (Value::Null, json!(MALLORY.signing().verifying_key().id().to_string())),
            ]
        );
        let referrers = format!("/v2/{CRM}/referrers/{subject}?artifactType={}", BUNDLE.replace('+', "%2B"));
        assert_eq!(get(&client, &referrers).await.expect(200).json()["manifests"].as_array().unwrap().len(), 2);
        let show = async |who: &Client, query: &str| {
            let answer = who.get(&format!("{CATALOGUE}{query}")).await.expect(200).json();
            answer["items"].as_array().unwrap().len()
        };
        for (query, count) in [("?q=CRM", 1), ("?q=acme", 1), ("?q=nothing", 0), ("?q=%25", 0), ("?cursor=acme/crm", 0)]
        {
            assert_eq!(show(&host.admin(), query).await, count, "{query}");
        }
        assert_eq!(show(&holder(host, &["acme"], &["pull"]).await, "").await, 1);
        assert_eq!(show(&holder(host, &["free"], &["pull"]).await, "").await, 0);
        assert_eq!(host.anyone().get(CATALOGUE).await.code(), "unauthenticated");
        assert_eq!(host.client("x", None, &[], &[]).get(CATALOGUE).await.code(), "role-required");
        assert_eq!(host.admin().get(&format!("{CATALOGUE}/acme.none")).await.code(), "not-found");
    })
    .await;
}

#[tokio::test]
async fn a_published_version_never_changes() {
    on_both(async |host| {
        let client = everything(host).await;
        let first = release("acme.crm", "1.0.0");
        let pushed = publish(&client, &first).await.expect(201);
        let tagged = pushed.header("docker-content-digest").to_owned();

        // The same component under another manifest, as clients make one at each push.
        let again = artifact(&client, &first.bytes, "2027-01-01T00:00:00Z").await;
        let repushed = push(&client, CRM, "1.0.0", &again).await.expect(201);
        assert_ne!(repushed.header("docker-content-digest"), tagged);
        get(&client, repushed.header("location")).await.expect(200);
        let other = hostile("echo").source().id("acme.crm").version("1.0.0").edit(|manifest| {
            manifest.plugin.description = "other bytes".to_owned();
        });
        let manifest = artifact(&client, &other.pack().bytes, "2026-01-01T00:00:00Z").await;
        is(&push(&client, CRM, "1.0.0", &manifest).await, 403, "DENIED");
        is(&push(&client, CRM, "", &manifest).await, 403, "DENIED");

        let resolved = get(&client, &format!("/v2/{CRM}/manifests/1.0.0")).await.expect(200);
        assert_eq!(resolved.header("docker-content-digest"), tagged);
        for path in [
            format!("/v2/{CRM}/manifests/1.0.0"),
            format!("/v2/{CRM}/manifests/{tagged}"),
            format!("/v2/{CRM}/blobs/{}", sha256(&first.bytes)),
        ] {
            is(&ask(&client, Method::DELETE, &path, &[], "").await, 405, "UNSUPPORTED");
        }
        assert_eq!(tags(&client).await, json!(["1.0.0"]));
    })
    .await;
}

#[tokio::test]
async fn a_yanked_version_is_hidden_and_stays_for_who_has_its_digest() {
    on_both(async |host| {
        let client = everything(host).await;
        for version in ["1.0.0", "1.1.0", "1.10.0"] {
            offer(&client, &release("acme.crm", version)).await;
        }
        let bytes = release("acme.crm", "1.10.0").bytes;
        let path = format!("/v2/{CRM}/manifests/1.10.0");
        let digest = get(&client, &path).await.expect(200).header("docker-content-digest").to_owned();
        let latest = async || {
            let listed = host.admin().get(CATALOGUE).await.expect(200).json();
            let versions = listed["items"][0]["versions"].as_array().unwrap().len();
            (listed["items"][0]["latest"].clone(), versions)
        };
        assert_eq!(latest().await, (json!("1.10.0"), 3));
        let (yank, unyank) = (format!("{CATALOGUE}/acme.crm/yank"), format!("{CATALOGUE}/acme.crm/unyank"));
        let body = json!({ "version": "1.10.0", "reason": "loses data" });
        let pusher = holder(host, &["acme"], &["push", "pull", "sign"]).await;
        assert_eq!(pusher.post_json(&yank, &body).await.outcome(), (403, "permission-denied".to_owned()));
        assert_eq!(host.security().post_json(&yank, &body).await.code(), "role-required");

        let yanker = holder(host, &[CRM], &["yank"]).await;
        let yanked = yanker.post_json(&yank, &body).await.expect(200).json();

        assert_eq!(yanked["versions"][0]["yank_reason"], "loses data");
        assert_eq!(tags(&client).await, json!(["1.0.0", "1.1.0"]));
        assert_eq!(latest().await, (json!("1.1.0"), 2));
        is(&get(&client, &path).await, 404, "MANIFEST_UNKNOWN");
        get(&client, &format!("/v2/{CRM}/manifests/{digest}")).await.expect(200);
        assert!(get(&client, &format!("/v2/{CRM}/blobs/{}", sha256(&bytes))).await.expect(200).body == bytes);
        // Pushing it again does not bring it back, and what it was it stays.
        publish(&client, &release("acme.crm", "1.10.0")).await.expect(201);
        is(&get(&client, &path).await, 404, "MANIFEST_UNKNOWN");
        host.library().registry().collect_before(i64::MAX).await.unwrap();
        get(&client, &format!("/v2/{CRM}/blobs/{}", sha256(&bytes))).await.expect(200);

        host.admin().post_json(&unyank, &json!({ "version": "1.10.0" })).await.expect(200);
        assert_eq!(tags(&client).await, json!(["1.0.0", "1.1.0", "1.10.0"]));
        assert_eq!(get(&client, &path).await.expect(200).header("docker-content-digest"), digest);
        let unknown = host.admin().post_json(&yank, &json!({ "version": "9.9.9" })).await;
        assert_eq!(unknown.outcome(), (404, "not-found".to_owned()));
        let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let acts: Vec<(&str, &str)> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["action"].as_str().unwrap(), entry["actor"].as_str().unwrap()))
            .filter(|(action, _)| action.contains("yank"))
            .collect();
        assert_eq!(acts, [("registry.yank", "registry:yank"), ("registry.unyank", "root")]);
    })
    .await;
}

#[tokio::test]
async fn only_releases_of_the_plugin_and_their_signatures_are_taken() {
    on_both(async |host| {
        let client = everything(host).await;
        let release = release("acme.crm", "1.0.0");
        let good = artifact(&client, &release.bytes, "2026-01-01T00:00:00Z").await;
        let check = async |reference: &str, manifest: &Value| {
            is(&push(&client, CRM, reference, manifest).await, 400, "MANIFEST_INVALID");
        };

        for tag in ["latest", "1.0", "v1.0.0", "01.0.0", "1.1.0"] {
            check(tag, &good).await;
        }
        let edited = |pointer: &str, value: Value| {
            let mut manifest = good.clone();
            *manifest.pointer_mut(pointer).unwrap() = value;
            manifest
        };
        check("1.0.0", &edited("/config/mediaType", json!("a/b"))).await;
        check("1.0.0", &edited("/layers/0/mediaType", json!("application/octet-stream"))).await;
        check("1.0.0", &edited("/layers/0/size", json!(1))).await;
        check("1.0.0", &edited("/layers", json!([]))).await;
        check("1.0.0", &edited("/layers", json!([good["layers"][0], good["layers"][0]]))).await;
        check("1.0.0", &json!({ "mediaType": INDEX, "manifests": [] })).await;
        check("1.0.0", &artifact(&client, b"no component", "x").await).await;
        let foreign = hostile("echo").source().id("acme.billing").version("1.0.0").pack();
        check("1.0.0", &artifact(&client, &foreign.bytes, "x").await).await;
        push_blob(&client, CRM, &release.bytes).await;
        let by_sha512 = format!("/v2/{CRM}/blobs/uploads/?digest={}", sha512(&release.bytes));
        ask(&client, Method::POST, &by_sha512, &[], release.bytes.clone()).await.expect(201);
        check("1.0.0", &edited("/layers/0/digest", json!(sha512(&release.bytes)))).await;
        is(
            &push(&client, CRM, "1.0.0", &edited("/layers/0/digest", json!(sha256(b"none")))).await,
            404,
            "MANIFEST_BLOB_UNKNOWN",
        );
        is(&push(&client, "acme/crm/below", "1.0.0", &good).await, 400, "NAME_INVALID");
        assert_eq!(tags(&client).await, json!([]));

        push(&client, CRM, "1.0.0", &good).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn publishing_and_signing_are_separate_rights() {
    on_both(async |host| {
        let release = release("acme.crm", "1.0.0");
        let (pusher, signer) =
            (holder(host, &["acme"], &["push", "pull"]).await, holder(host, &["acme"], &["sign", "pull"]).await);
        let pushed = publish(&pusher, &release).await.expect(201);
        let subject = pushed.header("docker-content-digest").to_owned();
        let bundle = release.bundles[0].as_bytes();

        is(&attach(&pusher, bundle, &subject).await, 403, "DENIED");
        is(&publish(&signer, &self::release("acme.crm", "1.1.0")).await, 403, "DENIED");
        attach(&signer, bundle, &subject).await.expect(201);

        is(&attach(&signer, b"{}", &subject).await, 400, "MANIFEST_INVALID");
        let of_another = self::release("acme.billing", "1.0.0");
        is(&attach(&signer, of_another.bundles[0].as_bytes(), &subject).await, 400, "MANIFEST_INVALID");
        is(&attach(&signer, &vec![b' '; 65 * 1024], &subject).await, 400, "MANIFEST_INVALID");
        let mut tagged = image(&signer, CRM, ("application/vnd.oci.empty.v1+json", b"{}"), &[(BUNDLE, bundle)]).await;
        tagged["artifactType"] = json!(BUNDLE);
        tagged["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
        is(&push(&signer, CRM, "sha256-0.sig", &tagged).await, 400, "MANIFEST_INVALID");
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_looks_like_another_is_not_begun() {
    let host = TestHost::new().await;
    super::grant(&host, &json!({ "namespace": "acme" })).await.expect(201);
    let client = everything(&host).await;
    push_blob(&client, "acme/modern", b"x").await;

    for lookalike in ["acme/rnodern", "acme/m0dern", "acme/mod-ern"] {
        let refused = ask(&client, Method::POST, &format!("/v2/{lookalike}/blobs/uploads/"), &[], "").await;
        is(&refused, 403, "DENIED");
        assert!(refused.text().contains("acme/modern"), "{}", refused.text());
    }

    push_blob(&client, "acme/modest", b"x").await;
}
