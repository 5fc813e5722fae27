//! `bulkhead serve`: runs the host until it is told to end.
//! Everything that it does is in `bulkhead_server` and below.

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Context;
use super::config::Source;
use crate::error::Error;

const LONG_ABOUT: &str = "\
Run the host.

With nothing configured it listens on 127.0.0.1:8080, keeps everything in ./bulkhead-data (SQLite, compiled \
plugins, and keys, which it makes), and allows no plugin until a policy is installed.";

const PLACES: &str = "\
Where things lie:
  bulkhead.toml          configuration, if it is there or named with --config
  keys/                  beside bulkhead.toml; without one, in the data folder
  bulkhead-data/         the data folder: tables, plugins' data, compiled plugins
  http://127.0.0.1:8080  the API; /health, /ready, /openapi.json
  http://127.0.0.1:9090  /metrics

Ctrl-C or SIGTERM ends it: requests in flight get time to finish.

Examples:
  bulkhead serve
  bulkhead serve --config /etc/bulkhead/bulkhead.toml --listen 0.0.0.0:8080";

#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT, after_help = PLACES)]
pub(crate) struct Serve {
    #[command(flatten)]
    source: Source,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

impl Serve {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let config = self.source.load(self.listen.as_deref())?;
        bulkhead_server::start_logs(&config.telemetry).map_err(|error| failed(&error))?;
        let ended = ended()?;
        bulkhead_server::run(config, ended).await.map_err(|error| failed(&error))?;
        context.output.note("the host has ended");
        Ok(())
    }
}

/// Ready when the process is told to end: Ctrl-C in a terminal, SIGTERM by a service manager.
pub(crate) fn ended() -> Result<impl Future<Output = ()>, Error> {
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// From here on a signal of this kind no longer ends the process by itself.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Step {
        what: "listen for signals",
        reason: error.to_string(),
        next: "run it again; see the system's limits if it persists".to_owned(),
    })
}

/// A host that did not start, with every cause.
pub(crate) fn failed(error: &bulkhead_server::Error) -> Error {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        reason.push_str(&format!(": {source}"));
        cause = source.source();
    }
    let next = match error {
        bulkhead_server::Error::Listen { .. } => {
            "choose another address with `--listen`, or end the program that uses it"
        }
        _ => "`bulkhead config check` shows all problems of the configuration",
    };
    Error::Step { what: "run the host", reason, next: next.to_owned() }
}
