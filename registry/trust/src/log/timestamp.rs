//! The timestamp: a short-lived statement of how far log, revocations and policy are. Who sees an old log and no fresh
//! timestamp knows that something is withheld.
//! It reads no clock, and does not say whether a log follows from another.

use bulkhead_model::Code;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Error, malformed, object};
use crate::dsse::{Envelope, pae};
use crate::key::{Outcome, SigningKey, VerifyingKey};
use crate::refusal::Refusal;

/// Payload type of a timestamp.
pub const PAYLOAD_TYPE: &str = "application/vnd.bulkhead.timestamp.v1+json";
/// Largest timestamp in bytes.
pub const TIMESTAMP_BYTES_MAX: usize = 64 * 1024;
/// Furthest that a timestamp may come from the future, in seconds: clocks differ.
const SKEW_S: i64 = 300;

const WHAT: &str = "a timestamp";

/// How far everything was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// The signed note of the log.
    pub checkpoint: String,
    /// Epoch of the last revocation.
    pub revocation_epoch: u64,
    /// Version of the newest policy.
    pub policy_version: u64,
    /// When it was signed.
    pub issued_at: jiff::Timestamp,
    /// Until when it says something.
    pub expires: jiff::Timestamp,
}

/// The payload: JSON, fields in this order, times RFC 3339 UTC.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    checkpoint: String,
    revocation_epoch: u64,
    policy_version: u64,
    issued_at: String,
    expires: String,
}

impl Timestamp {
    /// The signed envelope, as JSON.
    pub fn sign(&self, key: &SigningKey) -> String {
        let wire = Wire {
            checkpoint: self.checkpoint.clone(),
            revocation_epoch: self.revocation_epoch,
            policy_version: self.policy_version,
            issued_at: self.issued_at.to_string(),
            expires: self.expires.to_string(),
        };
        let written = |error| unreachable!("a timestamp holds only texts and numbers: {error}");
        let payload = serde_json::to_vec(&wire).unwrap_or_else(written);
        let signature = key.sign(&pae(PAYLOAD_TYPE, &payload));
        serde_json::to_string(&Envelope::new(PAYLOAD_TYPE, &payload, &[signature]))
            .unwrap_or_else(|error| unreachable!("an envelope holds only strings: {error}"))
    }

    /// Reads a timestamp that `key` signed and that says something at `now`, with the checkpoint in it, which the same key
    /// signed.
    pub fn verify(bytes: &[u8], key: &VerifyingKey, now: jiff::Timestamp) -> Result<(Self, Checkpoint), Error> {
        let envelope: Envelope = object(WHAT, bytes, TIMESTAMP_BYTES_MAX)?;
        let [signature] = envelope.signatures.as_slice() else {
            return Err(malformed(WHAT, "it has exactly one signature"));
        };
        let payload = envelope.payload(PAYLOAD_TYPE).map_err(refused)?;
        let signature = signature.bytes().map_err(refused)?;
        if key.check(&pae(PAYLOAD_TYPE, &payload), &signature) != Outcome::Valid {
            return Err(Error::BadSignature);
        }
        let timestamp = Self::parse(&payload)?;
        let latest = jiff::SignedDuration::from_secs(SKEW_S);
        if now.saturating_add(latest).is_ok_and(|latest| timestamp.issued_at > latest) {
            return Err(malformed(WHAT, "it was signed in the future"));
        }
        if timestamp.expires <= now {
            return Err(Error::Frozen { expires: timestamp.expires.to_string() });
        }
        let checkpoint = Checkpoint::verify(timestamp.checkpoint.as_bytes(), key, None)?;
        Ok((timestamp, checkpoint))
    }

    fn parse(payload: &[u8]) -> Result<Self, Error> {
        let wire: Wire = object(WHAT, payload, TIMESTAMP_BYTES_MAX)?;
        let time = |text: &str| text.parse().map_err(|_| malformed(WHAT, "a time is written 2026-11-21T00:00:00Z"));
        Ok(Self {
            issued_at: time(&wire.issued_at)?,
            expires: time(&wire.expires)?,
            checkpoint: wire.checkpoint,
            revocation_epoch: wire.revocation_epoch,
            policy_version: wire.policy_version,
        })
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal.code {
        Code::BadSignature => Error::BadSignature,
        _ => malformed(WHAT, refusal.detail),
    }
}
