//! Releases in one file: an OCI image layout in a tar, as `oras` and `skopeo` write it, and as this writes it for them. Each
//! release is the plain wasm artifact, each signature bundle a referrer of it. It judges no release.

use std::collections::BTreeMap;

use bulkhead_model::{Digest, PluginId, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::digest::BlobDigest;
use crate::manifest::{Descriptor, MANIFEST_BYTES_MAX, Manifest};
use crate::media_type::{BUNDLE, EMPTY, IMAGE, INDEX, WASM, WASM_CONFIG};
use crate::tar::{self, InvalidArchive};

/// Largest archive in bytes.
pub const ARCHIVE_BYTES_MAX: usize = 96 << 20;
/// Most releases of an archive.
pub const RELEASES_MAX: usize = 32;
/// Most bundles of a release.
pub const BUNDLES_MAX: usize = 16;
/// Largest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 64 << 10;

/// A release: the artifact and its signature bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidOut {
    /// The artifact.
    pub artifact: Vec<u8>,
    /// Its bundles.
    pub bundles: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The releases of an archive, each once. Every blob is what its name says.
pub fn read(archive: &[u8]) -> Result<Vec<LaidOut>, InvalidArchive> {
    if archive.len() > ARCHIVE_BYTES_MAX {
        return Err(InvalidArchive::TooLarge(format!("it has more than {ARCHIVE_BYTES_MAX} bytes")));
    }
    let mut blobs = BTreeMap::new();
    let (mut is_marked, mut has_index) = (false, false);
    for entry in tar::read(archive)? {
        match entry.path.as_str() {
            "oci-layout" => {
                let marker: Marker =
                    serde_json::from_slice(entry.bytes).map_err(|_| malformed("`oci-layout` cannot be read"))?;
                is_marked = marker.image_layout_version == "1.0.0";
            }
            "index.json" => has_index = true,
            path => {
                let Some((algorithm, hex)) = path.strip_prefix("blobs/").and_then(|name| name.split_once('/')) else {
                    continue;
                };
                let digest: BlobDigest =
                    format!("{algorithm}:{hex}").parse().map_err(|_| malformed(format!("`{path}` is no blob")))?;
                if BlobDigest::of(digest.algorithm(), entry.bytes) != digest {
                    return Err(InvalidArchive::Digest(digest.to_string()));
                }
                blobs.insert(digest, entry.bytes);
            }
        }
    }
    if !is_marked || !has_index {
        return Err(malformed("it is no OCI layout: `oci-layout` of version 1.0.0 and `index.json` are needed"));
    }
    collect(&blobs)
}

/// Every release among the blobs. Not only what the index names: some tools leave referrers out of it, and a blob is
/// nothing but its digest wherever it is named.
fn collect(blobs: &BTreeMap<BlobDigest, &[u8]>) -> Result<Vec<LaidOut>, InvalidArchive> {
    let is_small = |bytes: &[u8]| u64::try_from(bytes.len()).is_ok_and(|length| length <= MANIFEST_BYTES_MAX);
    let manifests: Vec<(&BlobDigest, Manifest)> = blobs
        .iter()
        .filter(|(_, bytes)| bytes.first() == Some(&b'{') && is_small(bytes))
        .filter_map(|(digest, bytes)| Some((digest, Manifest::parse(IMAGE, bytes).ok()?)))
        .collect();
    let mut releases: BTreeMap<&BlobDigest, LaidOut> = BTreeMap::new();
    let mut artifacts: BTreeMap<&BlobDigest, &BlobDigest> = BTreeMap::new();
    let wasm = manifests.iter().filter(|(_, manifest)| !manifest.is_bundle());
    for (digest, manifest) in wasm {
        let Some(layer) = only_layer(manifest, WASM)? else { continue };
        let (name, bytes) = blob(blobs, layer)?;
        artifacts.insert(digest, name);
        releases.entry(name).or_insert_with(|| LaidOut { artifact: bytes.to_vec(), bundles: Vec::new() });
        if releases.len() > RELEASES_MAX {
            return Err(InvalidArchive::TooLarge(format!("it has more than {RELEASES_MAX} releases")));
        }
    }
    for (_, manifest) in manifests.iter().filter(|(_, manifest)| manifest.is_bundle()) {
        let subject = manifest.subject.as_ref().and_then(|subject| artifacts.get(subject));
        let release = subject.and_then(|artifact| releases.get_mut(*artifact));
        let (Some(release), Some(layer)) = (release, only_layer(manifest, BUNDLE)?) else { continue };
        let (_, bytes) = blob(blobs, layer)?;
        if release.bundles.len() >= BUNDLES_MAX || bytes.len() > BUNDLE_BYTES_MAX {
            let limits = format!("a release has at most {BUNDLES_MAX} signatures of {BUNDLE_BYTES_MAX} bytes");
            return Err(InvalidArchive::TooLarge(limits));
        }
        if !release.bundles.iter().any(|known| known == bytes) {
            release.bundles.push(bytes.to_vec());
        }
    }
    if releases.is_empty() {
        return Err(malformed("it holds no wasm artifact"));
    }
    Ok(releases.into_values().collect())
}

/// The one layer of this media type; `None` where there is none.
pub(crate) fn only_layer<'a>(
    manifest: &'a Manifest,
    media_type: &str,
) -> Result<Option<&'a Descriptor>, InvalidArchive> {
    let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == media_type);
    match (layers.next(), layers.next()) {
        (layer, None) => Ok(layer),
        (_, Some(_)) => Err(malformed(format!("a manifest has several layers `{media_type}`"))),
    }
}

