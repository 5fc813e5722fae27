//! Reads one `[[allow]]` rule.
//! It does not look at other rules; `read` and `lint` do.

use bulkhead_model::limits::LimitsCeiling;
use bulkhead_model::{Interface, Issue, TrustLevel, capability};
use serde_json::Value;

use super::fields::{self, Fields};
use super::{mode, plugin};
use crate::policy::time::{end, start};
use crate::policy::{Ceiling, LIST_MAX, Pattern, Rule, Signers, level};
use crate::statement::Role;
use crate::structure::StructuralLimits;

/// Most roles of one rule.
const SIGNERS_MAX: usize = 8;
/// Bytes of the `mb` in `storage_mb`.
const MEGABYTE: u64 = 1 << 20;
/// Interfaces of others that a host may mediate one day.
const FOREIGN: [&str; 1] = ["wasi:http/outgoing-handler"];

pub(super) fn read(mut fields: Fields<'_>, issues: &mut Vec<Issue>) -> Option<Rule> {
    let id = fields.required("id", fields::name, issues);
    let plugin = fields.required("plugin", plugin, issues);
    let version = fields.optional("version", fields::version_range, issues).unwrap_or(semver::VersionReq::STAR);
    let prerelease = fields.optional("prerelease", fields::boolean, issues).unwrap_or_default();
    let signers = signers(&mut fields, issues);
    let tenants = fields.list("tenants", LIST_MAX, issues, pattern);
    if tenants.is_empty() {
        let message = "a rule names its tenants; `[\"*\"]` means every tenant";
        issues.push(Issue::new(fields.pointer("tenants"), message));
    }
    let mode = fields.optional("mode", mode, issues).unwrap_or_default();
    let review_wider = fields.optional("review_wider", fields::boolean, issues).unwrap_or_default();
    let review_rollback = fields.optional("review_rollback", fields::boolean, issues).unwrap_or_default();
    let runtime_min = fields.optional("min_runtime", fields::parsed, issues);
    let core = fields.optional("category", category, issues).unwrap_or_default();
    let critical = fields.optional("critical", fields::boolean, issues).unwrap_or_default();
    let trust = fields.optional("trust", trust, issues);
    if let Some(trust) = trust.filter(|trust| *trust != TrustLevel::Core) {
        for name in [("category", core), ("critical", critical)].into_iter().filter_map(|(name, is)| is.then_some(name))
        {
            let message =
                format!("a rule of level `{trust}` lets no plugin be core or critical; that needs the level `core`");
            issues.push(Issue::new(fields.pointer(name), message));
        }
    }
    let valid_from = fields.optional("valid_from", start, issues);
    let mut notes = Notes::read(&mut fields, issues);
    let author = fields.optional("author", fields::text, issues).unwrap_or_default();
    let (mut limits, structure) = limits(&mut fields, issues);
    let ceiling = ceiling(&mut fields, &mut notes, &mut limits, trust, issues);
    if let (Some(from), Some(expires)) = (valid_from, notes.expires)
        && expires <= from
    {
        issues.push(Issue::new(fields.pointer("expires"), "the rule ends before it begins"));
    }
    fields.close(issues);
    Some(Rule {
        id: id?,
        mode,
        plugin: plugin?,
        version,
        prerelease,
        signers,
        tenants,
        trust,
        review_wider,
        review_rollback,
        runtime_min,
        core,
        critical,
        ceiling,
        limits,
        structure,
        valid_from,
        expires: notes.expires,
        reason: notes.reason.unwrap_or_default(),
        author,
        approved_by: notes.approved_by.unwrap_or_default(),
    })
}

/// Fields that may stand in the rule or, because TOML puts what follows `[allow.ceiling]` there, in its ceiling.
#[derive(Default)]
struct Notes {
    expires: Option<jiff::Timestamp>,
    reason: Option<String>,
    approved_by: Option<String>,
}

impl Notes {
    fn read(fields: &mut Fields<'_>, issues: &mut Vec<Issue>) -> Self {
        Self {
            expires: fields.optional("expires", end, issues),
            reason: fields.optional("reason", fields::text, issues),
            approved_by: fields.optional("approved_by", fields::text, issues),
        }
    }

    fn merge(&mut self, other: Self, fields: &Fields<'_>, issues: &mut Vec<Issue>) {
        let mut twice = |name: &str| {
            issues.push(Issue::new(fields.pointer(name), format!("`{name}` stands in the rule and in its ceiling")));
        };
        if self.expires.is_some() && other.expires.is_some() {
            twice("expires");
        }
        if self.reason.is_some() && other.reason.is_some() {
            twice("reason");
        }
        if self.approved_by.is_some() && other.approved_by.is_some() {
            twice("approved_by");
        }
        self.expires = self.expires.or(other.expires);
        self.reason = self.reason.take().or(other.reason);
        self.approved_by = self.approved_by.take().or(other.approved_by);
    }
}

fn signers(fields: &mut Fields<'_>, issues: &mut Vec<Issue>) -> Vec<Signers> {
    let at = fields.pointer("signers");
    let signers = fields.tables("signers", SIGNERS_MAX, issues, one_role);
    if signers.is_empty() {
        issues.push(Issue::new(at, "a rule wants at least one signer: nothing unsigned is ever allowed"));
    }
    signers.into_iter().flatten().collect()
}

fn one_role(mut fields: Fields<'_>, issues: &mut Vec<Issue>) -> Option<Signers> {
    let role = fields.required("role", role, issues);
    let mut of = fields.list("of", LIST_MAX, issues, fields::name);
    let listed = of.len();
    of.sort();
    of.dedup();
    if of.is_empty() || of.len() < listed {
        issues.push(Issue::new(fields.pointer("of"), "`of` names principals, each once"));
    }
    let most = of.len();
    let threshold = fields.required("threshold", |value| threshold(value, most), issues);
    fields.close(issues);
    Some(Signers { role: role?, of, threshold: threshold? })
}

