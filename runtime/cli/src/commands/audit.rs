//! `bulkhead audit ...`: the hash-chained record of what was done on a host.
//! `verify` asks the host to walk its chain, or walks an exported one itself.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use bulkhead_trust::log::audit::LINE_BYTES_MAX;
use bulkhead_trust::log::{Checkpoint, Replay};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::registry_log::refused;
use super::{Context, key};
use crate::client::Client;
use crate::error::Error;
use crate::file::{self, Existing, PRIVATE, Partial};
use crate::view;

/// Most entries of one request.
const PAGE: u32 = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the last entries
    Tail(Tail),
    /// Write the whole log to a file, one entry a line
    #[command(after_help = "Example:\n  bulkhead audit export --out audit.jsonl")]
    Export(Export),
    /// Walk the chain and tell its first broken link: on the host, or in an exported file without one
    #[command(after_help = VERIFY)]
    Verify(Verify),
}

const VERIFY: &str = "\
A checkpoint that was kept proves that the log was not written anew since.

Examples:
  bulkhead audit verify
  bulkhead audit verify --file audit.jsonl --checkpoint saved.checkpoint --key registry.pub.pem";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// File to write to: JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// File that `audit export` wrote; no host is asked
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Signed checkpoint of the registry's log that was kept
    #[arg(long, value_name = "FILE", requires_all = ["file", "key"])]
    checkpoint: Option<PathBuf>,
    /// The registry's public key
    #[arg(long, value_name = "PEM", requires = "checkpoint")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Most entries to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl Audit {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        if let Self::Verify(Verify { file: Some(file), checkpoint, key }) = self {
            return replay(context, file, checkpoint.as_deref().zip(key.as_deref()));
        }
        let client = context.client()?;
        match self {
            Self::Tail(tail) => tail.run(context, &client).await,
            Self::Export(export) => export.run(context, &client).await,
            Self::Verify(_) => {
                let body = client.get("/api/v1/audit/verify", &[]).await?.body;
                if body.get("intact").and_then(Value::as_bool) == Some(true) {
                    let text = format!("the chain is intact: {} entries", view::field(&body, "/entries"));
                    context.output.result(&body, &text);
                    return Ok(());
                }
                Err(Error::Step {
                    what: "verify the audit chain",
                    reason: format!(
                        "entry {} does not follow from the one before it",
                        view::field(&body, "/first_broken")
                    ),
                    next: "compare with a backup: somebody changed the host's database".to_owned(),
                })
            }
        }
    }
}

impl Export {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let existing = if self.force { Existing::Replace } else { Existing::Keep("add `--force` to overwrite it") };
        let mut file = Partial::create(&self.out, PRIVATE)?;
        let mut entries = 0_u64;
        let progress = context.output.progress("exporting the audit log");
        client
            .get_for_file("/api/v1/audit/export", |piece| {
                let ends = piece.iter().filter(|byte| **byte == b'\n').count();
                entries = entries.saturating_add(u64::try_from(ends).unwrap_or(u64::MAX));
                file.write(piece)
            })
            .await?;
        file.finish(existing)?;
        drop(progress);
        let text = format!("wrote {entries} entries to {}", self.out.display());
        context.output.result(&json!({ "file": self.out, "entries": entries }), &text);
        Ok(())
    }
}

/// Proves a chain from its file, line by line, against a checkpoint and the key that signed it.
fn replay(context: &Context, path: &Path, kept: Option<(&Path, &Path)>) -> Result<(), Error> {
    let anchor = match kept {
        Some((checkpoint, key)) => {
            let bytes = file::read(checkpoint, file::DOCUMENT_BYTES_MAX)?;
            let checkpoint_of = Checkpoint::verify(&bytes, &key::read_public(key)?, None);
            let read = checkpoint_of.map_err(|error| refused(checkpoint, &error))?;
            Some(read.audit.ok_or_else(|| Error::Unusable {
                path: checkpoint.to_owned(),
                wanted: "a checkpoint with the end of the audit log",
                reason: "it names none".to_owned(),
                next: "use one that `bulkhead registry log checkpoint` wrote".to_owned(),
            })?)
        }
        None => None,
    };
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut replay, mut line) = (Replay::new(anchor.clone()), Vec::new());
    let longest = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(2);
    loop {
        line.clear();
        // One byte more than a line has: a longer one is refused and not read to its end.
        if lines.by_ref().take(longest).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        replay.line(line.strip_suffix(b"\n").unwrap_or(&line)).map_err(|error| refused(path, &error))?;
    }
    let whole = replay.end().map_err(|error| refused(path, &error))?;
    let beside = if anchor.is_some() { ", as the signed checkpoint says" } else { "" };
    let body = json!({ "intact": true, "entries": whole.entries, "head": whole.head.to_string(), "anchored": anchor.is_some() });
    context.output.result(&body, &format!("the chain is intact: {} entries{beside}", whole.entries));
    Ok(())
}

impl Tail {
    /// Asks from the newest entry back, and shows the newest last.
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        let mut wanted = self.limit;
        while wanted > 0 {
            let limit = wanted.min(PAGE).to_string();
            let mut query = vec![("order", "desc"), ("limit", limit.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = client.get("/api/v1/audit", &query).await?.body;
            items.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            wanted = if cursor.is_some() { wanted.saturating_sub(PAGE) } else { 0 };
        }
        items.reverse();
        let columns = [
            ("at", "/at"),
            ("actor", "/actor"),
            ("action", "/action"),
            ("plugin", "/plugin"),
            ("tenant", "/tenant"),
            ("detail", "/detail"),
        ];
        let body = json!({ "items": items, "next_cursor": null });
        context.output.result(&body, &view::list(&body, columns, "nothing was recorded"));
        Ok(())
    }
}
