//! What an author should know before a release leaves the machine: secrets, files that do not belong, odd manifests.
//! It does not repeat the checks of `artifact`; packing runs both.

use std::collections::BTreeSet;
use std::fmt;

use bulkhead_model::Manifest;

use crate::files::Files;
use crate::secrets;
use crate::sections::{PREFIX, Section};

/// Endings of files that never belong into an artifact, and what they are.
const FORBIDDEN: [(&str, &str); 18] = [
    (".env", "an environment file"),
    (".pem", "a key or certificate file"),
    (".key", "a key file"),
    (".p12", "a key store"),
    (".pfx", "a key store"),
    (".jks", "a key store"),
    (".keystore", "a key store"),
    (".kdbx", "a password database"),
    (".ppk", "a private key"),
    (".zip", "an archive"),
    (".tar", "an archive"),
    (".gz", "an archive"),
    (".7z", "an archive"),
    (".exe", "a program"),
    (".dll", "a program"),
    (".so", "a program"),
    (".sqlite", "a database"),
    (".db", "a database"),
];
/// Whole file names that never belong into an artifact.
const FORBIDDEN_NAMES: [(&str, &str); 7] = [
    ("env", "an environment file"),
    ("id_rsa", "a private key"),
    ("id_ed25519", "a private key"),
    ("id_ecdsa", "a private key"),
    ("credentials", "a credentials file"),
    ("credentials.json", "a credentials file"),
    ("npmrc", "a credentials file"),
];
/// Share of a section's limit from which an author is warned, in percent.
const NEAR_LIMIT_PERCENT: usize = 80;

/// Whether a finding stops packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whether it stops packing.
    pub severity: Severity,
    /// A file of the artifact, or a JSON pointer into the manifest.
    pub place: String,
    /// What is wrong; never the secret itself.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything worth saying about an artifact before it is packed, errors first.
pub fn lint(
    component: &[u8],
    manifest: &Manifest,
    migrations: &Files,
    assets: &Files,
    sbom: Option<&[u8]>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if component.windows(PREFIX.len()).any(|window| window == PREFIX.as_bytes()) && has_our_section(component) {
        findings.push(error("component", "it is packed already: pack what the compiler wrote"));
    }
    let texts = [
        ("component", component),
        ("manifest", &manifest.for_artifact().to_json()),
        ("sbom", sbom.unwrap_or_default()),
    ];
    for (place, bytes) in texts {
        findings.extend(secrets::find(bytes).map(|kind| error(place, &format!("it contains {kind}"))));
    }
    for (folder, files) in [("migrations", migrations), ("assets", assets)] {
        for (path, file) in files.iter() {
            let place = format!("{folder}/{path}");
            findings
                .extend(forbidden(path).map(|what| error(&place, &format!("{what} does not belong into an artifact"))));
            findings.extend(secrets::find(&file.bytes).map(|kind| error(&place, &format!("it contains {kind}"))));
        }
        findings.extend(files.collisions().into_iter().map(|refusal| error(folder, &refusal.detail)));
    }
    findings.extend(odd_manifest(manifest));
    for (section, files) in [(Section::Migrations, migrations), (Section::Assets, assets)] {
        let (bytes, most) = (files.encode().len(), section.bytes_max());
        if bytes.saturating_mul(100) > most.saturating_mul(NEAR_LIMIT_PERCENT) {
            findings.push(warning(section.as_str(), &format!("{bytes} bytes, at most {most} are allowed")));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Whether one of our names stands where a custom section's name stands; strings of a guest may well contain it.
fn has_our_section(component: &[u8]) -> bool {
    let mut parser = wasmparser::Parser::new(0);
    parser.set_features(crate::structure::FEATURES);
    let mut payloads = parser.parse_all(component).map_while(Result::ok);
    payloads.any(
        |payload| matches!(payload, wasmparser::Payload::CustomSection(custom) if custom.name().starts_with(PREFIX)),
    )
}

fn odd_manifest(manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let plugin = &manifest.plugin;
    if plugin.description.is_empty() {
        findings.push(warning("/plugin/description", "people choose by it"));
    }
    if plugin.license.is_empty() {
        findings.push(warning("/plugin/license", "an SPDX expression, such as `MIT`, says what others may do"));
    }
    if plugin.version.semver() == &semver::Version::new(0, 0, 0) {
        findings.push(warning("/plugin/version", "0.0.0 is older than any other release"));
    }
    let routed = manifest.routes.iter().filter_map(|route| route.permission.as_ref());
    let shown = manifest.ui.iter().flat_map(|ui| ui.pages.iter().filter_map(|page| page.permission.as_ref()));
    let used: BTreeSet<_> = routed.chain(shown).collect();
    for (index, permission) in manifest.permissions.iter().enumerate() {
        if !used.contains(&permission.name) {
            let message = format!("no route or page asks for `{}`", permission.name);
            findings.push(warning(&format!("/permissions/{index}"), &message));
        }
    }
    for (index, route) in manifest.routes.iter().enumerate().filter(|(_, route)| route.permission.is_none()) {
        let message = format!("`{} {}` is open to every user of the tenant", route.method.as_str(), route.path);
        findings.push(warning(&format!("/routes/{index}"), &message));
    }
    findings
}

fn forbidden(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let by_name = FORBIDDEN_NAMES.iter().find(|(forbidden, _)| *forbidden == name);
    by_name.or_else(|| FORBIDDEN.iter().find(|(ending, _)| name.ends_with(ending))).map(|(_, what)| *what)
}

fn error(place: &str, message: &str) -> Finding {
    Finding { severity: Severity::Error, place: place.to_owned(), message: message.to_owned() }
}

fn warning(place: &str, message: &str) -> Finding {
    Finding { severity: Severity::Warning, place: place.to_owned(), message: message.to_owned() }
}
