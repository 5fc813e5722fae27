//! Reads a policy from TOML or JSON; every mistake is named by JSON pointer, none hides another.
//! It reads what stands there; `lint` says what is odd about it.

pub(super) mod fields;
mod rule;

pub(super) use self::rule::threshold;

use std::collections::BTreeMap;

use bulkhead_model::Issue;
use bulkhead_model::manifest::check::ISSUES_MAX;
use serde_json::Value;

use self::fields::{Fields, Strict};
use super::time::{end, start};
use super::{
    DENIES_MAX, Deny, KEYS_MAX, LIST_MAX, Mode, POLICY_BYTES_MAX, PRINCIPALS_MAX, Pattern, Policy, Principal,
    RULES_MAX, VERSION_MAX,
};
use crate::key::VerifyingKey;

pub(super) fn from_toml(text: &str) -> Result<Policy, Vec<Issue>> {
    check_size(text.len())?;
    let value: Value = toml::from_str(text).map_err(|error| vec![Issue::new("", format!("not TOML: {error}"))])?;
    policy(&value)
}

pub(super) fn from_json(bytes: &[u8]) -> Result<Policy, Vec<Issue>> {
    check_size(bytes.len())?;
    let Strict(value) =
        serde_json::from_slice(bytes).map_err(|error| vec![Issue::new("", format!("not JSON: {error}"))])?;
    policy(&value)
}

pub(super) fn deny_from_json(bytes: &[u8]) -> Result<Deny, Vec<Issue>> {
    check_size(bytes.len())?;
    let Strict(value) =
        serde_json::from_slice(bytes).map_err(|error| vec![Issue::new("", format!("not JSON: {error}"))])?;
    let mut issues = Vec::new();
    let entry = Fields::open(&value, String::new(), &mut issues).and_then(|fields| deny(fields, &mut issues));
    match entry {
        Some(entry) if issues.is_empty() => Ok(entry),
        _ => Err(issues),
    }
}

fn check_size(bytes: usize) -> Result<(), Vec<Issue>> {
    if bytes <= POLICY_BYTES_MAX {
        return Ok(());
    }
    Err(vec![Issue::new("", format!("a policy is at most {POLICY_BYTES_MAX} bytes long"))])
}

fn policy(value: &Value) -> Result<Policy, Vec<Issue>> {
    let mut issues = Vec::new();
    let Some(mut fields) = Fields::open(value, String::new(), &mut issues) else { return Err(issues) };
    let version = fields.required("version", policy_version, &mut issues);
    let expires = fields.required("expires", end, &mut issues);
    let mode = fields.optional("mode", mode, &mut issues).unwrap_or_default();
    let principals = fields.tables("principal", PRINCIPALS_MAX, &mut issues, principal);
    let allow = fields.tables("allow", RULES_MAX, &mut issues, rule::read);
    let deny = fields.tables("deny", DENIES_MAX, &mut issues, deny);
    fields.close(&mut issues);
    let policy = Policy {
        version: version.unwrap_or_default(),
        expires: expires.unwrap_or_default(),
        mode,
        principals: principals.into_iter().flatten().collect(),
        allow: allow.into_iter().flatten().collect(),
        deny: deny.into_iter().flatten().collect(),
    };
    // The rules between tables need complete tables: a principal that was not read would be "unknown" to each rule.
    if issues.is_empty() {
        between_tables(&policy, &mut issues);
    }
    issues.truncate(ISSUES_MAX);
    if issues.is_empty() { Ok(policy) } else { Err(issues) }
}

fn principal(mut fields: Fields<'_>, issues: &mut Vec<Issue>) -> Option<Principal> {
    let name = fields.required("name", fields::name, issues);
    let keys = fields.list("keys", LIST_MAX, issues, key);
    let window = fields.optional("valid", window, issues);
    if keys.is_empty() {
        issues.push(Issue::new(fields.pointer("keys"), "a principal has at least one key"));
    }
    fields.close(issues);
    let (valid_from, valid_until) = window.unzip();
    Some(Principal { name: name?, keys, valid_from, valid_until })
}

