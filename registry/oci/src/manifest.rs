//! Reads manifests: what they name, what they refer to, what they call themselves.
//! It does not know what is stored, nor what a namespace takes.

use std::collections::BTreeMap;

use bulkhead_model::object::{self, Object, Walked};
use serde::{Deserialize, Serialize};

use crate::digest::BlobDigest;
use crate::error::{Error, ErrorCode};
use crate::media_type::{BUNDLE, DOCKER_IMAGE, DOCKER_INDEX, IMAGE, INDEX};

/// Largest manifest in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Most blobs that a manifest names.
const BLOBS_MAX: usize = 1_000;
/// Most manifests that an index names.
const CHILDREN_MAX: usize = 10_000;
/// Annotation that says, with the value `true`, that the release takes away what others may use, and that this is meant.
pub const ALLOW_BREAKING: &str = "bulkhead.allow-breaking";
/// Longest media type in bytes.
const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// What a manifest points to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    /// Where it lies, if not here.
    urls: Vec<String>,
}

/// A manifest that was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(crate) media_type: String,
    pub(crate) config: Option<Descriptor>,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) subject: Option<BlobDigest>,
    /// What it is: its own word, else that of its config.
    pub(crate) artifact_type: Option<String>,
    /// The manifests that it names, each once.
    pub(crate) children: Vec<BlobDigest>,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(deserialize_with = "object::optional")]
    config: Option<Descriptor>,
    #[serde(deserialize_with = "object::optional_many")]
    layers: Option<Vec<Descriptor>>,
    #[serde(deserialize_with = "object::optional_many")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(deserialize_with = "object::optional")]
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// A manifest among the referrers of another.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerDescriptor<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Manifest {
    /// Reads `bytes`, pushed as `media_type`.
    ///
    /// # Errors
    /// [`ErrorCode::ManifestInvalid`] or [`ErrorCode::DigestInvalid`].
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, Error> {
        let is_index = match media_type {
            IMAGE | DOCKER_IMAGE => false,
            INDEX | DOCKER_INDEX => true,
            other if other.is_empty() || other.len() > MEDIA_TYPE_BYTES_MAX => {
                return Err(invalid("`Content-Type` must name the media type of the manifest"));
            }
            other => return Err(invalid(format!("`{other}` is not a media type of manifests that is taken"))),
        };
        let unreadable = |error| invalid(format!("the manifest cannot be read: {error}"));
        // Fields that are not known here are kept for others, who may read them by recursion.
        let Walked = serde_json::from_slice(bytes).map_err(unreadable)?;
        let Object(wire): Object<Wire> = serde_json::from_slice(bytes).map_err(unreadable)?;
        if let Some(named) = wire.media_type.as_deref().filter(|named| *named != media_type) {
            return Err(invalid(format!(
                "the manifest says that it is `{named}`, its `Content-Type` that it is `{media_type}`"
            )));
        }
        if is_index != wire.manifests.is_some() || (!is_index && wire.config.is_none()) {
            return Err(invalid(format!("what was pushed is not of the media type `{media_type}`")));
        }
        let descriptors = wire.config.iter().chain(wire.layers.iter().flatten());
        let mut named = descriptors.map(|descriptor| &descriptor.media_type).chain(&wire.artifact_type);
        if let Some(wrong) = named.find(|media_type| !media_type.is_empty() && !is_printable(media_type)) {
            let message =
                format!("a media type is at most {MEDIA_TYPE_BYTES_MAX} printable letters, not `{wrong:.40?}`");
            return Err(invalid(message));
        }
        let subject = wire.subject.map(|subject| subject.digest.parse()).transpose()?;
        let of_config = wire.config.as_ref().map(|config| config.media_type.clone());
        let named = wire.artifact_type.filter(|named| !named.is_empty());
        let children = wire.manifests.iter().flatten().map(|child| child.digest.parse());
        let mut children = children.collect::<Result<Vec<BlobDigest>, _>>()?;
        children.sort();
        children.dedup();
        if children.len() > CHILDREN_MAX {
            return Err(invalid(format!("an index names at most {CHILDREN_MAX} manifests")));
        }
        let manifest = Self {
            media_type: media_type.to_owned(),
            artifact_type: named.or(of_config).filter(|named| !named.is_empty()),
            config: wire.config,
            layers: wire.layers.unwrap_or_default(),
            subject,
            children,
            annotations: wire.annotations.unwrap_or_default(),
        };
        if manifest.blobs()?.len() > BLOBS_MAX {
            return Err(invalid(format!("a manifest names at most {BLOBS_MAX} blobs")));
        }
        Ok(manifest)
    }

    /// The blobs that the repository must hold, each once.
    pub(crate) fn blobs(&self) -> Result<Vec<BlobDigest>, Error> {
        let named = self.config.iter().chain(&self.layers).filter(|descriptor| descriptor.urls.is_empty());
        let mut digests = named.map(|descriptor| descriptor.digest.parse()).collect::<Result<Vec<BlobDigest>, _>>()?;
        digests.sort();
        digests.dedup();
        Ok(digests)
    }

    /// Its descriptor among the referrers of its subject, JSON text.
    pub(crate) fn descriptor(&self, digest: &BlobDigest, size_bytes: usize) -> String {
        let descriptor = ReferrerDescriptor {
            media_type: &self.media_type,
            digest: digest.as_str(),
            size: size_bytes,
            artifact_type: self.artifact_type.as_deref(),
            annotations: &self.annotations,
        };
        serde_json::to_string(&descriptor)
            .unwrap_or_else(|error| unreachable!("a descriptor holds only texts and a number: {error}"))
    }

    /// Whether its publisher means to take away what others may use.
    pub(crate) fn allows_breaking(&self) -> bool {
        self.annotations.get(ALLOW_BREAKING).is_some_and(|value| value == "true")
    }

    /// Whether it carries a signature.
    pub(crate) fn is_bundle(&self) -> bool {
        self.artifact_type.as_deref() == Some(BUNDLE)
    }
}

