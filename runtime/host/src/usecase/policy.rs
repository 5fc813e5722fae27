//! The signer policy in force: install a newer one, show it, explain a decision. Deciding is `trust`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_database::{Act, PolicyRow, Tx};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, Coded, PluginId, Role, TenantId, TenantPluginStatus, Version};
use bulkhead_trust::{Policy, Refusal, Roots, State, policy};
use jiff::Timestamp;

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::snapshot::Enabled;
use crate::usecase::key_events::{KeyEvent, key_events};
use crate::view;

/// Largest policy envelope in bytes.
const POLICY_BYTES_MAX: usize = 1 << 20;

impl Host {
    /// The policy in force.
    pub async fn get_policy(&self, actor: &Actor) -> Result<view::PolicyView, Error> {
        require(actor, &[Role::Security], "security")?;
        Ok(match self.inner.db.find_policy().await? {
            Some(row) => view::PolicyView {
                observed: self.inner.policy.observed().map(|policy| policy_text(&policy)),
                ..view_policy(row)
            },
            None => view::PolicyView {
                version: 0,
                json: policy_text(&Policy::deny_all()),
                observed: None,
                installed_by: None,
                installed_at: None,
            },
        })
    }

    /// The keys that the policy in force knows, by principal: whose signatures count, and in which rules.
    pub fn list_signers(&self, actor: &Actor) -> Result<Vec<view::Signer>, Error> {
        require(actor, &[Role::Security], "security")?;
        let known = self.inner.policy.load();
        let now = clock::now();
        let mut signers = Vec::new();
        for principal in &known.principals {
            let rules: Vec<String> = known
                .allow
                .iter()
                .filter(|rule| rule.signers.iter().any(|wanted| wanted.of.contains(&principal.name)))
                .map(|rule| rule.id.clone())
                .collect();
            for key in &principal.keys {
                let denied = known
                    .deny
                    .iter()
                    .filter(|deny| deny.mode == policy::Mode::Enforce)
                    .find(|deny| deny.key.as_ref() == Some(key) && deny.from.is_none_or(|from| from <= now));
                let status = if denied.is_some() {
                    "denied"
                } else if principal.valid_from.is_some_and(|from| now < from) {
                    "not-yet"
                } else if principal.valid_until.is_some_and(|until| until <= now) {
                    "expired"
                } else {
                    "active"
                };
                signers.push(view::Signer {
                    principal: principal.name.clone(),
                    key: key.to_policy_text(),
                    key_id: key.id(),
                    valid_from: principal.valid_from.map(Timestamp::as_microsecond),
                    valid_until: principal.valid_until.map(Timestamp::as_microsecond),
                    status,
                    reason: denied.map(|deny| deny.reason.clone()),
                    rules: rules.clone(),
                });
            }
        }
        Ok(signers)
    }

