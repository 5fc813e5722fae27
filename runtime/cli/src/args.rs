//! The command line: global options and the tree of commands.
//! The arguments of a command stand beside its code in `commands/`.

use clap::{Args, Parser, Subcommand};
use reqwest::Url;

use crate::commands::{
    audit, build, check, completions, config, demo, diff, doctor, init, inspect, key, migrate, new, pack, plugin,
    policy, publish, reach, reference, registry, review, revoke, serve, sign, tenant, tenant_plugin, token, verify,
};

const LONG_ABOUT: &str = "\
Bulkhead runs plugins for multi-tenant software: signed WebAssembly components, each call inside its \
limits, each tenant apart.

This one binary is the host and everything that a person types.";

const EXAMPLES: &str = "\
See it work:
  bulkhead demo                            two tenants, signed plugins, a walk on the terminal

Run a host:
  bulkhead init                            keys, configuration, policy, first tokens
  bulkhead serve                           http://127.0.0.1:8080
  export BULKHEAD_TOKEN=$(cat tokens/super_admin.token)
  bulkhead plugin list

Write a plugin:
  bulkhead new acme.crm && cd crm
  bulkhead build                           crm-0.1.0.wasm
  bulkhead key generate --out acme
  bulkhead sign crm-0.1.0.wasm --key acme.key.pem
  bulkhead plugin install crm-0.1.0.wasm

Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by policy, 4 not found, 5 unreachable.";

/// Plugins for multi-tenant software, run inside their limits
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print results as JSON: the body of the host's answer where there is one
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the host
    #[arg(long, global = true, env = "BULKHEAD_SERVER", value_name = "URL", value_parser = server)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    pub(crate) server: Url,
    /// Token to act with; `bulkhead token issue` makes one
    #[arg(long, global = true, env = "BULKHEAD_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Print results and errors alone, no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make keys, configuration, a deny-all policy and the first tokens
    Init(init::Init),
    /// Run the host
    Serve(serve::Serve),
    /// Show everything on this machine: two tenants, signed plugins, limits, refusals
    Demo(demo::Demo),
    /// Begin a plugin: a project that builds
    New(new::New),
    /// Compile a plugin project and pack the artifact
    Build(build::Build),
    /// Find every problem of a plugin project
    Check(check::Check),
    /// Put component, manifest, migrations and assets into one artifact
    Pack(pack::Pack),
    /// Sign an artifact
    Sign(sign::Sign),
    /// Verify an artifact and its signatures, without a network
    Verify(verify::Verify),
    /// Show what an artifact is, imports and weighs
    Inspect(inspect::Inspect),
    /// Show what a newer release may do beyond an older one
    Diff(diff::Diff),
    /// Register an artifact and its signatures with a host, or in its registry too
    Publish(publish::Publish),
    /// Signing keys
    #[command(subcommand)]
    Key(key::Key),
    /// Tokens of a local issuer
    #[command(subcommand)]
    Token(token::Token),
    /// Plugins of a host
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Migrations of a plugin over its tenants
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Tenants of a host
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Plugins of one tenant
    #[command(subcommand)]
    TenantPlugin(tenant_plugin::TenantPlugin),
    /// The configuration file
    #[command(subcommand)]
    Config(config::Config),
    /// Who may ship what: the signer policy
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Versions that may do more than the one before and wait for security
    #[command(subcommand)]
    Review(review::Review),
    /// Let a key, a release or versions of a plugin never run again
    Revoke(revoke::Revoke),
    /// Show which signer's code can reach what in which tenant
    Reach(reach::Reach),
    /// The audit chain of a host
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The plugin registry of a host
    #[command(subcommand)]
    Registry(registry::Registry),
    /// Find what is wrong with a host, and say what to do
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Compile one component from standard input; started by the host alone
    #[command(hide = true)]
    CompileWorker {
        /// What the host asks of it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write or check the generated reference
    #[command(hide = true)]
    Reference(reference::Reference),
}

