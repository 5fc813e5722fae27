//! The hash chain of the audit log: each entry's hash covers the one before.
//! It neither stores nor signs; the database keeps the rows, this file says what their hashes must be.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// What an audit entry records. All texts are what the row holds, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Position in the chain, from 1, without a gap.
    pub sequence: u64,
    /// Microseconds since 1970, UTC.
    pub at: i64,
    /// Subject of the token that acted, or `bulkhead` for the host itself.
    pub actor: String,
    /// What was done, for example `plugin.install`.
    pub action: String,
    /// Plugin that it concerns, or empty.
    pub plugin: String,
    /// Tenant that it concerns, or empty.
    pub tenant: String,
    /// JSON text with the rest.
    pub detail: String,
}

/// Hash before the first entry.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// The hash of `record` after `previous`: SHA-256 over a label, the previous hash and every field, each
/// text preceded by its length, so that no two records share an input.
pub fn chain(previous: &Digest, record: &AuditRecord) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"bulkhead audit v1\n");
    hash.update(previous.as_bytes());
    hash.update(record.sequence.to_le_bytes());
    hash.update(record.at.to_le_bytes());
    for text in [&record.actor, &record.action, &record.plugin, &record.tenant, &record.detail] {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(text.as_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}

/// The first entry whose hash or position does not follow from the entries before it, as its position in
/// the chain. `entries` are in order and begin right after `previous`.
pub fn first_broken<'a>(
    mut previous: Digest,
    mut sequence: u64,
    entries: impl Iterator<Item = (&'a AuditRecord, &'a Digest)>,
) -> Option<u64> {
    for (record, hash) in entries {
        sequence = sequence.saturating_add(1);
        if record.sequence != sequence || chain(&previous, record) != *hash {
            return Some(sequence);
        }
        previous = *hash;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_letter_that_moves_between_fields_is_named(texts in proptest::collection::vec(".{0,12}", 5..40)) {
            let (mut previous, mut entries) = (GENESIS, Vec::new());
            for (index, fields) in texts.chunks_exact(5).enumerate() {
                let [actor, action, plugin, tenant, detail] = fields else { unreachable!("chunks of five") };
                let record = AuditRecord {
                    sequence: u64::try_from(index).unwrap() + 1,
                    at: 7,
                    actor: actor.clone(),
                    action: action.clone(),
                    plugin: plugin.clone(),
                    tenant: tenant.clone(),
                    detail: detail.clone(),
                };
                previous = chain(&previous, &record);
                entries.push((record, previous));
            }
            prop_assert_eq!(broken(&entries), None);
            for index in 0..entries.len() {
                let mut changed = entries.clone();
                let moved = changed[index].0.actor.pop().unwrap_or('x');
                changed[index].0.action.insert(0, moved);
                prop_assert_eq!(broken(&changed), Some(u64::try_from(index).unwrap() + 1));
            }
        }
    }

    fn record(sequence: u64) -> AuditRecord {
        AuditRecord {
            sequence,
            at: 1_000,
            actor: "anna".into(),
            action: "plugin.install".into(),
            plugin: "acme.crm".into(),
            tenant: String::new(),
            detail: "{}".into(),
        }
    }

    fn chained(count: u64) -> Vec<(AuditRecord, Digest)> {
        let mut previous = GENESIS;
        (1..=count)
            .map(|sequence| {
                let record = record(sequence);
                previous = chain(&previous, &record);
                (record, previous)
            })
            .collect()
    }

    fn broken(entries: &[(AuditRecord, Digest)]) -> Option<u64> {
        first_broken(GENESIS, 0, entries.iter().map(|(record, hash)| (record, hash)))
    }

    #[test]
    fn an_edited_removed_or_moved_entry_is_named() {
        assert_eq!(broken(&chained(5)), None);

        let mut edited = chained(5);
        edited[2].0.actor = "eve".into();
        assert_eq!(broken(&edited), Some(3));

        let mut removed = chained(5);
        removed.remove(1);
        assert_eq!(broken(&removed), Some(2));

        let mut swapped = chained(5);
        swapped.swap(3, 4);
        assert_eq!(broken(&swapped), Some(4));
    }

    #[test]
    fn a_byte_moved_between_two_fields_changes_the_hash() {
        let mut left = record(1);
        left.actor = "ab".into();
        left.action = "c".into();
        let mut right = record(1);
        right.actor = "a".into();
        right.action = "bc".into();

        assert_ne!(chain(&GENESIS, &left), chain(&GENESIS, &right));
    }
}
