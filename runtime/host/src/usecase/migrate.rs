//! Migrations over many tenants: run them, try them without keeping anything, see where each tenant is. One tenant's failure
//! leaves the others alone; a run that was interrupted goes on where it was. No plugin code runs before a tenant's
//! migrations are through.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bulkhead_database::tenant::{Applied, MigrationError, Run};
use bulkhead_database::{Act, NewOperation, OperationResult, OperationRow, TenantPluginRow};
use bulkhead_model::{Actor, Coded, Limits, PluginId, TenantId, TenantPluginStatus};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::fan::Fan;
use crate::host::Host;
use crate::release::Release;
use crate::start::{Migrated, end_calls};
use crate::usecase::operation::{Progress, view_operation};
use crate::view::{self, Page, PageRequest};

/// Tenants at once, unless asked otherwise.
pub const BATCH_SIZE_DEFAULT: u32 = 4;
/// Most tenants at once.
pub const BATCH_SIZE_MAX: u32 = 64;
/// Tenants that one request may name.
const TENANTS_MAX: usize = 10_000;
/// Failed tenants that the operation's error names.
const NAMED_MAX: usize = 10;
/// Results of one read.
const RESULTS_PAGE: u32 = 1_000;

/// Which tenants, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MigrationRequest {
    /// These alone; none means every tenant that has the plugin enabled.
    pub tenants: Vec<TenantId>,
    /// Only tenants from this one on, by id.
    pub from: Option<TenantId>,
    /// Only tenants that got the plugin at or after this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// Tenants at once, 1 to [`BATCH_SIZE_MAX`].
    pub batch_size: u32,
}

impl Default for MigrationRequest {
    fn default() -> Self {
        Self { tenants: Vec::new(), from: None, since: None, batch_size: BATCH_SIZE_DEFAULT }
    }
}

impl MigrationRequest {
    fn takes(&self, row: &TenantPluginRow) -> bool {
        (self.tenants.is_empty() || self.tenants.contains(&row.tenant_id))
            && self.from.as_ref().is_none_or(|from| row.tenant_id >= *from)
            && self.since.is_none_or(|since| row.created_at >= since)
    }
}

