//! The audit log as a file: one entry a line, replayed from the first without a host, against a checkpoint where one was kept.
//! What a hash covers is [`bulkhead_model::audit`]'s.

use bulkhead_model::Digest;
use bulkhead_model::audit::{AuditRecord, GENESIS, chain};
use serde::{Deserialize, Serialize};

use super::{AuditHead, Error, object};

/// Longest line in bytes, its line feed left out.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const WHAT: &str = "a line of the audit log";

/// An entry as a line: JSON with the fields of the record as they are hashed, `detail` as the text that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    sequence: u64,
    at: i64,
    actor: String,
    action: String,
    plugin: String,
    tenant: String,
    detail: String,
    hash: Digest,
}

impl Exported {
    /// An entry with its hash.
    pub fn of(record: AuditRecord, hash: Digest) -> Self {
        let AuditRecord { sequence, at, actor, action, plugin, tenant, detail } = record;
        Self { sequence, at, actor, action, plugin, tenant, detail, hash }
    }

    /// The line, without its line feed.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("an entry holds texts and numbers: {error}"))
    }

    /// Reads a line, without its line feed.
    pub fn from_line(line: &[u8]) -> Result<Self, Error> {
        object(WHAT, line, LINE_BYTES_MAX)
    }

    /// Its position.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// A chain that is replayed, entry by entry.
#[derive(Clone, Debug)]
pub struct Replay {
    sequence: u64,
    head: Digest,
    anchor: Option<AuditHead>,
}

/// A chain that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its entries.
    pub entries: u64,
    /// Hash of the last one.
    pub head: Digest,
}

impl Replay {
    /// Begins before the first entry. `anchor` is the end that a checkpoint names: it must be met.
    pub fn new(anchor: Option<AuditHead>) -> Self {
        Self { sequence: 0, head: GENESIS, anchor }
    }

    /// Takes the next line.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        let sequence = self.sequence.saturating_add(1);
        let broken = |reason: &str| Error::AuditBroken { sequence, reason: reason.to_owned() };
        let entry = Exported::from_line(line).map_err(|error| broken(&error.to_string()))?;
        let hash = entry.hash;
        let record = AuditRecord {
            sequence: entry.sequence,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            plugin: entry.plugin,
            tenant: entry.tenant,
            detail: entry.detail,
        };
        if record.sequence != sequence {
            return Err(broken(&format!("entry {} stands in its place", record.sequence)));
        }
        if chain(&self.head, &record) != hash {
            return Err(broken("its hash does not follow from the entry before and its content"));
        }
        (self.sequence, self.head) = (sequence, hash);
        match &self.anchor {
            Some(anchor) if anchor.sequence == sequence && anchor.hash != hash => {
                Err(broken("a signed checkpoint names another hash for it: the log was written anew"))
            }
            _ => Ok(()),
        }
    }

    /// Ends after the last line.
    pub fn end(self) -> Result<Replayed, Error> {
        match self.anchor {
            Some(anchor) if anchor.sequence > self.sequence => Err(Error::AuditBroken {
                sequence: self.sequence.saturating_add(1),
                reason: format!("it is missing; a signed checkpoint names {} entries", anchor.sequence),
            }),
            _ => Ok(Replayed { entries: self.sequence, head: self.head }),
        }
    }
}
