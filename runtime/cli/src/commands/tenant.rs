//! `bulkhead tenant ...`: tenants of a host.
//! Their plugins are the business of `tenant_plugin`.

use bulkhead_model::TenantId;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::plugin::{Page, borrowed};
use crate::error::Error;
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
