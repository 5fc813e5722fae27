//! Releases from wherever they are: each kind of source to a plugin that is installed, and what a hostile source gets.
//! The servers are real ones on this machine; helpers stand here.

mod archive;
mod directory;
mod github;
mod npm;
mod oci;
mod url;

use bulkhead_model::Digest;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::host::{HostAndPort, SourceCredential};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, Builder, Origin, Release, TestHost};
use serde_json::{Value, json};

/// The release of most tests.
fn release() -> Release {
    hostile("echo").source().id("acme.crm").version("1.2.0").signed_by(ALICE)
}

fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// A host that reaches `origin`.
fn reaching(origin: &Origin) -> Builder {
    TestHost::new().reaching(origin)
}

/// A credential for a place, its secret in a file of the host's.
fn credential(builder: Builder, place: &str, user: Option<&str>, secret: &str) -> Builder {
    let (place, user, secret) = (place.to_owned(), user.map(str::to_owned), secret.to_owned());
    builder.configured(move |config| {
        let file = config.server.data_dir.join("secret");
        std::fs::write(&file, secret).unwrap();
        let hosts = vec![HostAndPort(place)];
        config.sources.credentials.insert(
            "mine".to_owned(),
            SourceCredential { hosts, user, file: Some(file), ..SourceCredential::default() },
        );
    })
}

/// The release is registered, the answer and the audit log say where from, and it can be installed.
async fn is_installed_from(host: &TestHost, source: &Value) {
    let answer = host.admin().publish_from(source).await.expect(201).json();
    assert_eq!((&answer["id"], &answer["status"]), (&json!("acme.crm"), &json!("registered")));
    assert_eq!(answer["source"]["kind"], source["kind"]);
    let audit = host.security().get("/api/v1/audit?order=desc").await.expect(200).text();
    assert!(audit.contains("release.fetch") && audit.contains(source["kind"].as_str().unwrap()), "{audit}");
    let operation = host.admin().install("acme.crm").await.expect(200).json();
    assert_eq!(operation["status"], "succeeded", "{operation:#}");
}

/// The release is refused like this, and nothing is left of it.
async fn is_refused(host: &TestHost, source: &Value, status: u16, code: &str) -> Answer {
    let answer = host.admin().publish_from(source).await;
    assert_eq!(answer.outcome(), (status, code.to_owned()), "{source} {}", answer.text());
    assert_eq!(host.admin().plugins().await, Vec::<Value>::new());
    answer
}

#[tokio::test]
async fn the_hosts_own_registry_is_a_source() {
    let host = TestHost::new().await;
    let release = release();
    oci::offer(&host, &release).await;

    let source = json!({ "kind": "registry", "plugin": "acme.crm", "version": "1.2.0" });
    is_installed_from(&host, &source).await;

    let unknown = json!({ "kind": "registry", "plugin": "acme.crm", "version": "9.9.9" });
    assert_eq!(host.admin().publish_from(&unknown).await.outcome(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn what_is_no_source_is_refused_with_its_place() {
    let host = TestHost::new().await;

    for source in [
        json!({ "kind": "file", "path": "/etc/passwd" }),
        json!({ "kind": "registry", "plugin": "acme.crm" }),
        json!({ "kind": "url", "url": "https://a.example/x", "digest": "sha256:short" }),
        json!({ "kind": "oci", "reference": "acme/crm:1.0.0" }),
        json!({ "kind": "oci", "reference": "r.example/acme/crm:1.0.0", "credential": "unknown" }),
        json!({ "kind": "npm", "package": "../x" }),
        json!({ "kind": "github", "repository": "acme", "tag": "v1", "asset": "a" }),
        json!({ "kind": "catalog", "digest": digest(b"x"), "id": "acme.crm" }),
        json!({ "kind": "directory", "path": "x.wasm" }),
    ] {
        is_refused(&host, &source, 422, "invalid-input").await;
    }
    let member = host.client("m", None, &[bulkhead_model::Role::Security], &[]);
    let answer = member.publish_from(&json!({ "kind": "directory", "path": "x.wasm" })).await;
    assert_eq!(answer.outcome(), (403, "role-required".to_owned()));
}

#[tokio::test]
async fn a_release_from_a_source_passes_the_same_admission_as_an_upload() {
    let origin = Origin::start();
    let unsigned = hostile("echo").source().id("acme.crm").pack();
    origin.put("/crm.wasm", bulkhead_testkit::origin::Reply::ok(unsigned.bytes.clone()));
    let host = reaching(&origin).await;

    let source = json!({ "kind": "url", "url": origin.url("/crm.wasm"), "digest": digest(&unsigned.bytes) });
    is_refused(&host, &source, 403, "unsigned").await;
}
