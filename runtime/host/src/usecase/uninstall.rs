//! Uninstalling: the plugin leaves the fleet; its data is kept, archived or dropped as asked.

use bulkhead_database::{Act, NewOperation, OperationRow};
use bulkhead_model::{Actor, PluginId, Transition};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::start::end_calls;
use crate::usecase::export::{ARCHIVE_STEP, is_archived};
use crate::usecase::operation::{Progress, view_operation};
use crate::view;

/// What becomes of a plugin's data in the tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataChoice {
    /// It stays, for a later install.
    #[default]
    Keep,
    /// It is written to an archive in the data folder, then deleted.
    Archive,
    /// It is deleted.
    Drop,
}

/// Kinds of operations, by what becomes of the data.
const KEEP: &str = "uninstall";
const ARCHIVE: &str = "uninstall-archive";
const DROP: &str = "uninstall-drop";

impl Host {
    /// Uninstalls a plugin that is installed or disabled. With dependants it needs `force`, which disables them.
    pub async fn uninstall(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        data: DataChoice,
        force: bool,
    ) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        self.inner.db.get_plugin(plugin).await?.status.after(Transition::BeginUninstall)?;
        let dependants = self.dependants(plugin).await?;
        if !dependants.is_empty() && !force {
            let names: Vec<String> = dependants.iter().map(ToString::to_string).collect();
            return Err(Error::Conflict(format!(
                "these plugins need `{plugin}`: {}; uninstall them first, or force, which disables them",
                names.join(", ")
            )));
        }
        // Each in its own turn, before the plugin's: no act waits for two plugins.
        for dependant in &dependants {
            self.disable_dependant(actor, dependant, plugin).await?;
        }
        let operation = self.begin_uninstall(actor, plugin, data).await?;
        // A caller that goes away leaves the work to the task. How it ended is in the operation.
        if let Err(error) = self.run_operation(operation.clone()).await {
            tracing::error!(plugin.id = %plugin, %error, "an uninstall ended unexpectedly and is tried again later");
        }
        let ended = self.inner.db.find_operation(&operation.operation_id).await?;
        view_operation(ended.unwrap_or(operation))
    }

    async fn begin_uninstall(&self, actor: &Actor, plugin: &PluginId, data: DataChoice) -> Result<OperationRow, Error> {
        let _turn = self.inner.acts.plugin(plugin).await?;
        let row = self.inner.db.get_plugin(plugin).await?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.advance_plugin(plugin, Transition::BeginUninstall, &act).await?;
        let kind = match data {
            DataChoice::Keep => KEEP,
            DataChoice::Archive => ARCHIVE,
            DataChoice::Drop => DROP,
        };
        let operation = tx
            .insert_operation(
                &NewOperation { kind, plugin_id: plugin, version: &row.version, request: "{}", actor: &actor.subject },
                act.at,
            )
            .await?;
        tx.commit().await?;
        Ok(operation)
    }

    /// Runs an uninstall to its end; also for one that a crash interrupted.
    pub(crate) async fn run_uninstall(&self, operation: &OperationRow) -> Result<(), Error> {
        let plugin = &operation.plugin_id;
        let _turn = self.inner.acts.plugin(plugin).await?;
        let drops = operation.kind != KEEP;
        let mut progress = Progress::new(self, operation);
        // Told first: whoever takes this up after the next crash must know that the archive is whole.
        let is_archived = is_archived(operation);
        if is_archived {
            progress.step(ARCHIVE_STEP, 1, 1).await?;
        }
        progress.step("unmount", 0, 1).await?;
        if drops {
            self.end_calls_everywhere(plugin).await;
        }
        self.unmount_everywhere(plugin).await;
        progress.step("unmount", 1, 1).await?;
        let act = Act::system(clock::now_micros());
        if operation.kind == ARCHIVE && !is_archived {
            self.archive_plugin(operation, &mut progress).await?;
        }
        if drops {
            self.drop_data(plugin, &mut progress).await?;
        }
        let mut tx = self.inner.db.begin().await?;
        if drops {
            tx.delete_plugin_tenants(plugin, &act).await?;
        }
        tx.advance_plugin(plugin, Transition::FinishUninstall, &act).await?;
        progress.finish(&mut tx, None).await?;
        tx.commit().await?;
        self.forget_compiled(plugin).await
    }

    /// Compiled forms are made again when somebody installs the plugin again.
    pub(crate) async fn forget_compiled(&self, plugin: &PluginId) -> Result<(), Error> {
        self.forget_unused_releases();
        for row in self.inner.db.list_plugin_versions(plugin).await? {
            self.inner.engine.forget(&row.digest, &release::facts(&row.facts)?.digest())?;
        }
        Ok(())
    }

    /// No call may write into data that is about to go.
    pub(crate) async fn end_calls_everywhere(&self, plugin: &PluginId) {
        for view in self.snapshot().tenants.values() {
            if let Some(enabled) = view.plugin(plugin.as_str()) {
                end_calls(enabled).await;
            }
        }
    }

    pub(crate) async fn drop_data(&self, plugin: &PluginId, progress: &mut Progress<'_>) -> Result<(), Error> {
        let tenants = self.inner.db.list_tenants_with_record(plugin).await?;
        let total = u64::try_from(tenants.len()).unwrap_or(u64::MAX);
        for (done, tenant) in (1..).zip(&tenants) {
            self.inner.storage.delete(tenant, plugin).await?;
            progress.step("drop", done, total).await?;
        }
        Ok(())
    }
}
