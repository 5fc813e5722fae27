//! Tokens with which one node calls a plugin on another for a plugin of its own: who calls, for which tenant and user, what,
//! in which trace, and until when. Pure: keys, time and text come in as values. It carries no call.
//!
//! A token is a JWS in compact form: three parts in base64url without padding, joined by dots.
//!
//! 1. The header, always `{"alg":"EdDSA","typ":"bulkhead-node+jwt","kid":"<id of the signing node's key>"}`.
//! 2. The claims, a JSON object with exactly these fields:
//!    `aud` (`bulkhead-node`), `iss` (the node that signs), `caller` (plugin id), `tenant`, `user` (subject, or absent for a call of
//!    the host itself), `target` (`{"plugin", "service"}`), `trace` (32 hex digits), `iat` and `exp` in seconds since 1970, at most
//!    60 apart.
//! 3. The Ed25519 signature over the first two parts and the dot between them.
//!
//! Whoever receives it takes nothing of the call's identity from anywhere else: the target plugin and service, and the tenant,
//! of the request must be the token's. A token may be used again until it ends: it repeats a call that its caller may make at
//! that time anyway, and a call that must happen once carries a key of its own.

use bulkhead_model::{PluginId, TenantId, TraceId};
use bulkhead_trust::key::Outcome;
use bulkhead_trust::{SigningKey, VerifyingKey};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// The `aud` of every token: it is no token of a person, and a person's token is none of these.
const AUDIENCE: &str = "bulkhead-node";
/// The `typ` of every header.
const TYPE: &str = "bulkhead-node+jwt";
/// The algorithm of every token.
const ALGORITHM: &str = "EdDSA";
/// Longest life in seconds.
pub const LIFE_S_MAX: u64 = 60;
/// Skew between the clocks of two nodes that is forgiven, in seconds.
pub const LEEWAY_S: u64 = 5;
/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Longest subject of a user in bytes.
const USER_BYTES_MAX: usize = 256;
/// Longest name of a node in bytes.
const NODE_BYTES_MAX: usize = 64;
/// Longest name of a service in bytes.
const SERVICE_BYTES_MAX: usize = 128;

/// What a node says about a call that it makes for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCall {
    /// The node that signs.
    pub node: String,
    /// The plugin that calls.
    pub caller: PluginId,
    /// The tenant of the original request.
    pub tenant: TenantId,
    /// The user of the original request; `None` for a call of the host itself.
    pub user: Option<String>,
    /// The plugin that is called.
    pub target: PluginId,
    /// The service of it that is called.
    pub service: String,
    /// The trace of the original request.
    pub trace: TraceId,
    /// From when on, in seconds since 1970.
    pub issued_s: u64,
    /// Until when, in seconds since 1970; at most [`LIFE_S_MAX`] later.
    pub expires_s: u64,
}

/// Why a token is not made or not taken. None of them says what was expected: whoever forges learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeTokenError {
    /// It is longer than a token is, or not of three parts of base64url with JSON of the right fields.
    #[error("the node's token is malformed")]
    Malformed,
    /// It is signed by nobody who is known, by another algorithm, or it was changed.
    #[error("the node's token is not signed by a known node")]
    BadSignature,
    /// It is for something else.
    #[error("the token is not one of a node")]
    Audience,
    /// Its time is over.
    #[error("the node's token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the node's token is not valid yet")]
    NotYet,
    /// It would live longer than a token may, or not at all.
    #[error("a node's token lives for 1 to {LIFE_S_MAX} seconds")]
    Life,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    iss: String,
    caller: PluginId,
    tenant: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    target: Target,
    trace: String,
    iat: u64,
    exp: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    plugin: PluginId,
    service: String,
}

/// Signs what a node says about a call.
pub fn sign(call: &NodeCall, key: &SigningKey) -> Result<String, NodeTokenError> {
    check(call)?;
    let header = Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: key.verifying_key().id().to_string() };
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        iss: call.node.clone(),
        caller: call.caller.clone(),
        tenant: call.tenant.clone(),
        user: call.user.clone(),
        target: Target { plugin: call.target.clone(), service: call.service.clone() },
        trace: call.trace.hex(),
        iat: call.issued_s,
        exp: call.expires_s,
    };
    let message = format!("{}.{}", encoded(&header)?, encoded(&claims)?);
    let token = format!("{message}.{}", BASE64URL_NOPAD.encode(&key.sign(message.as_bytes())));
    if token.len() > TOKEN_BYTES_MAX { Err(NodeTokenError::Malformed) } else { Ok(token) }
}

