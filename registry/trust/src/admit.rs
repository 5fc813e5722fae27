//! The verdict: may these bytes be, or stay, a plugin? All reasons against it, not the first.
//! It reads no clock and keeps no state: time, policy and what is known come in as values.

mod evidence;
mod rules;
mod standing;

use bulkhead_model::limits::LimitsCeiling;
use bulkhead_model::manifest::Category;
use bulkhead_model::{Code, Digest, Grants, Interface, Manifest, PluginId, TenantId, TrustLevel, Version};
use jiff::Timestamp;

pub use self::standing::{late_signatures, level};

use self::evidence::{Evidence, Times};
use crate::agreement;
use crate::artifact::{self, Artifact};
use crate::facts::Facts;
use crate::imports::Imports;
use crate::policy::{Ceiling, Mode, Pattern, Policy, Rule, Signers};
use crate::refusal::{Refusal, tidy};
use crate::statement::{Decision, Role};
use crate::structure::{StructuralLimits, Structure};

/// What the host knows besides policy and bytes. The default knows nothing, and checks as much.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Newest release of the plugin that this host has admitted. A release that is not newer is refused with
    /// `downgrade`; leave it out to admit an older one by an explicit, audited act, or to judge what is admitted already.
    pub known: Option<Known>,
    /// Judge for this tenant: only rules that name it count.
    pub tenant: Option<TenantId>,
    /// When the release was admitted: the keys of its signers had to be valid by then, and need not be any more. `None`
    /// judges it as one that comes now.
    pub admitted_at: Option<Timestamp>,
    /// Version of the runtime that will load it; without it a rule with `min_runtime` is not met.
    pub runtime: Option<semver::Version>,
}

/// A release that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its version.
    pub version: Version,
    /// Its sequence number.
    pub sequence: u64,
    /// Its digest: the same release may come again.
    pub digest: Digest,
}

/// One signature that counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signer {
    /// Name of the principal.
    pub principal: String,
    /// In which role it signed.
    pub role: Role,
    /// The key that it used.
    pub key_id: Digest,
}

/// What a reviewer signed about a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReview {
    /// Name of the reviewer.
    pub principal: String,
    /// What was decided.
    pub decision: Decision,
    /// The release that it was compared with, or in whose place it may come.
    pub base_digest: Option<Digest>,
    /// Digest of the difference that was looked at.
    pub capability_diff_digest: Option<Digest>,
}

impl SignedReview {
    fn lets_back_from(&self, newer: &Digest) -> bool {
        self.decision == Decision::Rollback && self.base_digest.as_ref() == Some(newer)
    }

    /// Whether it agrees to exactly this step.
    pub fn approves(&self, base: &Digest, diff: &Digest) -> bool {
        self.decision == Decision::Approve
            && self.base_digest.as_ref() == Some(base)
            && self.capability_diff_digest.as_ref() == Some(diff)
    }
}

/// A yes, and what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// The release.
    pub digest: Digest,
    /// Its sequence number, signed by its author; 0 in dev mode without a signature.
    pub sequence: u64,
    /// Version of the policy that said so.
    pub policy_version: u64,
    /// The rule that said so.
    pub rule: String,
    /// How far that rule trusts what its signers ship.
    pub trust: TrustLevel,
    /// Who signed.
    pub signers: Vec<Signer>,
    /// Whether the plugin is `core`: asked for by the manifest and granted by the rule.
    pub core: bool,
    /// Whether the plugin is `critical`: likewise.
    pub critical: bool,
    /// Whether a rule that is met wants a version that widens what it may do to wait for a reviewer.
    pub review_wider: bool,
    /// Whether a rule that is met wants a reviewer's signature for going back to this release from a newer one.
    pub review_rollback: bool,
    /// The reviewers whom the rule names.
    pub reviewers: Vec<Signers>,
    /// Who may sign for going back to this release.
    pub rollback_reviewers: Vec<Signers>,
    /// What reviewers signed about it.
    pub reviews: Vec<SignedReview>,
    /// Manifest request ∩ real imports ∩ ceiling. A tenant's consent may narrow it further.
    pub grants: Grants,
    /// Most of each limit of a call.
    pub limits_ceiling: LimitsCeiling,
    /// Tenants that may enable it.
    pub tenants: Vec<Pattern>,
    /// The whole ceiling, for display.
    pub ceiling: Ceiling,
}

