//! `bulkhead audit ...`: the hash-chained record of what was done on a host.
//! It checks nothing by itself: `verify` asks the host to walk its chain.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::client::Client;
use crate::error::Error;
use crate::view;

/// Entries of one request.
const PAGE: &str = "100";
/// Requests until a log that grows faster than it is read is given up on.
const PAGES_MAX: u32 = 50;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the last entries
    Tail(Tail),
    /// Walk the chain and tell its first broken link
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Most entries to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl Audit {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Tail(tail) => tail.run(context, &client).await,
            Self::Verify => {
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

impl Tail {
    /// The host lists from the first entry on; the walk over its chain says where the end is.
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let proof = client.get("/api/v1/audit/verify", &[]).await?.body;
        let entries = proof.get("entries").and_then(Value::as_u64).unwrap_or(0);
        let mut cursor = Some(entries.saturating_sub(u64::from(self.limit)).to_string());
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(from) = cursor else { break };
            let page = client.get("/api/v1/audit", &[("limit", PAGE), ("cursor", &from)]).await?.body;
            items.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            items.drain(..items.len().saturating_sub(limit));
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        }
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