/// What a token says that one of `keys` signed, at `now_s` in seconds since 1970. Nothing of it is read before its signature
/// holds, but the header that says which key it is of.
pub fn verify(token: &str, keys: &[VerifyingKey], now_s: u64) -> Result<NodeCall, NodeTokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(NodeTokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(NodeTokenError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(NodeTokenError::Malformed)?;
    let header: Header = decoded(header)?;
    let signature = bytes(signature)?;
    let is_ours = header.alg == ALGORITHM && header.typ == TYPE;
    let key = keys.iter().find(|key| is_ours && key.id().to_string() == header.kid);
    let signature = signature.try_into().map_err(|_| NodeTokenError::BadSignature)?;
    if !key.is_some_and(|key| key.check(message.as_bytes(), &signature) == Outcome::Valid) {
        return Err(NodeTokenError::BadSignature);
    }
    let claims: Claims = decoded(claims)?;
    if claims.aud != AUDIENCE {
        return Err(NodeTokenError::Audience);
    }
    let call = NodeCall {
        node: claims.iss,
        caller: claims.caller,
        tenant: claims.tenant,
        user: claims.user,
        target: claims.target.plugin,
        service: claims.target.service,
        trace: trace(&claims.trace).ok_or(NodeTokenError::Malformed)?,
        issued_s: claims.iat,
        expires_s: claims.exp,
    };
    check(&call)?;
    if now_s > call.expires_s.saturating_add(LEEWAY_S) {
        return Err(NodeTokenError::Expired);
    }
    if call.issued_s > now_s.saturating_add(LEEWAY_S) {
        return Err(NodeTokenError::NotYet);
    }
    Ok(call)
}

/// What both sides refuse: whoever signs makes none, and whoever has a node's key makes none that is taken.
fn check(call: &NodeCall) -> Result<(), NodeTokenError> {
    let fits = |text: &str, most: usize| !text.is_empty() && text.len() <= most;
    let is_named = fits(&call.node, NODE_BYTES_MAX)
        && fits(&call.service, SERVICE_BYTES_MAX)
        && call.user.as_deref().is_none_or(|user| fits(user, USER_BYTES_MAX));
    if !is_named {
        return Err(NodeTokenError::Malformed);
    }
    match call.expires_s.checked_sub(call.issued_s) {
        Some(1..=LIFE_S_MAX) => Ok(()),
        Some(_) | None => Err(NodeTokenError::Life),
    }
}

/// A trace of 32 lower-case hex digits, not all zero, as a W3C trace context writes it.
fn trace(hex: &str) -> Option<TraceId> {
    TraceId::from_traceparent(&format!("00-{hex}-0000000000000001-01")).filter(|trace| trace.hex() == hex)
}

fn encoded(part: &impl Serialize) -> Result<String, NodeTokenError> {
    serde_json::to_vec(part).map(|json| BASE64URL_NOPAD.encode(&json)).map_err(|_| NodeTokenError::Malformed)
}

fn decoded<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, NodeTokenError> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| NodeTokenError::Malformed)
}

