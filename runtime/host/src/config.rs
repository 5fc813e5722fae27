//! What the host needs to run, by value.
//! It reads no file and no environment; the server's configuration does and builds this.

use std::path::PathBuf;
use std::sync::Arc;

use bulkhead_database::DatabaseConfig;
use bulkhead_trust::SigningKey;

use crate::auth::OidcIssuer;
use crate::fetch::OutboundConfig;
use crate::sources::SourcesConfig;

/// Where the host runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Unsigned artifacts are refused everywhere.
    #[default]
    Production,
    /// For one author on one machine: unsigned artifacts are admitted, the listener is loopback only.
    Dev,
}

impl Mode {
    /// The mode as configuration and status write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Dev => "dev",
        }
    }
}

/// Everything that a host needs. There is no default: each value comes from the validated configuration.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Production or dev.
    pub mode: Mode,
    /// The host's own tables.
    pub database: DatabaseConfig,
    /// Folder of the plugins' data, where the engine keeps it in files.
    pub data_dir: PathBuf,
    /// Key of the logins that run plugins' SQL on a database server, the same on all of its hosts; `None` uses a secret that
    /// the database keeps.
    pub storage_login_key: Option<[u8; 32]>,
    /// Live instances at once, over all plugins and tenants.
    pub instances_max: u32,
    /// Bytes of guest memory at once, over all instances.
    pub memory_bytes_max_total: u64,
    /// Folder of compiled components, mode 0700.
    pub cache_dir: PathBuf,
    /// 32 bytes that bind compiled components to this host.
    pub cache_key: [u8; 32],
    /// Program whose `compile-worker` command compiles; normally this executable.
    pub compile_worker: PathBuf,
    /// Compile workers at once.
    pub compile_jobs_max: u32,
    /// Milliseconds after which a kept instance without calls is dropped.
    pub idle_ms: u64,
    /// Public keys (SPKI PEM) of token issuers.
    pub issuer_keys_pem: Vec<String>,
    /// OIDC issuers, whose public keys are fetched.
    pub oidc_issuers: Vec<OidcIssuer>,
    /// Public keys (SPKI PEM) that may sign the policy.
    pub policy_root_keys_pem: Vec<String>,
    /// Root signatures that a policy needs.
    pub policy_threshold: u32,
    /// Start with every plugin but core ones stopped.
    pub plugins_disabled: bool,
    /// Plugins that every new tenant gets.
    pub plugins_by_default: Vec<bulkhead_model::PluginId>,
    /// Largest blob that an open namespace of the registry takes, in bytes.
    pub registry_open_blob_bytes_max: u64,
    /// Name of the registry's log, and of the key that signs its checkpoints: the same on all hosts of the database.
    pub registry_origin: String,
    /// Signs the registry's checkpoints and timestamps, the same on all hosts of the database; without it the log grows and
    /// nothing is signed.
    pub registry_key: Option<Arc<SigningKey>>,
    /// Hours that a timestamp of the registry is good for.
    pub registry_timestamp_hours: u32,
    /// What the host may ask of other servers beyond public HTTPS addresses.
    pub outbound: OutboundConfig,
    /// Where releases may be fetched from beside public addresses, and with which credentials.
    pub sources: SourcesConfig,
    /// Tenants that are named in metrics; all further ones share a label.
    pub tenants_labelled_max: u32,
}
