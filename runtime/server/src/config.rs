//! The one validated configuration: `bulkhead.toml`, then `BULKHEAD__SECTION__KEY`, then the command line's flags.
//! It opens no socket and no database, and makes no file; `bootstrap` makes keys.

mod check;
mod host;
mod issuers;
mod layers;
mod show;
mod sources;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::Issue;
pub use sources::{SourceCredential, Sources};

/// Name of the file that is read where none is named, if it is there.
pub const FILE_NAME: &str = "bulkhead.toml";
/// Folder of data where nothing is configured.
pub const DATA_DIR: &str = "bulkhead-data";

/// The configuration of a host. Paths are relative to the file's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Mode, addresses, data folder.
    pub server: Server,
    /// The host's own tables.
    pub database: Database,
    /// Running plugins.
    pub engine: Engine,
    /// Who issues tokens.
    pub auth: Auth,
    /// Who signs the policy.
    pub policy: Policy,
    /// Bounds of the HTTP face.
    pub limits: Limits,
    /// The log.
    pub telemetry: Telemetry,
    /// Plugins and tenants.
    pub plugins: Plugins,
    /// The plugin registry.
    pub registry: Registry,
    /// What the host asks of other servers.
    pub outbound: Outbound,
    /// Where plugins are fetched from.
    pub sources: Sources,
    /// Every plugin but core ones starts stopped: `PLUGINS_DISABLED=1` in the environment, in no file.
    #[serde(skip)]
    pub plugins_disabled: bool,
    /// Keys that are missing are made at the start: nothing was configured that says where they are.
    #[serde(skip)]
    pub makes_keys: bool,
    /// The key of compiled plugins is made at the start when it is missing: no file was named for it.
    #[serde(skip)]
    pub makes_cache_key: bool,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `production`, or `dev`: unsigned plugins are admitted and the listeners are loopback only.
    #[schemars(with = "String", extend("enum" = ["production", "dev"]))]
    pub mode: Mode,
    /// Address and port of the API.
    #[schemars(with = "String", extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Address and port of `/metrics`.
    #[schemars(with = "String", extend("format" = "socket-address"))]
    pub metrics_listen: SocketAddr,
    /// Address under which clients reach the API, for documents that name it.
    #[schemars(extend("format" = "http-url"))]
    pub public_url: Option<String>,
    /// Folder of keys, plugins' data and compiled plugins: that of `database.url` for SQLite, else `bulkhead-data`.
    pub data_dir: PathBuf,
}

/// Where the host runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Unsigned artifacts are refused everywhere.
    #[default]
    Production,
    /// For one author on one machine.
    Dev,
}

/// `[database]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:<folder>` or `postgres://user:password@host/database`.
    #[schemars(extend("format" = "database-url"))]
    pub url: String,
    /// Connections of the host's own pool.
    #[schemars(range(min = 1, max = 1_000))]
    pub pool_max: u32,
    /// File with the 32 bytes (or 64 hex digits) from which the passwords of the logins that run plugins' SQL on PostgreSQL
    /// are made; the same for all hosts of a database. Where none is named, the database keeps a secret for it.
    pub login_key_file: Option<PathBuf>,
}

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Live instances at once, over all plugins and tenants.
    #[schemars(range(min = 1, max = 100_000))]
    pub instances_max: u32,
    /// Bytes of guest memory at once, over all instances.
    #[schemars(range(min = 67_108_864))]
    pub memory_bytes_max_total: u64,
    /// Folder of compiled plugins: `cache` in the data folder.
    pub cache_dir: PathBuf,
    /// File with the 32 bytes (or 64 hex digits) that bind compiled plugins to this host. Where none is named:
    /// `cache.key` beside the other keys, made when it is missing.
    pub cache_key_file: PathBuf,
    /// Program whose `compile-worker` command compiles: this executable.
    pub compile_worker: PathBuf,
    /// Compile workers at once.
    #[schemars(range(min = 1, max = 64))]
    pub compile_jobs_max: u32,
    /// Milliseconds after which a kept instance without calls is dropped.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub idle_ms: u64,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Issuers whose tokens are accepted: the local one with `keys/issuer.pub.pem`.
    #[schemars(length(max = 16))]
    pub issuers: Vec<Issuer>,
}

