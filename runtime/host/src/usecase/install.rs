//! Installing a registered release: verify, review, compile, migrate, start, each step repeatable, each recorded. A crash at any
//! step is taken up by `worker::sweep`; a failure leaves REGISTERED with the reason.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::{Act, NewOperation, OperationRow};
use bulkhead_model::{Actor, Coded, Limits, PluginId, Transition, Version};
use futures_util::FutureExt as _;

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::fan::Fan;
use crate::host::Host;
use crate::usecase::operation::{Progress, view_operation};
use crate::usecase::reviews::Wider;
use crate::view;

/// Tenants in which a plugin starts at once.
const STARTS_AT_ONCE: usize = 8;
/// Longest that an install may take before it is recorded as failed.
const INSTALL_DEADLINE: Duration = Duration::from_secs(15 * 60);

impl Host {
    /// Begins to install `version`, or the version registered last. One that is older than the version installed last is
    /// refused with `downgrade`: see [`Host::roll_back`]. The answer is an operation to follow; the work goes on
    /// when the caller is gone.
    pub async fn install(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        version: Option<Version>,
    ) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        self.look_at_log().await?;
        let version = match version {
            Some(version) => self.inner.db.get_plugin_version(plugin, &version).await?.version,
            None => self.inner.db.get_plugin(plugin).await?.version,
        };
        if let Err(error) = self.check_no_step_back(plugin, &version).await {
            self.record_denial(&act, Some(plugin), None, &error).await?;
            return Err(error);
        }
        let mut tx = self.inner.db.begin().await?;
        tx.advance_plugin(plugin, Transition::BeginInstall, &act).await?;
        tx.set_plugin_version(plugin, &version, &act).await?;
        let operation = tx.insert_operation(&new_install(plugin, &version, &act), act.at).await?;
        tx.commit().await?;
        self.run_operation(operation.clone());
        view_operation(operation)
    }

    /// Runs an install to its end; also one that a crash interrupted.
    pub(crate) async fn run_install(&self, operation: &OperationRow) -> Result<(), Error> {
        let mut progress = Progress::new(self, operation);
        let work = AssertUnwindSafe(self.install_steps(operation, &mut progress)).catch_unwind();
        let outcome = tokio::select! {
            ended = tokio::time::timeout(INSTALL_DEADLINE, work) => match ended {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_panic)) => Err(Error::NotServing("the install ended unexpectedly".to_owned())),
                Err(_late) => Err(Error::NotServing("the install took too long".to_owned())),
            },
            // The operation stays `running` in the database: the next start takes it up again.
            () = self.inner.stopping.cancelled() => return Ok(()),
        };
        self.finish_install(operation, &mut progress, outcome).await
    }

    /// Answers why it must wait, if it must; nothing is served then.
    pub(crate) async fn install_steps(
        &self,
        operation: &OperationRow,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Wider>, Error> {
        progress.step("verify", 0, 1).await?;
        let release = self.release(&operation.plugin_id, &operation.version).await?;
        self.check_dependencies(&release.manifest).await?;
        self.prove_release(&release).await?;
        progress.step("verify", 1, 1).await?;

        if let Some(wider) = self.must_wait(operation, &release).await? {
            progress.step("review", 0, 1).await?;
            return Ok(Some(wider));
        }

        progress.step("compile", 0, 1).await?;
        self.inner.engine.trial(&release.component, Limits::DEFAULT).await?;
        progress.step("compile", 1, 1).await?;

        let _turn = self.inner.acts.plugin(&operation.plugin_id).await?;
        // Tenants that had it enabled before an uninstall that kept their data.
        let tenants = self.inner.db.list_plugin_tenants(&operation.plugin_id).await?;
        let total = u64::try_from(tenants.len()).unwrap_or(u64::MAX);
        progress.step("start", 0, total).await?;
        let starts = tenants.into_iter().map(|row| {
            let (host, release) = (self.clone(), Arc::clone(&release));
            async move {
                if let Err(error) = host.start_stored(&row, &release).await {
                    tracing::warn!(plugin.id = %row.plugin_id, tenant.id = %row.tenant_id, code = %error.code(), "a tenant's start failed");
                }
            }
        });
        let mut starts = Fan::out(starts, STARTS_AT_ONCE);
        let mut done = 0_u64;
        while let Some(()) = starts.next().await {
            done = done.saturating_add(1);
            progress.step("start", done, total).await?;
        }
        Ok(None)
    }

    async fn finish_install(
        &self,
        operation: &OperationRow,
        progress: &mut Progress<'_>,
        outcome: Result<Option<Wider>, Error>,
    ) -> Result<(), Error> {
        let act = Act::system(clock::now_micros());
        let plugin = &operation.plugin_id;
        let mut tx = self.inner.db.begin().await?;
        match &outcome {
            Ok(None) => {
                tx.advance_plugin(plugin, Transition::FinishInstall, &act).await?;
                tx.set_version_installed(plugin, &operation.version, act.at).await?;
                tx.set_plugin_error(plugin, None, act.at).await?;
                progress.finish(&mut tx, None).await?;
            }
            Ok(Some(wider)) => {
                wider.wait(&mut tx, operation, &act).await?;
                progress.wait(&mut tx, wider.detail()).await?;
            }
            Err(error) => {
                self.unmount_everywhere(plugin).await;
                tx.advance_plugin(plugin, Transition::FailInstall, &act).await?;
                tx.set_plugin_error(plugin, Some(&error.recorded()), act.at).await?;
                progress.finish(&mut tx, Some(error)).await?;
            }
        }
        tx.commit().await?;
        if let Err(error) = &outcome {
            self.record_denial(&act, Some(plugin), None, error).await?;
        }
        Ok(())
    }
}

/// The operation that installs a version.
pub(super) fn new_install<'a>(plugin: &'a PluginId, version: &'a Version, act: &'a Act) -> NewOperation<'a> {
    NewOperation { kind: "install", plugin_id: plugin, version, request: "{}", actor: &act.actor }
}
