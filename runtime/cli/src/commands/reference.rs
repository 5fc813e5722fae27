//! `bulkhead reference` (hidden): the generated part of `docs/reference/`, from the one table or tree of
//! each thing. It writes nothing by hand, so a document can be compared with the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bulkhead_host::sql::{Engines, FUNCTIONS};
use bulkhead_model::Manifest;
use clap::{Arg, ArgAction, Args, Command, CommandFactory};
use serde_json::Value;

use super::Context;
use crate::args::Cli;
use crate::error::{Error, count};
use crate::file::{self, Existing, PUBLIC};

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Reference {
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder to compare: fails when a document is not what would be written
    #[arg(long, value_name = "DIR")]
    check: Option<PathBuf>,
}

impl Reference {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let documents = documents();
        if let Some(folder) = &self.out {
            file::create_folder(folder)?;
            for (name, text) in &documents {
                file::write(&folder.join(name), text.as_bytes(), PUBLIC, Existing::Replace)?;
            }
            context.output.note(&format!("wrote {} to `{}`", count(documents.len(), "document"), folder.display()));
        }
        if let Some(folder) = &self.check {
            for (name, text) in &documents {
                check(folder, name, text)?;
            }
            context.output.note(&format!("{} are fresh", count(documents.len(), "document")));
        }
        Ok(())
    }
}

fn check(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = folder.join(name);
    if file::read_text(&path)? == text {
        return Ok(());
    }
    Err(Error::Unusable {
        path,
        wanted: "fresh",
        reason: "the program says otherwise".to_owned(),
        next: format!("run `bulkhead reference --out {}` and look at the difference", folder.display()),
    })
}

/// Every document: its name in the folder, and its text.
fn documents() -> Vec<(&'static str, String)> {
    vec![
        ("cli.md", commands()),
        ("errors.md", bulkhead_server::problems_reference()),
        ("manifest.schema.json", format!("{:#}\n", Manifest::json_schema())),
        ("configuration.md", configuration()),
        ("sql.md", functions()),
        ("openapi.json", format!("{:#}\n", bulkhead_server::openapi(None))),
    ]
}

/// The functions that plugins' SQL may call, from the guard's table.
fn functions() -> String {
    let mut text = "# SQL functions\n\n\
        What a plugin's SQL may call; every other function is refused. \"Unlike\" is there on both engines with answers that \
        differ in type or form: `bulkhead check` says how. What else SQL may say is in \
        [the guide](../guides/plugin-author.md#sql).\n\n| function | SQLite | PostgreSQL |\n|---|---|---|\n"
        .to_owned();
    for function in FUNCTIONS {
        let (sqlite, postgres) = match function.engines {
            Engines::Both => ("yes", "yes"),
            Engines::Unlike => ("unlike", "unlike"),
            Engines::Sqlite => ("yes", ""),
            Engines::Postgres => ("", "yes"),
        };
        put(&mut text, &format!("| `{}` | {sqlite} | {postgres} |\n", function.name));
    }
    text
}

/// The configuration's keys, from its JSON Schema.
fn configuration() -> String {
    let schema = bulkhead_server::Config::json_schema();
    let mut text = "# Configuration\n\n\
        `bulkhead.toml`, then variables such as `BULKHEAD__SERVER__LISTEN`, then flags. Unknown keys keep a host from \
        starting. `bulkhead config show` prints what is in force.\n"
        .to_owned();
    for (section, below) in properties(&schema) {
        put(
            &mut text,
            &format!("\n## `[{section}]`\n\n{}\n\n| key | meaning | default |\n|---|---|---|\n", said_by(below)),
        );
        for (name, key) in properties(resolved(&schema, below)) {
            let default = key.get("default").filter(|value| value.as_str() != Some(""));
            let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
            put(&mut text, &format!("| `{name}` | {} | {} |\n", cell(&said_by(key)), cell(&default)));
        }
    }
    text
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// What `$ref` points at, where there is one.
fn resolved<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    pointer.and_then(|pointer| schema.pointer(pointer)).unwrap_or(value)
}

