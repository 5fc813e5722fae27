//! Releases in packages of an npm registry, and packages that lie.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bulkhead_testkit::Origin;
use bulkhead_testkit::origin::Reply;
use serde_json::{Value, json};

use super::{credential, is_installed_from, is_refused, reaching, release};

/// What a program makes of bytes.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}`: {error}"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    drop(writer.join());
    output.stdout
}

/// A package with these files, as `npm pack` writes it: the system's own tar and gzip.
fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join("package").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let output = Command::new("tar").current_dir(folder.path()).args(["-czf", "-", "package"]).output().unwrap();
    output.stdout
}

fn integrity(bytes: &[u8]) -> String {
    let base64 = piped("openssl", &["base64", "-A"], &piped("openssl", &["dgst", "-sha512", "-binary"], bytes));
    format!("sha512-{}", String::from_utf8(base64).unwrap().trim())
}

/// Publishes a tarball as `@acme/crm` 1.2.0, tagged `latest`.
fn publish(origin: &Origin, tarball: &[u8], integrity: &str) {
    let package = json!({
        "name": "@acme/crm",
        "dist-tags": { "latest": "1.2.0" },
        "versions": { "1.2.0": {
            "name": "@acme/crm", "version": "1.2.0",
            "dist": { "tarball": origin.url("/@acme/crm/-/crm-1.2.0.tgz"), "integrity": integrity, "shasum": "0" },
        }},
    });
    origin.put("/@acme%2fcrm", Reply::ok(package.to_string()).header("content-type", "application/json"));
    origin.put("/@acme/crm/-/crm-1.2.0.tgz", Reply::ok(tarball));
}

fn source(origin: &Origin) -> Value {
    json!({ "kind": "npm", "package": "@acme/crm", "registry": origin.url("") })
}

#[tokio::test]
async fn a_package_is_a_source_also_of_a_private_registry() {
    let (origin, release) = (Origin::start(), release());
    let files: [(&str, &[u8]); 3] =
        [("package.json", b"{}"), ("crm.wasm", &release.bytes), ("crm.1.sigstore.json", release.bundles[0].as_bytes())];
    let tarball = tarball(&files);
    publish(&origin, &tarball, &integrity(&tarball));
    origin.wants("authorization: Bearer npm_s3cret", "Bearer");
    let host = credential(reaching(&origin), &origin.place(), None, "npm_s3cret\n").await;

    is_refused(&host, &source(&origin), 502, "outbound-failed").await;
    let mut with_credential = source(&origin);
    with_credential["credential"] = json!("mine");
    with_credential["version"] = json!("1.2.0");
    is_installed_from(&host, &with_credential).await;
}

#[tokio::test]
async fn a_package_that_lies_is_refused() {
    let (origin, release) = (Origin::start(), release());
    let host = reaching(&origin).await;
    let check = async |tarball: &[u8], integrity: &str, status: u16, code: &str| {
        publish(&origin, tarball, integrity);
        is_refused(&host, &source(&origin), status, code).await;
    };
    let good = tarball(&[("crm.wasm", &release.bytes)]);
    let two = tarball(&[("a.wasm", &release.bytes), ("b.wasm", &release.bytes)]);
    let none = tarball(&[("package.json", b"{}")]);
    let bomb = tarball(&[("crm.wasm", &vec![0; 40 << 20])]);

    check(&good, &integrity(b"other"), 403, "digest-mismatch").await;
    check(&good, "sha1-abc", 422, "malformed").await;
    check(&good, "", 422, "malformed").await;
    check(&good, &integrity(&good), 403, "unsigned").await;
    check(&two, &integrity(&two), 422, "malformed").await;
    check(&none, &integrity(&none), 422, "malformed").await;
    check(&bomb, &integrity(&bomb), 413, "too-large").await;
    check(b"no gzip", &integrity(b"no gzip"), 422, "malformed").await;
    origin.put("/@acme%2fcrm", Reply::ok("[".repeat(100_000)));
    is_refused(&host, &source(&origin), 502, "outbound-failed").await;
    origin.put("/@acme%2fcrm", Reply::ok(r#"{"dist-tags":{},"versions":{}}"#));
    is_refused(&host, &source(&origin), 404, "not-found").await;
}
