//! A release in any registry of the OCI distribution protocol: one layer `application/wasm`, bundles as its referrers.
//! Every document and blob is taken by its digest, never by what a registry says of it.

use bulkhead_model::Code;
use bulkhead_oci::BlobDigest;
use bulkhead_oci::media_type::{BUNDLE, DOCKER_IMAGE, DOCKER_INDEX, IMAGE, INDEX};
use bulkhead_oci::remote::{self, Challenge, Named, Pulled, RemoteReference, Unusable};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::fetcher::{Fetcher, document, good, is_missing, parse, unusable};
use super::{ARTIFACT_BYTES_MAX, BUNDLE_BYTES_MAX, DOCUMENT_BYTES_MAX, Sent, invalid, refused};
use crate::error::Error;
use crate::fetch::{Response, StatusCode, Url};

/// Indexes that are followed to a manifest.
const INDEXES_MAX: usize = 2;

pub(super) async fn fetch(fetcher: &Fetcher<'_>, reference: &str) -> Result<Sent, Error> {
    let reference: RemoteReference =
        reference.parse().map_err(|error: Unusable| invalid("/source/reference", error.to_string()))?;
    let registry = Registry::new(fetcher, &reference)?;
    let (mut digest, mut manifest) = registry.manifest(reference.name(), reference.digest.as_ref()).await?;
    for _ in 0..=INDEXES_MAX {
        let (media_type, bytes) = &manifest;
        match remote::artifact(media_type, bytes).map_err(|error| registry.unusable(&error))? {
            Pulled::Blob(layer) => {
                let artifact = registry.blob(&layer, ARTIFACT_BYTES_MAX).await?;
                let bundles = registry.bundles(&digest).await?;
                return Ok(Sent { artifact, bundles });
            }
            Pulled::Manifest(named) => {
                (digest, manifest) = registry.manifest(named.digest.as_str(), Some(&named.digest)).await?;
            }
        }
    }
    Err(unusable(&reference.registry, format!("more than {INDEXES_MAX} indexes before a manifest")))
}

struct Registry<'a> {
    fetcher: &'a Fetcher<'a>,
    host: &'a str,
    base: Url,
    /// What the registry asked for; the next request has it at once.
    authorization: Mutex<Option<String>>,
}

impl<'a> Registry<'a> {
    fn new(fetcher: &'a Fetcher<'a>, reference: &'a RemoteReference) -> Result<Self, Error> {
        let path = format!("{}/v2/{}/", reference.registry, reference.repository);
        let base = parse(&format!("https://{path}"))?;
        // The operator's exception for this place is one for its registry.
        let base = if fetcher.speaks_http(&base) { parse(&format!("http://{path}"))? } else { base };
        Ok(Self { fetcher, host: &reference.registry, base, authorization: Mutex::default() })
    }

    /// A manifest with its media type, by tag or digest.
    async fn manifest(
        &self,
        name: &str,
        digest: Option<&BlobDigest>,
    ) -> Result<(BlobDigest, (String, Vec<u8>)), Error> {
        let accept = [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_INDEX].join(", ");
        let answer = good(self.ask(&format!("manifests/{name}"), &accept, DOCUMENT_BYTES_MAX).await?)?;
        let media_type = answer.media_type();
        let bytes = answer.bytes().await?;
        let found = match digest {
            Some(wanted) => checked(&bytes, wanted, "a manifest")?.clone(),
            None => BlobDigest::of(bulkhead_oci::Algorithm::Sha256, &bytes),
        };
        Ok((found, (media_type, bytes)))
    }

