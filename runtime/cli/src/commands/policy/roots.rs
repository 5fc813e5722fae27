//! `bulkhead policy roots ...`: the keys that sign policies, and how they replace themselves.
//! Signing needs no host; whether a document comes behind the one before is decided in `bulkhead_trust`, by the host.

use std::path::{Path, PathBuf};

use bulkhead_trust::Roots as Document;
use bulkhead_trust::policy::{self, roots};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{is_envelope, write};
use crate::commands::{Context, key};
use crate::error::Error;
use crate::file::{self, DOCUMENT_BYTES_MAX};
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Roots {
    /// Show the root keys in force on a host
    Show,
    /// Sign new root keys with an old or a new one, or add a signature
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(Sign),
    /// Replace the root keys of a host
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Install),
}

const SIGN_EXAMPLES: &str = "\
A document of root keys is signed by enough of the keys in force and by enough of its own. Each signer adds a signature to the \
envelope and hands it on:

  version = 1                    # one more than `bulkhead policy roots show` says
  expires = \"2030-01-01\"
  keys = [\"ed25519:...\", \"ed25519:...\"]
  threshold = 1                  # or \"all\"

Examples:
  bulkhead policy roots sign roots.toml --key old-root.key.pem --out roots.signed.json
  bulkhead policy roots sign roots.signed.json --key new-root.key.pem --out roots.signed.json";

const INSTALL_EXAMPLES: &str = "\
The policy in force must be signed by enough of the new keys, or come with them:

Examples:
  bulkhead policy roots install roots.signed.json
  bulkhead policy roots install roots.signed.json --policy policy.signed.json";

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// Root keys in TOML, or an envelope that another key signed
    #[arg(value_name = "FILE", default_value = "roots.toml")]
    file: PathBuf,
    /// Private root key, an old or a new one
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Signed envelope of the root keys
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Signed envelope of a policy of a higher version, installed with them
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Roots {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Show => {
                let body = context.client()?.get("/api/v1/policy/roots", &[]).await?.body;
                context.output.result(&body, &text(&body));
                Ok(())
            }
            Self::Sign(sign) => sign.run(context),
            Self::Install(install) => install.run(context).await,
        }
    }
}

impl Sign {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let key = key::read_private(&self.key)?;
        let bytes = file::read(&self.file, DOCUMENT_BYTES_MAX)?;
        let signed = if is_envelope(&self.file) {
            roots::add_signature(&bytes, &key)
        } else {
            Document::from_toml(&String::from_utf8_lossy(&bytes)).map(|document| roots::sign(&document, &key))
        };
        let envelope = signed.map_err(|error| unusable(&self.file, error))?;
        let document = roots::unverified(envelope.as_bytes()).map_err(|error| unusable(&self.file, error))?;
        write(context, self.out.as_deref(), envelope.as_bytes())?;
        let (keys, threshold) = (document.keys.len(), document.threshold);
        context.output.note(&format!(
            "root keys version {}, until {}: {threshold} of {keys} sign",
            document.version, document.expires
        ));
        Ok(())
    }
}

impl Install {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let envelope = |path: &Path| -> Result<Value, Error> {
            serde_json::from_slice(&file::read(path, DOCUMENT_BYTES_MAX)?).map_err(|error| Error::Unusable {
                path: path.to_owned(),
                wanted: "a signed envelope",
                reason: error.to_string(),
                next: "sign it with `bulkhead policy roots sign` or `bulkhead policy sign`".to_owned(),
            })
        };
        let body = match &self.policy {
            Some(policy) => json!({ "roots": envelope(&self.file)?, "policy": envelope(policy)? }),
            None => envelope(&self.file)?,
        };
        let body = context.client()?.put("/api/v1/policy/roots", &[], body.to_string().into_bytes()).await?.body;
        context.output.result(&body, &text(&body));
        Ok(())
    }
}

fn unusable(path: &Path, error: policy::Error) -> Error {
    match error {
        policy::Error::Invalid(issues) => {
            Error::Invalid { path: path.to_owned(), issues, next: "correct the file and sign it again" }
        }
        policy::Error::Refused(refusal) => Error::Unusable {
            path: path.to_owned(),
            wanted: "a document of root keys",
            reason: refusal.to_string(),
            next: "sign the TOML file instead".to_owned(),
        },
    }
}

/// Root keys for people.
fn text(body: &Value) -> String {
    let fields = [
        ("version", "/version"),
        ("threshold", "/threshold"),
        ("until", "/expires"),
        ("installed by", "/installed_by"),
        ("installed", "/installed_at"),
        ("broken", "/broken"),
    ];
    let keys = view::list(&body.get("keys").cloned().unwrap_or_default(), [("key", "/key"), ("key id", "/key_id")], "");
    format!("{}\n{keys}", view::object(body, &fields))
}
