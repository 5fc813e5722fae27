//! `bulkhead revoke`: a key, a release or versions of a plugin never run again, on every host of the database.
//! What it stops is the host's to find.

use std::path::Path;

use bulkhead_model::Digest;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Context, key};
use crate::error::Error;
use crate::view;

const EXAMPLES: &str = "\
Examples:
  bulkhead revoke --key acme.pub.pem --reason 'stolen laptop'
  bulkhead revoke --digest sha256:9f86... --reason CVE-2026-0001
  bulkhead revoke --plugin acme.crm --version '<1.2.5' --reason CVE-2026-0002";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true).multiple(true).args(["key", "digest", "plugin"]))]
pub(crate) struct Revoke {
    /// Everything that this key signed: `ed25519:<base64>`, a key id of the policy, or a file with the public key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// One release
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// A plugin, `namespace.*` or `*`
    #[arg(long, value_name = "ID")]
    plugin: Option<String>,
    /// These versions alone, for example `=1.2.3` or `<1.2.5`
    #[arg(long, value_name = "RANGE")]
    version: Option<String>,
    /// From then on [default: at once]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Why, for the audit log and for those who are refused
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Revoke {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let key = self.key.as_deref().map(key_text).transpose()?;
        let fields = [
            ("key", key),
            ("digest", self.digest.map(|digest| digest.to_string())),
            ("plugin", self.plugin.clone()),
            ("version", self.version.clone()),
            ("from", self.from.map(|from| from.to_string())),
            ("reason", Some(self.reason.clone())),
        ];
        let request: Map<String, Value> =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect();
        let body = context.client()?.post("/api/v1/revocations", &[], &Value::Object(request)).await?.body;
        let text = format!("revoked, epoch {}: what it hits stops within a second", view::field(&body, "/epoch"));
        context.output.result(&body, &text);
        Ok(())
    }
}

/// The key as the host reads it; a file holds its public half.
fn key_text(text: &str) -> Result<String, Error> {
    if text.starts_with("ed25519:") || text.starts_with("sha256:") {
        return Ok(text.to_owned());
    }
    Ok(key::read_public(Path::new(text))?.to_policy_text())
}
