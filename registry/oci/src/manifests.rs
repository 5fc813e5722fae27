//! Manifests: pushed, fetched, deleted, by tag or by digest.
//! What a namespace of plugins takes besides is `publish.rs`'s to say.

use bulkhead_database::Tx;
use bulkhead_database::registry::NewManifest;

use crate::access::{Caller, Scope};
use crate::blobs::refuse_deletion;
use crate::digest::{Algorithm, BlobDigest};
use crate::error::{Error, ErrorCode};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::name::{Reference, RepositoryName, Tag};
use crate::namespaces::Kind;
use crate::registry::{Registry, Repository};

/// Most manifests of a repository.
const MANIFESTS_MAX: i64 = 100_000;
/// Most tags of one push.
const TAGS_OF_PUSH_MAX: usize = 64;

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A manifest that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest.
    pub digest: BlobDigest,
    /// The manifest that it refers to.
    pub subject: Option<BlobDigest>,
    /// The tags that were asked for beside its digest.
    pub tags: Vec<Tag>,
    /// What the one who pushed it should know: it is taken, and not released.
    pub warning: Option<String>,
}

/// A push on its way into the tables.
pub(crate) struct Push<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) caller: &'a Caller,
    pub(crate) manifest: &'a Manifest,
    pub(crate) digest: &'a BlobDigest,
    pub(crate) bytes: &'a [u8],
    pub(crate) tags: &'a [Tag],
}

impl Registry {
    /// Takes a manifest of at most [`MANIFEST_BYTES_MAX`] bytes. `more_tags` are asked for beside its digest.
    pub async fn push_manifest(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
        more_tags: Vec<Tag>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Pushed, Error> {
        let repository = self.repository(caller, name, &[Scope::Push, Scope::Sign]).await?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MANIFEST_BYTES_MAX) {
            return Err(Error::TooLarge { bytes_max: MANIFEST_BYTES_MAX });
        }
        let manifest = Manifest::parse(media_type, bytes)?;
        let (digest, tags) = match reference {
            Reference::Digest(named) => {
                let digest = BlobDigest::of(named.algorithm(), bytes);
                if digest != *named {
                    let message = format!("the manifest that was pushed has the digest `{digest}`");
                    return Err(Error::refused(ErrorCode::DigestInvalid, message));
                }
                (digest, more_tags)
            }
            Reference::Tag(tag) => (BlobDigest::of(Algorithm::Sha256, bytes), vec![tag.clone()]),
        };
        if tags.len() > TAGS_OF_PUSH_MAX {
            let message = format!("a push has at most {TAGS_OF_PUSH_MAX} tags");
            return Err(Error::refused(ErrorCode::ManifestInvalid, message));
        }
        self.make_repository(&repository).await?;
        let push = Push { repository: &repository, caller, manifest: &manifest, digest: &digest, bytes, tags: &tags };
        let warning = match repository.kind {
            Kind::Open => self.push_open(&push).await.map(|()| None)?,
            Kind::Plugin => self.publish(&push).await?,
        };
        let tags = if matches!(reference, Reference::Digest(_)) { tags } else { Vec::new() };
        Ok(Pushed { digest, subject: manifest.subject, tags, warning })
    }

    async fn push_open(&self, push: &Push<'_>) -> Result<(), Error> {
        self.require(push, Scope::Push)?;
        let mut tx = self.db.begin().await?;
        self.store(&mut tx, push, None).await?;
        for tag in push.tags {
            tx.put_tag(push.repository.name.as_str(), tag.as_str(), push.digest.as_str(), self.now()).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Whether the caller has this very scope, where one of several let it in.
    pub(crate) fn require(&self, push: &Push<'_>, scope: Scope) -> Result<(), Error> {
        let name = &push.repository.name;
        match push.caller {
            Caller::Token(token) if token.allows(scope, name) => Ok(()),
            Caller::Token(_) | Caller::Anonymous => {
                let message = format!("the token does not allow `{scope}` in `{name}`");
                Err(Error::refused(ErrorCode::Denied, message))
            }
        }
    }

    /// Stores a manifest whose blobs the repository holds. From here to the end of the transaction none can be collected.
    /// `artifact` is the plugin's artifact that it is or signs.
    pub(crate) async fn store(&self, tx: &mut Tx, push: &Push<'_>, artifact: Option<&str>) -> Result<(), Error> {
        let name = push.repository.name.as_str();
        if tx.count_manifests(name).await? >= MANIFESTS_MAX {
            let message = format!("`{name}` has {MANIFESTS_MAX} manifests, as many as it may");
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        let blobs = push.manifest.blobs()?;
        for blob in &blobs {
            if !tx.touch_link(name, blob.as_str(), self.now()).await? {
                let message = format!("`{name}` holds no blob `{blob}`; push it first");
                return Err(Error::refused(ErrorCode::ManifestBlobUnknown, message));
            }
        }
        let blobs: Vec<&str> = blobs.iter().map(BlobDigest::as_str).collect();
        let children: Vec<&str> = push.manifest.children.iter().map(BlobDigest::as_str).collect();
        let act = self.act(push.caller);
        let row = NewManifest {
            repository: name,
            digest: push.digest.as_str(),
            media_type: &push.manifest.media_type,
            bytes: push.bytes,
            subject: push.manifest.subject.as_ref().map(BlobDigest::as_str),
            artifact_type: push.manifest.artifact_type.as_deref(),
            descriptor: &push.manifest.descriptor(push.digest, push.bytes.len()),
            blobs: &blobs,
            children: &children,
            artifact_digest: artifact,
            pushed_by: &act.actor,
            at: act.at,
        };
        Ok(tx.put_manifest(&row).await?)
    }

    /// A manifest of a repository.
    pub async fn manifest(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let repository = self.repository(caller, name, &[Scope::Pull]).await?;
        let name = repository.name.as_str();
        let digest = match reference {
            Reference::Digest(digest) => digest.as_str().to_owned(),
            Reference::Tag(tag) => {
                let found = self.db.find_tag(name, tag.as_str()).await?;
                found.ok_or_else(|| unknown(name, tag.as_str()))?
            }
        };
        if !repository.sees_all() {
            let states = self.db.list_states_of_manifest(name, &digest).await?;
            if !repository.sight.allows(&states)? {
                // As it was asked for: a tag's digest is not told either.
                return Err(unknown(name, &reference.to_string()));
            }
        }
        let row = self.db.find_manifest(name, &digest).await?.ok_or_else(|| unknown(name, &digest))?;
        Ok(StoredManifest { digest: row.digest, media_type: row.media_type, bytes: row.bytes })
    }

    /// Removes a tag, or a manifest with every tag that leads to it, from an open repository.
    pub async fn delete_manifest(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<(), Error> {
        let repository = self.repository(caller, name, &[Scope::Push]).await?;
        refuse_deletion(&repository)?;
        let at = self.now();
        let mut tx = self.db.begin().await?;
        let (deleted, wanted) = match reference {
            Reference::Tag(tag) => (tx.delete_tag(name.as_str(), tag.as_str(), at).await?, tag.as_str()),
            Reference::Digest(digest) => {
                (tx.delete_manifest(name.as_str(), digest.as_str(), at).await?, digest.as_str())
            }
        };
        if !deleted {
            return Err(unknown(name.as_str(), wanted));
        }
        Ok(tx.commit().await?)
    }
}

fn unknown(name: &str, wanted: &str) -> Error {
    Error::refused(ErrorCode::ManifestUnknown, format!("`{name}` has no manifest `{wanted}`"))
}
