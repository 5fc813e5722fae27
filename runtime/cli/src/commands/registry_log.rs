//! `bulkhead registry log ...`: the registry's log, read from a host, and checked from files without one.
//! `verify` trusts a public key and what was saved before, nothing else.

use std::path::{Path, PathBuf};

use bulkhead_model::log::{Event, Leaf};
use bulkhead_model::{Coded as _, Digest};
use bulkhead_trust::log::{self, Checkpoint, ConsistencyProof, InclusionProof, Timestamp};
use bulkhead_trust::{Refusal, VerifyingKey};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::plugin::{Page, borrowed};
use super::{Context, key};
use crate::client::Client;
use crate::error::Error;
use crate::file::{self, DOCUMENT_BYTES_MAX, Existing, PUBLIC};
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// List the leaves, the first one first
    List(Page),
    /// Print the signed state of the log; keep it to notice later that the log was written anew
    #[command(after_help = "Example:\n  bulkhead registry log checkpoint --out 2026-11-21.checkpoint")]
    Checkpoint(To),
    /// Print the signed statement, good for a day, of how far log, revocations and policy are
    Timestamp(To),
    /// Print a proof: that a release is in the log, or that the log grew from an older state
    #[command(after_help = PROVE)]
    Prove(Prove),
    /// Check checkpoints, proofs and a timestamp, without a host
    #[command(after_help = VERIFY)]
    Verify(Verify),
    /// Take the stored state as it is, on one host, after `registry-log-broken`
    Accept(Accept),
}

const PROVE: &str = "\
Examples:
  bulkhead registry log prove --digest sha256:9f86... --out crm.proof.json
  bulkhead registry log prove --from 120 --to 180 --out grown.json";

const VERIFY: &str = "\
Says what is wrong: a forked log, one that went back, a timestamp that expired, a bad signature, a release that is not \
included.

Examples:
  bulkhead registry log verify --key registry.pub.pem --checkpoint new --old saved --consistency grown.json
  bulkhead registry log verify --key registry.pub.pem --inclusion crm.proof.json --file crm-1.2.0.wasm
  bulkhead registry log verify --key registry.pub.pem --timestamp timestamp.json --old saved --consistency grown.json";

/// Where a document goes.
#[derive(Debug, Args)]
pub(crate) struct To {
    /// File to write to; standard output where none is named
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Digest of an artifact: that its release is in the log
    #[arg(long, value_name = "SHA256", conflicts_with_all = ["index", "from"])]
    digest: Option<Digest>,
    /// Place of a leaf, from 0: that it is in the log
    #[arg(long, value_name = "N", conflicts_with = "from")]
    index: Option<u64>,
    /// Leaves of the log that the proof is for; all where none are named
    #[arg(long, value_name = "N", conflicts_with = "from")]
    size: Option<u64>,
    /// Leaves of an older state: that the log grew from it
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Leaves of the newer state; all where none are named
    #[arg(long, value_name = "N", requires = "from")]
    to: Option<u64>,
    #[command(flatten)]
    written: To,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The registry's public key
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Name that the log must have
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Checkpoint of the log as it is; left out, the one in the inclusion proof or the timestamp
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Checkpoint that was saved before
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Proof that the log grew from the saved checkpoint
    #[arg(long, value_name = "FILE", requires = "old")]
    consistency: Option<PathBuf>,
    /// Proof that a release is in the log
    #[arg(long, value_name = "FILE")]
    inclusion: Option<PathBuf>,
    /// Digest of the artifact that must be proven
    #[arg(long, value_name = "SHA256", requires = "inclusion")]
    digest: Option<Digest>,
    /// Artifact that must be proven
    #[arg(long, value_name = "FILE", requires = "inclusion", conflicts_with = "digest")]
    file: Option<PathBuf>,
    /// Timestamp: that nothing is withheld
    #[arg(long, value_name = "FILE")]
    timestamp: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// What was found out, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Log {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Verify(verify) => verify.run(context),
            Self::List(page) => list(context, &context.client()?, page).await,
            Self::Checkpoint(to) => to.write(context, &get(context, "/checkpoint", &[]).await?),
            Self::Timestamp(to) => to.write(context, &get(context, "/timestamp", &[]).await?),
            Self::Prove(prove) => prove.run(context).await,
            Self::Accept(accept) => {
                let body = json!({ "reason": accept.reason });
                let body = context.client()?.post(&path("/accept"), &[], &body).await?.body;
                let text = format!(
                    "this host goes on from {} leaves, root {}",
                    view::field(&body, "/size"),
                    view::field(&body, "/root")
                );
                context.output.result(&body, &text);
                Ok(())
            }
        }
    }
}

