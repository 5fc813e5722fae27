//! What a client of any registry needs to pull a release: references, challenges, and what the documents of a registry name.
//! It sends no request; whoever fetches does, and checks each digest that is named here.

use serde::Deserialize;

use crate::digest::BlobDigest;
use crate::layout::{BUNDLES_MAX, only_layer};
use crate::manifest::{Descriptor, Manifest};
use crate::media_type::{BUNDLE, DOCKER_INDEX, IMAGE, INDEX, WASM};
use crate::name::{RepositoryName, Tag};

/// Descriptors of an index that are looked at.
const DESCRIPTORS_MAX: usize = 1_000;

/// Why a registry's document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Where a release is: `registry.example:5000/acme/crm:1.2.0`, or `...@sha256:<hex>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteReference {
    /// Host and port.
    pub registry: String,
    /// The repository.
    pub repository: RepositoryName,
    /// A tag; `latest` is not implied.
    pub tag: Option<Tag>,
    /// The digest of the manifest, which wins over the tag.
    pub digest: Option<BlobDigest>,
}

impl RemoteReference {
    /// What stands in the path of a request: the digest, else the tag.
    pub fn name(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => "",
        }
    }
}

impl std::str::FromStr for RemoteReference {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let wanted = || {
            let form =
                "a reference is a host, a repository, and a tag or digest, such as `registry.example/acme/crm:1.2.0`";
            Unusable(form.to_owned())
        };
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (registry, rest) = text.split_once('/').ok_or_else(wanted)?;
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if !is_host || registry.contains(['@', '?', '#', '\\']) || registry.chars().any(char::is_whitespace) {
            return Err(wanted());
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<BlobDigest>().map_err(|_| wanted())?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.parse::<Tag>().map_err(|_| wanted())?)),
            None => (rest, None),
        };
        if tag.is_none() && digest.is_none() {
            return Err(wanted());
        }
        let repository = repository.parse().map_err(|_| wanted())?;
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// What a manifest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// A blob: the artifact, or a bundle.
    Blob(Named),
    /// Another manifest, of which this is an index.
    Manifest(Named),
}

/// Something of a known digest and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its digest.
    pub digest: BlobDigest,
    /// Its size in bytes, as announced.
    pub size_bytes: u64,
}

impl Named {
    fn of(descriptor: &Descriptor) -> Result<Self, Unusable> {
        let digest = descriptor.digest.parse().map_err(|_| Unusable("a descriptor without a digest".to_owned()))?;
        Ok(Self { digest, size_bytes: descriptor.size })
    }
}

/// The artifact that a manifest holds, or the manifest that an index leads to.
pub fn artifact(media_type: &str, bytes: &[u8]) -> Result<Pulled, Unusable> {
    if matches!(media_type, INDEX | DOCKER_INDEX) {
        return leads_to(bytes);
    }
    let manifest = Manifest::parse(media_type, bytes).map_err(|error| Unusable(error.to_string()))?;
    let layer = only_layer(&manifest, WASM).map_err(|error| Unusable(error.to_string()))?;
    let layer =
        layer.ok_or_else(|| Unusable(format!("a manifest without a layer `{WASM}`: it is no wasm artifact")))?;
    Named::of(layer).map(Pulled::Blob)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    manifests: Vec<Listed>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    artifact_type: Option<String>,
    platform: Option<Platform>,
    #[serde(flatten)]
    descriptor: Descriptor,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
}

fn index(bytes: &[u8]) -> Result<Vec<Listed>, Unusable> {
    let index: Index =
        serde_json::from_slice(bytes).map_err(|error| Unusable(format!("an index that cannot be read: {error}")))?;
    if index.manifests.len() > DESCRIPTORS_MAX {
        return Err(Unusable(format!("an index of more than {DESCRIPTORS_MAX} manifests")));
    }
    Ok(index.manifests)
}

/// The only manifest of an index, or the only one for wasm.
fn leads_to(bytes: &[u8]) -> Result<Pulled, Unusable> {
    let listed = index(bytes)?;
    let is_wasm = |listed: &&Listed| listed.platform.as_ref().is_some_and(|platform| platform.architecture == "wasm");
    let only = match listed.as_slice() {
        [only] => Some(only),
        many => {
            let mut wasm = many.iter().filter(is_wasm);
            wasm.next().filter(|_| wasm.next().is_none())
        }
    };
    let only = only.ok_or_else(|| Unusable("an index that does not lead to one wasm artifact".to_owned()))?;
    Named::of(&only.descriptor).map(Pulled::Manifest)
}

/// The manifests of signature bundles among referrers.
pub fn bundle_manifests(bytes: &[u8]) -> Result<Vec<Named>, Unusable> {
    let listed = index(bytes)?;
    let bundles = listed.iter().filter(|listed| listed.artifact_type.as_deref() == Some(BUNDLE));
    let found = bundles.map(|listed| Named::of(&listed.descriptor)).collect::<Result<Vec<_>, _>>()?;
    if found.len() > BUNDLES_MAX {
        return Err(Unusable(format!("more than {BUNDLES_MAX} signatures of one release")));
    }
    Ok(found)
}

