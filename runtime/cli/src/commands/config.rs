//! `bulkhead config ...`: what a host would start with here.
//! Values are judged where they are used, in `bulkhead_server`.

use std::path::PathBuf;

use bulkhead_model::Issue;
use bulkhead_server::Overrides;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::error::Error;
use crate::view;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every value in force: file, environment and defaults together
    Show(Source),
    /// Find every problem of the configuration
    Check(Source),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Configuration file [default: bulkhead.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Source {
    /// The configuration, or every problem of it.
    pub(crate) fn load(&self, listen: Option<&str>) -> Result<bulkhead_server::Config, Error> {
        let overrides =
            Overrides { listen: listen.map(str::to_owned), data_dir: self.data_dir.clone(), ..Overrides::default() };
        bulkhead_server::Config::load(self.config.as_deref(), &overrides).map_err(|problems| Error::Invalid {
            path: self.config.clone().unwrap_or_else(|| PathBuf::from(bulkhead_server::config::FILE_NAME)),
            issues: problems
                .iter()
                .map(|problem| Issue::new(problem.key.clone(), format!("{}; {}", problem.problem, problem.action)))
                .collect(),
            next: "correct each key, in the file, its variable or its flag",
        })
    }
}

impl Config {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Show(source) => {
                let body = source.load(None)?.to_display_json();
                let mut lines = Vec::new();
                flatten(&body, "", &mut lines);
                context.output.result(&body, &view::table(["key", "value"], lines));
            }
            Self::Check(source) => {
                let config = source.load(None)?;
                let text = format!(
                    "the configuration is good: {} mode on {}",
                    config.server.mode.as_str(),
                    config.server.listen
                );
                context.output.result(&json!({ "valid": true }), &text);
            }
        }
        Ok(())
    }
}

/// Each value with its key, written with dots.
fn flatten(value: &Value, key: &str, lines: &mut Vec<[String; 2]>) {
    let below = |name: &str| {
        if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(value, &below(name), lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &below(&index.to_string()), lines);
            }
        }
        other => lines.push([key.to_owned(), other.to_string()]),
    }
}