impl Verdict {
    /// Whether the rule names this tenant.
    pub fn allows_tenant(&self, tenant: &TenantId) -> bool {
        self.tenants.iter().any(|pattern| pattern.matches(tenant.as_str()))
    }

    /// Whether the rule's reviewers signed that it may come in the place of `base`, having looked at exactly this difference.
    pub fn is_approved(&self, base: &Digest, diff: &Digest) -> bool {
        rules::agreed(&self.reviewers, &self.reviews, |said| said.approves(base, diff))
    }

    /// Whether a reviewer signed, where one must, that it may come back in the place of the newer release.
    pub fn may_come_back_from(&self, newer: &Digest) -> bool {
        let signed = || rules::agreed(&self.rollback_reviewers, &self.reviews, |said| said.lets_back_from(newer));
        !self.review_rollback || signed()
    }

    /// Whether a plugin that runs under `other` may go on as it is: what it may do and use is the same.
    pub fn allows_the_same(&self, other: &Self) -> bool {
        self.grants == other.grants
            && self.limits_ceiling == other.limits_ceiling
            && (self.core, self.critical) == (other.core, other.critical)
    }
}

/// Which rule decided, and why the others did not.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The verdict, or every reason against it.
    pub decision: Result<Verdict, Vec<Refusal>>,
    /// Each rule that names the plugin, in the policy's order, with its reasons; none means that it is met.
    pub rules: Vec<(String, Vec<Refusal>)>,
    /// Signatures that counted.
    pub signers: Vec<Signer>,
    /// What would have been denied by what is observed and not enforced.
    pub observed: Vec<Observation>,
}

/// Something that would have been denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The allow rule that is not met, or `deny` for a deny entry.
    pub by: String,
    /// Why.
    pub refusal: Refusal,
}

/// Judges an artifact from its bytes. `limits` are the host's structural limits; a rule may allow more to its plugins.
pub fn admit(
    bytes: &[u8],
    bundles: &[&[u8]],
    policy: &Policy,
    state: &State,
    now: Timestamp,
    limits: &StructuralLimits,
) -> Result<(Artifact, Verdict), Vec<Refusal>> {
    match artifact::read(bytes, &policy.structure_max(limits)) {
        Ok(artifact) => {
            let release = Release {
                digest: artifact.digest,
                size_bytes: artifact.size_bytes,
                manifest: &artifact.manifest,
                imports: &artifact.imports,
                structure: &artifact.structure,
            };
            let verdict = explain_release(&release, bundles, policy, state, now).decision?;
            Ok((artifact, verdict))
        }
        Err(mut refusals) => {
            // Broken bytes have no name to look a rule up by; what signers said of them is still worth knowing.
            refusals.extend(Evidence::of_digest(Digest::of(bytes), bundles, policy, now).refusals());
            Err(tidy(refusals))
        }
    }
}

/// Judges a release again from what the host keeps, at load and whenever the policy changes.
pub fn evaluate(
    facts: &Facts,
    digest: &Digest,
    bundles: &[&[u8]],
    policy: &Policy,
    state: &State,
    now: Timestamp,
) -> Result<Verdict, Vec<Refusal>> {
    explain(facts, digest, bundles, policy, state, now).decision
}

/// Judges like [`evaluate`] and says what each rule made of it.
pub fn explain(
    facts: &Facts,
    digest: &Digest,
    bundles: &[&[u8]],
    policy: &Policy,
    state: &State,
    now: Timestamp,
) -> Explanation {
    let parsed = match facts.parse() {
        Ok(parsed) => parsed,
        Err(refusals) => {
            return Explanation {
                decision: Err(tidy(refusals)),
                rules: Vec::new(),
                signers: Vec::new(),
                observed: Vec::new(),
            };
        }
    };
    let release = Release {
        digest: *digest,
        size_bytes: facts.size_bytes,
        manifest: &parsed.manifest,
        imports: &parsed.imports,
        structure: &facts.structure,
    };
    let mut explanation = explain_release(&release, bundles, policy, state, now);
    let mut refusals = agreement::with_component(&parsed.manifest, &parsed.imports, &parsed.exports);
    if !refusals.is_empty() {
        refusals.extend(explanation.decision.err().unwrap_or_default());
        explanation.decision = Err(tidy(refusals));
    }
    explanation
}

