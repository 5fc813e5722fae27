//! `bulkhead migrate ...`: a plugin's migrations over its tenants. The host runs them; this follows and tells how each
//! tenant fared.

use bulkhead_model::{PluginId, TenantId};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::client::Client;
use crate::commands::plugin::{Page, borrowed, wait_for_end};
use crate::error::Error;
use crate::problem::Problem;
use crate::view;

/// Results that one request asks for.
const PAGE: &str = "200";
/// Pages of results that are read at most.
const PAGES_MAX: u32 = 5_000;

const RUN_EXAMPLES: &str = "\
Examples:
  bulkhead migrate run --plugin acme.crm --dry-run              try them in every tenant, keep nothing
  bulkhead migrate run --plugin acme.crm                        run what has not run
  bulkhead migrate run --plugin acme.crm --tenant bank          in one tenant, after its cause was mended
  bulkhead migrate run --plugin acme.crm --from m --batch-size 16

A run that failed in some tenants can be run again: each migration runs once in each tenant. Exit code 1 when one failed.";

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Show which migrations ran in each tenant
    Status(Status),
    /// Run the migrations that have not run
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Undo migrations in one tenant by their down files, for a catastrophe: it deletes what they made
    Down(Down),
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Plugin, for example `acme.crm`
    #[arg(long, value_name = "ID")]
    plugin: PluginId,
    /// The tenant
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// Undo the migrations behind this number; 0 undoes all
    #[arg(long, value_name = "NUMBER")]
    to: u32,
    /// Yes, delete what they made; the plugin is disabled in the tenant
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Plugin, for example `acme.crm`
    #[arg(long, value_name = "ID")]
    plugin: PluginId,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Plugin, for example `acme.crm`
    #[arg(long, value_name = "ID")]
    plugin: PluginId,
    /// In this tenant alone; may be given several times
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<TenantId>,
    /// Only tenants from this one on, by id
    #[arg(long, value_name = "TENANT")]
    from: Option<TenantId>,
    /// Only tenants that got the plugin at or after this time, for example 2026-11-21T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// Tenants at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), default_value_t = 4)]
    batch_size: u32,
    /// Run everything and undo it
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

impl Migrate {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Status(status) => status.run(context, &client).await,
            Self::Run(run) => run.run(context, &client).await,
            Self::Down(down) => down.run(context, &client).await,
        }
    }
}

impl Status {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let query = self.page.query();
        let body = client.get(&format!("/api/v1/plugins/{}/migrations", self.plugin), &borrowed(&query)).await?.body;
        let items = body.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let count = |item: &Value, field: &str| item.get(field).and_then(Value::as_array).map_or(0, Vec::len);
        let rows = items.iter().map(|item| {
            [
                view::field(item, "/tenant_id"),
                count(item, "applied").to_string(),
                count(item, "pending").to_string(),
                view::field(item, "/failed/migration"),
                view::field(item, "/failed/detail"),
            ]
        });
        let text = match items {
            [] => format!("no tenant has {} enabled", self.plugin),
            _ => view::table(["tenant", "applied", "pending", "failed", "why"], rows),
        };
        context.output.result(&body, &text);
        Ok(())
    }
}

impl Down {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let body = json!({
            "plugin": self.plugin.as_str(),
            "tenant": self.tenant.as_str(),
            "to": self.to,
            "force": self.force,
        });
        let answer = client.post("/api/v1/migrations/down", &[], &body).await?.body;
        let text = format!(
            "{} is disabled in `{}`, its migrations behind {:04} are undone",
            self.plugin, self.tenant, self.to
        );
        context.output.result(&answer, &text);
        Ok(())
    }
}

impl Run {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let body = json!({
            "plugin": self.plugin.as_str(),
            "tenants": self.tenant.iter().map(TenantId::as_str).collect::<Vec<_>>(),
            "from": self.from.as_ref().map(TenantId::as_str),
            "since": self.since.map(|since| since.to_string()),
            "batch_size": self.batch_size,
            "dry_run": self.dry_run,
        });
        let progress = context.output.progress(&format!("migrating {}", self.plugin));
        let operation = client.post("/api/v1/migrations", &[], &body).await?.body;
        if self.detach {
            drop(progress);
            context.output.result(&operation, &format!("{} is being migrated", self.plugin));
            return Ok(());
        }
        let operation =
            wait_for_end(client, operation, |step| progress.step(&format!("{}: {step}", self.plugin))).await?;
        drop(progress);
        let results = results(client, &view::field(&operation, "/id")).await?;
        let is_failed = operation.get("status").and_then(Value::as_str) == Some("failed");
        let text = self.summary(&results);
        context.output.result(&json!({ "operation": operation.clone(), "results": results }), &text);
        if is_failed { Err(Error::Problem(Box::new(Problem::of_operation(&operation)))) } else { Ok(()) }
    }

    /// What became of the tenants: those that failed by name, the others by number.
    fn summary(&self, results: &[Value]) -> String {
        let failed: Vec<&Value> = results.iter().filter(|result| view::field(result, "/outcome") == "failed").collect();
        let done = results.len().saturating_sub(failed.len());
        let kept = if self.dry_run { "would be done in" } else { "done in" };
        let mut text = format!("{kept} {done} of {} tenants", results.len());
        if !failed.is_empty() {
            let rows = failed.iter().map(|result| {
                [
                    view::field(result, "/tenant_id"),
                    view::field(result, "/detail/code"),
                    view::field(result, "/detail/detail"),
                ]
            });
            text.push('\n');
            text.push_str(&view::table(["tenant", "code", "why"], rows));
        }
        text
    }
}

/// How the operation went in each tenant.
async fn results(client: &Client, operation: &str) -> Result<Vec<Value>, Error> {
    let (mut results, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut query = vec![("limit", PAGE)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let body = client.get(&format!("/api/v1/operations/{operation}/results"), &query).await?.body;
        results.extend(body.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        cursor = body.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    Ok(results)
}
