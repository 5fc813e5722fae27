//! What a host saw last of the stored state, and whether what is stored now can have come after it.
//! It keeps nothing; the host keeps it outside of the database.

use bulkhead_model::Digest;
use serde::{Deserialize, Serialize};

use super::{Error, object};

/// Largest file of it in bytes.
pub const SEEN_BYTES_MAX: usize = 4 * 1024;

/// How far the stored state was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Leaves of the registry's log.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Epoch of the last revocation.
    pub revocation_epoch: u64,
    /// Version of the newest policy.
    pub policy_version: u64,
}

impl Seen {
    /// Reads what was kept.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "the file of what was seen";
        object(WHAT, bytes, SEEN_BYTES_MAX)
    }

    /// Writes it to be kept.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("it holds a hash and numbers: {error}"))
    }

    /// Whether `found` can have come after this. `root_then` is the root that the log, as found, had at this size.
    pub fn check(&self, found: &Self, root_then: Option<Digest>) -> Result<(), Error> {
        let rising = [
            ("log's size", self.size, found.size),
            ("revocation epoch", self.revocation_epoch, found.revocation_epoch),
            ("policy version", self.policy_version, found.policy_version),
        ];
        if let Some((what, seen, found)) = rising.into_iter().find(|(_, seen, found)| found < seen) {
            return Err(Error::Rollback { what, seen, found });
        }
        if root_then == Some(self.root) { Ok(()) } else { Err(Error::Fork { from: self.size, to: found.size }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_have_come_after_is_taken() {
        let root = |byte| Digest::from_bytes([byte; 32]);
        let seen = Seen { size: 5, root: root(5), revocation_epoch: 2, policy_version: 7 };
        let check = |found: Seen, root_then| seen.check(&found, root_then).map_err(|error| error.to_string());
        let later = Seen { size: 6, root: root(6), revocation_epoch: 3, policy_version: 8 };

        assert_eq!(check(seen.clone(), Some(root(5))), Ok(()));
        assert_eq!(check(later.clone(), Some(root(5))), Ok(()));
        assert!(check(later.clone(), Some(root(4))).unwrap_err().contains("forked"));
        assert!(check(later.clone(), None).unwrap_err().contains("forked"));
        assert!(check(Seen { size: 4, ..later.clone() }, None).unwrap_err().contains("log's size is 4"));
        assert!(
            check(Seen { revocation_epoch: 1, ..later.clone() }, Some(root(5))).unwrap_err().contains("epoch is 1")
        );
        assert!(check(Seen { policy_version: 6, ..later }, Some(root(5))).unwrap_err().contains("version is 6"));
        assert_eq!(Seen::from_json(seen.to_json().as_bytes()), Ok(seen));
        assert!(Seen::from_json(br#"{"size":-1}"#).is_err());
    }
}