impl Host {
    /// Begins to run a plugin's migrations in its tenants; a dry run undoes them all. The answer is an operation to follow;
    /// how it went in each tenant is in its results.
    pub async fn migrate(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        request: &MigrationRequest,
        run: Run,
    ) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        if !(1..=BATCH_SIZE_MAX).contains(&request.batch_size) {
            return Err(Error::InvalidName(format!("the batch size is 1 to {BATCH_SIZE_MAX}")));
        }
        if request.tenants.len() > TENANTS_MAX {
            return Err(Error::InvalidName(format!("at most {TENANTS_MAX} tenants can be named")));
        }
        let fleet = self.inner.db.get_plugin(plugin).await?;
        if !fleet.status.serves() {
            return Err(Error::Conflict(format!("`{plugin}` is {}: install it first", fleet.status)));
        }
        for tenant in &request.tenants {
            self.tenant_plugin_row(tenant, plugin).await?;
        }
        let text = serde_json::to_string(request)
            .unwrap_or_else(|error| unreachable!("a request is names and numbers: {error}"));
        let act = Act::new(actor, clock::now_micros());
        let kind = match run {
            Run::Apply => "migrate",
            Run::DryRun => "migrate-dry-run",
        };
        let new =
            NewOperation { kind, plugin_id: plugin, version: &fleet.version, request: &text, actor: &actor.subject };
        let mut tx = self.inner.db.begin().await?;
        let operation = tx.insert_operation(&new, act.at).await?;
        tx.append_audit(&act, &format!("plugin.{kind}"), Some(plugin), None, &text).await?;
        tx.commit().await?;
        self.run_operation(operation.clone());
        view_operation(operation)
    }

    /// Where each tenant is, by tenant.
    pub async fn list_migrations(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        page: &PageRequest,
    ) -> Result<Page<view::TenantMigrations>, Error> {
        require_super_admin(actor)?;
        let fleet = self.inner.db.get_plugin(plugin).await?;
        let release = self.release(plugin, &fleet.version).await?;
        let mut rows = self.inner.db.list_plugin_tenants(plugin).await?;
        let after = page.cursor.as_deref().unwrap_or("");
        rows.retain(|row| row.tenant_id.as_str() > after);
        rows.truncate(usize::try_from(page.limit.saturating_add(1)).unwrap_or(usize::MAX));
        let page = super::fleet::page_of(rows, page.limit, |row| row.tenant_id.to_string());
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.migrations_of(&row, &release).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    async fn migrations_of(&self, row: &TenantPluginRow, release: &Release) -> Result<view::TenantMigrations, Error> {
        let store = self.inner.storage.store(&row.tenant_id, &row.plugin_id, Limits::DEFAULT.storage_bytes);
        let applied = store.applied_migrations().await.map_err(MigrationError::Storage)?;
        let failed = store.failed_migration().await.map_err(MigrationError::Storage)?;
        let is_applied = |number: u32| applied.iter().any(|applied| applied.number == number);
        let carried = release.migrations(self).await?.iter();
        Ok(view::TenantMigrations {
            tenant_id: row.tenant_id.clone(),
            pending: carried
                .filter(|migration| !is_applied(migration.number))
                .map(|migration| named(migration.number, &migration.name))
                .collect(),
            applied: applied.iter().map(|applied| named(applied.number, &applied.name)).collect(),
            failed: failed.map(|failed| (named(failed.number, &failed.name), failed.error)),
        })
    }

    /// Undoes a plugin's migrations behind number `to` in one tenant by their down files: for a catastrophe, since rows go with
    /// what is undone. It needs `force`; the plugin is disabled in the tenant and its calls end first.
    pub async fn migrate_down(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        tenant: &TenantId,
        to: u32,
        force: bool,
    ) -> Result<view::TenantMigrations, Error> {
        require_super_admin(actor)?;
        if !force {
            let text = "undoing migrations deletes what they made, and rows with it; repeat it with force";
            return Err(Error::Conflict(text.to_owned()));
        }
        let _turn = self.inner.acts.both(tenant, plugin).await?;
        let mut row = self.tenant_plugin_row(tenant, plugin).await?;
        let version = match &row.current_version {
            Some(version) => version.clone(),
            None => self.inner.db.get_plugin(plugin).await?.version,
        };
        let release = self.release(plugin, &version).await?;
        let (_, artifact) = self.artifact(&release.digest).await?;
        let files = artifact.migrations.iter().map(|(name, file)| (name, file.bytes.as_slice()));
        let downs = self.inner.storage.down_migrations(files)?;

        let act = Act::new(actor, clock::now_micros());
        (row.enabled, row.status) = (false, TenantPluginStatus::Disabled);
        row.last_error = Some(format!("its migrations behind {to:04} were undone"));
        let mut tx = self.inner.db.begin().await?;
        tx.put_tenant_plugin(&row, "plugin.migrate-down", &act).await?;
        tx.commit().await?;
        let snapshot = self.snapshot();
        if let Some(enabled) = snapshot.tenants.get(tenant).and_then(|view| view.plugin(plugin.as_str())) {
            end_calls(enabled).await;
        }
        self.unmount(tenant, plugin).await;
        let store = self.inner.storage.store(tenant, plugin, Limits::DEFAULT.storage_bytes);
        store.revert(downs, to, act.at).await?;
        self.migrations_of(&row, &release).await
    }

    /// Runs an operation of migrations to its end; also one that was interrupted: tenants that are through are left alone.
    pub(crate) async fn run_migrate(&self, operation: &OperationRow) -> Result<(), Error> {
        let request: MigrationRequest = serde_json::from_str(&operation.request).unwrap_or_default();
        let run = if operation.kind == "migrate" { Run::Apply } else { Run::DryRun };
        let mut progress = Progress::new(self, operation);
        let release = match self.release(&operation.plugin_id, &operation.version).await {
            Ok(release) => release,
            Err(error) => return self.end(&mut progress, Some(&error)).await,
        };
        let (done, mut failed) = self.known_results(&operation.operation_id).await?;
        let mut rows = self.inner.db.list_plugin_tenants(&operation.plugin_id).await?;
        rows.retain(|row| request.takes(row));
        let total = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        rows.retain(|row| !done.contains(&row.tenant_id));
        let mut through = total.saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        progress.step("migrate", through, total).await?;

        let at_once = usize::try_from(request.batch_size.clamp(1, BATCH_SIZE_MAX)).unwrap_or(1);
        let runs = rows.into_iter().map(|row| {
            let (host, release) = (self.clone(), Arc::clone(&release));
            async move {
                let work = AssertUnwindSafe(host.migrate_tenant(&row, &release, run)).catch_unwind();
                let unexpected = || Err(Error::NotServing("the run ended unexpectedly".to_owned()));
                let outcome = work.await.unwrap_or_else(|_panic| unexpected());
                (row.tenant_id, outcome)
            }
        });
        let mut runs = Fan::out(runs, at_once);
        while let Some((tenant, outcome)) = runs.next().await {
            if self.inner.stopping.is_cancelled() {
                // The operation stays `running`: the next start goes on with the tenants that have no result.
                return Ok(());
            }
            self.put_result(&operation.operation_id, &tenant, &outcome).await?;
            match outcome {
                Ok(_) => failed.remove(&tenant),
                Err(_) => failed.insert(tenant),
            };
            through = through.saturating_add(1);
            progress.step("migrate", through, total).await?;
        }
        let error = (!failed.is_empty()).then(|| failures(&failed, total));
        self.end(&mut progress, error.as_ref()).await
    }

    async fn end(&self, progress: &mut Progress<'_>, error: Option<&Error>) -> Result<(), Error> {
        let mut tx = self.inner.db.begin().await?;
        progress.finish(&mut tx, error).await?;
        Ok(tx.commit().await?)
    }

    /// One tenant; a plugin that does not serve there, since its migrations failed before, starts when they are through.
    async fn migrate_tenant(
        &self,
        row: &TenantPluginRow,
        release: &Arc<Release>,
        run: Run,
    ) -> Result<Vec<Applied>, Error> {
        let _turn = self.inner.acts.both(&row.tenant_id, &row.plugin_id).await?;
        // As it is stored by now: an admin may have changed it since the run began.
        let row = self.tenant_plugin_row(&row.tenant_id, &row.plugin_id).await?;
        let serves = self.serves(&row.tenant_id, &row.plugin_id);
        let verdict = self.verdict(release, &row.tenant_id)?;
        let migrated = self.migrate_storage(&row.tenant_id, release, &verdict, run).await;
        if run == Run::Apply && !serves {
            match &migrated {
                Ok(_) => self.start_stored(&row, release).await?,
                Err(error) => drop(self.record_start(&row, release, Some(error)).await?),
            }
        }
        match migrated? {
            Migrated { applied, held: None } => Ok(applied),
            Migrated { held: Some(reason), .. } => Err(Error::Conflict(reason)),
        }
    }

    /// Tenants that are through, and among them those that failed.
    async fn known_results(&self, operation: &str) -> Result<(BTreeSet<TenantId>, BTreeSet<TenantId>), Error> {
        let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let mut after = String::new();
        loop {
            let rows = self.inner.db.list_operation_results(operation, &after, RESULTS_PAGE).await?;
            let Some(last) = rows.last() else { return Ok((done, failed)) };
            after = last.tenant_id.to_string();
            for row in rows {
                if row.outcome == FAILED {
                    failed.insert(row.tenant_id.clone());
                }
                done.insert(row.tenant_id);
            }
        }
    }

    async fn put_result(
        &self,
        operation: &str,
        tenant: &TenantId,
        outcome: &Result<Vec<Applied>, Error>,
    ) -> Result<(), Error> {
        let (outcome, detail) = match outcome {
            Ok(applied) => {
                let applied: Vec<_> = applied.iter().map(|applied| named(applied.number, &applied.name)).collect();
                (DONE, json!({ "migrations": applied }))
            }
            Err(error) => (FAILED, json!({ "code": error.code().as_str(), "detail": error.detail() })),
        };
        let result = OperationResult {
            tenant_id: tenant.clone(),
            outcome: outcome.to_owned(),
            detail: detail.to_string(),
            at: clock::now_micros(),
        };
        let mut tx = self.inner.db.begin().await?;
        tx.put_operation_result(operation, &result).await?;
        Ok(tx.commit().await?)
    }
}

const DONE: &str = "done";
const FAILED: &str = "failed";

/// A migration as its file is called.
fn named(number: u32, name: &str) -> String {
    format!("{number:04}_{name}")
}

fn failures(failed: &BTreeSet<TenantId>, total: u64) -> Error {
    let mut names: Vec<_> = failed.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if failed.len() > NAMED_MAX {
        names.push("...".to_owned());
    }
    Error::TenantsFailed(format!("{} of {total} tenants failed: {}", failed.len(), names.join(", ")))
}
