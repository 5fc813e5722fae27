//! Releases and lists in folders that the operator names, and paths that lead out of them.

use std::path::Path;

use bulkhead_testkit::TestHost;
use bulkhead_testkit::host::Config;
use serde_json::{Value, json};

use super::{digest, is_installed_from, is_refused, release};

fn with_folder(folder: &Path) -> impl FnOnce(&mut Config) + Send + 'static {
    let folder = folder.to_owned();
    move |config| config.sources.directories.push(folder)
}

fn place(folder: &Path) {
    let release = release();
    std::fs::create_dir(folder.join("crm")).unwrap();
    std::fs::write(folder.join("crm/crm-1.2.0.wasm"), &release.bytes).unwrap();
    std::fs::write(folder.join("crm/crm-1.2.0.1.sigstore.json"), &release.bundles[0]).unwrap();
}

#[tokio::test]
async fn a_file_below_a_named_folder_is_a_source() {
    let folder = tempfile::tempdir().unwrap();
    place(folder.path());
    let host = TestHost::new().configured(with_folder(folder.path())).await;

    is_installed_from(&host, &json!({ "kind": "directory", "path": "crm/crm-1.2.0.wasm" })).await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    place(folder.path());
    place(outside.path());
    let path = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink(outside.path().join("crm/crm-1.2.0.wasm"), path("link.wasm")).unwrap();
    std::os::unix::fs::symlink(outside.path(), path("away")).unwrap();
    std::fs::create_dir(path("folder.wasm")).unwrap();
    std::fs::write(path("large.wasm"), vec![0; (32 << 20) + 1]).unwrap();
    let host = TestHost::new().configured(with_folder(folder.path())).await;
    let check = async |path: &str, status: u16, code: &str| {
        is_refused(&host, &json!({ "kind": "directory", "path": path }), status, code).await;
    };

    for path in ["../x.wasm", "/etc/passwd", "crm/../../x.wasm", "", "./crm", "a\0b"] {
        check(path, 422, "invalid-input").await;
    }
    for path in ["link.wasm", "away/crm/crm-1.2.0.wasm", "folder.wasm", "none.wasm"] {
        check(path, 404, "not-found").await;
    }
    check("large.wasm", 413, "too-large").await;
}

#[tokio::test]
async fn a_curated_list_leads_to_a_release_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    place(folder.path());
    let entry = |digest: String| {
        json!({ "plugins": [{
            "id": "acme.crm", "version": "1.2.0", "digest": digest,
            "source": { "kind": "directory", "path": "crm/crm-1.2.0.wasm" },
        }]})
        .to_string()
    };
    let (good, bad) = (entry(digest(&release().bytes)), entry(digest(b"other")));
    std::fs::write(folder.path().join("good.json"), &good).unwrap();
    std::fs::write(folder.path().join("bad.json"), &bad).unwrap();
    let host = TestHost::new().configured(with_folder(folder.path())).await;
    let source = |path: &str, list: &str| -> Value {
        json!({ "kind": "catalog", "path": path, "digest": digest(list.as_bytes()), "id": "acme.crm" })
    };

    is_refused(&host, &source("bad.json", &bad), 403, "digest-mismatch").await;
    is_refused(&host, &source("good.json", &bad), 403, "digest-mismatch").await;
    is_installed_from(&host, &source("good.json", &good)).await;
}
