//! One file for each command or group of commands; here each is found and run.
//! Commands that need no host touch no network.

pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod install;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod new;
pub(crate) mod pack;
pub(crate) mod plugin;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod reach;
pub(crate) mod reference;
pub(crate) mod registry;
mod registry_log;
pub(crate) mod review;
pub(crate) mod revoke;
pub(crate) mod serve;
pub(crate) mod sign;
pub(crate) mod tenant;
pub(crate) mod tenant_plugin;
pub(crate) mod token;
pub(crate) mod verify;

use crate::args::{Cli, Command, Global};
use crate::client::Client;
use crate::error::Error;
use crate::output::Output;

/// What every command gets: where to print, and the global options.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where to print.
    pub(crate) output: Output,
    global: Global,
}

impl Context {
    /// A client of the host that the command line names.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let client = Client::new(&self.global)?;
        if client.is_in_clear() {
            self.output.note("warning: the token travels in clear text; use an https:// address beyond this machine");
        }
        Ok(client)
    }

    /// A client of the same host that acts with another token.
    pub(crate) fn client_as(&self, token: &str) -> Result<Client, Error> {
        Client::of(self.global.server.clone(), Some(token.to_owned()))
    }
}

/// Runs one command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), Error> {
    let output = Output { is_json: cli.global.json, is_quiet: cli.global.quiet };
    let context = Context { output, global: cli.global };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Step {
        what: "start the threads of this process",
        reason: error.to_string(),
        next: "free memory or raise the limit of threads, and run it again".to_owned(),
    })?;
    runtime.block_on(dispatch(&context, &cli.command))
}

async fn dispatch(context: &Context, command: &Command) -> Result<(), Error> {
    match command {
        Command::Init(command) => command.run(context),
        Command::Serve(command) => Box::pin(command.run(context)).await,
        Command::Demo(command) => Box::pin(command.run(context)).await,
        Command::New(command) => command.run(context),
        Command::Build(command) => command.run(context),
        Command::Check(command) => command.run(context),
        Command::Pack(command) => command.run(context),
        Command::Sign(command) => command.run(context),
        Command::Verify(command) => command.run(context),
        Command::Inspect(command) => command.run(context),
        Command::Diff(command) => Box::pin(command.run(context)).await,
        Command::Publish(command) => Box::pin(command.run(context)).await,
        Command::Key(command) => command.run(context),
        Command::Token(command) => command.run(context),
        Command::Migrate(command) => Box::pin(command.run(context)).await,
        Command::Plugin(command) => Box::pin(command.run(context)).await,
        Command::Tenant(command) => Box::pin(command.run(context)).await,
        Command::TenantPlugin(command) => Box::pin(command.run(context)).await,
        Command::Config(command) => command.run(context),
        Command::Policy(command) => Box::pin(command.run(context)).await,
        Command::Review(command) => Box::pin(command.run(context)).await,
        Command::Revoke(command) => Box::pin(command.run(context)).await,
        Command::Doctor(command) => Box::pin(command.run(context)).await,
        Command::Reach(command) => Box::pin(command.run(context)).await,
        Command::Audit(command) => Box::pin(command.run(context)).await,
        Command::Registry(command) => Box::pin(command.run(context)).await,
        Command::Completions(command) => command.run(context),
        Command::Reference(command) => command.run(context),
        Command::CompileWorker { .. } => unreachable!("`main` runs it before a runtime exists"),
    }
}
