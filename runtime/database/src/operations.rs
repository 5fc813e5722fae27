//! Long work in steps, written down so that it can be followed and, after a crash, taken up again.
//! It runs nothing.

use bulkhead_model::{PluginId, TenantId, Version};

use crate::db::{Db, Tx, on_engine, parsed, single_reads};
use crate::error::Error;

/// Most running operations that the list shows.
const RUNNING_MAX: i64 = 10_000;

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id, a random UUID.
    pub operation_id: String,
    /// What is done, for example `install`.
    pub kind: String,
    /// The plugin.
    pub plugin_id: PluginId,
    /// The version.
    pub version: Version,
    /// `running`, `pending-review`, `succeeded` or `failed`.
    pub status: String,
    /// What was asked for, JSON text.
    pub request: String,
    /// The steps so far, JSON text.
    pub steps: String,
    /// Code of the error that ended it.
    pub error_code: Option<String>,
    /// Its text.
    pub error_detail: Option<String>,
    /// Who started it.
    pub started_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
    /// Last step.
    pub updated_at: i64,
}

/// An operation to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewOperation<'a> {
    /// What is done.
    pub kind: &'a str,
    /// The plugin.
    pub plugin_id: &'a PluginId,
    /// The version.
    pub version: &'a Version,
    /// What is asked for beyond that, JSON text; `{}` where there is nothing.
    pub request: &'a str,
    /// Who starts it.
    pub actor: &'a str,
}

/// How an operation went in one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationResult {
    /// The tenant.
    pub tenant_id: TenantId,
    /// `done` or `failed`.
    pub outcome: String,
    /// What was done, or why it failed, JSON text.
    pub detail: String,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationEnd {
    /// All steps were done.
    Succeeded,
    /// Not yet: it waits for a reviewer and goes on with [`Tx::resume_operation`].
    PendingReview {
        /// Code of what it waits for.
        code: &'static str,
        /// Its text.
        detail: String,
    },
    /// A step failed.
    Failed {
        /// Code of the error.
        code: &'static str,
        /// Its text.
        detail: String,
    },
}

type Columns =
    (String, String, String, String, String, String, String, Option<String>, Option<String>, String, i64, i64);
type ResultColumns = (String, String, String, i64);