async fn list(context: &Context, client: &Client, page: &Page) -> Result<(), Error> {
    let body = client.get(&path(""), &borrowed(&page.query())).await?.body;
    let columns = [("index", "/index"), ("leaf", "/leaf")];
    context.output.result(&body, &view::list(&body, columns, "the log is empty"));
    Ok(())
}

async fn get(context: &Context, what: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    context.client()?.get_bytes(&path(what), query).await
}

fn path(what: &str) -> String {
    format!("/api/v1/registry/log{what}")
}

impl To {
    /// Writes a document byte for byte.
    fn write(&self, context: &Context, bytes: &[u8]) -> Result<(), Error> {
        let Some(out) = &self.out else {
            context.output.plain(String::from_utf8_lossy(bytes).trim_end());
            return Ok(());
        };
        let existing = if self.force { Existing::Replace } else { Existing::Keep("add `--force` to overwrite it") };
        file::write(out, bytes, PUBLIC, existing)?;
        let body = json!({ "file": out, "size_bytes": bytes.len() });
        context.output.result(&body, &format!("wrote {}", out.display()));
        Ok(())
    }
}

impl Prove {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let number = |name, value: Option<u64>| value.map(|value| (name, value.to_string()));
        let (what, query) = if self.from.is_some() {
            ("/consistency", vec![number("from", self.from), number("to", self.to)])
        } else if self.digest.is_some() || self.index.is_some() {
            let digest = self.digest.map(|digest| ("digest", digest.to_string()));
            ("/proof", vec![digest, number("index", self.index), number("size", self.size)])
        } else {
            return Err(Error::Usage {
                what: "nothing to prove is named".to_owned(),
                next: "name a release by `--digest` or `--index`, or an older state by `--from`".to_owned(),
            });
        };
        let query: Vec<(&str, String)> = query.into_iter().flatten().collect();
        self.written.write(context, &get(context, what, &borrowed(&query)).await?)
    }
}

/// What was checked, for people and programs.
#[derive(Default)]
struct Found {
    body: serde_json::Map<String, Value>,
    lines: Vec<String>,
}

impl Found {
    fn add(&mut self, name: &str, value: Value, line: String) {
        self.body.insert(name.to_owned(), value);
        self.lines.push(line);
    }
}

