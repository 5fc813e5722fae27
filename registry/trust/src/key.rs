//! Ed25519 keys: PEM in and out, the text form of policies, key ids, signing, strict verification.
//! It draws no randomness and trusts no key: a policy says whose a key is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_model::Digest;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use zeroize::Zeroizing;

/// Longest PEM text of a key in bytes.
pub const PEM_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

const POLICY_PREFIX: &str = "ed25519:";
/// `SubjectPublicKeyInfo` of an Ed25519 key up to its 32 bytes (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Version 1 `PrivateKeyInfo` up to the 32 bytes of the seed (RFC 8410). Version 2, with the public key
/// inside, is not readable by every OpenSSL 3.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Text or bytes that are no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not the PEM of an Ed25519 key of the wanted kind.
    #[error("not an Ed25519 {0} key in PEM")]
    Pem(&'static str),
    /// Not `ed25519:` and base64 of 32 bytes.
    #[error("a key is written `ed25519:` and the base64 of its 32 bytes")]
    Text,
    /// The bytes are no point, or not the one encoding of their point.
    #[error("not the canonical encoding of an Ed25519 key")]
    Encoding,
    /// The point is not of prime order: signatures under it prove nothing.
    #[error("a weak Ed25519 key, not of prime order")]
    Weak,
}

/// A private key. Wiped from memory when dropped; never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of 32 random bytes, which the caller draws from the operating system.
    pub fn generate(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        let invalid = InvalidKey::Pem("private");
        if text.len() > PEM_BYTES_MAX {
            return Err(invalid);
        }
        ed25519_dalek::SigningKey::from_pkcs8_pem(text.trim()).map(Self).map_err(|_| invalid)
    }

    /// Writes PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.0.as_bytes());
        Zeroizing::new(pem("PRIVATE KEY", &Zeroizing::new(STANDARD.encode(&*der))))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `message` by pure Ed25519.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.verifying_key().id())
    }
}

/// A public key of prime order in its one encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// What a signature is worth under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Made by this key over this message.
    Valid,
    /// Made by this key over the message's SHA-512 (Ed25519ph), which some tools do unasked. Not accepted.
    Prehashed,
    /// Not made by this key over this message.
    Invalid,
}

impl VerifyingKey {
    /// Reads SPKI PEM, as `openssl pkey -pubout` writes it.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        let invalid = InvalidKey::Pem("public");
        if text.len() > PEM_BYTES_MAX {
            return Err(invalid);
        }
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(text.trim()).map_err(|_| invalid)?;
        Self::from_bytes(key.as_bytes())
    }

    /// Reads the form of policies, `ed25519:` and the base64 of the 32 bytes.
    pub fn from_policy_text(text: &str) -> Result<Self, InvalidKey> {
        let bytes = text.strip_prefix(POLICY_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidKey::Text)?;
        Self::from_bytes(&bytes)
    }

    /// Takes the 32 raw bytes; a key that is weak or not canonically encoded is refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey::Encoding)?;
        let point = key.to_edwards();
        if point.compress().as_bytes() != bytes {
            return Err(InvalidKey::Encoding);
        }
        if key.is_weak() || !point.is_torsion_free() {
            return Err(InvalidKey::Weak);
        }
        Ok(Self(key))
    }

    /// Writes SPKI PEM.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &STANDARD.encode(self.spki()))
    }

    /// Writes the form of policies.
    pub fn to_policy_text(&self) -> String {
        format!("{POLICY_PREFIX}{}", STANDARD.encode(self.0.as_bytes()))
    }

    /// SHA-256 of the SPKI DER: the key's name in bundles, logs and answers.
    pub fn id(&self) -> Digest {
        Digest::of(&self.spki())
    }

    /// Base64 of the key id, the `hint` of a bundle.
    pub fn hint(&self) -> String {
        STANDARD.encode(self.id().as_bytes())
    }

    /// What `signature` over `message` is worth. Strict: one encoding of each signature, no small-order point.
    pub fn check(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> Outcome {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        if self.0.verify_strict(message, &signature).is_ok() {
            return Outcome::Valid;
        }
        let prehash = <sha2::Sha512 as sha2::Digest>::new_with_prefix(message);
        if self.0.verify_prehashed_strict(prehash, None, &signature).is_ok() {
            return Outcome::Prehashed;
        }
        Outcome::Invalid
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    fn spki(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), self.0.as_bytes()].concat()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_policy_text())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_policy_text())
    }
}

/// PEM of one line: an Ed25519 key in base64 is at most 64 characters long.
fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}
