//! Releases in other registries: another host's, one behind a token server, and one that lies.

use bulkhead_oci::layout;
use bulkhead_testkit::client::send;
use bulkhead_testkit::host::HostAndPort;
use bulkhead_testkit::origin::Reply;
use bulkhead_testkit::{Origin, Release, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

use super::{credential, digest, is_installed_from, is_refused, reaching, release};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

fn manifest(release: &Release) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor("application/vnd.wasm.config.v0+json", b"{\"os\":\"wasip2\"}"),
        "layers": [descriptor("application/wasm", &release.bytes)],
    })
}

fn referrer(bundle: &[u8], subject: &[u8]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": BUNDLE,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor(BUNDLE, bundle)],
        "subject": descriptor(IMAGE, subject),
    })
}

/// Pushes a release and its bundles to a host's registry as `acme/crm`; answers a token that may pull.
pub(crate) async fn offer(host: &TestHost, release: &Release) -> String {
    host.admin().post_json("/api/v1/registry/namespaces", &json!({ "namespace": "acme" })).await.expect(201);
    let token = async |scopes: &[&str]| {
        let body = json!({ "name": "t", "repositories": ["acme"], "scopes": scopes, "ttl_s": 600 });
        let made = host.admin().post_json("/api/v1/registry/tokens", &body).await.expect(201).json();
        made["token"].as_str().unwrap().to_owned()
    };
    let client = host.anyone().with_token(token(&["pull", "push", "sign"]).await);
    let blob = async |bytes: &[u8]| {
        let path = format!("/v2/acme/crm/blobs/uploads/?digest={}", digest(bytes));
        send(client.request(Method::POST, &path).body(bytes.to_vec())).await.expect(201);
    };
    let push = async |reference: &str, manifest: &Value| {
        let path = format!("/v2/acme/crm/manifests/{reference}");
        let request = client.request(Method::PUT, &path).header("content-type", IMAGE);
        send(request.body(manifest.to_string())).await.expect(201);
    };
    for bytes in [release.bytes.as_slice(), b"{\"os\":\"wasip2\"}", b"{}"] {
        blob(bytes).await;
    }
    let manifest = manifest(release);
    push(&release.version, &manifest).await;
    for bundle in &release.bundles {
        blob(bundle.as_bytes()).await;
        let referrer = referrer(bundle.as_bytes(), manifest.to_string().as_bytes());
        push(&digest(referrer.to_string().as_bytes()), &referrer).await;
    }
    token(&["pull"]).await
}

#[tokio::test]
async fn another_hosts_registry_is_a_source() {
    let other = TestHost::new().await;
    let token = offer(&other, &release()).await;
    let place = other.address().to_string();
    let allowed = HostAndPort(place.clone());
    let host = credential(TestHost::new(), &place, None, &token)
        .configured(move |config| {
            config.outbound.allow_private.push(allowed.clone());
            config.outbound.allow_http.push(allowed);
        })
        .await;

    let source = |credential: bool| {
        let mut source = json!({ "kind": "oci", "reference": format!("{place}/acme/crm:1.2.0") });
        if credential {
            source["credential"] = json!("mine");
        }
        source
    };
    is_refused(&host, &source(false), 502, "outbound-failed").await;
    is_installed_from(&host, &source(true)).await;
}

