//! Releases at HTTPS addresses, and what a hostile server makes of being asked.

use std::time::Duration;

use bulkhead_testkit::origin::{Body, Reply};
use bulkhead_testkit::{Origin, TestHost};
use serde_json::{Value, json};

use super::{credential, digest, is_installed_from, is_refused, reaching, release};

#[tokio::test]
async fn an_address_with_a_digest_is_a_source() {
    let (origin, release) = (Origin::start(), release());
    origin.put("/crm.wasm", Reply::ok(release.bytes.clone()));
    origin.put("/crm.1.sigstore.json", Reply::ok(release.bundles[0].clone()));
    let host = reaching(&origin).await;

    let source = json!({
        "kind": "url", "url": origin.url("/crm.wasm"), "digest": digest(&release.bytes),
        "bundles": [origin.url("/crm.1.sigstore.json")],
    });
    is_installed_from(&host, &source).await;
}

#[tokio::test]
async fn a_hostile_server_gets_a_typed_refusal_and_leaves_nothing_behind() {
    let origin = Origin::start();
    let host = reaching(&origin).await;
    let table: &[(&str, Reply, u16, &str)] = &[
        ("/other", Reply::ok("other bytes"), 403, "digest-mismatch"),
        ("/truncated", Reply::of(Body::Truncated(b"some".to_vec())), 502, "outbound-failed"),
        ("/endless", Reply::of(Body::Endless), 413, "too-large"),
        ("/metadata", Reply::redirect("https://169.254.169.254/latest/meta-data/"), 403, "outbound-refused"),
        ("/loopback", Reply::redirect("https://127.0.0.1:1/"), 403, "outbound-refused"),
        ("/file", Reply::redirect("file:///etc/passwd"), 502, "outbound-failed"),
        ("/plain", Reply::redirect("http://localhost:1/"), 502, "outbound-failed"),
        ("/round", Reply::redirect("/round"), 502, "outbound-failed"),
        ("/gzip", Reply::ok("x").header("content-encoding", "gzip"), 502, "outbound-failed"),
        ("/error", Reply::status(500), 502, "outbound-failed"),
        ("/unauthorized", Reply::status(401), 502, "outbound-failed"),
        ("/gone", Reply::status(404), 404, "not-found"),
    ];

    for (path, reply, status, code) in table {
        origin.put(path, reply.clone());
        let source = json!({ "kind": "url", "url": origin.url(path), "digest": digest(b"wanted") });
        is_refused(&host, &source, *status, code).await;
    }
}

#[tokio::test]
async fn only_what_the_operator_excepts_is_asked_at_all() {
    let host = TestHost::new().await;
    let check = async |url: &str, status: u16, code: &str| {
        let source = json!({ "kind": "url", "url": url, "digest": digest(b"x") });
        is_refused(&host, &source, status, code).await;
    };

    for url in [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://0x7f.1/",
        "https://169.254.169.254/",
        "https://[::ffff:a9fe:a9fe]/",
        "http://example.com/",
    ] {
        check(url, 403, "outbound-refused").await;
    }
    check("file:///etc/passwd", 422, "invalid-input").await;
    check("https://user:secret@example.com/", 422, "invalid-input").await;
    check("no address", 422, "invalid-input").await;
}

#[tokio::test]
async fn a_credential_goes_to_its_own_places_alone() {
    let (origin, other) = (Origin::start(), Origin::start());
    origin.put("/crm.wasm", Reply::redirect(&other.url("/crm.wasm").replace("localhost", "127.0.0.1")));
    let pems = format!("{}{}", origin.pem(), other.pem());
    let builder = credential(reaching(&origin), &origin.place(), None, "s3cret");
    let host = builder
        .configured(move |config| {
            let file = config.server.data_dir.join("ca.pem");
            std::fs::write(&file, pems).unwrap();
            config.outbound.ca_file = Some(file);
            config.outbound.allow_private = ["localhost:*", "127.0.0.1:*"]
                .map(|place| bulkhead_testkit::host::HostAndPort(place.to_owned()))
                .to_vec();
        })
        .await;

    let source = |url: String| json!({ "kind": "url", "url": url, "digest": digest(b"x"), "credential": "mine" });
    is_refused(&host, &source(origin.url("/crm.wasm")), 404, "not-found").await;
    is_refused(&host, &source(other.url("/crm.wasm")), 404, "not-found").await;

    assert!(origin.heads()[0].contains("authorization: Bearer s3cret"), "{:?}", origin.heads());
    assert_eq!(other.heads().len(), 2);
    assert!(other.heads().iter().all(|head| !head.contains("s3cret")), "{:?}", other.heads());
    let shown: Value = serde_json::to_value(host.config().to_display_json()).unwrap();
    assert!(!shown.to_string().contains("s3cret"));
    tokio::time::timeout(Duration::from_secs(20), host.admin().plugins()).await.unwrap();
}
