//! Writes a policy as JSON: the same tree as `policy.toml`, times as instants, empty things left out.
//! It does not sign; `envelope` does.

use bulkhead_model::TrustLevel;
use bulkhead_model::limits::LimitsCeiling;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Deny, Mode, Pattern, Policy, Principal, Rule, Signers};
use crate::structure::StructuralLimits;

pub(super) fn to_json(policy: &Policy) -> Vec<u8> {
    let tree = compact(json!({
        "version": policy.version,
        "expires": time(Some(policy.expires)),
        "mode": mode(policy.mode),
        "principal": policy.principals.iter().map(principal).collect::<Vec<_>>(),
        "allow": policy.allow.iter().map(rule).collect::<Vec<_>>(),
        "deny": policy.deny.iter().map(deny).collect::<Vec<_>>(),
    }));
    tree.to_string().into_bytes()
}

fn principal(principal: &Principal) -> Value {
    let window = match (principal.valid_from, principal.valid_until) {
        (Some(from), Some(until)) => json!([from.to_string(), until.to_string()]),
        _ => Value::Null,
    };
    compact(json!({
        "name": principal.name,
        "keys": principal.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "valid": window,
    }))
}

fn rule(rule: &Rule) -> Value {
    compact(json!({
        "id": rule.id,
        "mode": mode(rule.mode),
        "plugin": rule.plugin.as_str(),
        "version": rule.version.to_string(),
        "prerelease": rule.prerelease,
        "signers": rule.signers.iter().map(signers).collect::<Vec<_>>(),
        "tenants": patterns(&rule.tenants),
        "trust": rule.trust.map(TrustLevel::as_str),
        "review_wider": rule.review_wider,
        "review_rollback": rule.review_rollback,
        "min_runtime": rule.runtime_min.as_ref().map(ToString::to_string),
        "category": rule.core.then_some("core"),
        "critical": rule.critical,
        "limits": limits(rule),
        "ceiling": ceiling(rule),
        "valid_from": time(rule.valid_from),
        "expires": time(rule.expires),
        "reason": text(&rule.reason),
        "author": text(&rule.author),
        "approved_by": text(&rule.approved_by),
    }))
}

/// A rule that writes its level names every list: an empty one stands for nothing, an absent one for the level's default.
fn ceiling(rule: &Rule) -> Value {
    let named = json!({
        "interfaces": patterns(&rule.ceiling.interfaces),
        "hosts": patterns(&rule.ceiling.hosts),
        "events": patterns(&rule.ceiling.events),
        "secrets": patterns(&rule.ceiling.secrets),
    });
    if rule.trust.is_some() { named } else { compact(named) }
}

fn signers(signers: &Signers) -> Value {
    json!({ "role": signers.role.as_str(), "of": signers.of, "threshold": signers.threshold })
}

/// Limits that differ from the defaults.
fn limits(rule: &Rule) -> Value {
    let mut map = Map::new();
    for ((name, value), (_, default)) in rule.structure.entries().into_iter().zip(StructuralLimits::DEFAULT.entries()) {
        if value != default {
            map.insert(name.to_owned(), value.into());
        }
    }
    // Taken apart, so that a limit that comes cannot be left out here.
    let LimitsCeiling { fuel_per_call, memory_bytes, deadline_ms, storage_bytes, fuel_per_minute, fuel_per_month } =
        rule.limits.clone();
    for (name, value) in [
        ("fuel_per_call", fuel_per_call),
        ("memory_bytes", memory_bytes),
        ("deadline_ms", deadline_ms.map(u64::from)),
        ("storage_bytes", storage_bytes),
        ("fuel_per_minute", fuel_per_minute),
        ("fuel_per_month", fuel_per_month),
    ] {
        map.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    }
    Value::Object(map)
}

fn deny(deny: &Deny) -> Value {
    compact(json!({
        "mode": mode(deny.mode),
        "plugin": deny.plugin.as_str(),
        "version": deny.version.as_ref().map(ToString::to_string),
        "digest": deny.digest.map(|digest| digest.to_string()),
        "key": deny.key.map(|key| key.to_string()),
        "from": time(deny.from),
        "reason": text(&deny.reason),
    }))
}

fn patterns(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

fn mode(mode: Mode) -> Value {
    if mode == Mode::default() { Value::Null } else { mode.as_str().into() }
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| time.to_string().into())
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// Leaves out what is null, false, or empty: reading gives the same value back.
fn compact(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let kept = map.into_iter().filter(|(_, value)| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
    });
    Value::Object(kept.collect())
}
