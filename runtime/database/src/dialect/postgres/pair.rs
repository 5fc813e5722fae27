//! A plugin in a tenant, as the server knows it: where its schema is, made when it is first needed.
//! It runs no SQL of a plugin.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_model::{PluginId, TenantId};
use parking_lot::Mutex;
use sqlx::{Executor as _, Row as _};
use tokio::sync::Semaphore;

use super::answer::Failure;
use super::connections::Lease;
use super::names::{Login, quoted, quoted_text};
use super::quota::Meter;
use super::session::{send, within};
use super::setup;
use super::storage::Server;
use crate::tenant::limits;
use crate::tenant::value::StorageError;

/// Bytes of a checksum in a tag: enough to tell two schemas of one number apart.
const TAG_CHECKSUM_BYTES: usize = 15;

/// A plugin in a tenant, the same value for all who ask while any of them holds it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) tenant: TenantId,
    pub(super) plugin: PluginId,
    /// Of the schema and of the role.
    pub(super) name: String,
    /// Of the advisory lock.
    pub(super) lock: i64,
    /// The tenant's part of the connections.
    pub(super) shares: Arc<Shares>,
    /// One permit per transaction or cursor that a guest holds.
    pub(super) held: Arc<Semaphore>,
    /// One permit per blob that is being written.
    pub(super) blob_writers: Arc<Semaphore>,
    pub(super) meter: Meter,
    placed: Mutex<Option<Arc<Placed>>>,
    /// Held while the schema is looked for or made, so that calls which come together ask once.
    placing: tokio::sync::Mutex<()>,
}

/// A tenant's parts of the connections.
#[derive(Debug)]
pub(super) struct Shares {
    /// Of all.
    pub(super) all: Arc<Semaphore>,
    /// Of those, for scopes: some are left for calls outside of them.
    pub(super) scopes: Arc<Semaphore>,
    /// Of those for the keys that are written in scopes.
    pub(super) scope_keys: Arc<Semaphore>,
}

impl Shares {
    /// The parts of a tenant that has so many connections.
    pub(super) fn new(connections: usize) -> Self {
        let shared = |permits: usize| Arc::new(Semaphore::new(permits.max(1)));
        let scopes = connections.saturating_sub(limits::CONNECTIONS_BESIDE_SCOPES);
        Self { all: shared(connections), scopes: shared(scopes), scope_keys: shared(scopes) }
    }
}

/// Where a pair's schema is, and which.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) shard: u16,
    /// A comment before each statement.
    pub(super) tag: String,
}

impl Pair {
    pub(super) fn new(server: &Server, tenant: &TenantId, plugin: &PluginId, shares: Arc<Shares>) -> Self {
        Self {
            tenant: tenant.clone(),
            plugin: plugin.clone(),
            name: server.names.pair(tenant, plugin),
            lock: server.names.pair_lock(tenant, plugin),
            shares,
            held: Arc::new(Semaphore::new(limits::OPEN_TRANSACTIONS_MAX)),
            blob_writers: Arc::new(Semaphore::new(limits::BLOB_WRITERS_MAX)),
            meter: Meter::default(),
            placed: Mutex::default(),
            placing: tokio::sync::Mutex::default(),
        }
    }

    /// Looks the schema up again at the next need: it was changed or removed, here or by another host.
    pub(super) fn forget(&self) {
        *self.placed.lock() = None;
    }
}

const FIND: &str = "SELECT s.shard, m.number, m.checksum FROM storage_schemas AS s LEFT JOIN storage_migrations AS m \
     ON m.tenant_id = s.tenant_id AND m.plugin_id = s.plugin_id AND m.error IS NULL \
     WHERE s.tenant_id = $1 AND s.plugin_id = $2 ORDER BY m.number DESC NULLS LAST LIMIT 1";
const SHARD_OF_TENANT: &str = "SELECT shard FROM storage_schemas WHERE tenant_id = $1 ORDER BY plugin_id LIMIT 1";
const PAIRS_OF_SHARD: &str = "SELECT count(*) FROM storage_schemas WHERE shard = $1";
const RECORD: &str = "INSERT INTO storage_schemas (tenant_id, plugin_id, name, shard) VALUES ($1, $2, $3, $4)";
/// What one session may keep in temporary files.
const TEMPORARY: &str = "256MB";
const FINGERPRINT: &str = "SELECT fingerprint FROM storage_logins WHERE login = $1";
const RECORD_LOGIN: &str = "INSERT INTO storage_logins (login, fingerprint) VALUES ($1, $2) \
     ON CONFLICT (login) DO UPDATE SET fingerprint = excluded.fingerprint";