/// `[[auth.issuers]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// `local`: tokens by a key pair of the operator. `oidc`: tokens by an OIDC issuer, whose public keys are fetched.
    #[schemars(with = "String", extend("enum" = ["local", "oidc"]))]
    pub kind: IssuerKind,
    /// `local`: public key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PathBuf>,
    /// `oidc`: the `iss` of its tokens, where `/.well-known/openid-configuration` is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "http-url"))]
    pub issuer: Option<String>,
    /// `oidc`: where its keys are, if not where its discovery document says, on its own host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "http-url"))]
    pub jwks_url: Option<String>,
    /// `oidc`: the `aud` of its tokens: `bulkhead`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// `oidc`: algorithms that it may use, of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`:
    /// `RS256`, `ES256` and `EdDSA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(max = 16)))]
    pub algorithms: Vec<String>,
    /// `oidc`: claim with the roles, a name or a JSON pointer such as `/realm_access/roles`: `roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub roles_claim: Option<String>,
    /// `oidc`: claim with the tenant, likewise: `tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub tenant_claim: Option<String>,
    /// `oidc`: claim with permissions in full form, likewise: `permissions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub permissions_claim: Option<String>,
    /// `oidc`: what stands before its subjects, so that they are not taken for another issuer's: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub subject_prefix: Option<String>,
    /// `oidc`: roles that it may give, of `super_admin`, `security`, `tenant_admin`, `host`, `member`: none. A token that names another one of them is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(max = 16)))]
    pub roles_max: Vec<String>,
    /// `oidc`: tenants that it may speak for, ids or beginnings with `*`: none. Roles for the whole platform need `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    pub tenants: Vec<String>,
}

impl Issuer {
    /// A local one with its public key.
    pub fn local(public_key: PathBuf) -> Self {
        Self {
            kind: IssuerKind::Local,
            public_key: Some(public_key),
            issuer: None,
            jwks_url: None,
            audience: None,
            algorithms: Vec::new(),
            roles_claim: None,
            tenant_claim: None,
            permissions_claim: None,
            subject_prefix: None,
            roles_max: Vec::new(),
            tenants: Vec::new(),
        }
    }
}

impl Auth {
    /// Public keys of the local issuers.
    pub fn local_keys(&self) -> impl Iterator<Item = &PathBuf> {
        self.issuers.iter().filter_map(|issuer| issuer.public_key.as_ref())
    }
}

/// How an issuer's tokens are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// By a public key in a file.
    Local,
    /// By public keys that the issuer publishes.
    Oidc,
}

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Public keys in PEM that may sign the policy: `keys/root.pub.pem`, if it is there. Without one no policy can be
    /// installed, and everything is refused.
    #[schemars(length(max = 16))]
    pub root_keys: Vec<PathBuf>,
    /// Signatures of root keys that a policy needs.
    #[schemars(range(min = 1, max = 16))]
    pub threshold: u32,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; further ones wait to be accepted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: u32,
    /// Requests at once; further ones get 503.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_max: u32,
    /// Artifacts that are received at once; further ones get 503.
    #[schemars(range(min = 1, max = 256))]
    pub uploads_max: u32,
    /// Requests per minute to the administration API by one subject of a tenant; further ones get 429.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub admin_requests_per_minute: u32,
    /// Milliseconds that requests in flight have at a shutdown.
    #[schemars(range(min = 0, max = 600_000))]
    pub drain_ms: u64,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels per module.
    #[schemars(extend("format" = "log-filter"))]
    pub log: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Tenants that are named in metrics; all further ones share the label `_other`.
    #[schemars(range(max = 100_000))]
    pub tenants_labelled_max: u32,
}

/// `[plugins]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// Plugins that every new tenant gets.
    #[schemars(length(max = 1_000))]
    pub by_default: Vec<bulkhead_model::PluginId>,
}

/// `[registry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Largest blob that an open namespace takes, in bytes; one of plugins takes 33,554,432.
    #[schemars(range(min = 1_048_576, max = 4_294_967_296_u64))]
    pub open_blob_bytes_max: u64,
    /// Requests per minute with one token of the registry, and of all without one together; further ones get 429.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: u32,
    /// Private key (PKCS#8 PEM, Ed25519) that signs the log's checkpoints and timestamps, the same on all hosts of the
    /// database; `keys/registry.key.pem` if it is there. Without it the log grows and nothing is signed.
    pub signing_key_file: Option<PathBuf>,
    /// Name of the log in its checkpoints, such as `registry.example.com/log`: printable ASCII without spaces and `+`.
    #[schemars(length(min = 1, max = 200), regex(pattern = "^[!-*,-~]+$"))]
    pub origin: String,
    /// Hours that a timestamp is good for; it is signed anew after half of them.
    #[schemars(range(min = 1, max = 8_760))]
    pub timestamp_hours: u32,
}