fn said_by(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn commands() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = "# Command line\n\n".to_owned();
    put(&mut text, &format!("{}\n", said(root.get_long_about().or_else(|| root.get_about()))));
    put(&mut text, &format!("\n```text\n{}\n```\n", said(root.get_after_help())));
    put(&mut text, "\n## Options of every command\n");
    options(&mut text, root.get_arguments().filter(|arg| is_shown(arg) && arg.is_global_set()));
    for command in root.get_subcommands() {
        describe(&mut text, command, "bulkhead", 2);
    }
    text
}

fn describe(text: &mut String, command: &Command, above: &str, depth: usize) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    put(text, &format!("\n{} `{name}`\n\n{}.\n", "#".repeat(depth), said(command.get_about())));
    if command.get_subcommands().next().is_none() {
        let usage = command.clone().render_usage().to_string();
        put(text, &format!("\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ")));
        options(text, command.get_arguments().filter(|arg| is_shown(arg) && !arg.is_global_set()));
    }
    if let Some(examples) = command.get_after_help() {
        put(text, &format!("\n```text\n{examples}\n```\n"));
    }
    for inner in command.get_subcommands() {
        describe(text, inner, &name, depth + 1);
    }
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

fn options<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<String> = arguments.map(row).collect();
    if !rows.is_empty() {
        put(text, &format!("\n| argument | meaning |\n|---|---|\n{}", rows.concat()));
    }
}

fn row(arg: &Arg) -> String {
    let values: Vec<&str> = arg.get_value_names().into_iter().flatten().map(|name| name.as_str()).collect();
    let value = if takes_value(arg) { values.join(" ") } else { String::new() };
    let name = match arg.get_long() {
        Some(long) if value.is_empty() => format!("--{long}"),
        Some(long) => format!("--{long} {value}"),
        None => value,
    };
    let mut meaning = said(arg.get_help());
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.concat().is_empty() && takes_value(arg) {
        put(&mut meaning, &format!(" (default `{}`)", defaults.join(" ")));
    }
    if let Some(variable) = arg.get_env() {
        put(&mut meaning, &format!(" (or `{}`)", variable.to_string_lossy()));
    }
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|choice| !choice.is_hide_set())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if !choices.is_empty() && takes_value(arg) {
        put(&mut meaning, &format!(": {}", choices.join(", ")));
    }
    format!("| `{}` | {} |\n", cell(&name), cell(&meaning))
}

/// Whether it is more than a switch.
fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn said(text: Option<&impl ToString>) -> String {
    text.map(ToString::to_string).unwrap_or_default().trim_end().to_owned()
}

/// Text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn put(text: &mut String, more: &str) {
    // Writing to a string cannot fail.
    write!(text, "{more}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use bulkhead_model::Code;

    use super::*;

    #[test]
    fn every_visible_command_and_every_code_is_in_the_reference() {
        let (cli, errors) = (commands(), bulkhead_server::problems_reference());

        for name in
            ["bulkhead init", "bulkhead plugin install", "bulkhead tenant-plugin config", "bulkhead key generate"]
        {
            assert!(cli.contains(&format!("`{name}`")), "{name}");
        }
        assert!(!cli.contains("compile-worker"));
        assert!(functions().contains("\n| `hex` | yes |  |\n"));
        for code in Code::ALL {
            assert!(errors.contains(&format!("## {code}\n")), "{code}");
        }
    }

    #[test]
    fn a_document_that_was_changed_by_hand_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in documents() {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let all = |folder: &Path| documents().iter().try_for_each(|(name, text)| check(folder, name, text));

        assert!(all(folder.path()).is_ok());
        std::fs::write(folder.path().join("errors.md"), "# Errors").unwrap();
        assert!(all(folder.path()).is_err());
    }
}
