//! Tenants of the host.
//! What a tenant's plugins hold is in [`crate::tenant_plugins`] and [`crate::tenant`].

use bulkhead_model::TenantId;

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, single_reads};
use crate::error::Error;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Its id.
    pub tenant_id: TenantId,
    /// What it may do.
    pub status: TenantStatus,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

/// What a tenant may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantStatus {
    /// Its plugins serve.
    Active,
    /// Its plugins are stopped as a whole; everything is kept.
    Suspended,
    /// Its data is being deleted; there is no way back.
    Deleting,
}

impl TenantStatus {
    /// The status as JSON and SQL write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
        }
    }

    const fn audited(self) -> &'static str {
        match self {
            Self::Active => "tenant.resume",
            Self::Suspended => "tenant.suspend",
            Self::Deleting => "tenant.deleting",
        }
    }
}

type Columns = (String, String, i64);

impl Tx {
    /// Creates a tenant. One that exists is a conflict.
    pub async fn insert_tenant(&mut self, tenant: &TenantId, act: &Act) -> Result<TenantRow, Error> {
        const INSERT_TENANT: &str = "INSERT INTO tenants (tenant_id, status, created_at) VALUES ($1, $2, $3)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_TENANT)
                .bind(tenant.as_str())
                .bind(TenantStatus::Active.as_str())
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_tenant"))?;
        self.append_audit(act, "tenant.create", None, Some(tenant), "{}").await?;
        self.count_change().await?;
        Ok(TenantRow { tenant_id: tenant.clone(), status: TenantStatus::Active, created_at: act.at })
    }

    /// The tenant, if there is one.
    pub async fn find_tenant(&mut self, tenant: &TenantId) -> Result<Option<TenantRow>, Error> {
        const FIND_TENANT: &str = "SELECT tenant_id, status, created_at FROM tenants WHERE tenant_id = $1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_TENANT).bind(tenant.as_str()).fetch_optional(conn).await)
                .map_err(Error::query("find_tenant"))?;
        found.map(row).transpose()
    }

    /// Tenants by id, those behind `after`; the empty text begins.
    pub async fn list_tenants(&mut self, after: &str, limit: u32) -> Result<Vec<TenantRow>, Error> {
        const LIST_TENANTS: &str =
            "SELECT tenant_id, status, created_at FROM tenants WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| sqlx::query_as(LIST_TENANTS)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_tenants"))?;
        rows.into_iter().map(row).collect()
    }

    /// Sets what a tenant may do. One whose data is being deleted stays so: anything else is a conflict.
    pub async fn set_tenant_status(
        &mut self,
        tenant: &TenantId,
        status: TenantStatus,
        act: &Act,
    ) -> Result<TenantRow, Error> {
        const SET_TENANT_STATUS: &str =
            "UPDATE tenants SET status = $1 WHERE tenant_id = $2 RETURNING tenant_id, status, created_at";
        let known = self.find_tenant(tenant).await?.ok_or_else(|| not_found(tenant))?;
        if known.status == TenantStatus::Deleting && status != TenantStatus::Deleting {
            return Err(Error::Conflict { query: "set_tenant_status" });
        }
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(SET_TENANT_STATUS).bind(status.as_str()).bind(tenant.as_str()).fetch_optional(conn).await
        })
        .map_err(Error::query("set_tenant_status"))?;
        let found = found.ok_or_else(|| not_found(tenant))?;
        self.append_audit(act, status.audited(), None, Some(tenant), "{}").await?;
        self.count_change().await?;
        row(found)
    }

    /// Forgets a tenant and what its plugins' records say. Its entries in the audit log stay.
    pub async fn delete_tenant(&mut self, tenant: &TenantId, act: &Act) -> Result<(), Error> {
        const DELETE_HISTORY: &str = "DELETE FROM configuration_history WHERE tenant_id = $1";
        const DELETE_PLUGINS: &str = "DELETE FROM tenant_plugins WHERE tenant_id = $1";
        const DELETE_KILLS: &str = "DELETE FROM kills WHERE tenant_id = $1";
        const DELETE_FUEL: &str = "DELETE FROM fuel_usage WHERE tenant_id = $1";
        const DELETE_TENANT: &str = "DELETE FROM tenants WHERE tenant_id = $1";
        if self.find_tenant(tenant).await?.is_none() {
            return Err(not_found(tenant));
        }
        for statement in [DELETE_HISTORY, DELETE_PLUGINS, DELETE_KILLS, DELETE_FUEL, DELETE_TENANT] {
            on_engine!(self, |conn| sqlx::query(statement).bind(tenant.as_str()).execute(conn).await.map(drop))
                .map_err(Error::query("delete_tenant"))?;
        }
        self.append_audit(act, "tenant.delete", None, Some(tenant), "{}").await?;
        self.count_change().await
    }
}

single_reads! {
    /// The tenant, if there is one.
    find_tenant(tenant: &TenantId) -> Option<TenantRow>;
    /// Tenants by id, those behind `after`; the empty text begins.
    list_tenants(after: &str, limit: u32) -> Vec<TenantRow>;
}

fn not_found(tenant: &TenantId) -> Error {
    Error::NotFound { what: "tenant", name: tenant.to_string() }
}

fn row((tenant_id, status, created_at): Columns) -> Result<TenantRow, Error> {
    let status = [TenantStatus::Active, TenantStatus::Suspended, TenantStatus::Deleting]
        .into_iter()
        .find(|known| known.as_str() == status)
        .ok_or(Error::Corrupt { column: "status" })?;
    Ok(TenantRow { tenant_id: parsed("tenant_id", &tenant_id)?, status, created_at })
}
