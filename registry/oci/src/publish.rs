//! What a namespace of plugins takes: releases and signature bundles. A release is the plain wasm artifact: its config, one
//! component. Its version is its tag, and what a version is never changes.
//! Whether bytes are an artifact or a bundle, the host says.

use bulkhead_database::registry::{NewVersion, ReleaseRow};
use bulkhead_model::{PluginId, Version};

use crate::access::Scope;
use crate::blobs::Blob;
use crate::checks::ArtifactFacts;
use crate::digest::{Algorithm, BlobDigest};
use crate::error::{Error, ErrorCode};
use crate::manifest::{Descriptor, Manifest, invalid};
use crate::manifests::Push;
use crate::media_type::{BUNDLE, IMAGE, WASM, WASM_CONFIG};
use crate::registry::Registry;

/// Largest signature bundle in bytes.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024;
/// Most signature bundles of an artifact.
const BUNDLES_MAX: usize = 16;

/// The artifact of a release.
struct Artifact {
    digest: BlobDigest,
    size_bytes: u64,
    version: String,
    facts: String,
}

impl Registry {
    pub(crate) async fn publish(&self, push: &Push<'_>) -> Result<(), Error> {
        let Some(plugin) = &push.repository.plugin else {
            unreachable!("a repository in a namespace of plugins is a plugin's: `Registry::repository` parsed it");
        };
        if push.manifest.is_bundle() {
            self.require(push, Scope::Sign)?;
            return self.publish_bundle(push, plugin).await;
        }
        self.require(push, Scope::Push)?;
        let layer = release_layer(push.manifest)?;
        let versions = push.tags.iter().map(|tag| version(tag.as_str())).collect::<Result<Vec<_>, _>>()?;
        self.check_sizes(push).await?;
        let artifact = self.artifact(push, layer, plugin).await?;
        if let Some(other) = versions.iter().find(|version| version.to_string() != artifact.version) {
            return Err(invalid(format!("the artifact is version {}, the tag says {other}", artifact.version)));
        }
        self.store_release(push, &artifact, !versions.is_empty()).await
    }

