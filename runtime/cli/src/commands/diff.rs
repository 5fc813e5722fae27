//! `bulkhead diff OLD NEW`: what a newer release may do beyond an older one, from files or from a host.
//! What a difference means is decided in `bulkhead_trust`.

use std::path::Path;

use bulkhead_trust::{Capabilities, CapabilityDiff, StructuralLimits};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::plugin::release_named;
use crate::error::Error;
use crate::file::{self, ARTIFACT_BYTES_MAX};
use crate::view;

const EXAMPLES: &str = "\
Examples:
  bulkhead diff crm-1.2.0.wasm crm-1.3.0.wasm
  bulkhead diff acme.crm@1.2.0 acme.crm@1.3.0 --json | jq .widens";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The older artifact, or a registered release such as `acme.crm@1.2.0`
    #[arg(value_name = "OLD")]
    older: String,
    /// The newer one, of the same kind
    #[arg(value_name = "NEW")]
    newer: String,
}

impl Diff {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let body = match (release_named(&self.older)?, release_named(&self.newer)?) {
            (None, None) => body_of(&of_files(Path::new(&self.older), Path::new(&self.newer))?),
            (Some((id, older)), Some((same, newer))) if id == same => {
                let path = format!("/api/v1/plugins/{id}/versions/{newer}/capabilities");
                context.client()?.get(&path, &[("against", &older.to_string())]).await?.body
            }
            _ => {
                return Err(Error::Usage {
                    what: "both are files, or both are releases of one plugin on a host".to_owned(),
                    next: "for example `bulkhead diff acme.crm@1.2.0 acme.crm@1.3.0`".to_owned(),
                });
            }
        };
        context.output.result(&body, &text(&body));
        Ok(())
    }
}

/// The difference between two artifacts on disk.
pub(crate) fn of_files(older: &Path, newer: &Path) -> Result<CapabilityDiff, Error> {
    Ok(capabilities(older)?.diff(&capabilities(newer)?))
}

fn capabilities(path: &Path) -> Result<Capabilities, Error> {
    let bytes = file::read(path, ARTIFACT_BYTES_MAX)?;
    Capabilities::of(&bytes, &StructuralLimits::MAX)
        .map_err(|refusals| Error::Refused { subject: path.display().to_string(), refusals })
}

/// The shape that a host answers with, without the capabilities themselves.
fn body_of(diff: &CapabilityDiff) -> Value {
    let wire: Value = serde_json::from_slice(&diff.to_json()).unwrap_or_default();
    json!({
        "plugin_id": diff.to.plugin.as_str(),
        "version": diff.to.version.to_string(),
        "digest": diff.to.digest.to_string(),
        "against": { "version": diff.from.version.to_string(), "digest": diff.from.digest.to_string() },
        "widens": diff.widens(),
        "diff_digest": diff.digest().to_string(),
        "differences": wire.get("differences").cloned().unwrap_or_default(),
    })
}

fn text(body: &Value) -> String {
    let verdict = match body.get("widens").and_then(Value::as_bool) {
        Some(true) => "may do more than before",
        Some(false) | None => "may do no more than before",
    };
    let head = format!(
        "{} {} -> {}: {verdict}\ndigest {}",
        view::field(body, "/plugin_id"),
        view::field(body, "/against/version"),
        view::field(body, "/version"),
        view::field(body, "/diff_digest"),
    );
    let columns = [
        ("direction", "/direction"),
        ("more authority", "/widens"),
        ("area", "/area"),
        ("name", "/name"),
        ("before", "/before"),
        ("after", "/after"),
    ];
    let differences = body.get("differences").cloned().unwrap_or_default();
    format!("{head}\n{}", view::list(&differences, columns, "no difference"))
}
