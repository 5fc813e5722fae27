//! `bulkhead registry ...`: the plugin registry of a host: namespaces, tokens, what it offers, what it withdraws.
//! Pushing is `publish`'s; pulling is for any client of the OCI distribution protocol.

use bulkhead_model::PluginId;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::export::Export;
use super::plugin::{Page, borrowed};
use super::registry_log::Log;
use super::token::seconds;
use crate::client::Client;
use crate::error::Error;
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Who may push where
    #[command(subcommand)]
    Namespace(Namespace),
    /// Tokens of the registry
    #[command(subcommand)]
    Token(Token),
    /// List the plugins that the registry offers
    List(List),
    /// Withdraw a version; who has its digest can still fetch it
    #[command(after_help = "Example:\n  bulkhead registry yank acme.crm@1.2.0 --reason 'loses data'")]
    Yank(Yank),
    /// Offer a withdrawn version again
    Unyank(One),
    /// Write releases with their signatures to an archive, for a host without a network
    Export(Export),
    /// Remove what nobody refers to
    Gc,
    /// The log of what happened in the registry: signed states, proofs, and their check without a host
    #[command(subcommand)]
    Log(Log),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Namespace {
    /// Grant a namespace; one that looks like another is refused
    #[command(after_help = "Example:\n  bulkhead registry namespace grant acme --owner 'Acme Ltd'")]
    Grant(Grant),
    /// List the namespaces
    List(Page),
    /// Take a namespace back; never one in which a plugin was released
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// Name: the part before the dot of its plugins' ids
    #[arg(value_name = "NAME")]
    namespace: String,
    /// What it takes
    #[arg(long, value_enum, default_value_t = Kind::Plugin)]
    kind: Kind,
    /// For whom it is
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Everybody may pull, without a token
    #[arg(long)]
    public: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name of the namespace
    #[arg(value_name = "NAME")]
    namespace: String,
    /// Delete all that is in it as well
    #[arg(long)]
    force: bool,
}

