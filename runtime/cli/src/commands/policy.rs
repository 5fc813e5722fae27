//! `bulkhead policy ...`: check, compile, sign and install who may ship what.
//! What a policy means is decided in `bulkhead_trust`; whether it is new enough, by the host.

mod roots;

use std::path::{Path, PathBuf};

use bulkhead_model::{PluginId, TenantId, Version};
use bulkhead_trust::policy;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::verify::read_policy;
use super::{Context, key};
use crate::error::{Error, count};
use crate::file::{self, DOCUMENT_BYTES_MAX, Existing, PUBLIC};
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Find every mistake of a policy, and what deserves a look
    Check(Source),
    /// Write the JSON form of a policy, which is what gets signed
    Compile(Compile),
    /// Sign a policy with a root key, or add a root key's signature
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(Sign),
    /// Compile, sign and install a policy on a host
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(Install),
    /// Show what a policy would change on a host, without installing it
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(Simulate),
    /// The root keys that sign policies: show, sign and install their successors
    #[command(subcommand)]
    Roots(roots::Roots),
    /// Say whether a release may run in a tenant, and by which rule or why not
    Explain(Explain),
}

const SIGN_EXAMPLES: &str = "\
Examples:
  bulkhead policy sign policy.toml --key root.key.pem --out policy.signed.json
  bulkhead policy sign policy.signed.json --key second-root.key.pem --out policy.signed.json";

const INSTALL_EXAMPLES: &str = "\
Examples:
  bulkhead policy install policy.toml --key keys/root.key.pem
  bulkhead policy install policy.signed.json";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  bulkhead policy simulate policy.toml
  bulkhead policy simulate policy.signed.json --all --json | jq .items";

/// Pages of a simulation that are asked for.
const PAGES_MAX: usize = 10_000;

/// A policy as its author writes it.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Policy in TOML
    #[arg(value_name = "FILE", default_value = "policy.toml")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Compile {
    #[command(flatten)]
    source: Source,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// Policy in TOML, or an envelope that another root key signed
    #[arg(value_name = "FILE", default_value = "policy.toml")]
    file: PathBuf,
    /// Private root key
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Policy in TOML, or a signed envelope
    #[arg(value_name = "FILE", default_value = "policy.toml")]
    file: PathBuf,
    /// Private root key; needed unless the file is signed already
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Policy in TOML, or an envelope
    #[arg(value_name = "FILE", default_value = "policy.toml")]
    file: PathBuf,
    /// Also what would not change
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Plugin
    #[arg(value_name = "ID")]
    plugin: PluginId,
    /// Version [default: the one that is installed]
    #[arg(value_name = "VERSION")]
    version: Option<Version>,
    /// Tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
}

impl Policy {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Check(source) => source.check(context),
            Self::Compile(compile) => compile.run(context),
            Self::Sign(sign) => sign.run(context),
            Self::Install(install) => install.run(context).await,
            Self::Simulate(simulate) => simulate.run(context).await,
            Self::Roots(roots) => roots.run(context).await,
            Self::Explain(explain) => explain.run(context).await,
        }
    }
}

impl Source {
    fn check(&self, context: &Context) -> Result<(), Error> {
        let policy = read_policy(&self.file)?;
        let remarks = policy.check(Timestamp::now());
        let mut lines = vec![summary(&policy)];
        lines.extend(remarks.iter().map(|issue| format!("  look at {}: {}", issue.pointer, issue.message)));
        let body = json!({
            "version": policy.version,
            "expires": policy.expires.to_string(),
            "remarks": remarks.iter().map(|issue| json!({ "pointer": issue.pointer, "message": issue.message })).collect::<Vec<_>>(),
        });
        context.output.result(&body, &lines.join("\n"));
        Ok(())
    }
}

fn summary(policy: &policy::Policy) -> String {
    let (allow, deny) =
        (count(policy.allow.len(), "allow rule"), count(policy.deny.len(), "deny entry").replace("entrys", "entries"));
    let principals = count(policy.principals.len(), "principal");
    format!("policy version {}, until {}: {principals}, {allow}, {deny}", policy.version, policy.expires)
}

impl Compile {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let policy = read_policy(&self.source.file)?;
        write(context, self.out.as_deref(), &policy.to_json())
    }
}

impl Sign {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let envelope = signed(&self.file, &self.key)?;
        write(context, self.out.as_deref(), envelope.as_bytes())
    }
}

