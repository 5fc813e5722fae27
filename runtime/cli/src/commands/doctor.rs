//! `bulkhead doctor`: what is wrong with a host, or here with the key files of a configuration.
//! What is looked for is the host's to say.

use std::path::PathBuf;

use bulkhead_host::doctor::{Finding, sorted};
use bulkhead_server::doctor::key_files;
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::config::Source;
use crate::error::Error;
use crate::view;

const EXAMPLES: &str = "\
Examples:
  bulkhead doctor                                       the host at --server
  bulkhead doctor --config /etc/bulkhead/bulkhead.toml  its configuration and key files, on this machine

Exit codes: 0 nothing is an error, 1 something is.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Look at this configuration and the files that it names, and ask no host
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Doctor {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let body = match &self.config {
            Some(file) => {
                let source = Source { config: Some(file.clone()), data_dir: None };
                let config = source.load(None)?;
                list(&sorted(key_files(&config)))
            }
            None => context.client()?.get("/api/v1/doctor", &[]).await?.body,
        };
        context.output.result(&body, &text(&body));
        match errors(&body) {
            0 => Ok(()),
            errors => Err(Error::Unhealthy { errors }),
        }
    }
}

/// The body that a host answers with.
fn list(findings: &[Finding]) -> Value {
    let items = findings.iter().map(|finding| {
        let check = finding.check;
        json!({
            "code": check.code(), "severity": check.severity().as_str(), "what": finding.what, "next": check.next()
        })
    });
    json!({ "items": items.collect::<Vec<_>>(), "next_cursor": null })
}

fn items(body: &Value) -> impl Iterator<Item = &Value> {
    body.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn errors(body: &Value) -> usize {
    items(body).filter(|item| view::field(item, "/severity") == "error").count()
}

fn text(body: &Value) -> String {
    let lines: Vec<String> = items(body)
        .map(|item| {
            let field = |pointer| view::field(item, pointer);
            format!("{:7} {}: {}\n        {}", field("/severity"), field("/code"), field("/what"), field("/next"))
        })
        .collect();
    if lines.is_empty() { "nothing was found".to_owned() } else { lines.join("\n") }
}
