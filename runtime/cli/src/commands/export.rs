//! `bulkhead registry export ...`: releases with their signatures in one file, an OCI image layout in a tar, for a host
//! without a network. It is read by `bulkhead plugin install`, `oras` and `skopeo`.

use std::path::{Path, PathBuf};

use bulkhead_model::{PluginId, Version};
use bulkhead_oci::BlobDigest;
use bulkhead_oci::layout::{ARCHIVE_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLES_MAX, RELEASES_MAX, Writer};
use bulkhead_oci::media_type::{BUNDLE, IMAGE, INDEX};
use bulkhead_oci::remote::{self, Named, Pulled, Unusable};
use clap::Args;
use serde_json::json;

use super::Context;
use super::plugin::release_named;
use super::publish::identity;
use crate::client::Client;
use crate::error::{Error, count};
use crate::file::{self, Existing, PUBLIC};
use crate::release::Release;

/// Largest document of the registry in bytes.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Largest artifact in bytes.
const ARTIFACT_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bulkhead registry export acme.crm@1.2.0 acme.billing@2.0.0 --out set.tar
  bulkhead registry export dist/crm-1.2.0.wasm --out crm.tar
  bulkhead plugin install set.tar")]
pub(crate) struct Export {
    /// Releases of the host's registry such as `acme.crm@1.2.0`, or artifacts with their bundles beside them
    #[arg(value_name = "FILE|ID@VERSION", required = true, num_args = 1..=RELEASES_MAX)]
    targets: Vec<String>,
    /// Archive to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Token of the registry, where its namespace is not public
    #[arg(long, value_name = "TOKEN", env = "BULKHEAD_REGISTRY_TOKEN", hide_env_values = true)]
    registry_token: Option<String>,
}

impl Export {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let mut writer = Writer::default();
        let mut releases = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let (plugin, version, artifact, bundles) = match release_named(target)? {
                Some((plugin, version)) => {
                    let client = match &self.registry_token {
                        Some(token) => context.client_as(token)?,
                        None => context.client()?,
                    };
                    let (artifact, bundles) = pull(&client, &plugin, &version).await?;
                    (plugin, version, artifact, bundles)
                }
                None => {
                    let release = Release::read(Path::new(target))?;
                    let (plugin, version) = identity(Path::new(target), &release)?;
                    let bundles = release.bundles.into_iter().map(|bundle| bundle.bytes).collect();
                    (plugin, version, release.bytes, bundles)
                }
            };
            writer.put(&plugin, &version, &artifact, &bundles);
            releases.push(json!({ "id": plugin.as_str(), "version": version.to_string(), "bundles": bundles.len() }));
        }
        let archive = writer.finish();
        if archive.len() > ARCHIVE_BYTES_MAX {
            return Err(Error::Usage {
                what: format!("the archive would have more than {ARCHIVE_BYTES_MAX} bytes"),
                next: "export fewer releases at a time".to_owned(),
            });
        }
        file::write(&self.out, &archive, PUBLIC, Existing::Keep("name another file"))?;
        let text = format!("wrote {} to `{}`", count(releases.len(), "release"), self.out.display());
        context.output.result(&json!({ "file": self.out.display().to_string(), "releases": releases }), &text);
        Ok(())
    }
}

/// The artifact and its bundles, each checked against its digest.
async fn pull(client: &Client, plugin: &PluginId, version: &Version) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
    let base = format!("/v2/{}/{}", plugin.namespace(), plugin.name());
    let broken = |error: Unusable| client.answer(error.to_string());
    let manifest = client.get_file(&format!("{base}/manifests/{version}"), IMAGE, DOCUMENT_BYTES_MAX).await?;
    let subject = BlobDigest::of(bulkhead_oci::Algorithm::Sha256, &manifest);
    let Pulled::Blob(layer) = remote::artifact(IMAGE, &manifest).map_err(broken)? else {
        return Err(client.answer("an index where a release was wanted".to_owned()));
    };
    let artifact = blob(client, &base, &layer, ARTIFACT_BYTES_MAX).await?;
    let path = format!("{base}/referrers/{subject}?artifactType={}", BUNDLE.replace('+', "%2B"));
    let index = client.get_file(&path, INDEX, DOCUMENT_BYTES_MAX).await?;
    let mut bundles = Vec::with_capacity(BUNDLES_MAX);
    for named in remote::bundle_manifests(&index).map_err(broken)? {
        let path = format!("{base}/manifests/{}", named.digest);
        let manifest = checked(client, &named.digest, client.get_file(&path, IMAGE, DOCUMENT_BYTES_MAX).await?)?;
        if let Some(layer) = remote::bundle(&manifest, &subject).map_err(broken)? {
            bundles.push(blob(client, &base, &layer, BUNDLE_BYTES_MAX).await?);
        }
    }
    Ok((artifact, bundles))
}

async fn blob(client: &Client, base: &str, named: &Named, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let path = format!("{base}/blobs/{}", named.digest);
    checked(client, &named.digest, client.get_file(&path, "*/*", bytes_max).await?)
}

fn checked(client: &Client, wanted: &BlobDigest, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if BlobDigest::of(wanted.algorithm(), &bytes) == *wanted {
        return Ok(bytes);
    }
    Err(client.answer(format!("what has another digest than `{wanted}`")))
}
