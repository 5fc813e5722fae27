//! A release of a GitHub repository: its assets, named by the API, fetched from it. An asset outside of the API is not.

use bulkhead_model::{Code, Digest};
use serde::Deserialize;

use super::fetcher::{Fetcher, parse, unusable};
use super::{ARTIFACT_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLES_MAX, Sent, check_digest, invalid, is_bundle_of, refused};
use crate::error::Error;
use crate::fetch::Url;

/// The API where none is named.
pub(super) const PUBLIC_API: &str = "https://api.github.com";
/// Media type of the API's documents.
const ACCEPT: &str = "application/vnd.github+json";
/// Longest name in bytes, of each part of an address.
const NAME_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
struct Release {
    assets: Vec<Asset>,
}

#[derive(Deserialize)]
struct Asset {
    name: String,
    url: String,
    /// `sha256:<hex>`, where the server tells it.
    digest: Option<String>,
}

pub(super) async fn fetch(
    fetcher: &Fetcher<'_>,
    api: &str,
    repository: &str,
    tag: &str,
    asset: &str,
) -> Result<Sent, Error> {
    let api = parse(api)?;
    let (owner, name) = repository
        .split_once('/')
        .filter(|(owner, name)| is_name(owner) && is_name(name))
        .ok_or_else(|| invalid("/source/repository", "a repository is an owner and a name such as `acme/crm`"))?;
    if tag.is_empty() || tag.len() > NAME_BYTES_MAX {
        return Err(invalid("/source/tag", "a tag has 1 to 255 bytes"));
    }
    let mut url = api.clone();
    url.path_segments_mut()
        .map_err(|()| invalid("/source/api", "an API has an address such as `https://api.github.com`"))?
        .pop_if_empty()
        .extend(["repos", owner, name, "releases", "tags", tag]);
    let release: Release = fetcher.json(url, ACCEPT).await?;
    let found = release.assets.iter().find(|found| found.name == asset);
    let found = found.ok_or_else(|| Error::not_found("asset of the release:", asset))?;
    let artifact = download(fetcher, &api, found, ARTIFACT_BYTES_MAX).await?;
    if let Some(digest) = found.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok()) {
        check_digest(&artifact, &digest, "the asset")?;
    }
    let beside: Vec<&Asset> = release.assets.iter().filter(|other| is_bundle_of(&other.name, asset)).collect();
    if beside.len() > BUNDLES_MAX {
        return Err(refused(Code::TooLarge, format!("more than {BUNDLES_MAX} bundles are beside the asset")));
    }
    let mut bundles = Vec::with_capacity(beside.len());
    for asset in beside {
        bundles.push(download(fetcher, &api, asset, BUNDLE_BYTES_MAX).await?);
    }
    Ok(Sent { artifact, bundles })
}

async fn download(fetcher: &Fetcher<'_>, api: &Url, asset: &Asset, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let url = parse(&asset.url)?;
    if url.origin() != api.origin() {
        return Err(unusable(api.host_str().unwrap_or_default(), "an asset that is not the API's"));
    }
    Ok(fetcher.get(url, "application/octet-stream", bytes_max).await?.bytes().await?)
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.starts_with('.') && text.bytes().all(is_letter)
}
