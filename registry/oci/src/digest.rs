//! Digests of blobs and manifests: SHA-256 or SHA-512, and the hashing that proves them.
//! An artifact's own digest is always SHA-256; that is `bulkhead_model::Digest`.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, ErrorCode};

/// How a digest is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 64 hex digits.
    Sha256,
    /// SHA-512, 128 hex digits.
    Sha512,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = [Self::Sha256, Self::Sha512].into_iter().find(|known| known.name() == text);
        known.ok_or_else(|| Error::refused(ErrorCode::DigestInvalid, "a digest is computed by `sha256` or `sha512`"))
    }
}

/// A digest, `sha256:<hex>` or `sha512:<hex>`, lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobDigest {
    algorithm: Algorithm,
    text: String,
}

impl BlobDigest {
    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// How it is computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for BlobDigest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::refused(
                ErrorCode::DigestInvalid,
                "a digest is `sha256:` and 64, or `sha512:` and 128 lower-case hex digits",
            )
        };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        let algorithm: Algorithm = name.parse().map_err(|_| malformed())?;
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.hex_digits() || !is_hex {
            return Err(malformed());
        }
        Ok(Self { algorithm, text: text.to_owned() })
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Hashes pieces.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> BlobDigest {
        let (algorithm, hash) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        BlobDigest { algorithm, text: format!("{}:{}", algorithm.name(), data_encoding::HEXLOWER.encode(&hash)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_writes_and_nothing_else() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = BlobDigest::of(algorithm, b"bulkhead");
            let text = digest.to_string();
            assert_eq!(text.parse::<BlobDigest>().unwrap(), digest);
            let truncated = &text[..text.len() - 1];
            for bad in [truncated, &format!("{text}0"), &text.to_uppercase(), &text.replace("sha", "md")] {
                let refused = bad.parse::<BlobDigest>().unwrap_err();
                assert_eq!(refused.code(), Some(ErrorCode::DigestInvalid), "{bad}");
            }
        }
        for bad in ["", "sha256", "sha256:", "sha256:baddigeststring", ":"] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"bulk");
        hasher.update(b"head");

        assert_eq!(hasher.finish(), BlobDigest::of(Algorithm::Sha512, b"bulkhead"));
    }
}
