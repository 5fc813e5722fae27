//! The account of fuel: what each plugin burnt in each tenant, by month and entry.
//! It bounds nothing; a call is refused by what the host remembers of it.

use bulkhead_model::{PluginId, TenantId};

use crate::db::{Tx, on_engine, parsed, signed, single_reads, unsigned};
use crate::error::Error;

/// Calls and fuel of a plugin in a tenant through one entry, in one month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuelRow {
    /// The plugin.
    pub plugin_id: PluginId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// How the guest was entered.
    pub entry: String,
    /// Calls that ran.
    pub calls: u64,
    /// Fuel units that they burnt.
    pub fuel_units: u64,
}

type Columns = (String, String, String, i64, i64);

impl Tx {
    /// Adds to the account of a month (`YYYY-MM`). A tenant that is gone has none.
    pub async fn add_fuel(&mut self, month: &str, row: &FuelRow, at: i64) -> Result<(), Error> {
        const ADD_FUEL: &str = "INSERT INTO fuel_usage (plugin_id, month, tenant_id, entry, calls, fuel_units, updated_at) \
             SELECT $1, $2, tenant_id, $4, $5, $6, $7 FROM tenants WHERE tenant_id = $3 \
             ON CONFLICT (plugin_id, month, tenant_id, entry) DO UPDATE SET calls = fuel_usage.calls + excluded.calls, \
             fuel_units = fuel_usage.fuel_units + excluded.fuel_units, updated_at = excluded.updated_at";
        on_engine!(self, |conn| {
            sqlx::query(ADD_FUEL)
                .bind(row.plugin_id.as_str())
                .bind(month)
                .bind(row.tenant_id.as_str())
                .bind(&row.entry)
                .bind(signed(row.calls))
                .bind(signed(row.fuel_units))
                .bind(at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("add_fuel"))
    }

    /// What each plugin burnt in each tenant in a month, in fuel units, by (plugin, tenant), those behind `after`.
    pub async fn list_month_fuel(
        &mut self,
        month: &str,
        after: Option<(&PluginId, &TenantId)>,
        limit: u32,
    ) -> Result<Vec<(PluginId, TenantId, u64)>, Error> {
        const LIST_MONTH_FUEL: &str = "SELECT plugin_id, tenant_id, CAST(SUM(fuel_units) AS BIGINT) FROM fuel_usage \
             WHERE month = $1 AND (plugin_id, tenant_id) > ($2, $3) \
             GROUP BY plugin_id, tenant_id ORDER BY plugin_id, tenant_id LIMIT $4";
        let (plugin, tenant) = after.map_or(("", ""), |(plugin, tenant)| (plugin.as_str(), tenant.as_str()));
        let rows: Vec<(String, String, i64)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_MONTH_FUEL)
                .bind(month)
                .bind(plugin)
                .bind(tenant)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_month_fuel"))?;
        let sum = |(plugin, tenant, units): (String, String, i64)| {
            Ok((parsed("plugin_id", &plugin)?, parsed("tenant_id", &tenant)?, unsigned("fuel_units", units)?))
        };
        rows.into_iter().map(sum).collect()
    }

    /// The account of one plugin in a month: all entries of up to `limit` tenants behind `after`; the empty text begins.
    pub async fn list_plugin_fuel(
        &mut self,
        month: &str,
        plugin: &PluginId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<FuelRow>, Error> {
        const LIST_PLUGIN_FUEL: &str = "SELECT plugin_id, tenant_id, entry, calls, fuel_units FROM fuel_usage \
             WHERE plugin_id = $1 AND month = $2 AND tenant_id IN (SELECT DISTINCT tenant_id FROM fuel_usage \
             WHERE plugin_id = $1 AND month = $2 AND tenant_id > $3 ORDER BY tenant_id LIMIT $4) ORDER BY tenant_id, entry";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_PLUGIN_FUEL)
                .bind(plugin.as_str())
                .bind(month)
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_plugin_fuel"))?;
        rows.into_iter().map(row).collect()
    }

    /// The account of one plugin in one tenant in a month, by entry.
    pub async fn find_fuel(
        &mut self,
        month: &str,
        plugin: &PluginId,
        tenant: &TenantId,
    ) -> Result<Vec<FuelRow>, Error> {
        const FIND_FUEL: &str = "SELECT plugin_id, tenant_id, entry, calls, fuel_units FROM fuel_usage \
             WHERE plugin_id = $1 AND month = $2 AND tenant_id = $3 ORDER BY entry";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_FUEL).bind(plugin.as_str()).bind(month).bind(tenant.as_str()).fetch_all(conn).await
        })
        .map_err(Error::query("find_fuel"))?;
        rows.into_iter().map(row).collect()
    }

    /// Forgets the months before `month`.
    pub async fn delete_fuel_before(&mut self, month: &str) -> Result<(), Error> {
        const DELETE_FUEL_BEFORE: &str = "DELETE FROM fuel_usage WHERE month < $1";
        on_engine!(self, |conn| sqlx::query(DELETE_FUEL_BEFORE).bind(month).execute(conn).await.map(drop))
            .map_err(Error::query("delete_fuel_before"))
    }
}

single_reads! {
    /// What each plugin burnt in each tenant in a month, in fuel units, by (plugin, tenant), those behind `after`.
    list_month_fuel(month: &str, after: Option<(&PluginId, &TenantId)>, limit: u32) -> Vec<(PluginId, TenantId, u64)>;
    /// The account of one plugin in a month: all entries of up to `limit` tenants behind `after`; the empty text begins.
    list_plugin_fuel(month: &str, plugin: &PluginId, after: &str, limit: u32) -> Vec<FuelRow>;
    /// The account of one plugin in one tenant in a month, by entry.
    find_fuel(month: &str, plugin: &PluginId, tenant: &TenantId) -> Vec<FuelRow>;
}

fn row((plugin_id, tenant_id, entry, calls, fuel_units): Columns) -> Result<FuelRow, Error> {
    Ok(FuelRow {
        plugin_id: parsed("plugin_id", &plugin_id)?,
        tenant_id: parsed("tenant_id", &tenant_id)?,
        entry,
        calls: unsigned("calls", calls)?,
        fuel_units: unsigned("fuel_units", fuel_units)?,
    })
}
