//! What another policy would change, before it is installed: every plugin that a tenant has enabled, then every registered
//! version. Nothing is changed, and no signature of the policy is asked for.

use std::collections::HashMap;

use bulkhead_model::{Actor, Code, Digest, PluginId, Role, TenantId, Version};
use bulkhead_trust::{Facts, Policy, State, Verdict, policy};

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::view::{Change, Page, PageRequest, Simulated};

/// Plugins in tenants, or versions, that one request looks at: each costs a few signatures.
const LOOKED_AT_MAX: u32 = 500;

/// Where a simulation goes on.
enum Place {
    /// Behind this plugin of this tenant.
    Tenants(Option<(TenantId, PluginId)>),
    /// Behind this version of this plugin, as text.
    Versions(String, String),
}

/// What is judged, read once for all its tenants.
struct Candidate {
    version: Version,
    digest: Digest,
    facts: Facts,
    bundles: Vec<Vec<u8>>,
    /// When it was registered.
    admitted_at: i64,
}

impl Host {
    /// A page of what the policy in `body`, JSON or a signed envelope, would change; with `is_all` also of what it would not.
    /// A page may be short, or empty, and still name a next one.
    pub async fn simulate_policy(
        &self,
        actor: &Actor,
        body: &[u8],
        is_all: bool,
        page: &PageRequest,
    ) -> Result<Page<Simulated>, Error> {
        require(actor, &[Role::Security], "security")?;
        let wanted = Policy::from_unverified(body).map_err(|error| Error::Invalid {
            code: Code::PolicyInvalid,
            issues: match error {
                policy::Error::Invalid(issues) => issues,
                policy::Error::Refused(refusal) => {
                    vec![bulkhead_model::manifest::Issue::new("", refusal.to_string())]
                }
            },
        })?;
        // Asked about as if it decided, also if it is meant to be observed first.
        let then = self.inner.policy.if_installed(&Policy { mode: policy::Mode::Enforce, ..wanted });
        let mut place = parse(page.cursor.as_deref())?;
        let mut known = HashMap::new();
        let mut items = Vec::new();
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let mut left = LOOKED_AT_MAX;
        while left > 0 && items.len() < limit {
            let (candidates, next) = self.next_candidates(&place, left.min(page.limit)).await?;
            for (plugin, version, tenant) in candidates {
                left = left.saturating_sub(1);
                let simulated = self.simulate_one(&then, &mut known, plugin, version, tenant).await?;
                items.extend(simulated.filter(|one| is_all || one.change != Change::Same));
            }
            match next {
                Some(next) => place = next,
                None => return Ok(Page { items, next_cursor: None }),
            }
        }
        Ok(Page { items, next_cursor: Some(text(&place)) })
    }

    /// What comes behind `place`, and where it goes on.
    async fn next_candidates(
        &self,
        place: &Place,
        limit: u32,
    ) -> Result<(Vec<(PluginId, Option<Version>, Option<TenantId>)>, Option<Place>), Error> {
        match place {
            Place::Tenants(after) => {
                let after = after.as_ref().map(|(tenant, plugin)| (tenant, plugin));
                let rows = self.inner.db.list_enabled(after, limit).await?;
                let next = match rows.last() {
                    Some(row) => Place::Tenants(Some((row.tenant_id.clone(), row.plugin_id.clone()))),
                    None => Place::Versions(String::new(), String::new()),
                };
                Ok((rows.into_iter().map(|row| (row.plugin_id, None, Some(row.tenant_id))).collect(), Some(next)))
            }
            Place::Versions(plugin, version) => {
                let rows = self.inner.db.list_all_versions((plugin, version), limit).await?;
                let next =
                    rows.last().map(|(plugin, version)| Place::Versions(plugin.to_string(), version.to_string()));
                Ok((rows.into_iter().map(|(plugin, version)| (plugin, Some(version), None)).collect(), next))
            }
        }
    }