fn deny(mut fields: Fields<'_>, issues: &mut Vec<Issue>) -> Option<Deny> {
    let plugin = fields.optional("plugin", plugin, issues);
    let version = fields.optional("version", fields::version_range, issues);
    let digest = fields.optional("digest", fields::parsed, issues);
    let key = fields.optional("key", key, issues);
    let from = fields.optional("from", start, issues);
    let reason = fields.optional("reason", fields::text, issues).unwrap_or_default();
    let mode = fields.optional("mode", mode, issues).unwrap_or_default();
    if !["plugin", "digest", "key"].into_iter().any(|name| fields.has(name)) {
        issues.push(Issue::new(fields.pointer(""), "a deny entry names a `plugin`, a `digest` or a `key`"));
    }
    fields.close(issues);
    Some(Deny { mode, plugin: plugin.unwrap_or_else(Pattern::any), version, digest, key, from, reason })
}

fn policy_version(value: &Value) -> Result<u64, String> {
    let version = fields::integer(value)?;
    if version <= VERSION_MAX { Ok(version) } else { Err(format!("a version is at most {VERSION_MAX}")) }
}

fn mode(value: &Value) -> Result<Mode, String> {
    match value.as_str() {
        Some("enforce") => Ok(Mode::Enforce),
        Some("observe") => Ok(Mode::Observe),
        _ => Err("a mode is `enforce` or `observe`".to_owned()),
    }
}

pub(super) fn key(value: &Value) -> Result<VerifyingKey, String> {
    let text = fields::text(value)?;
    VerifyingKey::from_policy_text(&text).map_err(|error| error.to_string())
}

fn window(value: &Value) -> Result<(jiff::Timestamp, jiff::Timestamp), String> {
    let Some([from, until]) = value.as_array().map(Vec::as_slice) else {
        return Err("a validity is a list of two times, from and until".to_owned());
    };
    let (from, until) = (start(from)?, end(until)?);
    if from < until { Ok((from, until)) } else { Err("the validity ends before it begins".to_owned()) }
}

/// An id, `namespace.*` or `*`: `acme*` would let `acme-evil` in.
fn plugin(value: &Value) -> Result<Pattern, String> {
    let text = fields::text(value)?;
    let legal = text == "*"
        || text.parse::<bulkhead_model::PluginId>().is_ok()
        || text
            .strip_suffix(".*")
            .is_some_and(|space| format!("{space}.aa").parse::<bulkhead_model::PluginId>().is_ok());
    Pattern::parse(&text)
        .filter(|_| legal)
        .ok_or_else(|| "plugins are an id such as `acme.crm`, `acme.*` or `*`".to_owned())
}

fn between_tables(policy: &Policy, issues: &mut Vec<Issue>) {
    let mut owners = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (index, principal) in policy.principals.iter().enumerate() {
        if names.insert(&principal.name, index).is_some() {
            issues.push(Issue::new(
                format!("/principal/{index}/name"),
                format!("the principal `{}` is there twice", principal.name),
            ));
        }
        for (nth, key) in principal.keys.iter().enumerate() {
            if let Some(other) = owners.insert(key.id(), &principal.name) {
                let message = format!("the key is one of `{other}` already: a threshold would count it twice");
                issues.push(Issue::new(format!("/principal/{index}/keys/{nth}"), message));
            }
        }
    }
    let keys = policy.keys().len();
    if keys > KEYS_MAX {
        issues.push(Issue::new("/principal", format!("{keys} keys, at most {KEYS_MAX} are allowed")));
    }
    let mut ids = BTreeMap::new();
    for (index, rule) in policy.allow.iter().enumerate() {
        if ids.insert(&rule.id, index).is_some() {
            issues.push(Issue::new(format!("/allow/{index}/id"), format!("the rule `{}` is there twice", rule.id)));
        }
        if rule.review_rollback && policy.reviewers().is_empty() {
            let message = "no rule names a reviewer who could sign for going back";
            issues.push(Issue::new(format!("/allow/{index}/review_rollback"), message));
        }
        for (nth, signers) in rule.signers.iter().enumerate() {
            for name in signers.of.iter().filter(|name| !names.contains_key(name)) {
                let message = format!("there is no principal `{name}`");
                issues.push(Issue::new(format!("/allow/{index}/signers/{nth}/of"), message));
            }
        }
    }
}
