//! `bulkhead pack`: component, manifest, migrations and assets become one artifact.
//! The same inputs give the same bytes. It compiles and signs nothing.

use std::path::{Path, PathBuf};

use bulkhead_model::Digest;
use bulkhead_trust::{StructuralLimits, artifact, lint};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::error::Error;
use crate::file::{self, ARTIFACT_BYTES_MAX, DOCUMENT_BYTES_MAX, Existing, PUBLIC};
use crate::project::{Contents, Project};
use crate::{sql, view};

const EXAMPLES: &str = "\
Packing is the last step before signing: whatever changes the file afterwards, such as `wasm-tools strip`, \
breaks every signature.

Examples:
  bulkhead pack
  bulkhead pack --manifest crm/plugin.toml --out crm.wasm";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pack {
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What to pack and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Manifest of the project
    #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
    pub(crate) manifest: PathBuf,
    /// Artifact to write [default: NAME-VERSION.wasm beside the manifest]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Bill of materials to put in, `CycloneDX` JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) sbom: Option<PathBuf>,
}

impl Pack {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let project = Project::read(&self.options.manifest)?;
        self.options.pack(context, &project)
    }
}

impl Options {
    /// Packs the project and tells where the artifact lies.
    pub(crate) fn pack(&self, context: &Context, project: &Project) -> Result<(), Error> {
        let Packed { bytes, warnings, sql } =
            pack(project, &read_component(&project.component_path()?)?, self.sbom.as_deref())?;
        for warning in warnings.into_iter().chain(sql.iter().map(ToString::to_string)) {
            context.output.note(&format!("warning: {warning}"));
        }
        let path = self.out.clone().unwrap_or_else(|| project.folder().join(project.artifact_name()));
        file::write(&path, &bytes, PUBLIC, Existing::Replace)?;
        let path = path.strip_prefix("./").unwrap_or(&path);
        let body = described(project, path, &bytes);
        let fields = [("artifact", "/artifact"), ("digest", "/digest"), ("bytes", "/size")];
        context.output.result(&body, &view::object(&body, &fields));
        context.output.note(&format!("next: bulkhead sign {} --key KEY.pem", path.display()));
        Ok(())
    }
}

/// An artifact, and what its author should look at.
pub(crate) struct Packed {
    /// The artifact.
    pub(crate) bytes: Vec<u8>,
    /// Each names a file or a field.
    pub(crate) warnings: Vec<String>,
    /// What migrations lock, destroy, or do on one engine alone.
    pub(crate) sql: Vec<sql::Warning>,
}

/// The artifact of a project and its compiled component.
pub(crate) fn pack(project: &Project, component: &[u8], sbom: Option<&Path>) -> Result<Packed, Error> {
    let contents = project.contents()?;
    let sbom = sbom.map(|path| file::read(path, DOCUMENT_BYTES_MAX)).transpose()?;
    let refused = |refusals| Error::Refused { subject: project.manifest_path.display().to_string(), refusals };
    let (manifest, Contents { migrations, assets }) = (&project.manifest, &contents);
    // A policy rule may allow more than the default limits: what is above them is worth a warning, no more.
    let limits = StructuralLimits::MAX;
    let bytes =
        bulkhead_trust::pack(component, manifest, migrations, assets, sbom.as_deref(), &limits).map_err(refused)?;
    let structure = artifact::read(&bytes, &limits).map_err(refused)?.structure;
    let findings = lint::lint(component, manifest, migrations, assets, sbom.as_deref());
    let mut warnings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let large = structure.check(&StructuralLimits::DEFAULT);
    warnings.extend(
        large.into_iter().map(|refusal| format!("{}: only a policy rule with this limit lets it in", refusal.detail)),
    );
    Ok(Packed { bytes, warnings, sql: check_sql(project, &contents)? })
}

/// What migrations lock or destroy, and what they or views do on one engine alone; an error for what no host would run.
pub(crate) fn check_sql(project: &Project, contents: &Contents) -> Result<Vec<sql::Warning>, Error> {
    sql::check(&project.manifest, &contents.migrations, &contents.assets).map_err(|issues| Error::Invalid {
        path: project.manifest_path.clone(),
        issues,
        next: "write what the guide for plugin authors, under \"SQL\", says to write instead",
    })
}

/// The compiled component, with advice where there is none.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, Error> {
    let unusable = |reason: &str, next: &str| Error::Unusable {
        path: path.to_owned(),
        wanted: "a component",
        reason: reason.to_owned(),
        next: next.to_owned(),
    };
    if !path.exists() {
        return Err(unusable("it is not there", "compile it with `bulkhead build`, or correct `[component]` `path`"));
    }
    let bytes = file::read(path, ARTIFACT_BYTES_MAX)?;
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(bytes),
        Some([0, b'a', b's', b'm', ..]) => {
            Err(unusable("it is a core module", "compile for `wasm32-wasip2`, as `bulkhead build` does"))
        }
        Some(_) | None => Err(unusable("it does not begin as WebAssembly does", "name the compiled file")),
    }
}

fn described(project: &Project, path: &Path, bytes: &[u8]) -> Value {
    json!({
        "artifact": path.display().to_string(),
        "plugin": project.manifest.plugin.id.as_str(),
        "version": project.manifest.plugin.version.to_string(),
        "digest": Digest::of(bytes).to_string(),
        "size": bytes.len(),
    })
}
