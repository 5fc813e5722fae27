//! `bulkhead audit ...`: the hash-chained record of what was done on a host.
//! It checks nothing by itself: `verify` asks the host to walk its chain.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::client::Client;
use crate::error::Error;
use crate::view;

/// Most entries of one request.
const PAGE: u32 = 100;

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