/// An address that requests can be sent to.
fn server(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match url.scheme() {
        "http" | "https" if url.has_host() && is_plain => Ok(url),
        _ => Err("wanted an address such as `https://plugins.example.com`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_lines_of_the_contract_parse() {
        check_parses("init --dir x");
        check_parses("key generate --out x");
        check_parses("key show x.pub.pem");
        check_parses("new acme.crm --lang rust --dir x");
        check_parses("build");
        check_parses("pack --manifest plugin.toml --out f.wasm");
        check_parses("sign f.wasm --key k.pem --role reviewer --not-after 2027-01-01T00:00:00Z");
        check_parses("verify f.wasm --policy p.toml");
        check_parses("verify f.wasm --key k.pem");
        check_parses("inspect f.wasm --json");
        check_parses("diff old.wasm new.wasm");
        check_parses("diff acme.crm@1.2.0 acme.crm@1.3.0 --json");
        check_parses("publish f.wasm --server http://127.0.0.1:1 --token t");
        check_parses(
            "token issue --sub s --role super_admin --role member --tenant acme --permission acme.crm.view --ttl 1h",
        );
        check_parses("token issue --sub s --role super_admin security");
        check_parses("plugin install f.wasm");
        check_parses("plugin install acme.crm@1.2.0 --detach");
        check_parses("plugin kill acme.crm --tenant acme");
        check_parses("plugin kill --all");
        check_parses("plugin uninstall acme.crm --data drop --force");
        check_parses("tenant create acme");
        check_parses("tenant-plugin enable acme.crm --tenant acme");
        check_parses("tenant-plugin config acme.crm --tenant acme --set f.json");
        check_parses("policy install p.toml --key k.pem");
        check_parses("policy explain acme.crm 1.2.0 --tenant acme");
        check_parses("policy simulate p.toml --all");
        check_parses("review list --all");
        check_parses("review approve 5f0c-1 --reason fine");
        check_parses("review reject 5f0c-1 --reason no");
        check_parses("revoke --key ed25519:x --reason stolen --from 2027-01-01T00:00:00Z");
        check_parses("revoke --plugin acme.crm --version =1.2.3 --reason cve");
        check_parses("reach --tenant acme --signer alice --plugin acme.crm --at 2026-01-01T00:00:00Z --json");
        check_parses("reach --from 2026-01-01T00:00:00Z --to 2026-06-30T00:00:00Z --csv");
        check_parses("audit tail --limit 5");
        check_parses("doctor");
        check_parses("doctor --config f.toml --json");
        check_parses("serve --config f.toml --listen 127.0.0.1:0 --data-dir d");
        check_parses("demo --smoke");
        check_parses("completions bash");
        check_parses("compile-worker");
    }

    #[test]
    fn wrong_command_lines_are_usage_errors() {
        check_refused("");
        check_refused("new Acme");
        check_refused("verify f.wasm --policy p.toml --key k.pem");
        check_refused("sign f.wasm");
        check_refused("token issue --sub s --role root");
        check_refused("token issue --sub s --role member --ttl soon");
        check_refused("plugin kill");
        check_refused("plugin kill acme.crm --all");
        check_refused("plugin install");
        check_refused("revoke --reason stolen");
        check_refused("revoke --plugin acme.crm");
        check_refused("reach --to 2026-01-01T00:00:00Z");
        check_refused("reach --at 2026-01-01T00:00:00Z --from 2026-01-01T00:00:00Z");
        check_refused("reach --csv --json");
        check_refused("review approve ../x --reason fine");
        check_refused("review approve 5f0c-1");
        check_refused("tenant create UPPER");
        check_refused("plugin list --server ftp://x");
        check_refused("plugin list --server http://user@x");
        check_refused("tenant-plugin enable acme.crm");
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("bulkhead").chain(line.split_whitespace()))
    }

    fn check_parses(line: &str) {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }

    fn check_refused(line: &str) {
        assert!(parse(line).is_err(), "{line}");
    }
}
