//! Trust levels: how far a policy's rule trusts what its signers ship.
//! What a level allows by default is the signer policy's matter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a rule of the policy trusts what its signers ship. No manifest has a say in it. Higher is more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustLevel {
    /// Nobody vouches for it: nothing but what the rule names.
    #[default]
    Untrusted,
    /// Known authors, not looked at.
    Community,
    /// Looked at.
    Verified,
    /// Part of the product.
    Core,
}

impl TrustLevel {
    /// Every level, the lowest first.
    pub const ALL: [Self; 4] = [Self::Untrusted, Self::Community, Self::Verified, Self::Core];

    /// The level as policies and JSON write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Community => "community",
            Self::Verified => "verified",
            Self::Core => "core",
        }
    }

    /// The level of this name.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

impl fmt::Display for TrustLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_by_their_names_and_rise() {
        for level in TrustLevel::ALL {
            assert_eq!(TrustLevel::find(level.as_str()), Some(level));
        }
        assert!(TrustLevel::ALL.is_sorted());
        assert_eq!(TrustLevel::find("Core"), None);
        assert_eq!(TrustLevel::default(), TrustLevel::Untrusted);
    }
}
