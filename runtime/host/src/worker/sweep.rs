//! Takes up what a crash interrupted: every operation that is still running in the database goes on from its beginning;
//! each of its steps can be repeated.

use bulkhead_database::OperationRow;
use bulkhead_model::Coded;

use crate::error::Error;
use crate::host::Host;

pub(crate) async fn run(host: &Host) -> Result<(), Error> {
    for operation in host.inner.db.list_running_operations().await? {
        tracing::info!(operation.id = %operation.operation_id, plugin.id = %operation.plugin_id, "taking up an interrupted operation");
        match operation.kind.as_str() {
            "install" => host.run_install(operation),
            _ => uninstall(host, &operation).await,
        }
    }
    Ok(())
}

async fn uninstall(host: &Host, operation: &OperationRow) {
    if let Err(error) = host.run_uninstall(operation).await {
        tracing::error!(plugin.id = %operation.plugin_id, code = %error.code(), "an interrupted uninstall failed again");
    }
}
