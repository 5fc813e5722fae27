//! `bulkhead completions SHELL`: a completion script, made from the command line's own definition.
//! It installs nothing.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Context;
use crate::args::Cli;
use crate::error::Error;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bulkhead completions bash > ~/.local/share/bash-completion/completions/bulkhead")]
pub(crate) struct Completions {
    /// Shell that will read the script
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bulkhead", &mut script);
        context.output.plain(&String::from_utf8_lossy(&script));
        Ok(())
    }
}
