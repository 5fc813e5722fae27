//! Plugin storage on PostgreSQL: a schema and a role per (tenant, plugin), reached by logins that may do nothing but take
//! the roles of their shard; keys in tables of the host that no such login can read.
//! No plugin SQL runs under the owner of the host's tables, and nothing here reads a text that was not admitted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bulkhead_model::{PluginId, TenantId};
use parking_lot::Mutex;
use sqlx::Row as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Engine;
use super::answer::Failure;
use super::blobs;
use super::connections::{Connections, Lease, acquire};
use super::names::{Login, Names, quoted};
use super::pair::{Pair, Shares};
use super::quota;
use super::scope::InScope;
use super::session::{Mode, send, within};
use super::setup;
use crate::error::Error;
use crate::tenant::admission::Admitted;
use crate::tenant::value::{Isolation, StorageError, Table, Value, limit_codes, within_result_bytes};
use crate::tenant::{Finding, Kept, StorageConfig, limits};

/// Time of an act of the host: making or removing a schema, reading a size.
const ACT: Duration = Duration::from_secs(10);
/// Tables that one transaction removes: each takes locks of which the server has few.
const TABLES_PER_DROP: i64 = 50;
/// Keys that one transaction removes.
const KEYS_PER_DELETE: i64 = 5_000;

/// The storage of all plugins in all tenants. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    server: Arc<Server>,
}

/// The server, and what this process knows of it.
#[derive(Debug)]
pub(super) struct Server {
    /// Connections of the shards' logins.
    pub(super) plugins: Arc<Connections>,
    /// Connections of the owner, beside those of the host's own tables.
    pub(super) host: Arc<Connections>,
    /// Connections of the owner for the keys that are written in scopes.
    pub(super) scope_keys: Arc<Connections>,
    /// One permit per transaction of a scope: half of the connections are for others.
    pub(super) scopes: Arc<Semaphore>,
    /// One permit per such transaction of keys.
    pub(super) scopes_of_keys: Arc<Semaphore>,
    pub(super) names: Names,
    pub(super) shards: u16,
    /// Where the host's tables are.
    pub(super) host_schema: String,
    pub(super) database: String,
    /// Shards whose logins have this host's key.
    pub(super) prepared_shards: tokio::sync::Mutex<HashSet<u16>>,
    connections_per_tenant: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    pairs: HashMap<(TenantId, PluginId), Weak<Pair>>,
    shares: HashMap<TenantId, Weak<Shares>>,
}

impl Storage {
    /// Storage in the database of the host's tables. What the owner may set up is set up; the rest is told by
    /// [`Storage::check`].
    pub(crate) async fn open(engine: &Engine, config: &StorageConfig) -> Result<Self, Error> {
        let place = setup::place(engine.pool()).await?;
        let login_key = config.login_key.map_or(place.login_secret, Vec::from);
        let names = Names::new(place.installation, login_key);
        let connections = |count| Arc::new(Connections::new(engine.options().clone(), names.clone(), count));
        let (plugins, host) = (connections(config.connections_max), connections(config.host_connections_max));
        let part = |of: u32| usize::try_from(config.connections_max / of).unwrap_or(usize::MAX).max(1);
        let server = Server {
            plugins,
            host,
            scope_keys: connections(limits::SCOPE_KEYS_CONNECTIONS_MAX),
            scopes: Arc::new(Semaphore::new(part(2))),
            scopes_of_keys: Arc::new(Semaphore::new(
                usize::try_from(limits::SCOPE_KEYS_CONNECTIONS_MAX).unwrap_or(usize::MAX),
            )),
            names,
            shards: config.shards.clamp(1, limits::SHARDS_MAX),
            host_schema: place.schema,
            database: place.database,
            prepared_shards: tokio::sync::Mutex::default(),
            connections_per_tenant: part(4),
            known: Mutex::default(),
        };
        setup::harden(engine.pool(), &server.database, &server.host_schema).await?;
        Ok(Self { server: Arc::new(server) })
    }

    /// The server, for what tests ask of it.
    #[cfg(test)]
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// What a plugin holds in a tenant. Opens nothing.
    pub(crate) fn store(&self, tenant: &TenantId, plugin: &PluginId, storage_bytes_max: u64) -> Store {
        let pair = self.server.pair(tenant, plugin);
        Store { server: Arc::clone(&self.server), pair, storage_bytes_max, scope: None }
    }

    /// Bytes of tables, indexes and keys.
    pub(crate) async fn usage_bytes(&self, tenant: &TenantId, plugin: &PluginId) -> Result<u64, Error> {
        let pair = self.server.pair(tenant, plugin);
        self.server
            .act("storage_usage", async |lease| {
                quota::sizes(lease, &pair).await.map(|(tables, keys)| tables.saturating_add(keys))
            })
            .await
    }

    /// Removes a plugin's schema, role, ledger and keys, in small transactions.
    pub(crate) async fn delete(&self, tenant: &TenantId, plugin: &PluginId) -> Result<(), Error> {
        let pair = self.server.pair(tenant, plugin);
        self.server.act("storage_delete", async |lease| delete_pair(lease, &pair).await).await?;
        pair.forget();
        Ok(())
    }