/// Whether a text may be a media type: it becomes a header, a parameter and a column.
pub(crate) fn is_printable(media_type: &str) -> bool {
    media_type.len() <= MEDIA_TYPE_BYTES_MAX && media_type.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::refused(ErrorCode::ManifestInvalid, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    fn digest(text: &str) -> String {
        BlobDigest::of(Algorithm::Sha256, text.as_bytes()).to_string()
    }

    #[test]
    fn what_is_no_manifest_of_its_media_type_is_refused() {
        let config = format!(r#"{{"mediaType": "a/b", "digest": "{}", "size": 2}}"#, digest("{}"));
        let image = format!(r#"{{"config": {config}, "layers": []}}"#);
        let check = |media_type: &str, text: &str, wanted: Option<ErrorCode>| {
            let found = Manifest::parse(media_type, text.as_bytes());
            assert_eq!(found.err().and_then(|error| error.code()), wanted, "{media_type} {text}");
        };

        check(IMAGE, &image, None);
        check(DOCKER_IMAGE, &image, None);
        check(INDEX, r#"{"manifests": []}"#, None);
        check(INDEX, &image, Some(ErrorCode::ManifestInvalid));
        check(IMAGE, r#"{"manifests": []}"#, Some(ErrorCode::ManifestInvalid));
        check(IMAGE, "{}", Some(ErrorCode::ManifestInvalid));
        check(IMAGE, "not json", Some(ErrorCode::ManifestInvalid));
        check(IMAGE, "", Some(ErrorCode::ManifestInvalid));
        check("", &image, Some(ErrorCode::ManifestInvalid));
        check("text/plain", &image, Some(ErrorCode::ManifestInvalid));
        check(
            IMAGE,
            &image.replace("\"layers\"", &format!("\"mediaType\": \"{INDEX}\", \"layers\"")),
            Some(ErrorCode::ManifestInvalid),
        );
        check(IMAGE, &image.replace("sha256:", "sha256:0"), Some(ErrorCode::DigestInvalid));
        check(INDEX, r#"{"manifests": [{"digest": "sha256:bad"}]}"#, Some(ErrorCode::DigestInvalid));
        check(
            IMAGE,
            &image.replace("\"layers\"", r#""subject": {"digest": "x"}, "layers""#),
            Some(ErrorCode::DigestInvalid),
        );
    }

    #[test]
    fn the_artifact_type_falls_back_to_the_config_and_annotations_are_kept() {
        let parse = |more: &str| {
            let text = format!(
                r#"{{"config": {{"mediaType": "a/config", "digest": "{0}", "size": 2}}, {more}
                   "layers": [{{"digest": "{0}"}}, {{"digest": "{1}", "urls": ["https://else.example"]}}]}}"#,
                digest("{}"),
                digest("far away"),
            );
            Manifest::parse(IMAGE, text.as_bytes()).unwrap()
        };

        let plain = parse("");
        assert_eq!(plain.artifact_type.as_deref(), Some("a/config"));
        assert_eq!(plain.blobs().unwrap().len(), 1);
        let named = parse(r#""artifactType": "a/artifact", "annotations": {"k": "v"},"#);
        let descriptor: serde_json::Value =
            serde_json::from_str(&named.descriptor(&digest("m").parse().unwrap(), 7)).unwrap();
        assert_eq!(descriptor["artifactType"], "a/artifact");
        assert_eq!(descriptor["annotations"]["k"], "v");
        assert_eq!(descriptor["size"], 7);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Manifest::parse(IMAGE, &bytes).is_err());
        }
    }
}