impl Install {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let envelope = match &self.key {
            Some(key) => signed(&self.file, key)?.into_bytes(),
            None if is_envelope(&self.file) => file::read(&self.file, DOCUMENT_BYTES_MAX)?,
            None => {
                return Err(Error::Usage {
                    what: format!("`{}` is not signed", self.file.display()),
                    next: "name a root key with `--key keys/root.key.pem`".to_owned(),
                });
            }
        };
        let body = context.client()?.put("/api/v1/policy", &[], envelope).await?.body;
        context.output.result(&body, &format!("policy version {} is in force", view::field(&body, "/version")));
        Ok(())
    }
}

/// The envelope of a policy file, with the signature of this key added.
fn signed(path: &Path, key: &Path) -> Result<String, Error> {
    let key = key::read_private(key)?;
    if !is_envelope(path) {
        return Ok(policy::sign(&read_policy(path)?, &key));
    }
    let envelope = file::read(path, DOCUMENT_BYTES_MAX)?;
    policy::add_signature(&envelope, &key).map_err(|error| Error::Unusable {
        path: path.to_owned(),
        wanted: "a signed policy",
        reason: error.to_string(),
        next: "sign the TOML file instead".to_owned(),
    })
}

/// An envelope is JSON; a policy file is TOML, which never begins with `{`.
fn is_envelope(path: &Path) -> bool {
    file::read(path, DOCUMENT_BYTES_MAX).is_ok_and(|bytes| bytes.trim_ascii_start().starts_with(b"{"))
}

fn write(context: &Context, out: Option<&Path>, bytes: &[u8]) -> Result<(), Error> {
    match out {
        Some(path) => {
            file::write(path, bytes, PUBLIC, Existing::Replace)?;
            context.output.note(&format!("wrote `{}`", path.display()));
        }
        None => context.output.plain(&String::from_utf8_lossy(bytes)),
    }
    Ok(())
}

impl Simulate {
    /// Asks page after page, to the end.
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let policy = if is_envelope(&self.file) {
            file::read(&self.file, DOCUMENT_BYTES_MAX)?
        } else {
            read_policy(&self.file)?.to_json()
        };
        let policy: Value = serde_json::from_slice(&policy).unwrap_or_default();
        let client = context.client()?;
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", "200"), ("all", if self.all { "true" } else { "false" })];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = client.post("/api/v1/policy/simulate", &query, &policy).await?.body;
            items.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let body = json!({ "items": items, "next_cursor": cursor });
        let columns = [
            ("change", "/change"),
            ("plugin", "/plugin_id"),
            ("version", "/version"),
            ("tenant", "/tenant_id"),
            ("rule now", "/now/rule"),
            ("rule then", "/then/rule"),
            ("why not", "/then/refusals/0/code"),
        ];
        context.output.result(&body, &view::list(&body, columns, "this policy would change nothing"));
        Ok(())
    }
}

impl Explain {
    async fn run(&self, context: &Context) -> Result<(), Error> {
        let mut query = vec![("plugin", self.plugin.to_string())];
        query.extend(self.version.as_ref().map(|version| ("version", version.to_string())));
        query.extend(self.tenant.as_ref().map(|tenant| ("tenant", tenant.to_string())));
        let client = context.client()?;
        let body = client.get("/api/v1/policy/explain", &super::plugin::borrowed(&query)).await?.body;
        let verdict = match body.get("allowed").and_then(Value::as_bool) {
            Some(true) => {
                format!("allowed by rule `{}`, trust {}", view::field(&body, "/rule"), view::field(&body, "/trust"))
            }
            Some(false) | None => "not allowed".to_owned(),
        };
        let list = |name: &str, first: (&str, &str), head: &str| {
            let rows = body.get(name).cloned().unwrap_or_default();
            let text = view::list(&rows, [first, ("reason", "/code"), ("detail", "/detail")], "");
            if text.is_empty() { text } else { format!("{head}{text}\n") }
        };
        let reasons = list("refusals", ("at", "/pointer"), "");
        let observed = list("observed", ("by", "/by"), "would be denied by what is only observed:\n");
        let columns = [
            ("rule", "/id"),
            ("trust", "/trust"),
            ("why not", "/refusals/0/code"),
            ("reason", "/reason"),
            ("author", "/author"),
            ("approved by", "/approved_by"),
            ("until", "/expires"),
        ];
        let rules = view::list(&body.get("rules").cloned().unwrap_or_default(), columns, "");
        context.output.result(&body, format!("{} {verdict}\n{reasons}{observed}{rules}", self.plugin).trim_end());
        Ok(())
    }
}
