//! Components, manifests, keys and policies that the tests begin with.
//! It checks nothing.

use std::sync::LazyLock;

use bulkhead_model::{Code, Manifest, Version};
use bulkhead_trust::files::File;
use bulkhead_trust::statement::Decision;
use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{Artifact, Files, Policy, Refusal, ReleaseStatement, Review, SigningKey, artifact, bundle, pack};
use jiff::Timestamp;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// A plugin with a route and a filter.
pub(crate) const MANIFEST: &str = r#"
    [plugin]
    id = "acme.crm"
    version = "1.2.0"
    name = "CRM"
    [[routes]]
    method = "GET"
    path = "/deals"
    [[hooks]]
    name = "order.validate"
    kind = "filter"
    [capabilities]
    sql = true
"#;

pub(crate) const POLICY: &str = r#"
    version = 14
    expires = "2027-01-31T00:00:00Z"
    [[principal]]
    name = "acme-release"
    keys = ["AUTHOR"]
    valid = ["2026-01-01", "2026-12-31"]
    [[principal]]
    name = "sec-anna"
    keys = ["ANNA", "ANNA2"]
    [[principal]]
    name = "sec-bo"
    keys = ["BO"]
    [[principal]]
    name = "other-team"
    keys = ["OTHER"]
    [[allow]]
    id = "crm-prod"
    plugin = "acme.crm"
    version = ">=1.2.0, <2.0.0"
    signers = [{ role = "author", of = ["acme-release"], threshold = 1 }]
    tenants = ["bank-*"]
    [allow.ceiling]
    interfaces = ["bulkhead:plugin/sql"]
    storage_mb = 512
"#;

/// Seed of a key that is the same in every run.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32])
}

pub(crate) const AUTHOR: u8 = 1;
pub(crate) const ANNA: u8 = 2;
pub(crate) const ANNA2: u8 = 3;
pub(crate) const BO: u8 = 4;
pub(crate) const OTHER: u8 = 5;
pub(crate) const STRANGER: u8 = 6;

pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// The text of a policy with the keys' names replaced by keys.
pub(crate) fn policy_text(text: &str) -> String {
    [("ANNA2", ANNA2), ("AUTHOR", AUTHOR), ("ANNA", ANNA), ("BO", BO), ("OTHER", OTHER), ("STRANGER", STRANGER)]
        .into_iter()
        .fold(text.to_owned(), |text, (name, seed)| {
            text.replace(&format!("\"{name}\""), &format!("\"{}\"", key(seed).verifying_key()))
        })
}

pub(crate) fn policy(text: &str) -> Policy {
    Policy::from_toml(&policy_text(text)).unwrap()
}

pub(crate) fn manifest(text: &str) -> Manifest {
    Manifest::parse_toml(text).unwrap()
}

/// A component with real types, made from the project's WIT.
pub(crate) fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut resolve = Resolve::new();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
    let line = |verb: &str, name: &&str| format!("{verb} bulkhead:plugin/{name}@0.1.0;\n");
    let lines: String = imports
        .iter()
        .map(|name| line("import", name))
        .chain(exports.iter().map(|name| line("export", name)))
        .collect();
    let package = resolve.push_str("guest.wit", &format!("package test:guest;\nworld guest {{\n{lines}}}")).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The component of [`MANIFEST`]. Made once: it is what thousands of cases change.
pub(crate) fn crm() -> Vec<u8> {
    static CRM: LazyLock<Vec<u8>> = LazyLock::new(|| component(&["log", "sql"], &["routes", "hooks"]));
    CRM.clone()
}

pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

pub(crate) fn file(media_type: &str, bytes: &[u8]) -> File {
    File { media_type: media_type.to_owned(), bytes: bytes.to_vec() }
}

pub(crate) fn files(entries: &[(&str, &str)]) -> Files {
    let mut files = Files::new();
    for (path, text) in entries {
        files.insert(path, file("text/plain", text.as_bytes())).unwrap();
    }
    files
}

/// A complete artifact of [`MANIFEST`].
pub(crate) fn artifact() -> Vec<u8> {
    static ARTIFACT: LazyLock<Vec<u8>> = LazyLock::new(|| packed(MANIFEST, &crm()));
    ARTIFACT.clone()
}

pub(crate) fn packed(manifest_text: &str, component: &[u8]) -> Vec<u8> {
    pack(component, &manifest(manifest_text), &Files::new(), &Files::new(), None, &StructuralLimits::DEFAULT).unwrap()
}

/// The component with custom sections behind it, whatever they hold.
pub(crate) fn with_sections(component: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    for (name, data) in sections {
        append_section(&mut bytes, name, data);
    }
    bytes
}

pub(crate) fn append_section(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    use wasm_encoder::Encode as _;
    let section = wasm_encoder::CustomSection { name: name.into(), data: data.into() };
    bytes.push(0);
    section.encode(bytes);
}

pub(crate) fn read(bytes: &[u8]) -> Result<Artifact, Vec<Refusal>> {
    artifact::read(bytes, &StructuralLimits::DEFAULT)
}

/// An author's statement about an artifact.
pub(crate) fn statement(bytes: &[u8]) -> ReleaseStatement {
    let artifact = read(bytes).unwrap();
    ReleaseStatement {
        plugin: artifact.manifest.plugin.id.clone(),
        version: artifact.manifest.plugin.version.clone(),
        digest: artifact.digest,
        size_bytes: artifact.size_bytes,
        sequence: 7,
        issued_at: "2026-05-01T00:00:00Z".parse().unwrap(),
        not_after: "2026-12-01T00:00:00Z".parse().unwrap(),
        imports_digest: artifact.imports_digest,
        review: None,
    }
}

pub(crate) fn review(decision: Decision) -> Review {
    Review {
        policy_version: 14,
        base_digest: None,
        capability_diff_digest: None,
        decision,
        reason: "looked at it".to_owned(),
    }
}

pub(crate) fn signed(bytes: &[u8], seed: u8) -> String {
    bundle::sign(&key(seed), &statement(bytes))
}

pub(crate) fn reviewed(bytes: &[u8], seed: u8, decision: Decision) -> String {
    bundle::sign(&key(seed), &ReleaseStatement { review: Some(review(decision)), ..statement(bytes) })
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn codes(refusals: &[Refusal]) -> Vec<Code> {
    refusals.iter().map(|refusal| refusal.code).collect()
}