    async fn blob(&self, named: &Named, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let announced = usize::try_from(named.size_bytes).ok().filter(|size| *size <= bytes_max);
        let Some(bytes_max) = announced else {
            let detail = format!("a blob of {} bytes, at most {bytes_max} are taken", named.size_bytes);
            return Err(refused(Code::TooLarge, detail));
        };
        let answer = good(self.ask(&format!("blobs/{}", named.digest), "*/*", bytes_max).await?)?;
        let bytes = answer.bytes().await?;
        checked(&bytes, &named.digest, "a blob")?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length != named.size_bytes) {
            return Err(refused(Code::Malformed, "a blob is not as long as its manifest says"));
        }
        Ok(bytes)
    }

    /// The bundles that refer to a manifest, by the referrers API or the tag that stands in for it.
    async fn bundles(&self, subject: &BlobDigest) -> Result<Vec<Vec<u8>>, Error> {
        let path = format!("referrers/{subject}?artifactType={}", BUNDLE.replace('+', "%2B"));
        let asked = self.ask(&path, INDEX, DOCUMENT_BYTES_MAX).await?;
        let index = if asked.status == StatusCode::OK {
            asked.bytes().await?
        } else {
            let tag = subject.as_str().replace(':', "-");
            match self.manifest(&tag, None).await {
                Ok((_, (_, bytes))) => bytes,
                Err(error) if is_missing(&error) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        };
        let mut bundles = Vec::new();
        for named in remote::bundle_manifests(&index).map_err(|error| self.unusable(&error))? {
            let (_, (_, manifest)) = self.manifest(named.digest.as_str(), Some(&named.digest)).await?;
            if let Some(layer) = remote::bundle(&manifest, subject).map_err(|error| self.unusable(&error))? {
                bundles.push(self.blob(&layer, BUNDLE_BYTES_MAX).await?);
            }
        }
        Ok(bundles)
    }

    /// A request, once more with what a challenge asks for.
    async fn ask(&self, path: &str, accept: &str, bytes_max: usize) -> Result<Response, Error> {
        let url = self.base.join(path).map_err(|_| unusable(self.host, "a name that is in no address"))?;
        let authorization = self.authorization.lock().await.clone();
        let answer = self.fetcher.ask(url.clone(), accept, authorization.as_deref(), bytes_max).await?;
        if answer.status != StatusCode::UNAUTHORIZED || authorization.is_some() {
            return Ok(answer);
        }
        let Some(granted) = self.answer_to(&answer, &url).await? else { return Ok(answer) };
        let again = self.fetcher.ask(url, accept, Some(&granted), bytes_max).await?;
        *self.authorization.lock().await = Some(granted);
        Ok(again)
    }

    /// What answers a challenge: the credential, or a token that its server gives for it. Without a credential for that
    /// server it is asked as anybody.
    async fn answer_to(&self, answer: &Response, url: &Url) -> Result<Option<String>, Error> {
        let headers = answer.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = headers.filter_map(Challenge::parse).next() else { return Ok(None) };
        let (realm, service, scope) = match challenge {
            Challenge::Basic => return Ok(self.fetcher.basic(url)),
            Challenge::Bearer { realm, service, scope } => (parse(&realm)?, service, scope),
        };
        let mut asked = realm.clone();
        for (name, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                asked.query_pairs_mut().append_pair(name, &value);
            }
        }
        let authorization = self.fetcher.basic(&realm);
        let answer = self.fetcher.ask(asked, "application/json", authorization.as_deref(), TOKEN_BYTES_MAX).await?;
        let host = answer.host();
        let issued: Issued = document(&host, &good(answer)?.bytes().await?)?;
        let token = issued.token.or(issued.access_token).ok_or_else(|| unusable(&host, "no token"))?;
        Ok(Some(format!("Bearer {token}")))
    }

    fn unusable(&self, error: &Unusable) -> Error {
        unusable(self.host, error.to_string())
    }
}

/// Largest answer of a token server in bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
}

fn checked<'d>(bytes: &[u8], wanted: &'d BlobDigest, what: &str) -> Result<&'d BlobDigest, Error> {
    if BlobDigest::of(wanted.algorithm(), bytes) == *wanted {
        return Ok(wanted);
    }
    Err(refused(Code::DigestMismatch, format!("{what} has another digest than `{wanted}`")))
}
