//! `bulkhead plugin ...`: plugins of a host, one command for each path below `/api/v1/plugins`.
//! Installing follows the operation to its end; what it does is decided by the host.

mod rollback;

use std::path::Path;
use std::time::Duration;

use bulkhead_model::{PluginId, TenantId, Version};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use crate::client::{Answer, Client};
use crate::commands::install::Install;
use crate::error::Error;
use crate::problem::Problem;
use crate::view;

/// Time between two looks at an operation.
const POLL: Duration = Duration::from_millis(200);
/// Looks at an operation until the command gives up and leaves it to the host: 10 minutes.
const POLLS_MAX: u32 = 3_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// List the plugins of the host
    List(Page),
    /// Show one plugin
    Show(One),
    /// Install plugins, from files, registered releases, an archive or a source
    Install(Install),
    /// Install an older version than the one installed last, on record
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(rollback::Rollback),
    /// Let tenants enable an installed plugin
    Enable(One),
    /// Stop a plugin for every tenant, keeping its data
    Disable(One),
    /// Remove a plugin
    #[command(after_help = UNINSTALL_EXAMPLES)]
    Uninstall(Uninstall),
    /// Stop a plugin at once: everywhere, for one tenant, or all but core plugins
    Kill(Switch),
    /// End a kill
    Revive(Switch),
    /// Show how a plugin is doing in each tenant
    Health(Place),
    /// Show the last errors of a plugin
    Errors(Place),
    /// Show what a plugin used of fuel and storage in each tenant that called it
    #[command(after_help = USAGE_EXAMPLES)]
    Usage(Usage),
}

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  bulkhead plugin rollback acme.crm --reason 'INC-42'               to the older version installed last
  bulkhead plugin rollback acme.crm --to 1.2.0 --reason 'INC-42'";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  bulkhead plugin uninstall acme.crm                 keep the tenants' data
  bulkhead plugin uninstall acme.crm --data archive  write it to an archive, then delete it
  bulkhead plugin uninstall acme.crm --data drop     delete it";

const USAGE_EXAMPLES: &str = "\
Examples:
  bulkhead plugin usage acme.crm                        this month, tenant by tenant
  bulkhead plugin usage acme.crm --tenant globex --json with calls and fuel by entry
  bulkhead plugin usage acme.crm --month 2026-10";

/// One plugin.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Plugin, for example `acme.crm`
    #[arg(value_name = "ID")]
    id: PluginId,
}

/// A part of a list.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// Most entries to show
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: Option<u32>,
    /// Where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Page {
    /// The page as a query.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        let cursor = self.cursor.clone().map(|cursor| ("cursor", cursor));
        limit.into_iter().chain(cursor).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Plugin
    #[arg(value_name = "ID")]
    id: PluginId,
    /// What happens to the tenants' data
    #[arg(long, value_enum, default_value_t = Data::Keep)]
    data: Data,
    /// Also when other plugins depend on it
    #[arg(long)]
    force: bool,
}

/// What happens to data.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Data {
    /// It stays.
    Keep,
    /// The host writes it to an archive in its data folder, then deletes it.
    Archive,
    /// It is deleted.
    Drop,
}

#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Plugin
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    id: Option<PluginId>,
    /// For this tenant alone
    #[arg(long, value_name = "TENANT", conflicts_with = "all")]
    tenant: Option<TenantId>,
    /// All plugins but core ones
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Plugin
    #[arg(value_name = "ID")]
    id: PluginId,
    /// In this tenant alone
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
}

#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Plugin
    #[arg(value_name = "ID")]
    id: PluginId,
    /// In this tenant alone
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// Calendar month (UTC); the running one by default
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl Plugin {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List(page) => list(context, &client, page).await,
            Self::Show(one) => show(context, client.get(&path(&one.id, ""), &[]).await?),
            Self::Install(install) => install.run(context, &client).await,
            Self::Rollback(rollback) => rollback.run(context, &client).await,
            Self::Enable(one) => act(context, &client, &one.id, "enable").await,
            Self::Disable(one) => act(context, &client, &one.id, "disable").await,
            Self::Uninstall(uninstall) => uninstall.run(context, &client).await,
            Self::Kill(switch) => switch.run(context, &client, "kill").await,
            Self::Revive(switch) => switch.run(context, &client, "revive").await,
            Self::Health(place) => place.health(context, &client).await,
            Self::Errors(place) => place.errors(context, &client).await,
            Self::Usage(usage) => usage.run(context, &client).await,
        }
    }
}

