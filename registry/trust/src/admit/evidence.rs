//! What the bundles beside a release prove: who signed what about it, and which of them are worthless.
//! It does not know what a rule wants; `rules` does.

use bulkhead_model::{Code, Digest};
use jiff::{SignedDuration, Timestamp};

use super::{Release, SignedReview, Signer, State};
use crate::bundle::{BUNDLES_MAX, Bundle, Verified};
use crate::key::VerifyingKey;
use crate::policy::{Deny, Mode, Policy, Principal};
use crate::refusal::Refusal;
use crate::statement::{Decision, ReleaseStatement};

/// How far a signer's clock may run ahead of ours.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// What the bundles prove.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Signatures that count.
    counted: Vec<Counted>,
    /// Reasons against the release whatever else is signed: broken, contradicting or denied bundles.
    pub(super) fatal: Vec<Refusal>,
    /// Bundles by keys whose denial is only observed.
    pub(super) observed: Vec<Refusal>,
    /// Why a bundle does not count; they matter when a rule is not met without it.
    pub(super) weak: Vec<Refusal>,
}

/// A signature that counts.
#[derive(Debug)]
struct Counted {
    signer: Signer,
    /// The sequence number that it vouches for.
    sequence: u64,
    /// What a reviewer says.
    review: Option<SignedReview>,
}

/// By what time the bundles are weighed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The time of the verdict.
    now: Timestamp,
    /// When the signatures were taken: by then their keys had to be valid.
    taken: Timestamp,
}

impl Times {
    pub(super) fn of(state: &State, now: Timestamp) -> Self {
        // A clock that went back makes nothing valid again.
        Self { now, taken: state.admitted_at.map_or(now, |admitted| admitted.min(now)) }
    }
}

impl Evidence {
    /// Weighs the bundles of a release.
    pub(super) fn of_release(release: &Release<'_>, bundles: &[&[u8]], policy: &Policy, times: Times) -> Self {
        Self::gather(release.digest, Some(release), bundles, policy, times)
    }

    /// Weighs bundles when nothing but the digest of the bytes is known.
    pub(super) fn of_digest(digest: Digest, bundles: &[&[u8]], policy: &Policy, now: Timestamp) -> Self {
        Self::gather(digest, None, bundles, policy, Times { now, taken: now })
    }

    fn gather(digest: Digest, release: Option<&Release<'_>>, bundles: &[&[u8]], policy: &Policy, times: Times) -> Self {
        let mut evidence = Self::default();
        if bundles.is_empty() {
            evidence.fatal.push(Refusal::new(Code::Unsigned, "there is no signature beside the artifact"));
        }
        if bundles.len() > BUNDLES_MAX {
            let detail = format!("{} bundles, at most {BUNDLES_MAX} are allowed", bundles.len());
            evidence.fatal.push(Refusal::new(Code::TooLarge, detail));
            return evidence;
        }
        let keys = policy.keys();
        for (number, bytes) in (1_u32..).zip(bundles) {
            let named =
                |refusal: Refusal| Refusal { detail: format!("bundle {number}: {}", refusal.detail), ..refusal };
            match Bundle::parse(bytes).and_then(|bundle| bundle.verify(&keys)) {
                Ok(verified) => evidence.weigh(&verified, digest, release, policy, times, named),
                Err(refusal) if refusal.code == Code::UnknownSigner => evidence.weak.push(named(refusal)),
                Err(refusal) => evidence.fatal.push(named(refusal)),
            }
        }
        if let Some((first, rest)) = evidence.counted.split_first()
            && rest.iter().any(|one| one.sequence != first.sequence)
        {
            evidence.fatal.push(Refusal::new(Code::ManifestMismatch, "the statements name different sequence numbers"));
        }
        evidence
    }

    fn weigh(
        &mut self,
        verified: &Verified,
        digest: Digest,
        release: Option<&Release<'_>>,
        policy: &Policy,
        times: Times,
        named: impl Fn(Refusal) -> Refusal,
    ) {
        let statement = &verified.statement;
        let contradictions = contradictions(statement, digest, release);
        let denies = |mode: Mode| {
            let denies = policy.deny.iter().filter(move |deny| deny.mode == mode);
            let met = denies.filter(|deny| denies_key(deny, &verified.key, statement, times.now));
            met.map(|deny| Refusal::new(Code::Revoked, format!("the key is denied: {}", reason(deny))))
        };
        let revoked = denies(Mode::Enforce);
        self.observed.extend(denies(Mode::Observe).map(&named));
        let fatal: Vec<Refusal> = contradictions.into_iter().chain(revoked).map(&named).collect();
        let Some(principal) = policy.owner(&verified.key) else {
            self.fatal.extend(fatal);
            self.weak.push(named(Refusal::new(Code::UnknownSigner, "the key belongs to no principal")));
            return;
        };
        let weak = weaknesses(statement, principal, times);
        if fatal.is_empty() && weak.is_empty() {
            let signer =
                Signer { principal: principal.name.clone(), role: statement.role(), key_id: verified.key.id() };
            let review = statement.review.as_ref().map(|review| SignedReview {
                principal: principal.name.clone(),
                decision: review.decision,
                base_digest: review.base_digest,
                capability_diff_digest: review.capability_diff_digest,
            });
            self.counted.push(Counted { signer, sequence: statement.sequence, review });
        }
        self.fatal.extend(fatal);
        self.weak.extend(weak.into_iter().map(named));
    }

