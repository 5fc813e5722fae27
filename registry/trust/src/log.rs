//! The registry's log as somebody outside checks it: signed checkpoints, proofs, the timestamp that expires, and the audit
//! log as a file. How leaves are hashed is [`bulkhead_model::log`]'s; who keeps them is the database's.

pub mod audit;
pub mod checkpoint;
pub mod note;
pub mod proof;
pub mod seen;
pub mod timestamp;

use bulkhead_model::object::Object;
use bulkhead_model::{Code, Coded};
use serde::Deserialize;

pub use self::audit::{Exported, Replay, Replayed};
pub use self::checkpoint::{AuditHead, Checkpoint};
pub use self::proof::{ConsistencyProof, InclusionProof};
pub use self::seen::Seen;
pub use self::timestamp::Timestamp;

/// What is wrong with a checkpoint, a proof, a timestamp or a file of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than such a document has.
    #[error("{what} is at most {bytes_max} bytes long")]
    TooLarge {
        /// The document.
        what: &'static str,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// Not a document of its kind.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// The document.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The checkpoint is of another log.
    #[error("the checkpoint is of the log `{found}`, wanted `{wanted}`")]
    WrongOrigin {
        /// Its origin.
        found: String,
        /// The origin of the log in question.
        wanted: String,
    },
    /// The key signed nothing here.
    #[error("the registry's key `{key}` has not signed this")]
    UnknownSigner {
        /// Id of the key.
        key: String,
    },
    /// A signature that names the key is not by it over these bytes.
    #[error("the signature of the registry's key does not fit what it stands under")]
    BadSignature,
    /// The leaf is not in the tree of the checkpoint.
    #[error("the leaf {index} is not included in the log of {size} leaves: {reason}")]
    NotIncluded {
        /// Place of the leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// Two trees of which none is the beginning of the other.
    #[error("the log forked: its first {from} leaves, of {to}, are not those that were seen before")]
    Fork {
        /// Leaves of the tree that was seen before.
        from: u64,
        /// Leaves of the tree that is shown.
        to: u64,
    },
    /// Something went back that only ever rises.
    #[error("rolled back: the {what} is {found}, and {seen} was seen before")]
    Rollback {
        /// What went back.
        what: &'static str,
        /// How far it was seen.
        seen: u64,
        /// How far it is.
        found: u64,
    },
    /// A timestamp that is too old to tell that nothing is withheld.
    #[error("frozen: the timestamp expired at {expires}; whoever shows it may withhold what came after")]
    Frozen {
        /// When, RFC 3339.
        expires: String,
    },
    /// An entry of the audit log does not follow from the ones before.
    #[error("entry {sequence} of the audit log is broken: {reason}")]
    AuditBroken {
        /// Its position.
        sequence: u64,
        /// What does not fit.
        reason: String,
    },
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Malformed { .. } => Code::Malformed,
            Self::WrongOrigin { .. } | Self::UnknownSigner { .. } => Code::UnknownSigner,
            Self::BadSignature => Code::BadSignature,
            Self::NotIncluded { .. } => Code::NotInLog,
            Self::Fork { .. } | Self::Rollback { .. } | Self::AuditBroken { .. } => Code::RegistryLogBroken,
            Self::Frozen { .. } => Code::Expired,
        }
    }
}

/// The text of a document of at most `bytes_max` bytes.
fn text<'a>(what: &'static str, bytes: &'a [u8], bytes_max: usize) -> Result<&'a str, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { what, bytes_max });
    }
    std::str::from_utf8(bytes).map_err(|_| malformed(what, "it is not UTF-8"))
}

/// A JSON object of at most `bytes_max` bytes.
fn object<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8], bytes_max: usize) -> Result<T, Error> {
    let read = serde_json::from_str(text(what, bytes, bytes_max)?);
    read.map(|Object(value)| value).map_err(|error| malformed(what, error.to_string()))
}

fn malformed(what: &'static str, reason: impl Into<String>) -> Error {
    Error::Malformed { what, reason: reason.into() }
}

/// A number as these documents write it: digits without a sign and without a leading zero.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}
