//! `bulkhead publish FILE`: sends an artifact and the bundles beside it to a host, which registers it.
//! It installs nothing; the host admits or refuses.

use std::path::{Path, PathBuf};

use bulkhead_model::{PluginId, Version};
use bulkhead_trust::{StructuralLimits, artifact};
use clap::Args;
use serde_json::Value;

use super::Context;
use crate::client::{Answer, Client};
use crate::error::{Error, count};
use crate::release::Release;
use crate::view;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bulkhead publish crm-1.2.0.wasm\n  bulkhead plugin install acme.crm@1.2.0")]
pub(crate) struct Publish {
    /// Signed artifact; its bundles are found beside it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Publish {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let release = Release::read(&self.file)?;
        let progress = context.output.progress(&format!(
            "publishing `{}` with {}",
            self.file.display(),
            count(release.bundles.len(), "signature")
        ));
        let answer = send(&client, release).await?;
        drop(progress);
        let is_new = answer.status == 201;
        let id = view::field(&answer.body, "/id");
        let text = if is_new {
            format!("{id} is registered")
        } else {
            format!("{id} was registered already with these bytes")
        };
        context.output.result(&answer.body, &text);
        context.output.note(&format!("next: bulkhead plugin install {}", self.file.display()));
        Ok(())
    }
}

/// Registers the artifact at `path`; the same bytes once more are no error. Answers what it is.
pub(crate) async fn register(client: &Client, path: &Path) -> Result<(PluginId, Version), Error> {
    let release = Release::read(path)?;
    let artifact = artifact::read(&release.bytes, &StructuralLimits::MAX)
        .map_err(|refusals| Error::Refused { subject: path.display().to_string(), refusals })?;
    send(client, release).await?;
    Ok((artifact.manifest.plugin.id, artifact.manifest.plugin.version))
}

async fn send(client: &Client, release: Release) -> Result<Answer, Error> {
    let bundles: Vec<Vec<u8>> = release.bundles.into_iter().map(|bundle| bundle.bytes).collect();
    let answer = client.post_artifact("/api/v1/plugins", release.bytes, bundles).await?;
    match answer.body.get("id").and_then(Value::as_str) {
        Some(_) => Ok(answer),
        None => Err(client.answer("a registered plugin without an `id`".to_owned())),
    }
}