    /// Removes what all plugins hold in a tenant.
    pub(crate) async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        const PLUGINS: &str = "SELECT plugin_id FROM storage_schemas WHERE tenant_id = $1 UNION \
             SELECT plugin_id FROM storage_key_totals WHERE tenant_id = $1 UNION \
             SELECT plugin_id FROM storage_migrations WHERE tenant_id = $1";
        let plugins: Vec<String> = self
            .server
            .act("storage_tenant_plugins", async |lease| {
                let connection = lease.connection().map_err(Failure::Broken)?;
                Ok(sqlx::query_scalar(PLUGINS).bind(tenant.as_str()).fetch_all(connection).await?)
            })
            .await?;
        for plugin in plugins {
            let plugin = plugin.parse().map_err(|_| Error::Corrupt { column: "storage_schemas.plugin_id" })?;
            self.delete(tenant, &plugin).await?;
        }
        Ok(())
    }

    /// The layers of the isolation that are missing.
    pub(crate) async fn kept(&self, limit: usize) -> Result<Vec<Kept>, Error> {
        const KEPT: &str = "SELECT tenant_id, plugin_id FROM storage_schemas UNION \
             SELECT tenant_id, plugin_id FROM storage_key_totals UNION \
             SELECT tenant_id, plugin_id FROM storage_blobs LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(String, String)> = self
            .server
            .act("storage_kept", async |lease| {
                let connection = lease.connection().map_err(Failure::Broken)?;
                Ok(sqlx::query_as(KEPT).bind(limit).fetch_all(connection).await?)
            })
            .await?;
        // An id is kept as it is here: the name of the other engine is made from it.
        let sql_name = |id: String| id.parse::<PluginId>().map_or(id, |plugin| plugin.sql_name());
        Ok(rows.into_iter().map(|(tenant, plugin)| Kept { tenant, plugin: sql_name(plugin) }).collect())
    }

    /// The layers of the isolation that are missing.
    pub(crate) async fn check(&self) -> Result<Vec<Finding>, Error> {
        let server = &self.server;
        server.act("storage_check", async |lease| setup::check(lease, server).await).await
    }

    /// Closes what is idle.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.server.plugins.close_idle();
        self.server.host.close_idle();
        self.server.scope_keys.close_idle();
        Ok(())
    }
}

impl Server {
    /// A pair: the same value for all who ask while any of them holds it.
    fn pair(&self, tenant: &TenantId, plugin: &PluginId) -> Arc<Pair> {
        let mut known = self.known.lock();
        let key = (tenant.clone(), plugin.clone());
        if let Some(pair) = known.pairs.get(&key).and_then(Weak::upgrade) {
            return pair;
        }
        // Forgets the dead before a map would grow: its size stays within twice the living.
        if known.pairs.len() == known.pairs.capacity() {
            known.pairs.retain(|_, pair| pair.strong_count() > 0);
            known.shares.retain(|_, share| share.strong_count() > 0);
        }
        let shares = known.shares.get(tenant).and_then(Weak::upgrade).unwrap_or_else(|| {
            let shares = Arc::new(Shares::new(self.connections_per_tenant));
            known.shares.insert(tenant.clone(), Arc::downgrade(&shares));
            shares
        });
        let pair = Arc::new(Pair::new(self, tenant, plugin, shares));
        known.pairs.insert(key, Arc::downgrade(&pair));
        pair
    }

    /// Runs an act of the host on a connection of the owner.
    async fn act<T>(
        &self,
        query: &'static str,
        work: impl AsyncFnOnce(&mut Lease) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + ACT;
        let failed = |error: StorageError| Error::Storage { query, source: error };
        let mut lease = self.host.lease(Login::Owner, deadline).await.map_err(failed)?;
        let done = within(deadline, work(&mut lease)).await.map_err(|failure| failed(failure.into_answer()))?;
        lease.put_back();
        Ok(done)
    }
}

