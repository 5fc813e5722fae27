//! Long work as people follow it: steps, progress, outcome. It does none of the work.

use bulkhead_database::{OperationEnd, OperationRow, Tx};
use bulkhead_model::{Actor, Code, Coded};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::view;

impl Host {
    /// Where an operation is.
    pub async fn get_operation(&self, actor: &Actor, id: &str) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        let row = self.inner.db.find_operation(id).await?;
        view_operation(row.ok_or_else(|| Error::not_found("operation", &id.chars().take(64).collect::<String>()))?)
    }
}

/// Writes the steps of one operation as they happen.
pub(crate) struct Progress<'host> {
    host: &'host Host,
    id: String,
    steps: Vec<view::OperationStep>,
}

impl<'host> Progress<'host> {
    pub(crate) fn new(host: &'host Host, operation: &OperationRow) -> Self {
        Self { host, id: operation.operation_id.clone(), steps: Vec::new() }
    }

    /// Records that `done` of `total` of the step `name` are done.
    pub(crate) async fn step(&mut self, name: &str, done: u64, total: u64) -> Result<(), Error> {
        match self.steps.last_mut() {
            Some(last) if last.name == name => (last.done, last.total) = (done, total),
            Some(_) | None => self.steps.push(view::OperationStep { name: name.to_owned(), done, total }),
        }
        self.host.inner.db.set_operation_steps(&self.id, &self.text(), clock::now_micros()).await?;
        Ok(())
    }

    /// Records the end, in the transaction of what ended.
    pub(crate) async fn finish(&mut self, tx: &mut Tx, error: Option<&Error>) -> Result<(), Error> {
        let end = match error {
            None => OperationEnd::Succeeded,
            Some(error) => OperationEnd::Failed { code: error.code().as_str(), detail: error.detail() },
        };
        Ok(tx.finish_operation(&self.id, &self.text(), &end, clock::now_micros()).await?)
    }

    fn text(&self) -> String {
        serde_json::to_string(&self.steps).unwrap_or_else(|error| unreachable!("steps are names and numbers: {error}"))
    }
}

pub(crate) fn view_operation(row: OperationRow) -> Result<view::Operation, Error> {
    let status = match row.status.as_str() {
        "succeeded" => view::OperationStatus::Succeeded,
        "failed" => view::OperationStatus::Failed,
        _ => view::OperationStatus::Running,
    };
    let error = row.error_code.map(|code| view::OperationError {
        code: Code::find(&code).unwrap_or(Code::Internal),
        detail: row.error_detail.unwrap_or_default(),
    });
    Ok(view::Operation {
        id: row.operation_id,
        kind: row.kind,
        plugin: row.plugin_id,
        version: row.version,
        status,
        steps: serde_json::from_str(&row.steps).unwrap_or_default(),
        error,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
