//! Long work as people follow it: steps, progress, outcome. It does none of the work.

use std::time::{Duration, Instant};

use bulkhead_database::{OperationEnd, OperationResult, OperationRow, Tx};
use bulkhead_model::{Actor, Code, Coded};
use tokio::task::JoinHandle;

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::fleet::page_of;
use crate::usecase::together::TOGETHER;
use crate::view::{self, Page, PageRequest};

impl Host {
    /// Where an operation is.
    pub async fn get_operation(&self, actor: &Actor, id: &str) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        let row = self.inner.db.find_operation(id).await?;
        view_operation(row.ok_or_else(|| Error::not_found("operation", &id.chars().take(64).collect::<String>()))?)
    }

    /// How an operation over many tenants went in each, by tenant.
    pub async fn list_operation_results(
        &self,
        actor: &Actor,
        id: &str,
        page: &PageRequest,
    ) -> Result<Page<view::OperationResult>, Error> {
        self.get_operation(actor, id).await?;
        let after = page.cursor.as_deref().unwrap_or("");
        let rows = self.inner.db.list_operation_results(id, after, page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.tenant_id.to_string());
        let view = |row: OperationResult| view::OperationResult {
            tenant_id: row.tenant_id,
            outcome: row.outcome,
            detail: row.detail,
            at: row.at,
        };
        Ok(Page { items: page.items.into_iter().map(view).collect(), next_cursor: page.next_cursor })
    }

    /// Runs an operation to its end in a task of its own, so that it goes on when its caller is gone. One that runs already,
    /// here or on another host, or has ended, is left alone.
    pub(crate) fn run_operation(&self, operation: OperationRow) -> JoinHandle<()> {
        let host = self.clone();
        self.inner.tasks.spawn(async move {
            let Some(_running) = Running::enter(&host, &operation.operation_id) else { return };
            match host.hold(&operation.operation_id).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(operation.id = %operation.operation_id, error = &error as &dyn std::error::Error, "an operation could not begin and is tried again later");
                    return;
                }
            }
            let work = async {
                match operation.kind.as_str() {
                    "install" => host.run_install(&operation).await,
                    TOGETHER => host.run_together(&operation).await,
                    "migrate" | "migrate-dry-run" => host.run_migrate(&operation).await,
                    _ => host.run_uninstall(&operation).await,
                }
            };
            let ended = tokio::select! {
                ended = work => ended,
                () = host.keep_holding(&operation.operation_id) => {
                    tracing::error!(operation.id = %operation.operation_id, "another host took the operation up; it goes on there");
                    return;
                }
            };
            if let Err(error) = ended {
                tracing::error!(operation.id = %operation.operation_id, plugin.id = %operation.plugin_id, code = %error.code(), error = &error as &dyn std::error::Error, "an operation did not end and is tried again later");
            }
        })
    }

    /// Takes a running operation up, or keeps it, for some time; not if another host holds it.
    async fn hold(&self, id: &str) -> Result<bool, Error> {
        let now = clock::now_micros();
        let until = now.saturating_add(i64::try_from(HOLD.as_micros()).unwrap_or(i64::MAX));
        let mut tx = self.inner.db.begin().await?;
        let held = tx.hold_operation(id, &self.inner.node, now, until).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Returns when the operation is no longer this host's.
    async fn keep_holding(&self, id: &str) {
        loop {
            tokio::time::sleep(HOLD / 3).await;
            match self.hold(id).await {
                Ok(true) => {}
                Ok(false)
                    if self
                        .inner
                        .db
                        .find_operation(id)
                        .await
                        .is_ok_and(|row| row.is_some_and(|row| row.status == "running")) =>
                {
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(operation.id = %id, code = %error.code(), "failed to say that an operation goes on");
                }
            }
        }
    }
}

/// Time for which a host that works at an operation holds it; one that died is followed by another after that.
const HOLD: Duration = Duration::from_secs(60);

/// The mark of an operation that runs on this node; it goes with the task, however that ends.
struct Running<'a> {
    host: &'a Host,
    id: &'a str,
}

impl<'a> Running<'a> {
    fn enter(host: &'a Host, id: &'a str) -> Option<Self> {
        host.inner.operations.lock().insert(id.to_owned()).then_some(Self { host, id })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.host.inner.operations.lock().remove(self.id);
    }
}

/// Writes the steps of one operation as they happen.
pub(crate) struct Progress<'host> {
    host: &'host Host,
    id: String,
    steps: Vec<view::OperationStep>,
    written_at: Option<Instant>,
}

/// Time between two writes of how far one step is: people follow it, and a thousand small steps are soon done.
const WRITE_PERIOD: Duration = Duration::from_millis(100);

impl<'host> Progress<'host> {
    pub(crate) fn new(host: &'host Host, operation: &OperationRow) -> Self {
        Self { host, id: operation.operation_id.clone(), steps: Vec::new(), written_at: None }
    }

    /// Records that `done` of `total` of the step `name` are done.
    pub(crate) async fn step(&mut self, name: &str, done: u64, total: u64) -> Result<(), Error> {
        let goes_on = match self.steps.last_mut() {
            Some(last) if last.name == name => {
                (last.done, last.total) = (done, total);
                done < total
            }
            Some(_) | None => {
                self.steps.push(view::OperationStep { name: name.to_owned(), done, total });
                false
            }
        };
        if goes_on && self.written_at.is_some_and(|at| at.elapsed() < WRITE_PERIOD) {
            return Ok(());
        }
        self.written_at = Some(Instant::now());
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

    /// Records that it waits for a reviewer, in the transaction of what waits.
    pub(crate) async fn wait(&mut self, tx: &mut Tx, detail: String) -> Result<(), Error> {
        let end = OperationEnd::PendingReview { code: Code::PendingReview.as_str(), detail };
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
        "pending-review" => view::OperationStatus::PendingReview,
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
