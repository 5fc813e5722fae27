//! Lists of a repository: its tags, and the manifests that refer to one. Both come in pages.
//! A version that was withdrawn has no tag.

use crate::access::{Caller, Scope};
use crate::digest::BlobDigest;
use crate::error::{Error, ErrorCode};
use crate::gate::{Sight, State};
use crate::manifest::{MANIFEST_BYTES_MAX, invalid, is_printable};
use crate::media_type::INDEX;
use crate::name::{InvalidReference, RepositoryName, Tag};
use crate::registry::Registry;

/// Most tags of a page.
pub(crate) const TAGS_MAX: u32 = 1_000;
/// Most referrers of a page, if their descriptors are small.
const REFERRERS_MAX: u32 = 1_000;

/// A page of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The tags, in byte order.
    pub tags: Vec<String>,
    /// Goes into `last` for the next page.
    pub next: Option<String>,
}

/// A page of referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// JSON text: an index of descriptors.
    pub index: String,
    /// Goes into `last` for the next page.
    pub next: Option<String>,
}

impl Registry {
    /// Tags behind `last`, at most `count` and at most 1,000.
    pub async fn tags(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        count: Option<u32>,
        last: &str,
    ) -> Result<Tags, Error> {
        let repository = self.repository(caller, name, &[Scope::Pull]).await?;
        if !last.is_empty() && last.parse::<Tag>().is_err() {
            return Err(invalid(InvalidReference.to_string()));
        }
        let name = repository.name.as_str();
        if !self.db.has_repository(name).await? {
            return Err(Error::refused(ErrorCode::NameUnknown, format!("nothing was pushed to `{name}`")));
        }
        let count = count.unwrap_or(TAGS_MAX).min(TAGS_MAX);
        if count == 0 {
            return Ok(Tags { tags: Vec::new(), next: None });
        }
        let limit = count.saturating_add(1);
        let mut tags = match repository.sight {
            Sight::All => self.db.list_tags(name, last, limit).await?,
            Sight::Released => self.db.list_tags_at(name, State::Released.as_str(), last, limit).await?,
        };
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let has_more = tags.len() > wanted;
        tags.truncate(wanted);
        let next = if has_more { tags.last().cloned() } else { None };
        Ok(Tags { tags, next })
    }

    /// The manifests that refer to `subject`, which need not be there.
    pub async fn referrers(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        subject: &BlobDigest,
        artifact_type: Option<&str>,
        last: &str,
    ) -> Result<Referrers, Error> {
        let repository = self.repository(caller, name, &[Scope::Pull]).await?;
        if !last.is_empty()
            && let Err(error) = last.parse::<BlobDigest>()
        {
            return Err(error);
        }
        if artifact_type.is_some_and(|wanted| !is_printable(wanted)) {
            return Err(invalid("an artifact type is a media type"));
        }
        let name = repository.name.as_str();
        let states = match repository.sight {
            Sight::All => Vec::new(),
            Sight::Released => self.db.list_states_of_manifest(name, subject.as_str()).await?,
        };
        if !repository.sight.allows(&states)? {
            return Ok(Referrers { index: index_of(&[]), next: None });
        }
        let mut tx = self.db.begin_read().await?;
        let found =
            tx.list_referrers(name, subject.as_str(), artifact_type, last, REFERRERS_MAX.saturating_add(1)).await?;
        let (mut descriptors, mut next, mut size_bytes) = (Vec::new(), None, 0_u64);
        let mut previous: Option<String> = None;
        for (index, (digest, length)) in found.into_iter().enumerate() {
            size_bytes = size_bytes.saturating_add(length);
            let is_full =
                u32::try_from(index).is_ok_and(|index| index >= REFERRERS_MAX) || size_bytes > MANIFEST_BYTES_MAX;
            // One always fits: its descriptor is smaller than it was itself.
            if is_full && previous.is_some() {
                next = previous;
                break;
            }
            descriptors.push(tx.get_descriptor(name, &digest).await?);
            previous = Some(digest);
        }
        tx.commit().await?;
        Ok(Referrers { index: index_of(&descriptors), next })
    }
}

fn index_of(descriptors: &[String]) -> String {
    let manifests = descriptors.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{manifests}]}}"#)
}
