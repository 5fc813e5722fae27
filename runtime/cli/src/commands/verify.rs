//! `bulkhead verify FILE`: would a host with this policy take it, or: did this key sign it?
//! It needs no network and no host, and says every reason for a no.

use std::path::{Path, PathBuf};

use bulkhead_model::Code;
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{
    Artifact, Bundle, Policy, Refusal, ReleaseStatement, State, StructuralLimits, VerifyingKey, admit, artifact, policy,
};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, key};
use crate::error::Error;
use crate::file;
use crate::release::Release;
use crate::view;

const EXAMPLES: &str = "\
With --policy the whole policy decides, as on a host; with --key only that this key signed exactly these \
bytes. With neither, `policy.toml` of this folder decides, and where there is none, nothing is allowed.

Examples:
  bulkhead verify crm-1.2.0.wasm --policy policy.toml
  bulkhead verify crm-1.2.0.wasm --key acme.pub.pem";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Artifact; its bundles are found beside it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Policy to judge by
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    policy: Option<PathBuf>,
    /// Public key that must have signed
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let release = Release::read(&self.file)?;
        let now = Timestamp::now();
        let outcome = match &self.key {
            Some(key) => by_key(&release, &key::read_public(key)?, now),
            None => by_policy(&release, &self.policy()?, now),
        };
        let (body, text) =
            outcome.map_err(|refusals| Error::Refused { subject: self.file.display().to_string(), refusals })?;
        context.output.result(&body, &text);
        Ok(())
    }

    fn policy(&self) -> Result<Policy, Error> {
        match &self.policy {
            Some(path) => read_policy(path),
            None if Path::new("policy.toml").is_file() => read_policy(Path::new("policy.toml")),
            None => Ok(Policy::deny_all()),
        }
    }
}

/// The policy in a TOML file. Every mistake of it is in the error.
pub(crate) fn read_policy(path: &Path) -> Result<Policy, Error> {
    Policy::from_toml(&file::read_text(path)?).map_err(|error| match error {
        policy::Error::Invalid(issues) => Error::Invalid {
            path: path.to_owned(),
            issues,
            next: "correct each entry; `bulkhead policy check` shows what else deserves a look",
        },
        policy::Error::Refused(refusal) => {
            Error::Refused { subject: path.display().to_string(), refusals: vec![refusal] }
        }
    })
}

type Outcome = Result<(Value, String), Vec<Refusal>>;

fn by_policy(release: &Release, policy: &Policy, now: Timestamp) -> Outcome {
    // What a host has admitted before, and its runtime, are that host's to know.
    let state = State::default();
    let limits = StructuralLimits::DEFAULT;
    let (artifact, verdict) = admit(&release.bytes, &release.bundle_bytes(), policy, &state, now, &limits)?;
    let signers: Vec<String> =
        verdict.signers.iter().map(|signer| format!("{} ({})", signer.principal, signer.role)).collect();
    let mut body = identity(&artifact);
    view::add(&mut body, "rule", verdict.rule.as_str());
    view::add(&mut body, "signers", signers.clone());
    let text = format!("{}\nallowed by rule `{}`, signed by {}", title(&artifact), verdict.rule, signers.join(", "));
    Ok((body, text))
}

/// At least one bundle is by this key and says exactly what the artifact is. Bundles of other signers do
/// not count, neither for nor against.
fn by_key(release: &Release, key: &VerifyingKey, now: Timestamp) -> Outcome {
    let artifact = artifact::read(&release.bytes, &StructuralLimits::MAX)?;
    if release.bundles.is_empty() {
        return Err(vec![Refusal::new(Code::Unsigned, "there is no bundle beside the file")]);
    }
    let (mut good, mut others, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    for bundle in &release.bundles {
        let name = bundle.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let named = |refusal: Refusal| Refusal::new(refusal.code, format!("{name}: {}", refusal.detail));
        match Bundle::parse(&bundle.bytes).and_then(|bundle| bundle.verify(&[*key])) {
            Ok(verified) => match disagreements(&artifact, &verified.statement, now) {
                found if found.is_empty() => good.push((name, verified.statement)),
                found => refusals.extend(found.into_iter().map(named)),
            },
            Err(refusal) if refusal.code == Code::UnknownSigner => others.push(named(refusal)),
            Err(refusal) => refusals.push(named(refusal)),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    if good.is_empty() {
        return Err(others);
    }
    let lines: Vec<String> =
        good.iter().map(|(name, statement)| format!("signed by this key as {}: {name}", role_of(statement))).collect();
    let mut body = identity(&artifact);
    view::add(&mut body, "key_id", key.id().to_string());
    let files = good.iter().map(|(name, statement)| json!({ "file": name, "role": role_of(statement) }));
    view::add(&mut body, "bundles", files.collect::<Vec<_>>());
    Ok((body, format!("{}\n{}", title(&artifact), lines.join("\n"))))
}

/// What a statement says otherwise than the artifact is.
fn disagreements(artifact: &Artifact, statement: &ReleaseStatement, now: Timestamp) -> Vec<Refusal> {
    let plugin = &artifact.manifest.plugin;
    let mut found = Vec::new();
    if statement.digest != artifact.digest || statement.size_bytes != artifact.size_bytes {
        let detail = format!("signed is {} of {} bytes", statement.digest, statement.size_bytes);
        found.push(Refusal::new(Code::DigestMismatch, detail));
    }
    if statement.plugin != plugin.id || statement.version != plugin.version {
        let detail = format!("signed is `{}@{}`", statement.plugin, statement.version);
        found.push(Refusal::new(Code::ManifestMismatch, detail));
    }
    if statement.imports_digest != artifact.imports_digest {
        found.push(Refusal::new(Code::ManifestMismatch, "signed are other imports"));
    }
    if statement.not_after <= now {
        found.push(Refusal::new(Code::Expired, format!("the signature counted until {}", statement.not_after)));
    }
    found
}

fn role_of(statement: &ReleaseStatement) -> &'static str {
    match statement.review.as_ref().map(|review| review.decision) {
        None => "author",
        Some(Decision::Approve) => "reviewer, who approves",
        Some(Decision::Reject) => "reviewer, who rejects",
        Some(Decision::Rollback) => "reviewer, who lets it come back",
    }
}

fn identity(artifact: &Artifact) -> Value {
    let plugin = &artifact.manifest.plugin;
    json!({
        "verified": true,
        "plugin": plugin.id.as_str(),
        "version": plugin.version.to_string(),
        "digest": artifact.digest.to_string(),
    })
}

fn title(artifact: &Artifact) -> String {
    let plugin = &artifact.manifest.plugin;
    format!("verified: {} {} {}", plugin.id, plugin.version, artifact.digest)
}
