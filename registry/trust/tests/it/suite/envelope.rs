//! Hostile bundles: what stands beside a good artifact and should not count, or should end everything.
//! Every case goes the whole way to a verdict, from bytes and from what a host keeps of them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use bulkhead_trust::dsse::pae;
use bulkhead_trust::statement::{Decision, PAYLOAD_TYPE};
use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{Facts, ReleaseStatement, State, admit, evaluate};
use serde::Deserialize;
use serde_json::json;

use super::{Edit, edited, expanded, run};
use crate::fixtures::{
    ANNA, ANNA2, AUTHOR, BO, OTHER, POLICY, STRANGER, artifact, key, now, policy, read, review, statement,
};

/// A case. Without any change it is the author's good bundle under the policy of `fixtures`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Whose key signs: AUTHOR, ANNA, ANNA2, BO, OTHER or STRANGER.
    #[serde(default = "author")]
    key: String,
    /// `approve` or `reject`: the statement is a review's.
    review: Option<String>,
    /// Edits of the statement before it is signed.
    #[serde(default)]
    statement: Vec<Edit>,
    /// The whole payload.
    payload: Option<String>,
    /// The payload type that is signed; the envelope's own is an edit of the bundle.
    #[serde(default = "payload_type")]
    signed_type: String,
    /// What is done to the signature.
    #[serde(default)]
    signature: Signature,
    /// How payload and signature are written.
    #[serde(default)]
    encoding: Encoding,
    /// Edits of the finished bundle.
    #[serde(default)]
    bundle: Vec<Edit>,
    /// The whole bundle.
    text: Option<String>,
    /// How often it is there.
    #[serde(default = "once")]
    times: usize,
    /// Good bundles beside it: `ANNA`, or `ANNA approve`.
    #[serde(default)]
    beside: Vec<String>,
    /// Edits of the policy.
    #[serde(default)]
    policy: Vec<Edit>,
    /// Every code of the refusal, each once, in the order of their rank; none: it is admitted.
    codes: Vec<String>,
    /// What one of the reasons says.
    #[serde(default)]
    says: String,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Signature {
    #[default]
    Good,
    /// Over the message's SHA-512, as Ed25519ph has it.
    Prehashed,
    /// The group's order is added to S: the same number, written otherwise.
    PlusOrder,
    /// R is the neutral point and S zero.
    Neutral,
    /// R is the neutral point in an encoding above the field's prime, S zero.
    NeutralNonCanonical,
    /// R is a point of order eight, S that of the good signature.
    SmallOrder,
    /// All bits set.
    Ones,
    /// Over the payload alone.
    WithoutEncoding,
    /// Over DSSE version 0's way to put type and payload together.
    OldEncoding,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Encoding {
    #[default]
    Standard,
    UrlSafe,
    WithoutPadding,
    /// A line break every 64 letters, as PEM has it.
    Lines,
    Hex,
}

fn author() -> String {
    "AUTHOR".to_owned()
}

fn payload_type() -> String {
    PAYLOAD_TYPE.to_owned()
}

fn once() -> usize {
    1
}

fn seed(name: &str) -> u8 {
    match name {
        "AUTHOR" => AUTHOR,
        "ANNA" => ANNA,
        "ANNA2" => ANNA2,
        "BO" => BO,
        "OTHER" => OTHER,
        "STRANGER" => STRANGER,
        other => panic!("nobody is called `{other}`"),
    }
}

#[test]
fn every_hostile_bundle_is_refused_for_its_reason() {
    run(include_str!("../../data/hostile/envelope.toml"), 133, |case: &Case| &case.name, check);
}

fn check(case: &Case) -> Result<(), String> {
    let bytes = artifact();
    let mut bundles = vec![made(case, &bytes); case.times];
    bundles.extend(case.beside.iter().map(|line| {
        let (name, decision) = line.split_once(' ').map_or((line.as_str(), None), |(name, rest)| (name, Some(rest)));
        bulkhead_trust::bundle::sign(&key(seed(name)), &stated(&bytes, decision))
    }));
    let bundles: Vec<&[u8]> = bundles.iter().map(String::as_bytes).collect();
    let policy = policy(&edited(POLICY, &case.policy));
    let (state, limits) = (State::default(), StructuralLimits::DEFAULT);

    let admitted = admit(&bytes, &bundles, &policy, &state, now(), &limits).map(|(_, verdict)| verdict);

    let kept = read(&bytes).unwrap();
    let again = evaluate(&Facts::of(&kept), &kept.digest, &bundles, &policy, &state, now());
    assert_eq!(admitted, again, "bytes and facts give one verdict");
    let refusals = admitted.err().unwrap_or_default();
    let mut codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code.as_str()).collect();
    codes.dedup();
    let told = case.says.is_empty() || refusals.iter().any(|refusal| refusal.detail.contains(&case.says));
    if codes == case.codes && told {
        Ok(())
    } else {
        Err(format!("wanted {:?} {:?}: {refusals:#?}", case.codes, case.says))
    }
}