/// What a namespace takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Releases of plugins and their signatures; nothing is replaced or deleted
    Plugin,
    /// Whatever the protocol knows; it can be deleted
    Open,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it, nothing else
    #[command(
        after_help = "Example:\n  bulkhead registry token create --name ci --repository acme/crm --scope push --scope pull"
    )]
    Create(Create),
    /// List the tokens, without their secrets
    List(Page),
    /// End a token
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// For whom or what it is
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where: a namespace `acme`, a repository `acme/crm`, a beginning `acme/crm-*`, or `*`
    #[arg(long, value_name = "PATTERN", num_args = 1.., required = true)]
    repository: Vec<String>,
    /// What: `pull`, `push`, `sign`, `yank`, `admin`
    #[arg(long, value_name = "SCOPE", num_args = 1.., required = true)]
    scope: Vec<String>,
    /// Lifetime: a number and `s`, `m`, `h` or `d`, at most 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = seconds)]
    ttl: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Id of the token, as `list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Part of an id, name or description
    #[arg(value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    page: Page,
}

/// One version of a plugin.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Plugin and version, such as `acme.crm@1.2.0`
    #[arg(value_name = "ID@VERSION", value_parser = release)]
    release: (PluginId, String),
}

#[derive(Debug, Args)]
pub(crate) struct Yank {
    #[command(flatten)]
    one: One,
    /// Why, for those who look for it and the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Registry {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        if let Self::Log(log) = self {
            return Box::pin(log.run(context)).await;
        }
        let client = context.client()?;
        let (body, text) = match self {
            Self::Log(_) => unreachable!("it ran above: a part of it needs no host"),
            Self::Namespace(namespace) => namespace.run(&client).await?,
            Self::Token(Token::Create(create)) => return create.run(context, &client).await,
            Self::Token(token) => token.run(&client).await?,
            Self::List(list) => list.run(&client).await?,
            Self::Yank(yank) => {
                let (plugin, version) = &yank.one.release;
                let act = json!({ "version": version, "reason": yank.reason });
                let body = client.post(&path(plugin, "yank"), &[], &act).await?.body;
                (body, format!("{plugin} {version} is withdrawn; `bulkhead registry unyank` offers it again"))
            }
            Self::Unyank(one) => {
                let (plugin, version) = &one.release;
                let body = client.post(&path(plugin, "unyank"), &[], &json!({ "version": version })).await?.body;
                (body, format!("{plugin} {version} is offered again"))
            }
            Self::Export(export) => return export.run(context).await,
            Self::Gc => {
                let body = client.post("/api/v1/registry/gc", &[], &json!({})).await?.body;
                let (blobs, bytes) = (view::field(&body, "/blobs"), view::field(&body, "/blob_bytes"));
                let text = format!("removed {blobs} blobs ({bytes} bytes), {} uploads", view::field(&body, "/uploads"));
                (body, text)
            }
        };
        context.output.result(&body, &text);
        Ok(())
    }
}

impl Namespace {
    async fn run(&self, client: &Client) -> Result<(Value, String), Error> {
        match self {
            Self::Grant(grant) => {
                let kind = match grant.kind {
                    Kind::Plugin => "plugin",
                    Kind::Open => "open",
                };
                let new = json!({
                    "namespace": grant.namespace, "kind": kind, "owner": grant.owner, "public": grant.public
                });
                let body = client.post(NAMESPACES, &[], &new).await?.body;
                Ok((body, format!("the namespace `{}` is granted", grant.namespace)))
            }
            Self::Delete(delete) => {
                let query: &[(&str, &str)] = if delete.force { &[("force", "true")] } else { &[] };
                let body = client.delete(&format!("{NAMESPACES}/{}", delete.namespace), query).await?.body;
                Ok((body, format!("the namespace `{}` is taken back", delete.namespace)))
            }
            Self::List(page) => {
                let body = client.get(NAMESPACES, &borrowed(&page.query())).await?.body;
                let columns =
                    [("namespace", "/namespace"), ("kind", "/kind"), ("owner", "/owner"), ("public", "/public")];
                let text = view::list(&body, columns, "no namespaces; `bulkhead registry namespace grant` makes one");
                Ok((body, text))
            }
        }
    }
}

impl Token {
    async fn run(&self, client: &Client) -> Result<(Value, String), Error> {
        match self {
            Self::Create(_) => unreachable!("`Registry::run` prints a new token alone"),
            Self::List(page) => {
                let body = client.get(TOKENS, &borrowed(&page.query())).await?.body;
                let columns = [("id", "/id"), ("name", "/name"), ("expires", "/expires_at")];
                Ok((body.clone(), view::list(&body, columns, "no tokens; `bulkhead registry token create` makes one")))
            }
            Self::Revoke(revoke) => {
                let body = client.delete(&format!("{TOKENS}/{}", revoke.id), &[]).await?.body;
                Ok((body, format!("the token `{}` is revoked", revoke.id)))
            }
        }
    }
}

impl Create {
    async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let new = json!({
            "name": self.name, "repositories": self.repository, "scopes": self.scope, "ttl_s": self.ttl
        });
        let body = client.post(TOKENS, &[], &new).await?.body;
        if context.output.is_json {
            context.output.result(&body, "");
        } else {
            context.output.plain(&view::field(&body, "/token"));
        }
        Ok(())
    }
}

impl List {
    async fn run(&self, client: &Client) -> Result<(Value, String), Error> {
        let mut query = self.page.query();
        query.extend(self.search.clone().map(|search| ("q", search)));
        let body = client.get("/api/v1/registry/plugins", &borrowed(&query)).await?.body;
        let columns = [("id", "/id"), ("latest", "/latest"), ("name", "/name"), ("downloads", "/downloads")];
        let text = view::list(&body, columns, "no plugins; `bulkhead publish FILE --registry-token TOKEN` pushes one");
        Ok((body, text))
    }
}

const NAMESPACES: &str = "/api/v1/registry/namespaces";
const TOKENS: &str = "/api/v1/registry/tokens";

fn path(plugin: &PluginId, act: &str) -> String {
    format!("/api/v1/registry/plugins/{plugin}/{act}")
}

fn release(text: &str) -> Result<(PluginId, String), String> {
    let (plugin, version) = text.split_once('@').ok_or("wanted a plugin and a version such as `acme.crm@1.2.0`")?;
    let plugin = plugin.parse().map_err(|error: bulkhead_model::id::InvalidName| error.to_string())?;
    version.parse::<bulkhead_model::Version>().map_err(|error| error.to_string())?;
    Ok((plugin, version.to_owned()))
}
