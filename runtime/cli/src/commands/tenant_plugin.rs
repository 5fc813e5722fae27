//! `bulkhead tenant-plugin ...`: plugins of one tenant: enable, configure, consent.
//! A tenant's own admin and a super admin may; the host checks.

use std::path::PathBuf;

use bulkhead_model::{PluginId, TenantId};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::error::Error;
use crate::{file, view};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantPlugin {
    /// Enable a plugin: its migrations run, then it starts
    #[command(after_help = "Example:\n  bulkhead tenant-plugin enable acme.crm --tenant acme-corp")]
    Enable(One),
    /// Disable a plugin, keeping its data
    Disable(One),
    /// Show or set the configuration
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(Config),
    /// Agree to what a plugin may do in this tenant
    Consent(One),
}

const CONFIG_EXAMPLES: &str = "\
Examples:
  bulkhead tenant-plugin config acme.crm --tenant acme-corp
  bulkhead tenant-plugin config acme.crm --tenant acme-corp --set crm.json";

/// One plugin of one tenant.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Plugin, for example `acme.crm`
    #[arg(value_name = "ID")]
    id: PluginId,
    /// Tenant
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(flatten)]
    one: One,
    /// JSON file with the new configuration; without it the configuration is shown
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
}

impl One {
    fn path(&self, below: &str) -> String {
        format!("/api/v1/tenant/plugins/{}/{below}", self.id)
    }

    fn query(&self) -> [(&str, &str); 1] {
        [("tenant", self.tenant.as_str())]
    }
}

impl TenantPlugin {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Enable(one) => act(context, one, "enable", "is enabled").await,
            Self::Disable(one) => act(context, one, "disable", "is disabled").await,
            Self::Consent(one) => act(context, one, "consent", "has the tenant's consent").await,
            Self::Config(config) => config.run(context).await,
        }
    }
}

async fn act(context: &Context, one: &One, verb: &str, done: &str) -> Result<(), Error> {
    let client = context.client()?;
    let progress = context.output.progress(&format!("{verb} {} for `{}`", one.id, one.tenant));
    let answer = client.post(&one.path(verb), &one.query(), &json!({})).await?;
    let body = answer.body;
    drop(progress);
    let status = view::field(&body, "/status");
    let status = if status.is_empty() { status } else { format!(" ({status})") };
    context.output.result(&body, &format!("{} {done} for `{}`{status}", one.id, one.tenant));
    Ok(())
}

impl Config {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let path = self.one.path("config");
        let Some(file) = &self.set else {
            let body = context.client()?.get(&path, &self.one.query()).await?.body;
            let text = serde_json::to_string_pretty(body.get("data").unwrap_or(&body));
            context.output.result(&body, &text.unwrap_or_default());
            return Ok(());
        };
        let text = file::read_text(file)?;
        // The host judges it by the schema; that it is JSON is told before anything is sent.
        serde_json::from_str::<Value>(&text).map_err(|error| Error::Unusable {
            path: file.clone(),
            wanted: "a configuration",
            reason: format!("not JSON: {error}"),
            next: "correct the file".to_owned(),
        })?;
        let body = context.client()?.put(&path, &self.one.query(), text.into_bytes()).await?.body;
        context.output.result(&body, &format!("{} is configured for `{}`", self.one.id, self.one.tenant));
        Ok(())
    }
}
