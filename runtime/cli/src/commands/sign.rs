//! `bulkhead sign FILE --key PEM`: a signature beside the artifact, which stays as it is.
//! It does not say whether the signer may ship the plugin; a policy does.

use std::path::{Path, PathBuf};

use bulkhead_model::Digest;
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{Artifact, Bundle, CapabilityDiff, ReleaseStatement, Review, StructuralLimits, artifact, bundle};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Context, diff, key};
use crate::error::Error;
use crate::file::{self, ARTIFACT_BYTES_MAX};
use crate::release::{self, Release};
use crate::view;

/// How long a signature counts unless `--not-after` says otherwise: a year.
const VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);

const EXAMPLES: &str = "\
Each signature is a sigstore bundle of its own beside the file: crm-1.2.0.1.sigstore.json, \
crm-1.2.0.2.sigstore.json and so on. The host looks for them when the file is published.

Examples:
  bulkhead sign crm-1.2.0.wasm --key acme.key.pem
  bulkhead sign crm-1.2.0.wasm --key anna.key.pem --role reviewer --reason 'read the diff' --policy-version 14
  bulkhead sign crm-1.3.0.wasm --key anna.key.pem --role reviewer --reason 'read the diff' --against crm-1.2.0.wasm
  bulkhead sign crm-1.2.0.wasm --key anna.key.pem --role reviewer --reason 'INC-42' --rollback-from crm-1.3.0.wasm";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sign {
    /// Packed artifact
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Private key of the signer
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Role in which it is signed
    #[arg(long, value_enum, default_value_t = RoleName::Author)]
    role: RoleName,
    /// Last moment at which the signature counts, RFC 3339 [default: a year from now]
    #[arg(long, value_name = "TIME")]
    not_after: Option<Timestamp>,
    /// Number that grows from release to release [default: that of an earlier signer, else milliseconds since 1970]
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Review: version of the policy that was looked at
    #[arg(long, value_name = "N", default_value_t = 0, requires = "reason")]
    policy_version: u64,
    /// Review: why it is approved
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Review: the older artifact that it was compared with; the statement names it and the digest of the difference
    #[arg(long, value_name = "FILE", requires = "reason")]
    against: Option<PathBuf>,
    /// Review: say no instead of yes
    #[arg(long)]
    reject: bool,
    /// Review: let this artifact come back in the place of a newer one, a file or its `sha256:<hex>`
    #[arg(long, value_name = "FILE|DIGEST", requires = "reason", conflicts_with_all = ["reject", "against"])]
    rollback_from: Option<String>,
}

/// A role as the command line writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Made the release
    Author,
    /// Looked at it
    Reviewer,
}

impl Sign {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let key = key::read_private(&self.key)?;
        let release = Release::read(&self.file)?;
        let artifact = artifact::read(&release.bytes, &StructuralLimits::MAX)
            .map_err(|refusals| Error::Refused { subject: self.file.display().to_string(), refusals })?;
        let compared = match self.against.as_deref().filter(|_| self.role == RoleName::Reviewer) {
            Some(older) => Some(diff::of_files(older, &self.file)?),
            None => None,
        };
        let sequence = sequence_of(&release, &artifact);
        let statement = self.statement(&artifact, compared.as_ref(), sequence, Timestamp::now())?;
        let path = release::write_bundle(&self.file, &bundle::sign(&key, &statement))?;
        let body = json!({
            "bundle": path.display().to_string(),
            "plugin": statement.plugin.as_str(),
            "version": statement.version.to_string(),
            "digest": statement.digest.to_string(),
            "role": statement.role().as_str(),
            "sequence": statement.sequence,
            "not_after": statement.not_after.to_string(),
            "key_id": key.verifying_key().id().to_string(),
        });
        let fields = [
            ("bundle", "/bundle"),
            ("release", "/plugin"),
            ("version", "/version"),
            ("digest", "/digest"),
            ("role", "/role"),
            ("counts until", "/not_after"),
            ("key id", "/key_id"),
        ];
        context.output.result(&body, &view::object(&body, &fields));
        context
            .output
            .note(&format!("next: bulkhead verify {0} --key PUB.pem, then bulkhead publish {0}", self.file.display()));
        Ok(())
    }

    fn statement(
        &self,
        artifact: &Artifact,
        compared: Option<&CapabilityDiff>,
        known_sequence: Option<u64>,
        now: Timestamp,
    ) -> Result<ReleaseStatement, Error> {
        let author = release_statement(artifact, now);
        let not_after = self.not_after.map_or(author.not_after, whole_second);
        if not_after <= author.issued_at {
            return Err(Error::Usage {
                what: format!("`--not-after {not_after}` is in the past"),
                next: "name a time that is still to come".to_owned(),
            });
        }
        if self.rollback_from.is_some() && self.role != RoleName::Reviewer {
            return Err(Error::Usage {
                what: "only a reviewer lets a release come back".to_owned(),
                next: "sign it with `--role reviewer`".to_owned(),
            });
        }
        let newer = self.rollback_from.as_deref().map(digest_of).transpose()?;
        let decision = match (self.reject, newer) {
            (true, _) => Decision::Reject,
            (false, Some(_)) => Decision::Rollback,
            (false, None) => Decision::Approve,
        };
        let review = (self.role == RoleName::Reviewer).then(|| Review {
            policy_version: self.policy_version,
            base_digest: newer.or_else(|| compared.map(|diff| diff.from.digest)),
            capability_diff_digest: compared.map(CapabilityDiff::digest),
            decision,
            reason: self.reason.clone(),
        });
        let sequence = self.sequence.or(known_sequence).unwrap_or(author.sequence);
        Ok(ReleaseStatement { sequence, not_after, review, ..author })
    }
}

/// The digest of an artifact, given as such or as its file.
fn digest_of(text: &str) -> Result<Digest, Error> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(_) => Ok(Digest::of(&file::read(Path::new(text), ARTIFACT_BYTES_MAX)?)),
    }
}

/// The sequence number that an earlier signer of these bytes gave: all signers of a release name the same.
/// A false one only gets this signature refused.
fn sequence_of(release: &Release, artifact: &Artifact) -> Option<u64> {
    let claims = release.bundles.iter().filter_map(|bundle| Bundle::parse(&bundle.bytes).ok()?.claims().ok());
    claims.filter(|claims| claims.digest == artifact.digest).map(|claims| claims.sequence).next()
}

/// What the author of `artifact` says when nothing else is asked for.
pub(crate) fn release_statement(artifact: &Artifact, now: Timestamp) -> ReleaseStatement {
    let plugin = &artifact.manifest.plugin;
    ReleaseStatement {
        plugin: plugin.id.clone(),
        version: plugin.version.clone(),
        digest: artifact.digest,
        size_bytes: artifact.size_bytes,
        sequence: u64::try_from(now.as_millisecond()).unwrap_or(0),
        issued_at: whole_second(now),
        not_after: whole_second(now.saturating_add(VALIDITY).unwrap_or(Timestamp::MAX)),
        imports_digest: artifact.imports_digest,
        review: None,
    }
}

/// Statements carry no fraction of a second.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