impl Verify {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let key = key::read_public(&self.key)?;
        let mut found = Found::default();
        let proof = self.inclusion.as_deref().map(|path| read(path, InclusionProof::from_json)).transpose()?;
        let stamped = self.stamped(&key, &mut found)?;
        let new = self.newest(&key, proof.as_ref(), stamped)?;
        let value = json!({ "origin": new.origin, "size": new.size, "root": new.root.to_string() });
        found.add("checkpoint", value, format!("the checkpoint of `{}` is signed: {} leaves", new.origin, new.size));
        self.grew(&key, &new, &mut found)?;
        if let (Some(path), Some(proof)) = (&self.inclusion, &proof) {
            let leaf = proof.check(&new).map_err(|error| refused(path, &error))?;
            self.proves(path, &leaf)?;
            let line = format!("the leaf {} is included: {}", proof.leaf_index, proof.leaf);
            found.add("leaf", json!({ "index": proof.leaf_index, "leaf": proof.leaf }), line);
        }
        context.output.result(&Value::Object(found.body), &found.lines.join("\n"));
        Ok(())
    }

    fn stamped(&self, key: &VerifyingKey, found: &mut Found) -> Result<Option<Checkpoint>, Error> {
        let Some(path) = &self.timestamp else { return Ok(None) };
        let bytes = file::read(path, DOCUMENT_BYTES_MAX)?;
        let now = jiff::Timestamp::now();
        let (timestamp, checkpoint) = Timestamp::verify(&bytes, key, now).map_err(|error| refused(path, &error))?;
        let value = json!({
            "expires": timestamp.expires.to_string(), "revocation_epoch": timestamp.revocation_epoch,
            "policy_version": timestamp.policy_version,
        });
        let line = format!(
            "the timestamp is good until {}: revocation epoch {}, policy version {}",
            timestamp.expires, timestamp.revocation_epoch, timestamp.policy_version
        );
        found.add("timestamp", value, line);
        Ok(Some(checkpoint))
    }

    /// The state that everything is checked against.
    fn newest(
        &self,
        key: &VerifyingKey,
        proof: Option<&InclusionProof>,
        stamped: Option<Checkpoint>,
    ) -> Result<Checkpoint, Error> {
        if let Some(path) = &self.checkpoint {
            return self.read_checkpoint(path, key);
        }
        if let (Some(note), Some(path)) = (proof.and_then(|proof| proof.checkpoint.as_deref()), &self.inclusion) {
            return Checkpoint::verify(note.as_bytes(), key, self.origin.as_deref())
                .map_err(|error| refused(path, &error));
        }
        stamped.ok_or_else(|| Error::Usage {
            what: "no checkpoint of the log is named".to_owned(),
            next: "add `--checkpoint FILE`, as `bulkhead registry log checkpoint --out FILE` writes it".to_owned(),
        })
    }

    fn read_checkpoint(&self, path: &Path, key: &VerifyingKey) -> Result<Checkpoint, Error> {
        let bytes = file::read(path, DOCUMENT_BYTES_MAX)?;
        Checkpoint::verify(&bytes, key, self.origin.as_deref()).map_err(|error| refused(path, &error))
    }

    /// Whether the log grew from what was saved before.
    fn grew(&self, key: &VerifyingKey, new: &Checkpoint, found: &mut Found) -> Result<(), Error> {
        let Some(path) = &self.old else { return Ok(()) };
        let old = self.read_checkpoint(path, key)?;
        let proof = match &self.consistency {
            Some(path) => read(path, ConsistencyProof::from_json)?,
            // The same size needs none, and a smaller one is refused before the proof is looked at.
            None if new.size <= old.size => ConsistencyProof { from: old.size, to: new.size, hashes: Vec::new() },
            None => {
                let next = format!(
                    "add `--consistency FILE`: bulkhead registry log prove --from {} --to {}",
                    old.size, new.size
                );
                return Err(Error::Usage {
                    what: "no proof that the log grew from the saved state is named".to_owned(),
                    next,
                });
            }
        };
        proof.check(&old, new).map_err(|error| refused(path, &error))?;
        let value = json!({ "from": old.size, "to": new.size });
        found.add(
            "consistency",
            value,
            format!("the log grew from {} to {} leaves and nothing was changed", old.size, new.size),
        );
        Ok(())
    }

    /// Whether the leaf is that of the artifact that was named.
    fn proves(&self, path: &Path, leaf: &Leaf) -> Result<(), Error> {
        let wanted = match (&self.digest, &self.file) {
            (Some(digest), _) => *digest,
            (None, Some(artifact)) => Digest::of(&file::read(artifact, file::ARTIFACT_BYTES_MAX)?),
            (None, None) => return Ok(()),
        };
        if leaf.event.release_digest() == Some(wanted.to_string().as_str()) {
            return Ok(());
        }
        let (Event::ReleaseRegister { .. } | Event::ReleasePublish { .. }) = &leaf.event else {
            return Err(not_included(path, format!("its leaf is of {}, not of a release", leaf.event.name())));
        };
        Err(not_included(path, format!("the proof is of another release, not of {wanted}")))
    }
}

fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, log::Error>) -> Result<T, Error> {
    parse(&file::read(path, DOCUMENT_BYTES_MAX)?).map_err(|error| refused(path, &error))
}

fn not_included(path: &Path, detail: String) -> Error {
    let refusal = Refusal::new(bulkhead_model::Code::NotInLog, detail);
    Error::Refused { subject: path.display().to_string(), refusals: vec![refusal] }
}

/// What is wrong with a file, by its code.
pub(crate) fn refused(path: &Path, error: &log::Error) -> Error {
    let refusal = Refusal::new(error.code(), error.to_string());
    Error::Refused { subject: path.display().to_string(), refusals: vec![refusal] }
}