/// Path of a plugin, or of something below it.
pub(crate) fn path(id: &PluginId, below: &str) -> String {
    format!("/api/v1/plugins/{id}{below}")
}

/// A query as the client takes it.
pub(crate) fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

async fn list(context: &Context, client: &Client, page: &Page) -> Result<(), Error> {
    let query = page.query();
    let body = client.get("/api/v1/plugins", &borrowed(&query)).await?.body;
    let columns = [
        ("id", "/id"),
        ("version", "/version"),
        ("status", "/status"),
        ("trust", "/trust"),
        ("tenants", "/tenants_enabled"),
        ("last error", "/last_error"),
    ];
    let none = "no plugins; `bulkhead plugin install FILE` installs one";
    context.output.result(&body, &view::list(&body, columns, none));
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "an answer is shown once")]
fn show(context: &Context, answer: Answer) -> Result<(), Error> {
    context.output.result(&answer.body, &describe(&answer.body));
    Ok(())
}

/// A plugin for people.
fn describe(body: &Value) -> String {
    view::object(
        body,
        &[
            ("plugin", "/id"),
            ("name", "/name"),
            ("version", "/version"),
            ("status", "/status"),
            ("tenants", "/tenants_enabled"),
            ("health", "/health"),
            ("trust", "/trust"),
            ("created", "/created_at"),
            ("updated", "/updated_at"),
            ("last error", "/last_error"),
        ],
    )
}

async fn act(context: &Context, client: &Client, id: &PluginId, verb: &str) -> Result<(), Error> {
    let answer = client.post(&path(id, &format!("/{verb}")), &[], &json!({})).await?;
    show(context, answer)
}

/// `ID@VERSION`, or `None` for a file. A name that could be both is a file if one is there.
pub(crate) fn release_named(target: &str) -> Result<Option<(PluginId, Version)>, Error> {
    if Path::new(target).exists() {
        return Ok(None);
    }
    let Some((id, version)) = target.split_once('@') else {
        return Ok(None);
    };
    let usage =
        |what: String| Error::Usage { what, next: "name a file, or a release such as `acme.crm@1.2.0`".to_owned() };
    let id = id.parse().map_err(|error| usage(format!("{error}")))?;
    let version = version.parse().map_err(|error| usage(format!("{error}")))?;
    Ok(Some((id, version)))
}

/// Looks at an operation until it ends, telling each new step. A failed one is its problem.
pub(crate) async fn follow(client: &Client, operation: Value, tell: impl FnMut(&str)) -> Result<Value, Error> {
    let operation = wait_for_end(client, operation, tell).await?;
    match operation.get("status").and_then(Value::as_str) {
        Some("failed" | "pending-review") => Err(Error::Problem(Box::new(Problem::of_operation(&operation)))),
        Some(_) | None => Ok(operation),
    }
}

/// Looks at an operation until it ends, well or not, telling each new step.
pub(crate) async fn wait_for_end(
    client: &Client,
    mut operation: Value,
    mut tell: impl FnMut(&str),
) -> Result<Value, Error> {
    let id = operation.get("id").and_then(Value::as_str).map(str::to_owned);
    let Some(id) = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')) else {
        return Err(client.answer("an operation without an id".to_owned()));
    };
    let mut told = String::new();
    for _ in 0..POLLS_MAX {
        let step = step_of(&operation);
        if step != told && !step.is_empty() {
            tell(&step);
            told = step;
        }
        if matches!(operation.get("status").and_then(Value::as_str), Some("succeeded" | "failed" | "pending-review")) {
            return Ok(operation);
        }
        tokio::time::sleep(POLL).await;
        operation = client.get(&format!("/api/v1/operations/{id}"), &[]).await?.body;
    }
    Err(Error::Step {
        what: "see the end of the operation",
        reason: format!("it goes on after {} minutes", POLL.as_secs_f64() * f64::from(POLLS_MAX) / 60.0),
        next: "the host goes on with it; see `bulkhead plugin show ID`".to_owned(),
    })
}

