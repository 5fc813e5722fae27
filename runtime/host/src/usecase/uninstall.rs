//! Uninstalling: the plugin leaves the fleet; its data is kept, archived or dropped as asked.

use bulkhead_database::{Act, NewOperation};
use bulkhead_model::{Actor, PluginId, PluginStatus, Transition};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::start::end_calls;
use crate::usecase::operation::{Progress, view_operation};
use crate::view;

/// What becomes of a plugin's data in the tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataChoice {
    /// It stays, for a later install.
    #[default]
    Keep,
    /// It is deleted.
    Drop,
}

/// Plugins that are looked at for dependants.
const DEPENDANTS_MAX: u32 = 10_000;

impl Host {
    /// Uninstalls a plugin that is installed or disabled. With dependants it needs `force`.
    pub async fn uninstall(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        data: DataChoice,
        force: bool,
    ) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        let _turn = self.inner.acts.plugin(plugin).await?;
        let row = self.inner.db.get_plugin(plugin).await?;
        row.status.after(Transition::BeginUninstall)?;
        let dependants = self.dependants(plugin).await?;
        if !dependants.is_empty() && !force {
            let names: Vec<String> = dependants.iter().map(ToString::to_string).collect();
            return Err(Error::Conflict(format!(
                "these plugins need `{plugin}`: {}; uninstall them first, or force",
                names.join(", ")
            )));
        }
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.advance_plugin(plugin, Transition::BeginUninstall, &act).await?;
        let kind = match data {
            DataChoice::Keep => "uninstall",
            DataChoice::Drop => "uninstall-drop",
        };
        let operation = tx
            .insert_operation(
                &NewOperation { kind, plugin_id: plugin, version: &row.version, actor: &actor.subject },
                act.at,
            )
            .await?;
        tx.commit().await?;
        self.run_uninstall(&operation).await?;
        let ended = self.inner.db.find_operation(&operation.operation_id).await?;
        view_operation(ended.unwrap_or(operation))
    }

    /// Runs an uninstall to its end; also for one that a crash interrupted.
    pub(crate) async fn run_uninstall(&self, operation: &bulkhead_database::OperationRow) -> Result<(), Error> {
        let plugin = &operation.plugin_id;
        let mut progress = Progress::new(self, operation);
        progress.step("unmount", 0, 1).await?;
        if operation.kind == "uninstall-drop" {
            self.end_calls_everywhere(plugin).await;
        }
        self.unmount_everywhere(plugin).await;
        progress.step("unmount", 1, 1).await?;
        let act = Act::system(clock::now_micros());
        if operation.kind == "uninstall-drop" {
            self.drop_data(plugin, &mut progress).await?;
        }
        let mut tx = self.inner.db.begin().await?;
        if operation.kind == "uninstall-drop" {
            tx.delete_plugin_tenants(plugin, &act).await?;
        }
        tx.advance_plugin(plugin, Transition::FinishUninstall, &act).await?;
        progress.finish(&mut tx, None).await?;
        Ok(tx.commit().await?)
    }

    /// No call may write into data that is about to go.
    async fn end_calls_everywhere(&self, plugin: &PluginId) {
        for view in self.snapshot().tenants.values() {
            if let Some(enabled) = view.plugin(plugin.as_str()) {
                end_calls(&enabled.cell).await;
            }
        }
    }

    async fn drop_data(&self, plugin: &PluginId, progress: &mut Progress<'_>) -> Result<(), Error> {
        let Some(storage) = &self.inner.storage else {
            return Ok(());
        };
        let tenants = self.inner.db.list_tenants_with_record(plugin).await?;
        let total = u64::try_from(tenants.len()).unwrap_or(u64::MAX);
        for (done, tenant) in (1..).zip(&tenants) {
            storage.delete(tenant, plugin).await?;
            progress.step("drop", done, total).await?;
        }
        Ok(())
    }

    async fn dependants(&self, plugin: &PluginId) -> Result<Vec<PluginId>, Error> {
        let mut dependants = Vec::new();
        for row in self.inner.db.list_plugins("", DEPENDANTS_MAX).await? {
            if matches!(row.status, PluginStatus::Registered | PluginStatus::Uninstalled) {
                continue;
            }
            let stored = self.inner.db.get_plugin_version(&row.plugin_id, &row.version).await?;
            let manifest = release::facts(&stored.facts)?.manifest().map_err(Error::Refused)?;
            if manifest.dependencies.contains_key(plugin) {
                dependants.push(row.plugin_id);
            }
        }
        Ok(dependants)
    }
}
