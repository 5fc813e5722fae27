//! What stands between a release and one allow rule, and what stands against it whatever the rule.
//! It chooses no rule; `admit` does.

use bulkhead_model::{Code, Digest, Interface, PluginId};
use jiff::Timestamp;
use semver::{Op, Version, VersionReq};

use super::evidence::{Evidence, reason};
use super::{Release, SignedReview, State, used};
use crate::policy::{Mode, Pattern, Policy, Rule, Signers};
use crate::refusal::Refusal;
use crate::statement::Role;

/// Reasons that no rule can outweigh.
pub(super) fn against_all(policy: &Policy, release: &Release<'_>, now: Timestamp) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if policy.expires <= now {
        let detail = format!("the policy was valid until {}", policy.expires);
        refusals.push(Refusal::new(Code::Expired, detail));
    }
    refusals.extend(denied(policy, super::of(release.manifest), &release.digest, Mode::Enforce, now));
    refusals
}

/// The deny entries of this mode that a release meets, whoever signed it.
pub(super) fn denied(
    policy: &Policy,
    (plugin, version): (&PluginId, &bulkhead_model::Version),
    release: &Digest,
    mode: Mode,
    now: Timestamp,
) -> Vec<Refusal> {
    let of_mode = policy.deny.iter().filter(|deny| deny.key.is_none() && deny.mode == mode);
    let met = of_mode.filter(|deny| {
        deny.from.is_none_or(|from| from <= now)
            && deny.plugin.matches(plugin.as_str())
            && deny.version.as_ref().is_none_or(|range| in_range(range, version.semver()))
            && deny.digest.is_none_or(|digest| digest == *release)
    });
    met.map(|deny| Refusal::new(Code::Revoked, format!("denied by the policy: {}", reason(deny)))).collect()
}

/// Why the release may not come behind what is known. An older version may where enough of `reviewers` signed for that.
pub(super) fn downgrade(
    release: &Release<'_>,
    evidence: &Evidence,
    state: &State,
    reviewers: &[Signers],
) -> Option<Refusal> {
    let known = state.known.as_ref().filter(|known| known.digest != release.digest)?;
    let version = &release.manifest.plugin.version;
    let detail = if version == &known.version {
        format!("version {version} is known with another digest, and a version never changes")
    } else if version < &known.version {
        if agreed(reviewers, &evidence.reviews(), |said| said.lets_back_from(&known.digest)) {
            return None;
        }
        format!("version {version} is older than {}, and no reviewer signed for going back", known.version)
    } else if !evidence.is_empty() && evidence.sequence() <= known.sequence {
        format!("sequence number {} is not above {}, that of {}", evidence.sequence(), known.sequence, known.version)
    } else {
        return None;
    };
    Some(Refusal::new(Code::Downgrade, detail))
}

/// Who may sign for going back to an older release under this rule: its reviewers, or where it names none any reviewer of
/// the policy.
pub(super) fn rollback_reviewers(policy: &Policy, rule: &Rule) -> Vec<Signers> {
    let named: Vec<Signers> = rule.reviewers().cloned().collect();
    let of = if named.is_empty() { policy.reviewers() } else { Vec::new() };
    if of.is_empty() { named } else { vec![Signers { role: Role::Reviewer, of, threshold: 1 }] }
}

/// Whether enough of each group of reviewers say this; nobody never does.
pub(super) fn agreed(reviewers: &[Signers], reviews: &[SignedReview], is_said: impl Fn(&SignedReview) -> bool) -> bool {
    let says = |name: &&String| reviews.iter().any(|one| one.principal == **name && is_said(one));
    !reviewers.is_empty() && reviewers.iter().all(|group| group.of.iter().filter(says).count() >= group.threshold)
}

/// Every condition of `rule` that the release does not meet.
pub(super) fn unmet(
    rule: &Rule,
    release: &Release<'_>,
    evidence: &Evidence,
    state: &State,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut refusals = in_force(rule, state, now);
    refusals.extend(version(rule, release));
    refusals.extend(signatures(rule, evidence));
    refusals.extend(above_ceiling(rule, release));
    refusals.extend(release.structure.check(&rule.structure));
    refusals
}

fn in_force(rule: &Rule, state: &State, now: Timestamp) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let id = &rule.id;
    if let Some(from) = rule.valid_from.filter(|from| now < *from) {
        refusals.push(Refusal::new(Code::Expired, format!("the rule `{id}` is valid from {from}")));
    }
    if let Some(expires) = rule.expires.filter(|expires| *expires <= now) {
        refusals.push(Refusal::new(Code::Expired, format!("the rule `{id}` was valid until {expires}")));
    }
    if let Some(tenant) = state.tenant.as_ref().filter(|tenant| !matched(&rule.tenants, tenant.as_str())) {
        let detail = format!("the rule `{id}` does not let its signers ship to the tenant `{tenant}`");
        refusals.push(Refusal::new(Code::UnknownSigner, detail));
    }
    if let Some(wanted) = &rule.runtime_min
        && state.runtime.as_ref().is_none_or(|runtime| runtime < wanted)
    {
        let found = state.runtime.as_ref().map_or_else(|| "another".to_owned(), ToString::to_string);
        let detail = format!("the rule `{id}` wants runtime {wanted}, this host has {found}");
        refusals.push(Refusal::new(Code::IncompatibleContract, detail));
    }
    refusals
}

