//! The DSSE envelope: what exactly is signed, and its base64.
//! It does not know what a payload means; `statement` and `policy` do.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use crate::key::SIGNATURE_BYTES;
use crate::refusal::{Refusal, shown};

/// Padding is optional, stray bits behind the last byte are not.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(false);
const EITHER: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&alphabet::STANDARD, LENIENT), GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT)];

/// The bytes that are signed: DSSE's pre-authentication encoding of the payload and its type.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// An envelope as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Envelope {
    /// Base64 of the payload.
    pub(crate) payload: String,
    /// Media type of the payload, signed with it.
    pub(crate) payload_type: String,
    /// At least one signature.
    #[serde(deserialize_with = "bulkhead_model::object::many")]
    pub(crate) signatures: Vec<Signature>,
}

/// A signature of an envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    /// Not authenticated by DSSE, so it never decides anything here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) keyid: String,
    /// Base64 of 64 bytes.
    pub(crate) sig: String,
}

impl Envelope {
    /// An envelope with these signatures.
    pub(crate) fn new(payload_type: &str, payload: &[u8], signatures: &[[u8; SIGNATURE_BYTES]]) -> Self {
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: signatures
                .iter()
                .map(|sig| Signature { keyid: String::new(), sig: STANDARD.encode(sig) })
                .collect(),
        }
    }

    /// The payload's bytes, if the envelope is of `payload_type`.
    pub(crate) fn payload(&self, payload_type: &str) -> Result<Vec<u8>, Refusal> {
        if self.payload_type != payload_type {
            let found = shown(&self.payload_type);
            return Err(Refusal::malformed(format!("the payload type is `{found}`, wanted `{payload_type}`")));
        }
        decode(&self.payload).ok_or_else(|| Refusal::malformed("the payload is not base64"))
    }
}

impl Signature {
    /// The 64 bytes.
    pub(crate) fn bytes(&self) -> Result<[u8; SIGNATURE_BYTES], Refusal> {
        let bytes = decode(&self.sig).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| Refusal::malformed("a signature is the base64 of 64 bytes"))
    }
}

/// Decodes either base64 alphabet, as DSSE asks of a verifier.
fn decode(text: &str) -> Option<Vec<u8>> {
    EITHER.iter().find_map(|engine| engine.decode(text).ok())
}
