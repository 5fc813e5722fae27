//! A host as a test wants it: a real one, behind a real server on a free port, with its data in a temporary folder.
//! Nothing of it is replaced; what differs from production is the keys, the size, and where compiled guests are kept.
//!
//! All hosts of a target folder share one folder of compiled guests under one key, so that compiling a guest is paid
//! for once. A test that looks into that folder asks for one of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bulkhead_host::{Caller, Host, random_trace};
use bulkhead_model::Role;
use bulkhead_server::Server;
pub use bulkhead_server::config::{Config, HostAndPort, Issuer, IssuerKind, Mode, SourceCredential};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::guests::Guest;
use crate::keys::{ALICE, ISSUER, REGISTRY, ROOT};
use crate::origin::Origin;
use crate::postgres::Cluster;
use crate::release::Release;
use crate::{policies, programs, tokens};

/// The key of every test host's compiled guests.
const CACHE_KEY: [u8; 32] = [9; 32];
/// Live instances at once: less address space to reserve than a real host has.
const INSTANCES_MAX: u32 = 128;
/// Threads that serve.
const THREADS: usize = 2;

type Change = Box<dyn FnOnce(&mut Config) + Send>;

/// How a test's host begins. Awaiting it starts the host.
#[derive(Default)]
pub struct Builder {
    tenants: Vec<String>,
    releases: Vec<Release>,
    cluster: Option<Cluster>,
    policy: Option<String>,
    has_own_cache: bool,
    changes: Vec<Change>,
}

impl Builder {
    /// With a tenant.
    pub fn tenant(mut self, id: &str) -> Self {
        self.tenants.push(id.to_owned());
        self
    }

    /// With a guest signed by [`ALICE`], installed and enabled in every tenant.
    pub fn with(self, guest: Guest) -> Self {
        self.with_release(guest.signed_by(ALICE))
    }

    /// With a release, installed and enabled in every tenant.
    pub fn with_release(mut self, release: Release) -> Self {
        self.releases.push(release);
        self
    }

    /// Under another policy than [`policies::STANDARD`].
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_owned());
        self
    }

    /// With a folder of compiled guests of its own.
    pub fn own_cache(mut self) -> Self {
        self.has_own_cache = true;
        self
    }

    /// That may ask another server on this machine, and trusts its certificate.
    pub fn reaching(self, origin: &Origin) -> Self {
        let (place, ca_file) = (HostAndPort(origin.place()), origin.ca_file());
        self.configured(move |config| {
            config.outbound.allow_private.push(place);
            config.outbound.ca_file = Some(ca_file);
        })
    }

    /// With a changed configuration.
    pub fn configured(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    async fn start(self) -> TestHost {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path(), self.has_own_cache);
        if let Some(cluster) = &self.cluster {
            config.database.url = cluster.url();
        }
        for change in self.changes {
            change(&mut config);
        }
        let running = Running::start(config.clone()).await;
        let host = TestHost { running, config, folder, cluster: self.cluster, policies: AtomicU64::new(0) };
        host.install_policy(self.policy.as_deref().unwrap_or(policies::STANDARD)).await;
        let admin = host.admin();
        for tenant in &self.tenants {
            admin.create_tenant(tenant).await.expect(201);
        }
        for release in &self.releases {
            admin.install_release(release).await;
            for tenant in &self.tenants {
                host.tenant_admin(tenant).enable_here(&release.id).await.expect(200);
            }
        }
        host
    }
}

impl IntoFuture for Builder {
    type Output = TestHost;
    type IntoFuture = Pin<Box<dyn Future<Output = TestHost> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// A running host. It ends, in order, when it is dropped.
pub struct TestHost {
    running: Running,
    config: Config,
    folder: tempfile::TempDir,
    cluster: Option<Cluster>,
    policies: AtomicU64,
}

impl TestHost {
    /// A host with its tables in SQLite.
    #[expect(clippy::new_ret_no_self, reason = "a host is begun, changed, and then awaited")]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A host with its tables in a PostgreSQL cluster that is started for it.
    pub fn on_postgres() -> Builder {
        Builder { cluster: Some(Cluster::start()), ..Builder::default() }
    }

    /// A host with its tables in a PostgreSQL cluster that it reaches through TLS alone.
    pub fn on_postgres_with_tls() -> Builder {
        Builder { cluster: Some(Cluster::start_with_tls()), ..Builder::default() }
    }

    /// Another host of the same database, with a data folder and compiled guests of its own: it has nothing but the database
    /// and the keys.
    pub async fn another(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path(), true);
        config.database.url.clone_from(&self.config.database.url);
        let running = Running::start(config.clone()).await;
        Self { running, config, folder, cluster: None, policies: AtomicU64::new(self.policies.load(Ordering::SeqCst)) }
    }

