//! Where a release can come from, beside an upload: one enum, and for each kind a file that fetches it. What was fetched is
//! bytes, and passes the same admission as an upload; nothing here judges a release.

mod catalog;
mod directory;
mod fetcher;
mod github;
mod npm;
mod oci;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bulkhead_model::{Code, Digest, PluginId, Version};
use bulkhead_oci::layout;
use bulkhead_oci::tar::InvalidArchive;
use bulkhead_trust::{Bundle, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fetch::Place;
use crate::host::Host;
use fetcher::Fetcher;

/// Time for everything that a source is asked, in all.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// Largest artifact in bytes that is fetched: what an upload may have.
const ARTIFACT_BYTES_MAX: usize = 32 << 20;
/// Largest bundle in bytes.
const BUNDLE_BYTES_MAX: usize = layout::BUNDLE_BYTES_MAX;
/// Most bundles of an artifact.
const BUNDLES_MAX: usize = layout::BUNDLES_MAX;
/// Largest document in bytes that names what is fetched.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// Where a release is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// This host's own registry.
    Registry {
        /// The plugin.
        plugin: PluginId,
        /// Its version.
        version: Version,
    },
    /// A file below one of the folders in `sources.directories`: an artifact with its bundles beside it, or an archive
    /// that ends in `.tar`.
    Directory {
        /// Path below that folder.
        path: String,
    },
    /// An HTTPS address.
    Url {
        /// The artifact.
        url: String,
        /// `sha256:<hex>` of the artifact.
        #[schemars(with = "String")]
        digest: Digest,
        /// Its signature bundles.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 16))]
        bundles: Vec<String>,
        /// Name of a credential in `sources.credentials`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
    /// A registry of the OCI distribution protocol. Bundles are referrers of the artifact.
    Oci {
        /// `registry.example/acme/crm:1.2.0`, or with `@sha256:<hex>` of the manifest.
        reference: String,
        /// Name of a credential in `sources.credentials`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
    /// A package of an npm registry that holds an artifact and its bundles beside it.
    Npm {
        /// The package, such as `@acme/crm`.
        package: String,
        /// Its version or a tag; `latest` where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Address of the registry; the public one where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registry: Option<String>,
        /// The artifact's path in the package; its only `.wasm` where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Name of a credential in `sources.credentials`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
    /// A release of a GitHub repository. Bundles are assets `<asset>.<n>.sigstore.json`, with or without the `.wasm`.
    Github {
        /// `owner/name`.
        repository: String,
        /// The release's tag.
        tag: String,
        /// The asset that is the artifact.
        asset: String,
        /// Address of the API; `https://api.github.com` where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api: Option<String>,
        /// Name of a credential in `sources.credentials`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
    /// A curated list, pinned by its digest.
    Catalog {
        /// Address of the list, or `path`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// Path of the list below one of the folders in `sources.directories`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// `sha256:<hex>` of the list.
        #[schemars(with = "String")]
        digest: Digest,
        /// The plugin.
        id: PluginId,
        /// Its version; the highest of the list where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        /// Name of a credential in `sources.credentials`, for the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
}

/// What an operator allows sources.
#[derive(Clone, Debug, Default)]
pub struct SourcesConfig {
    /// Folders of releases. None by default.
    pub directories: Vec<PathBuf>,
    /// Credentials by name.
    pub credentials: BTreeMap<String, Credential>,
}

/// A secret for some places. It is sent to no other.
#[derive(Clone)]
pub struct Credential {
    /// Where it is sent to.
    pub places: Vec<Place>,
    /// With a user it is a password, without one a bearer token.
    pub user: Option<String>,
    /// The secret.
    pub secret: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("places", &self.places).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A release that was sent or fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The artifact.
    pub artifact: Vec<u8>,
    /// Its signature bundles.
    pub bundles: Vec<Vec<u8>>,
}

impl Sent {
    /// Artifacts, each with those of the bundles that speak for it. One artifact has them all.
    pub fn together(artifacts: Vec<Vec<u8>>, bundles: Vec<Vec<u8>>) -> Result<Vec<Self>, Error> {
        let mut sent: Vec<Self> =
            artifacts.into_iter().map(|artifact| Self { artifact, bundles: Vec::new() }).collect();
        if let [one] = sent.as_mut_slice() {
            one.bundles = bundles;
            return Ok(sent);
        }
        let digests: Vec<Digest> = sent.iter().map(|one| Digest::of(&one.artifact)).collect();
        for bundle in bundles {
            let claims = Bundle::parse(&bundle).and_then(|bundle| bundle.claims());
            let digest = claims.map_err(|refusal| Error::Refused(vec![refusal]))?.digest;
            let speaks_for = digests.iter().zip(&mut sent).find(|(known, _)| **known == digest);
            let Some((_, one)) = speaks_for else {
                let detail = format!("a bundle speaks for `{digest}`, which is not among the artifacts");
                return Err(refused(Code::DigestMismatch, detail));
            };
            one.bundles.push(bundle);
        }
        Ok(sent)
    }
}

impl Source {
    /// As the audit log tells it: addresses without what follows a `?`.
    pub(crate) fn told(&self) -> serde_json::Value {
        let mut told = serde_json::to_value(self).unwrap_or_default();
        for value in told.as_object_mut().into_iter().flatten().map(|(_, value)| value) {
            if let Some((before, _)) = value.as_str().and_then(|text| text.split_once('?')) {
                *value = before.into();
            }
        }
        told
    }
}

impl Host {
    /// The releases of a source: one, or those of an archive.
    pub(crate) async fn fetch(&self, source: &Source) -> Result<Vec<Sent>, Error> {
        let fetched = Box::pin(self.fetch_from(source, true));
        let late = || Error::SourceLate { seconds: DEADLINE.as_secs() };
        tokio::time::timeout(DEADLINE, fetched).await.map_err(|_| late())?
    }

    async fn fetch_from(&self, source: &Source, may_be_catalog: bool) -> Result<Vec<Sent>, Error> {
        let with = |credential: &Option<String>| Fetcher::new(self, credential.as_deref());
        let one = match source {
            Source::Registry { plugin, version } => {
                let (artifact, bundles) = self.inner.registry.release(plugin, &version.to_string()).await?;
                Sent { artifact, bundles }
            }
            Source::Directory { path } => return directory::fetch(&self.inner.config.sources, path).await,
            Source::Url { url, digest, bundles, credential } => {
                url::fetch(&with(credential)?, url, digest, bundles).await?
            }
            Source::Oci { reference, credential } => oci::fetch(&with(credential)?, reference).await?,
            Source::Npm { package, version, registry, file, credential } => {
                let wanted = npm::Wanted {
                    package,
                    version: version.as_deref().unwrap_or("latest"),
                    registry: registry.as_deref().unwrap_or(npm::PUBLIC_REGISTRY),
                    file: file.as_deref(),
                };
                npm::fetch(&with(credential)?, &wanted).await?
            }
            Source::Github { repository, tag, asset, api, credential } => {
                let api = api.as_deref().unwrap_or(github::PUBLIC_API);
                github::fetch(&with(credential)?, api, repository, tag, asset).await?
            }
            Source::Catalog { url, path, digest, id, version, credential } if may_be_catalog => {
                let list = match (url, path) {
                    (Some(url), None) => with(credential)?.bytes(url, DOCUMENT_BYTES_MAX).await?,
                    (None, Some(path)) => directory::file(&self.inner.config.sources, path, DOCUMENT_BYTES_MAX).await?,
                    (Some(_), Some(_)) | (None, None) => {
                        return Err(invalid("/source/url", "one of `url` and `path` is needed"));
                    }
                };
                check_digest(&list, digest, "the list")?;
                let entry = catalog::find(&list, id, version.as_ref())?;
                let fetched = Box::pin(self.fetch_from(&entry.source, false)).await?;
                return catalog::only(fetched, &entry).map(|sent| vec![sent]);
            }
            Source::Catalog { .. } => return Err(invalid("/source", "a list names no other list")),
        };
        Ok(vec![one])
    }
}

/// What an archive in a file holds.
pub(crate) fn unpack(archive: &[u8]) -> Result<Vec<Sent>, Error> {
    let releases = layout::read(archive).map_err(|error| archived(&error))?;
    Ok(releases.into_iter().map(|release| Sent { artifact: release.artifact, bundles: release.bundles }).collect())
}

fn archived(error: &InvalidArchive) -> Error {
    let code = match error {
        InvalidArchive::Malformed(_) => Code::Malformed,
        InvalidArchive::TooLarge(_) => Code::TooLarge,
        InvalidArchive::Digest(_) => Code::DigestMismatch,
    };
    refused(code, error.to_string())
}

/// The bytes are those that were named.
fn check_digest(bytes: &[u8], wanted: &Digest, what: &str) -> Result<(), Error> {
    let found = Digest::of(bytes);
    if found == *wanted {
        return Ok(());
    }
    Err(refused(Code::DigestMismatch, format!("{what} has the digest `{found}`, wanted was `{wanted}`")))
}

fn refused(code: Code, detail: impl Into<String>) -> Error {
    Error::Refused(vec![Refusal::new(code, detail)])
}

fn invalid(pointer: &str, message: impl Into<String>) -> Error {
    Error::Invalid { code: Code::InvalidInput, issues: vec![bulkhead_model::Issue::new(pointer, message)] }
}

/// `<stem>.<what>.sigstore.json` of an artifact, also with the artifact's whole name before it.
fn is_bundle_of(name: &str, artifact: &str) -> bool {
    let stem = artifact.strip_suffix(".wasm").unwrap_or(artifact);
    let between = |start: &str| {
        let rest = name.strip_prefix(start)?.strip_prefix('.')?;
        rest.strip_suffix(".sigstore.json").filter(|middle| !middle.is_empty() && !middle.contains(['.', '/']))
    };
    between(stem).or_else(|| between(artifact)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_its_kind_and_the_fields_of_that_kind() {
        let check = |text: &str, wanted: bool| {
            assert_eq!(serde_json::from_str::<Source>(text).is_ok(), wanted, "{text}");
        };
        let digest = Digest::of(b"x");

        check(r#"{"kind":"registry","plugin":"acme.crm","version":"1.0.0"}"#, true);
        check(r#"{"kind":"registry","plugin":"acme.crm","version":"1.0.0","extra":1}"#, false);
        check(r#"{"kind":"registry","plugin":"acme.crm"}"#, false);
        check(r#"{"kind":"registry","plugin":"acme.crm","plugin":"acme.crm","version":"1.0.0"}"#, false);
        check(r#"{"kind":"directory","path":"a.wasm"}"#, true);
        check(r#"{"kind":"url","url":"https://a.example/x"}"#, false);
        check(&format!(r#"{{"kind":"url","url":"https://a.example/x","digest":"{digest}"}}"#), true);
        check(r#"{"kind":"url","url":"https://a.example/x","digest":"md5:1"}"#, false);
        check(r#"{"kind":"oci","reference":"r.example/a/b:1"}"#, true);
        check(r#"{"kind":"npm","package":"@acme/crm","version":"1.0.0"}"#, true);
        check(r#"{"kind":"github","repository":"a/b","tag":"v1","asset":"a.wasm"}"#, true);
        check(&format!(r#"{{"kind":"catalog","path":"list.json","digest":"{digest}","id":"acme.crm"}}"#), true);
        check(r#"{"kind":"file","path":"/etc/passwd"}"#, false);
        check(r#"{"path":"a.wasm"}"#, false);
    }

    #[test]
    fn a_bundle_stands_beside_its_artifact_by_name() {
        let check = |name: &str, wanted: bool| assert_eq!(is_bundle_of(name, "crm-1.2.0.wasm"), wanted, "{name}");

        check("crm-1.2.0.1.sigstore.json", true);
        check("crm-1.2.0.wasm.author.sigstore.json", true);
        check("crm-1.2.0.sigstore.json", false);
        check("crm-1.2.1.1.sigstore.json", false);
        check("crm-1.2.0.a/b.sigstore.json", false);
        check("crm-1.2.0.1.json", false);
    }

    #[test]
    fn neither_a_record_nor_a_log_holds_a_secret() {
        let text =
            format!(r#"{{"kind":"url","url":"https://a.example/x?token=s3cret","digest":"{}"}}"#, Digest::of(b"x"));
        let source: Source = serde_json::from_str(&text).unwrap();
        let credential = Credential { places: Vec::new(), user: None, secret: "s3cret".to_owned() };

        assert!(!source.told().to_string().contains("s3cret"));
        assert!(!format!("{credential:?}").contains("s3cret"));
    }
}