/// The advisory lock of making logins; those of pairs are hashes.
const LOGINS_LOCK: i64 = 0x6275_6c6b_6865_6164;
const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock($1)";

impl Server {
    /// Where the pair's schema is. It is made if there is none.
    pub(super) async fn placed(&self, pair: &Pair, deadline: Instant) -> Result<Arc<Placed>, StorageError> {
        if let Some(placed) = pair.placed.lock().clone() {
            return Ok(placed);
        }
        let _alone = pair.placing.lock().await;
        if let Some(placed) = pair.placed.lock().clone() {
            return Ok(placed);
        }
        let mut lease = self.host.lease(Login::Owner, deadline).await?;
        let found = match within(deadline, find(&mut lease, pair)).await {
            Ok(Some(placed)) => Ok(placed),
            Ok(None) => within(deadline, self.place(&mut lease, pair)).await,
            Err(failure) => Err(failure),
        };
        let placed = Arc::new(found.map_err(|failure| self.placing_failed(failure))?);
        lease.put_back();
        self.prepare_shard(placed.shard, deadline).await?;
        *pair.placed.lock() = Some(Arc::clone(&placed));
        Ok(placed)
    }

    fn placing_failed(&self, failure: Failure) -> StorageError {
        match failure.into_answer() {
            StorageError::Limit(code) => StorageError::Limit(code),
            error => {
                tracing::error!(%error, "a plugin's schema cannot be made: see `bulkhead doctor`");
                StorageError::Unavailable
            }
        }
    }

    /// Makes schema and role, all or nothing.
    async fn place(&self, lease: &mut Lease, pair: &Pair) -> Result<Placed, Failure> {
        send(lease, "BEGIN").await?;
        let connection = lease.connection().map_err(Failure::Broken)?;
        connection.execute(sqlx::query(LOCK).bind(pair.lock)).await?;
        if let Some(placed) = find(lease, pair).await? {
            // Another host was first.
            send(lease, "COMMIT").await?;
            return Ok(placed);
        }
        let shard = self.choose_shard(lease, pair).await?;
        self.make_logins(lease, shard).await?;
        send(lease, &self.schema_statements(pair, shard)).await?;
        let connection = lease.connection().map_err(Failure::Broken)?;
        let (tenant, plugin) = (pair.tenant.as_str(), pair.plugin.as_str());
        let record = sqlx::query(RECORD).bind(tenant).bind(plugin).bind(&pair.name).bind(i64::from(shard));
        connection.execute(record).await?;
        send(lease, "COMMIT").await?;
        Ok(Placed { shard, tag: tag(pair, None) })
    }

    fn schema_statements(&self, pair: &Pair, shard: u16) -> String {
        let name = quoted(&pair.name);
        let login = |login| quoted(&self.names.login(login).unwrap_or_default());
        let (run, migrate) = (login(Login::Run(shard)), login(Login::Migrate(shard)));
        format!(
            "CREATE ROLE {name} NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION; \
             CREATE SCHEMA {name}; \
             REVOKE ALL ON SCHEMA {name} FROM PUBLIC; \
             GRANT USAGE ON SCHEMA {name} TO {name}; \
             GRANT USAGE, CREATE ON SCHEMA {name} TO {migrate} WITH GRANT OPTION; \
             GRANT {name} TO {run}, {migrate}"
        )
    }

    /// The shard of the tenant's other pairs, or the first with room from the one that its name gives.
    async fn choose_shard(&self, lease: &mut Lease, pair: &Pair) -> Result<u16, Failure> {
        let connection = lease.connection().map_err(Failure::Broken)?;
        let known: Option<i64> =
            sqlx::query_scalar(SHARD_OF_TENANT).bind(pair.tenant.as_str()).fetch_optional(&mut *connection).await?;
        let first = known
            .and_then(|shard| u16::try_from(shard).ok())
            .unwrap_or_else(|| self.names.first_shard(&pair.tenant, self.shards));
        for step in 0..self.shards.max(1) {
            let shard = if step == 0 { first } else { first.wrapping_add(step) % self.shards.max(1) };
            let pairs: i64 =
                sqlx::query_scalar(PAIRS_OF_SHARD).bind(i64::from(shard)).fetch_one(&mut *connection).await?;
            if pairs < i64::from(limits::ROLES_PER_SHARD_MAX) {
                return Ok(shard);
            }
        }
        tracing::error!(
            shards = self.shards,
            "every login of plugins' data has all its roles: raise the number of shards"
        );
        Err(Failure::Broken(StorageError::Unavailable))
    }

