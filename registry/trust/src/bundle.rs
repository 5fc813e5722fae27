//! A signature on its own: one sigstore bundle v0.3 with one DSSE envelope, one statement, one signature.
//! It does not say whether the signer may sign; a policy does.

use bulkhead_model::Code;
use bulkhead_model::object::{self, Object};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::dsse::{Envelope, pae};
use crate::key::{Outcome, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::refusal::Refusal;
use crate::statement::{PAYLOAD_TYPE, ReleaseStatement, STATEMENT_BYTES_MAX};

/// Media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Largest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;
/// Most bundles beside one artifact.
pub const BUNDLES_MAX: usize = 16;

/// Signs `statement`; the answer is the JSON of the bundle.
pub fn sign(key: &SigningKey, statement: &ReleaseStatement) -> String {
    let payload = statement.to_json();
    let signature = key.sign(&pae(PAYLOAD_TYPE, &payload));
    let wire = Wire {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material {
            public_key: Some(PublicKey { hint: key.verifying_key().hint() }),
            tlog_entries: Vec::new(),
        },
        dsse_envelope: Envelope::new(PAYLOAD_TYPE, &payload, &[signature]),
    };
    serde_json::to_string(&wire).unwrap_or_else(|error| unreachable!("a bundle holds only strings: {error}"))
}

/// A bundle that was read, its signature not yet verified.
#[derive(Clone, Debug)]
pub struct Bundle {
    hint: String,
    payload: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

/// A statement and the key that really signed it.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The key.
    pub key: VerifyingKey,
    /// What it signed.
    pub statement: ReleaseStatement,
}

impl Bundle {
    /// Reads a bundle. Unknown fields, a second signature and a key id are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Refusal::new(Code::TooLarge, format!("a bundle is at most {BUNDLE_BYTES_MAX} bytes long")));
        }
        let Object(wire): Object<Wire> = serde_json::from_slice(bytes)
            .map_err(|error| Refusal::malformed(format!("not a sigstore bundle v0.3: {error}")))?;
        if wire.media_type != MEDIA_TYPE {
            return Err(Refusal::malformed(format!("a bundle's `mediaType` is `{MEDIA_TYPE}`")));
        }
        // No byte of a bundle may escape verification, and no log's key is known here.
        if !wire.verification_material.tlog_entries.is_empty() {
            return Err(Refusal::malformed("a bundle has no `tlogEntries`: no transparency log is trusted"));
        }
        let [signature] = wire.dsse_envelope.signatures.as_slice() else {
            return Err(Refusal::malformed(
                "a bundle has exactly one signature; put each signer's in a bundle of its own",
            ));
        };
        if !signature.keyid.is_empty() {
            return Err(Refusal::malformed("a bundle's signature has no `keyid`"));
        }
        let payload = wire.dsse_envelope.payload(PAYLOAD_TYPE)?;
        if payload.len() > STATEMENT_BYTES_MAX {
            return Err(Refusal::malformed(format!("a statement is at most {STATEMENT_BYTES_MAX} bytes long")));
        }
        let hint = wire.verification_material.public_key.map(|key| key.hint).unwrap_or_default();
        Ok(Self { hint, payload, signature: signature.bytes()? })
    }

    /// Verifies against `keys`. A hint narrows the search to the key that it names: with it no byte of a bundle can
    /// change unseen. Without one every key is tried.
    pub fn verify(&self, keys: &[VerifyingKey]) -> Result<Verified, Refusal> {
        let message = pae(PAYLOAD_TYPE, &self.payload);
        let mut outcomes = Vec::new();
        for key in keys.iter().filter(|key| self.hint.is_empty() || key.hint() == self.hint) {
            match key.check(&message, &self.signature) {
                Outcome::Valid => {
                    return Ok(Verified { key: *key, statement: ReleaseStatement::from_json(&self.payload)? });
                }
                other => outcomes.push(other),
            }
        }
        Err(if outcomes.contains(&Outcome::Prehashed) {
            let detail = "signed by Ed25519ph (over a hash), wanted pure Ed25519: sign with `bulkhead sign`";
            Refusal::new(Code::BadSignature, detail)
        } else if outcomes.is_empty() || self.hint.is_empty() {
            Refusal::new(Code::UnknownSigner, "the signature was made by none of the known keys")
        } else {
            Refusal::new(Code::BadSignature, "the signature does not fit its content")
        })
    }

    /// What the bundle says of itself, with nothing verified: for display alone.
    pub fn claims(&self) -> Result<ReleaseStatement, Refusal> {
        ReleaseStatement::from_json(&self.payload)
    }

    /// The key that it claims was used: base64 of the key id, or empty.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire {
    media_type: String,
    #[serde(deserialize_with = "object::one")]
    verification_material: Material,
    #[serde(deserialize_with = "object::one")]
    dsse_envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Material {
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    public_key: Option<PublicKey>,
    #[serde(default, skip_serializing)]
    tlog_entries: Vec<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKey {
    #[serde(default)]
    hint: String,
}
