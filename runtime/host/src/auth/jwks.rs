//! The public keys of an issuer, read from its JWKS. A key that is weak, of an unknown kind, for another use, or told apart by
//! nothing is left out; the others stay usable. It fetches nothing.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// Largest JWKS, and largest discovery document, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a JWKS.
const KEYS_MAX: usize = 100;
/// Longest key id in bytes.
const KID_BYTES_MAX: usize = 256;
/// Least bits of an RSA modulus.
const RSA_BITS_MIN: usize = 2_048;
/// Most bits of an RSA modulus: verifying costs more with each.
const RSA_BITS_MAX: usize = 8_192;
/// Most bytes of an RSA exponent.
const RSA_EXPONENT_BYTES_MAX: usize = 4;
/// Bytes of an Ed25519 key.
const ED25519_BYTES: usize = 32;

/// Algorithms that may be configured. Those with a shared secret, and none at all, cannot.
pub(crate) const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Usable keys.
#[derive(Default)]
pub(crate) struct Jwks {
    keys: Vec<Key>,
    /// Keys that were left out.
    pub(crate) left_out: usize,
}

struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Jwks {
    /// Reads a JWKS. `wanted` are the algorithms that the issuer may use.
    pub(crate) fn parse(bytes: &[u8], wanted: &[Algorithm]) -> Result<Self, &'static str> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err("the key set is too large");
        }
        let document: Value = serde_json::from_slice(bytes).map_err(|_| "the key set is not JSON")?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or("the key set has no `keys`")?;
        if listed.len() > KEYS_MAX {
            return Err("the key set has too many keys");
        }
        let mut keys: Vec<Key> = listed.iter().filter_map(|jwk| key(jwk.as_object()?, wanted)).collect();
        // Two keys of one name: which one is meant cannot be told, so neither is.
        let names: Vec<Option<String>> = keys.iter().map(|key| key.kid.clone()).collect();
        keys.retain(|key| key.kid.is_none() || names.iter().filter(|name| **name == key.kid).count() == 1);
        let left_out = listed.len().saturating_sub(keys.len());
        Ok(Self { keys, left_out })
    }

    /// Whether no key is usable.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of this name for this algorithm; without a name the only one that there is.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)).map(|key| &key.decoding),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.decoding),
        }
    }
}

fn key(jwk: &Map<String, Value>, wanted: &[Algorithm]) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let is_for_signatures = text("use").is_none_or(|purpose| purpose == "sig") && is_for_verifying(jwk.get("key_ops"));
    let (possible, decoding) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (RSA, rsa(text("n")?, text("e")?)?),
        ("EC", Some("P-256")) => {
            (&[Algorithm::ES256][..], DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
        }
        ("EC", Some("P-384")) => {
            (&[Algorithm::ES384][..], DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            let is_whole = bytes(text("x")?)?.len() == ED25519_BYTES;
            (&[Algorithm::EdDSA][..], DecodingKey::from_ed_components(text("x")?).ok().filter(|_| is_whole)?)
        }
        (_, _) => return None,
    };
    let named = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => Some(find(name)?),
        Some(_) => return None,
    };
    let is_allowed =
        |algorithm: &Algorithm| wanted.contains(algorithm) && named.is_none_or(|named| named == *algorithm);
    let algorithms: Vec<_> = possible.iter().copied().filter(is_allowed).collect();
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
        Some(_) => return None,
    };
    (is_for_signatures && !algorithms.is_empty()).then_some(Key { kid, algorithms, decoding })
}