/// A registry that serves a release, without the referrers API.
fn serve(origin: &Origin, release: &Release, manifest: &Value) {
    let text = manifest.to_string();
    let reply = |bytes: &[u8], media_type: &str| Reply::ok(bytes).header("content-type", media_type);
    origin.put("/v2/acme/crm/manifests/1.2.0", reply(text.as_bytes(), IMAGE));
    origin.put(&format!("/v2/acme/crm/blobs/{}", digest(&release.bytes)), Reply::ok(release.bytes.clone()));
    let mut listed = Vec::new();
    for bundle in &release.bundles {
        let referrer = referrer(bundle.as_bytes(), text.as_bytes()).to_string();
        origin.put(&format!("/v2/acme/crm/blobs/{}", digest(bundle.as_bytes())), Reply::ok(bundle.clone()));
        let path = format!("/v2/acme/crm/manifests/{}", digest(referrer.as_bytes()));
        origin.put(&path, reply(referrer.as_bytes(), IMAGE));
        let mut named = descriptor(IMAGE, referrer.as_bytes());
        named["artifactType"] = json!(BUNDLE);
        listed.push(named);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let tag = digest(text.as_bytes()).replace(':', "-");
    origin.put(&format!("/v2/acme/crm/manifests/{tag}"), reply(index.as_bytes(), INDEX));
}

#[tokio::test]
async fn a_registry_behind_a_token_server_and_without_the_referrers_api_is_a_source() {
    let (origin, release) = (Origin::start(), release());
    serve(&origin, &release, &manifest(&release));
    let challenge =
        format!("Bearer realm=\"{}\",service=\"r\",scope=\"repository:acme/crm:pull\"", origin.url("/token"));
    origin.wants("authorization: Bearer issued", &challenge);
    let asked = "/token?service=r&scope=repository%3Aacme%2Fcrm%3Apull";
    origin.put(asked, Reply::ok(r#"{"token":"issued","expires_in":300}"#));
    let host = credential(reaching(&origin), &origin.place(), Some("robot"), "s3cret").await;

    let reference = format!("{}/acme/crm:1.2.0", origin.place());
    is_installed_from(&host, &json!({ "kind": "oci", "reference": reference, "credential": "mine" })).await;

    // `robot:s3cret`
    let basic = "authorization: Basic cm9ib3Q6czNjcmV0";
    for head in origin.heads() {
        assert_eq!(head.contains(basic), head.starts_with("GET /token"), "{head}");
    }
}

#[tokio::test]
async fn a_registry_that_lies_is_refused() {
    let (origin, release) = (Origin::start(), release());
    let host = reaching(&origin).await;
    let source = json!({ "kind": "oci", "reference": format!("{}/acme/crm:1.2.0", origin.place()) });
    let check = async |change: &dyn Fn(&mut Value), status: u16, code: &str| {
        let mut manifest = manifest(&release);
        change(&mut manifest);
        serve(&origin, &release, &manifest);
        is_refused(&host, &source, status, code).await;
    };
    let index =
        |entries: Vec<Value>| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    let tagged = "/v2/acme/crm/manifests/1.2.0";

    check(&|manifest| manifest["layers"][0]["size"] = json!(7), 413, "too-large").await;
    check(&|manifest| manifest["layers"][0]["size"] = json!(u64::MAX), 413, "too-large").await;
    check(&|manifest| manifest["layers"][0]["size"] = json!(release.bytes.len() + 1), 422, "malformed").await;
    check(&|manifest| manifest["layers"] = json!([]), 502, "outbound-failed").await;
    let twice = |manifest: &mut Value| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.extend(layers.clone());
    };
    check(&twice, 502, "outbound-failed").await;
    check(&|manifest| manifest["layers"][0]["digest"] = json!(digest(b"none")), 404, "not-found").await;
    // A digest that leads to other bytes.
    origin.put(&format!("/v2/acme/crm/blobs/{}", digest(b"swapped")), Reply::ok(release.bytes.clone()));
    check(&|manifest| manifest["layers"][0]["digest"] = json!(digest(b"swapped")), 403, "digest-mismatch").await;
    let pinned = json!({ "kind": "oci", "reference": format!("{}/acme/crm@{}", origin.place(), digest(b"pinned")) });
    origin.put(&format!("/v2/acme/crm/manifests/{}", digest(b"pinned")), Reply::ok("{}").header("content-type", IMAGE));
    is_refused(&host, &pinned, 403, "digest-mismatch").await;
    // Indexes that lead to indexes.
    let mut text = index(vec![]);
    for _ in 0..5 {
        origin.put(
            &format!("/v2/acme/crm/manifests/{}", digest(text.as_bytes())),
            Reply::ok(text.clone()).header("content-type", INDEX),
        );
        text = index(vec![descriptor(INDEX, text.as_bytes())]);
    }
    origin.put(tagged, Reply::ok(text).header("content-type", INDEX));
    is_refused(&host, &source, 502, "outbound-failed").await;
    for broken in ["[".repeat(100_000), String::new(), "{\"manifests\":7}".to_owned()] {
        origin.put(tagged, Reply::ok(broken).header("content-type", INDEX));
        is_refused(&host, &source, 502, "outbound-failed").await;
    }
}

#[tokio::test]
async fn ten_thousand_referrers_are_refused_and_strangers_among_them_passed_over() {
    let (origin, release) = (Origin::start(), release());
    let host = reaching(&origin).await;
    let manifest = manifest(&release);
    serve(&origin, &release, &manifest);
    let source = json!({ "kind": "oci", "reference": format!("{}/acme/crm:1.2.0", origin.place()) });
    let referrers = format!(
        "/v2/acme/crm/referrers/{}?artifactType={}",
        digest(manifest.to_string().as_bytes()),
        BUNDLE.replace('+', "%2B")
    );
    let listed = |count: usize, artifact_type: &str| {
        let mut named = descriptor(IMAGE, b"some");
        named["artifactType"] = json!(artifact_type);
        json!({ "schemaVersion": 2, "manifests": vec![named; count] }).to_string()
    };

    for index in [listed(10_000, BUNDLE), listed(layout::BUNDLES_MAX + 1, BUNDLE), "[".repeat(100_000)] {
        origin.put(&referrers, Reply::ok(index));
        is_refused(&host, &source, 502, "outbound-failed").await;
    }
    origin.put(&referrers, Reply::ok(listed(3, "application/spdx+json")));
    is_refused(&host, &source, 403, "unsigned").await;
}
