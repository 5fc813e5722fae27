//! What each program does at the registry of the stage, step by step.
//!
//! The release is published by somebody else's client alone: the component first, its signature as they attach one.

use std::fs;
use std::path::Path;

use super::client::{Client, must_be_same};
use super::stage::{ARTIFACT, BUNDLE, OTHER_KEY, PUBLIC_KEY, Stage};
use crate::Error;

const RELEASE_TYPE: &str = "https://bulkhead.dev/attestation/release/v1";
const REVIEW_TYPE: &str = "https://bulkhead.dev/attestation/review/v1";
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Pushes the release, which waits for its signature and is hidden from readers; attaches the signature, which releases it.
pub(super) fn publish(stage: &Stage, oras: &Client<'_>, reader: &Client<'_>) -> Result<(), Error> {
    let release = stage.image("acme/hello:0.1.0");
    let config = format!("config.json:{WASM_CONFIG}");
    let layer = format!("{ARTIFACT}:application/wasm");
    let path = stage.file("config.json");
    fs::write(&path, r#"{"architecture":"wasm","os":"wasip2"}"#).map_err(Error::file("write", &path))?;
    oras.must("push a component", &["push", "--plain-http", "--config", &config, &release, &layer])?;
    reader.must_not("fetch a release that waits for its signature", &["manifest", "--insecure", &release])?;
    let bundle = format!("{BUNDLE}:{BUNDLE_TYPE}");
    oras.must("attach its signature", &["attach", "--plain-http", "--artifact-type", BUNDLE_TYPE, &release, &bundle])?;
    reader.must("fetch what is released", &["manifest", "--insecure", &release])?;
    oras.must("find what refers to it", &["discover", "--plain-http", &release])?;
    oras.must("fetch it", &["copy", "--from-plain-http", &release, "--to-oci-layout", "oras-layout:0.1.0"])?;
    let blobs = stage.file("oras-layout/blobs/sha256");
    must_be_same(&blobs.join(stage.artifact_hex()), &stage.file(ARTIFACT))?;
    let mirror = stage.image("mirror/oras:x");
    let options = ["copy", "--recursive", "--from-plain-http", "--to-plain-http", &release, &mirror];
    oras.must("copy it with its signature", &options)?;
    oras.must("delete from an open namespace", &["manifest", "delete", "--plain-http", "--force", &mirror])?;
    oras.must_not("delete a release", &["manifest", "delete", "--plain-http", "--force", &release])?;
    reader.must_not("push", &["copy", "--insecure", &release, &stage.image("mirror/reader:x")])
}

pub(super) fn crane(stage: &Stage, crane: &Client<'_>) -> Result<(), Error> {
    let (release, mirror) = (stage.image("acme/hello:0.1.0"), stage.image("mirror/crane:x"));
    crane.must("list the versions", &["ls", "--insecure", &stage.image("acme/hello")])?;
    let blob = stage.image(&format!("acme/hello@sha256:{}", stage.artifact_hex()));
    crane.must_write("fetch the component", &["blob", "--insecure", &blob], "crane.wasm")?;
    must_be_same(&stage.file("crane.wasm"), &stage.file(ARTIFACT))?;
    crane.must("copy it to an open namespace", &["copy", "--insecure", &release, &mirror])?;
    crane.must("push it again", &["copy", "--insecure", &mirror, &release])?;
    crane.must_not("push it as another version", &["copy", "--insecure", &mirror, &stage.image("acme/hello:0.2.0")])?;
    crane.must("delete from an open namespace", &["delete", "--insecure", &mirror])?;
    crane.must_not("fetch what was deleted", &["manifest", "--insecure", &mirror])?;
    crane.must_not("delete a release", &["delete", "--insecure", &release])
}

pub(super) fn cosign(stage: &Stage, cosign: &Client<'_>) -> Result<(), Error> {
    let verify = |key: &'static str, kind: &'static str, file: &'static str| {
        // Our own log and its checkpoints stand for the public one that is left out here.
        ["verify-blob-attestation", "--key", key, "--bundle", BUNDLE, "--insecure-ignore-tlog", "--type", kind, file]
    };
    cosign.must("verify our signature", &verify(PUBLIC_KEY, RELEASE_TYPE, ARTIFACT))?;
    let changed = stage.file("changed.wasm");
    let mut bytes = fs::read(stage.file(ARTIFACT)).map_err(Error::file("read", stage.file(ARTIFACT)))?;
    bytes.push(0);
    fs::write(&changed, bytes).map_err(Error::file("write", &changed))?;
    cosign.must_not("accept another component", &verify(PUBLIC_KEY, RELEASE_TYPE, "changed.wasm"))?;
    cosign.must_not("accept a release for a review", &verify(PUBLIC_KEY, REVIEW_TYPE, ARTIFACT))?;
    cosign.must_not("accept another key", &verify(OTHER_KEY, RELEASE_TYPE, ARTIFACT))
}

