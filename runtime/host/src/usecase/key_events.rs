//! What a new policy changes about keys: which come, which go, whose time is another. Each is an entry of the audit log.
//! A key that is revoked is on record as its revocation.

use std::collections::BTreeMap;

use bulkhead_trust::Policy;
use jiff::Timestamp;

/// Most key events of one policy that are recorded one by one; the entry of the policy itself covers the rest.
const EVENTS_MAX: usize = 1_000;

/// A key that came, went or changed: the action and the detail of its audit entry.
pub(crate) type KeyEvent = (&'static str, String);

/// The events between two policies, by principal and key.
pub(crate) fn key_events(before: &Policy, after: &Policy) -> Vec<KeyEvent> {
    let (before, after) = (keys(before), keys(after));
    let mut events = Vec::new();
    for (name, validity) in &after {
        match before.get(name) {
            None => events.push(event("key.add", name, *validity, None)),
            Some(old) if old != validity => events.push(event("key.change", name, *validity, Some(*old))),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|&(name, _)| !after.contains_key(name));
    events.extend(gone.map(|(name, validity)| event("key.remove", name, *validity, None)));
    events.truncate(EVENTS_MAX);
    events
}

/// Principal and key.
type Name = (String, String);
/// From and until when.
type Validity = (Option<Timestamp>, Option<Timestamp>);

fn keys(policy: &Policy) -> BTreeMap<Name, Validity> {
    let of = |principal: &bulkhead_trust::policy::Principal| {
        let validity = (principal.valid_from, principal.valid_until);
        let name = principal.name.clone();
        principal.keys.iter().map(move |key| ((name.clone(), key.to_policy_text()), validity)).collect::<Vec<_>>()
    };
    policy.principals.iter().flat_map(of).collect()
}

fn event(action: &'static str, (principal, key): &Name, validity: Validity, old: Option<Validity>) -> KeyEvent {
    let times = |(from, until): Validity| serde_json::json!({ "from": from.map(|at| at.to_string()), "until": until.map(|at| at.to_string()) });
    let mut detail = serde_json::json!({ "principal": principal, "key": key, "valid": times(validity) });
    if let (Some(old), Some(fields)) = (old, detail.as_object_mut()) {
        fields.insert("before".to_owned(), times(old));
    }
    (action, detail.to_string())
}

#[cfg(test)]
mod tests {
    use bulkhead_trust::SigningKey;

    use super::*;

    fn policy(principals: &str) -> Policy {
        let text = format!("version = 1\nexpires = \"2099-01-01T00:00:00Z\"\n{principals}");
        Policy::from_toml(&text).unwrap()
    }

    fn principal(name: &str, seeds: &[u8], until: &str) -> String {
        let keys: Vec<_> = seeds
            .iter()
            .map(|seed| format!("\"{}\"", SigningKey::generate([*seed; 32]).verifying_key().to_policy_text()))
            .collect();
        format!(
            "[[principal]]\nname = \"{name}\"\nkeys = [{}]\nvalid = [\"2026-01-01\", \"{until}\"]\n",
            keys.join(",")
        )
    }

    #[test]
    fn keys_that_come_go_or_have_another_time_are_told_and_others_not() {
        let check = |before: &str, after: &str, wanted: &[&str]| {
            let events = key_events(&policy(before), &policy(after));
            assert_eq!(events.iter().map(|(action, _)| *action).collect::<Vec<_>>(), wanted);
        };
        let acme = principal("acme", &[1, 2], "2027-01-01");

        check("", &acme, &["key.add", "key.add"]);
        check(&acme, &acme, &[]);
        check(&acme, "", &["key.remove", "key.remove"]);
        check(&acme, &principal("acme", &[1], "2027-01-01"), &["key.remove"]);
        check(&acme, &principal("acme", &[1, 2], "2028-01-01"), &["key.change", "key.change"]);
        check(&acme, &principal("globex", &[1, 2], "2027-01-01"), &["key.add", "key.add", "key.remove", "key.remove"]);
    }
}
