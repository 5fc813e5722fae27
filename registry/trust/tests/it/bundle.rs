//! Hostile bundles: each is refused with its reason.
//! Whether a signer may sign is the matter of `admit`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bulkhead_model::Code;
use bulkhead_trust::dsse::pae;
use bulkhead_trust::statement::{Decision, PAYLOAD_TYPE};
use bulkhead_trust::{Bundle, ReleaseStatement, Role, SigningKey, VerifyingKey};
use serde_json::{Value, json};

use crate::fixtures::{ANNA, AUTHOR, STRANGER, artifact, key, reviewed, signed, statement};

fn keys() -> Vec<VerifyingKey> {
    [AUTHOR, ANNA].map(|seed| key(seed).verifying_key()).to_vec()
}

/// A bundle over any payload, really signed.
fn wrap(key: &SigningKey, payload: &[u8]) -> Value {
    let signature = key.sign(&pae(PAYLOAD_TYPE, payload));
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": key.verifying_key().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    })
}

fn outcome(bundle: &Value) -> Result<ReleaseStatement, (Code, String)> {
    let parsed = Bundle::parse(bundle.to_string().as_bytes());
    parsed
        .and_then(|bundle| bundle.verify(&keys()))
        .map(|it| it.statement)
        .map_err(|refusal| (refusal.code, refusal.detail))
}

fn check(name: &str, bundle: &Value, code: Code, detail: &str) {
    let (found, text) = outcome(bundle).expect_err(name);
    assert!(found == code && text.contains(detail), "{name}: {found}: {text}");
}

#[test]
fn a_signed_statement_comes_back_as_it_was_signed() {
    let bytes = artifact();
    let bundle = Bundle::parse(signed(&bytes, AUTHOR).as_bytes()).unwrap();

    let verified = bundle.verify(&keys()).unwrap();

    assert_eq!(verified.statement, statement(&bytes));
    assert_eq!(verified.key, key(AUTHOR).verifying_key());
    assert_eq!(verified.statement.role(), Role::Author);
    assert_eq!(bundle.claims().unwrap(), verified.statement);

    let review = Bundle::parse(reviewed(&bytes, ANNA, Decision::Approve).as_bytes()).unwrap().verify(&keys()).unwrap();
    assert_eq!(review.statement.role(), Role::Reviewer);
}

#[test]
fn a_statement_has_exactly_the_published_shape() {
    let bytes = artifact();
    let artifact = crate::fixtures::read(&bytes).unwrap();

    let found: Value = serde_json::from_slice(&statement(&bytes).to_json()).unwrap();

    let wanted = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "acme.crm@1.2.0", "digest": { "sha256": artifact.digest.hex() } }],
        "predicateType": "https://bulkhead.dev/attestation/release/v1",
        "predicate": {
            "plugin": "acme.crm",
            "version": "1.2.0",
            "size": bytes.len(),
            "sequence": 7,
            "issued_at": "2026-05-01T00:00:00Z",
            "not_after": "2026-12-01T00:00:00Z",
            "imports_digest": artifact.imports_digest.to_string(),
        },
    });
    assert_eq!(found, wanted);
}

#[test]
fn a_bundle_has_exactly_the_published_shape() {
    let bundle: Value = serde_json::from_str(&signed(&artifact(), AUTHOR)).unwrap();

    assert_eq!(bundle, wrap(&key(AUTHOR), &statement(&artifact()).to_json()));
}

