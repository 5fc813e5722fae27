//! A checkpoint (C2SP tlog-checkpoint): how many leaves a log has and their root, signed; with it, where the audit log of the
//! same database ends, so that a kept checkpoint also gives away an audit log that was written anew.
//! It does not say whether one checkpoint follows from another; `proof` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_model::Digest;

use super::note::{self, NOTE_BYTES_MAX};
use super::{Error, malformed, number, text};
use crate::key::{SigningKey, VerifyingKey};
use crate::refusal::shown;

/// Begins the line about the audit log.
const AUDIT: &str = "bulkhead-audit ";
/// Most lines of a checkpoint that are not understood here.
const EXTENSIONS_MAX: usize = 16;
const WHAT: &str = "a checkpoint";

/// The state of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of the key that signs it.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Where the audit log ends.
    pub audit: Option<AuditHead>,
}

/// The end of an audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Position of the last entry; 0 before the first.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Checkpoint {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        note::sign(&self.text(), &self.origin, key)
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let audit = self.audit.as_ref().map(|head| format!("{AUDIT}{} {}\n", head.sequence, encoded(&head.hash)));
        format!("{}\n{}\n{}\n{}", self.origin, self.size, encoded(&self.root), audit.unwrap_or_default())
    }

    /// Reads a checkpoint that `key` signed, of the log `origin` where one is named.
    pub fn verify(bytes: &[u8], key: &VerifyingKey, origin: Option<&str>) -> Result<Self, Error> {
        // The name is needed to find the signature; nothing else is read before that holds.
        let claimed = text(WHAT, bytes, NOTE_BYTES_MAX)?.split('\n').next().unwrap_or_default();
        if !note::is_name(claimed) {
            return Err(malformed(WHAT, "its first line is not the name of a log"));
        }
        if let Some(wanted) = origin.filter(|wanted| *wanted != claimed) {
            return Err(Error::WrongOrigin { found: shown(claimed), wanted: wanted.to_owned() });
        }
        Self::parse(note::verify(bytes, claimed, key)?)
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let text = text.strip_suffix('\n').ok_or_else(|| malformed(WHAT, "its last line is not ended"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().unwrap_or_default().to_owned();
        let size = lines.next().and_then(number);
        let size = size.ok_or_else(|| malformed(WHAT, "its second line is not a number of leaves"))?;
        let root = lines.next().and_then(decoded);
        let root = root.ok_or_else(|| malformed(WHAT, "its third line is not the base64 of a root"))?;
        let mut audit = None;
        for (count, line) in lines.enumerate() {
            if line.is_empty() || count >= EXTENSIONS_MAX {
                return Err(malformed(WHAT, format!("further lines are not empty, and at most {EXTENSIONS_MAX}")));
            }
            let Some(rest) = line.strip_prefix(AUDIT) else { continue };
            let head = rest
                .split_once(' ')
                .and_then(|(sequence, hash)| Some(AuditHead { sequence: number(sequence)?, hash: decoded(hash)? }));
            let head =
                head.ok_or_else(|| malformed(WHAT, "its line about the audit log is not a position and a hash"))?;
            if audit.replace(head).is_some() {
                return Err(malformed(WHAT, "it names two ends of the audit log"));
            }
        }
        Ok(Self { origin, size, root, audit })
    }
}

fn encoded(digest: &Digest) -> String {
    STANDARD.encode(digest.as_bytes())
}

fn decoded(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes)
}