    /// Puts a policy in force: a DSSE envelope signed by enough root keys, of a version higher than any before. Every
    /// loaded release is judged anew; those no longer allowed stop.
    pub async fn install_policy(&self, actor: &Actor, envelope: &[u8]) -> Result<view::PolicyView, Error> {
        require(actor, &[Role::Security], "security")?;
        if envelope.len() > POLICY_BYTES_MAX {
            return Err(Error::BodyTooLarge { bytes_max: u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX) });
        }
        let _turn = self.inner.acts.declarations().await;
        // Another host may have replaced the root keys meanwhile.
        self.follow_roots().await?;
        let in_force = self.inner.roots.load();
        let roots = in_force.usable()?;
        if roots.expires <= clock::now() {
            let message = format!("the root keys were valid until {}: install the next ones first", roots.expires);
            return Err(Error::Invalid { code: Code::PolicyInvalid, issues: vec![Issue::new("", message)] });
        }
        let act = Act::new(actor, clock::now_micros());
        let (policy, row) = self.newer_policy(roots, envelope, &act).await?;
        let keys = self.key_events(&policy).await?;
        let mut tx = self.inner.db.begin().await?;
        put_policy(&mut tx, &row, &keys, &act).await?;
        tx.commit().await?;
        self.take_policy(policy, row.observed).await?;
        Ok(view_policy(row))
    }

    /// The policy in an envelope that enough of `roots` signed and that is newer than every one before, and its row.
    pub(super) async fn newer_policy(
        &self,
        roots: &Roots,
        envelope: &[u8],
        act: &Act,
    ) -> Result<(Policy, PolicyRow), Error> {
        let policy = policy::verify(envelope, &roots.keys, roots.threshold).map_err(|error| invalid_policy(&error))?;
        // What is merely odd about a policy is for `policy check` to say; one that allows nothing any more is a mistake.
        if policy.expires <= clock::now() {
            let issues = vec![Issue::new("/expires", "the policy has expired")];
            return Err(Error::Invalid { code: Code::PolicyInvalid, issues });
        }
        let latest = self.inner.db.find_latest_policy().await?;
        let known = latest.as_ref().map_or(0, |row| row.version);
        if policy.version <= known {
            let which = if latest.is_some_and(|row| row.observed) { "observed" } else { "in force" };
            let message = format!("the policy {which} has version {known}; a new one needs a higher version");
            return Err(Error::Invalid { code: Code::PolicyStale, issues: vec![Issue::new("/version", message)] });
        }
        let row = PolicyRow {
            version: policy.version,
            envelope: envelope.to_vec(),
            json: policy_text(&policy),
            observed: policy.mode == policy::Mode::Observe,
            installed_by: act.actor.clone(),
            installed_at: act.at,
        };
        Ok((policy, row))
    }

    /// Puts a policy that is stored in force, or beside what is.
    pub(super) async fn take_policy(&self, policy: Policy, is_observed: bool) -> Result<(), Error> {
        if is_observed {
            self.inner.policy.observe(Some(policy));
        } else {
            self.inner.policy.observe(None);
            self.inner.policy.install(policy);
        }
        self.judge_serving().await?;
        self.start_missing(|_| true).await
    }

    /// What the policy says of a release, in a tenant or at all.
    pub async fn explain_policy(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        version: Option<&Version>,
        tenant: Option<&TenantId>,
    ) -> Result<view::Explanation, Error> {
        require(actor, &[Role::Security], "security")?;
        let version = match version {
            Some(version) => version.clone(),
            None => self.inner.db.get_plugin(plugin).await?.version,
        };
        let row = self.inner.db.get_plugin_version(plugin, &version).await?;
        let facts = release::facts(&row.facts)?;
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let state = State { tenant: tenant.cloned(), ..release::admitted(row.created_at) };
        let explained = self.explained(&facts, &row.digest, &bundles, &state);
        let rules = rule_words(&self.inner.policy.load(), explained.rules);
        let observed =
            explained.observed.into_iter().map(|one| view::Observation { by: one.by, refusal: one.refusal }).collect();
        Ok(match explained.decision {
            Ok(verdict) => view::Explanation {
                allowed: true,
                interfaces: verdict.grants.iter().collect(),
                signers: verdict.signers.into_iter().map(|signer| signer.principal).collect(),
                rule: Some(verdict.rule),
                trust: Some(verdict.trust),
                rules,
                refusals: Vec::new(),
                observed,
            },
            Err(refusals) => view::Explanation {
                allowed: false,
                rule: None,
                trust: None,
                rules,
                signers: Vec::new(),
                interfaces: Vec::new(),
                refusals,
                observed,
            },
        })
    }

    /// Reads the stored policy into force; an expired one denies by its own dates. One that does not verify, since the root
    /// keys were changed, denies everything: the host runs, and takes a policy that they signed.
    pub(crate) async fn load_policy(&self) -> Result<(), Error> {
        let latest = self.inner.db.find_latest_policy().await?.filter(|row| row.observed);
        let observed = latest.map(|row| self.verified_policy(&row.envelope));
        // One that does not verify is observed no more than it would be enforced.
        self.inner.policy.observe(observed.and_then(Result::ok));
        let Some(row) = self.inner.db.find_policy().await? else { return Ok(()) };
        match self.verified_policy(&row.envelope) {
            Ok(policy) => self.inner.policy.install(policy),
            Err(error) => {
                self.inner.policy.install(Policy::deny_all());
                tracing::error!(policy.version = row.version, issues = ?error.issues(), "the stored policy does not verify with the root keys in force: nothing is allowed until one that does is installed");
            }
        }
        Ok(())
    }

    /// What a policy that takes the place of the one in force changes about keys; nothing if it is only observed.
    pub(super) async fn key_events(&self, policy: &Policy) -> Result<Vec<KeyEvent>, Error> {
        if policy.mode == policy::Mode::Observe {
            return Ok(Vec::new());
        }
        // The stored one: what is in force also denies what was revoked, and stands for nothing if it does not verify.
        let before = self.inner.db.find_policy().await?.map(|row| Policy::from_json(row.json.as_bytes()));
        Ok(key_events(&before.and_then(Result::ok).unwrap_or_else(Policy::deny_all), policy))
    }

    pub(crate) fn verified_policy(&self, envelope: &[u8]) -> Result<Policy, Error> {
        let in_force = self.inner.roots.load();
        let roots = in_force.usable()?;
        policy::verify(envelope, &roots.keys, roots.threshold).map_err(|error| invalid_policy(&error))
    }

    /// Judges every plugin that serves, in each tenant, by the policy in force and the time. Those refused stop first, before
    /// anything is waited for or written; those that may do something else from now on start anew.
    pub(crate) async fn judge_serving(&self) -> Result<(), Error> {
        let (mut refused, mut changed) = (Vec::new(), Vec::new());
        for enabled in self.inner.cells.all() {
            match self.verdict(&enabled.release, enabled.cell.tenant()) {
                Err(error) => {
                    enabled.cell.kill();
                    refused.push((enabled, error));
                }
                Ok(verdict) if !verdict.allows_the_same(&enabled.verdict) => changed.push(enabled),
                Ok(_) => {}
            }
            // A signature is verified each time: calls on this thread go between.
            tokio::task::yield_now().await;
        }
        self.stop_refused(refused).await?;
        for enabled in changed.iter().filter(|enabled| self.serves_by(enabled)) {
            if let Err(error) = self.start_in_turn(enabled.cell.tenant(), &enabled.plugin).await {
                tracing::warn!(plugin.id = %enabled.plugin, tenant.id = %enabled.cell.tenant(), code = %error.code(), "a plugin did not start under the policy in force");
            }
        }
        Ok(())
    }

    /// Takes what was refused out of service and records it, in each tenant and for each plugin. One that cannot be recorded
    /// leaves the others alone.
    async fn stop_refused(&self, refused: Vec<(Arc<Enabled>, Error)>) -> Result<(), Error> {
        let mut stopped = BTreeMap::new();
        for (enabled, error) in refused {
            if !self.serves_by(&enabled) {
                continue;
            }
            let (tenant, plugin) = (enabled.cell.tenant(), &enabled.plugin);
            self.stop_serving(tenant, plugin, &enabled.release.manifest).await;
            tracing::warn!(plugin.id = %plugin, tenant.id = %tenant, reason = %error, "the policy no longer allows a running plugin: it was stopped");
            if let Err(error) = self.record_stop(tenant, plugin, &error).await {
                tracing::error!(plugin.id = %plugin, tenant.id = %tenant, code = %error.code(), "failed to record that a plugin was stopped");
            }
            stopped.insert(plugin.clone(), error.recorded());
        }
        for (plugin, reason) in stopped {
            let mut tx = self.inner.db.begin().await?;
            tx.set_plugin_error(&plugin, Some(&reason), clock::now_micros()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn record_stop(&self, tenant: &TenantId, plugin: &PluginId, error: &Error) -> Result<(), Error> {
        let _turn = self.inner.acts.both(tenant, plugin).await?;
        let mut row = self.tenant_plugin_row(tenant, plugin).await?;
        (row.status, row.last_error) = (TenantPluginStatus::Failed, Some(error.recorded()));
        let act = Act::system(clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "policy.stop", &act).await?;
        Ok(tx.commit().await?)
    }

    /// Whether this very cell is what serves its tenant.
    pub(crate) fn serves_by(&self, enabled: &Arc<Enabled>) -> bool {
        let snapshot = self.snapshot();
        let serving = snapshot.tenants.get(enabled.cell.tenant()).and_then(|view| view.plugin(enabled.plugin.as_str()));
        serving.is_some_and(|serving| Arc::ptr_eq(serving, enabled))
    }

    /// Counts a refusal by policy and keeps it in the audit log, once an hour for each plugin, tenant and reason; other errors
    /// are none of its business.
    pub(crate) async fn record_denial(
        &self,
        act: &Act,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        error: &Error,
    ) -> Result<(), Error> {
        let Error::Refused(refusals) = error else {
            return Ok(());
        };
        for refusal in refusals {
            metrics::counter!("bulkhead_denied_total", "reason" => refusal.code.as_str()).increment(1);
        }
        let (denials, now) = (&self.inner.denials, clock::now());
        let is_new = |code: &Code| denials.is_new(plugin, tenant, *code, now);
        let reasons: Vec<Code> = refusals.iter().map(|refusal| refusal.code).filter(is_new).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = reasons.iter().map(|code| code.as_str()).collect();
        let detail = serde_json::json!({ "reasons": names }).to_string();
        let written = async {
            let mut tx = self.inner.db.begin().await?;
            tx.append_audit(act, "plugin.refuse", plugin, tenant, &detail).await?;
            tx.commit().await
        };
        let written = written.await;
        if written.is_err() {
            reasons.into_iter().for_each(|code| denials.forget(plugin, tenant, code));
        }
        Ok(written?)
    }
}

/// What each rule makes of a release, with who accounts for the rule.
fn rule_words(policy: &Policy, words: Vec<(String, Vec<Refusal>)>) -> Vec<view::RuleWord> {
    let word = |(id, refusals): (String, Vec<Refusal>)| {
        let rule = policy.allow.iter().find(|rule| rule.id == id)?;
        Some(view::RuleWord {
            id,
            trust: rule.level(),
            reason: rule.reason.clone(),
            author: rule.author.clone(),
            approved_by: rule.approved_by.clone(),
            expires: rule.expires.map(Timestamp::as_microsecond),
            refusals,
        })
    };
    words.into_iter().filter_map(word).collect()
}

/// Stores a policy, and on record what it changes about keys.
pub(super) async fn put_policy(tx: &mut Tx, row: &PolicyRow, keys: &[KeyEvent], act: &Act) -> Result<(), Error> {
    tx.insert_policy(row, act).await?;
    for (action, detail) in keys {
        tx.append_audit(act, action, None, None, detail).await?;
    }
    Ok(())
}

/// A policy, or roots, that cannot be used.
pub(super) fn invalid_policy(error: &policy::Error) -> Error {
    Error::Invalid { code: Code::PolicyInvalid, issues: vec![Issue::new("", error.to_string())] }
}

fn view_policy(row: PolicyRow) -> view::PolicyView {
    view::PolicyView {
        version: row.version,
        json: row.json,
        observed: None,
        installed_by: Some(row.installed_by),
        installed_at: Some(row.installed_at),
    }
}

fn policy_text(policy: &Policy) -> String {
    String::from_utf8_lossy(&policy.to_json()).into_owned()
}
