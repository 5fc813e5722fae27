//! The signer policy: who may ship what to whom, and how much it may ask for.
//! It judges nothing itself; `admit` weighs a release against it.

mod envelope;
mod level;
mod lint;
mod pattern;
mod read;
pub mod roots;
mod time;
mod write;

use bulkhead_model::limits::LimitsCeiling;
use bulkhead_model::{Code, Coded, Digest, Issue, TrustLevel};
use jiff::Timestamp;
use semver::VersionReq;

pub use envelope::{ENVELOPE_BYTES_MAX, PAYLOAD_TYPE, SIGNATURES_MAX, add_signature, sign, verify};
pub use pattern::Pattern;

use crate::key::VerifyingKey;
use crate::refusal::Refusal;
use crate::statement::Role;
use crate::structure::StructuralLimits;

/// Largest policy in bytes, as TOML or JSON.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Highest version: no policy could follow a higher one, nor could it be kept.
pub const VERSION_MAX: u64 = i64::MAX.unsigned_abs();
/// Most principals.
pub const PRINCIPALS_MAX: usize = 128;
/// Most keys of all principals and deny entries together: each may cost a verification.
pub const KEYS_MAX: usize = 256;
/// Most allow rules.
pub const RULES_MAX: usize = 512;
/// Most deny entries.
pub const DENIES_MAX: usize = 4_096;
/// Most entries of any list inside a rule.
pub const LIST_MAX: usize = 256;

/// Whether a policy, a rule or a deny entry decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It decides nothing; what it would have denied is told beside the decision.
    Observe,
}

impl Mode {
    /// The mode as policies write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// A policy. Deny entries win; otherwise one single allow rule must be met completely.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Strictly increasing from one policy to the next.
    pub version: u64,
    /// From then on it allows nothing.
    pub expires: Timestamp,
    /// Whether it decides. One that is observed stands beside the policy in force and never replaces it.
    pub mode: Mode,
    /// Who signs.
    pub principals: Vec<Principal>,
    /// What is allowed.
    pub allow: Vec<Rule>,
    /// What never is.
    pub deny: Vec<Deny>,
}

/// A person or a machine with keys. Thresholds count principals, never keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name that rules use.
    pub name: String,
    /// Its keys; several while one is replaced by the next.
    pub keys: Vec<VerifyingKey>,
    /// From when its signatures count.
    pub valid_from: Option<Timestamp>,
    /// Until when, exclusive.
    pub valid_until: Option<Timestamp>,
}

/// An allow rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Name of the rule, shown wherever it decides.
    pub id: String,
    /// Whether it decides. One that is observed allows nothing.
    pub mode: Mode,
    /// Plugins: an id, `namespace.*`, or `*`.
    pub plugin: Pattern,
    /// Versions.
    pub version: VersionReq,
    /// Whether prereleases inside the range count.
    pub prerelease: bool,
    /// Who must have signed; at least one entry.
    pub signers: Vec<Signers>,
    /// Tenants that may enable it.
    pub tenants: Vec<Pattern>,
    /// How far it trusts what its signers ship, where it says so; see [`Rule::level`].
    pub trust: Option<TrustLevel>,
    /// Whether a version that widens what it may do waits for a reviewer.
    pub review_wider: bool,
    /// Whether going back to an older version needs a reviewer's signature.
    pub review_rollback: bool,
    /// Oldest runtime that may load it.
    pub runtime_min: Option<semver::Version>,
    /// Whether `category = "core"` of a manifest counts.
    pub core: bool,
    /// Whether `critical = true` of a manifest counts.
    pub critical: bool,
    /// Most that a plugin may ask for.
    pub ceiling: Ceiling,
    /// Most of each limit of a call.
    pub limits: LimitsCeiling,
    /// Structural limits of the component.
    pub structure: StructuralLimits,
    /// From when it counts.
    pub valid_from: Option<Timestamp>,
    /// Until when, exclusive.
    pub expires: Option<Timestamp>,
    /// Why it is there, for people.
    pub reason: String,
    /// Who wrote it.
    pub author: String,
    /// Who agreed.
    pub approved_by: String,
}

/// Signers that a rule wants in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The role.
    pub role: Role,
    /// Names of principals.
    pub of: Vec<String>,
    /// How many of them.
    pub threshold: usize,
}