fn stated(bytes: &[u8], decision: Option<&str>) -> ReleaseStatement {
    let decision = decision.map(|decision| if decision == "approve" { Decision::Approve } else { Decision::Reject });
    ReleaseStatement { review: decision.map(review), ..statement(bytes) }
}

fn made(case: &Case, bytes: &[u8]) -> String {
    if let Some(text) = &case.text {
        return expanded(text);
    }
    let json = String::from_utf8(stated(bytes, case.review.as_deref()).to_json()).unwrap();
    let payload = case.payload.as_ref().map_or_else(|| edited(&json, &case.statement), |text| expanded(text));
    let signature = signature(case, payload.as_bytes());
    let write = |bytes: &[u8]| match case.encoding {
        Encoding::Standard => STANDARD.encode(bytes),
        Encoding::UrlSafe => URL_SAFE.encode(bytes),
        Encoding::WithoutPadding => STANDARD_NO_PAD.encode(bytes),
        Encoding::Lines => {
            let text = STANDARD.encode(bytes);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            lines.join("\n")
        }
        Encoding::Hex => data_encoding::HEXLOWER.encode(bytes),
    };
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": key(seed(&case.key)).verifying_key().hint() } },
        "dsseEnvelope": {
            "payload": write(payload.as_bytes()),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": write(&signature) }],
        },
    });
    edited(&bundle.to_string(), &case.bundle)
}

fn signature(case: &Case, payload: &[u8]) -> [u8; 64] {
    let (seed, message) = (seed(&case.key), pae(&case.signed_type, payload));
    let good = key(seed).sign(&message);
    let neutral = |encoding: &str| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&super::hex(encoding));
        signature
    };
    match case.signature {
        Signature::Good => good,
        Signature::Prehashed => {
            let hash = <sha2::Sha512 as sha2::Digest>::new_with_prefix(&message);
            ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).sign_prehashed(hash, None).unwrap().to_bytes()
        }
        Signature::PlusOrder => plus_order(good),
        Signature::Neutral => neutral("01 %%31:00%%"),
        Signature::NeutralNonCanonical => neutral("ee %%30:ff%% 7f"),
        Signature::SmallOrder => {
            let mut signature = good;
            let point = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
            signature[..32].copy_from_slice(&super::hex(point));
            signature
        }
        Signature::Ones => [0xff; 64],
        Signature::WithoutEncoding => key(seed).sign(payload),
        Signature::OldEncoding => key(seed).sign(&[case.signed_type.as_bytes(), payload].concat()),
    }
}

fn plus_order(mut signature: [u8; 64]) -> [u8; 64] {
    let order = super::hex("edd3f55c1a631258d69cf7a2def9de14 %%15:00%% 10");
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    signature
}
