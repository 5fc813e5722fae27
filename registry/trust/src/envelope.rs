//! Documents that several keys sign: a DSSE envelope with as many signatures as it takes.
//! It knows no document; `policy` does.

use std::collections::BTreeSet;

use bulkhead_model::object::Object;
use bulkhead_model::{Code, Digest};

use crate::dsse::{Envelope, pae};
use crate::key::{Outcome, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::refusal::Refusal;

/// Most signatures of an envelope.
pub const SIGNATURES_MAX: usize = 32;

/// A kind of document.
pub(crate) struct Kind {
    /// Media type of the payload.
    pub(crate) payload_type: &'static str,
    /// Largest envelope in bytes.
    pub(crate) bytes_max: usize,
    /// What it is, for people, with its article.
    pub(crate) noun: &'static str,
}

/// An envelope whose signatures nobody has looked at.
pub(crate) struct Opened {
    /// The payload.
    pub(crate) payload: Vec<u8>,
    message: Vec<u8>,
    signatures: Vec<[u8; SIGNATURE_BYTES]>,
}

impl Kind {
    /// The JSON of an envelope around `payload`, with this key's signature.
    pub(crate) fn sign(&self, payload: &[u8], key: &SigningKey) -> String {
        let signature = key.sign(&pae(self.payload_type, payload));
        write(&Envelope::new(self.payload_type, payload, &[signature]))
    }

    /// The envelope with the signature of another key, over the same bytes.
    pub(crate) fn add_signature(&self, envelope: &[u8], key: &SigningKey) -> Result<String, Refusal> {
        let mut envelope = self.parse(envelope)?;
        let payload = envelope.payload(self.payload_type)?;
        let signature = key.sign(&pae(self.payload_type, &payload));
        envelope.signatures.extend(Envelope::new(self.payload_type, &[], &[signature]).signatures);
        Ok(write(&envelope))
    }

    /// The payload and the signatures of an envelope.
    pub(crate) fn open(&self, envelope: &[u8]) -> Result<Opened, Refusal> {
        let envelope = self.parse(envelope)?;
        let payload = envelope.payload(self.payload_type)?;
        let signatures = envelope.signatures.iter().map(crate::dsse::Signature::bytes).collect::<Result<_, _>>()?;
        Ok(Opened { message: pae(self.payload_type, &payload), payload, signatures })
    }

    fn parse(&self, bytes: &[u8]) -> Result<Envelope, Refusal> {
        let Self { bytes_max, noun, .. } = self;
        if bytes.len() > *bytes_max {
            return Err(Refusal::new(Code::TooLarge, format!("{noun} is at most {bytes_max} bytes long")));
        }
        let Object(envelope): Object<Envelope> = serde_json::from_slice(bytes)
            .map_err(|error| Refusal::new(Code::Malformed, format!("not {noun}: {error}")))?;
        if envelope.signatures.is_empty() || envelope.signatures.len() > SIGNATURES_MAX {
            let detail = format!("{noun} has 1 to {SIGNATURES_MAX} signatures");
            return Err(Refusal::new(Code::Malformed, detail));
        }
        Ok(envelope)
    }
}

impl Opened {
    /// Those of `keys` that signed, each once.
    pub(crate) fn signed_by(&self, keys: &[VerifyingKey]) -> BTreeSet<Digest> {
        let signed = |key: &&VerifyingKey| {
            self.signatures.iter().any(|signature| key.check(&self.message, signature) == Outcome::Valid)
        };
        keys.iter().filter(signed).map(VerifyingKey::id).collect()
    }

    /// An error unless at least `threshold` different ones of `keys` signed `what`; a threshold of 0 is taken as 1.
    pub(crate) fn check(
        &self,
        keys: &[VerifyingKey],
        threshold: usize,
        whose: &str,
        what: &str,
    ) -> Result<(), Refusal> {
        let (signed, wanted) = (self.signed_by(keys).len(), threshold.max(1));
        if signed == 0 {
            let detail = format!("no {whose} signed {what}, or it was changed after that");
            return Err(Refusal::new(Code::UnknownSigner, detail));
        }
        if signed < wanted {
            let detail = format!("{signed} of {wanted} {whose}s signed {what}");
            return Err(Refusal::new(Code::ThresholdNotMet, detail));
        }
        Ok(())
    }
}

fn write(envelope: &Envelope) -> String {
    serde_json::to_string(envelope).unwrap_or_else(|error| unreachable!("an envelope holds only strings: {error}"))
}
