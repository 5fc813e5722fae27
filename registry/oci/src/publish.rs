//! What a namespace of plugins takes: releases and signature bundles. A release is the plain wasm artifact: its config, one
//! component. Its version is its tag, and what a version is never changes.
//! Whether bytes are an artifact or a bundle, the host says.

use bulkhead_database::Tx;
use bulkhead_database::registry::{NewVersion, ReleaseRow};
use bulkhead_model::{PluginId, Version};

use crate::access::Scope;
use crate::blobs::Blob;
use crate::checks::ArtifactFacts;
use crate::digest::{Algorithm, BlobDigest};
use crate::error::{Error, ErrorCode};
use crate::gate::{self, State, Submission, refuse, standing};
use crate::manifest::{ALLOW_BREAKING, Descriptor, Manifest, invalid};
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
    judged_by: String,
}

impl Registry {
    /// Answers what the one who pushed should know beside that it went well.
    pub(crate) async fn publish(&self, push: &Push<'_>) -> Result<Option<String>, Error> {
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

    /// Stores the manifest, and the version where a tag asks for it and the policy does not refuse it.
    async fn store_release(
        &self,
        push: &Push<'_>,
        artifact: &Artifact,
        is_tagged: bool,
    ) -> Result<Option<String>, Error> {
        let name = push.repository.name.as_str();
        let act = self.act(push.caller);
        let mut tx = self.db.begin().await?;
        // A signature that comes meanwhile waits, and then sees the version.
        tx.lock_repository(name).await?;
        let known = tx.find_version(name, &artifact.version).await?;
        if let Some(known) = &known
            && known.artifact_digest != artifact.digest.as_str()
        {
            return Err(immutable(known));
        }
        let mut told = None;
        let mut judgment = None;
        if is_tagged && known.is_none() {
            let bundles = bundles_of(&mut tx, name, artifact.digest.as_str()).await?;
            let bundles: Vec<Vec<u8>> = bundles.into_iter().map(|(_, bytes)| bytes).collect();
            judgment = Some(refuse(self.judge(&Submission {
                judged_by: &artifact.judged_by,
                artifact_digest: artifact.digest.as_str(),
                bundles: &bundles,
            }))?);
            if !push.manifest.allows_breaking() {
                self.check_breaking(&mut tx, name, artifact).await?;
            }
        }
        self.store(&mut tx, push, Some(artifact.digest.as_str())).await?;
        // The same artifact under another manifest: clients write the time into it. The tag stays where it was, and a
        // version that was withdrawn stays so.
        if let Some(judgment) = judgment {
            told = gate::warning(&artifact.version, &judgment);
            let row = NewVersion {
                repository: name,
                version: &artifact.version,
                manifest_digest: push.digest.as_str(),
                artifact_digest: artifact.digest.as_str(),
                size_bytes: artifact.size_bytes,
                facts: &artifact.facts,
                judged_by: &artifact.judged_by,
                state: judgment.state.as_str(),
                reasons: &gate::reasons_text(&judgment.reasons),
                is_released: judgment.state == State::Released,
            };
            tx.insert_version(&row, &act).await?;
            if judgment.state.has_tag() {
                tx.put_tag(name, &artifact.version, push.digest.as_str(), act.at).await?;
            }
        }
        tx.commit().await?;
        Ok(told)
    }

    /// Within one track of compatible versions, nothing that others may use goes away.
    async fn check_breaking(&self, tx: &mut Tx, name: &str, artifact: &Artifact) -> Result<(), Error> {
        let parse = |text: &str| semver::Version::parse(text).ok();
        let Some(version) = parse(&artifact.version).filter(|version| version.pre.is_empty()) else { return Ok(()) };
        let rows = tx.list_versions(name).await?;
        let offered = rows.iter().filter(|row| row.state == State::Released.as_str() && row.yanked_at.is_none());
        let earlier = offered.filter_map(|row| parse(&row.version)).filter(|earlier| is_track(earlier, &version)).max();
        let Some(earlier) = earlier else { return Ok(()) };
        let before = tx.find_judged_by(name, &earlier.to_string()).await?;
        if before.is_empty() {
            return Ok(());
        }
        let mut reasons = (self.config.checks.breaking)(&before, &artifact.judged_by);
        if reasons.is_empty() {
            return Ok(());
        }
        for reason in &mut reasons {
            reason.detail = format!(
                "{} is in {earlier} and not in {version}: publish it as a version that is not compatible with {earlier}, \
                 or annotate the manifest with `{ALLOW_BREAKING}=true`",
                reason.detail
            );
        }
        Err(Error::Barred { reasons })
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
            let judged_by = self.db.find_judged_by(&row.repository, &row.version).await?;
            return Ok(Artifact {
                digest,
                size_bytes: row.size_bytes,
                version: row.version,
                facts: row.facts,
                judged_by,
            });
        }
        let facts = self.check_artifact(&blob).await?;
        if facts.plugin != *plugin {
            return Err(invalid(format!("the artifact is of `{}`, the repository of `{plugin}`", facts.plugin)));
        }
        let version = facts.version.to_string();
        let ArtifactFacts { facts, judged_by, .. } = facts;
        Ok(Artifact { digest, size_bytes: blob.size_bytes, version, facts, judged_by })
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

    async fn publish_bundle(&self, push: &Push<'_>, plugin: &PluginId) -> Result<Option<String>, Error> {
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
        let bundle = blob.reader(None).rest().await?;
        let facts = (self.config.checks.bundle)(&bundle).map_err(invalid)?;
        if facts.plugin != *plugin {
            return Err(invalid(format!("the bundle speaks for `{}`, the repository is of `{plugin}`", facts.plugin)));
        }
        let (name, artifact) = (push.repository.name.as_str(), facts.digest.to_string());
        let mut tx = self.db.begin().await?;
        tx.lock_repository(name).await?;
        let known = tx.list_registry_bundles(name, &artifact).await?;
        if known.len() >= BUNDLES_MAX && !known.contains(&layer.digest) {
            let message = format!("an artifact has at most {BUNDLES_MAX} signature bundles");
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        self.store(&mut tx, push, Some(&artifact)).await?;
        tx.put_bundle(name, &artifact, &layer.digest, &self.act(push.caller)).await?;
        let versions = tx.list_versions(name).await?;
        let told = match versions.into_iter().find(|row| row.artifact_digest == artifact) {
            Some(row) => self.weigh(&mut tx, push, &row, &layer.digest).await?,
            None => None,
        };
        tx.commit().await?;
        Ok(told)
    }

    /// What another bundle does to the version that it speaks for. One that would hold up the version for good is refused.
    async fn weigh(
        &self,
        tx: &mut Tx,
        push: &Push<'_>,
        row: &ReleaseRow,
        added: &str,
    ) -> Result<Option<String>, Error> {
        let judged_by = tx.find_judged_by(&row.repository, &row.version).await?;
        let (state, _) = standing(row)?;
        if judged_by.is_empty() {
            return Ok(None);
        }
        let bundles = bundles_of(tx, &row.repository, &row.artifact_digest).await?;
        let judge = |bundles: Vec<Vec<u8>>| {
            let artifact_digest = &row.artifact_digest;
            self.judge(&Submission { judged_by: &judged_by, artifact_digest, bundles: &bundles })
        };
        let before = bundles.iter().filter(|(digest, _)| digest != added).map(|(_, bytes)| bytes.clone()).collect();
        let was_final = judge(before).is_final;
        let mut judgment = judge(bundles.into_iter().map(|(_, bytes)| bytes).collect());
        if !was_final {
            judgment = refuse(judgment)?;
        }
        self.advance(tx, row, &judgment, &self.act(push.caller)).await?;
        Ok(if state == State::Released { None } else { gate::warning(&row.version, &judgment) })
    }
}

/// The bundles that speak for an artifact, with the digests of their blobs.
async fn bundles_of(tx: &mut Tx, name: &str, artifact: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut bundles = Vec::new();
    for digest in tx.list_registry_bundles(name, artifact).await? {
        let Some(row) = tx.find_blob(name, &digest).await? else { continue };
        let mut bytes: Vec<u8> = Vec::new();
        while let Ok(at) = u64::try_from(bytes.len())
            && at < row.size_bytes
        {
            let Some((_, chunk)) = tx.find_chunk(&row.content_id, at).await?.filter(|(start, _)| *start == at) else {
                return Err(bulkhead_database::Error::Corrupt { column: "start_bytes" }.into());
            };
            bytes.extend_from_slice(&chunk);
        }
        bundles.push((digest, bytes));
    }
    Ok(bundles)
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

/// Whether who takes `earlier` takes `later` for the same with more, as `^` has it.
fn is_track(earlier: &semver::Version, later: &semver::Version) -> bool {
    let compatible = semver::Comparator {
        op: semver::Op::Caret,
        major: earlier.major,
        minor: Some(earlier.minor),
        patch: Some(earlier.patch),
        pre: semver::Prerelease::EMPTY,
    };
    earlier.pre.is_empty() && earlier < later && compatible.matches(later)
}

fn immutable(known: &ReleaseRow) -> Error {
    let message = format!(
        "version {} is released as `{}`: versions are immutable, publish a higher one",
        known.version, known.artifact_digest
    );
    Error::refused(ErrorCode::Denied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_of_the_same_track_as_a_caret_has_it() {
        let check = |earlier: &str, later: &str, wanted: bool| {
            assert_eq!(is_track(&earlier.parse().unwrap(), &later.parse().unwrap()), wanted, "{earlier} {later}");
        };

        check("1.2.0", "1.2.1", true);
        check("1.2.0", "1.9.0", true);
        check("1.2.0", "2.0.0", false);
        check("1.2.0", "1.1.0", false);
        check("1.2.0", "1.2.0", false);
        check("0.2.0", "0.2.1", true);
        check("0.2.0", "0.3.0", false);
        check("0.0.1", "0.0.2", false);
        check("1.2.0-rc.1", "1.2.0", false);
    }
}
