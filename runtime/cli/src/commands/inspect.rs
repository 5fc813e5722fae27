//! `bulkhead inspect FILE`: what an artifact is, imports, holds and weighs, read from its bytes.
//! It verifies no signature: what a bundle claims is shown as a claim.

use std::path::PathBuf;

use bulkhead_trust::{Artifact, Bundle, Files, StructuralLimits, artifact, imports};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::error::Error;
use crate::release::Release;
use crate::view;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead inspect crm-1.2.0.wasm\n  bulkhead inspect crm-1.2.0.wasm --json | jq .imports"
)]
pub(crate) struct Inspect {
    /// Packed artifact
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Inspect {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let release = Release::read(&self.file)?;
        let artifact = artifact::read(&release.bytes, &StructuralLimits::MAX)
            .map_err(|refusals| Error::Refused { subject: self.file.display().to_string(), refusals })?;
        let body = describe(&artifact, &release);
        context.output.result(&body, &text(&body));
        Ok(())
    }
}

fn describe(artifact: &Artifact, release: &Release) -> Value {
    let is_inert = |name: &&str| matches!(imports::classify(name), Ok(None));
    let (inert, mediated): (Vec<&str>, Vec<&str>) = artifact.imports.names().partition(is_inert);
    let views = &artifact.manifest.views;
    let manifest: Value = serde_json::from_slice(&artifact.manifest_json).unwrap_or_default();
    let found = artifact.structure.entries();
    let limits = StructuralLimits::DEFAULT.entries();
    let structure: Vec<Value> = found
        .iter()
        .zip(limits)
        .map(|((name, value), (_, limit))| json!({ "name": name, "value": value, "limit": limit }))
        .collect();
    json!({
        "plugin": artifact.manifest.plugin.id.as_str(),
        "version": artifact.manifest.plugin.version.to_string(),
        "digest": artifact.digest.to_string(),
        "size": artifact.size_bytes,
        "imports_digest": artifact.imports_digest.to_string(),
        "imports": { "mediated": mediated, "inert": inert },
        "views": {
            "provides": views.provides.iter().map(|it| format!("{} version {}", it.name, it.version)).collect::<Vec<_>>(),
            "uses": views.uses.iter().map(|it| format!("{} {} version {}", it.plugin, it.view, it.version)).collect::<Vec<_>>(),
        },
        "exports": artifact.exports.names().collect::<Vec<_>>(),
        "sections": {
            "manifest": artifact.manifest_json.len(),
            "migrations": files(&artifact.migrations),
            "assets": files(&artifact.assets),
            "sbom": artifact.sbom.len(),
        },
        "structure": structure,
        "bundles": release.bundles.iter().map(|bundle| {
            claims(&bundle.path.file_name().unwrap_or_default().to_string_lossy(), &bundle.bytes)
        }).collect::<Vec<_>>(),
        "manifest": manifest,
    })
}

fn files(files: &Files) -> Vec<Value> {
    files
        .iter()
        .map(|(path, file)| json!({ "path": path, "media_type": file.media_type, "size": file.bytes.len() }))
        .collect()
}

/// What a bundle says of itself.
fn claims(name: &str, bytes: &[u8]) -> Value {
    let read = Bundle::parse(bytes).and_then(|bundle| Ok((bundle.hint().to_owned(), bundle.claims()?)));
    match read {
        Ok((hint, statement)) => json!({
            "file": name,
            "claims": format!("{}@{}", statement.plugin, statement.version),
            "role": statement.role().as_str(),
            "digest": statement.digest.to_string(),
            "not_after": statement.not_after.to_string(),
            "hint": hint,
        }),
        Err(refusal) => {
            json!({ "file": name, "claims": refusal.detail, "role": refusal.code.as_str() })
        }
    }
}

fn text(body: &Value) -> String {
    let mut parts = vec![view::object(
        body,
        &[
            ("plugin", "/plugin"),
            ("version", "/version"),
            ("name", "/manifest/plugin/name"),
            ("license", "/manifest/plugin/license"),
            ("contract", "/manifest/plugin/contract"),
            ("digest", "/digest"),
            ("bytes", "/size"),
        ],
    )];
    for (heading, pointer) in [
        ("imports that the host mediates", "/imports/mediated"),
        ("imports without authority", "/imports/inert"),
        ("exports", "/exports"),
    ] {
        parts.push(lines(heading, body.pointer(pointer)));
    }
    for (heading, pointer) in
        [("views for other plugins", "/views/provides"), ("views of other plugins", "/views/uses")]
    {
        let views = body.pointer(pointer);
        if views.and_then(Value::as_array).is_some_and(|views| !views.is_empty()) {
            parts.push(lines(heading, views));
        }
    }
    let columns = [("path", "/path"), ("media type", "/media_type"), ("bytes", "/size")];
    for section in ["migrations", "assets"] {
        let files = body.pointer(&format!("/sections/{section}")).cloned().unwrap_or_default();
        parts.push(format!("{section}\n{}", indented(&view::list(&files, columns, "none"))));
    }
    let structure = body.pointer("/structure").cloned().unwrap_or_default();
    let columns = [("structure", "/name"), ("is", "/value"), ("default limit", "/limit")];
    parts.push(view::list(&structure, columns, ""));
    let bundles = body.pointer("/bundles").cloned().unwrap_or_default();
    let columns =
        [("bundle", "/file"), ("claims (not verified)", "/claims"), ("role", "/role"), ("counts until", "/not_after")];
    parts.push(view::list(&bundles, columns, "no signature bundles beside the file"));
    parts.join("\n\n")
}

fn lines(heading: &str, names: Option<&Value>) -> String {
    let names: Vec<&str> = names.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join("\n") };
    format!("{heading}\n{}", indented(&names))
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