impl Tx {
    /// Begins an operation at `at`, in microseconds since 1970.
    pub async fn insert_operation(&mut self, new: &NewOperation<'_>, at: i64) -> Result<OperationRow, Error> {
        const INSERT_OPERATION: &str = "INSERT INTO operations \
             (operation_id, kind, plugin_id, version, status, request, steps, started_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 'running', $5, '[]', $6, $7, $7)";
        let operation_id = uuid::Uuid::new_v4().to_string();
        on_engine!(self, |conn| {
            sqlx::query(INSERT_OPERATION)
                .bind(&operation_id)
                .bind(new.kind)
                .bind(new.plugin_id.as_str())
                .bind(new.version.to_string())
                .bind(new.request)
                .bind(new.actor)
                .bind(at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_operation"))?;
        Ok(OperationRow {
            operation_id,
            kind: new.kind.to_owned(),
            plugin_id: new.plugin_id.clone(),
            version: new.version.clone(),
            status: "running".to_owned(),
            request: new.request.to_owned(),
            steps: "[]".to_owned(),
            error_code: None,
            error_detail: None,
            started_by: new.actor.to_owned(),
            created_at: at,
            updated_at: at,
        })
    }

    /// Writes down how far a running operation is.
    pub async fn set_operation_steps(&mut self, operation: &str, steps: &str, at: i64) -> Result<(), Error> {
        const SET_OPERATION_STEPS: &str =
            "UPDATE operations SET steps = $1, updated_at = $2 WHERE operation_id = $3 AND status = 'running'";
        on_engine!(self, |conn| sqlx::query(SET_OPERATION_STEPS)
            .bind(steps)
            .bind(at)
            .bind(operation)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("set_operation_steps"))
    }

    /// Ends a running operation, in the transaction of what ended with it. One that has ended stays as it is.
    pub async fn finish_operation(
        &mut self,
        operation: &str,
        steps: &str,
        end: &OperationEnd,
        at: i64,
    ) -> Result<(), Error> {
        const FINISH_OPERATION: &str = "UPDATE operations SET status = $1, steps = $2, error_code = $3, error_detail = $4, updated_at = $5 \
             WHERE operation_id = $6 AND status = 'running'";
        let (status, code, detail) = match end {
            OperationEnd::Succeeded => ("succeeded", None, None),
            OperationEnd::PendingReview { code, detail } => ("pending-review", Some(*code), Some(detail.as_str())),
            OperationEnd::Failed { code, detail } => ("failed", Some(*code), Some(detail.as_str())),
        };
        on_engine!(self, |conn| {
            sqlx::query(FINISH_OPERATION)
                .bind(status)
                .bind(steps)
                .bind(code)
                .bind(detail)
                .bind(at)
                .bind(operation)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("finish_operation"))
    }

    /// Lets an operation go on that waits for a reviewer; says whether it waited.
    pub async fn resume_operation(&mut self, operation: &str, at: i64) -> Result<bool, Error> {
        const RESUME_OPERATION: &str = "UPDATE operations SET status = 'running', holder = NULL, held_until = 0, error_code = NULL, error_detail = NULL, \
             updated_at = $1 \
             WHERE operation_id = $2 AND status = 'pending-review'";
        let resumed = on_engine!(self, |conn| {
            sqlx::query(RESUME_OPERATION).bind(at).bind(operation).execute(conn).await.map(|done| done.rows_affected())
        })
        .map_err(Error::query("resume_operation"))?;
        Ok(resumed > 0)
    }

    /// The operation, if there is one.
    pub async fn find_operation(&mut self, operation: &str) -> Result<Option<OperationRow>, Error> {
        const FIND_OPERATION: &str = "SELECT operation_id, kind, plugin_id, version, status, request, steps, error_code, error_detail, started_by, \
             created_at, updated_at FROM operations WHERE operation_id = $1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_OPERATION).bind(operation).fetch_optional(conn).await)
                .map_err(Error::query("find_operation"))?;
        found.map(row).transpose()
    }

    /// The operations that have not ended, oldest first.
    pub async fn list_running_operations(&mut self) -> Result<Vec<OperationRow>, Error> {
        const LIST_RUNNING_OPERATIONS: &str = "SELECT operation_id, kind, plugin_id, version, status, request, steps, error_code, error_detail, \
             started_by, created_at, updated_at FROM operations WHERE status = 'running' ORDER BY created_at, operation_id LIMIT $1";
        let rows: Vec<Columns> =
            on_engine!(self, |conn| sqlx::query_as(LIST_RUNNING_OPERATIONS).bind(RUNNING_MAX).fetch_all(conn).await)
                .map_err(Error::query("list_running_operations"))?;
        rows.into_iter().map(row).collect()
    }

    /// Takes a running operation up for `holder` until `until`, or keeps it. Says whether it did: somebody else may hold it.
    /// Times are in microseconds since 1970.
    pub async fn hold_operation(&mut self, operation: &str, holder: &str, now: i64, until: i64) -> Result<bool, Error> {
        const HOLD_OPERATION: &str = "UPDATE operations SET holder = $1, held_until = $2 WHERE operation_id = $3 \
             AND status = 'running' AND (holder IS NULL OR holder = $1 OR held_until < $4)";
        let held = on_engine!(self, |conn| {
            sqlx::query(HOLD_OPERATION)
                .bind(holder)
                .bind(until)
                .bind(operation)
                .bind(now)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("hold_operation"))?;
        Ok(held > 0)
    }

    /// Writes down how an operation went in a tenant; a second word replaces the first.
    pub async fn put_operation_result(&mut self, operation: &str, result: &OperationResult) -> Result<(), Error> {
        const PUT_OPERATION_RESULT: &str = "INSERT INTO operation_results (operation_id, tenant_id, outcome, detail, at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (operation_id, tenant_id) DO UPDATE SET outcome = excluded.outcome, \
             detail = excluded.detail, at = excluded.at";
        on_engine!(self, |conn| {
            sqlx::query(PUT_OPERATION_RESULT)
                .bind(operation)
                .bind(result.tenant_id.as_str())
                .bind(&result.outcome)
                .bind(&result.detail)
                .bind(result.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_operation_result"))
    }

    /// How an operation went, by tenant, those behind `after`; the empty text begins.
    pub async fn list_operation_results(
        &mut self,
        operation: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<OperationResult>, Error> {
        const LIST_OPERATION_RESULTS: &str = "SELECT tenant_id, outcome, detail, at FROM operation_results \
             WHERE operation_id = $1 AND tenant_id > $2 ORDER BY tenant_id LIMIT $3";
        let rows: Vec<ResultColumns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_OPERATION_RESULTS)
                .bind(operation)
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_operation_results"))?;
        rows.into_iter().map(result_row).collect()
    }
}

impl Db {
    /// Writes down how far a running operation is, in a transaction of its own.
    pub async fn set_operation_steps(&self, operation: &str, steps: &str, at: i64) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.set_operation_steps(operation, steps, at).await?;
        tx.commit().await
    }
}

single_reads! {
    /// How an operation went, by tenant, those behind `after`; the empty text begins.
    list_operation_results(operation: &str, after: &str, limit: u32) -> Vec<OperationResult>;
    /// The operation, if there is one.
    find_operation(operation: &str) -> Option<OperationRow>;
    /// The operations that have not ended, oldest first.
    list_running_operations() -> Vec<OperationRow>;
}

fn row(row: Columns) -> Result<OperationRow, Error> {
    Ok(OperationRow {
        operation_id: row.0,
        kind: row.1,
        plugin_id: parsed("plugin_id", &row.2)?,
        version: parsed("version", &row.3)?,
        status: row.4,
        request: row.5,
        steps: row.6,
        error_code: row.7,
        error_detail: row.8,
        started_by: row.9,
        created_at: row.10,
        updated_at: row.11,
    })
}

fn result_row((tenant_id, outcome, detail, at): ResultColumns) -> Result<OperationResult, Error> {
    Ok(OperationResult { tenant_id: parsed("tenant_id", &tenant_id)?, outcome, detail, at })
}
