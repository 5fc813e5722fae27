//! Archives of what plugins keep: of a tenant as a stream, of a plugin that is uninstalled as a file.
//! Calls go on meanwhile: each plugin's tables are those of one moment. What an archive holds is in [`super::archive`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::{Act, OperationRow, TenantStatus};
use bulkhead_model::{Actor, TenantId};
use bytes::Bytes;
use serde_json::json;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWrite, DuplexStream};
use tokio::sync::oneshot;

use super::archive::{FORMAT_VERSION, failed, time};
use crate::archive::Archive;
use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::operation::Progress;
use crate::view::OperationStep;

/// Archives that are streamed at once.
pub(crate) const EXPORTS_MAX: usize = 2;
/// Time that an archive may take to be written and taken.
const EXPORT_MAX: Duration = Duration::from_secs(60 * 60);
/// Bytes that wait for whoever takes them.
const PIPE_BYTES: usize = 256 << 10;

/// An archive that is being written while it is taken. Dropping it ends the writing.
#[derive(Debug)]
pub struct Export {
    /// A name for the file.
    pub file_name: String,
    pipe: DuplexStream,
    /// Whether it was written to its end.
    written: oneshot::Receiver<()>,
}

impl Export {
    /// Further bytes; `None` at the end of a whole archive, an error where it could not be written to its end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut bytes = Vec::with_capacity(PIPE_BYTES);
        match self.pipe.read_buf(&mut bytes).await {
            Err(error) => Some(Err(error)),
            Ok(0) if (&mut self.written).await.is_ok() => None,
            Ok(0) => Some(Err(io::Error::other("the archive could not be written to its end"))),
            Ok(_) => Some(Ok(bytes.into())),
        }
    }
}

