//! `[sources]`: from where plugins are fetched beside public addresses, and with which credentials.
//! It fetches nothing; `bulkhead_host::sources` does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HostAndPort;

/// `[sources]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// Folders below which artifacts, archives and lists may be named. Without one no file of this host is read.
    #[schemars(length(max = 16))]
    pub directories: Vec<PathBuf>,
    /// Credentials by the name that a source gives, `[sources.credentials.<name>]`: `hosts` with their ports that it is sent to and
    /// no other, `file` or `env` where the secret is, `user` for a password instead of a bearer token.
    pub credentials: BTreeMap<String, SourceCredential>,
}

/// `[sources.credentials.<name>]`: a secret for some hosts. One of `env` and `file` says where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceCredential {
    /// Hosts with their ports that it is sent to, such as `npm.corp.example:443`; to no other.
    #[schemars(length(max = 16))]
    pub hosts: Vec<HostAndPort>,
    /// The user; with it the secret is a password, without it a bearer token.
    pub user: Option<String>,
    /// Variable of the environment that holds the secret.
    pub env: Option<String>,
    /// File that holds the secret.
    pub file: Option<PathBuf>,
}
