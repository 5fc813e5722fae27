//! What a release can do and asks for, taken from its bytes: imported functions, interfaces, hosts, secrets, topics, hooks,
//! limits, ways in, sizes. `diff` compares two releases.
//! It grants nothing and judges nobody; a policy rule and a tenant do.

mod diff;
mod list;

use std::collections::BTreeMap;

use bulkhead_model::{Digest, PluginId, Version};

pub use diff::{CapabilityDiff, Compared, Difference, Direction};

use crate::artifact;
use crate::functions;
use crate::refusal::Refusal;
use crate::structure::StructuralLimits;

/// What a capability is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// An interface of ours that is asked for and really imported.
    Interface,
    /// A function that is imported and reaches something.
    Import,
    /// Method, host and port of outbound HTTP.
    Host,
    /// A secret that is put into requests.
    Secret,
    /// A topic that is published.
    Event,
    /// A topic that is told.
    Subscription,
    /// A view of another plugin.
    View,
    /// A service of another plugin.
    Service,
    /// A channel of signals.
    Signal,
    /// A hook of its own that it dispatches.
    Dispatch,
    /// A hook that it handles: it sees, and as a filter changes, what passes.
    Hook,
    /// Whether it asks to be `core` or `critical`.
    Standing,
    /// A limit that it asks for.
    Limit,
    /// A function that is imported and reaches nothing.
    InertImport,
    /// A function that it exports.
    Export,
    /// A route.
    Route,
    /// A websocket.
    Websocket,
    /// A guard.
    Guard,
    /// A permission of users.
    Permission,
    /// A hook that it offers to others.
    ExtensionPoint,
    /// A view for others.
    ProvidedView,
    /// A service for others.
    ProvidedService,
    /// Scheduled work.
    Job,
    /// A migration of its storage.
    Migration,
    /// A size or count of the file.
    Size,
}

impl Area {
    /// Every area, in the order in which they are shown.
    pub const ALL: [Self; 25] = [
        Self::Interface,
        Self::Import,
        Self::Host,
        Self::Secret,
        Self::Event,
        Self::Subscription,
        Self::View,
        Self::Service,
        Self::Signal,
        Self::Dispatch,
        Self::Hook,
        Self::Standing,
        Self::Limit,
        Self::InertImport,
        Self::Export,
        Self::Route,
        Self::Websocket,
        Self::Guard,
        Self::Permission,
        Self::ExtensionPoint,
        Self::ProvidedView,
        Self::ProvidedService,
        Self::Job,
        Self::Migration,
        Self::Size,
    ];

    /// The area as JSON and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Import => "import",
            Self::Host => "host",
            Self::Secret => "secret",
            Self::Event => "event",
            Self::Subscription => "subscription",
            Self::View => "view",
            Self::Service => "service",
            Self::Signal => "signal",
            Self::Dispatch => "dispatch",
            Self::Hook => "hook",
            Self::Standing => "standing",
            Self::Limit => "limit",
            Self::InertImport => "inert-import",
            Self::Export => "export",
            Self::Route => "route",
            Self::Websocket => "websocket",
            Self::Guard => "guard",
            Self::Permission => "permission",
            Self::ExtensionPoint => "extension-point",
            Self::ProvidedView => "provided-view",
            Self::ProvidedService => "provided-service",
            Self::Job => "job",
            Self::Migration => "migration",
            Self::Size => "size",
        }
    }

    /// Whether more of it is more authority over what is not the plugin's own. The rest is for people to look at.
    pub const fn is_authority(self) -> bool {
        match self {
            Self::Interface
            | Self::Import
            | Self::Host
            | Self::Secret
            | Self::Event
            | Self::Subscription
            | Self::View
            | Self::Service
            | Self::Signal
            | Self::Dispatch
            | Self::Hook
            | Self::Standing
            | Self::Limit => true,
            Self::InertImport
            | Self::Export
            | Self::Route
            | Self::Websocket
            | Self::Guard
            | Self::Permission
            | Self::ExtensionPoint
            | Self::ProvidedView
            | Self::ProvidedService
            | Self::Job
            | Self::Migration
            | Self::Size => false,
        }
    }
}

/// What a release has of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// For people; a change of it is a difference.
    text: String,
    /// How much it is in each respect, as the least and the most that it may mean: what is left to the host is a range.
    /// Without any, nothing says which of two texts is more.
    measures: Vec<(u64, u64)>,
}

impl Held {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), measures: Vec::new() }
    }

    fn measured(text: impl Into<String>, measures: impl IntoIterator<Item = u64>) -> Self {
        Self { text: text.into(), measures: measures.into_iter().map(|measure| (measure, measure)).collect() }
    }
}

/// Everything that a release can do and asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// The release.
    pub digest: Digest,
    held: BTreeMap<(Area, String), Held>,
}

impl Capabilities {
    /// Reads the capabilities of an artifact from its bytes; `limits` bound the work as they do in [`artifact::read`].
    pub fn of(bytes: &[u8], limits: &StructuralLimits) -> Result<Self, Vec<Refusal>> {
        let artifact = artifact::read(bytes, limits)?;
        let functions = functions::read(bytes, &artifact).map_err(|refusal| vec![refusal])?;
        Ok(Self {
            plugin: artifact.manifest.plugin.id.clone(),
            version: artifact.manifest.plugin.version.clone(),
            digest: artifact.digest,
            held: list::held(&artifact, &functions),
        })
    }

    /// Each thing: area, name, and what is said of it. Sorted by area and name.
    pub fn iter(&self) -> impl Iterator<Item = (Area, &str, &str)> {
        self.held.iter().map(|((area, name), held)| (*area, name.as_str(), held.text.as_str()))
    }

    /// What `newer` has more, less and differently.
    pub fn diff(&self, newer: &Self) -> CapabilityDiff {
        diff::between(self, newer)
    }
}
