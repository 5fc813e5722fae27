//! A host as a library with its data in one folder: keys, policy, installed plugins, tenants. Tenants are written into
//! the host's own tables while it is closed, because enabling ten thousand one by one is not what is measured.
//! It measures nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_database::{Act, Db, TenantPluginRow, TenantStatus};
use bulkhead_host::{Caller, Host, view};
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{Actor, Interface, PluginId, Role, TenantId, TenantPluginStatus};
use bulkhead_server::Config;
use bulkhead_testkit::keys::{ALICE, ISSUER, ROOT};
use bulkhead_testkit::postgres::Cluster;
use bulkhead_testkit::{Source, policies};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::Result;

/// Longest wait for the host to start a plugin in a tenant by itself.
const START_MAX: Duration = Duration::from_secs(4);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two looks at an operation: seldom at a long one, since looking costs what is measured.
const FOLLOW: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(50);
/// Installs at once: as many as compile at once.
const INSTALLS: usize = 2;
/// Calls of a tenant and plugin at once, a little under the product's burst, and the time of one more.
const BURST: f64 = 195.0;
const REFILL_S: f64 = 0.0601;

/// Where a host lives, and how large it is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    folder: PathBuf,
    pub(crate) config: Config,
}

impl World {
    /// A world in `folder`, keys made if there are none; `instances_max` live instances and `idle_ms` of rest.
    pub(crate) fn at(folder: &Path, instances_max: u32, idle_ms: u64) -> Result<Self> {
        let keys = folder.join("keys");
        std::fs::create_dir_all(&keys)?;
        std::fs::write(keys.join("issuer.pub.pem"), ISSUER.public_pem())?;
        std::fs::write(keys.join("root.pub.pem"), ROOT.public_pem())?;
        std::fs::write(keys.join("cache.key"), [9; 32])?;
        // This program is its own compile worker: see `main`.
        let mut config = Config::default_for(folder);
        config.engine.instances_max = instances_max;
        config.engine.idle_ms = idle_ms;
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(&config.engine.cache_dir)?;
        Ok(Self { folder: folder.to_owned(), config })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the host.
    pub(crate) async fn open(&self) -> Result<Host> {
        Ok(Host::open(self.config.to_host_config()?).await?)
    }

    /// Installs plugins and declares their hooks, then closes the host again.
    pub(crate) async fn install(&self, sources: Vec<Source>) -> Result<()> {
        let host = self.open().await?;
        host.install_policy(&actor(Role::Security, None), policies::signed(1, policies::STANDARD).as_bytes()).await?;
        let admin = admin();
        for source in &sources {
            for hook in &source.manifest.hooks {
                host.declare_hook(&admin, &hook.name, HookKind::Filter, None, OnFailure::Closed).await?;
            }
        }
        let installs = sources.into_iter().map(|source| install(&host, &admin, source));
        stream::iter(installs).buffer_unordered(INSTALLS).try_collect::<Vec<()>>().await?;
        host.shutdown(Duration::from_secs(5)).await;
        Ok(())
    }

    /// Enables `plugins` (id and configuration) in each of `tenants`; the host must be closed.
    pub(crate) async fn enable(&self, tenants: &[TenantId], plugins: &[(PluginId, &str)]) -> Result<()> {
        let db = Db::open(&self.config.to_host_config()?.database).await?;
        let act = Act::system(1);
        let mut tx = db.begin().await?;
        for tenant in tenants {
            if tx.find_tenant(tenant).await?.is_none() {
                tx.insert_tenant(tenant, &act).await?;
            }
            for (plugin, configuration) in plugins {
                let mut row = TenantPluginRow::new(tenant.clone(), plugin.clone(), (*configuration).to_owned(), 1);
                row.enabled = true;
                row.status = TenantPluginStatus::Ready;
                row.desired_version = Some("0.1.0".parse()?);
                row.current_version = row.desired_version.clone();
                row.granted = Interface::ALL.to_vec();
                tx.put_tenant_plugin(&row, "tenant.enable", &act).await?;
            }
        }
        tx.commit().await?;
        db.close().await;
        Ok(())
    }

    /// Suspends `tenants`: none of their plugins starts. The host must be closed.
    pub(crate) async fn suspend(&self, tenants: &[TenantId]) -> Result<()> {
        let db = Db::open(&self.config.to_host_config()?.database).await?;
        let act = Act::system(1);
        let mut tx = db.begin().await?;
        for tenant in tenants {
            tx.set_tenant_status(tenant, TenantStatus::Suspended, &act).await?;
        }
        tx.commit().await?;
        db.close().await;
        Ok(())
    }
}

async fn install(host: &Host, admin: &Actor, source: Source) -> Result<()> {
    let release = source.signed_by(ALICE);
    let bundles = release.bundles.into_iter().map(String::into_bytes).collect();
    host.register(admin, release.bytes, bundles).await?;
    ended(host, host.install(admin, &source.manifest.plugin.id, None).await?).await
}

/// Follows an operation to its end, which must be a good one.
pub(crate) async fn ended(host: &Host, mut operation: view::Operation) -> Result<()> {
    let mut pause = FOLLOW.start;
    while operation.status == view::OperationStatus::Running {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(FOLLOW.end);
        operation = host.get_operation(&admin(), &operation.id).await?;
    }
    match operation.error {
        None => Ok(()),
        Some(error) => Err(format!("`{}`, {}: {}", operation.plugin, operation.kind, error.detail).into()),
    }
}

/// Ids `t-0000`, `t-0001` and so on.
pub(crate) fn tenants(count: u32) -> Result<Vec<TenantId>> {
    (0..count).map(|index| Ok(format!("t-{index:04}").parse()?)).collect()
}

/// `bench.<name>`
pub(crate) fn plugin(name: &str) -> Result<PluginId> {
    Ok(format!("bench.{name}").parse()?)
}

/// A user of a tenant.
pub(crate) fn caller(tenant: &TenantId) -> Caller {
    Caller {
        tenant: tenant.clone(),
        actor: Arc::new(actor(Role::Member, Some(tenant))),
        trace: bulkhead_host::random_trace(),
        locale: Arc::from("en"),
    }
}

/// Who may do everything.
pub(crate) fn admin() -> Actor {
    actor(Role::SuperAdmin, None)
}

/// A PostgreSQL server for as long as this value lives, or why there is none.
pub(crate) fn cluster() -> Result<Cluster> {
    std::panic::catch_unwind(Cluster::start).map_err(|_| "no PostgreSQL server can be started here".into())
}

fn actor(role: Role, tenant: Option<&TenantId>) -> Actor {
    let subject = tenant.map_or_else(|| "root".to_owned(), |tenant| format!("user@{tenant}"));
    Actor { subject, tenant: tenant.cloned(), roles: [role].into(), permissions: Default::default() }
}

/// Waits until a plugin serves in all these tenants. One whose health check took too long on a busy machine did not
/// start; its tenant tries again, as an administrator would.
pub(crate) async fn serves(host: &Host, tenants: &[TenantId], plugin: &PluginId) -> Result<()> {
    for tenant in tenants {
        let (caller, admin) = (caller(tenant), actor(Role::TenantAdmin, Some(tenant)));
        let until = Instant::now() + START_MAX;
        while let Err(error) = host.plugin_health(&caller, plugin.as_str()).await {
            if Instant::now() > until {
                host.enable_in_tenant(&admin, None, plugin)
                    .await
                    .map_err(|again| format!("`{plugin}` does not serve `{tenant}`: {}, {again}", error.error))?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// The tenants in turn, hook by hook, so that no plugin passes its rate in any: the rate is on, as everything is.
pub(crate) struct Rotations {
    tenants: Vec<TenantId>,
    hooks: tokio::sync::Mutex<BTreeMap<String, Rotation>>,
}

/// The tenants of one hook.
struct Rotation {
    tenants: Vec<(Caller, Bucket)>,
    next: usize,
}

/// Calls that a tenant has left, and when that was so.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rotations {
    pub(crate) fn of(tenants: &[TenantId]) -> Self {
        Self { tenants: tenants.to_vec(), hooks: tokio::sync::Mutex::default() }
    }

    /// The next `count` tenants of a hook, each with room for `calls`; waits for it.
    pub(crate) async fn take(&self, hook: &str, count: usize, calls: u32) -> Vec<Caller> {
        let mut hooks = self.hooks.lock().await;
        let rotation = hooks.entry(hook.to_owned()).or_insert_with(|| Rotation::of(&self.tenants));
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.extend(rotation.take(calls).await);
        }
        taken
    }
}

impl Rotation {
    fn of(tenants: &[TenantId]) -> Self {
        let bucket = || Bucket { left: BURST, at: Instant::now() };
        Self { tenants: tenants.iter().map(|tenant| (caller(tenant), bucket())).collect(), next: 0 }
    }

    async fn take(&mut self, calls: u32) -> Option<Caller> {
        let index = self.next % self.tenants.len().max(1);
        self.next = index + 1;
        let (caller, bucket) = self.tenants.get_mut(index)?;
        let left = (bucket.left + bucket.at.elapsed().as_secs_f64() / REFILL_S).min(BURST) - f64::from(calls);
        if left < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-left * REFILL_S)).await;
        }
        *bucket = Bucket { left: left.max(0.0), at: Instant::now() };
        Some(caller.clone())
    }
}