/// A verifier of envelopes by a library that knows nothing of plugins. Key ids are its own: ours are left out, since nothing
/// vouches for them.
const VERIFY: &str = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
bundle, pem = (open(path, "rb").read() for path in sys.argv[1:3])
key = SSlibKey.from_crypto(load_pem_public_key(pem))
envelope = json.loads(bundle)["dsseEnvelope"]
for signature in envelope["signatures"]:
    signature["keyid"] = key.keyid
Envelope.from_dict(envelope).verify([key], 1)
"#;

pub(super) fn securesystemslib(stage: &Stage, python: &Client<'_>) -> Result<(), Error> {
    let script = stage.file("verify.py");
    fs::write(&script, VERIFY).map_err(Error::file("write", &script))?;
    python.must("verify our envelope", &["verify.py", BUNDLE, PUBLIC_KEY])?;
    python.must_not("accept another key", &["verify.py", BUNDLE, OTHER_KEY])
}

pub(super) fn skopeo(stage: &Stage, skopeo: &Client<'_>) -> Result<(), Error> {
    const TLS: &str = "--tls-verify=false";
    const SOURCE: &str = "--src-tls-verify=false";
    const DESTINATION: &str = "--dest-tls-verify=false";
    let image = |name: &str| format!("docker://{}", stage.image(name));
    let (release, mirror) = (image("acme/hello:0.1.0"), image("mirror/hello:0.1.0"));
    let layout = "oci:layout:0.1.0";
    skopeo.must("list the versions", &["list-tags", TLS, &image("acme/hello")])?;
    let copy = |from: &str, to: &str| -> Vec<String> {
        let words = ["--insecure-policy", "copy", "--all", SOURCE, DESTINATION, from, to];
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    let must =
        |what: &str, words: Vec<String>| skopeo.must(what, &words.iter().map(String::as_str).collect::<Vec<_>>());
    must("fetch a release", copy(&release, layout))?;
    let layer = stage.file("layout/blobs/sha256").join(stage.artifact_hex());
    must_be_same(&layer, Path::new(&stage.file(ARTIFACT)))?;
    must("push it to an open namespace", copy(layout, &mirror))?;
    must("push a release again", copy(layout, &release))?;
    let renamed = copy(layout, &image("acme/hello:0.2.0"));
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    skopeo.must_not("push a release as another version", &renamed)?;
    must("copy between repositories", copy(&mirror, &image("mirror/other/place:x")))?;
    skopeo.must("delete from an open namespace", &["delete", TLS, &mirror])?;
    skopeo.must_not("fetch what was deleted", &["inspect", "--raw", TLS, &mirror])?;
    skopeo.must_not("delete a release", &["delete", TLS, &release])
}

pub(super) fn wkg(stage: &Stage, wkg: &Client<'_>) -> Result<(), Error> {
    let (release, host) = (stage.image("acme/hello:0.1.0"), stage.address());
    wkg.must("fetch a release", &["oci", "pull", "--insecure", host, "--output", "wkg.wasm", &release])?;
    must_be_same(&stage.file("wkg.wasm"), &stage.file(ARTIFACT))?;
    wkg.must("push a release again", &["oci", "push", "--insecure", host, &release, ARTIFACT])?;
    let mirror = stage.image("mirror/wkg:x");
    wkg.must("push to an open namespace", &["oci", "push", "--insecure", host, &mirror, ARTIFACT])?;
    let renamed = stage.image("acme/hello:0.2.0");
    wkg.must_not("push a release as another version", &["oci", "push", "--insecure", host, &renamed, ARTIFACT])
}