#[test]
fn what_other_tools_may_leave_out_or_write_otherwise_is_accepted() {
    let good = wrap(&key(AUTHOR), &statement(&artifact()).to_json());
    let edit = |edit: fn(&mut Value)| {
        let mut bundle = good.clone();
        edit(&mut bundle);
        assert!(outcome(&bundle).is_ok(), "{bundle}");
    };

    edit(|bundle| bundle["verificationMaterial"] = json!({}));
    edit(|bundle| bundle["verificationMaterial"]["publicKey"] = json!({ "hint": "" }));
    edit(|bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
    edit(|bundle| bundle["dsseEnvelope"]["signatures"][0]["keyid"] = json!(""));
    edit(|bundle| {
        for pointer in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
            let text = bundle.pointer_mut(pointer).unwrap();
            *text = json!(URL_SAFE.encode(STANDARD.decode(text.as_str().unwrap()).unwrap()));
        }
    });
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn an_envelope_that_was_touched_is_refused() {
    let good = wrap(&key(AUTHOR), &statement(&artifact()).to_json());
    let edited = |pointer: &str, value: Value| {
        let mut bundle = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = bundle.pointer_mut(parent).unwrap();
        match parent.as_array_mut() {
            Some(list) => list.push(value),
            None => parent[name] = value,
        }
        bundle
    };
    let signature = good.pointer("/dsseEnvelope/signatures/0").unwrap().clone();
    let payload = good["dsseEnvelope"]["payload"].as_str().unwrap();
    let one_byte = format!("{}A{}", &payload[..9], &payload[10..]);
    let loose_bits =
        format!("{}==", STANDARD.encode([0_u8; 64]).trim_end_matches('=').strip_suffix('A').unwrap().to_owned() + "B");

    for (name, bundle, code, detail) in [
        ("another media type", edited("/mediaType", json!("application/json")), Code::Malformed, "mediaType"),
        (
            "version 0.2",
            edited("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.2")),
            Code::Malformed,
            "mediaType",
        ),
        ("an unknown field", edited("/extra", json!(1)), Code::Malformed, "unknown field"),
        ("an unknown field of the envelope", edited("/dsseEnvelope/extra", json!(1)), Code::Malformed, "unknown field"),
        (
            "an unknown field of the signature",
            edited("/dsseEnvelope/signatures/0/alg", json!("none")),
            Code::Malformed,
            "unknown field",
        ),
        ("a certificate", edited("/verificationMaterial/certificate", json!({})), Code::Malformed, "unknown field"),
        ("a log entry", edited("/verificationMaterial/tlogEntries", json!([{}])), Code::Malformed, "tlogEntries"),
        ("no signature", edited("/dsseEnvelope/signatures", json!([])), Code::Malformed, "exactly one signature"),
        ("two signatures", edited("/dsseEnvelope/signatures/1", signature), Code::Malformed, "exactly one signature"),
        ("a key id", edited("/dsseEnvelope/signatures/0/keyid", json!("x")), Code::Malformed, "keyid"),
        (
            "another payload type",
            edited("/dsseEnvelope/payloadType", json!("text/plain")),
            Code::Malformed,
            "payload type",
        ),
        ("a payload that is no base64", edited("/dsseEnvelope/payload", json!("***")), Code::Malformed, "base64"),
        ("a short signature", edited("/dsseEnvelope/signatures/0/sig", json!("AAAA")), Code::Malformed, "64 bytes"),
        (
            "a signature with loose bits",
            edited("/dsseEnvelope/signatures/0/sig", json!(loose_bits)),
            Code::Malformed,
            "64 bytes",
        ),
        ("no content", edited("/dsseEnvelope", Value::Null), Code::Malformed, "sigstore bundle"),
        ("another payload", edited("/dsseEnvelope/payload", json!(one_byte)), Code::BadSignature, "does not fit"),
        (
            "no signature at all",
            edited("/dsseEnvelope/signatures/0/sig", json!(STANDARD.encode([0; 64]))),
            Code::BadSignature,
            "does not fit",
        ),
        (
            "another hint",
            edited("/verificationMaterial/publicKey/hint", json!(key(ANNA).verifying_key().hint())),
            Code::BadSignature,
            "does not fit",
        ),
        (
            "the hint of a stranger",
            edited("/verificationMaterial/publicKey/hint", json!(key(STRANGER).verifying_key().hint())),
            Code::UnknownSigner,
            "none of the known keys",
        ),
        (
            "a stranger",
            wrap(&key(STRANGER), &statement(&artifact()).to_json()),
            Code::UnknownSigner,
            "none of the known keys",
        ),
    ] {
        check(name, &bundle, code, detail);
    }
    for bytes in [&b""[..], b"{", b"null", b"[]", &vec![b' '; 64 << 10]] {
        assert_eq!(Bundle::parse(bytes).unwrap_err().code, Code::Malformed);
    }
    assert_eq!(Bundle::parse(&vec![b' '; (64 << 10) + 1]).unwrap_err().code, Code::TooLarge);
    assert_eq!(Bundle::parse("[".repeat(60_000).as_bytes()).unwrap_err().code, Code::Malformed);
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let text = signed(&artifact(), AUTHOR);
    let twice = text.replacen("\"payloadType\":", "\"payloadType\":\"x\",\"payloadType\":", 1);

    assert_eq!(Bundle::parse(twice.as_bytes()).unwrap_err().code, Code::Malformed);
}