/// Most that a rule lets a plugin ask for. The default allows nothing beyond the baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Interfaces without their version, such as `bulkhead:plugin/sql`.
    pub interfaces: Vec<Pattern>,
    /// Outbound hosts.
    pub hosts: Vec<Pattern>,
    /// Topics.
    pub events: Vec<Pattern>,
    /// Names of secrets.
    pub secrets: Vec<Pattern>,
}

/// A deny entry: denies what meets every condition that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Deny {
    /// Whether it decides.
    pub mode: Mode,
    /// Plugins.
    pub plugin: Pattern,
    /// Versions.
    pub version: Option<VersionReq>,
    /// One release.
    pub digest: Option<Digest>,
    /// Everything that this key signed.
    pub key: Option<VerifyingKey>,
    /// From when it denies.
    pub from: Option<Timestamp>,
    /// Why, for people.
    pub reason: String,
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document has mistakes; all of them are listed.
    #[error("the policy has {} mistakes", .0.len())]
    Invalid(Vec<Issue>),
    /// The envelope or its signatures do not hold.
    #[error(transparent)]
    Refused(Refusal),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::PolicyInvalid,
            Self::Refused(refusal) => refusal.code,
        }
    }
}

impl Rule {
    /// How far the rule trusts what its signers ship. One that does not say it is `untrusted`, or `core` where it lets a
    /// plugin be core or critical.
    pub fn level(&self) -> TrustLevel {
        let granted = if self.core || self.critical { TrustLevel::Core } else { TrustLevel::Untrusted };
        self.trust.unwrap_or(granted)
    }

    /// The reviewers whom it names.
    pub(crate) fn reviewers(&self) -> impl Iterator<Item = &Signers> {
        self.signers.iter().filter(|signers| signers.role == Role::Reviewer)
    }
}

impl Deny {
    /// Reads one deny entry in JSON, by the rules of a policy's; pointers begin at the entry.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        read::deny_from_json(bytes).map_err(Error::Invalid)
    }
}

impl Policy {
    /// The policy of a fresh host: it allows nothing.
    pub const fn deny_all() -> Self {
        Self {
            version: 0,
            expires: Timestamp::MAX,
            mode: Mode::Enforce,
            principals: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }

    /// Reads `policy.toml`; every mistake is in the answer.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        read::from_toml(text).map_err(Error::Invalid)
    }

    /// Reads the JSON form, the payload of a signed policy.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        read::from_json(bytes).map_err(Error::Invalid)
    }

    /// Reads a policy that somebody only asks about: its JSON form, or an envelope whose signatures nobody looks at.
    pub fn from_unverified(bytes: &[u8]) -> Result<Self, Error> {
        envelope::unverified(bytes)
    }

    /// The JSON form; reading it gives the same policy.
    pub fn to_json(&self) -> Vec<u8> {
        write::to_json(self)
    }

    /// What deserves a look although the policy is usable: rules that overlap, are never met or are over, at `now`.
    pub fn check(&self, now: Timestamp) -> Vec<Issue> {
        lint::check(self, now)
    }

    /// Every key that may have signed something, principals' and denied ones.
    pub(crate) fn keys(&self) -> Vec<VerifyingKey> {
        let principals = self.principals.iter().flat_map(|principal| principal.keys.iter());
        principals.chain(self.deny.iter().filter_map(|deny| deny.key.as_ref())).copied().collect()
    }

    /// Whoever some rule names as a reviewer.
    pub(crate) fn reviewers(&self) -> Vec<String> {
        let rules = self.allow.iter().filter(|rule| rule.mode == Mode::Enforce);
        let mut names: Vec<String> = rules.flat_map(Rule::reviewers).flat_map(|signers| signers.of.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whose key it is.
    pub(crate) fn owner(&self, key: &VerifyingKey) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.keys.contains(key))
    }

    /// The larger of `limits` and what any rule allows: nothing above it needs a second look.
    pub fn structure_max(&self, limits: &StructuralLimits) -> StructuralLimits {
        let enforced = self.allow.iter().filter(|rule| rule.mode == Mode::Enforce);
        enforced.fold(*limits, |most, rule| most.union(&rule.structure))
    }
}