/// The verdict of dev mode on a release without bundles: everything that the manifest asks for and the bytes import,
/// default limits, every tenant, neither core nor critical. Of the policy, deny entries alone count. The host calls it in
/// dev mode alone.
pub fn evaluate_unsigned_dev(
    facts: &Facts,
    digest: &Digest,
    policy: &Policy,
    now: Timestamp,
) -> Result<Verdict, Vec<Refusal>> {
    let parsed = facts.parse()?;
    let mut refusals = agreement::with_component(&parsed.manifest, &parsed.imports, &parsed.exports);
    refusals.extend(rules::denied(policy, of(&parsed.manifest), digest, Mode::Enforce, now));
    if !refusals.is_empty() {
        return Err(tidy(refusals));
    }
    Ok(Verdict {
        plugin: parsed.manifest.plugin.id.clone(),
        version: parsed.manifest.plugin.version.clone(),
        digest: *digest,
        sequence: 0,
        policy_version: 0,
        rule: "dev".to_owned(),
        trust: TrustLevel::Untrusted,
        signers: Vec::new(),
        core: false,
        critical: false,
        review_wider: false,
        review_rollback: false,
        reviewers: Vec::new(),
        rollback_reviewers: Vec::new(),
        reviews: Vec::new(),
        grants: Grants::of(used(&parsed.manifest, &parsed.imports)),
        limits_ceiling: LimitsCeiling::default(),
        tenants: vec![Pattern::any()],
        ceiling: Ceiling { interfaces: vec![Pattern::any()], ..Ceiling::default() },
    })
}

/// What is judged.
struct Release<'a> {
    digest: Digest,
    size_bytes: u64,
    manifest: &'a Manifest,
    imports: &'a Imports,
    structure: &'a Structure,
}

/// Plugin and version of a manifest.
fn of(manifest: &Manifest) -> (&PluginId, &Version) {
    (&manifest.plugin.id, &manifest.plugin.version)
}

/// Interfaces that the plugin asks for and really uses. Migrations use `sql` although no import says so.
pub(crate) fn used(manifest: &Manifest, imports: &Imports) -> Vec<Interface> {
    let real = |interface: &Interface| {
        imports.interfaces().contains(interface) || (*interface == Interface::Sql && manifest.migrations.is_some())
    };
    manifest.requested().filter(real).collect()
}

fn explain_release(
    release: &Release<'_>,
    bundles: &[&[u8]],
    policy: &Policy,
    state: &State,
    now: Timestamp,
) -> Explanation {
    let evidence = Evidence::of_release(release, bundles, policy, Times::of(state, now));
    let plugin = release.manifest.plugin.id.as_str();
    let (named, observed): (Vec<&Rule>, Vec<&Rule>) =
        policy.allow.iter().filter(|rule| rule.plugin.matches(plugin)).partition(|rule| rule.mode == Mode::Enforce);
    let observed = observations(&observed, release, &evidence, policy, state, now);
    let unmet = |rule: &&Rule| {
        let mut reasons = rules::unmet(rule, release, &evidence, state, now);
        let reviewers = rules::rollback_reviewers(policy, rule);
        reasons.extend(rules::downgrade(release, &evidence, state, &reviewers));
        reasons
    };
    let reasons: Vec<Vec<Refusal>> = named.iter().map(unmet).collect();
    let rules = named.iter().zip(&reasons).map(|(rule, reasons)| (rule.id.clone(), tidy(reasons.clone()))).collect();

    let mut refusals = rules::against_all(policy, release, now);
    refusals.extend(evidence.fatal.iter().cloned());
    // Any rule that is met may be the one that decides in some tenant.
    let met = || named.iter().zip(&reasons).filter(|(_, reasons)| reasons.is_empty()).map(|(rule, _)| rule);
    let review_wider = met().any(|rule| rule.review_wider);
    let review_rollback = met().any(|rule| rule.review_rollback || rule.reviewers().next().is_some());
    let decision = match named.iter().zip(&reasons).min_by_key(|(_, reasons)| reasons.len()) {
        Some((rule, reasons)) if reasons.is_empty() && refusals.is_empty() => {
            Ok(Verdict { review_wider, review_rollback, ..verdict(rule, release, &evidence, policy) })
        }
        Some((_, reasons)) => {
            refusals.extend(reasons.iter().cloned());
            Err(tidy(without_echo(refusals, &evidence)))
        }
        None => {
            refusals.extend(evidence.weak.iter().cloned());
            refusals.extend(rules::downgrade(release, &evidence, state, &[]));
            if !bundles.is_empty() {
                refusals.push(Refusal::new(Code::UnknownSigner, format!("no rule of the policy names `{plugin}`")));
            }
            Err(tidy(refusals))
        }
    };
    Explanation { decision, rules, signers: evidence.signers(), observed }
}

