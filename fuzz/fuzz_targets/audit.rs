//! Hostile rows of the audit log: whatever they hold, the chain over them is whole, and a change of any byte is named.
//! The input is texts, each behind its length as one byte.
#![no_main]

use bulkhead_model::Digest;
use bulkhead_model::audit::{AuditRecord, GENESIS, chain, first_broken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let texts = texts(bytes);
    let (mut previous, mut entries) = (GENESIS, Vec::new());
    for (index, fields) in texts.chunks_exact(5).enumerate() {
        let [actor, action, plugin, tenant, detail] = fields else { unreachable!("chunks of five") };
        let record = AuditRecord {
            sequence: index as u64 + 1,
            at: i64::try_from(actor.len()).unwrap_or_default(),
            actor: actor.clone(),
            action: action.clone(),
            plugin: plugin.clone(),
            tenant: tenant.clone(),
            detail: detail.clone(),
        };
        previous = chain(&previous, &record);
        entries.push((record, previous));
    }
    assert_eq!(broken(&entries), None);
    for index in 0..entries.len().min(8) {
        let mut changed = entries.clone();
        let record = &mut changed[index].0;
        // A letter that goes from one field to the next must not go unnoticed.
        let moved = record.actor.pop().unwrap_or('x');
        record.action.insert(0, moved);
        assert_eq!(broken(&changed), Some(index as u64 + 1));
    }
});

fn broken(entries: &[(AuditRecord, Digest)]) -> Option<u64> {
    first_broken(GENESIS, 0, entries.iter().map(|(record, hash)| (record, hash)))
}

fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (text, after) = rest.split_at(usize::from(*length).min(rest.len()));
        texts.push(String::from_utf8_lossy(text).into_owned());
        bytes = after;
    }
    texts
}
