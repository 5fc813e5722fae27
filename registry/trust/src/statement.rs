//! What a signer says about a release: an in-toto Statement v1 with our two predicates.
//! It does not verify the signature over it; `bundle` does, before anyone reads a statement.

use std::fmt;

use bulkhead_model::object::{self, Object};
use bulkhead_model::{Digest, PluginId, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, shown};

/// Payload type of a signed statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Predicate type of an author's statement.
pub const RELEASE_TYPE: &str = "https://bulkhead.dev/attestation/release/v1";
/// Predicate type of a reviewer's statement.
pub const REVIEW_TYPE: &str = "https://bulkhead.dev/attestation/review/v1";
/// Largest statement in bytes.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;
/// Longest reason of a review in bytes.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Highest sequence number: more could not be kept, and what is above would compare as equal.
pub const SEQUENCE_MAX: u64 = i64::MAX.unsigned_abs();

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// In which role somebody signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Made the release.
    Author,
    /// Looked at it.
    Reviewer,
}

impl Role {
    /// The role as policies and commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Reviewer => "reviewer",
        }
    }

    /// The predicate type that a statement in this role has.
    pub const fn predicate_type(self) -> &'static str {
        match self {
            Self::Author => RELEASE_TYPE,
            Self::Reviewer => REVIEW_TYPE,
        }
    }

    /// The role of this name.
    pub fn find(text: &str) -> Option<Self> {
        [Self::Author, Self::Reviewer].into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A statement about one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseStatement {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the whole component file.
    pub digest: Digest,
    /// Bytes of that file.
    pub size_bytes: u64,
    /// Strictly increasing from release to release of the plugin.
    pub sequence: u64,
    /// When it was signed, by the signer's own clock.
    pub issued_at: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
    /// [`crate::imports::Imports::digest`] of the component.
    pub imports_digest: Digest,
    /// Present in a reviewer's statement, absent in an author's.
    pub review: Option<Review>,
}

/// What a reviewer adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Version of the policy that the reviewer looked at.
    pub policy_version: u64,
    /// The release that it was compared with.
    pub base_digest: Option<Digest>,
    /// Digest of the capability diff that was looked at.
    pub capability_diff_digest: Option<Digest>,
    /// Yes or no.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
}

/// What a reviewer decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Counts towards the threshold.
    Approve,
    /// Does not.
    Reject,
    /// Lets the release come in the place of the newer one that `base_digest` names; counts towards no other threshold.
    Rollback,
}

impl ReleaseStatement {
    /// The role in which the statement is made.
    pub const fn role(&self) -> Role {
        if self.review.is_some() { Role::Reviewer } else { Role::Author }
    }

    /// The JSON bytes that are signed as they stand.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: format!("{}@{}", self.plugin, self.version),
                digest: SubjectDigest { sha256: self.digest.hex() },
            }],
            predicate_type: self.role().predicate_type().to_owned(),
            predicate: Predicate::of(self),
        };
        serde_json::to_vec(&wire)
            .unwrap_or_else(|error| unreachable!("a statement holds only strings and numbers: {error}"))
    }

    /// Reads a statement and checks that it agrees with itself.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(Refusal::malformed(format!("a statement is at most {STATEMENT_BYTES_MAX} bytes long")));
        }
        let Object(wire): Object<Statement> =
            serde_json::from_slice(bytes).map_err(|error| malformed(&format!("not a statement: {error}")))?;
        if wire.kind != STATEMENT_TYPE {
            return Err(malformed(&format!("`_type` is `{}`, wanted `{STATEMENT_TYPE}`", shown(&wire.kind))));
        }
        let [subject] = wire.subject.as_slice() else {
            return Err(malformed("a statement has exactly one subject"));
        };
        let digest = format!("sha256:{}", subject.digest.sha256)
            .parse()
            .map_err(|_| malformed("the subject's `sha256` is 64 lower-case hex digits"))?;
        let statement = wire.predicate.into_statement(digest)?;
        let wanted = statement.role().predicate_type();
        if wire.predicate_type != wanted {
            let found = shown(&wire.predicate_type);
            return Err(malformed(&format!("`predicateType` is `{found}`, and the predicate is one of `{wanted}`")));
        }
        if subject.name != format!("{}@{}", statement.plugin, statement.version) {
            let found = shown(&subject.name);
            return Err(malformed(&format!(
                "the subject is `{found}`, the predicate speaks of `{}@{}`",
                statement.plugin, statement.version
            )));
        }
        if statement.sequence > SEQUENCE_MAX {
            return Err(malformed(&format!("`sequence` is at most {SEQUENCE_MAX}")));
        }
        if statement.not_after <= statement.issued_at {
            return Err(malformed("`not_after` is later than `issued_at`"));
        }
        Ok(statement)
    }
}

