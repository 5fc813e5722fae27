//! What each trust level allows by default, where a rule does not name it. Hosts and secrets are always named by a rule.
//! It decides nothing; reading a policy fills it in.

use bulkhead_model::limits::LimitsCeiling;
use bulkhead_model::{Interface, TrustLevel};

use super::{Ceiling, Pattern};

/// Interfaces of `community`: the plugin's own data in the tenant.
const COMMUNITY: [Interface; 3] = [Interface::Sql, Interface::Kv, Interface::Blob];
/// Interfaces of `verified`: also what meets other plugins and the outside, each bounded by further names or grants.
const VERIFIED: [Interface; 12] = [
    Interface::Sql,
    Interface::Kv,
    Interface::Blob,
    Interface::Views,
    Interface::Http,
    Interface::EventsPublish,
    Interface::Secrets,
    Interface::ServicesCall,
    Interface::HooksDispatch,
    Interface::JobsSchedule,
    Interface::Signals,
    Interface::Metrics,
];

/// The ceiling of a rule of this level that has none of its own.
pub(super) fn ceiling(level: TrustLevel) -> Ceiling {
    let (interfaces, events) = match level {
        TrustLevel::Untrusted => (Vec::new(), Vec::new()),
        TrustLevel::Community => (patterns(&COMMUNITY), Vec::new()),
        TrustLevel::Verified => (patterns(&VERIFIED), Vec::new()),
        TrustLevel::Core => (patterns(&Interface::ALL), vec![Pattern::any()]),
    };
    Ceiling { interfaces, events, ..Ceiling::default() }
}

/// Adds the limits of this level where the rule names none. `untrusted` and `community` leave the host's defaults.
pub(super) fn fill(limits: &mut LimitsCeiling, level: TrustLevel) {
    let (fuel_per_call, memory_bytes, storage_bytes) = match level {
        TrustLevel::Untrusted | TrustLevel::Community => return,
        TrustLevel::Verified => (500_000_000, 128 << 20, 1 << 30),
        TrustLevel::Core => (1_000_000_000, 256 << 20, 4 << 30),
    };
    limits.fuel_per_call.get_or_insert(fuel_per_call);
    limits.memory_bytes.get_or_insert(memory_bytes);
    limits.storage_bytes.get_or_insert(storage_bytes);
}

fn patterns(interfaces: &[Interface]) -> Vec<Pattern> {
    let asked_for = interfaces.iter().filter(|interface| !interface.is_baseline());
    asked_for.filter_map(|interface| Pattern::parse(&interface.qualified())).collect()
}