    /// Who signed for the release itself. Who only lets it come back said nothing else about it.
    pub(super) fn signers(&self) -> Vec<Signer> {
        let lets_back = |one: &&Counted| one.review.as_ref().is_some_and(|said| said.decision == Decision::Rollback);
        self.counted.iter().filter(|one| !lets_back(one)).map(|one| one.signer.clone()).collect()
    }

    /// What reviewers say.
    pub(super) fn reviews(&self) -> Vec<SignedReview> {
        self.counted.iter().filter_map(|one| one.review.clone()).collect()
    }

    /// Whether nobody's signature for the release counts.
    pub(super) fn is_empty(&self) -> bool {
        self.signers().is_empty()
    }

    /// The sequence number that all signatures name; 0 without any.
    pub(super) fn sequence(&self) -> u64 {
        self.counted.first().map_or(0, |one| one.sequence)
    }

    /// Everything that is wrong with the bundles.
    pub(super) fn refusals(self) -> Vec<Refusal> {
        self.fatal.into_iter().chain(self.weak).collect()
    }
}

/// Where a statement, truly signed, speaks of something else than this release.
fn contradictions(statement: &ReleaseStatement, digest: Digest, release: Option<&Release<'_>>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if statement.digest != digest {
        let detail = format!("signed for {}, the file is {digest}", statement.digest);
        refusals.push(Refusal::new(Code::DigestMismatch, detail));
    }
    let Some(release) = release else { return refusals };
    let mut mismatch = |detail: String| refusals.push(Refusal::new(Code::ManifestMismatch, detail));
    let plugin = &release.manifest.plugin;
    if (&statement.plugin, &statement.version) != (&plugin.id, &plugin.version) {
        let (signed, found) = ((&statement.plugin, &statement.version), (&plugin.id, &plugin.version));
        mismatch(format!("signed for `{}@{}`, the manifest is of `{}@{}`", signed.0, signed.1, found.0, found.1));
    }
    if statement.size_bytes != release.size_bytes {
        mismatch(format!("signed for {} bytes, the file has {}", statement.size_bytes, release.size_bytes));
    }
    if statement.imports_digest != release.imports.digest() {
        mismatch("signed for other imports than the component has".to_owned());
    }
    refusals
}

/// Why a signature that says the right thing does not count today.
fn weaknesses(statement: &ReleaseStatement, principal: &Principal, times: Times) -> Vec<Refusal> {
    let now = times.now;
    let mut refusals = Vec::new();
    let name = &principal.name;
    let mut expired = |detail: String| refusals.push(Refusal::new(Code::Expired, detail));
    if statement.not_after <= now {
        expired(format!("the statement of `{name}` was valid until {}", statement.not_after));
    }
    if now.checked_add(CLOCK_SKEW).is_ok_and(|latest| statement.issued_at > latest) {
        expired(format!("the statement of `{name}` is dated {}, in the future", statement.issued_at));
    }
    if let Some(from) = principal.valid_from.filter(|from| now < *from) {
        expired(format!("the keys of `{name}` are valid from {from}"));
    }
    if let Some(until) = principal.valid_until.filter(|until| *until <= times.taken) {
        expired(format!("the keys of `{name}` were valid until {until}"));
    }
    if statement.review.as_ref().is_some_and(|review| review.decision == Decision::Reject) {
        refusals.push(Refusal::new(Code::ThresholdNotMet, format!("`{name}` reviewed and rejected it")));
    }
    refusals
}

fn denies_key(deny: &Deny, key: &VerifyingKey, statement: &ReleaseStatement, now: Timestamp) -> bool {
    deny.key.as_ref() == Some(key)
        && deny.from.is_none_or(|from| from <= now)
        && deny.plugin.matches(statement.plugin.as_str())
        && deny.version.as_ref().is_none_or(|range| super::rules::in_range(range, statement.version.semver()))
        && deny.digest.is_none_or(|digest| digest == statement.digest)
}

/// The reason of a deny entry, for people.
pub(super) fn reason(deny: &Deny) -> &str {
    if deny.reason.is_empty() { "the policy gives no reason" } else { &deny.reason }
}