fn bytes(part: &str) -> Result<Vec<u8>, NodeTokenError> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| NodeTokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_S: u64 = 1_800_000_000;
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn key(seed: u8) -> SigningKey {
        SigningKey::generate([seed; 32])
    }

    fn call() -> NodeCall {
        NodeCall {
            node: "node-1".to_owned(),
            caller: "acme.crm".parse().unwrap(),
            tenant: "bank".parse().unwrap(),
            user: Some("anna".to_owned()),
            target: "acme.billing".parse().unwrap(),
            service: "invoices".to_owned(),
            trace: trace(TRACE).unwrap(),
            issued_s: NOW_S,
            expires_s: NOW_S + 30,
        }
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "typ": "bulkhead-node+jwt", "kid": key(1).verifying_key().id().to_string() })
    }

    fn claims() -> Value {
        json!({
            "aud": "bulkhead-node", "iss": "node-1", "caller": "acme.crm", "tenant": "bank", "user": "anna",
            "target": { "plugin": "acme.billing", "service": "invoices" },
            "trace": TRACE, "iat": NOW_S, "exp": NOW_S + 30
        })
    }

    fn with(mut value: Value, name: &str, to: Value) -> Value {
        value[name] = to;
        value
    }

    /// Any header and claims, well signed by the first key.
    fn forged(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        format!("{message}.{}", BASE64URL_NOPAD.encode(&key(1).sign(message.as_bytes())))
    }

    fn refused(token: &str) -> NodeTokenError {
        verify(token, &[key(1).verifying_key()], NOW_S).unwrap_err()
    }

    #[test]
    fn a_call_is_read_back_by_whoever_knows_the_node_until_it_ends() {
        let known = [key(2).verifying_key(), key(1).verifying_key()];
        let of_host = NodeCall { user: None, ..call() };
        for call in [call(), of_host] {
            let token = sign(&call, &key(1)).unwrap();

            assert_eq!(verify(&token, &known, NOW_S).unwrap(), call);
            assert_eq!(verify(&token, &known, NOW_S + 30 + LEEWAY_S).unwrap(), call);
            assert_eq!(verify(&token, &known, NOW_S + 31 + LEEWAY_S), Err(NodeTokenError::Expired));
            assert_eq!(verify(&token, &known, NOW_S - LEEWAY_S).unwrap(), call);
            assert_eq!(verify(&token, &known, NOW_S - LEEWAY_S - 1), Err(NodeTokenError::NotYet));
            assert_eq!(verify(&token, &known[..1], NOW_S), Err(NodeTokenError::BadSignature));
            assert_eq!(verify(&token, &[], NOW_S), Err(NodeTokenError::BadSignature));
        }
    }

    #[test]
    fn no_token_lives_longer_than_a_minute_or_says_less_than_it_must() {
        let check = |change: fn(&mut NodeCall), wanted| {
            let mut call = call();
            change(&mut call);
            assert_eq!(sign(&call, &key(1)), Err(wanted));
        };
        check(|call| call.expires_s = call.issued_s + LIFE_S_MAX + 1, NodeTokenError::Life);
        check(|call| call.expires_s = call.issued_s, NodeTokenError::Life);
        check(|call| call.expires_s = call.issued_s - 1, NodeTokenError::Life);
        check(|call| call.expires_s = u64::MAX, NodeTokenError::Life);
        check(|call| call.node.clear(), NodeTokenError::Malformed);
        check(|call| call.service.clear(), NodeTokenError::Malformed);
        check(|call| call.user = Some(String::new()), NodeTokenError::Malformed);
        check(|call| call.user = Some("a".repeat(USER_BYTES_MAX + 1)), NodeTokenError::Malformed);
        check(|call| call.service = "a".repeat(SERVICE_BYTES_MAX + 1), NodeTokenError::Malformed);
        assert!(sign(&NodeCall { expires_s: NOW_S + LIFE_S_MAX, ..call() }, &key(1)).is_ok());
    }

    #[test]
    fn a_key_alone_makes_no_token_of_another_form() {
        let claim = |name, to| refused(&forged(&header(), &with(claims(), name, to)));
        assert!(verify(&forged(&header(), &claims()), &[key(1).verifying_key()], NOW_S).is_ok());

        assert_eq!(claim("aud", json!("bulkhead")), NodeTokenError::Audience);
        assert_eq!(claim("aud", json!(["bulkhead-node"])), NodeTokenError::Malformed);
        assert_eq!(claim("exp", json!(NOW_S + 3_600)), NodeTokenError::Life);
        assert_eq!(claim("exp", json!(-1)), NodeTokenError::Malformed);
        assert_eq!(claim("iat", json!(NOW_S + 60)), NodeTokenError::Life);
        assert_eq!(claim("exp", json!(1e30)), NodeTokenError::Malformed);
        assert_eq!(claim("tenant", json!("../bank")), NodeTokenError::Malformed);
        assert_eq!(claim("tenant", Value::Null), NodeTokenError::Malformed);
        assert_eq!(claim("caller", json!("acme")), NodeTokenError::Malformed);
        assert_eq!(claim("target", json!("acme.billing/invoices")), NodeTokenError::Malformed);
        assert_eq!(claim("target", json!({ "plugin": "acme.billing" })), NodeTokenError::Malformed);
        assert_eq!(claim("trace", json!("0".repeat(32))), NodeTokenError::Malformed);
        assert_eq!(claim("trace", json!(TRACE.to_uppercase())), NodeTokenError::Malformed);
        assert_eq!(claim("trace", json!("x")), NodeTokenError::Malformed);
        assert_eq!(claim("user", json!("")), NodeTokenError::Malformed);
        assert_eq!(claim("roles", json!(["super_admin"])), NodeTokenError::Malformed);
    }

    #[test]
    fn no_header_makes_another_key_or_algorithm_count() {
        let head = |name, to| refused(&forged(&with(header(), name, to), &claims()));
        for algorithm in ["none", "HS256", "RS256", "eddsa", ""] {
            assert_eq!(head("alg", json!(algorithm)), NodeTokenError::BadSignature, "{algorithm}");
        }
        assert_eq!(head("typ", json!("JWT")), NodeTokenError::BadSignature);
        assert_eq!(head("kid", json!(key(2).verifying_key().id().to_string())), NodeTokenError::BadSignature);
        assert_eq!(head("kid", json!("../key")), NodeTokenError::BadSignature);
        assert_eq!(head("crit", json!(["exp"])), NodeTokenError::Malformed);
        assert_eq!(head("jwk", json!({})), NodeTokenError::Malformed);
        assert_eq!(head("jku", json!("https://mallory.example")), NodeTokenError::Malformed);
    }

    #[test]
    fn no_changed_byte_and_no_broken_text_is_taken() {
        let token = sign(&call(), &key(1)).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            refused(&String::from_utf8(changed).unwrap());
            refused(&token[..at]);
        }
        for text in ["", ".", "..", "...", "a.b.c", "\u{0}"] {
            assert_eq!(refused(text), NodeTokenError::Malformed, "{text:?}");
        }
        assert_eq!(refused(&"a".repeat(TOKEN_BYTES_MAX + 1)), NodeTokenError::Malformed);
        assert_eq!(refused(&format!("{token}=")), NodeTokenError::Malformed);
        refused(&format!("{token}.{token}"));
    }
}