impl Host {
    /// Begins to archive what all plugins keep in a tenant, suspended or not.
    pub async fn export_tenant(&self, actor: &Actor, tenant: &TenantId) -> Result<Export, Error> {
        require_super_admin(actor)?;
        if self.existing_tenant(tenant).await?.status == TenantStatus::Deleting {
            return Err(Error::Conflict(format!("the tenant `{tenant}` is being deleted")));
        }
        let room = Arc::clone(&self.inner.exports).try_acquire_owned();
        let room = room.map_err(|_| Error::Busy("as many archives as may are being written"))?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.append_audit(&act, "tenant.export", None, Some(tenant), "{}").await?;
        tx.commit().await?;
        let (out, pipe) = tokio::io::duplex(PIPE_BYTES);
        let (finished, written) = oneshot::channel();
        let (host, name) = (self.clone(), tenant.clone());
        self.inner.tasks.spawn(async move {
            let _room = room;
            let work = tokio::time::timeout(EXPORT_MAX, host.write_tenant(&name, out, act.at));
            let ended = tokio::select! {
                ended = work => ended.unwrap_or(Err(Error::Busy("the archive took too long"))),
                () = host.inner.stopping.cancelled() => Err(Error::Draining),
            };
            match ended {
                // Whoever wanted it may have gone.
                Ok(()) => finished.send(()).unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(tenant.id = %name, error = &error as &dyn std::error::Error, "an archive was not written to its end");
                }
            }
        });
        let stamp: String =
            time(act.at).chars().filter(char::is_ascii_alphanumeric).take("20261121T000000".len()).collect();
        Ok(Export { file_name: format!("{tenant}-{stamp}Z.tar"), pipe, written })
    }

    async fn write_tenant(&self, tenant: &TenantId, out: impl AsyncWrite + Unpin + Send, at: i64) -> Result<(), Error> {
        let mut rows = self.inner.db.list_tenant_plugins(tenant).await?;
        rows.sort_by(|one, other| one.plugin_id.cmp(&other.plugin_id));
        let mut plugins = Vec::with_capacity(rows.len());
        for row in &rows {
            plugins.push(self.manifest_entry(&row.plugin_id, row.current_version.as_ref()).await?);
        }
        let manifest = json!({
            "format_version": FORMAT_VERSION,
            "tenant": tenant.as_str(),
            "created_at": time(at),
            "plugins": plugins,
        });
        let mut archive = Archive::begin(out, &self.archives().await?, seconds(at)).await.map_err(failed)?;
        archive.put("manifest.json", format!("{manifest:#}\n").as_bytes()).await.map_err(failed)?;
        for row in &rows {
            self.put_plugin(&mut archive, "", row).await?;
        }
        archive.finish().await.map(drop).map_err(failed)
    }

    /// Writes the archive of an uninstall: what the plugin keeps in every tenant, on disk when this returns. An archive
    /// that is whole already is left as it is: what it holds may be gone by now.
    pub(super) async fn archive_plugin(
        &self,
        operation: &OperationRow,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        let tenants = self.inner.db.list_tenants_with_record(&operation.plugin_id).await?;
        // The last of the steps is that all of it is on disk.
        let total = u64::try_from(tenants.len()).unwrap_or(u64::MAX).saturating_add(1);
        let folder = self.archives().await?;
        let path = folder.join(format!("{}-{}.tar", operation.plugin_id, operation.operation_id));
        if !tokio::fs::try_exists(&path).await.map_err(failed)? {
            let partial = path.with_extension("tar.partial");
            let file = self.write_plugin(operation, &tenants, &folder, &partial, progress).await?;
            file.sync_all().await.map_err(failed)?;
            tokio::fs::rename(&partial, &path).await.map_err(failed)?;
        }
        File::open(&folder).await.map_err(failed)?.sync_all().await.map_err(failed)?;
        progress.step(ARCHIVE_STEP, total, total).await
    }

    async fn write_plugin(
        &self,
        operation: &OperationRow,
        tenants: &[TenantId],
        folder: &Path,
        path: &Path,
        progress: &mut Progress<'_>,
    ) -> Result<File, Error> {
        let plugin = &operation.plugin_id;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(path).await.map_err(failed)?;
        let manifest = json!({
            "format_version": FORMAT_VERSION,
            "tenants": tenants.len(),
            "created_at": time(operation.created_at),
            "plugins": [self.manifest_entry(plugin, Some(&operation.version)).await?],
        });
        let mut archive = Archive::begin(file, folder, seconds(operation.created_at)).await.map_err(failed)?;
        archive.put("manifest.json", format!("{manifest:#}\n").as_bytes()).await.map_err(failed)?;
        let total = u64::try_from(tenants.len()).unwrap_or(u64::MAX).saturating_add(1);
        for (done, tenant) in (0..).zip(tenants) {
            progress.step(ARCHIVE_STEP, done, total).await?;
            if let Some(row) = self.inner.db.find_tenant_plugin(tenant, plugin).await? {
                self.put_plugin(&mut archive, &format!("tenants/{tenant}/"), &row).await?;
            }
        }
        archive.finish().await.map_err(failed)
    }
}

/// The step of an uninstall in which the archive is written.
pub(super) const ARCHIVE_STEP: &str = "archive";

/// Whether a run of the operation before this one, maybe on another host, had its archive on disk.
pub(super) fn is_archived(operation: &OperationRow) -> bool {
    let steps: Vec<OperationStep> = serde_json::from_str(&operation.steps).unwrap_or_default();
    steps.iter().any(|step| step.name == ARCHIVE_STEP && step.done == step.total)
}

fn seconds(micros: i64) -> u64 {
    u64::try_from(micros / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uninstall_that_is_taken_up_knows_whether_its_archive_is_whole() {
        let check = |steps: &str, wanted: bool| {
            let operation = OperationRow {
                operation_id: "1".into(),
                kind: "uninstall-archive".into(),
                plugin_id: "acme.notes".parse().unwrap(),
                version: "1.0.0".parse().unwrap(),
                status: "running".into(),
                request: "{}".into(),
                steps: steps.into(),
                error_code: None,
                error_detail: None,
                started_by: "anna".into(),
                created_at: 0,
                updated_at: 0,
            };
            assert_eq!(is_archived(&operation), wanted, "{steps}");
        };
        check("[]", false);
        check(r#"[{"name":"unmount","done":1,"total":1}]"#, false);
        check(r#"[{"name":"unmount","done":1,"total":1},{"name":"archive","done":2,"total":3}]"#, false);
        check(r#"[{"name":"archive","done":3,"total":3},{"name":"drop","done":1,"total":2}]"#, true);
    }
}
