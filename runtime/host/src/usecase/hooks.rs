//! Declaring hooks: the host application says which exist and what their payload is. It dispatches none; `crate::hooks`
//! does.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_database::{Act, HookRow};
use bulkhead_model::manifest::{HookKind, Issue, OnFailure};
use bulkhead_model::{Actor, Code, Coded, HookName, Role, TenantId};

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::schema_of;
use crate::snapshot::DeclaredHook;
use crate::view;

/// Largest schema in bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Hooks that the host application may declare.
const HOOKS_MAX: usize = 4_096;

impl Host {
    /// Declares a hook, or replaces its declaration. `schema` is the JSON Schema of a filter's value or an action's
    /// arguments, JSON text.
    pub async fn declare_hook(
        &self,
        actor: &Actor,
        name: &HookName,
        kind: HookKind,
        schema: Option<&str>,
        on_failure: OnFailure,
    ) -> Result<view::Hook, Error> {
        require(actor, &[Role::Host, Role::SuperAdmin], "host")?;
        let row = HookRow {
            name: name.clone(),
            kind,
            schema: schema.map(str::to_owned),
            on_failure,
            updated_at: clock::now_micros(),
        };
        let declared = declared(&row)?;
        let _turn = self.inner.acts.declarations().await;
        let known = &self.snapshot().hooks;
        if known.len() >= HOOKS_MAX && !known.contains_key(name) {
            return Err(Error::Conflict(format!("at most {HOOKS_MAX} hooks can be declared")));
        }
        let mut tx = self.inner.db.begin().await?;
        tx.put_hook(&row, &Act::new(actor, row.updated_at)).await?;
        tx.commit().await?;
        self.change_hooks(|hooks| {
            hooks.insert(declared.name.clone(), Arc::new(declared));
        })
        .await;
        Ok(view_hook(row))
    }

    /// Removes a declaration; the hook can no longer be dispatched.
    pub async fn remove_hook(&self, actor: &Actor, name: &HookName) -> Result<(), Error> {
        require(actor, &[Role::Host, Role::SuperAdmin], "host")?;
        let _turn = self.inner.acts.declarations().await;
        let mut tx = self.inner.db.begin().await?;
        if !tx.delete_hook(name, &Act::new(actor, clock::now_micros())).await? {
            return Err(Error::UnknownHook { name: name.to_string(), kind: "hook" });
        }
        tx.commit().await?;
        self.change_hooks(|hooks| {
            hooks.remove(name);
        })
        .await;
        Ok(())
    }

    /// The host application's hooks, and with a tenant those that its plugins declare.
    pub async fn list_hooks(&self, actor: &Actor, tenant: Option<&TenantId>) -> Result<Vec<view::Hook>, Error> {
        require(actor, &[Role::Host, Role::SuperAdmin], "host")?;
        let mut hooks: Vec<view::Hook> = self.inner.db.list_hooks().await?.into_iter().map(view_hook).collect();
        let snapshot = self.snapshot();
        let view = tenant.and_then(|tenant| snapshot.tenants.get(tenant));
        for enabled in view.iter().flat_map(|view| view.plugins.values()) {
            hooks.extend(enabled.release.manifest.extension_points.iter().map(|point| view::Hook {
                name: point.name.clone(),
                kind: point.kind,
                schema: None,
                on_failure: OnFailure::Open,
                declared_by: enabled.plugin.to_string(),
            }));
        }
        hooks.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(hooks)
    }

    /// Reads the declarations into the snapshot. One that cannot be used is not declared: dispatching it fails, and nothing
    /// else does.
    pub(crate) async fn load_hooks(&self) -> Result<(), Error> {
        let rows = self.inner.db.list_hooks().await?;
        let mut hooks = HashMap::with_capacity(rows.len());
        for row in &rows {
            match declared(row) {
                Ok(hook) => {
                    hooks.insert(row.name.clone(), Arc::new(hook));
                }
                Err(error) => {
                    tracing::error!(hook = %row.name, code = %error.code(), issues = ?error.issues(), "a stored hook cannot be used")
                }
            }
        }
        self.change_hooks(|current| *current = hooks).await;
        Ok(())
    }

    async fn change_hooks(&self, change: impl FnOnce(&mut HashMap<HookName, Arc<DeclaredHook>>)) {
        self.change_snapshot(|snapshot| {
            let mut next = snapshot.clone();
            let mut hooks = HashMap::clone(&snapshot.hooks);
            change(&mut hooks);
            next.hooks = Arc::new(hooks);
            (next, ())
        })
        .await;
    }
}

fn declared(row: &HookRow) -> Result<DeclaredHook, Error> {
    let invalid =
        |reason: String| Error::Invalid { code: Code::InvalidInput, issues: vec![Issue::new("/schema", reason)] };
    let schema = match &row.schema {
        None => None,
        Some(text) if text.len() > SCHEMA_BYTES_MAX => {
            return Err(invalid(format!("a schema is at most {SCHEMA_BYTES_MAX} bytes long")));
        }
        Some(text) => {
            let value = serde_json::from_str(text).map_err(|error| invalid(format!("not JSON: {error}")))?;
            Some(schema_of(&value).map_err(invalid)?)
        }
    };
    Ok(DeclaredHook { name: row.name.clone(), kind: row.kind, on_failure: row.on_failure, schema })
}

fn view_hook(row: HookRow) -> view::Hook {
    view::Hook {
        name: row.name,
        kind: row.kind,
        schema: row.schema,
        on_failure: row.on_failure,
        declared_by: "host".to_owned(),
    }
}