    /// Makes the logins of a shard, if they are not there or have the password of another key.
    async fn make_logins(&self, lease: &mut Lease, shard: u16) -> Result<(), Failure> {
        for login in [Login::Run(shard), Login::Migrate(shard)] {
            let name = self.names.login(login).unwrap_or_default();
            let fingerprint = self.names.fingerprint(&name);
            if fingerprint_of(lease, &name).await?.as_ref() == Some(&fingerprint) {
                continue;
            }
            // One at a time, over all hosts: the rights are kept in rows that all logins share.
            let connection = lease.connection().map_err(Failure::Broken)?;
            connection.execute(sqlx::query(LOCK).bind(LOGINS_LOCK)).await?;
            let known = fingerprint_of(lease, &name).await?;
            if known.as_ref() == Some(&fingerprint) {
                continue;
            }
            send(lease, &self.login_statements(login, &name, known.is_none())).await?;
            // A superuser's to set: an owner that is none goes without, and `check` says so.
            let bound = format!("SAVEPOINT one; ALTER ROLE {} SET temp_file_limit = '{TEMPORARY}'", quoted(&name));
            if send(lease, &bound).await.is_err() {
                send(lease, "ROLLBACK TO one").await?;
            }
            let connection = lease.connection().map_err(Failure::Broken)?;
            connection.execute(sqlx::query(RECORD_LOGIN).bind(&name).bind(&fingerprint)).await?;
        }
        Ok(())
    }

    fn login_statements(&self, login: Login, name: &str, is_new: bool) -> String {
        let grants = setup::grants(login, name);
        let (name, verifier) = (quoted(name), quoted_text(&self.names.password_verifier(name)));
        if !is_new {
            return format!("ALTER ROLE {name} PASSWORD {verifier}");
        }
        let (schema, database) = (quoted(&self.host_schema), quoted(&self.database));
        let made = format!(
            "CREATE ROLE {name} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {verifier}; \
             GRANT CONNECT ON DATABASE {database} TO {name}{grants}"
        );
        match login {
            Login::Owner | Login::Run(_) => made,
            Login::Migrate(_) => format!(
                "{made}; GRANT USAGE ON SCHEMA {schema} TO {name}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.storage_migrations TO {name}"
            ),
        }
    }

    /// Brings the logins of a shard to this host's key, once per process.
    async fn prepare_shard(&self, shard: u16, deadline: Instant) -> Result<(), StorageError> {
        let mut prepared = self.prepared_shards.lock().await;
        if prepared.contains(&shard) {
            return Ok(());
        }
        let mut lease = self.host.lease(Login::Owner, deadline).await?;
        let made = async {
            send(&mut lease, "BEGIN").await?;
            self.make_logins(&mut lease, shard).await?;
            send(&mut lease, "COMMIT").await
        };
        within(deadline, made).await.map_err(|failure| self.placing_failed(failure))?;
        lease.put_back();
        prepared.insert(shard);
        Ok(())
    }
}

async fn find(lease: &mut Lease, pair: &Pair) -> Result<Option<Placed>, Failure> {
    let connection = lease.connection().map_err(Failure::Broken)?;
    let row = sqlx::query(FIND)
        .bind(pair.tenant.as_str())
        .bind(pair.plugin.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let shard: i64 = row.try_get(0)?;
    let last = row.try_get::<Option<i64>, _>(1)?.zip(row.try_get::<Option<String>, _>(2)?);
    let shard = u16::try_from(shard).map_err(|_| Failure::Broken(StorageError::Unavailable))?;
    Ok(Some(Placed { shard, tag: tag(pair, last) }))
}

async fn fingerprint_of(lease: &mut Lease, login: &str) -> Result<Option<String>, Failure> {
    let connection = lease.connection().map_err(Failure::Broken)?;
    Ok(sqlx::query_scalar(FINGERPRINT).bind(login).fetch_optional(connection).await?)
}

/// The comment of the pair's statements: ids and checksums cannot end a comment.
fn tag(pair: &Pair, last: Option<(i64, String)>) -> String {
    match last {
        None => format!("/*{}@0*/", pair.plugin),
        Some((number, checksum)) => {
            let checksum: String =
                checksum.chars().filter(char::is_ascii_alphanumeric).take(TAG_CHECKSUM_BYTES).collect();
            format!("/*{}@{number}-{checksum}*/", pair.plugin)
        }
    }
}
