//! Keys: what is written is read, what is weak or foreign is refused.
//! Signatures are checked in `bundle` and `interop`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_trust::key::{InvalidKey, Outcome};
use bulkhead_trust::{SigningKey, VerifyingKey};

use crate::fixtures::{AUTHOR, OTHER, key};

/// The eight points of small order, and encodings of them that are not canonical.
const WEAK: [&str; 12] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn weak_and_non_canonical_keys_are_refused_in_every_form() {
    for hex in WEAK {
        let bytes: [u8; 32] = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap();
        assert!(VerifyingKey::from_bytes(&bytes).is_err(), "{hex}");

        let text = format!("ed25519:{}", STANDARD.encode(bytes));
        assert!(VerifyingKey::from_policy_text(&text).is_err(), "{hex}");

        let der = [&data_encoding::HEXLOWER.decode(b"302a300506032b6570032100").unwrap()[..], &bytes].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        assert!(VerifyingKey::from_pem(&pem).is_err(), "{hex}");
    }
}

#[test]
fn a_key_with_a_small_order_part_is_refused() {
    // A point of prime order plus the point of order two: not small, yet two keys that verify alike.
    let honest = curve25519_dalek::edwards::CompressedEdwardsY(
        STANDARD.decode(&key(AUTHOR).verifying_key().to_policy_text()["ed25519:".len()..]).unwrap().try_into().unwrap(),
    );
    let mixed = honest.decompress().unwrap() + curve25519_dalek::constants::EIGHT_TORSION[4];

    assert_eq!(VerifyingKey::from_bytes(&mixed.compress().0), Err(InvalidKey::Weak));
}

#[test]
fn every_form_of_a_key_reads_back() {
    let signing = key(AUTHOR);
    let verifying = signing.verifying_key();

    assert_eq!(VerifyingKey::from_pem(&verifying.to_pem()), Ok(verifying));
    assert_eq!(VerifyingKey::from_policy_text(&verifying.to_policy_text()), Ok(verifying));
    assert_eq!(SigningKey::from_pem(&signing.to_pem()).unwrap().verifying_key(), verifying);
    assert_ne!(verifying, key(OTHER).verifying_key());
    assert_eq!(format!("{signing:?}"), format!("SigningKey(of {})", verifying.id()));
}

#[test]
fn text_that_is_no_key_is_refused() {
    let (private, public) = (key(AUTHOR).to_pem(), key(AUTHOR).verifying_key().to_pem());
    let policy = key(AUTHOR).verifying_key().to_policy_text();
    let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n";

    for bad in
        ["", "x", rsa, &private, &policy, &public.replace("PUBLIC", "PRIVATE"), &public[..60], &"A".repeat(5_000)]
    {
        assert!(VerifyingKey::from_pem(bad).is_err(), "{bad}");
    }
    for bad in ["", "x", rsa, &public, &private[..60], &private.replace("MC4", "MC5")] {
        assert!(SigningKey::from_pem(bad).is_err(), "{bad}");
    }
    for bad in [
        "",
        &policy[8..],
        "ed25519:",
        "ed25519:AAAA",
        &policy.replace("ed25519", "rsa"),
        &format!("{policy}="),
        &format!(" {policy}"),
    ] {
        assert_eq!(VerifyingKey::from_policy_text(bad), Err(InvalidKey::Text), "{bad}");
    }
}

#[test]
fn a_signature_counts_in_one_encoding_for_one_message_and_one_key() {
    let (signing, message) = (key(AUTHOR), b"message");
    let signature = signing.sign(message);
    let verifying = signing.verifying_key();
    // Adding the group's order to S gives the same scalar in another encoding.
    let order: [u8; 32] = data_encoding::HEXLOWER
        .decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        .unwrap()
        .try_into()
        .unwrap();
    let mut malleable = signature;
    let mut carry = 0_u16;
    for (byte, add) in malleable[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }

    assert_eq!(verifying.check(message, &signature), Outcome::Valid);
    assert_eq!(verifying.check(b"other", &signature), Outcome::Invalid);
    assert_eq!(verifying.check(message, &malleable), Outcome::Invalid);
    assert_eq!(verifying.check(message, &[0; 64]), Outcome::Invalid);
    assert_eq!(key(OTHER).verifying_key().check(message, &signature), Outcome::Invalid);
}
