//! `bulkhead check`: every problem of a plugin project that can be found without running it.
//! It writes nothing; what it finds is what `pack`, `publish` and a host would refuse.

use std::path::PathBuf;

use bulkhead_model::Issue;
use bulkhead_trust::lint::{self, Severity};
use bulkhead_trust::migrations;
use clap::Args;
use serde_json::json;

use super::Context;
use super::pack;
use crate::error::Error;
use crate::project::Project;
use crate::sql;

const ABOUT: &str = "\
Reads the manifest, the files that it names, the component if it is compiled, and every migration and view as a host reads \
it: a statement that a host refuses is an error. Warnings leave the exit code 0: what a migration locks, rewrites or destroys, \
and what works on one of the two databases alone.

Examples:
  bulkhead check
  bulkhead check --manifest crm/plugin.toml --json";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Check {
    /// Manifest of the project
    #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
    manifest: PathBuf,
}

impl Check {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let project = Project::read(&self.manifest)?;
        let plugin = &project.manifest.plugin;
        let component = project.component_path().ok().filter(|path| path.exists());
        let is_compiled = component.is_some();
        let (warnings, sql) = match component {
            Some(path) => {
                let packed = pack::pack(&project, &pack::read_component(&path)?, None)?;
                (packed.warnings, packed.sql)
            }
            None => without_component(&project)?,
        };
        let body = json!({
            "plugin": plugin.id.as_str(),
            "version": plugin.version.to_string(),
            "component_checked": is_compiled,
            "warnings": warnings,
            "sql": sql.iter().map(sql::Warning::json).collect::<Vec<_>>(),
        });
        let verdict = if is_compiled {
            "manifest, files and component agree"
        } else {
            "manifest and files are good; the component is not compiled yet"
        };
        let mut text = format!("{} {}: {verdict}", plugin.id, plugin.version);
        for warning in warnings.into_iter().chain(sql.iter().map(ToString::to_string)) {
            text.push_str(&format!("\n  warning: {warning}"));
        }
        context.output.result(&body, &text);
        Ok(())
    }
}

/// Manifest and files alone: before the first build they are still worth checking.
fn without_component(project: &Project) -> Result<(Vec<String>, Vec<sql::Warning>), Error> {
    let contents = project.contents()?;
    migrations::read(&contents.migrations)
        .map_err(|refusals| Error::Refused { subject: project.manifest_path.display().to_string(), refusals })?;
    let findings = lint::lint(&[], &project.manifest, &contents.migrations, &contents.assets, None);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    if errors.is_empty() {
        let warnings = warnings.iter().map(ToString::to_string).collect();
        return Ok((warnings, pack::check_sql(project, &contents)?));
    }
    Err(Error::Invalid {
        path: project.manifest_path.clone(),
        issues: errors.into_iter().map(|finding| Issue::new(finding.place, finding.message)).collect(),
        next: "remove what does not belong into an artifact",
    })
}