/// What the rules and deny entries that are only observed would have denied. A rule for other tenants says nothing here.
fn observations(
    rules: &[&Rule],
    release: &Release<'_>,
    evidence: &Evidence,
    policy: &Policy,
    state: &State,
    now: Timestamp,
) -> Vec<Observation> {
    let by_deny = |refusal| Observation { by: "deny".to_owned(), refusal };
    let denied = rules::denied(policy, of(release.manifest), &release.digest, Mode::Observe, now);
    let mut observed: Vec<_> = denied.into_iter().chain(evidence.observed.iter().cloned()).map(by_deny).collect();
    let concerns = |rule: &&&Rule| {
        state.tenant.as_ref().is_none_or(|tenant| rule.tenants.iter().any(|one| one.matches(tenant.as_str())))
    };
    for rule in rules.iter().filter(concerns) {
        let unmet = tidy(rules::unmet(rule, release, evidence, state, now));
        observed.extend(unmet.into_iter().map(|refusal| Observation { by: rule.id.clone(), refusal }));
    }
    observed
}

/// Where no signature counts and the reason is known, "0 of 1 signatures" says nothing more.
fn without_echo(mut refusals: Vec<Refusal>, evidence: &Evidence) -> Vec<Refusal> {
    const EXPLAIN: [Code; 8] = [
        Code::Unsigned,
        Code::UnknownSigner,
        Code::BadSignature,
        Code::DigestMismatch,
        Code::ManifestMismatch,
        Code::Malformed,
        Code::Revoked,
        Code::Expired,
    ];
    if evidence.is_empty() && refusals.iter().any(|refusal| EXPLAIN.contains(&refusal.code)) {
        refusals.retain(|refusal| refusal.code != Code::ThresholdNotMet);
    }
    refusals
}

fn verdict(rule: &Rule, release: &Release<'_>, evidence: &Evidence, policy: &Policy) -> Verdict {
    let plugin = &release.manifest.plugin;
    Verdict {
        plugin: plugin.id.clone(),
        version: plugin.version.clone(),
        digest: release.digest,
        sequence: evidence.sequence(),
        policy_version: policy.version,
        rule: rule.id.clone(),
        trust: rule.level(),
        signers: evidence.signers(),
        core: rule.core && plugin.category == Category::Core,
        critical: rule.critical && plugin.critical,
        review_wider: rule.review_wider,
        review_rollback: rule.review_rollback,
        reviewers: rule.reviewers().cloned().collect(),
        rollback_reviewers: rules::rollback_reviewers(policy, rule),
        reviews: evidence.reviews(),
        // `rules::unmet` has refused whatever the ceiling does not hold.
        grants: Grants::of(used(release.manifest, release.imports)),
        limits_ceiling: rule.limits.clone(),
        tenants: rule.tenants.clone(),
        ceiling: rule.ceiling.clone(),
    }
}
