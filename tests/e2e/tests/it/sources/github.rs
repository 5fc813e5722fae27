//! Releases of a GitHub repository, and an API that sends elsewhere.

use bulkhead_testkit::Origin;
use bulkhead_testkit::origin::Reply;
use serde_json::{Value, json};

use super::{credential, digest, is_installed_from, is_refused, reaching, release};

const RELEASE: &str = "/api/repos/acme/crm/releases/tags/v1.2.0";

/// Publishes assets under the tag `v1.2.0`: name, address, digest if told, bytes.
fn publish(origin: &Origin, assets: &[(&str, &str, Option<String>, &[u8])]) {
    let listed: Vec<Value> = assets
        .iter()
        .map(|(name, path, digest, bytes)| {
            let url = if path.starts_with('/') { origin.url(path) } else { (*path).to_owned() };
            json!({ "name": name, "url": url, "digest": digest, "size": bytes.len() })
        })
        .collect();
    origin.put(RELEASE, Reply::ok(json!({ "tag_name": "v1.2.0", "assets": listed }).to_string()));
    for (_, path, _, bytes) in assets {
        origin.put(path, Reply::ok(*bytes));
    }
}

fn source(origin: &Origin) -> Value {
    json!({
        "kind": "github", "repository": "acme/crm", "tag": "v1.2.0", "asset": "crm-1.2.0.wasm",
        "api": origin.url("/api"),
    })
}

#[tokio::test]
async fn a_release_of_a_repository_is_a_source_with_the_bundles_among_its_assets() {
    let (origin, release) = (Origin::start(), release());
    let assets: [(&str, &str, Option<String>, &[u8]); 3] = [
        ("crm-1.2.0.wasm", "/api/assets/1", Some(digest(&release.bytes)), &release.bytes),
        ("crm-1.2.0.wasm.1.sigstore.json", "/api/assets/2", None, release.bundles[0].as_bytes()),
        ("notes.txt", "/api/assets/3", None, b"notes"),
    ];
    publish(&origin, &assets);
    origin.wants("authorization: Bearer ghp_s3cret", "Bearer");
    let host = credential(reaching(&origin), &origin.place(), None, "ghp_s3cret").await;

    is_refused(&host, &source(&origin), 502, "outbound-failed").await;
    let mut with_credential = source(&origin);
    with_credential["credential"] = json!("mine");
    is_installed_from(&host, &with_credential).await;
}

#[tokio::test]
async fn an_api_that_lies_or_sends_elsewhere_is_refused() {
    let (origin, release) = (Origin::start(), release());
    let host = reaching(&origin).await;
    let name = "crm-1.2.0.wasm";
    let check = async |path: &str, told: Option<String>, status: u16, code: &str| {
        publish(&origin, &[(name, path, told, release.bytes.as_slice())]);
        is_refused(&host, &source(&origin), status, code).await;
    };

    check("/api/assets/1", Some(digest(b"other")), 403, "digest-mismatch").await;
    check("https://169.254.169.254/x", None, 502, "outbound-failed").await;
    check("https://evil.example/x", None, 502, "outbound-failed").await;
    check("/api/assets/1", None, 403, "unsigned").await;
    origin.put("/api/assets/1", Reply::redirect("https://169.254.169.254/x"));
    is_refused(&host, &source(&origin), 403, "outbound-refused").await;
    publish(&origin, &[("other.wasm", "/api/assets/1", None, b"x")]);
    is_refused(&host, &source(&origin), 404, "not-found").await;
    let many: Vec<(String, String)> =
        (0..17).map(|n| (format!("crm-1.2.0.{n}.sigstore.json"), format!("/api/assets/{n}"))).collect();
    let mut assets: Vec<(&str, &str, Option<String>, &[u8])> =
        many.iter().map(|(name, path)| (name.as_str(), path.as_str(), None, b"{}".as_slice())).collect();
    assets.push((name, "/api/assets/wasm", None, &release.bytes));
    publish(&origin, &assets);
    is_refused(&host, &source(&origin), 413, "too-large").await;
}
