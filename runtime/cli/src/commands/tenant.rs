//! `bulkhead tenant ...`: tenants of a host.
//! Their plugins are the business of `tenant_plugin`.

use std::path::PathBuf;

use bulkhead_model::TenantId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::plugin::{Page, borrowed};
use crate::client::Client;
use crate::error::Error;
use crate::file::{Existing, PRIVATE, Partial};
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Create a tenant
    #[command(after_help = "Example:\n  bulkhead tenant create acme-corp")]
    Create(One),
    /// List the tenants
    List(Page),
    /// Refuse every call of a tenant, keeping its data
    Suspend(One),
    /// End a suspension
    Resume(One),
    /// Write what all plugins keep in a tenant to an archive
    #[command(after_help = "Example:\n  bulkhead tenant export acme-corp --out acme-corp.tar")]
    Export(Export),
    /// Delete a tenant and its data
    Delete(One),
}

/// One tenant.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Tenant: 1 to 63 of `a-z`, `0-9`, `-`
    #[arg(value_name = "ID")]
    id: TenantId,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    one: One,
    /// File of the archive, a tar
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

impl Export {
    /// Takes the archive to a file beside its place, which it takes when it is whole.
    async fn run(&self, context: &Context, client: &Client) -> Result<Value, Error> {
        let next = "choose another name, or overwrite it with --force";
        let existing = if self.force { Existing::Replace } else { Existing::Keep(next) };
        if !self.force && self.out.exists() {
            return Err(Error::Exists { path: self.out.clone(), next });
        }
        let progress = context.output.progress(&format!("exporting {}", self.one.id));
        let mut file = Partial::create(&self.out, PRIVATE)?;
        let mut size_bytes = 0_usize;
        client
            .post_for_file(&path(&self.one.id, "/export"), |piece| {
                size_bytes = size_bytes.saturating_add(piece.len());
                file.write(piece)
            })
            .await?;
        file.finish(existing)?;
        drop(progress);
        Ok(json!({ "tenant": self.one.id.as_str(), "file": self.out, "size_bytes": size_bytes }))
    }
}

impl Tenant {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let (body, text) = match self {
            Self::Create(one) => {
                let tenant = json!({ "id": one.id.as_str() });
                let body = client.post("/api/v1/tenants", &[], &tenant).await?.body;
                (body, format!("tenant `{}` is created", one.id))
            }
            Self::List(page) => {
                let body = client.get("/api/v1/tenants", &borrowed(&page.query())).await?.body;
                let columns = [("id", "/id"), ("status", "/status"), ("created", "/created_at")];
                let text = view::list(&body, columns, "no tenants; `bulkhead tenant create ID` makes one");
                (body, text)
            }
            Self::Suspend(one) => {
                let body = client.post(&path(&one.id, "/suspend"), &[], &json!({})).await?.body;
                (body, format!("tenant `{}` is suspended; `bulkhead tenant resume` ends it", one.id))
            }
            Self::Resume(one) => {
                let body = client.post(&path(&one.id, "/resume"), &[], &json!({})).await?.body;
                (body, format!("tenant `{}` is active", one.id))
            }
            Self::Export(export) => {
                let body = export.run(context, &client).await?;
                (body, format!("tenant `{}` is exported to {}", export.one.id, export.out.display()))
            }
            Self::Delete(one) => {
                let body = client.delete(&path(&one.id, ""), &[]).await?.body;
                (body, format!("tenant `{}` is deleted", one.id))
            }
        };
        context.output.result(&body, &text);
        Ok(())
    }
}

fn path(id: &TenantId, below: &str) -> String {
    format!("/api/v1/tenants/{id}{below}")
}
