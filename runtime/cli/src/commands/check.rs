//! `bulkhead check`: every problem of a plugin project that can be found without running it.
//! It writes nothing; what it finds is what `pack`, `publish` and a host would refuse.

use std::path::PathBuf;

use bulkhead_model::Issue;
use bulkhead_trust::lint::{self, Severity};
use clap::Args;
use serde_json::json;

use super::Context;
use super::pack;
use crate::error::Error;
use crate::project::Project;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead check\n  bulkhead check --manifest crm/plugin.toml --json")]
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
        let warnings = match component {
            Some(path) => pack::pack(&project, &pack::read_component(&path)?, None)?.warnings,
            None => without_component(&project)?,
        };
        let body = json!({
            "plugin": plugin.id.as_str(),
            "version": plugin.version.to_string(),
            "component_checked": is_compiled,
            "warnings": warnings,
        });
        let verdict = if is_compiled {
            "manifest, files and component agree"
        } else {
            "manifest and files are good; the component is not compiled yet"
        };
        let mut text = format!("{} {}: {verdict}", plugin.id, plugin.version);
        for warning in &warnings {
            text.push_str(&format!("\n  warning: {warning}"));
        }
        context.output.result(&body, &text);
        Ok(())
    }
}

/// Manifest and files alone: before the first build they are still worth checking.
fn without_component(project: &Project) -> Result<Vec<String>, Error> {
    let contents = project.contents()?;
    let findings = lint::lint(&[], &project.manifest, &contents.migrations, &contents.assets, None);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    if errors.is_empty() {
        return Ok(warnings.iter().map(ToString::to_string).collect());
    }
    Err(Error::Invalid {
        path: project.manifest_path.clone(),
        issues: errors.into_iter().map(|finding| Issue::new(finding.place, finding.message)).collect(),
        next: "remove what does not belong into an artifact",
    })
}
