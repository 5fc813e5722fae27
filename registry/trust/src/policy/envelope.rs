//! A policy as root keys sign it: a DSSE envelope with as many signatures as the host wants.
//! It does not decide whether the policy is newer than the one in force; the host remembers that.

use std::collections::BTreeSet;

use bulkhead_model::Code;

use super::{Error, POLICY_BYTES_MAX, Policy};
use crate::dsse::{Envelope, pae};
use crate::key::{Outcome, SigningKey, VerifyingKey};
use crate::refusal::Refusal;

/// Payload type of a signed policy.
pub const PAYLOAD_TYPE: &str = "application/vnd.bulkhead.policy.v1+json";
/// Largest envelope in bytes: the payload in base64, and signatures.
pub const ENVELOPE_BYTES_MAX: usize = POLICY_BYTES_MAX * 4 / 3 + 16 * 1024;
/// Most signatures of an envelope.
pub const SIGNATURES_MAX: usize = 32;

/// Signs a policy; the answer is the JSON of the envelope.
pub fn sign(policy: &Policy, key: &SigningKey) -> String {
    let payload = policy.to_json();
    let signature = key.sign(&pae(PAYLOAD_TYPE, &payload));
    write(&Envelope::new(PAYLOAD_TYPE, &payload, &[signature]))
}

/// Adds the signature of another root key to an envelope, over the same bytes.
pub fn add_signature(envelope: &[u8], key: &SigningKey) -> Result<String, Error> {
    let mut envelope = parse(envelope)?;
    let payload = envelope.payload(PAYLOAD_TYPE).map_err(Error::Refused)?;
    let signature = key.sign(&pae(PAYLOAD_TYPE, &payload));
    envelope.signatures.extend(Envelope::new(PAYLOAD_TYPE, &[], &[signature]).signatures);
    Ok(write(&envelope))
}

/// The policy in an envelope that at least `threshold` different keys of `roots` signed. Signatures by other keys
/// count for nothing; a threshold of 0 is taken as 1.
pub fn verify(envelope: &[u8], roots: &[VerifyingKey], threshold: usize) -> Result<Policy, Error> {
    let envelope = parse(envelope)?;
    let payload = envelope.payload(PAYLOAD_TYPE).map_err(Error::Refused)?;
    let message = pae(PAYLOAD_TYPE, &payload);
    let mut signed = BTreeSet::new();
    for signature in &envelope.signatures {
        let bytes = signature.bytes().map_err(Error::Refused)?;
        signed.extend(roots.iter().filter(|root| root.check(&message, &bytes) == Outcome::Valid).map(VerifyingKey::id));
    }
    let wanted = threshold.max(1);
    if signed.is_empty() {
        return Err(refused(
            Code::UnknownSigner,
            "no root key signed this policy, or it was changed after that".to_owned(),
        ));
    }
    if signed.len() < wanted {
        return Err(refused(
            Code::ThresholdNotMet,
            format!("{} of {wanted} root keys signed this policy", signed.len()),
        ));
    }
    Policy::from_json(&payload)
}

/// The policy in an envelope, or the policy itself in JSON. No signature is looked at: nothing may be allowed by it.
pub(super) fn unverified(bytes: &[u8]) -> Result<Policy, Error> {
    match serde_json::from_slice::<Envelope>(bytes) {
        Ok(_) => Policy::from_json(&parse(bytes)?.payload(PAYLOAD_TYPE).map_err(Error::Refused)?),
        Err(_) => Policy::from_json(bytes),
    }
}

fn parse(bytes: &[u8]) -> Result<Envelope, Error> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(refused(Code::TooLarge, format!("a signed policy is at most {ENVELOPE_BYTES_MAX} bytes long")));
    }
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|error| refused(Code::Malformed, format!("not a signed policy: {error}")))?;
    if envelope.signatures.is_empty() || envelope.signatures.len() > SIGNATURES_MAX {
        return Err(refused(Code::Malformed, format!("a signed policy has 1 to {SIGNATURES_MAX} signatures")));
    }
    Ok(envelope)
}

fn write(envelope: &Envelope) -> String {
    serde_json::to_string(envelope).unwrap_or_else(|error| unreachable!("an envelope holds only strings: {error}"))
}

fn refused(code: Code, detail: String) -> Error {
    Error::Refused(Refusal::new(code, detail))
}