/// `[outbound]`: public HTTPS addresses are asked, and nothing else but what is named here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Hosts that may be at private addresses or on this machine, with their ports: `registry.corp.example:5000`,
    /// `*.corp.example:443`, `10.1.2.3:*`. Link-local addresses and cloud metadata must be named by address.
    #[schemars(length(max = 256))]
    pub allow_private: Vec<HostAndPort>,
    /// Hosts that may be asked without TLS, written likewise.
    #[schemars(length(max = 256))]
    pub allow_http: Vec<HostAndPort>,
    /// File with the certificates in PEM of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "host-and-port"))]
pub struct HostAndPort(pub String);

/// What the command line says over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `server.listen`
    pub listen: Option<String>,
    /// `server.data_dir`, and with it `database.url`.
    pub data_dir: Option<PathBuf>,
    /// `server.mode`
    pub mode: Option<Mode>,
}

impl Config {
    /// Reads and validates the configuration. Without `file`, `bulkhead.toml` in the working folder is read if it is
    /// there; with neither, the defaults hold and keys are made in the data folder. Every problem is in the error.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Vec<Issue>> {
        layers::load(file, overrides, std::env::vars_os())
    }

    /// A host with its data, keys included, in one folder, on free ports of loopback.
    pub fn default_for(data_dir: &Path) -> Self {
        let mut config = Self::default();
        config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.server.metrics_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.server.data_dir = data_dir.to_owned();
        config.database.url = format!("sqlite:{}", data_dir.display());
        config.makes_keys = true;
        config.fill(Path::new(""), &data_dir.join("keys"));
        config
    }

    /// JSON Schema of the file.
    pub fn json_schema() -> serde_json::Value {
        check::schema().clone()
    }

    /// Sets what depends on other values, and makes paths independent of the working folder's role: relative to `base`.
    fn fill(&mut self, base: &Path, keys: &Path) {
        self.makes_cache_key = self.engine.cache_key_file.as_os_str().is_empty();
        let or = |path: &PathBuf, default: PathBuf| {
            if path.as_os_str().is_empty() { default } else { base.join(path) }
        };
        self.server.data_dir = base.join(&self.server.data_dir);
        self.engine.cache_dir = or(&self.engine.cache_dir, self.server.data_dir.join("cache"));
        self.engine.cache_key_file = or(&self.engine.cache_key_file, keys.join("cache.key"));
        if self.auth.issuers.is_empty() {
            self.auth.issuers.push(Issuer::local(keys.join("issuer.pub.pem")));
        } else {
            for issuer in &mut self.auth.issuers {
                issuer.public_key = issuer.public_key.as_ref().map(|path| base.join(path));
            }
        }
        let registry = keys.join("registry.key.pem");
        self.registry.signing_key_file = match self.registry.signing_key_file.take() {
            Some(named) => Some(base.join(named)),
            None if self.makes_keys || registry.is_file() => Some(registry),
            None => None,
        };
        self.outbound.ca_file = self.outbound.ca_file.as_ref().map(|path| base.join(path));
        for folder in &mut self.sources.directories {
            *folder = base.join(&folder);
        }
        for credential in self.sources.credentials.values_mut() {
            credential.file = credential.file.as_ref().map(|path| base.join(path));
        }
        let root = keys.join("root.pub.pem");
        if !self.policy.root_keys.is_empty() {
            for key in &mut self.policy.root_keys {
                *key = base.join(&key);
            }
        } else if self.makes_keys || root.is_file() {
            self.policy.root_keys.push(root);
        }
        if self.engine.compile_worker.as_os_str().is_empty() {
            self.engine.compile_worker = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bulkhead"));
        } else {
            self.engine.compile_worker = base.join(&self.engine.compile_worker);
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            mode: Mode::Production,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            public_url: None,
            data_dir: PathBuf::new(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: format!("sqlite:{DATA_DIR}"), pool_max: 16, login_key_file: None }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            instances_max: 2_000,
            memory_bytes_max_total: 4 << 30,
            cache_dir: PathBuf::new(),
            cache_key_file: PathBuf::new(),
            compile_worker: PathBuf::new(),
            compile_jobs_max: 2,
            idle_ms: 60_000,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { root_keys: Vec::new(), threshold: 1 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_max: 1_024,
            uploads_max: 4,
            admin_requests_per_minute: 6_000,
            drain_ms: 10_000,
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            open_blob_bytes_max: 256 << 20,
            requests_per_minute: 6_000,
            signing_key_file: None,
            origin: "bulkhead-registry".to_owned(),
            timestamp_hours: 24,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), json: false, tenants_labelled_max: 100 }
    }
}
