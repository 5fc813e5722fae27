//! Hostile policies: as TOML, as JSON, and in the envelope that root keys sign.
//! What a policy decides is the matter of `envelope` and of `admit`.

use bulkhead_model::Coded as _;
use bulkhead_trust::policy::{self, Error};
use bulkhead_trust::{Policy, VerifyingKey};
use serde::Deserialize;

use super::{Edit, edited, expanded, run};
use crate::fixtures::{ANNA, AUTHOR, BO, POLICY, STRANGER, key, policy as read, policy_text};

/// A case. Without any change it is the good policy of `fixtures` in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The form that is attacked.
    #[serde(default)]
    form: Form,
    /// The whole document in that form.
    text: Option<String>,
    /// Edits of the document in that form.
    #[serde(default)]
    edits: Vec<Edit>,
    /// Who signs the envelope; the roots are AUTHOR, ANNA and BO.
    #[serde(default = "author")]
    by: Vec<String>,
    /// Edits of the JSON before it is signed.
    #[serde(default)]
    payload: Vec<Edit>,
    /// How many roots are wanted.
    #[serde(default = "one")]
    threshold: usize,
    /// The refusal's code; none: it is read.
    #[serde(default)]
    code: String,
    /// The places of all mistakes, in the order in which they are told.
    #[serde(default)]
    at: Vec<String>,
    /// How many mistakes are told, where they are too many to list.
    mistakes: Option<usize>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    #[default]
    Toml,
    Json,
    Envelope,
}

fn author() -> Vec<String> {
    vec!["AUTHOR".to_owned()]
}

fn one() -> usize {
    1
}

#[test]
fn every_hostile_policy_is_refused_for_its_reason() {
    run(include_str!("../../data/hostile/policy.toml"), 122, |case: &Case| &case.name, check);

    let good = policy::sign(&read(POLICY), &key(AUTHOR));
    assert_eq!(policy::verify(good.as_bytes(), &roots(), 1), Ok(read(POLICY)), "the good policy is read afterwards");
}

fn roots() -> Vec<VerifyingKey> {
    [AUTHOR, ANNA, BO].map(|seed| key(seed).verifying_key()).to_vec()
}

fn check(case: &Case) -> Result<(), String> {
    let found = outcome(case);
    let (code, at) = match &found {
        Ok(_) => ("", Vec::new()),
        Err(error) => (error.code().as_str(), pointers(error)),
    };
    let told = case.mistakes.map_or_else(|| at == case.at, |count| at.len() == count);
    if code == case.code && told { Ok(()) } else { Err(format!("wanted {:?} {:?}: {found:#?}", case.code, case.at)) }
}

fn pointers(error: &Error) -> Vec<String> {
    match error {
        Error::Invalid(issues) => issues.iter().map(|issue| issue.pointer.clone()).collect(),
        Error::Refused(_) => Vec::new(),
    }
}

fn outcome(case: &Case) -> Result<Policy, Error> {
    let json = String::from_utf8(read(POLICY).to_json()).unwrap();
    match case.form {
        Form::Toml => Policy::from_toml(&policy_text(&document(case, POLICY))),
        Form::Json => Policy::from_json(document(case, &json).as_bytes()),
        Form::Envelope => {
            let payload = edited(&json, &case.payload);
            policy::verify(document(case, &envelope(&payload, &case.by)).as_bytes(), &roots(), case.threshold)
        }
    }
}

fn document(case: &Case, good: &str) -> String {
    case.text.as_ref().map_or_else(|| edited(good, &case.edits), |text| expanded(text))
}

/// An envelope over any payload. `AUTHOR as TYPE` signs another payload type.
fn envelope(payload: &str, by: &[String]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let signatures: Vec<_> = by
        .iter()
        .map(|line| {
            let (name, kind) = line.split_once(" as ").unwrap_or((line, policy::PAYLOAD_TYPE));
            let seed = match name {
                "AUTHOR" => AUTHOR,
                "ANNA" => ANNA,
                "BO" => BO,
                "STRANGER" => STRANGER,
                other => panic!("nobody is called `{other}`"),
            };
            let signature = key(seed).sign(&bulkhead_trust::dsse::pae(kind, payload.as_bytes()));
            serde_json::json!({ "sig": STANDARD.encode(signature) })
        })
        .collect();
    serde_json::json!({
        "payload": STANDARD.encode(payload),
        "payloadType": policy::PAYLOAD_TYPE,
        "signatures": signatures,
    })
    .to_string()
}