    /// Stores the manifest, and the version where a tag asks for it.
    async fn store_release(&self, push: &Push<'_>, artifact: &Artifact, is_tagged: bool) -> Result<(), Error> {
        let name = push.repository.name.as_str();
        let act = self.act(push.caller);
        let mut tx = self.db.begin().await?;
        let known = tx.find_version(name, &artifact.version).await?;
        if let Some(known) = &known
            && known.artifact_digest != artifact.digest.as_str()
        {
            return Err(immutable(known));
        }
        self.store(&mut tx, push).await?;
        // The same artifact under another manifest: clients write the time into it. The tag stays where it was, and a
        // version that was withdrawn stays so.
        if is_tagged && known.is_none() {
            let row = NewVersion {
                repository: name,
                version: &artifact.version,
                manifest_digest: push.digest.as_str(),
                artifact_digest: artifact.digest.as_str(),
                size_bytes: artifact.size_bytes,
                facts: &artifact.facts,
            };
            tx.insert_version(&row, &act).await?;
            tx.put_tag(name, &artifact.version, push.digest.as_str(), act.at).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Each descriptor must say the true size: clients size their buffers by it.
    async fn check_sizes(&self, push: &Push<'_>) -> Result<(), Error> {
        for descriptor in push.manifest.config.iter().chain(&push.manifest.layers) {
            let blob = self.blob_of(push, descriptor).await?;
            if blob.size_bytes != descriptor.size {
                let message = format!(
                    "the manifest says that `{}` has {} bytes, it has {}",
                    descriptor.digest, descriptor.size, blob.size_bytes
                );
                return Err(invalid(message));
            }
        }
        Ok(())
    }

    async fn blob_of(&self, push: &Push<'_>, descriptor: &Descriptor) -> Result<Blob, Error> {
        let digest: BlobDigest = descriptor.digest.parse()?;
        self.held_blob(push.repository, &digest).await.map_err(|error| match error.code() {
            Some(ErrorCode::BlobUnknown) => {
                let message = format!("`{}` holds no blob `{digest}`; push it first", push.repository.name);
                Error::refused(ErrorCode::ManifestBlobUnknown, message)
            }
            _ => error,
        })
    }

    /// The artifact behind a layer, admitted by the host.
    async fn artifact(&self, push: &Push<'_>, layer: &Descriptor, plugin: &PluginId) -> Result<Artifact, Error> {
        let digest: BlobDigest = layer.digest.parse()?;
        if digest.algorithm() != Algorithm::Sha256 {
            return Err(invalid("a component is named by its sha256: that is the identity of a release"));
        }
        let blob = self.blob_of(push, layer).await?;
        let known = self.db.list_versions(push.repository.name.as_str()).await?;
        if let Some(row) = known.into_iter().find(|row| row.artifact_digest == digest.as_str()) {
            return Ok(Artifact { digest, size_bytes: row.size_bytes, version: row.version, facts: row.facts });
        }
        let facts = self.check_artifact(&blob).await?;
        if facts.plugin != *plugin {
            return Err(invalid(format!("the artifact is of `{}`, the repository of `{plugin}`", facts.plugin)));
        }
        let version = facts.version.to_string();
        Ok(Artifact { digest, size_bytes: blob.size_bytes, version, facts: facts.facts })
    }

    /// Few at once: each is in memory as a whole, and its check computes.
    async fn check_artifact(&self, blob: &Blob) -> Result<ArtifactFacts, Error> {
        let Ok(_permit) = self.checking.acquire().await else {
            unreachable!("the semaphore is never closed");
        };
        let bytes = blob.reader(None).rest().await?;
        let check = self.config.checks.artifact;
        let checked = tokio::task::spawn_blocking(move || check(&bytes)).await.map_err(Error::Check)?;
        checked.map_err(invalid)
    }

    async fn publish_bundle(&self, push: &Push<'_>, plugin: &PluginId) -> Result<(), Error> {
        if !push.tags.is_empty() {
            return Err(invalid(
                "a signature bundle has no tag; push it by its digest, with the release as its subject",
            ));
        }
        let [layer] = push.manifest.layers.as_slice() else {
            return Err(invalid(format!("a signature has one layer, `{BUNDLE}`")));
        };
        if layer.media_type != BUNDLE || push.manifest.subject.is_none() {
            return Err(invalid(format!("a signature has one layer, `{BUNDLE}`, and a subject")));
        }
        self.check_sizes(push).await?;
        let blob = self.blob_of(push, layer).await?;
        if blob.size_bytes > BUNDLE_BYTES_MAX {
            return Err(invalid(format!("a signature bundle is at most {BUNDLE_BYTES_MAX} bytes long")));
        }
        let facts = (self.config.checks.bundle)(&blob.reader(None).rest().await?).map_err(invalid)?;
        if facts.plugin != *plugin {
            return Err(invalid(format!("the bundle speaks for `{}`, the repository is of `{plugin}`", facts.plugin)));
        }
        let (name, artifact) = (push.repository.name.as_str(), facts.digest.to_string());
        let mut tx = self.db.begin().await?;
        let known = tx.list_registry_bundles(name, &artifact).await?;
        if known.len() >= BUNDLES_MAX && !known.contains(&layer.digest) {
            let message = format!("an artifact has at most {BUNDLES_MAX} signature bundles");
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        self.store(&mut tx, push).await?;
        tx.put_bundle(name, &artifact, &layer.digest, &self.act(push.caller)).await?;
        Ok(tx.commit().await?)
    }
}

/// The component of a manifest that is the plain wasm artifact.
fn release_layer(manifest: &Manifest) -> Result<&Descriptor, Error> {
    let is_wasm = manifest.config.as_ref().is_some_and(|config| config.media_type == WASM_CONFIG);
    match manifest.layers.as_slice() {
        [layer]
            if manifest.media_type == IMAGE && is_wasm && layer.media_type == WASM && manifest.subject.is_none() =>
        {
            Ok(layer)
        }
        _ => Err(invalid(format!(
            "a repository of a plugin takes image manifests with the config `{WASM_CONFIG}` and one layer `{WASM}`, and \
             signatures of the artifact type `{BUNDLE}`"
        ))),
    }
}

fn version(tag: &str) -> Result<Version, Error> {
    let parsed: Option<Version> = tag.parse().ok();
    // One spelling of each version.
    parsed.filter(|version: &Version| version.to_string() == tag).ok_or_else(|| {
        invalid(format!("`{tag}` is no version: a tag of a plugin is a semantic version without build metadata"))
    })
}

fn immutable(known: &ReleaseRow) -> Error {
    let message = format!(
        "version {} is released as `{}`: versions are immutable, publish a higher one",
        known.version, known.artifact_digest
    );
    Error::refused(ErrorCode::Denied, message)
}
