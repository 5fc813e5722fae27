//! `bulkhead plugin rollback`: an older version in the place of the one installed last.
//! Whether one may go back is decided by the host.

use bulkhead_model::{PluginId, Version};
use clap::Args;
use serde_json::json;

use super::{follow, path};
use crate::client::Client;
use crate::commands::Context;
use crate::error::Error;
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Plugin
    #[arg(value_name = "ID")]
    id: PluginId,
    /// Version to go back to [default: the older one that was installed last]
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Rollback {
    pub(crate) async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let mut body = json!({ "reason": self.reason });
        if let (Some(version), Some(fields)) = (&self.to, body.as_object_mut()) {
            fields.insert("version".to_owned(), version.to_string().into());
        }
        let progress = context.output.progress(&format!("going back with {}", self.id));
        let answer = client.post(&path(&self.id, "/rollback"), &[], &body).await?;
        let operation = follow(client, answer.body, |step| progress.step(&format!("{}: {step}", self.id))).await?;
        drop(progress);
        context.output.result(&operation, &format!("{} is back at {}", self.id, view::field(&operation, "/version")));
        Ok(())
    }
}
