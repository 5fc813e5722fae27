//! What is odd about a usable policy: overlapping rules, rules that are over, that nobody accounts for or that raise their
//! level's ceiling, principals and keys without a use.
//! Nothing here stops a policy; mistakes that do are found when it is read.

use bulkhead_model::limits::LimitsCeiling;
use bulkhead_model::{Issue, Limits};
use jiff::Timestamp;
use semver::{Op, Version, VersionReq};

use super::{Deny, Pattern, Policy, Rule, level};
use crate::statement::Role;

pub(super) fn check(policy: &Policy, now: Timestamp) -> Vec<Issue> {
    let mut issues = Vec::new();
    if policy.expires <= now {
        issues.push(Issue::new("/expires", "the policy is over: it allows nothing"));
    }
    for (index, principal) in policy.principals.iter().enumerate() {
        let at = format!("/principal/{index}");
        if principal.valid_until.is_some_and(|until| until <= now) {
            issues.push(Issue::new(format!("{at}/valid"), format!("the keys of `{}` are over", principal.name)));
        }
        if !policy.allow.iter().any(|rule| rule.signers.iter().any(|signers| signers.of.contains(&principal.name))) {
            issues.push(Issue::new(at.clone(), format!("no rule names `{}`", principal.name)));
        }
        for (nth, key) in principal.keys.iter().enumerate() {
            // Of what is denied in one plugin or version alone, the key still has a use.
            let denied = |deny: &&Deny| deny.key.as_ref() == Some(key) && deny.plugin == Pattern::any();
            if policy.deny.iter().any(|deny| denied(&deny) && deny.version.is_none() && deny.digest.is_none()) {
                let message = format!("a key of `{}` without a use: it is denied below", principal.name);
                issues.push(Issue::new(format!("{at}/keys/{nth}"), message));
            }
        }
    }
    for (index, rule) in policy.allow.iter().enumerate() {
        if rule.expires.is_some_and(|expires| expires <= now) {
            issues.push(Issue::new(format!("/allow/{index}/expires"), format!("the rule `{}` is over", rule.id)));
        }
        accounted_for(rule, &format!("/allow/{index}"), &mut issues);
        above_level(rule, &format!("/allow/{index}"), &mut issues);
        for other in policy.allow.iter().take(index).filter(|other| overlap(rule, other)) {
            let message = format!("overlaps with the rule `{}`, which stands first and is tried first", other.id);
            issues.push(Issue::new(format!("/allow/{index}"), message));
        }
    }
    issues
}

/// Who wrote a rule, who agreed and why: a rule that nobody accounts for is found by nobody who cleans up.
fn accounted_for(rule: &Rule, at: &str, issues: &mut Vec<Issue>) {
    let named = [("reason", &rule.reason), ("author", &rule.author), ("approved_by", &rule.approved_by)];
    for (name, _) in named.into_iter().filter(|(_, text)| text.trim().is_empty()) {
        issues.push(Issue::new(format!("{at}/{name}"), format!("the rule `{}` has no `{name}`", rule.id)));
    }
    if !rule.author.trim().is_empty() && rule.author.trim() == rule.approved_by.trim() {
        let message = format!("`{}` wrote the rule `{}` and agreed to it", rule.author.trim(), rule.id);
        issues.push(Issue::new(format!("{at}/approved_by"), message));
    }
    let named =
        |role: Role| rule.signers.iter().filter(move |wanted| wanted.role == role).flat_map(|wanted| &wanted.of);
    for both in named(Role::Author).filter(|name| named(Role::Reviewer).any(|other| other == *name)) {
        issues.push(Issue::new(
            format!("{at}/signers"),
            format!("`{both}` is author and reviewer of the rule `{}`", rule.id),
        ));
    }
}

/// What a rule names beyond the default of the level that it writes: it counts, and should be meant.
fn above_level(rule: &Rule, at: &str, issues: &mut Vec<Issue>) {
    let Some(trust) = rule.trust else { return };
    let (default, mut limits) = (level::ceiling(trust), LimitsCeiling::default());
    level::fill(&mut limits, trust);
    let mut above = |name: &str, what: &str| {
        let message = format!("the rule `{}` allows {what} beyond the default of the level `{trust}`", rule.id);
        issues.push(Issue::new(format!("{at}/{name}"), message));
    };
    let beyond = |named: &[Pattern], allowed: &[Pattern]| {
        let within = |one: &Pattern| allowed.iter().any(|most| most.covers(one));
        named.iter().find(|one| !within(one)).map(|one| format!("`{one}`"))
    };
    if let Some(what) = beyond(&rule.ceiling.interfaces, &default.interfaces) {
        above("ceiling/interfaces", &what);
    }
    if let Some(what) = beyond(&rule.ceiling.events, &default.events) {
        above("ceiling/events", &what);
    }
    let host = Limits::DEFAULT;
    let asked = &rule.limits;
    for (name, found, most) in [
        ("limits/fuel_per_call", asked.fuel_per_call, limits.fuel_per_call.unwrap_or(host.fuel_units)),
        ("limits/memory_bytes", asked.memory_bytes, limits.memory_bytes.unwrap_or(host.memory_bytes)),
        ("ceiling/storage_mb", asked.storage_bytes, limits.storage_bytes.unwrap_or(host.storage_bytes)),
    ] {
        if found.is_some_and(|found| found > most) {
            above(name, &format!("more than {most}"));
        }
    }
}

fn overlap(left: &Rule, right: &Rule) -> bool {
    let any = |left: &[Pattern], right: &[Pattern]| left.iter().any(|l| right.iter().any(|r| l.overlaps(r)));
    // What is observed is meant to stand beside the rule that decides.
    left.mode == right.mode
        && left.plugin.overlaps(&right.plugin)
        && any(&left.tenants, &right.tenants)
        && ranges_overlap(&left.version, &right.version)
}

/// Both ranges are intervals, so they share a version exactly if they share one at the lower end of either.
fn ranges_overlap(left: &VersionReq, right: &VersionReq) -> bool {
    let mut candidates = vec![Version::new(0, 0, 0)];
    for comparator in left.comparators.iter().chain(&right.comparators) {
        let (major, minor, patch) = (comparator.major, comparator.minor, comparator.patch);
        let mut lowest = Version::new(major, minor.unwrap_or_default(), patch.unwrap_or_default());
        lowest.pre = comparator.pre.clone();
        if comparator.op == Op::Greater {
            candidates.push(match (minor, patch) {
                (None, _) => Version::new(major.saturating_add(1), 0, 0),
                (Some(minor), None) => Version::new(major, minor.saturating_add(1), 0),
                (Some(minor), Some(patch)) => Version::new(major, minor, patch.saturating_add(1)),
            });
        }
        candidates.push(lowest);
    }
    candidates.iter().any(|version| left.matches(version) && right.matches(version))
}
