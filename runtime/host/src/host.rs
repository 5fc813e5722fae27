//! The host as a whole: what it holds, how it opens, and how it ends.
//! What it does stands in `usecase`, one file each.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bulkhead_database::Db;
use bulkhead_database::tenant::{PluginStorage, StorageConfig};
use bulkhead_engine::{Engine, EngineConfig};
use bulkhead_model::{Actor, PluginId, Role, TenantId, Version};
use bulkhead_oci::Registry;
use bulkhead_trust::{Roots, VerifyingKey};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acts::Acts;
use crate::auth::Verifier;
use crate::cells::Cells;
use crate::clock;
use crate::config::{HostConfig, Mode};
use crate::denials::Denials;
use crate::error::Error;
use crate::fetch::Outbound;
use crate::in_force::{InForce, RootKeys};
use crate::ledgers::Ledgers;
use crate::log_watch::LogWatch;
use crate::observations::Observations;
use crate::release::Release;
use crate::scope::OpenScopes;
use crate::snapshot::Snapshot;
use crate::start::close;
use crate::usecase::{EXPORTS_MAX, Kill};
use crate::worker;

/// Bounds of the histograms in seconds: from a hook's warm call to a compilation.
const BUCKETS_S: [f64; 20] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The running host. Clones share it.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: HostConfig,
    pub(crate) db: Db,
    /// Plugins' data.
    pub(crate) storage: PluginStorage,
    pub(crate) engine: Engine,
    pub(crate) verifier: Verifier,
    pub(crate) registry: Registry,
    pub(crate) roots: RootKeys,
    /// What asks other servers.
    pub(crate) outbound: Outbound,
    pub(crate) policy: Arc<InForce>,
    pub(crate) observations: Observations,
    pub(crate) denials: Denials,
    pub(crate) log_watch: LogWatch,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) kills: ArcSwap<Kills>,
    /// Stops that are in force and not in the database yet.
    pub(crate) unwritten_kills: parking_lot::Mutex<Vec<Kill>>,
    pub(crate) cells: Cells,
    pub(crate) ledgers: Ledgers,
    pub(crate) releases: parking_lot::Mutex<HashMap<(PluginId, Version), Arc<Release>>>,
    /// Held while a release is loaded, so that no two callers load the same one.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// Held while the snapshot is replaced; readers take no lock.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) acts: Acts,
    /// Held while what plugins may reach is compared with what is on record.
    pub(crate) recording: tokio::sync::Mutex<()>,
    /// This node, among the hosts of one database; the same after a restart.
    pub(crate) node: String,
    /// Operations that run on this node.
    pub(crate) operations: parking_lot::Mutex<HashSet<String>>,
    /// Plugins that were enabled when the host opened and whose start has not ended.
    pub(crate) starting: AtomicUsize,
    /// Room for archives that are being streamed.
    pub(crate) exports: Arc<Semaphore>,
    /// Scopes that the host application has open.
    pub(crate) scopes: Arc<OpenScopes>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    pub(crate) booted: AtomicBool,
    pub(crate) prometheus: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

/// What operators stopped. `None` stands for every plugin, or every tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kills(pub(crate) Vec<(Option<PluginId>, Option<TenantId>)>);

impl Kills {
    /// Whether a plugin is stopped in a tenant. A stop of every plugin spares those that policy calls core.
    pub(crate) fn hit(&self, plugin: &PluginId, tenant: &TenantId, core: bool) -> bool {
        self.0.iter().any(|(killed, within)| {
            let plugin_hit = killed.as_ref().map_or(!core, |killed| killed == plugin);
            plugin_hit && within.as_ref().is_none_or(|within| within == tenant)
        })
    }
}

/// Whether the host takes traffic, and what keeps it from doing so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why not, if not.
    pub reasons: Vec<String>,
}

