//! `bulkhead token issue`: tokens by the local issuer's key, for a host that trusts it.
//! It asks no host, and it cannot take a token back: keep lifetimes short.

use std::path::{Path, PathBuf};

use bulkhead_host::auth::{self, Claims};
use bulkhead_model::{Role, TenantId};
use clap::{Args, Subcommand};
use serde_json::json;

use super::config::Source;
use super::{Context, key};
use crate::error::Error;

/// Longest lifetime of a token: 90 days in seconds.
const TTL_S_MAX: u64 = 90 * 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Issue a token and print it, nothing else
    #[command(after_help = EXAMPLES)]
    Issue(Issue),
}

const EXAMPLES: &str = "\
Roles: super_admin (plugins, tenants), security (policy, audit), tenant_admin (one tenant's plugins), \
host (hooks and events), member (an end user).

Examples:
  bulkhead token issue --sub ops --role super_admin
  bulkhead token issue --sub anna --role member --tenant acme-corp --permission acme.crm.deals.view
  export BULKHEAD_TOKEN=$(bulkhead token issue --sub ops --role super_admin --ttl 8h)";

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// Who will act: a user's or a service's name
    #[arg(long, value_name = "SUBJECT")]
    sub: String,
    /// Roles
    #[arg(long, value_name = "ROLE", num_args = 1.., required = true, value_parser = role)]
    role: Vec<Role>,
    /// Tenant that the token is bound to
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// Permissions in full form, such as `acme.crm.deals.view`
    #[arg(long, value_name = "PERMISSION", num_args = 1.., value_parser = permission)]
    permission: Vec<String>,
    /// Lifetime: a number and `s`, `m`, `h` or `d`, at most 90d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    ttl: u64,
    #[command(flatten)]
    host: Source,
    /// The issuer's private key, where it lies elsewhere
    #[arg(long, value_name = "PEM", conflicts_with_all = ["config", "data_dir"])]
    key: Option<PathBuf>,
}

impl Token {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let Self::Issue(issue) = self;
        let path = issue.key_path()?;
        let pem = key::read_pem(&path)?;
        let token = issue_with(&path, &pem, &issue.claims())?;
        if context.output.is_json {
            context.output.result(&json!({ "token": token }), "");
        } else {
            context.output.plain(&token);
        }
        Ok(())
    }
}

impl Issue {
    fn claims(&self) -> Claims {
        let permissions = self.permission.clone();
        Claims::new(&self.sub, self.tenant.clone(), &self.role, permissions, now_s(), self.ttl)
    }

    /// The private half of the issuer that the host trusts first, beside the public one.
    fn key_path(&self) -> Result<PathBuf, Error> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let config = self.host.load(None)?;
        let public = config.auth.local_keys().next().cloned().unwrap_or_default();
        let name = public.file_name().unwrap_or_default().to_string_lossy().replace(".pub.pem", ".key.pem");
        Ok(public.with_file_name(name))
    }
}

/// Signs claims with the issuer's key, which was read from `path`.
pub(crate) fn issue_with(path: &Path, pem: &str, claims: &Claims) -> Result<String, Error> {
    auth::issue(pem, claims).map_err(|error| Error::Unusable {
        path: path.to_owned(),
        wanted: "the key of an issuer",
        reason: error.to_string(),
        next: "run it where `bulkhead.toml` lies, or name the key with `--key PEM`".to_owned(),
    })
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|_| {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("the roles are {}", known.join(", "))
    })
}

/// `{plugin id}.{name}`.
fn permission(text: &str) -> Result<String, String> {
    let dots: Vec<usize> = text.match_indices('.').map(|(at, _)| at).collect();
    let is_full = dots.get(1).is_some_and(|at| {
        let (plugin, name) = text.split_at(*at);
        plugin.parse::<bulkhead_model::PluginId>().is_ok()
            && name.trim_start_matches('.').parse::<bulkhead_model::PermissionName>().is_ok()
    });
    if is_full { Ok(text.to_owned()) } else { Err("wanted the full form, such as `acme.crm.deals.view`".to_owned()) }
}

/// A lifetime in seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let wanted = || "wanted a number and `s`, `m`, `h` or `d`, from 1s to 90d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wanted)?;
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wanted()),
    };
    number.checked_mul(unit_s).filter(|total| (1..=TTL_S_MAX).contains(total)).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit_and_a_bound() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("1h"), Ok(3_600));
        assert_eq!(seconds("90d"), Ok(TTL_S_MAX));
        for wrong in ["", "h", "1", "0s", "91d", "-1h", "1.5h", "1w", "99999999999999999999d", "1é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_permission_is_written_in_full() {
        assert!(permission("acme.crm.deals.view").is_ok());
        assert!(permission("acme.hello.greet").is_ok());
        for wrong in ["deals.view", "acme.crm", "acme.crm.", "Acme.crm.view", ""] {
            assert!(permission(wrong).is_err(), "{wrong}");
        }
    }
}
