//! `bulkhead review ...`: versions that may do more than the one before and wait for security.
//! What is wider is decided by the host; `bulkhead diff` shows all of it.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::plugin::{Page, borrowed};
use crate::error::Error;
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Review {
    /// List versions that wait for a review
    List(List),
    /// Let a version that waits be installed
    #[command(after_help = EXAMPLES)]
    Approve(Decision),
    /// Refuse a version that waits
    Reject(Decision),
}

const EXAMPLES: &str = "\
Examples:
  bulkhead review list
  bulkhead diff acme.crm@1.2.0 acme.crm@1.3.0
  bulkhead review approve 5f0c... --reason 'sends mail by the new relay, RISK-4711'";

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those that were decided
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// Review, as `review list` shows it
    #[arg(value_name = "ID", value_parser = review_id)]
    id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// The id goes into a path.
fn review_id(text: &str) -> Result<String, String> {
    let legal = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    legal.then(|| text.to_owned()).ok_or_else(|| "an id has letters, digits and hyphens".to_owned())
}

impl Review {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Approve(decision) => decision.run(context, "approve").await,
            Self::Reject(decision) => decision.run(context, "reject").await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let mut query = self.page.query();
        if !self.all {
            query.push(("status", "pending".to_owned()));
        }
        let body = context.client()?.get("/api/v1/reviews", &borrowed(&query)).await?.body;
        let columns = [
            ("id", "/id"),
            ("plugin", "/plugin_id"),
            ("from", "/base_version"),
            ("to", "/version"),
            ("trust", "/trust"),
            ("registered by", "/registered_by"),
            ("status", "/status"),
            ("since", "/created_at"),
        ];
        context.output.result(&body, &view::list(&body, columns, "nothing waits for a review"));
        Ok(())
    }
}

impl Decision {
    async fn run(&self, context: &Context, decision: &str) -> Result<(), Error> {
        let request = json!({ "decision": decision, "reason": self.reason });
        let body = context.client()?.post(&format!("/api/v1/reviews/{}", self.id), &[], &request).await?.body;
        let text = format!(
            "{} {} is {}; see `bulkhead plugin show {}`",
            view::field(&body, "/plugin_id"),
            view::field(&body, "/version"),
            view::field(&body, "/status"),
            view::field(&body, "/plugin_id"),
        );
        context.output.result(&body, &text);
        Ok(())
    }
}
