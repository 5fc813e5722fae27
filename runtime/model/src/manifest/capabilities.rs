//! What a plugin asks the host for.
//! Asking grants nothing: see `capability::Grants`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Manifest, Method};
use crate::capability::Interface;
use crate::id::HookName;

/// `[capabilities]`: what the plugin asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Own tables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sql: bool,
    /// Key-value pairs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kv: bool,
    /// Blobs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blob: bool,
    /// Outbound HTTP, each host named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub http: Vec<HttpRequest>,
    /// Names of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub secrets: Vec<String>,
    /// Keys that the guest never sees.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crypto: bool,
    /// Channels of the signal socket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub signals: Vec<String>,
    /// Delayed jobs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delayed_jobs: bool,
    /// Metrics of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metrics: bool,
    /// Own hooks that it dispatches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub hooks_dispatch: Vec<HookName>,
}

/// An outbound host of `[capabilities]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Host name.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Methods; empty means GET.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub methods: Vec<Method>,
    /// Ports; empty means 443.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65_535)))]
    pub ports: Vec<u16>,
}

impl Manifest {
    /// Interfaces that the manifest asks for, beyond the baseline.
    pub fn requested(&self) -> impl Iterator<Item = Interface> + '_ {
        let asked = &self.capabilities;
        [
            (Interface::Sql, asked.sql),
            (Interface::Kv, asked.kv),
            (Interface::Blob, asked.blob),
            (Interface::Views, !self.views.uses.is_empty()),
            (Interface::Http, !asked.http.is_empty()),
            (Interface::EventsPublish, !self.events.publishes.is_empty()),
            (Interface::Secrets, !asked.secrets.is_empty()),
            (Interface::ServicesCall, !self.services.uses.is_empty()),
            (Interface::HooksDispatch, !asked.hooks_dispatch.is_empty()),
            (Interface::SocketsSend, !self.websockets.is_empty()),
            (Interface::JobsSchedule, asked.delayed_jobs),
            (Interface::Signals, !asked.signals.is_empty()),
            (Interface::Metrics, asked.metrics),
            (Interface::Crypto, asked.crypto),
        ]
        .into_iter()
        .filter_map(|(interface, asked)| asked.then_some(interface))
    }
}