#[test]
fn a_signature_over_a_hash_is_refused_with_a_hint() {
    let payload = statement(&artifact()).to_json();
    let dalek = ed25519_dalek::SigningKey::from_bytes(&[AUTHOR; 32]);
    let message = pae(PAYLOAD_TYPE, &payload);
    let hash = <sha2::Sha512 as sha2::Digest>::new_with_prefix(&message);
    let signature = dalek.sign_prehashed(hash, None).unwrap();
    let mut bundle = wrap(&key(AUTHOR), &payload);
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(signature.to_bytes()));

    check("Ed25519ph", &bundle, Code::BadSignature, "pure Ed25519");
}

#[test]
fn a_statement_that_contradicts_itself_is_refused_although_it_is_signed() {
    let good: Value = serde_json::from_slice(&statement(&artifact()).to_json()).unwrap();
    let subject = good["subject"][0].clone();
    let review = json!({ "policy_version": 1, "decision": "approve", "reason": "x" });
    let mut all = good["predicate"].clone();
    all.as_object_mut().unwrap().extend(review.as_object().unwrap().clone());
    let long = json!("x".repeat(2_001));
    for (pointer, value, detail) in [
        ("/_type", json!("https://in-toto.io/Statement/v0.1"), "_type"),
        ("/predicateType", json!("https://bulkhead.dev/attestation/review/v1"), "predicateType"),
        ("/predicateType", json!("https://slsa.dev/provenance/v1"), "predicateType"),
        ("/predicate", all, "predicateType"),
        ("/subject", json!([]), "exactly one subject"),
        ("/subject", json!([subject.clone(), subject]), "exactly one subject"),
        ("/subject/0/name", json!("acme.crm@1.3.0"), "the subject is"),
        ("/subject/0/name", json!("acme.billing@1.2.0"), "the subject is"),
        ("/subject/0/digest", json!({ "sha512": "x" }), "statement"),
        ("/subject/0/digest/sha256", json!("ABC"), "64 lower-case"),
        ("/subject/0/uri", json!("x"), "unknown field"),
        ("/predicate/plugin", json!("Acme.crm"), "statement"),
        ("/predicate/version", json!("1.2.0+build"), "statement"),
        ("/predicate/size", json!(-1), "statement"),
        ("/predicate/sequence", json!("7"), "statement"),
        ("/predicate/issued_at", json!("2026-05-01"), "issued_at"),
        ("/predicate/issued_at", json!("2026-05-01T00:00:00+02:00"), "issued_at"),
        ("/predicate/not_after", json!("2026-13-01T00:00:00Z"), "not_after"),
        ("/predicate/not_after", json!("2026-04-01T00:00:00Z"), "later than"),
        ("/predicate/imports_digest", json!("abc"), "statement"),
        ("/predicate/decision", json!("approve"), "a review has"),
        ("/predicate/base_digest", json!(format!("sha256:{}", "0".repeat(64))), "a review has"),
        ("/predicate/reason", long, "a review has"),
        ("/predicate/extra", json!(1), "unknown field"),
    ] {
        let mut statement = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        statement.pointer_mut(parent).unwrap()[name] = value;
        check(pointer, &wrap(&key(AUTHOR), statement.to_string().as_bytes()), Code::Malformed, detail);
    }
    check("text", &wrap(&key(AUTHOR), b"hello"), Code::Malformed, "not a statement");
    check("a large one", &wrap(&key(AUTHOR), &vec![b' '; (16 << 10) + 1]), Code::Malformed, "at most");
}
