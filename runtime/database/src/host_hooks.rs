//! Hooks that the host application declares.
//! Hooks that plugins declare are in their manifests.

use bulkhead_model::HookName;
use bulkhead_model::manifest::{HookKind, OnFailure};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, readable, single_reads};
use crate::error::Error;

/// Most hooks that the list shows.
const HOOKS_MAX: i64 = 100_000;

/// A declared hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRow {
    /// Its name.
    pub name: HookName,
    /// Whether it changes a value or is told.
    pub kind: HookKind,
    /// JSON Schema of its payload, JSON text.
    pub schema: Option<String>,
    /// What a failing plugin does to the chain.
    pub on_failure: OnFailure,
    /// Last declared, in microseconds since 1970.
    pub updated_at: i64,
}

type Columns = (String, String, Option<String>, String, i64);

impl Tx {
    /// Declares a hook, or replaces its declaration.
    pub async fn put_hook(&mut self, hook: &HookRow, act: &Act) -> Result<(), Error> {
        const PUT_HOOK: &str = "INSERT INTO host_hooks (name, kind, schema, on_failure, updated_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, schema = excluded.schema, on_failure = excluded.on_failure, \
             updated_at = excluded.updated_at";
        on_engine!(self, |conn| {
            sqlx::query(PUT_HOOK)
                .bind(hook.name.as_str())
                .bind(hook.kind.as_str())
                .bind(&hook.schema)
                .bind(hook.on_failure.as_str())
                .bind(hook.updated_at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_hook"))?;
        let detail = serde_json::json!({ "hook": hook.name.as_str(), "kind": hook.kind.as_str(), "on_failure": hook.on_failure.as_str() });
        self.append_audit(act, "hook.declare", None, None, &detail.to_string()).await?;
        self.count_change().await
    }

    /// Removes a declaration; says whether there was one.
    pub async fn delete_hook(&mut self, name: &HookName, act: &Act) -> Result<bool, Error> {
        const DELETE_HOOK: &str = "DELETE FROM host_hooks WHERE name = $1";
        let deleted = on_engine!(self, |conn| {
            sqlx::query(DELETE_HOOK).bind(name.as_str()).execute(conn).await.map(|done| done.rows_affected())
        })
        .map_err(Error::query("delete_hook"))?;
        if deleted == 0 {
            return Ok(false);
        }
        let detail = serde_json::json!({ "hook": name.as_str() }).to_string();
        self.append_audit(act, "hook.remove", None, None, &detail).await?;
        self.count_change().await?;
        Ok(true)
    }

    /// The declared hooks by name.
    pub async fn list_hooks(&mut self) -> Result<Vec<HookRow>, Error> {
        const LIST_HOOKS: &str =
            "SELECT name, kind, schema, on_failure, updated_at FROM host_hooks ORDER BY name LIMIT $1";
        let rows: Vec<Columns> =
            on_engine!(self, |conn| sqlx::query_as(LIST_HOOKS).bind(HOOKS_MAX).fetch_all(conn).await)
                .map_err(Error::query("list_hooks"))?;
        Ok(readable("list_hooks", rows, row))
    }
}

single_reads! {
    /// The declared hooks by name.
    list_hooks() -> Vec<HookRow>;
}

fn row((name, kind, schema, on_failure, updated_at): Columns) -> Result<HookRow, Error> {
    let kind = [HookKind::Filter, HookKind::Action].into_iter().find(|known| known.as_str() == kind);
    let on_failure = [OnFailure::Open, OnFailure::Closed].into_iter().find(|known| known.as_str() == on_failure);
    Ok(HookRow {
        name: parsed("name", &name)?,
        kind: kind.ok_or(Error::Corrupt { column: "kind" })?,
        schema,
        on_failure: on_failure.ok_or(Error::Corrupt { column: "on_failure" })?,
        updated_at,
    })
}