/// The step that an operation is in, with how much of it is done where it has several.
fn step_of(operation: &Value) -> String {
    let name = view::field(operation, "/step");
    let last = operation.get("steps").and_then(Value::as_array).and_then(|steps| steps.last());
    let count = |field: &str| last.and_then(|step| step.get(field)).and_then(Value::as_u64);
    match (count("done"), count("total")) {
        (Some(done), Some(total)) if total > 1 => format!("{name} {done} of {total}"),
        _ => name,
    }
}

impl Uninstall {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let data = match self.data {
            Data::Keep => "keep",
            Data::Archive => "archive",
            Data::Drop => "drop",
        };
        let force = if self.force { "true" } else { "false" };
        let progress = context.output.progress(&format!("uninstalling {}", self.id));
        let answer = client.delete(&path(&self.id, ""), &[("data", data), ("force", force)]).await?;
        let operation = follow(client, answer.body, |step| progress.step(&format!("{}: {step}", self.id))).await?;
        drop(progress);
        context.output.result(&operation, &format!("{} is uninstalled", self.id));
        Ok(())
    }
}

impl Switch {
    async fn run(&self, context: &Context, client: &Client, verb: &str) -> Result<(), Error> {
        let at = match &self.id {
            Some(id) => path(id, &format!("/{verb}")),
            None => format!("/api/v1/{verb}"),
        };
        let body = match &self.tenant {
            Some(tenant) => json!({ "tenant": tenant.as_str() }),
            None => json!({}),
        };
        let answer = client.post(&at, &[], &body).await?.body;
        let what = self.id.as_ref().map_or_else(|| "every plugin but core ones".to_owned(), ToString::to_string);
        let place = self.tenant.iter().map(|tenant| format!(" for `{tenant}`")).collect::<String>();
        let text = match verb {
            "kill" => format!("{what} is killed{place}; `bulkhead plugin revive` ends it"),
            _ => format!("{what} may be called again{place}"),
        };
        context.output.result(&answer, &text);
        Ok(())
    }
}

impl Place {
    async fn get(&self, client: &Client, below: &str) -> Result<Value, Error> {
        let query: Vec<(&str, &str)> = self.tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
        Ok(client.get(&path(&self.id, below), &query).await?.body)
    }

    async fn health(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let body = self.get(client, "/health").await?;
        let columns = [
            ("tenant", "/tenant_id"),
            ("health", "/status"),
            ("ready", "/ready"),
            ("checked", "/checked_at"),
            ("details", "/details"),
        ];
        context.output.result(&body, &view::list(&body, columns, "not enabled in any tenant"));
        Ok(())
    }

    async fn errors(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let body = self.get(client, "/errors").await?;
        let columns = [
            ("at", "/at"),
            ("tenant", "/tenant_id"),
            ("entry", "/entry"),
            ("code", "/code"),
            ("message", "/message"),
            ("trace", "/trace_id"),
        ];
        context.output.result(&body, &view::list(&body, columns, "no errors"));
        Ok(())
    }
}

impl Usage {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let mut query = self.page.query();
        query.extend(self.tenant.iter().map(|tenant| ("tenant", tenant.to_string())));
        query.extend(self.month.iter().map(|month| ("month", month.clone())));
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = client.get(&path(&self.id, "/usage"), &query).await?.body;
        let columns = [
            ("tenant", "/tenant_id"),
            ("month", "/month"),
            ("calls", "/calls"),
            ("fuel", "/fuel_units"),
            ("fuel a month", "/fuel_per_month"),
            ("storage", "/storage_bytes"),
            ("of", "/storage_bytes_max"),
        ];
        context.output.result(&body, &view::list(&body, columns, "not called in this month"));
        Ok(())
    }
}