    async fn simulate_one(
        &self,
        then: &Policy,
        known: &mut HashMap<(PluginId, Option<Version>), Candidate>,
        plugin: PluginId,
        version: Option<Version>,
        tenant: Option<TenantId>,
    ) -> Result<Option<Simulated>, Error> {
        let key = (plugin, version);
        if !known.contains_key(&key) {
            let candidate = self.candidate(&key.0, key.1.as_ref()).await?;
            known.insert(key.clone(), candidate);
        }
        let Some(candidate) = known.get(&key) else { return Ok(None) };
        let runtime = bulkhead_engine::runtime_version();
        let state = State { tenant: tenant.clone(), runtime, ..release::admitted(candidate.admitted_at) };
        let bundles: Vec<&[u8]> = candidate.bundles.iter().map(Vec::as_slice).collect();
        let judge = |policy: &Policy| {
            bulkhead_trust::evaluate(&candidate.facts, &candidate.digest, &bundles, policy, &state, clock::now())
        };
        let (now, then) = (judge(&self.inner.policy.load()), judge(then));
        // Signatures are verified: calls on this thread go between.
        tokio::task::yield_now().await;
        let change = match (&now, &then) {
            (Ok(now), Ok(then)) if now.allows_the_same(then) => Change::Same,
            (Ok(_), Ok(_)) => Change::Changes,
            (Ok(_), Err(_)) => Change::Stops,
            (Err(_), Ok(_)) => Change::Starts,
            (Err(_), Err(_)) => Change::Same,
        };
        let rule = |decision: &Result<Verdict, _>| decision.as_ref().ok().map(|verdict| verdict.rule.clone());
        Ok(Some(Simulated {
            rule_now: rule(&now),
            rule_then: rule(&then),
            refusals_now: now.err().unwrap_or_default(),
            refusals_then: then.err().unwrap_or_default(),
            plugin: key.0,
            version: candidate.version.clone(),
            tenant,
            change,
        }))
    }

    async fn candidate(&self, plugin: &PluginId, version: Option<&Version>) -> Result<Candidate, Error> {
        let version = match version {
            Some(version) => version.clone(),
            None => self.inner.db.get_plugin(plugin).await?.version,
        };
        let row = self.inner.db.get_plugin_version(plugin, &version).await?;
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let facts = release::facts(&row.facts)?;
        Ok(Candidate { version, digest: row.digest, facts, bundles, admitted_at: row.created_at })
    }
}

fn text(place: &Place) -> String {
    match place {
        Place::Tenants(None) => "t".to_owned(),
        Place::Tenants(Some((tenant, plugin))) => format!("t/{tenant}/{plugin}"),
        Place::Versions(plugin, version) => format!("v/{plugin}/{version}"),
    }
}

fn parse(cursor: Option<&str>) -> Result<Place, Error> {
    let malformed = || Error::InvalidName("the cursor is not one that a page named".to_owned());
    let Some(cursor) = cursor else { return Ok(Place::Tenants(None)) };
    let mut parts = cursor.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("t"), None, None) => Ok(Place::Tenants(None)),
        (Some("t"), Some(tenant), Some(plugin)) => {
            let tenant = tenant.parse().map_err(|_| malformed())?;
            Ok(Place::Tenants(Some((tenant, plugin.parse().map_err(|_| malformed())?))))
        }
        (Some("v"), Some(plugin), Some(version)) => Ok(Place::Versions(plugin.to_owned(), version.to_owned())),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_from_its_cursor_and_others_are_refused() {
        let check = |cursor: &str| assert_eq!(text(&parse(Some(cursor)).unwrap()), cursor);
        check("t");
        check("t/bank/acme.crm");
        check("v/acme.crm/1.2.0");
        check("v//");
        for cursor in ["", "x", "t/", "t/bank", "t/Bank/acme.crm", "t/bank/acme", "v", "v/acme.crm", "w/a/b"] {
            assert!(parse(Some(cursor)).is_err(), "{cursor}");
        }
        assert_eq!(text(&parse(None).unwrap()), "t");
    }
}
