//! `bulkhead key ...`: Ed25519 keys in PEM, as OpenSSL reads and writes them.
//! It stores no key anywhere else and sends none.

use std::path::{Path, PathBuf};

use bulkhead_trust::{SigningKey, VerifyingKey};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use crate::error::Error;
use crate::file::{self, Existing, KEY_BYTES_MAX, PRIVATE, PUBLIC};
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key pair: NAME.key.pem (secret) and NAME.pub.pem
    #[command(
        after_help = "Example:\n  bulkhead key generate --out acme\n  bulkhead sign crm-1.2.0.wasm --key acme.key.pem"
    )]
    Generate(Generate),
    /// Show the policy form and the id of a key
    #[command(after_help = "Example:\n  bulkhead key show acme.pub.pem")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Path of both files, without their endings
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
    /// Overwrite a pair that is there: what it signed can then no longer be renewed
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Public or private key in PEM
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Key {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Generate(generate) => generate.run(context),
            Self::Show(show) => show.run(context),
        }
    }
}

impl Generate {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep("choose another name, or overwrite it with --force")
        };
        let pair = write_pair(&self.out, existing)?;
        tell(context, &pair.key, &[("private_key", &pair.private_path), ("public_key", &pair.public_path)]);
        Ok(())
    }
}

/// A pair that was just written.
pub(crate) struct Pair {
    /// The secret half.
    pub(crate) private: SigningKey,
    /// Where it lies, mode 0600.
    pub(crate) private_path: PathBuf,
    /// The public half.
    pub(crate) key: VerifyingKey,
    /// Where it lies.
    pub(crate) public_path: PathBuf,
}

/// Makes a pair and writes `<name>.key.pem` and `<name>.pub.pem`: both or none.
pub(crate) fn write_pair(name: &Path, existing: Existing) -> Result<Pair, Error> {
    let private_path = with_ending(name, ".key.pem");
    let public_path = with_ending(name, ".pub.pem");
    if let Existing::Keep(next) = existing
        && public_path.exists()
    {
        return Err(Error::Exists { path: public_path, next });
    }
    let private = SigningKey::generate(random()?);
    let key = private.verifying_key();
    file::write(&private_path, private.to_pem().as_bytes(), PRIVATE, existing)?;
    if let Err(error) = file::write(&public_path, key.to_pem().as_bytes(), PUBLIC, existing) {
        file::remove(&private_path);
        return Err(error);
    }
    Ok(Pair { private, private_path, key, public_path })
}

/// 32 bytes from the operating system.
pub(crate) fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::Step {
        what: "draw random bytes",
        reason: error.to_string(),
        next: "check that `/dev/urandom` may be read".to_owned(),
    })?;
    Ok(bytes)
}

/// Not `with_extension`, which would cut `acme.v2` to `acme`.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut whole = name.as_os_str().to_owned();
    whole.push(ending);
    PathBuf::from(whole)
}

impl Show {
    fn run(&self, context: &Context) -> Result<(), Error> {
        tell(context, &read_public(&self.file)?, &[]);
        Ok(())
    }
}

/// The public key in a PEM file, or that of the private key in it.
pub(crate) fn read_public(path: &Path) -> Result<VerifyingKey, Error> {
    let text = read_pem(path)?;
    if text.contains("PRIVATE KEY") {
        return Ok(parse_private(path, &text)?.verifying_key());
    }
    VerifyingKey::from_pem(&text).map_err(|error| unusable(path, "a public key", error.to_string()))
}

/// The private key in a PEM file.
pub(crate) fn read_private(path: &Path) -> Result<SigningKey, Error> {
    parse_private(path, &read_pem(path)?)
}

fn parse_private(path: &Path, text: &str) -> Result<SigningKey, Error> {
    SigningKey::from_pem(text).map_err(|error| unusable(path, "a private key", error.to_string()))
}

/// The text of a PEM file.
pub(crate) fn read_pem(path: &Path) -> Result<String, Error> {
    let bytes = file::read(path, KEY_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| unusable(path, "a key", "not PEM".to_owned()))
}

fn unusable(path: &Path, wanted: &'static str, reason: String) -> Error {
    Error::Unusable {
        path: path.to_owned(),
        wanted,
        reason,
        next: "name a PEM file of `bulkhead key generate` or `openssl genpkey -algorithm ed25519`".to_owned(),
    }
}

fn tell(context: &Context, key: &VerifyingKey, files: &[(&str, &Path)]) {
    let mut body = json!({ "policy_text": key.to_policy_text(), "key_id": key.id().to_string() });
    for (name, path) in files {
        view::add(&mut body, name, path.display().to_string());
    }
    let text = view::object(
        &body,
        &[
            ("private key", "/private_key"),
            ("public key", "/public_key"),
            ("policy text", "/policy_text"),
            ("key id", "/key_id"),
        ],
    );
    context.output.result(&body, &text);
}
