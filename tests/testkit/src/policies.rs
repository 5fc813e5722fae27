//! Policies as texts in which a principal's name stands for its key, and signing them.
//! It installs none; a client does.

use bulkhead_trust::{Policy, SigningKey, policy};

use crate::keys::{PRINCIPALS, ROOT};

/// Lets [`crate::keys::ALICE`] ship anything to anybody, with every interface and high limits.
pub const STANDARD: &str = r#"
[[principal]]
name = "alice"
keys = ["alice"]
[[allow]]
id = "everything-by-alice"
plugin = "*"
version = "*"
signers = [{ role = "author", of = ["alice"], threshold = 1 }]
tenants = ["*"]
[allow.limits]
fuel_per_call = 10_000_000_000
deadline_ms = 5_000
[allow.ceiling]
interfaces = ["bulkhead:plugin/*"]
"#;

/// The policy of `text`, which leaves out `version` and `expires`. Keys are written by their owner's name.
pub fn policy(version: u64, text: &str) -> Policy {
    let named = PRINCIPALS.into_iter().fold(text.to_owned(), |text, key| {
        let quoted = format!("\"{}\"", key.verifying());
        let listed = text.replace(&format!("keys = [\"{}\"]", key.name), &format!("keys = [{quoted}]"));
        listed.replace(&format!("key = \"{}\"", key.name), &format!("key = {quoted}"))
    });
    let text = format!("version = {version}\nexpires = \"2199-01-01T00:00:00Z\"\n{named}");
    Policy::from_toml(&text).unwrap_or_else(|error| panic!("the test's policy is no policy: {error:?}\n{text}"))
}

/// The envelope of a policy text, signed by the root key.
pub fn signed(version: u64, text: &str) -> String {
    signed_by(&ROOT.signing(), version, text)
}

/// The envelope of a policy text, signed by any key.
pub fn signed_by(key: &SigningKey, version: u64, text: &str) -> String {
    policy::sign(&policy(version, text), key)
}