fn version(rule: &Rule, release: &Release<'_>) -> Option<Refusal> {
    let version = release.manifest.plugin.version.semver();
    let detail = if !version.pre.is_empty() && !rule.prerelease {
        format!("{version} is a prerelease, and the rule `{}` allows none", rule.id)
    } else if !in_range(&rule.version, version) {
        format!("{version} is not in `{}`, the range of the rule `{}`", rule.version, rule.id)
    } else {
        return None;
    };
    Some(Refusal::at(Code::VersionOutOfRange, "/plugin/version", detail))
}

/// Whether the rule is for this version.
pub(super) fn takes(rule: &Rule, version: &Version) -> bool {
    (version.pre.is_empty() || rule.prerelease) && in_range(&rule.version, version)
}

/// Whether `version` lies in `range`, a prerelease by its place in the order of versions: `1.3.0-rc.1` is in
/// `>=1.2.0`, `1.2.0-rc.1` is below it, `2.0.0-rc.1` is not in `<2.0.0`.
pub(super) fn in_range(range: &VersionReq, version: &Version) -> bool {
    if version.pre.is_empty() || range.matches(version) {
        return range.matches(version);
    }
    let release = Version::new(version.major, version.minor, version.patch);
    let below_its_start = range.comparators.iter().any(|comparator| {
        let start = (comparator.major, comparator.minor.unwrap_or_default(), comparator.patch.unwrap_or_default());
        let exact = comparator.op == Op::Exact && comparator.patch.is_some();
        let from = matches!(comparator.op, Op::GreaterEq | Op::Tilde | Op::Caret | Op::Exact | Op::Wildcard);
        exact || (from && start == (version.major, version.minor, version.patch))
    });
    range.matches(&release) && !below_its_start
}

fn signatures(rule: &Rule, evidence: &Evidence) -> Vec<Refusal> {
    let signers = evidence.signers();
    let mut refusals = Vec::new();
    for wanted in &rule.signers {
        let met = met(wanted, &signers);
        if met < wanted.threshold {
            let (role, of) = (wanted.role, wanted.of.join(", "));
            let detail =
                format!("{met} of {} signatures as {role} by {of}, as the rule `{}` wants", wanted.threshold, rule.id);
            refusals.push(Refusal::new(Code::ThresholdNotMet, detail));
        }
    }
    if refusals.is_empty() {
        return refusals;
    }
    let listed = |name: &String| rule.signers.iter().any(|wanted| wanted.of.contains(name));
    refusals.extend(signers.iter().filter(|signer| !listed(&signer.principal)).map(|signer| {
        let detail = format!("`{}` signed, and the rule `{}` does not name it", signer.principal, rule.id);
        Refusal::new(Code::UnknownSigner, detail)
    }));
    refusals.extend(evidence.weak.iter().cloned());
    refusals
}

/// How many different principals signed in the wanted role; one principal counts once, however many keys it has.
pub(super) fn met(wanted: &Signers, signers: &[super::Signer]) -> usize {
    wanted
        .of
        .iter()
        .filter(|name| signers.iter().any(|signer| signer.role == wanted.role && signer.principal == **name))
        .count()
}

fn above_ceiling(rule: &Rule, release: &Release<'_>) -> Vec<Refusal> {
    let (ceiling, manifest) = (&rule.ceiling, release.manifest);
    let mut refusals = Vec::new();
    let mut above = |pointer: String, what: &str, name: &str| {
        let detail = format!("{what} `{name}` is above the ceiling of the rule `{}`", rule.id);
        refusals.push(Refusal::at(Code::CapabilityOverCeiling, pointer, detail));
    };
    for interface in used(manifest, release.imports) {
        let name = interface.qualified();
        if !interface.is_baseline() && !matched(&ceiling.interfaces, &name) {
            above(format!("/capabilities/{}", field(interface)), "the interface", &name);
        }
    }
    for (index, http) in manifest.capabilities.http.iter().enumerate() {
        if !matched(&ceiling.hosts, &http.host.to_ascii_lowercase()) {
            above(format!("/capabilities/http/{index}/host"), "the host", &http.host);
        }
    }
    for (index, secret) in manifest.capabilities.secrets.iter().enumerate() {
        if !matched(&ceiling.secrets, secret) {
            above(format!("/capabilities/secrets/{index}"), "the secret", secret);
        }
    }
    for (index, topic) in manifest.events.publishes.iter().enumerate() {
        if !matched(&ceiling.events, topic.topic.as_str()) {
            above(format!("/events/publishes/{index}/topic"), "the topic", topic.topic.as_str());
        }
    }
    refusals
}

/// Where the manifest asks for an interface.
fn field(interface: Interface) -> String {
    interface.as_str().replace('-', "_")
}

fn matched(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}
