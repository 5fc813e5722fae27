//! What the registry's log shows of itself. Proofs are the trust crate's own forms.

use bulkhead_model::Digest;

/// A leaf of the log.
#[derive(Clone, Debug)]
pub struct LogLeaf {
    /// Its place, from 0.
    pub index: u64,
    /// The bytes that are hashed, which are JSON text.
    pub leaf: String,
}

/// A stored state that an operator took as it is.
#[derive(Clone, Debug)]
pub struct AcceptedLog {
    /// Leaves of the log.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// What the alarm was, if one stood.
    pub alarm: Option<String>,
}
