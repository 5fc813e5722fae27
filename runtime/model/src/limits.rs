//! Bounds of a call: defaults, what a manifest may ask for, what a policy may allow, the host's maxima.
//! It enforces nothing; the engine does, before instantiation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Guest stack in bytes. The same for every call: wasmtime fixes it per engine.
pub const STACK_BYTES: usize = 512 * 1024;
/// Random bytes that a call may draw.
pub const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// Depth of hook dispatch from within hooks.
pub const HOOK_DEPTH_MAX: u32 = 4;
/// Requests per minute of a (tenant, plugin).
pub const RATE_PER_MINUTE: u32 = 1_000;
/// Requests that may come at once.
pub const RATE_BURST: u32 = 200;
/// How a guest is entered. Decides the default deadline and labels every measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// `routes.handle`.
    Route,
    /// `hooks.apply-filter`.
    Filter,
    /// `hooks.on-action`.
    Action,
    /// `lifecycle.init`.
    Init,
    /// `lifecycle.ready`.
    Ready,
    /// `lifecycle.shutdown`.
    Shutdown,
    /// `health.check`.
    Health,
}

impl Entry {
    /// All of them, in the order of [`Entry::index`].
    pub const ALL: [Self; 7] =
        [Self::Route, Self::Filter, Self::Action, Self::Init, Self::Ready, Self::Shutdown, Self::Health];

    /// Position in [`Entry::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Route => 0,
            Self::Filter => 1,
            Self::Action => 2,
            Self::Init => 3,
            Self::Ready => 4,
            Self::Shutdown => 5,
            Self::Health => 6,
        }
    }

    /// The entry as metrics and errors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Filter => "filter",
            Self::Action => "action",
            Self::Init => "init",
            Self::Ready => "ready",
            Self::Shutdown => "shutdown",
            Self::Health => "health",
        }
    }

    /// Wall time in milliseconds where the manifest asks for nothing.
    pub const fn deadline_ms_default(self) -> u32 {
        match self {
            Self::Route => 1_000,
            Self::Filter | Self::Action => 2_000,
            Self::Init | Self::Ready | Self::Shutdown => 5_000,
            Self::Health => 100,
        }
    }

    /// Most wall time in milliseconds that a manifest and a policy may give.
    pub const fn deadline_ms_max(self) -> u32 {
        match self {
            Self::Route | Self::Filter | Self::Action => 5_000,
            Self::Init | Self::Ready | Self::Shutdown => 30_000,
            Self::Health => 100,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether an instance lives beyond its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// A fresh instance for each call.
    #[default]
    Never,
    /// Kept for this tenant, one call after another.
    Tenant,
}

/// Bounds of a plugin in a tenant: those of one call, and those of a window over all its calls. Every field is finite; there is
/// no value for "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compute budget in wasmtime fuel units, about one per wasm instruction. At 0 the guest traps with
    /// `fuel-exhausted`; host calls cost none.
    pub fuel_units: u64,
    /// Bytes of all linear memories and tables of the store together. Growth beyond it ends the call with
    /// `memory-exceeded`.
    pub memory_bytes: u64,
    /// Wall time in milliseconds of a route or hook, host calls included; `None` takes the entry's default.
    pub deadline_ms: Option<u32>,
    /// Host calls, ours and WASI's together.
    pub host_calls: u32,
    /// Bytes that cross between guest and host in all host calls of a call together.
    pub host_call_bytes: u64,
    /// Resource handles open at once.
    pub handles: u32,
    /// Bytes of a request body or of an argument.
    pub request_bytes: u64,
    /// Bytes of a response body or of an answer.
    pub response_bytes: u64,
    /// Bytes of log; beyond it lines are dropped and counted.
    pub log_bytes: u64,
    /// Bytes of the plugin's storage in a tenant.
    pub storage_bytes: u64,
    /// Fuel units a minute over all calls of the plugin in a tenant; a minute's worth may be burnt at once.
    pub fuel_per_minute: u64,
    /// Fuel units a calendar month (UTC) over all calls of the plugin in a tenant.
    pub fuel_per_month: u64,
    /// Whether instances are kept.
    pub reuse: Reuse,
    /// Calls after which a kept instance is replaced.
    pub reuse_calls: u32,
}

