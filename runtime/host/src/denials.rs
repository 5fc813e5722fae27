//! Which denials are written to the audit log: each plugin, tenant and reason once an hour, so that no flood of refused
//! requests becomes a flood of entries. Counting them is the metrics'.

use std::collections::HashSet;

use bulkhead_model::{Code, PluginId, TenantId};
use jiff::Timestamp;

/// Different ones that are told apart within an hour; more are left out of the log.
const KNOWN_MAX: usize = 10_000;
/// Seconds of an hour.
const HOUR_S: i64 = 3_600;

/// The denials of the running hour.
#[derive(Default)]
pub(crate) struct Denials(parking_lot::Mutex<Hour>);

#[derive(Default)]
struct Hour {
    number: i64,
    known: HashSet<(Option<PluginId>, Option<TenantId>, Code)>,
}

impl Denials {
    /// Whether this denial is the first of its kind in the hour of `now`.
    pub(crate) fn is_new(
        &self,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        code: Code,
        now: Timestamp,
    ) -> bool {
        let mut hour = self.0.lock();
        let number = now.as_second().div_euclid(HOUR_S);
        if hour.number != number {
            (hour.number, hour.known) = (number, HashSet::new());
        }
        hour.known.len() < KNOWN_MAX && hour.known.insert((plugin.cloned(), tenant.cloned(), code))
    }

    /// Takes one back that could not be written: the next of its kind is new again.
    pub(crate) fn forget(&self, plugin: Option<&PluginId>, tenant: Option<&TenantId>, code: Code) {
        self.0.lock().known.remove(&(plugin.cloned(), tenant.cloned(), code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_denial_is_new_once_an_hour_and_a_flood_ends() {
        let denials = Denials::default();
        let plugin: PluginId = "acme.crm".parse().unwrap();
        let is_new = |plugin: Option<&PluginId>, code, second| {
            denials.is_new(plugin, None, code, Timestamp::from_second(second).unwrap())
        };

        assert!(is_new(Some(&plugin), Code::Revoked, 0));
        assert!(!is_new(Some(&plugin), Code::Revoked, 3_599));
        assert!(is_new(Some(&plugin), Code::Expired, 3_599));
        assert!(is_new(None, Code::Revoked, 3_599));
        denials.forget(None, None, Code::Revoked);
        assert!(is_new(None, Code::Revoked, 3_599));
        assert!(is_new(Some(&plugin), Code::Revoked, 3_600));
        for number in 0..KNOWN_MAX + 10 {
            is_new(Some(&format!("acme.p{number}").parse().unwrap()), Code::Revoked, 7_200);
        }
        assert_eq!(denials.0.lock().known.len(), KNOWN_MAX);
    }
}