fn is_for_verifying(operations: Option<&Value>) -> bool {
    match operations {
        None => true,
        Some(operations) => {
            operations.as_array().is_some_and(|all| all.iter().any(|operation| operation.as_str() == Some("verify")))
        }
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let (n, e) = (bytes(modulus)?, bytes(exponent)?);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let is_large = e.len() > 1 || e.first().is_some_and(|only| *only >= 3);
    let is_exponent = e.len() <= RSA_EXPONENT_BYTES_MAX && is_odd(&e) && is_large;
    ((RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits(&n)) && is_odd(&n) && is_exponent)
        .then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

/// Bits of a number without its leading zeros.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let rest = number.get(first..).unwrap_or_default();
    let zeros = rest.first().map_or(0, |byte| byte.leading_zeros());
    rest.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// The algorithm of this name, if it may be configured.
pub(crate) fn find(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::json;

    use super::*;

    fn all() -> Vec<Algorithm> {
        ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect()
    }

    fn rsa_of(bits: usize) -> String {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80 | (0x7f >> 1);
        BASE64URL_NOPAD.encode(&n)
    }

    fn ed(byte: u8) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&[byte; 32]), "kid": format!("k{byte}") })
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    fn usable(keys: &[Value]) -> usize {
        Jwks::parse(json!({ "keys": keys }).to_string().as_bytes(), &all()).unwrap().keys.len()
    }

    #[test]
    fn a_key_is_taken_only_for_what_it_is_and_says() {
        let check = |jwk: Value, wanted: bool| assert_eq!(usable(std::slice::from_ref(&jwk)) == 1, wanted, "{jwk}");
        let rsa = |bits| json!({ "kty": "RSA", "n": rsa_of(bits), "e": "AQAB", "kid": "r" });
        check(rsa(2_048), true);
        check(rsa(1_024), false);
        check(rsa(2_040), false);
        check(rsa(16_384), false);
        check(with(rsa(2_048), "e", json!("AQ")), false);
        check(with(rsa(2_048), "e", json!("AQAC")), false);
        check(with(rsa(2_048), "e", json!("AQAAAAAB")), false);
        check(with(rsa(2_048), "n", json!("not base64!")), false);
        check(with(rsa(2_048), "alg", json!("RS256")), true);
        check(with(rsa(2_048), "alg", json!("RSA-OAEP")), false);
        check(with(rsa(2_048), "alg", json!("HS256")), false);
        check(with(rsa(2_048), "alg", json!("EdDSA")), false);
        check(with(rsa(2_048), "alg", json!(7)), false);
        check(ed(1), true);
        check(with(ed(1), "x", json!("AAAA")), false);
        check(with(ed(1), "crv", json!("X25519")), false);
        check(with(ed(1), "crv", json!("secp256k1")), false);
        check(with(ed(1), "use", json!("sig")), true);
        check(with(ed(1), "use", json!("enc")), false);
        check(with(ed(1), "key_ops", json!(["verify"])), true);
        check(with(ed(1), "key_ops", json!(["encrypt"])), false);
        check(with(ed(1), "key_ops", json!("verify")), false);
        check(with(ed(1), "kid", json!("")), false);
        check(with(ed(1), "kid", json!("k".repeat(KID_BYTES_MAX + 1))), false);
        check(with(ed(1), "kid", json!(1)), false);
        check(json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "o" }), false);
        check(json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }), false);
        check(json!({ "kty": "EC", "crv": "P-256" }), false);
        check(json!({}), false);
        check(json!("a key"), false);
    }

    #[test]
    fn two_keys_of_one_name_are_neither_and_the_others_stay() {
        let twin = with(ed(2), "kid", json!("k1"));

        let keys = Jwks::parse(json!({ "keys": [ed(1), twin, ed(3)] }).to_string().as_bytes(), &all()).unwrap();

        assert!(keys.find(Some("k1"), Algorithm::EdDSA).is_none());
        assert!(keys.find(Some("k3"), Algorithm::EdDSA).is_some());
        assert!(keys.find(Some("k3"), Algorithm::RS256).is_none());
        assert_eq!(keys.left_out, 2);
        // A key for encryption may have the name of one for signatures.
        assert_eq!(usable(&[ed(1), with(ed(1), "use", json!("enc"))]), 1);
    }

    #[test]
    fn without_a_name_only_the_only_key_is_meant() {
        let find = |keys: &[Value]| {
            let keys = Jwks::parse(json!({ "keys": keys }).to_string().as_bytes(), &all()).unwrap();
            keys.find(None, Algorithm::EdDSA).is_some()
        };
        assert!(find(&[ed(1)]));
        assert!(!find(&[ed(1), ed(2)]));
        assert!(!find(&[]));
    }

    #[test]
    fn what_is_no_key_set_or_too_large_is_refused_as_a_whole() {
        let refused = |bytes: &[u8]| Jwks::parse(bytes, &all()).is_err();
        assert!(refused(b""));
        assert!(refused(b"[]"));
        assert!(refused(b"{\"keys\": {}}"));
        assert!(refused(json!({ "keys": vec![ed(1); KEYS_MAX + 1] }).to_string().as_bytes()));
        assert!(refused(&vec![b' '; DOCUMENT_BYTES_MAX + 1]));
        assert!(refused("[".repeat(100_000).as_bytes()));
    }
}