impl Limits {
    /// What a plugin gets that asks for nothing.
    pub const DEFAULT: Self = Self {
        fuel_units: 100_000_000,
        memory_bytes: 64 << 20,
        deadline_ms: None,
        host_calls: 1_000,
        host_call_bytes: 16 << 20,
        handles: 256,
        request_bytes: 1 << 20,
        response_bytes: 1 << 20,
        log_bytes: 64 << 10,
        storage_bytes: 256 << 20,
        // About what one processor does in the time.
        fuel_per_minute: 60_000_000_000,
        // About three and a half days of one processor.
        fuel_per_month: 300_000_000_000_000,
        reuse: Reuse::Never,
        reuse_calls: 1_000,
    };

    /// Most that any policy can give.
    pub const HOST_MAX: Self = Self {
        fuel_units: 10_000_000_000,
        memory_bytes: 512 << 20,
        deadline_ms: Some(30_000),
        host_calls: 100_000,
        host_call_bytes: 256 << 20,
        handles: 4_096,
        request_bytes: 16 << 20,
        response_bytes: 16 << 20,
        log_bytes: 1 << 20,
        storage_bytes: 64 << 30,
        fuel_per_minute: 6_000_000_000_000,
        fuel_per_month: 100_000_000_000_000_000,
        reuse: Reuse::Tenant,
        reuse_calls: 1_000_000,
    };

    /// The bounds of a plugin: the manifest's `request` where it asks, the default elsewhere, never above `ceiling`
    /// (itself never above [`Limits::HOST_MAX`]).
    pub fn effective(request: &LimitsRequest, ceiling: &LimitsCeiling) -> Self {
        let (default, host) = (Self::DEFAULT, Self::HOST_MAX);
        let bound = |asked: Option<u64>, allowed: Option<u64>, default: u64, host: u64| {
            asked.unwrap_or(default).min(allowed.unwrap_or(default)).min(host)
        };
        // A plugin that asks for nothing gets all that policy allows.
        let window = |asked: Option<u64>, allowed: Option<u64>, default: u64, host: u64| {
            let allowed = allowed.unwrap_or(default).min(host);
            asked.map_or(allowed, |asked| asked.min(allowed))
        };
        Self {
            fuel_units: bound(request.fuel_per_call, ceiling.fuel_per_call, default.fuel_units, host.fuel_units),
            memory_bytes: bound(request.memory_bytes, ceiling.memory_bytes, default.memory_bytes, host.memory_bytes),
            deadline_ms: match (request.deadline_ms, ceiling.deadline_ms) {
                (None, None) => None,
                (Some(asked), None) => Some(asked),
                (asked, Some(most)) => Some(asked.unwrap_or(most).min(most)),
            },
            storage_bytes: window(None, ceiling.storage_bytes, default.storage_bytes, host.storage_bytes),
            fuel_per_minute: window(
                request.fuel_per_minute,
                ceiling.fuel_per_minute,
                default.fuel_per_minute,
                host.fuel_per_minute,
            ),
            fuel_per_month: window(
                request.fuel_per_month,
                ceiling.fuel_per_month,
                default.fuel_per_month,
                host.fuel_per_month,
            ),
            reuse: request.reuse,
            reuse_calls: request.reuse_calls_max.unwrap_or(default.reuse_calls).clamp(1, host.reuse_calls),
            ..default
        }
    }

    /// Wall time in milliseconds of a call through `entry`.
    pub fn deadline_ms(&self, entry: Entry) -> u32 {
        let asked = match entry {
            Entry::Route | Entry::Filter | Entry::Action => self.deadline_ms,
            Entry::Init | Entry::Ready | Entry::Shutdown | Entry::Health => None,
        };
        asked.unwrap_or(entry.deadline_ms_default()).min(entry.deadline_ms_max())
    }
}

