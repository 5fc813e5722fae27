//! Blobs that a repository holds: looked at, read in pieces, given up.
//! How one comes here is `uploads.rs`'s business.

use bulkhead_database::Db;
use bytes::Bytes;

use crate::access::{Caller, Scope};
use crate::digest::BlobDigest;
use crate::error::{Error, ErrorCode};
use crate::name::RepositoryName;
use crate::namespaces::Kind;
use crate::range::ByteRange;
use crate::registry::{Registry, Repository};

/// A blob that the caller may read.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its bytes.
    pub size_bytes: u64,
    db: Db,
    repository: RepositoryName,
    digest: BlobDigest,
    content_id: String,
    is_of_plugin: bool,
}

/// Reads a blob piece by piece. It holds one piece, and no connection between two.
#[derive(Debug)]
pub struct Reader {
    db: Db,
    content_id: String,
    next: u64,
    /// The byte behind the last.
    end: u64,
}

impl Registry {
    /// A blob of a repository.
    pub async fn blob(&self, caller: &Caller, name: &RepositoryName, digest: &BlobDigest) -> Result<Blob, Error> {
        let repository = self.repository(caller, name, &[Scope::Pull]).await?;
        if !repository.sees_all() {
            let states = self.db.list_states_of_blob(name.as_str(), digest.as_str()).await?;
            if !repository.sight.allows(&states)? {
                return Err(unknown(name, digest));
            }
        }
        self.held_blob(&repository, digest).await
    }

    pub(crate) async fn held_blob(&self, repository: &Repository, digest: &BlobDigest) -> Result<Blob, Error> {
        let found = self.db.find_blob(repository.name.as_str(), digest.as_str()).await?;
        let row = found.ok_or_else(|| unknown(&repository.name, digest))?;
        Ok(Blob {
            size_bytes: row.size_bytes,
            db: self.db.clone(),
            repository: repository.name.clone(),
            digest: digest.clone(),
            content_id: row.content_id,
            is_of_plugin: repository.kind == Kind::Plugin,
        })
    }

    /// Takes a blob from an open repository.
    pub async fn delete_blob(&self, caller: &Caller, name: &RepositoryName, digest: &BlobDigest) -> Result<(), Error> {
        let repository = self.repository(caller, name, &[Scope::Push]).await?;
        refuse_deletion(&repository)?;
        let mut tx = self.db.begin().await?;
        if !tx.unlink_blob(name.as_str(), digest.as_str()).await? {
            return Err(unknown(name, digest));
        }
        Ok(tx.commit().await?)
    }
}

impl Blob {
    /// Reads all of it, or a range.
    pub fn reader(&self, range: Option<ByteRange>) -> Reader {
        let (next, end) = match range {
            Some(range) => (range.first, range.last.saturating_add(1)),
            None => (0, self.size_bytes),
        };
        Reader { db: self.db.clone(), content_id: self.content_id.clone(), next, end }
    }

    /// Counts a download, where the blob is a plugin's artifact. A count that cannot be written holds up no download.
    pub async fn count(&self) {
        if !self.is_of_plugin {
            return;
        }
        let counted = async {
            let mut tx = self.db.begin().await?;
            tx.count_download(self.repository.as_str(), self.digest.as_str()).await?;
            tx.commit().await
        };
        if let Err(error) = counted.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a download was not counted");
        }
    }
}

impl Reader {
    pub(crate) fn of(db: &Db, content_id: &str, size_bytes: u64) -> Self {
        Self { db: db.clone(), content_id: content_id.to_owned(), next: 0, end: size_bytes }
    }

    /// The rest of it in memory; the caller bounds its size and how many at once.
    pub(crate) async fn rest(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.end.saturating_sub(self.next)).unwrap_or(0));
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The next piece; none is the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.next >= self.end {
            return Ok(None);
        }
        let corrupt = || bulkhead_database::Error::Corrupt { column: "bytes" };
        let (start, bytes) = self.db.find_chunk(&self.content_id, self.next).await?.ok_or_else(corrupt)?;
        let chunk = Bytes::from(bytes);
        let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(chunk.len());
        let piece = chunk.slice(within(self.next)..within(self.end));
        if piece.is_empty() {
            return Err(corrupt().into());
        }
        self.next = self.next.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(Some(piece))
    }
}

/// In a namespace of plugins nothing is ever deleted: somebody may run it.
pub(crate) fn refuse_deletion(repository: &Repository) -> Result<(), Error> {
    match repository.kind {
        Kind::Open => Ok(()),
        Kind::Plugin => Err(Error::refused(
            ErrorCode::Unsupported,
            "nothing is deleted in a namespace of plugins; yank a version to withdraw it",
        )),
    }
}

fn unknown(name: &RepositoryName, digest: &BlobDigest) -> Error {
    Error::refused(ErrorCode::BlobUnknown, format!("`{name}` holds no blob `{digest}`"))
}