/// A number, `any` (one) or `all`.
pub(in crate::policy) fn threshold(value: &Value, most: usize) -> Result<usize, String> {
    let count = match value.as_str() {
        Some("any") => Some(1),
        Some("all") => Some(most),
        Some(_) => None,
        None => value.as_u64().and_then(|count| usize::try_from(count).ok()),
    };
    count
        .filter(|count| (1..=most.max(1)).contains(count))
        .ok_or_else(|| format!("a threshold is 1 to {most}, the number of principals in `of`, or `any` or `all`"))
}

fn role(value: &Value) -> Result<Role, String> {
    value.as_str().and_then(Role::find).ok_or_else(|| "a role is `author` or `reviewer`".to_owned())
}

fn trust(value: &Value) -> Result<TrustLevel, String> {
    let level = value.as_str().and_then(TrustLevel::find);
    level.ok_or_else(|| "a trust level is `core`, `verified`, `community` or `untrusted`".to_owned())
}

fn category(value: &Value) -> Result<bool, String> {
    match value.as_str() {
        Some("core") => Ok(true),
        Some("standard") => Ok(false),
        _ => Err("a category is `standard` or `core`".to_owned()),
    }
}

fn pattern(value: &Value) -> Result<Pattern, String> {
    value
        .as_str()
        .and_then(Pattern::parse)
        .ok_or_else(|| "a name is wanted here, with `*` at its end at most".to_owned())
}

/// One host, or all of them: `api.acme.*` would let `api.acme.evil.example` in.
fn host(value: &Value) -> Result<Pattern, String> {
    let host = pattern(value)?;
    let plain = host.as_str() == "*" || !host.as_str().contains('*');
    if plain { Ok(host) } else { Err("a host is named in full, or `*` for all".to_owned()) }
}

/// The rule's ceiling: what it names, and where it names nothing what its level allows by default. What is not named is
/// filled in here, so that the compiled policy, which root keys sign, says it in full.
fn ceiling(
    fields: &mut Fields<'_>,
    notes: &mut Notes,
    limits: &mut LimitsCeiling,
    trust: Option<TrustLevel>,
    issues: &mut Vec<Issue>,
) -> Ceiling {
    let at = fields.pointer("ceiling");
    let mut ceiling = trust.map(level::ceiling).unwrap_or_default();
    if let Some(mut inner) = fields.find("ceiling").and_then(|value| Fields::open(value, at, issues)) {
        inner.list_over("interfaces", &mut ceiling.interfaces, issues, interface);
        inner.list_over("hosts", &mut ceiling.hosts, issues, host);
        inner.list_over("events", &mut ceiling.events, issues, pattern);
        inner.list_over("secrets", &mut ceiling.secrets, issues, pattern);
        if let Some(megabytes) = inner.optional("storage_mb", fields::integer, issues) {
            if limits.storage_bytes.is_some() {
                let message = "`storage_bytes` of the rule's limits says the same";
                issues.push(Issue::new(inner.pointer("storage_mb"), message));
            }
            limits.storage_bytes = Some(megabytes.saturating_mul(MEGABYTE));
        }
        let inner_notes = Notes::read(&mut inner, issues);
        notes.merge(inner_notes, &inner, issues);
        inner.close(issues);
    }
    if let Some(trust) = trust {
        level::fill(limits, trust);
    }
    ceiling
}

/// A known interface without its version, or a beginning of one with `*`.
fn interface(value: &Value) -> Result<Pattern, String> {
    let pattern = pattern(value)?;
    let known = |name: &str| pattern.matches(name);
    if Interface::ALL.into_iter().any(|interface| known(&interface.qualified())) || FOREIGN.into_iter().any(known) {
        return Ok(pattern);
    }
    Err(format!("there is no interface `{pattern}`; write `{}/sql`, without a version", capability::PACKAGE))
}

fn limits(fields: &mut Fields<'_>, issues: &mut Vec<Issue>) -> (LimitsCeiling, StructuralLimits) {
    let (mut ceiling, mut structure) = (LimitsCeiling::default(), StructuralLimits::DEFAULT);
    let at = fields.pointer("limits");
    let Some(value) = fields.find("limits") else { return (ceiling, structure) };
    let Some(mut inner) = Fields::open(value, at, issues) else { return (ceiling, structure) };
    ceiling.fuel_per_call = inner.optional("fuel_per_call", fields::integer, issues);
    ceiling.memory_bytes = inner.optional("memory_bytes", fields::integer, issues);
    ceiling.deadline_ms = inner.optional("deadline_ms", milliseconds, issues);
    ceiling.storage_bytes = inner.optional("storage_bytes", fields::integer, issues);
    ceiling.fuel_per_minute = inner.optional("fuel_per_minute", fields::integer, issues);
    ceiling.fuel_per_month = inner.optional("fuel_per_month", fields::integer, issues);
    for (name, most) in StructuralLimits::MAX.entries() {
        let bounded = |value: &Value| {
            fields::integer(value)
                .ok()
                .filter(|count| *count <= most)
                .ok_or_else(|| format!("at most {most} can be allowed"))
        };
        if let (Some(found), Some(entry)) = (inner.optional(name, bounded, issues), structure.entry_mut(name)) {
            *entry = found;
        }
    }
    inner.close(issues);
    (ceiling, structure)
}

fn milliseconds(value: &Value) -> Result<u32, String> {
    u32::try_from(fields::integer(value)?).map_err(|_| "too many milliseconds".to_owned())
}