/// What a manifest asks for under `[limits]`; the ceiling wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsRequest {
    /// Compute budget of a call in fuel units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 10_000_000_000_u64))]
    pub fuel_per_call: Option<u64>,
    /// Bytes of all memories and tables together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65_536, max = 536_870_912))]
    pub memory_bytes: Option<u64>,
    /// Wall time of a route or hook in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30_000))]
    pub deadline_ms: Option<u32>,
    /// Fuel units a minute over all calls in a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 6_000_000_000_000_u64))]
    pub fuel_per_minute: Option<u64>,
    /// Fuel units a calendar month (UTC) over all calls in a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 100_000_000_000_000_000_u64))]
    pub fuel_per_month: Option<u64>,
    /// Whether instances are kept.
    #[serde(default, skip_serializing_if = "crate::manifest::is_default")]
    pub reuse: Reuse,
    /// Calls after which a kept instance is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub reuse_calls_max: Option<u32>,
}

/// What a policy rule allows at most; `None` leaves the default as the most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsCeiling {
    /// Compute budget of a call in fuel units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_per_call: Option<u64>,
    /// Bytes of all memories and tables together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Wall time of a route or hook in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Bytes of the plugin's storage in a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// Fuel units a minute over all calls in a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_per_minute: Option<u64>,
    /// Fuel units a calendar month (UTC) over all calls in a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_per_month: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_wins_over_the_request_and_the_host_over_both() {
        let request =
            LimitsRequest { fuel_per_call: Some(5_000_000_000), memory_bytes: Some(1 << 40), ..Default::default() };

        let plain = Limits::effective(&request, &LimitsCeiling::default());
        let raised = Limits::effective(
            &request,
            &LimitsCeiling { fuel_per_call: Some(2_000_000_000), memory_bytes: Some(1 << 41), ..Default::default() },
        );

        assert_eq!(plain.fuel_units, Limits::DEFAULT.fuel_units);
        assert_eq!(plain.memory_bytes, Limits::DEFAULT.memory_bytes);
        assert_eq!(raised.fuel_units, 2_000_000_000);
        assert_eq!(raised.memory_bytes, Limits::HOST_MAX.memory_bytes);
    }

    #[test]
    fn a_lower_request_is_honoured() {
        let request = LimitsRequest { fuel_per_call: Some(50_000), deadline_ms: Some(200), ..Default::default() };

        let limits = Limits::effective(&request, &LimitsCeiling::default());

        assert_eq!(limits.fuel_units, 50_000);
        assert_eq!(limits.deadline_ms(Entry::Route), 200);
        assert_eq!(limits.deadline_ms(Entry::Init), 5_000);
    }

    #[test]
    fn a_windows_fuel_is_what_policy_allows_unless_the_plugin_asks_for_less() {
        let asks = |fuel_per_month| LimitsRequest { fuel_per_month, ..Default::default() };
        let allows = |fuel_per_month| LimitsCeiling { fuel_per_month, ..Default::default() };
        let check = |asked, allowed, wanted: u64| {
            let found = Limits::effective(&asks(asked), &allows(allowed)).fuel_per_month;
            assert_eq!(found, wanted, "asked {asked:?}, allowed {allowed:?}");
        };
        let (default, host) = (Limits::DEFAULT.fuel_per_month, Limits::HOST_MAX.fuel_per_month);

        check(None, None, default);
        check(Some(5_000), None, 5_000);
        check(None, Some(9_000), 9_000);
        check(Some(5_000), Some(9_000), 5_000);
        check(Some(default + 1), None, default);
        check(None, Some(default + 1), default + 1);
        check(None, Some(u64::MAX), host);
    }

    #[test]
    fn each_entry_has_an_index_of_its_own() {
        for (position, entry) in Entry::ALL.into_iter().enumerate() {
            assert_eq!(entry.index(), position, "{entry}");
        }
    }

    #[test]
    fn no_deadline_passes_the_hard_ceiling_of_its_entry() {
        let request = LimitsRequest { deadline_ms: Some(30_000), ..Default::default() };

        let limits = Limits::effective(&request, &LimitsCeiling { deadline_ms: Some(30_000), ..Default::default() });

        assert_eq!(limits.deadline_ms(Entry::Route), 5_000);
        assert_eq!(Limits::DEFAULT.deadline_ms(Entry::Route), 1_000);
        assert_eq!(Limits::DEFAULT.deadline_ms(Entry::Filter), 2_000);
        assert_eq!(Limits::DEFAULT.deadline_ms(Entry::Health), 100);
    }
}
