//! What is odd about a usable policy: overlapping rules, rules that are over, principals without a use.
//! Nothing here stops a policy; mistakes that do are found when it is read.

use bulkhead_model::Issue;
use jiff::Timestamp;
use semver::{Op, Version, VersionReq};

use super::{Pattern, Policy, Rule};

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
            issues.push(Issue::new(at, format!("no rule names `{}`", principal.name)));
        }
    }
    for (index, rule) in policy.allow.iter().enumerate() {
        if rule.expires.is_some_and(|expires| expires <= now) {
            issues.push(Issue::new(format!("/allow/{index}/expires"), format!("the rule `{}` is over", rule.id)));
        }
        for other in policy.allow.iter().take(index).filter(|other| overlap(rule, other)) {
            let message = format!("overlaps with the rule `{}`, which stands first and is tried first", other.id);
            issues.push(Issue::new(format!("/allow/{index}"), message));
        }
    }
    issues
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