impl Host {
    /// Opens the database, verifies and mounts what is enabled, and takes up interrupted work. Plugins that fail to start
    /// are recorded and never keep the host or others from starting.
    pub async fn open(config: HostConfig) -> Result<Self, Error> {
        let verifier = Verifier::new(&config.issuer_keys_pem, &config.oidc_issuers)?;
        let policy_roots = config
            .policy_root_keys_pem
            .iter()
            .map(|pem| VerifyingKey::from_pem(pem))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Configuration(format!("a policy root key is not usable: {error}")))?;
        let policy_threshold = usize::try_from(config.policy_threshold).unwrap_or(usize::MAX);
        let db = Db::open(&config.database).await?;
        let storage_config = StorageConfig { login_key: config.storage_login_key, ..StorageConfig::default() };
        let storage = PluginStorage::beside(&db, &config.data_dir, &storage_config).await?;
        for finding in storage.check().await? {
            tracing::warn!(
                layer = finding.layer,
                detail = finding.detail,
                remedy = finding.remedy,
                "a layer of the plugins' storage is open"
            );
        }
        let engine = Engine::new(engine_config(&config))?;
        let policy = Arc::new(InForce::new());
        let registry = crate::registry::open(&db, config.registry_open_blob_bytes_max, &policy, config.mode);
        let outbound = Outbound::new(config.outbound.clone())?;
        let inner = Inner {
            verifier,
            registry,
            roots: RootKeys::new(Roots::anchor(policy_roots, policy_threshold)),
            outbound,
            policy,
            observations: Observations::default(),
            denials: Denials::default(),
            log_watch: LogWatch::new(&config.data_dir),
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            kills: ArcSwap::from_pointee(Kills::default()),
            unwritten_kills: parking_lot::Mutex::default(),
            cells: Cells::default(),
            ledgers: Ledgers::new(clock::now()),
            releases: parking_lot::Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            acts: Acts::new(),
            recording: tokio::sync::Mutex::default(),
            node: node(&config.data_dir)?,
            operations: parking_lot::Mutex::default(),
            starting: AtomicUsize::new(0),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            scopes: Arc::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            booted: AtomicBool::new(false),
            prometheus: prometheus(),
            config,
            db,
            storage,
            engine,
        };
        let host = Self { inner: Arc::new(inner) };
        worker::boot::run(&host).await?;
        Ok(host)
    }

    /// Production or dev.
    pub fn mode(&self) -> Mode {
        self.inner.config.mode
    }

    /// The plugin registry, for what speaks its protocol.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// What asks other servers, under the operator's rules.
    pub fn outbound(&self) -> &Outbound {
        &self.inner.outbound
    }

    /// The identity of a bearer token.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Actor>, Error> {
        self.inner.verifier.verify(token)
    }

    /// The tenant of a request: the token's own; for role `host` without one, the header's; for `super_admin`, the one that
    /// the query names. Nothing else that a request says names a tenant.
    pub fn tenant_of(&self, actor: &Actor, header: Option<&str>, query: Option<&str>) -> Result<TenantId, Error> {
        let named = match (actor.is(Role::SuperAdmin), query, actor.is(Role::Host) && actor.tenant.is_none(), header) {
            (true, Some(query), _, _) => Some(query),
            (_, _, true, Some(header)) => Some(header),
            _ => None,
        };
        match named {
            Some(text) => {
                text.parse().map_err(|error: bulkhead_model::id::InvalidName| Error::InvalidName(error.to_string()))
            }
            None => actor.tenant.clone().ok_or(Error::TenantRequired),
        }
    }

    /// Whether the host takes traffic.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if !self.inner.booted.load(Ordering::Acquire) {
            reasons.push("the host is starting".to_owned());
        }
        let starting = self.inner.starting.load(Ordering::Acquire);
        if starting > 0 {
            reasons.push(format!("{starting} plugins are starting"));
        }
        if self.inner.stopping.is_cancelled() {
            reasons.push("the host is shutting down".to_owned());
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// Every series of this process, Prometheus text format.
    pub fn metrics_text(&self) -> String {
        self.inner.prometheus.as_ref().map(|handle| handle.render()).unwrap_or_default()
    }

    /// Ends: no new work, calls in flight drain within `drain`, then workers and files are closed.
    pub async fn shutdown(&self, drain: Duration) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        let cells: Vec<_> = {
            let snapshot = self.inner.snapshot.load();
            snapshot.tenants.values().flat_map(|view| view.plugins.values().cloned()).collect()
        };
        for enabled in cells {
            self.inner.tasks.spawn(async move { close(&enabled, drain).await });
        }
        if tokio::time::timeout(drain.saturating_add(Duration::from_secs(1)), self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("work was still going on at the end of the drain time");
        }
        self.close_stores().await;
    }

    /// Nothing runs any more: what is left in memory is written down, then everything is closed.
    async fn close_stores(&self) {
        if let Err(error) = self.write_ledgers().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "failed to write down the last fuel that was burnt"
            );
        }
        if let Err(error) = self.inner.storage.close().await {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to close the plugins' storage");
        }
        self.inner.db.close().await;
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }
}

fn engine_config(config: &HostConfig) -> EngineConfig {
    EngineConfig {
        instances_max: config.instances_max,
        memory_bytes_max_total: config.memory_bytes_max_total,
        compile_jobs_max: config.compile_jobs_max,
        idle_ms: config.idle_ms,
        tenant_labels_max: config.tenants_labelled_max,
        ..EngineConfig::new(config.cache_dir.clone(), config.cache_key, config.compile_worker.clone())
    }
}

/// The node's name: random, made once and kept in the data folder, so that a host that comes back goes on with its own work.
fn node(data_dir: &Path) -> Result<String, Error> {
    let path = data_dir.join("node-id");
    let failed = |source| Error::File { path: path.display().to_string(), source };
    match std::fs::read_to_string(&path) {
        Ok(known) if !known.trim().is_empty() => return Ok(known.trim().chars().take(NODE_CHARS_MAX).collect()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    std::fs::create_dir_all(data_dir).map_err(failed)?;
    let made = crate::calls::random_trace().hex();
    std::fs::write(&path, &made).map_err(failed)?;
    Ok(made)
}

/// Longest name of a node.
const NODE_CHARS_MAX: usize = 64;

/// The process's recorder: the first host of a process installs it, further ones share it.
fn prometheus() -> Option<metrics_exporter_prometheus::PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Option<metrics_exporter_prometheus::PrometheusHandle>> =
        std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = metrics_exporter_prometheus::PrometheusBuilder::new().set_buckets(&BUCKETS_S).ok()?;
            builder.install_recorder().ok()
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_of_everything_spares_core_and_a_stop_of_one_does_not() {
        let plugin: PluginId = "acme.crm".parse().unwrap();
        let other: PluginId = "acme.billing".parse().unwrap();
        let tenant: TenantId = "globex".parse().unwrap();
        let elsewhere: TenantId = "initech".parse().unwrap();

        let all = Kills(vec![(None, None)]);
        assert!(all.hit(&plugin, &tenant, false));
        assert!(!all.hit(&plugin, &tenant, true));

        let one = Kills(vec![(Some(plugin.clone()), None)]);
        assert!(one.hit(&plugin, &tenant, true));
        assert!(!one.hit(&other, &tenant, false));

        let here = Kills(vec![(Some(plugin.clone()), Some(tenant.clone()))]);
        assert!(here.hit(&plugin, &tenant, false));
        assert!(!here.hit(&plugin, &elsewhere, false));
        assert!(!Kills::default().hit(&plugin, &tenant, false));
    }
}