/// Whoever still works in the schema is waited for: its tables are locked.
async fn delete_pair(lease: &mut Lease, pair: &Pair) -> Result<(), Failure> {
    const TABLES: &str = "SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
         ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.relname LIMIT $2";
    let name = quoted(&pair.name);
    let wait = format!("BEGIN; SET LOCAL lock_timeout = {0}; SET LOCAL statement_timeout = {0}", ACT.as_millis());
    loop {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let tables: Vec<String> =
            sqlx::query_scalar(TABLES).bind(&pair.name).bind(TABLES_PER_DROP).fetch_all(connection).await?;
        if tables.is_empty() {
            break;
        }
        let tables: Vec<_> = tables.iter().map(|table| format!("{name}.{}", quoted(table))).collect();
        send(lease, &format!("{wait}; DROP TABLE {} CASCADE; COMMIT", tables.join(", "))).await?;
    }
    let connection = lease.connection().map_err(Failure::Broken)?;
    let has_role: bool = sqlx::query("SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1)")
        .bind(&pair.name)
        .fetch_one(connection)
        .await?
        .try_get(0)?;
    send(lease, &wait).await?;
    send(lease, &format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
    if has_role {
        send(lease, &format!("DROP ROLE {name}")).await?;
    }
    let (tenant, plugin) = (pair.tenant.as_str(), pair.plugin.as_str());
    for statement in [
        "DELETE FROM storage_migrations WHERE tenant_id = $1 AND plugin_id = $2",
        "DELETE FROM storage_schemas WHERE tenant_id = $1 AND plugin_id = $2",
    ] {
        let connection = lease.connection().map_err(Failure::Broken)?;
        sqlx::query(statement).bind(tenant).bind(plugin).execute(connection).await?;
    }
    send(lease, "COMMIT").await?;
    delete_keys(lease, pair).await
}

async fn delete_keys(lease: &mut Lease, pair: &Pair) -> Result<(), Failure> {
    const BATCH: &str = "DELETE FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 AND key IN \
         (SELECT key FROM storage_keys WHERE tenant_id = $1 AND plugin_id = $2 LIMIT $3)";
    const TOTALS: &str = "DELETE FROM storage_key_totals WHERE tenant_id = $1 AND plugin_id = $2";
    let (tenant, plugin) = (pair.tenant.as_str(), pair.plugin.as_str());
    blobs::delete_all(lease, pair).await?;
    loop {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let deleted = sqlx::query(BATCH).bind(tenant).bind(plugin).bind(KEYS_PER_DELETE).execute(connection).await?;
        if deleted.rows_affected() == 0 {
            break;
        }
    }
    let connection = lease.connection().map_err(Failure::Broken)?;
    sqlx::query(TOTALS).bind(tenant).bind(plugin).execute(connection).await?;
    Ok(())
}

/// One plugin's storage in one tenant. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(super) server: Arc<Server>,
    pub(super) pair: Arc<Pair>,
    pub(super) storage_bytes_max: u64,
    /// The call of a scope that it works for.
    pub(super) scope: Option<InScope>,
}

impl Store {
    /// Opens a connection of the plugin's login, and makes the plugin's place where there is none.
    pub(crate) async fn reach(&self, deadline: Instant) -> Result<(), StorageError> {
        self.session(Mode::Read, deadline).await?.rollback().await;
        Ok(())
    }

    /// Whether it works for a call of a scope.
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// Whether both are of one pair.
    pub(crate) fn is_of_same_plugin(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pair, &other.pair)
    }

    /// Runs one statement that only reads.
    pub(crate) async fn query(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        self.alone(Mode::Read, statement, params, deadline).await
    }

    /// Runs one statement in a transaction of its own.
    pub(crate) async fn execute(
        &self,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        self.alone(Mode::Write(Isolation::ReadCommitted), statement, params, deadline).await
    }

    /// Runs all statements in one transaction, or none.
    pub(crate) async fn batch(
        &self,
        statements: Vec<(Admitted, Vec<Value>)>,
        deadline: Instant,
    ) -> Result<Vec<Table>, StorageError> {
        if self.scope.is_none() && statements.iter().any(|(statement, _)| statement.adds()) {
            self.check_tables(deadline).await?;
        }
        let mut session = self.session(Mode::Write(Isolation::ReadCommitted), deadline).await?;
        let (mut tables, mut bytes) = (Vec::with_capacity(statements.len()), 0);
        for (place, (statement, params)) in statements.into_iter().enumerate() {
            let renewed = if place == 0 { Ok(()) } else { session.renew(deadline).await };
            let answer = match renewed {
                Ok(()) => session.run(&statement, params, deadline).await,
                Err(failure) => Err(failure),
            };
            let table = match answer {
                Ok(table) => table,
                Err(failure) => return Err(session.end_after(failure).await),
            };
            bytes = match within_result_bytes(bytes, &table) {
                Ok(bytes) => bytes,
                Err(error) => return Err(session.end_after(Failure::Failed(error)).await),
            };
            tables.push(table);
        }
        session.commit(deadline).await?;
        Ok(tables)
    }

    async fn alone(
        &self,
        mode: Mode,
        statement: &Admitted,
        params: Vec<Value>,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        // A scope holds locks: nothing is given back for it, and its transaction looks at the quota itself.
        if self.scope.is_none() && statement.adds() {
            self.check_tables(deadline).await?;
        }
        let mut session = self.session(mode, deadline).await?;
        match session.run(statement, params, deadline).await {
            Ok(table) => {
                session.commit(deadline).await?;
                Ok(table)
            }
            Err(failure) => Err(session.end_after(failure).await),
        }
    }

    /// The name of schema and role, for tests that attack it.
    #[cfg(test)]
    pub(super) fn pair_name(&self) -> &str {
        &self.pair.name
    }

    /// The right to hold a transaction or cursor between two calls of the guest.
    pub(super) async fn held(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        acquire(&self.pair.held, until, limit_codes::OPEN_TRANSACTIONS).await
    }
}