fn blob<'a, 'b>(
    blobs: &'a BTreeMap<BlobDigest, &'b [u8]>,
    descriptor: &Descriptor,
) -> Result<(&'a BlobDigest, &'b [u8]), InvalidArchive> {
    let digest: BlobDigest = descriptor.digest.parse().map_err(|_| malformed("a layer has no digest"))?;
    let (name, bytes) =
        blobs.get_key_value(&digest).ok_or_else(|| malformed(format!("the blob `{digest}` is missing")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length == descriptor.size) {
        Ok((name, bytes))
    } else {
        Err(malformed(format!("the blob `{digest}` is not as long as its manifest says")))
    }
}

fn malformed(reason: impl Into<String>) -> InvalidArchive {
    InvalidArchive::Malformed(reason.into())
}

/// An archive that is being written. The same releases make the same bytes.
#[derive(Debug, Default)]
pub struct Writer {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Writer {
    /// Puts a release in, under the reference `acme/crm:1.2.0`.
    pub fn put(&mut self, plugin: &PluginId, version: &Version, artifact: &[u8], bundles: &[Vec<u8>]) {
        let layer = Digest::of(artifact).to_string();
        let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [layer] }).to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": self.blob(WASM_CONFIG, config.as_bytes()),
            "layers": [self.blob(WASM, artifact)],
        });
        let subject = self.blob(IMAGE, manifest.to_string().as_bytes());
        let name = format!("{}/{}:{version}", plugin.namespace(), plugin.name());
        let annotations = json!({ "org.opencontainers.image.ref.name": name });
        self.manifests.push(with(subject.clone(), "annotations", annotations));
        for bundle in bundles {
            let referrer = json!({
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "artifactType": BUNDLE,
                "config": self.blob(EMPTY, b"{}"),
                "layers": [self.blob(BUNDLE, bundle)],
                "subject": subject,
                "annotations": { "dev.sigstore.bundle.content": "dsse-envelope" },
            });
            let descriptor = self.blob(IMAGE, referrer.to_string().as_bytes());
            self.manifests.push(with(descriptor, "artifactType", json!(BUNDLE)));
        }
    }

    /// The archive.
    pub fn finish(self) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests }).to_string();
        let mut archive = Vec::new();
        tar::put(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        tar::put(&mut archive, "index.json", index.as_bytes());
        for (path, bytes) in &self.blobs {
            tar::put(&mut archive, path, bytes);
        }
        tar::finish(&mut archive);
        archive
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }
}

/// A descriptor with a field more.
fn with(mut descriptor: Value, field: &str, value: Value) -> Value {
    if let Some(fields) = descriptor.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(change: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        let (plugin, version) = ("acme.crm".parse().unwrap(), "1.0.0".parse().unwrap());
        writer.put(&plugin, &version, b"\0asm", &[b"{\"one\":1}".to_vec(), b"{\"two\":2}".to_vec()]);
        change(&mut writer);
        writer.finish()
    }

    #[test]
    fn what_was_put_in_is_read_back_and_the_same_each_time() {
        let written = archive(|writer| {
            writer.put(&"acme.billing".parse().unwrap(), &"2.0.0".parse().unwrap(), b"\0other", &[]);
        });

        let mut releases = read(&written).unwrap();
        releases.sort_by_key(|release| release.artifact.len());
        assert_eq!(releases[0].artifact, b"\0asm");
        assert_eq!(releases[0].bundles.len(), 2);
        assert_eq!(releases[1], LaidOut { artifact: b"\0other".to_vec(), bundles: Vec::new() });
        assert_eq!(archive(|_| {}), archive(|_| {}));
    }

    #[test]
    fn a_layout_that_lies_is_refused() {
        let check = |why: &str, change: fn(&mut Writer)| {
            let error = read(&archive(change)).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        };
        let component = format!("blobs/sha256/{}", Digest::of(b"\0asm").hex());

        check("another digest", |writer| {
            drop(writer.blobs.insert(format!("blobs/sha256/{}", "0".repeat(64)), b"x".to_vec()))
        });
        check("is no blob", |writer| drop(writer.blobs.insert("blobs/sha256/short".to_owned(), Vec::new())));
        check("is missing", |writer| {
            drop(writer.blobs.remove(&format!("blobs/sha256/{}", Digest::of(b"\0asm").hex())));
        });
        check("as long as", |writer| {
            let bytes =
                writer.blobs.values().find(|bytes| bytes.starts_with(b"{") && bytes.len() > 200).unwrap().clone();
            let text = String::from_utf8(bytes).unwrap().replace("\"size\":4", "\"size\":5");
            drop(writer.blob(IMAGE, text.as_bytes()));
        });
        check("no wasm artifact", |writer| writer.blobs.clear());
        assert!(read(&archive(|_| {})).unwrap().len() == 1 && component.len() > 64);
        let mut bare = Vec::new();
        tar::put(&mut bare, "index.json", b"{}");
        tar::finish(&mut bare);
        assert!(read(&bare).unwrap_err().to_string().contains("no OCI layout"));
        let many: Vec<Vec<u8>> = (0..=BUNDLES_MAX).map(|number| format!("{{\"n\":{number}}}").into_bytes()).collect();
        let mut writer = Writer::default();
        writer.put(&"acme.crm".parse().unwrap(), &"1.0.0".parse().unwrap(), b"\0asm", &many);
        assert!(matches!(read(&writer.finish()), Err(InvalidArchive::TooLarge(_))));
    }
}
