//! Takes up what a crash or an error interrupted: operations that are still running in the database, and deletions of
//! tenants. Each of their steps can be repeated; what this node works at is left alone.

use bulkhead_database::TenantStatus;
use bulkhead_model::Coded;

use crate::error::Error;
use crate::host::Host;

/// Tenants of one read.
const PAGE: u32 = 1_000;

pub(crate) async fn run(host: &Host) -> Result<(), Error> {
    for operation in host.inner.db.list_running_operations().await? {
        if host.inner.operations.lock().contains(&operation.operation_id) {
            continue;
        }
        tracing::info!(operation.id = %operation.operation_id, plugin.id = %operation.plugin_id, "taking up an interrupted operation");
        host.run_operation(operation);
    }
    delete_tenants(host).await
}

async fn delete_tenants(host: &Host) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let rows = host.inner.db.list_tenants(&after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.tenant_id.to_string();
        for row in rows.into_iter().filter(|row| row.status == TenantStatus::Deleting) {
            tracing::info!(tenant.id = %row.tenant_id, "taking up the deletion of a tenant");
            if let Err(error) = host.resume_deletion(&row.tenant_id).await {
                tracing::error!(tenant.id = %row.tenant_id, code = %error.code(), error = &error as &dyn std::error::Error, "a tenant could not be deleted yet");
            }
        }
    }
}
