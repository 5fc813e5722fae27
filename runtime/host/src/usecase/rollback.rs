//! Going back: an older version in the place of the one installed last is an act of its own, with a reason, on record, and where
//! policy says so with a reviewer's signature for exactly this step. What was revoked never comes back.

use bulkhead_database::{Act, PluginVersionRow};
use bulkhead_model::{Actor, Code, PluginId, PluginStatus, Transition, Version};
use bulkhead_trust::Refusal;

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::usecase::install::new_install;
use crate::usecase::operation::view_operation;
use crate::usecase::reviews::check_reason;
use crate::view;

impl Host {
    /// Begins to install an older version than the one installed last: `version`, or the older one that was installed last.
    /// A plugin that was uninstalled is registered again by it.
    pub async fn roll_back(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        version: Option<&Version>,
        reason: &str,
    ) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        check_reason(reason)?;
        let act = Act::new(actor, clock::now_micros());
        self.look_at_log().await?;
        let fleet = self.inner.db.get_plugin(plugin).await?;
        let (from, to) = self.step_back(plugin, version).await?;
        if let Err(error) = self.may_come_back(&from, &to).await {
            self.record_denial(&act, Some(plugin), None, &error).await?;
            return Err(error);
        }
        let detail = serde_json::json!({
            "from": { "version": from.version.to_string(), "digest": from.digest.to_string() },
            "to": { "version": to.version.to_string(), "digest": to.digest.to_string() },
            "reason": reason,
        });
        let mut tx = self.inner.db.begin().await?;
        if fleet.status == PluginStatus::Uninstalled {
            tx.advance_plugin(plugin, Transition::Register, &act).await?;
        }
        tx.advance_plugin(plugin, Transition::BeginInstall, &act).await?;
        tx.append_audit(&act, "plugin.rollback", Some(plugin), None, &detail.to_string()).await?;
        tx.set_plugin_version(plugin, &to.version, &act).await?;
        let operation = tx.insert_operation(&new_install(plugin, &to.version, &act), act.at).await?;
        tx.commit().await?;
        self.run_operation(operation.clone());
        view_operation(operation)
    }

    /// Refuses to install `version` in the place of a newer one without saying so.
    pub(super) async fn check_no_step_back(&self, plugin: &PluginId, version: &Version) -> Result<(), Error> {
        let last = self.inner.db.find_installed_version(plugin).await?;
        let Some(last) = last.filter(|last| version < &last.version) else { return Ok(()) };
        let detail = format!("version {version} is older than {}, which was installed last", last.version);
        Err(Error::Refused(vec![Refusal::new(Code::Downgrade, detail)]))
    }

    /// The version that was installed last, and the older one to go back to.
    async fn step_back(
        &self,
        plugin: &PluginId,
        version: Option<&Version>,
    ) -> Result<(PluginVersionRow, PluginVersionRow), Error> {
        let from = self.inner.db.find_installed_version(plugin).await?;
        let from = from.ok_or_else(|| Error::Conflict(format!("no version of `{plugin}` was installed yet")))?;
        let to = match version {
            Some(version) => self.inner.db.get_plugin_version(plugin, version).await?,
            None => {
                let installed = self.inner.db.list_installed_versions(plugin).await?;
                let before = installed.into_iter().find(|row| row.version < from.version && row.held_reason.is_none());
                before.ok_or_else(|| {
                    Error::Conflict(format!(
                        "no version of `{plugin}` older than {} was installed before",
                        from.version
                    ))
                })?
            }
        };
        if to.version >= from.version {
            let text = format!(
                "version {} is not older than {}, which was installed last: install it",
                to.version, from.version
            );
            return Err(Error::Conflict(text));
        }
        Ok((from, to))
    }

    async fn may_come_back(&self, from: &PluginVersionRow, to: &PluginVersionRow) -> Result<(), Error> {
        let bundles = self.inner.db.list_bundles(&to.digest).await?;
        let facts = release::facts(&to.facts)?;
        let verdict = self.judge(&facts, &to.digest, &bundles, &release::admitted(to.created_at))?;
        if verdict.may_come_back_from(&from.digest) {
            return Ok(());
        }
        let detail = format!(
            "the rule `{}` wants a reviewer to sign for going back from {} to {}: `bulkhead sign --role reviewer --rollback-from`",
            verdict.rule, from.version, to.version
        );
        Err(Error::Refused(vec![Refusal::new(Code::ThresholdNotMet, detail)]))
    }
}
