//! The signer policy in force: install a newer one, show it, explain a decision. Deciding is `trust`'s.

use std::sync::Arc;

use bulkhead_database::{Act, PluginRow, PolicyRow};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, Coded, PluginId, Role, TenantId, Version};
use bulkhead_trust::{Policy, State};

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::view;

/// Largest policy envelope in bytes.
const POLICY_BYTES_MAX: usize = 1 << 20;
/// Plugins of one read.
const PLUGINS_PAGE: u32 = 500;

impl Host {
    /// The policy in force.
    pub async fn get_policy(&self, actor: &Actor) -> Result<view::PolicyView, Error> {
        require(actor, &[Role::Security], "security")?;
        Ok(match self.inner.db.find_policy().await? {
            Some(row) => view_policy(row),
            None => view::PolicyView {
                version: 0,
                json: policy_text(&Policy::deny_all()),
                installed_by: None,
                installed_at: None,
            },
        })
    }

    /// Puts a policy in force: a DSSE envelope signed by enough root keys, of a version higher than any before. Every
    /// loaded release is judged anew; those no longer allowed stop.
    pub async fn install_policy(&self, actor: &Actor, envelope: &[u8]) -> Result<view::PolicyView, Error> {
        require(actor, &[Role::Security], "security")?;
        if envelope.len() > POLICY_BYTES_MAX {
            return Err(Error::BodyTooLarge { bytes_max: u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX) });
        }
        let now = clock::now();
        let policy = self.verified_policy(envelope)?;
        // What is merely odd about a policy is for `policy check` to say; one that allows nothing any more is a mistake.
        if policy.expires <= now {
            let issues = vec![Issue::new("/expires", "the policy has expired")];
            return Err(Error::Invalid { code: Code::PolicyInvalid, issues });
        }
        let _turn = self.inner.acts.declarations().await;
        let known = self.inner.db.find_policy().await?.map_or(0, |row| row.version);
        if policy.version <= known {
            let message = format!("the policy in force has version {known}; a new one needs a higher version");
            return Err(Error::Invalid { code: Code::PolicyStale, issues: vec![Issue::new("/version", message)] });
        }
        let row = PolicyRow {
            version: policy.version,
            envelope: envelope.to_vec(),
            json: policy_text(&policy),
            installed_by: actor.subject.clone(),
            installed_at: clock::now_micros(),
        };
        let mut tx = self.inner.db.begin().await?;
        tx.insert_policy(&row, &Act::new(actor, row.installed_at)).await?;
        tx.commit().await?;
        self.inner.policy.store(Arc::new(policy));
        self.judge_again().await?;
        Ok(view_policy(row))
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
        let state = State { tenant: tenant.cloned(), ..State::default() };
        match self.judge(&facts, &row.digest, &bundles, &state) {
            Ok(verdict) => Ok(view::Explanation {
                allowed: true,
                interfaces: verdict.grants.iter().collect(),
                signers: verdict.signers.into_iter().map(|signer| signer.principal).collect(),
                rule: Some(verdict.rule),
                refusals: Vec::new(),
            }),
            Err(Error::Refused(refusals)) => Ok(view::Explanation {
                allowed: false,
                rule: None,
                signers: Vec::new(),
                interfaces: Vec::new(),
                refusals,
            }),
            Err(other) => Err(other),
        }
    }

    /// Reads the stored policy into force; an expired one denies by its own dates.
    pub(crate) async fn load_policy(&self) -> Result<(), Error> {
        if let Some(row) = self.inner.db.find_policy().await? {
            let policy = self.verified_policy(&row.envelope)?;
            self.inner.policy.store(Arc::new(policy));
        }
        Ok(())
    }

    fn verified_policy(&self, envelope: &[u8]) -> Result<Policy, Error> {
        let threshold = usize::try_from(self.inner.config.policy_threshold).unwrap_or(usize::MAX);
        bulkhead_trust::policy::verify(envelope, &self.inner.policy_roots, threshold).map_err(|error| Error::Invalid {
            code: Code::PolicyInvalid,
            issues: vec![Issue::new("", error.to_string())],
        })
    }

    /// Judges every serving plugin by the policy in force. Those refused stop first, before anything is started; one that
    /// cannot be started anew is recorded and leaves the others alone.
    async fn judge_again(&self) -> Result<(), Error> {
        self.inner.releases.lock().clear();
        for plugin in self.stop_what_is_refused().await? {
            if let Err(error) = self.start_in_turn(&plugin).await {
                tracing::error!(plugin.id = %plugin, code = %error.code(), "a plugin did not start anew under the new policy");
            }
        }
        Ok(())
    }

    /// What a plugin may do is part of its cells: they start anew under the new verdict.
    async fn start_in_turn(&self, plugin: &PluginId) -> Result<(), Error> {
        let _turn = self.inner.acts.plugin(plugin).await?;
        self.start_everywhere(plugin).await
    }

    /// Stops every serving plugin that the policy refuses, also one that time has made expire; answers the others. All of
    /// them stop before anything is waited for or written.
    pub(crate) async fn stop_what_is_refused(&self) -> Result<Vec<PluginId>, Error> {
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        let mut after = String::new();
        loop {
            let rows = self.inner.db.list_plugins(&after, PLUGINS_PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.plugin_id.to_string();
            for row in rows.into_iter().filter(|row| row.status.serves()) {
                match self.judge_stored(&row).await {
                    Ok(()) => allowed.push(row.plugin_id),
                    Err(error) => {
                        if self.stop_cells(&row.plugin_id) {
                            self.unmount_everywhere(&row.plugin_id).await;
                            refused.push((row.plugin_id, error));
                        }
                    }
                }
            }
        }
        for (plugin, error) in refused {
            tracing::warn!(plugin.id = %plugin, reason = %error, "the policy no longer allows a running plugin: it was stopped");
            if let Err(error) = self.record_stop(&plugin, &error).await {
                tracing::error!(plugin.id = %plugin, code = %error.code(), "failed to record that a plugin was stopped");
            }
        }
        Ok(allowed)
    }

    async fn judge_stored(&self, row: &PluginRow) -> Result<(), Error> {
        let stored = self.inner.db.get_plugin_version(&row.plugin_id, &row.version).await?;
        let bundles = self.inner.db.list_bundles(&stored.digest).await?;
        self.judge(&release::facts(&stored.facts)?, &stored.digest, &bundles, &State::default()).map(|_| ())
    }

    async fn record_stop(&self, plugin: &PluginId, error: &Error) -> Result<(), Error> {
        // In turn, and once more: an act that was going on may have mounted it again.
        let _turn = self.inner.acts.plugin(plugin).await?;
        if self.stop_cells(plugin) {
            self.unmount_everywhere(plugin).await;
        }
        let act = Act::system(clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.set_plugin_error(plugin, Some(&error.to_string()), act.at).await?;
        tx.append_audit(&act, "policy.stop", Some(plugin), None, "{}").await?;
        Ok(tx.commit().await?)
    }

    /// Stops the plugin in every tenant of this node; whether there was any.
    fn stop_cells(&self, plugin: &PluginId) -> bool {
        let snapshot = self.snapshot();
        let cells = snapshot.tenants.values().filter_map(|view| view.plugin(plugin.as_str()));
        cells.map(|enabled| enabled.cell.kill()).count() > 0
    }
}

fn view_policy(row: PolicyRow) -> view::PolicyView {
    view::PolicyView {
        version: row.version,
        json: row.json,
        installed_by: Some(row.installed_by),
        installed_at: Some(row.installed_at),
    }
}

fn policy_text(policy: &Policy) -> String {
    String::from_utf8_lossy(&policy.to_json()).into_owned()
}
