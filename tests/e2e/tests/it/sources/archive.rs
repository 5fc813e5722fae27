//! Releases in one file for hosts without a network: written by the command line, read by upload and from a folder.

use bulkhead_oci::layout::Writer;
use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, TestHost};
use serde_json::{Value, json};

use super::oci;

fn releases() -> [Release; 2] {
    ["acme.crm", "acme.billing"].map(|id| hostile("echo").source().id(id).version("1.2.0").signed_by(ALICE))
}

fn archive(releases: &[Release]) -> Vec<u8> {
    let mut writer = Writer::default();
    for release in releases {
        let bundles: Vec<Vec<u8>> = release.bundles.iter().map(|bundle| bundle.clone().into_bytes()).collect();
        let (plugin, version) = (release.id.parse().unwrap(), release.version.parse().unwrap());
        writer.put(&plugin, &version, &release.bytes, &bundles);
    }
    writer.finish()
}

fn ids(answer: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> =
        answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn an_archive_carries_several_releases_with_their_signatures() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("set.tar"), archive(&releases())).unwrap();
    let named = folder.path().to_owned();
    let host = TestHost::new().configured(move |config| config.sources.directories.push(named)).await;

    let sent = host.admin().publish_archive(archive(&releases())).await.expect(201).json();
    let read = host.admin().publish_from(&json!({ "kind": "directory", "path": "set.tar" })).await.expect(200).json();

    assert_eq!(ids(&sent), ["acme.billing", "acme.crm"]);
    assert_eq!(ids(&read), ["acme.billing", "acme.crm"]);
}

#[tokio::test]
async fn an_archive_is_exported_and_installed_by_the_command_line() {
    let (from, to) = (TestHost::new().await, TestHost::new().await);
    let folder = tempfile::tempdir().unwrap();
    let [crm, billing] = releases();
    let token = oci::offer(&from, &crm).await;
    std::fs::write(folder.path().join("billing.wasm"), &billing.bytes).unwrap();
    std::fs::write(folder.path().join("billing.1.sigstore.json"), &billing.bundles[0]).unwrap();
    let bulkhead = |host: &TestHost, token: &str| {
        Bulkhead::at(folder.path())
            .env("BULKHEAD_SERVER", &format!("http://{}", host.address()))
            .env("BULKHEAD_TOKEN", token)
    };

    bulkhead(&from, from.admin().token())
        .run(["registry", "export", "acme.crm@1.2.0", "billing.wasm", "--out", "set.tar", "--registry-token", &token])
        .expect(0);
    bulkhead(&to, to.admin().token()).run(["plugin", "install", "set.tar"]).expect(0);

    for id in ["acme.crm", "acme.billing"] {
        assert_eq!(to.admin().status_of(id).await, "installed");
    }
}

#[tokio::test]
async fn an_archive_that_lies_registers_nothing() {
    let host = TestHost::new().await;
    let whole = archive(&releases());
    let unsigned = hostile("echo").source().id("acme.unsigned").pack();
    let [crm, billing] = releases();
    let twice = hostile("echo").source().id("acme.crm").version("2.0.0").signed_by(ALICE);
    let mut flipped = whole.clone();
    let component = flipped.windows(4).position(|window| window == b"\0asm").unwrap();
    flipped[component + 100] ^= 1;
    let check = async |archive: Vec<u8>, status: u16, code: &str| {
        let answer = host.admin().publish_archive(archive).await;
        assert_eq!(answer.outcome(), (status, code.to_owned()), "{}", answer.text());
        assert_eq!(host.admin().plugins().await, Vec::<Value>::new());
    };

    check(whole[..whole.len() / 2].to_vec(), 422, "malformed").await;
    check(flipped, 403, "digest-mismatch").await;
    check(b"no archive".to_vec(), 422, "malformed").await;
    check(Vec::new(), 422, "malformed").await;
    check(archive(&[crm.clone(), billing, unsigned]), 403, "unsigned").await;
    check(archive(&[crm, twice]), 409, "conflict").await;
}
