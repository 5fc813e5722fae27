//! `bulkhead audit ...`: the hash-chained record of what was done on a host.
//! It checks nothing by itself: `verify` asks the host to walk its chain.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use crate::error::Error;
use crate::view;

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
            Self::Tail(tail) => {
                let limit = tail.limit.to_string();
                let body = client.get("/api/v1/audit", &[("limit", &limit)]).await?.body;
                let columns = [
                    ("at", "/at"),
                    ("actor", "/actor"),
                    ("action", "/action"),
                    ("plugin", "/plugin"),
                    ("tenant", "/tenant"),
                    ("detail", "/detail"),
                ];
                context.output.result(&body, &view::list(&body, columns, "nothing was recorded"));
                Ok(())
            }
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
