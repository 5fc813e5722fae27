//! The plugin registry by its protocol: what every client of it does, on both engines.
//! Helpers stand here; one file for each part of the protocol, and one for the log.

mod access;
mod blobs;
mod collect;
mod gate;
mod hostile;
mod log;
mod manifests;
mod pages;
mod plugins;
mod protocol;
mod uploads;

use bulkhead_oci::{Algorithm, BlobDigest};
use bulkhead_testkit::client::send;
use bulkhead_testkit::{Answer, Client, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The open repository of most tests.
const OPEN: &str = "free/for/all";

/// Runs a test on a host with an open namespace `free` and one of plugins `acme`, on each engine.
async fn on_both(test: impl AsyncFn(&TestHost)) {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.await;
        grant(&host, &json!({ "namespace": "free", "kind": "open" })).await.expect(201);
        grant(&host, &json!({ "namespace": "acme" })).await.expect(201);
        test(&host).await;
    }
}

async fn grant(host: &TestHost, body: &Value) -> Answer {
    host.admin().post_json("/api/v1/registry/namespaces", body).await
}

/// A client with a token of the registry.
async fn holder(host: &TestHost, repositories: &[&str], scopes: &[&str]) -> Client {
    let body = json!({ "name": scopes.join("-"), "repositories": repositories, "scopes": scopes, "ttl_s": 600 });
    let made = host.admin().post_json("/api/v1/registry/tokens", &body).await.expect(201).json();
    host.anyone().with_token(made["token"].as_str().unwrap())
}

/// A client that may do everything.
async fn everything(host: &TestHost) -> Client {
    holder(host, &["*"], &["admin"]).await
}

/// A request with headers and a body.
async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let request = client.request(method, path).body(body.into());
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

async fn get(client: &Client, path: &str) -> Answer {
    ask(client, Method::GET, path, &[], "").await
}

/// Status and the protocol's code; the code is empty where it went well.
fn told(answer: &Answer) -> (u16, String) {
    if answer.status < 400 {
        return (answer.status, String::new());
    }
    let body = answer.json();
    assert!(body["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (answer.status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

#[track_caller]
fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(told(answer), (status, code.to_owned()), "{}", answer.text());
}

fn sha256(bytes: &[u8]) -> String {
    BlobDigest::of(Algorithm::Sha256, bytes).to_string()
}

fn sha512(bytes: &[u8]) -> String {
    BlobDigest::of(Algorithm::Sha512, bytes).to_string()
}

/// Pushes a blob at once; answers its digest.
async fn push_blob(client: &Client, repository: &str, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    ask(client, Method::POST, &path, &[], bytes).await.expect(201);
    digest
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// An image manifest of a config and layers, whose blobs are pushed.
async fn image(client: &Client, repository: &str, config: (&str, &[u8]), layers: &[(&str, &[u8])]) -> Value {
    for (_, bytes) in layers.iter().chain([&config]) {
        push_blob(client, repository, bytes).await;
    }
    let layers: Vec<Value> = layers.iter().map(|(media_type, bytes)| descriptor(media_type, bytes)).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config.0, config.1), "layers": layers })
}

/// Pushes a manifest; `reference` is a tag, or empty for its digest.
async fn push(client: &Client, repository: &str, reference: &str, manifest: &Value) -> Answer {
    let bytes = manifest.to_string().into_bytes();
    let reference = if reference.is_empty() { sha256(&bytes) } else { reference.to_owned() };
    let media_type = manifest["mediaType"].as_str().unwrap_or(IMAGE).to_owned();
    let path = format!("/v2/{repository}/manifests/{reference}");
    ask(client, Method::PUT, &path, &[("content-type", &media_type)], bytes).await
}
