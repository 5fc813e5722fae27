//! Root keys: who signs policies, and how these keys replace themselves. A document of roots counts only behind the one before:
//! enough of the old keys and enough of the new keys sign it. It remembers nothing; the host keeps the chain.

use std::collections::BTreeSet;

use bulkhead_model::{Code, Digest, Issue};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Error;
use super::read::fields::{Fields, Strict, integer};
use super::read::key;
use super::time::end;
use crate::envelope::{Kind, SIGNATURES_MAX};
use crate::key::{SigningKey, VerifyingKey};
use crate::refusal::Refusal;

/// Payload type of signed roots.
pub const PAYLOAD_TYPE: &str = "application/vnd.bulkhead.roots.v1+json";
/// Largest document in bytes, as TOML or JSON.
pub const ROOTS_BYTES_MAX: usize = 16 * 1024;
/// Largest envelope in bytes.
pub const ENVELOPE_BYTES_MAX: usize = ROOTS_BYTES_MAX * 4 / 3 + 16 * 1024;
/// Most keys of a document: all of those before and behind may sign one envelope.
pub const KEYS_MAX: usize = SIGNATURES_MAX / 2;

const ROOTS: Kind = Kind { payload_type: PAYLOAD_TYPE, bytes_max: ENVELOPE_BYTES_MAX, noun: "signed roots" };

/// The keys that sign policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// 0 is what the host's configuration says; each document comes behind the one before.
    pub version: u64,
    /// From then on they install nothing but their successor.
    pub expires: Timestamp,
    /// The keys.
    pub keys: Vec<VerifyingKey>,
    /// How many different ones sign.
    pub threshold: usize,
}

impl Roots {
    /// The roots of a host's configuration, with which the chain begins.
    pub const fn anchor(keys: Vec<VerifyingKey>, threshold: usize) -> Self {
        Self { version: 0, expires: Timestamp::MAX, keys, threshold }
    }

    /// What tells one anchor from another: a digest of keys, in any order, and threshold.
    pub fn anchor_id(&self) -> Digest {
        let keys: BTreeSet<String> = self.keys.iter().map(ToString::to_string).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        Digest::of(format!("bulkhead-roots\n{}\n{}\n", self.threshold.max(1), keys.join("\n")).as_bytes())
    }

    /// Reads `roots.toml`; every mistake is in the answer.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        check_size(text.len())?;
        let value: Value = toml::from_str(text).map_err(|error| invalid("", format!("not TOML: {error}")))?;
        read(&value)
    }

    /// Reads the JSON form, the payload of signed roots.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        check_size(bytes.len())?;
        let Strict(value) = serde_json::from_slice(bytes).map_err(|error| invalid("", format!("not JSON: {error}")))?;
        read(&value)
    }

    /// The JSON form; reading it gives the same roots.
    pub fn to_json(&self) -> Vec<u8> {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let tree = json!({
            "version": self.version, "expires": self.expires.to_string(), "keys": keys, "threshold": self.threshold,
        });
        tree.to_string().into_bytes()
    }

    /// The roots in an envelope, if they come right behind these and enough keys of both signed them. Roots whose time is
    /// over can still be replaced.
    pub fn successor(&self, envelope: &[u8]) -> Result<Self, Error> {
        let opened = ROOTS.open(envelope).map_err(Error::Refused)?;
        let before = format!("root key of version {}", self.version);
        opened.check(&self.keys, self.threshold, &before, "these roots").map_err(Error::Refused)?;
        let next = Self::from_json(&opened.payload)?;
        opened.check(&next.keys, next.threshold, "root key of their own", "these roots").map_err(Error::Refused)?;
        if Some(next.version) != self.version.checked_add(1) {
            let message =
                format!("the roots behind version {} have the version after it, not {}", self.version, next.version);
            return Err(invalid("/version", message));
        }
        Ok(next)
    }
}

/// Signs roots; the answer is the JSON of the envelope.
pub fn sign(roots: &Roots, key: &SigningKey) -> String {
    ROOTS.sign(&roots.to_json(), key)
}

/// Adds the signature of another key to an envelope, over the same bytes.
pub fn add_signature(envelope: &[u8], key: &SigningKey) -> Result<String, Error> {
    ROOTS.add_signature(envelope, key).map_err(Error::Refused)
}

/// The roots in an envelope, whose signatures nobody looks at: to be shown before they are signed.
pub fn unverified(envelope: &[u8]) -> Result<Roots, Error> {
    Roots::from_json(&ROOTS.open(envelope).map_err(Error::Refused)?.payload)
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes <= ROOTS_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("roots are at most {ROOTS_BYTES_MAX} bytes long");
    Err(Error::Refused(Refusal::new(Code::TooLarge, detail)))
}

fn read(value: &Value) -> Result<Roots, Error> {
    let mut issues = Vec::new();
    let Some(mut fields) = Fields::open(value, String::new(), &mut issues) else { return Err(Error::Invalid(issues)) };
    let version = fields.required("version", version, &mut issues);
    let expires = fields.required("expires", end, &mut issues);
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for (index, key) in fields.list("keys", KEYS_MAX, &mut issues, key).into_iter().enumerate() {
        if keys.contains(&key) {
            issues.push(Issue::new(
                format!("/keys/{index}"),
                "the key is there already: a threshold would count it twice",
            ));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        issues.push(Issue::new("/keys", format!("roots have 1 to {KEYS_MAX} keys")));
    }
    let most = keys.len();
    let threshold = fields.required("threshold", |value| threshold(value, most), &mut issues);
    fields.close(&mut issues);
    match (version, expires, threshold) {
        (Some(version), Some(expires), Some(threshold)) if issues.is_empty() => {
            Ok(Roots { version, expires, keys, threshold })
        }
        _ => {
            // What is null is there, and says nothing.
            if issues.is_empty() {
                issues.push(Issue::new("", "`version`, `expires` and `threshold` are wanted"));
            }
            Err(Error::Invalid(issues))
        }
    }
}

fn version(value: &Value) -> Result<u64, String> {
    let version = integer(value)?;
    let stored = i64::try_from(version).is_ok_and(|version| version > 0);
    if stored { Ok(version) } else { Err("versions of roots begin at 1: 0 is the host's configuration".to_owned()) }
}

fn threshold(value: &Value, most: usize) -> Result<usize, String> {
    super::read::threshold(value, most)
        .map_err(|_| format!("a threshold is 1 to {most}, the number of `keys`, or `any` or `all`"))
}

fn invalid(pointer: &str, message: String) -> Error {
    Error::Invalid(vec![Issue::new(pointer, message)])
}