/// The bundle that a referrer of `subject` holds; `None` if it is no bundle of that.
pub fn bundle(bytes: &[u8], subject: &BlobDigest) -> Result<Option<Named>, Unusable> {
    let manifest = Manifest::parse(IMAGE, bytes).map_err(|error| Unusable(error.to_string()))?;
    if manifest.subject.as_ref() != Some(subject) || !manifest.is_bundle() {
        return Ok(None);
    }
    let layer = only_layer(&manifest, BUNDLE).map_err(|error| Unusable(error.to_string()))?;
    layer.map(Named::of).transpose()
}

/// How a registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token that a server issues.
    Bearer {
        /// Address of that server.
        realm: String,
        /// For whom the token is.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a `WWW-Authenticate`; `None` where it is neither.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            let mut found = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
    }
}

/// `key="value"` pairs between commas; a quoted value may hold commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key.trim_matches([',', ' ']).to_owned(), value.trim().to_owned()));
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_host_repository_and_tag_or_digest() {
        let check = |text: &str, wanted: Option<(&str, &str, &str)>| {
            let found = text.parse::<RemoteReference>().ok();
            let parts = found.as_ref().map(|found| (found.registry.as_str(), found.repository.as_str(), found.name()));
            assert_eq!(parts, wanted, "{text}");
        };
        let digest = format!("sha256:{}", "a".repeat(64));

        check("registry.example/acme/crm:1.2.0", Some(("registry.example", "acme/crm", "1.2.0")));
        check("oci://localhost:5000/acme/crm:1.2.0", Some(("localhost:5000", "acme/crm", "1.2.0")));
        check(&format!("r.example/acme/crm@{digest}"), Some(("r.example", "acme/crm", &digest)));
        check(&format!("r.example/acme/crm:1.0.0@{digest}"), Some(("r.example", "acme/crm", &digest)));
        for wrong in [
            "",
            "acme/crm:1.2.0",
            "r.example",
            "r.example/acme/crm",
            "r.example/../x:1",
            "user@r.example/a/b:1",
            "r.example/a/b:",
            "r.example/a/b@sha256:short",
            "r.example?x/a/b:1",
            "r.ex ample/a:1",
            "r.example/A:1",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_challenge_is_read_as_registries_write_it() {
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;

        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("r.example".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::parse(bearer), Some(wanted));
        assert_eq!(Challenge::parse("basic realm=\"x\""), Some(Challenge::Basic));
        for other in ["", "Bearer", "Bearer realm", "Negotiate abc", "Digest realm=\"x\""] {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_one_wasm_layer_or_one_wasm_manifest_is_followed() {
        let digest = format!("sha256:{}", "b".repeat(64));
        let layer = |media_type: &str| format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":7}}"#);
        let image = |layers: &str| format!(r#"{{"config":{},"layers":[{layers}]}}"#, layer("a/config"));
        let check = |media_type: &str, text: &str, wanted: bool| {
            assert_eq!(artifact(media_type, text.as_bytes()).is_ok(), wanted, "{text}");
        };

        check(IMAGE, &image(&layer(WASM)), true);
        check(IMAGE, &image(&format!("{},{}", layer(WASM), layer("text/plain"))), true);
        check(IMAGE, &image(&format!("{},{}", layer(WASM), layer(WASM))), false);
        check(IMAGE, &image(&layer("application/gzip")), false);
        check("text/html", "<html>", false);
        check(INDEX, &format!(r#"{{"manifests":[{}]}}"#, layer(IMAGE)), true);
        check(INDEX, &format!(r#"{{"manifests":[{0},{0}]}}"#, layer(IMAGE)), false);
        let wasm = layer(IMAGE).replace('{', r#"{"platform":{"architecture":"wasm"},"#);
        check(INDEX, &format!(r#"{{"manifests":[{},{wasm}]}}"#, layer(IMAGE)), true);
        check(INDEX, &format!(r#"{{"manifests":[{wasm},{wasm}]}}"#), false);
        check(INDEX, r#"{"manifests":[]}"#, false);
        check(INDEX, &"[".repeat(100_000), false);
        let many = vec![layer(IMAGE); DESCRIPTORS_MAX + 1].join(",");
        assert!(bundle_manifests(format!(r#"{{"manifests":[{many}]}}"#).as_bytes()).is_err());
        let bundles =
            vec![layer(IMAGE).replace('{', &format!(r#"{{"artifactType":"{BUNDLE}","#)); BUNDLES_MAX + 1].join(",");
        assert!(bundle_manifests(format!(r#"{{"manifests":[{bundles}]}}"#).as_bytes()).is_err());
    }
}
