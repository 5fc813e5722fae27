//! What the policy in force says of a release at the registry's gate: it passes, it waits for somebody, or it never will.
//! Deciding is `trust`'s; where a version stands and moves is `bulkhead-oci`'s.

use bulkhead_model::{Code, Digest, Manifest};
use bulkhead_oci::{Judgment, Reason, State, Submission};
use bulkhead_trust::admit::Signer;
use bulkhead_trust::policy::Mode as RuleMode;
use bulkhead_trust::statement::{Decision, Role};
use bulkhead_trust::{Bundle, Facts, Policy, Refusal, surface};
use jiff::Timestamp;

use crate::config::Mode;

/// Reasons that further signatures may take away.
const WAITING: [Code; 4] = [Code::Unsigned, Code::UnknownSigner, Code::ThresholdNotMet, Code::Expired];
/// Reasons that nothing takes away: a revocation, and signatures that contradict what they sign.
const FINAL: [Code; 5] =
    [Code::Revoked, Code::BadSignature, Code::DigestMismatch, Code::ManifestMismatch, Code::Malformed];

/// Where the release may stand by `policy` at `now`.
pub(super) fn judge(policy: &Policy, mode: Mode, submission: &Submission<'_>, now: Timestamp) -> Judgment {
    let facts: Result<Facts, _> = serde_json::from_str(submission.judged_by);
    let digest: Result<Digest, _> = submission.artifact_digest.parse();
    let (Ok(facts), Ok(digest)) = (facts, digest) else {
        let unread = Refusal::new(Code::Malformed, "what is stored about this release cannot be read");
        return Judgment { state: State::PendingSignatures, reasons: reasons(&[unread]), is_final: true };
    };
    let bundles: Vec<&[u8]> = submission.bundles.iter().map(Vec::as_slice).collect();
    let (decision, signers) = if mode == Mode::Dev && bundles.is_empty() {
        (bulkhead_trust::admit::evaluate_unsigned_dev(&facts, &digest, policy, now), Vec::new())
    } else {
        let state = bulkhead_trust::State { runtime: bulkhead_engine::runtime_version(), ..Default::default() };
        let explained = bulkhead_trust::admit::explain(&facts, &digest, &bundles, policy, &state, now);
        (explained.decision, explained.signers)
    };
    let Err(refusals) = decision else {
        return Judgment { state: State::Released, reasons: Vec::new(), is_final: false };
    };
    let has = |codes: &[Code]| refusals.iter().any(|refusal| codes.contains(&refusal.code));
    let is_waiting = refusals.iter().all(|refusal| WAITING.contains(&refusal.code));
    let plugin = facts.manifest().map(|manifest| manifest.plugin.id.to_string()).unwrap_or_default();
    let state = if has(&[Code::Revoked]) {
        State::Revoked
    } else if !is_waiting || is_turned_down(policy, &plugin, &digest, &bundles) {
        State::Rejected
    } else if is_for_review(policy, &plugin, &signers) {
        State::PendingReview
    } else {
        State::PendingSignatures
    };
    Judgment { state, reasons: reasons(&refusals), is_final: has(&FINAL) }
}

/// What the second release takes away that others may use of the first.
pub(super) fn breaking(before: &str, after: &str) -> Vec<Reason> {
    let manifest = |text: &str| -> Option<Manifest> { serde_json::from_str::<Facts>(text).ok()?.manifest().ok() };
    let (Some(before), Some(after)) = (manifest(before), manifest(after)) else { return Vec::new() };
    let taken = surface::taken_away(&before, &after).into_iter();
    taken.map(|detail| Reason { code: "breaking-change".to_owned(), detail }).collect()
}

/// Whether somebody whom a rule for the plugin asks for a review signed that it must not be released.
fn is_turned_down(policy: &Policy, plugin: &str, digest: &Digest, bundles: &[&[u8]]) -> bool {
    let reviewers = policy.principals.iter().filter(|principal| {
        rules(policy, plugin)
            .flat_map(|rule| &rule.signers)
            .any(|wanted| wanted.role == Role::Reviewer && wanted.of.contains(&principal.name))
    });
    let keys: Vec<_> = reviewers.flat_map(|principal| principal.keys.iter().cloned()).collect();
    bundles.iter().filter_map(|bytes| Bundle::parse(bytes).ok()?.verify(&keys).ok()).any(|verified| {
        let review = verified.statement.review.as_ref();
        verified.statement.digest == *digest && review.is_some_and(|review| review.decision == Decision::Reject)
    })
}

/// Whether a rule lacks reviewers alone.
fn is_for_review(policy: &Policy, plugin: &str, signers: &[Signer]) -> bool {
    rules(policy, plugin).any(|rule| {
        let unmet = rule.signers.iter().filter(|wanted| {
            let signed =
                |name: &&String| signers.iter().any(|signer| signer.role == wanted.role && signer.principal == **name);
            wanted.of.iter().filter(signed).count() < wanted.threshold
        });
        let roles: Vec<Role> = unmet.map(|wanted| wanted.role).collect();
        !roles.is_empty() && roles.iter().all(|role| *role == Role::Reviewer)
    })
}

fn rules<'a>(policy: &'a Policy, plugin: &'a str) -> impl Iterator<Item = &'a bulkhead_trust::policy::Rule> {
    policy.allow.iter().filter(move |rule| rule.mode == RuleMode::Enforce && rule.plugin.matches(plugin))
}

fn reasons(refusals: &[Refusal]) -> Vec<Reason> {
    let reason = |refusal: &Refusal| Reason { code: refusal.code.to_string(), detail: refusal.detail.clone() };
    refusals.iter().map(reason).collect()
}
