//! What can be said of a release by its signatures alone, before anybody judges its bytes.
//! None of it lets anything run.

use bulkhead_model::{Code, Digest, PluginId, TrustLevel, Version};
use jiff::Timestamp;

use super::evidence::Evidence;
use super::rules;
use crate::bundle::Bundle;
use crate::policy::{Mode, Policy, Rule};
use crate::refusal::Refusal;

/// The level that the policy gives to a version for who signed it: that of the first rule whose time, versions and signers it
/// meets. Ceilings, structure and tenants are not looked at; `None` where no rule is met, or a deny entry or a broken bundle
/// stands against it.
pub fn level(
    (plugin, version): (&PluginId, &Version),
    digest: &Digest,
    bundles: &[&[u8]],
    policy: &Policy,
    now: Timestamp,
) -> Option<TrustLevel> {
    let evidence = Evidence::of_digest(*digest, bundles, policy, now);
    let denied = rules::denied(policy, (plugin, version), digest, Mode::Enforce, now);
    if policy.expires <= now || !evidence.fatal.is_empty() || !denied.is_empty() {
        return None;
    }
    let signers = evidence.signers();
    let meets = |rule: &&Rule| {
        rule.mode == Mode::Enforce
            && rule.plugin.matches(plugin.as_str())
            && rule.valid_from.is_none_or(|from| from <= now)
            && rule.expires.is_none_or(|expires| now < expires)
            && rules::takes(rule, version.semver())
            && rule.signers.iter().all(|wanted| rules::met(wanted, &signers) >= wanted.threshold)
    };
    policy.allow.iter().find(meets).map(Rule::level)
}

/// Signatures by keys whose time is over: they are not taken for a release that was admitted while it was not.
pub fn late_signatures(bundles: &[&[u8]], policy: &Policy, now: Timestamp) -> Vec<Refusal> {
    let keys = policy.keys();
    let late = |bytes: &&[u8]| {
        let verified = Bundle::parse(bytes).and_then(|bundle| bundle.verify(&keys)).ok()?;
        let principal = policy.owner(&verified.key)?;
        let until = principal.valid_until.filter(|until| *until <= now)?;
        let detail = format!("the keys of `{}` were valid until {until}", principal.name);
        Some(Refusal::new(Code::Expired, detail))
    };
    bundles.iter().filter_map(late).collect()
}