    /// Ends the host in order and starts it again over the same data, with a changed configuration.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.running.stop();
        self.running = Running::start(self.config.clone()).await;
        self
    }

    /// Ends the host in order and starts it again over the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// Ends the host, lets `between` work on its folders, and starts it again.
    pub async fn restart_after(mut self, between: impl FnOnce(&Self)) -> Self {
        self.running.stop();
        between(&self);
        self.running = Running::start(self.config.clone()).await;
        self
    }

    /// Lets the host's PostgreSQL refuse every write, or take them again. Connections that are open are ended, as an operator
    /// would who fails over.
    pub fn database_takes_writes(&self, takes: bool) {
        let cluster = self.cluster.as_ref().expect("the host's tables are on PostgreSQL");
        let read_only = if takes { "off" } else { "on" };
        cluster.run(&[
            &format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}"),
            "SELECT pg_reload_conf()",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        ]);
    }

    /// Runs statements in the host's PostgreSQL as its owner, behind the host's back.
    pub fn tamper(&self, statements: &[&str]) {
        self.cluster.as_ref().expect("the host's tables are on PostgreSQL").run(statements);
    }

    /// Address of the API.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Address of the metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.running.metrics_address
    }

    /// The host as a library.
    pub fn library(&self) -> &Host {
        &self.running.host
    }

    /// The host application, acting in a tenant through the library.
    pub fn caller(&self, tenant: &str) -> Caller {
        let token = tokens::token(&format!("app@{tenant}"), Some(tenant), &[Role::Host], &[]);
        Caller {
            tenant: tenant.parse().expect("a tenant id"),
            actor: self.library().authenticate(&token).expect("the test's own token"),
            trace: random_trace(),
            locale: "en".into(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Folder of its compiled guests.
    pub fn cache_dir(&self) -> &Path {
        &self.config.engine.cache_dir
    }

    /// A client without a token.
    pub fn anyone(&self) -> Client {
        Client::new(&format!("http://{}", self.address()), None)
    }

    /// A client that acts as `subject` with these claims.
    pub fn client(&self, subject: &str, tenant: Option<&str>, roles: &[Role], permissions: &[&str]) -> Client {
        self.anyone().with_token(tokens::token(subject, tenant, roles, permissions))
    }

    /// The platform's admin.
    pub fn admin(&self) -> Client {
        self.client("root", None, &[Role::SuperAdmin], &[])
    }

    /// The platform's security officer.
    pub fn security(&self) -> Client {
        self.client("sec", None, &[Role::Security], &[])
    }

    /// A tenant's admin.
    pub fn tenant_admin(&self, tenant: &str) -> Client {
        self.client(&format!("admin@{tenant}"), Some(tenant), &[Role::TenantAdmin], &[])
    }

    /// A user of a tenant, `user@<tenant>`, with these permissions in full form.
    pub fn user(&self, tenant: &str, permissions: &[&str]) -> Client {
        self.client(&format!("user@{tenant}"), Some(tenant), &[Role::Member], permissions)
    }

    /// The host application, acting in a tenant.
    pub fn app(&self, tenant: &str) -> Client {
        self.client(&format!("app@{tenant}"), Some(tenant), &[Role::Host], &[])
    }

    /// Installs a policy of a higher version than any before.
    pub async fn install_policy(&self, text: &str) {
        let envelope = policies::signed(self.next_policy_version(), text);
        self.security().put_policy(&envelope).await.expect(200);
    }

    /// A version that no policy of this host had yet.
    pub fn next_policy_version(&self) -> u64 {
        self.policies.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The PostgreSQL cluster behind it, if it has one.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }
}

/// The configuration of a test host in `folder`, with its keys written there.
pub fn config(folder: &Path, has_own_cache: bool) -> Config {
    let mut config = Config::default_for(folder);
    let keys = folder.join("keys");
    std::fs::create_dir_all(&keys).expect("a folder for keys");
    write(&keys.join("issuer.pub.pem"), ISSUER.public_pem().as_bytes());
    write(&keys.join("root.pub.pem"), ROOT.public_pem().as_bytes());
    write(&keys.join("cache.key"), &CACHE_KEY);
    write(&keys.join("registry.key.pem"), REGISTRY.private_pem().as_bytes());
    config.engine.compile_worker = programs::compile_worker();
    config.engine.instances_max = INSTANCES_MAX;
    if !has_own_cache {
        config.engine.cache_dir = shared_cache();
    }
    config.limits.admin_requests_per_minute = 1_000_000;
    config.registry.requests_per_minute = 1_000_000;
    config.limits.drain_ms = 2_000;
    config
}

/// Where test hosts keep compiled guests.
fn shared_cache() -> PathBuf {
    programs::target().join("test-cache")
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
}

/// A server on threads of its own: a test that blocks its thread holds up no answer.
struct Running {
    address: SocketAddr,
    metrics_address: SocketAddr,
    host: Host,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let (started, begun) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(&config, started, stopped));
        let (address, metrics_address, host) = begun
            .await
            .expect("the server's thread answers")
            .unwrap_or_else(|reason| panic!("the host does not start: {reason}"));
        Self { address, metrics_address, host, stop: Some(stop), thread: Some(thread) }
    }

    fn stop(&mut self) {
        // The server may have ended by itself; then there is nobody to tell.
        self.stop.take().map(|stop| stop.send(())).transpose().unwrap_or_default();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

type Begun = Result<(SocketAddr, SocketAddr, Host), String>;

fn serve(config: &Config, started: oneshot::Sender<Begun>, stopped: oneshot::Receiver<()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match Server::bind(config).await {
            Ok(server) => {
                drop(started.send(Ok((server.addr, server.metrics_addr, server.host().clone()))));
                // The sender is dropped with a test that panics: that ends the server as well.
                let shutdown = async { drop(stopped.await) };
                server.run(shutdown).await.expect("the server runs to its end");
            }
            Err(error) => drop(started.send(Err(chain(&error)))),
        }
    });
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
