//! A release at HTTPS addresses: the artifact, whose digest is named beforehand, and its bundles.

use bulkhead_model::{Code, Digest};

use super::fetcher::Fetcher;
use super::{ARTIFACT_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLES_MAX, Sent, check_digest, refused};
use crate::error::Error;

pub(super) async fn fetch(
    fetcher: &Fetcher<'_>,
    url: &str,
    digest: &Digest,
    bundle_urls: &[String],
) -> Result<Sent, Error> {
    if bundle_urls.len() > BUNDLES_MAX {
        return Err(refused(Code::TooLarge, format!("an artifact has at most {BUNDLES_MAX} bundles")));
    }
    let artifact = fetcher.bytes(url, ARTIFACT_BYTES_MAX).await?;
    check_digest(&artifact, digest, "what was fetched")?;
    let mut bundles = Vec::with_capacity(bundle_urls.len());
    for url in bundle_urls {
        bundles.push(fetcher.bytes(url, BUNDLE_BYTES_MAX).await?);
    }
    Ok(Sent { artifact, bundles })
}