fn malformed(detail: &str) -> Refusal {
    Refusal::malformed(format!("statement: {detail}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(deserialize_with = "object::many")]
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(deserialize_with = "object::one")]
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    #[serde(deserialize_with = "object::one")]
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    plugin: PluginId,
    version: Version,
    size: u64,
    sequence: u64,
    issued_at: String,
    not_after: String,
    imports_digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capability_diff_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Predicate {
    fn of(statement: &ReleaseStatement) -> Self {
        let review = statement.review.as_ref();
        Self {
            plugin: statement.plugin.clone(),
            version: statement.version.clone(),
            size: statement.size_bytes,
            sequence: statement.sequence,
            issued_at: statement.issued_at.to_string(),
            not_after: statement.not_after.to_string(),
            imports_digest: statement.imports_digest,
            policy_version: review.map(|review| review.policy_version),
            base_digest: review.and_then(|review| review.base_digest),
            capability_diff_digest: review.and_then(|review| review.capability_diff_digest),
            decision: review.map(|review| review.decision),
            reason: review.map(|review| review.reason.clone()),
        }
    }

    fn into_statement(self, digest: Digest) -> Result<ReleaseStatement, Refusal> {
        let time = |field: &str, text: &str| {
            utc(text).ok_or_else(|| malformed(&format!("`{field}` is a time in UTC such as `2026-01-31T00:00:00Z`")))
        };
        let (issued_at, not_after) = (time("issued_at", &self.issued_at)?, time("not_after", &self.not_after)?);
        Ok(ReleaseStatement {
            digest,
            size_bytes: self.size,
            sequence: self.sequence,
            issued_at,
            not_after,
            imports_digest: self.imports_digest,
            review: self.review()?,
            plugin: self.plugin,
            version: self.version,
        })
    }

    /// The reviewer's fields come together or not at all.
    fn review(&self) -> Result<Option<Review>, Refusal> {
        match (self.policy_version, self.decision, &self.reason) {
            (Some(_), Some(Decision::Rollback), Some(_)) if self.base_digest.is_none() => {
                Err(malformed("a review that lets a release come back names the newer one in `base_digest`"))
            }
            (Some(policy_version), Some(decision), Some(reason)) if reason.len() <= REASON_BYTES_MAX => {
                Ok(Some(Review {
                    policy_version,
                    base_digest: self.base_digest,
                    capability_diff_digest: self.capability_diff_digest,
                    decision,
                    reason: reason.clone(),
                }))
            }
            (None, None, None) if self.base_digest.is_none() && self.capability_diff_digest.is_none() => Ok(None),
            _ => Err(malformed(&format!(
                "a review has `policy_version`, `decision` and a `reason` of at most {REASON_BYTES_MAX} bytes, a release none of them"
            ))),
        }
    }
}

/// RFC 3339 in UTC, written with `Z`.
pub(crate) fn utc(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let plain = (20..=30).contains(&bytes.len()) && bytes.get(10) == Some(&b'T') && bytes.last() == Some(&b'Z');
    if plain { text.parse().ok() } else { None }
}
