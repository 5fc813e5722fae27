//! What rules, deny entries and policies that are only observed would have denied: each plugin, tenant and reason once an hour.
//! It denies nothing and writes nothing; `worker::observe` writes.

use std::collections::HashSet;

use bulkhead_model::{Code, PluginId, TenantId};
use bulkhead_trust::admit::Observation;
use jiff::Timestamp;

/// Different ones that are told apart within an hour; more are left out.
const KNOWN_MAX: usize = 10_000;
/// Observations that wait to be written; more are left out.
const UNWRITTEN_MAX: usize = 1_000;
/// Seconds of an hour.
const HOUR_S: i64 = 3_600;

/// One that is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) plugin: PluginId,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) observation: Observation,
}

/// The observations of the running hour.
#[derive(Default)]
pub(crate) struct Observations(parking_lot::Mutex<Hour>);

#[derive(Default)]
struct Hour {
    number: i64,
    known: HashSet<(PluginId, Option<TenantId>, Code)>,
    unwritten: Vec<Observed>,
}

impl Observations {
    /// Notes what would have been denied at `now`, unless the same was noted within the hour. Answers the reasons that
    /// were new, to be counted.
    pub(crate) fn note(
        &self,
        plugin: &PluginId,
        tenant: Option<&TenantId>,
        observations: Vec<Observation>,
        now: Timestamp,
    ) -> Vec<Code> {
        let mut fresh = Vec::new();
        if observations.is_empty() {
            return fresh;
        }
        let mut hour = self.0.lock();
        let number = now.as_second().div_euclid(HOUR_S);
        if hour.number != number {
            (hour.number, hour.known) = (number, HashSet::new());
        }
        for observation in observations {
            let code = observation.refusal.code;
            if hour.known.len() >= KNOWN_MAX || !hour.known.insert((plugin.clone(), tenant.cloned(), code)) {
                continue;
            }
            fresh.push(code);
            if hour.unwritten.len() < UNWRITTEN_MAX {
                hour.unwritten.push(Observed { plugin: plugin.clone(), tenant: tenant.cloned(), observation });
            }
        }
        fresh
    }

    /// Takes what is not written down yet.
    pub(crate) fn take(&self) -> Vec<Observed> {
        std::mem::take(&mut self.0.lock().unwritten)
    }

    /// Gives back what could not be written.
    pub(crate) fn give_back(&self, observed: Vec<Observed>) {
        let mut hour = self.0.lock();
        let room = UNWRITTEN_MAX.saturating_sub(hour.unwritten.len());
        hour.unwritten.extend(observed.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_trust::Refusal;

    use super::*;

    fn observation(code: Code) -> Observation {
        Observation { by: "strict".to_owned(), refusal: Refusal::new(code, "a test") }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_same_is_noted_once_an_hour_and_others_apart() {
        let observations = Observations::default();
        let (plugin, tenant): (PluginId, TenantId) = ("acme.crm".parse().unwrap(), "bank".parse().unwrap());
        let note = |tenant: Option<&TenantId>, code, seconds| {
            observations.note(&plugin, tenant, vec![observation(code)], at(seconds)).len()
        };

        assert_eq!(note(Some(&tenant), Code::Revoked, 0), 1);
        assert_eq!(note(Some(&tenant), Code::Revoked, 3_599), 0);
        assert_eq!(note(None, Code::Revoked, 3_599), 1);
        assert_eq!(note(Some(&tenant), Code::Expired, 3_599), 1);
        assert_eq!(note(Some(&tenant), Code::Revoked, 3_600), 1);
        assert_eq!(observations.take().len(), 4);
        assert_eq!(observations.take(), []);
    }

    #[test]
    fn no_flood_of_observations_fills_the_memory_or_the_log() {
        let observations = Observations::default();
        let plugin: PluginId = "acme.crm".parse().unwrap();

        for number in 0..KNOWN_MAX + 500 {
            let tenant: TenantId = format!("t{number}").parse().unwrap();
            observations.note(&plugin, Some(&tenant), vec![observation(Code::Revoked)], at(0));
        }

        assert_eq!(observations.0.lock().known.len(), KNOWN_MAX);
        let unwritten = observations.take();
        assert_eq!(unwritten.len(), UNWRITTEN_MAX);
        observations.give_back(unwritten.clone());
        observations.give_back(unwritten);
        assert_eq!(observations.take().len(), UNWRITTEN_MAX);
    }
}
