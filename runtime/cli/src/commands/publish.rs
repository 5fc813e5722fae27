//! `bulkhead publish FILE`: sends an artifact and the bundles beside it to a host, which registers it, and with a token of
//! the registry pushes it there. It installs nothing; the host admits or refuses.

use std::path::{Path, PathBuf};

use bulkhead_model::{Digest, PluginId, Version};
use bulkhead_trust::{StructuralLimits, artifact};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::client::{Answer, Client};
use crate::error::{Error, count};
use crate::push;
use crate::release::Release;
use crate::view;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bulkhead publish crm-1.2.0.wasm\n  bulkhead plugin install acme.crm@1.2.0")]
pub(crate) struct Publish {
    /// Signed artifact; its bundles are found beside it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Offer it in the host's registry as well, with this token of the registry
    #[arg(long, value_name = "TOKEN", env = "BULKHEAD_REGISTRY_TOKEN", hide_env_values = true)]
    registry_token: Option<String>,
    /// Do not register it with the host: offer it alone
    #[arg(long, requires = "registry_token")]
    registry_only: bool,
    /// Offer it although it takes away what others may use of an earlier version that it is compatible with by its number
    #[arg(long, requires = "registry_token")]
    allow_breaking: bool,
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
        let offered = match &self.registry_token {
            Some(token) => Some(self.offer(&context.client_as(token)?, &release).await?),
            None => None,
        };
        if let (Some(offered), true) = (&offered, self.registry_only) {
            drop(progress);
            context.output.result(offered, &told(offered));
            return Ok(());
        }
        let answer = send(&client, release).await?;
        drop(progress);
        let is_new = answer.status == 201;
        let id = view::field(&answer.body, "/id");
        let text = if is_new {
            format!("{id} is registered")
        } else {
            format!("{id} was registered already with these bytes")
        };
        let text = match &offered {
            Some(offered) => format!("{text}; {}", told(offered)),
            None => text,
        };
        context.output.result(&answer.body, &text);
        context.output.note(&format!("next: bulkhead plugin install {}", self.file.display()));
        Ok(())
    }

    /// Pushes to the registry; answers what is offered there.
    async fn offer(&self, client: &Client, release: &Release) -> Result<Value, Error> {
        let (plugin, version) = identity(&self.file, release)?;
        let bundles: Vec<Vec<u8>> = release.bundles.iter().map(|bundle| bundle.bytes.clone()).collect();
        let pushed = push::push(client, (&plugin, &version), &release.bytes, &bundles, self.allow_breaking).await?;
        let digest = Digest::of(&release.bytes);
        Ok(json!({
            "id": plugin.as_str(), "version": version.to_string(), "digest": digest.to_string(), "manifest": pushed.manifest,
            "waits": pushed.waits
        }))
    }
}

/// How a release stands in the registry.
fn told(offered: &Value) -> String {
    let id = view::field(offered, "/id");
    match offered.get("waits").and_then(Value::as_str) {
        None => format!("{id} is offered in the registry"),
        Some(waits) => format!("{id} is in the registry and waits there: {waits}"),
    }
}

/// What an artifact says that it is.
pub(crate) fn identity(path: &Path, release: &Release) -> Result<(PluginId, Version), Error> {
    let artifact = artifact::read(&release.bytes, &StructuralLimits::MAX)
        .map_err(|refusals| Error::Refused { subject: path.display().to_string(), refusals })?;
    Ok((artifact.manifest.plugin.id, artifact.manifest.plugin.version))
}

/// Registers the artifact at `path`; the same bytes once more are no error. Answers what it is.
pub(crate) async fn register(client: &Client, path: &Path) -> Result<(PluginId, Version), Error> {
    let release = Release::read(path)?;
    let identity = identity(path, &release)?;
    send(client, release).await?;
    Ok(identity)
}

/// Sends several artifacts with their bundles in one request.
pub(crate) async fn send_several(client: &Client, paths: &[PathBuf]) -> Result<Answer, Error> {
    let (mut artifacts, mut bundles) = (Vec::with_capacity(paths.len()), Vec::new());
    for path in paths {
        let release = Release::read(path)?;
        artifacts.push(release.bytes);
        bundles.extend(release.bundles.into_iter().map(|bundle| bundle.bytes));
    }
    client.post_artifacts("/api/v1/plugins", artifacts, bundles).await
}

async fn send(client: &Client, release: Release) -> Result<Answer, Error> {
    let bundles: Vec<Vec<u8>> = release.bundles.into_iter().map(|bundle| bundle.bytes).collect();
    let answer = client.post_artifact("/api/v1/plugins", release.bytes, bundles).await?;
    match answer.body.get("id").and_then(Value::as_str) {
        Some(_) => Ok(answer),
        None => Err(client.answer("a registered plugin without an `id`".to_owned())),
    }
}
