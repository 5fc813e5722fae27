//! Key pairs that are the same in every run.
//! They are for tests alone: whoever reads this file can sign with them.

use bulkhead_trust::{SigningKey, VerifyingKey};

/// A key pair with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Name of the principal in policies.
    pub name: &'static str,
    seed: u8,
}

/// An author whom [`crate::policies::STANDARD`] trusts.
pub const ALICE: Key = Key { name: "alice", seed: 1 };
/// A second author, unknown to the standard policy.
pub const BOB: Key = Key { name: "bob", seed: 2 };
/// A reviewer.
pub const CAROL: Key = Key { name: "carol", seed: 3 };
/// Nobody's friend.
pub const MALLORY: Key = Key { name: "mallory", seed: 4 };
/// Signs policies.
pub const ROOT: Key = Key { name: "root", seed: 5 };
/// Signs tokens.
pub const ISSUER: Key = Key { name: "issuer", seed: 6 };
/// Signs the registry's log.
pub const REGISTRY: Key = Key { name: "registry", seed: 7 };

/// Every author and reviewer whose name a policy text may use.
pub(crate) const PRINCIPALS: [Key; 4] = [ALICE, BOB, CAROL, MALLORY];

impl Key {
    /// The private half.
    pub fn signing(self) -> SigningKey {
        SigningKey::generate([self.seed; 32])
    }

    /// The public half.
    pub fn verifying(self) -> VerifyingKey {
        self.signing().verifying_key()
    }

    /// The private half as PKCS#8 PEM.
    pub fn private_pem(self) -> String {
        self.signing().to_pem().to_string()
    }

    /// The public half as SPKI PEM.
    pub fn public_pem(self) -> String {
        self.verifying().to_pem()
    }
}
