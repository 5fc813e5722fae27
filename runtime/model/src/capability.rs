//! Capabilities: which host interfaces exist, and the grant of a plugin in a tenant.
//! It decides nothing about signers; the ceiling comes from the policy rule that allowed the release.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Package of every interface of ours.
pub const PACKAGE: &str = "bulkhead:plugin";

/// An interface that a plugin may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interface {
    /// Structured log lines.
    Log,
    /// Tables of the plugin in the tenant.
    Sql,
    /// Key-value pairs of the plugin in the tenant.
    Kv,
    /// Blobs of the plugin in the tenant.
    Blob,
    /// Views that other plugins publish.
    Views,
    /// Outbound HTTP.
    Http,
    /// Publishing events.
    EventsPublish,
    /// The tenant's configuration.
    Config,
    /// Secrets.
    Secrets,
    /// Services of other plugins.
    ServicesCall,
    /// Dispatching the plugin's own hooks.
    HooksDispatch,
    /// Permissions of the end user.
    Authz,
    /// Sending on websockets.
    SocketsSend,
    /// Delayed jobs.
    JobsSchedule,
    /// The signal channel.
    Signals,
    /// Metrics of the plugin.
    Metrics,
    /// Keys that the guest never sees.
    Crypto,
}

impl Interface {
    /// Every interface.
    pub const ALL: [Self; 17] = [
        Self::Log,
        Self::Sql,
        Self::Kv,
        Self::Blob,
        Self::Views,
        Self::Http,
        Self::EventsPublish,
        Self::Config,
        Self::Secrets,
        Self::ServicesCall,
        Self::HooksDispatch,
        Self::Authz,
        Self::SocketsSend,
        Self::JobsSchedule,
        Self::Signals,
        Self::Metrics,
        Self::Crypto,
    ];

    /// Interfaces that this host serves. A plugin that imports another is refused with `incompatible-contract`.
    pub const SERVED: [Self; 7] = [Self::Log, Self::Sql, Self::Kv, Self::Blob, Self::Views, Self::Config, Self::Authz];

    /// Name of the interface in the WIT package.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Sql => "sql",
            Self::Kv => "kv",
            Self::Blob => "blob",
            Self::Views => "views",
            Self::Http => "http",
            Self::EventsPublish => "events-publish",
            Self::Config => "config",
            Self::Secrets => "secrets",
            Self::ServicesCall => "services-call",
            Self::HooksDispatch => "hooks-dispatch",
            Self::Authz => "authz",
            Self::SocketsSend => "sockets-send",
            Self::JobsSchedule => "jobs-schedule",
            Self::Signals => "signals",
            Self::Metrics => "metrics",
            Self::Crypto => "crypto",
        }
    }

    /// Name with the package, as ceilings write it, for example `bulkhead:plugin/sql`.
    pub fn qualified(self) -> String {
        format!("{PACKAGE}/{}", self.as_str())
    }

    /// Whether every plugin has it without asking: it reaches nothing but the call's own log, configuration and user.
    pub const fn is_baseline(self) -> bool {
        matches!(self, Self::Log | Self::Config | Self::Authz)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown interface")]
pub struct InvalidInterface;

impl FromStr for Interface {
    type Err = InvalidInterface;

    fn from_str(text: &str) -> Result<Self, InvalidInterface> {
        Self::ALL.into_iter().find(|interface| interface.as_str() == text).ok_or(InvalidInterface)
    }
}

/// What a plugin may use in a tenant: manifest request ∩ real imports ∩ ceiling ∩ the tenant's consent.
/// The default holds the baseline alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    interfaces: BTreeSet<Interface>,
}

/// An interface that was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not granted to this plugin")]
pub struct NotGranted(pub Interface);

impl Default for Grants {
    fn default() -> Self {
        Self::of([])
    }
}

impl Grants {
    /// The baseline and these interfaces.
    pub fn of(interfaces: impl IntoIterator<Item = Interface>) -> Self {
        let baseline = Interface::ALL.into_iter().filter(|interface| interface.is_baseline());
        Self { interfaces: baseline.chain(interfaces).collect() }
    }

    /// What both allow.
    pub fn intersection(&self, other: &Self) -> Self {
        Self { interfaces: self.interfaces.intersection(&other.interfaces).copied().collect() }
    }

    /// Whether `interface` is granted.
    pub fn allows(&self, interface: Interface) -> bool {
        self.interfaces.contains(&interface)
    }

    /// The first line of every host import.
    pub fn check(&self, interface: Interface) -> Result<(), NotGranted> {
        if self.allows(interface) { Ok(()) } else { Err(NotGranted(interface)) }
    }

    /// The granted interfaces in order.
    pub fn iter(&self) -> impl Iterator<Item = Interface> {
        self.interfaces.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_baseline_is_granted_by_default() {
        let grants = Grants::default();

        let granted: Vec<_> = grants.iter().collect();

        assert_eq!(granted, [Interface::Log, Interface::Config, Interface::Authz]);
        assert_eq!(grants.check(Interface::Sql), Err(NotGranted(Interface::Sql)));
    }

    #[test]
    fn a_grant_is_what_both_sides_allow() {
        let asked = Grants::of([Interface::Sql, Interface::Kv]);
        let ceiling = Grants::of([Interface::Kv, Interface::Http]);

        let grants = asked.intersection(&ceiling);

        assert!(grants.allows(Interface::Kv) && grants.allows(Interface::Log));
        assert!(!grants.allows(Interface::Sql) && !grants.allows(Interface::Http));
    }
}
