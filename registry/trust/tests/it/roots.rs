//! Root keys that replace themselves: a document counts only right behind the one before, signed by enough of both.

use bulkhead_model::{Code, Coded as _};
use bulkhead_trust::Roots;
use bulkhead_trust::policy::roots::{self, ENVELOPE_BYTES_MAX, ROOTS_BYTES_MAX};
use bulkhead_trust::policy::{self, Error};

use crate::fixtures::{ANNA, AUTHOR, BO, OTHER, POLICY, STRANGER, key, policy, policy_text};

/// Two of three.
fn anchor() -> Roots {
    Roots::anchor([AUTHOR, ANNA, BO].map(|seed| key(seed).verifying_key()).to_vec(), 2)
}

const NEXT: &str = r#"
    version = 1
    expires = "2030-01-01"
    keys = ["BO", "OTHER"]
    threshold = "all"
"#;

fn next() -> Roots {
    Roots::from_toml(&policy_text(NEXT)).unwrap()
}

/// The document with these keys' signatures.
fn signed(roots: &Roots, seeds: &[u8]) -> String {
    let (first, rest) = seeds.split_first().unwrap();
    rest.iter().fold(roots::sign(roots, &key(*first)), |envelope, seed| {
        roots::add_signature(envelope.as_bytes(), &key(*seed)).unwrap()
    })
}

#[test]
fn roots_are_replaced_by_enough_of_the_old_and_of_the_new_keys() {
    let envelope = signed(&next(), &[AUTHOR, BO, OTHER]);

    let found = anchor().successor(envelope.as_bytes()).unwrap();

    assert_eq!(found, next());
    assert_eq!((found.version, found.threshold, found.expires.to_string()), (1, 2, "2030-01-02T00:00:00Z".to_owned()));
    assert_eq!(Roots::from_json(&found.to_json()).unwrap(), found);
    assert_eq!(roots::unverified(envelope.as_bytes()).unwrap(), found);
}

#[test]
fn roots_without_enough_signatures_of_either_side_or_of_another_version_are_refused() {
    let text = |from: &str, to: &str| Roots::from_toml(&policy_text(&NEXT.replace(from, to))).unwrap();
    let all = [AUTHOR, BO, OTHER];
    for (name, envelope, code) in [
        ("the new keys alone", signed(&next(), &[BO, OTHER]), Code::ThresholdNotMet),
        ("the old keys alone", signed(&next(), &[AUTHOR, ANNA]), Code::UnknownSigner),
        ("one of the new keys", signed(&next(), &[AUTHOR, ANNA, BO]), Code::ThresholdNotMet),
        ("one key twice", signed(&next(), &[AUTHOR, AUTHOR, OTHER]), Code::ThresholdNotMet),
        ("strangers", signed(&next(), &[STRANGER]), Code::UnknownSigner),
        ("a version left out", signed(&text("version = 1", "version = 2"), &all), Code::PolicyInvalid),
        ("a policy", policy::sign(&policy(POLICY), &key(AUTHOR)), Code::Malformed),
        ("no JSON", "roots".to_owned(), Code::Malformed),
        ("a large one", " ".repeat(ENVELOPE_BYTES_MAX + 1), Code::TooLarge),
    ] {
        assert_eq!(anchor().successor(envelope.as_bytes()).unwrap_err().code(), code, "{name}");
    }
    let first = signed(&next(), &all);
    let other = signed(&text("\"2030-01-01\"", "\"2031-01-01\""), &all);
    let payload =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["payload"].as_str().unwrap().to_owned();
    let swapped = first.replace(&payload(&first), &payload(&other));
    assert_eq!(anchor().successor(swapped.as_bytes()).unwrap_err().code(), Code::UnknownSigner);
    assert!(next().successor(first.as_bytes()).is_err(), "a document does not come behind itself");
}

#[test]
fn signatures_of_roots_and_of_policies_are_worth_nothing_for_each_other() {
    let roots = signed(&next(), &[AUTHOR, BO, OTHER]);
    let as_policy = roots.replace(roots::PAYLOAD_TYPE, policy::PAYLOAD_TYPE);

    assert_eq!(policy::verify(as_policy.as_bytes(), &anchor().keys, 1).unwrap_err().code(), Code::UnknownSigner);
}

#[test]
fn every_mistake_of_roots_has_its_place() {
    let check = |from: &str, to: &str, wanted: &[&str]| {
        let text = NEXT.replace(from, to);
        assert_ne!(text, NEXT, "{from}");
        match Roots::from_toml(&policy_text(&text)) {
            Err(Error::Invalid(issues)) => {
                let found: Vec<_> = issues.into_iter().map(|issue| issue.pointer).collect();
                assert_eq!(found, wanted, "{to}");
            }
            other => panic!("{other:?} of {to}"),
        }
    };
    check("version = 1", "version = 0", &["/version"]);
    check("version = 1", "version = 9223372036854775808", &["/version"]);
    check("version = 1", "version = -1", &["/version"]);
    check("version = 1", "version = \"1\"", &["/version"]);
    check("version = 1", "", &["/version"]);
    check("\"2030-01-01\"", "\"soon\"", &["/expires"]);
    check("expires", "valid", &["/expires", "/valid"]);
    check("[\"BO\", \"OTHER\"]", "[]", &["/keys", "/threshold"]);
    check("[\"BO\", \"OTHER\"]", "[\"BO\", \"BO\"]", &["/keys/1"]);
    check("[\"BO\", \"OTHER\"]", "[\"BO\", \"ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]", &["/keys/1"]);
    check("[\"BO\", \"OTHER\"]", "\"BO\"", &["/keys", "/keys", "/threshold"]);
    check("\"all\"", "0", &["/threshold"]);
    check("\"all\"", "3", &["/threshold"]);
    check("\"all\"", "\"most\"", &["/threshold"]);
    check("\"all\"", "1.5", &["/threshold"]);
    check("threshold", "treshold", &["/threshold", "/treshold"]);
}

#[test]
fn documents_that_are_no_roots_are_refused() {
    let nested = "[".repeat(100_000);
    for bad in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"{\"version\":null,\"expires\":null,\"keys\":null,\"threshold\":null}",
        b"[1,\"2030-01-01\",[],1]",
        b"{\"version\":1,\"version\":1,\"expires\":\"2030-01-01\",\"keys\":[],\"threshold\":1}",
        nested.as_bytes(),
        &vec![b' '; ROOTS_BYTES_MAX + 1],
    ] {
        assert!(Roots::from_json(bad).is_err());
    }
    let many: Vec<String> = (0..17_u8).map(|seed| format!("\"{}\"", key(seed).verifying_key())).collect();
    let text = format!("version = 1\nexpires = \"2030-01-01\"\nkeys = [{}]\nthreshold = 1", many.join(","));
    assert!(Roots::from_toml(&text).is_err(), "more keys than may sign one envelope");
}

#[test]
fn an_anchor_is_told_by_its_keys_and_threshold() {
    let anchor = anchor();
    let mut keys = anchor.keys.clone();
    keys.reverse();

    assert_eq!(Roots::anchor(keys.clone(), 2).anchor_id(), anchor.anchor_id());
    assert_ne!(Roots::anchor(keys.clone(), 1).anchor_id(), anchor.anchor_id());
    assert_ne!(Roots::anchor(keys[1..].to_vec(), 2).anchor_id(), anchor.anchor_id());
}
