//! A policy as root keys sign it: a DSSE envelope with as many signatures as the host wants.
//! It does not decide whether the policy is newer than the one in force; the host remembers that.

use super::{Error, POLICY_BYTES_MAX, Policy};
use bulkhead_model::object::Object;

use crate::envelope::Kind;
pub use crate::envelope::SIGNATURES_MAX;
use crate::key::{SigningKey, VerifyingKey};

/// Payload type of a signed policy.
pub const PAYLOAD_TYPE: &str = "application/vnd.bulkhead.policy.v1+json";
/// Largest envelope in bytes: the payload in base64, and signatures.
pub const ENVELOPE_BYTES_MAX: usize = POLICY_BYTES_MAX * 4 / 3 + 16 * 1024;

const POLICY: Kind = Kind { payload_type: PAYLOAD_TYPE, bytes_max: ENVELOPE_BYTES_MAX, noun: "a signed policy" };

/// Signs a policy; the answer is the JSON of the envelope.
pub fn sign(policy: &Policy, key: &SigningKey) -> String {
    POLICY.sign(&policy.to_json(), key)
}

/// Adds the signature of another root key to an envelope, over the same bytes.
pub fn add_signature(envelope: &[u8], key: &SigningKey) -> Result<String, Error> {
    POLICY.add_signature(envelope, key).map_err(Error::Refused)
}

/// The policy in an envelope that at least `threshold` different keys of `roots` signed. Signatures by other keys
/// count for nothing; a threshold of 0 is taken as 1.
pub fn verify(envelope: &[u8], roots: &[VerifyingKey], threshold: usize) -> Result<Policy, Error> {
    let opened = POLICY.open(envelope).map_err(Error::Refused)?;
    opened.check(roots, threshold, "root key", "this policy").map_err(Error::Refused)?;
    Policy::from_json(&opened.payload)
}

/// The policy in an envelope, or the policy itself in JSON. No signature is looked at: nothing may be allowed by it.
pub(super) fn unverified(bytes: &[u8]) -> Result<Policy, Error> {
    if serde_json::from_slice::<Object<crate::dsse::Envelope>>(bytes).is_ok() {
        return Policy::from_json(&POLICY.open(bytes).map_err(Error::Refused)?.payload);
    }
    Policy::from_json(bytes)
}
