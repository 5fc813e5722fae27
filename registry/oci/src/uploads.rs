//! Uploads: begun, continued where they stopped, finished under a digest that is computed from what was stored.
//! Each is of one token and one repository; none outlives its hour.

use bulkhead_database::registry::{CHUNK_BYTES_MAX, UploadRow};

use crate::access::{Caller, Scope};
use crate::digest::{BlobDigest, Hasher};
use crate::error::{Error, ErrorCode};
use crate::name::RepositoryName;
use crate::range::ByteRange;
use crate::registry::{Registry, Repository, unauthorized};
use crate::tokens::random_hex;

/// Life of an upload in microseconds.
const LIFE_US: i64 = 3_600 * 1_000_000;
/// Uploads of a token at once.
const OPEN_MAX: u64 = 8;
/// Bytes of a token's uploads at once, unless a single blob may be larger.
const OPEN_BYTES_MAX: u64 = 256 << 20;
/// Pieces of an upload: a client that sends smaller ones than it must is stopped.
const CHUNKS_MAX: u64 = 4_096;
/// Repositories in which a blob is looked for where nobody says from which to mount it.
const SOURCES_MAX: u32 = 16;

/// An upload that is going on.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its random name.
    pub id: String,
    /// Bytes that have arrived.
    pub size_bytes: u64,
    repository: Repository,
    token_id: String,
    chunks: u64,
}

/// How an upload begins.
#[derive(Debug)]
pub enum Start {
    /// There is nothing to send: the repository holds the blob.
    Mounted(BlobDigest),
    /// The bytes are to be sent.
    Begun(Upload),
}

impl Registry {
    /// Begins an upload.
    pub async fn begin_upload(&self, caller: &Caller, name: &RepositoryName) -> Result<Upload, Error> {
        let repository = self.repository(caller, name, &[Scope::Push, Scope::Sign]).await?;
        let Caller::Token(token) = caller else { return Err(unauthorized()) };
        self.make_repository(&repository).await?;
        let (id, now) = (random_hex::<16>()?, self.now());
        let mut tx = self.db.begin().await?;
        if tx.open_uploads(&token.id, now).await?.count >= OPEN_MAX {
            let message = format!("{OPEN_MAX} uploads of this token are going on; finish or cancel one");
            return Err(Error::refused(ErrorCode::TooManyRequests, message));
        }
        tx.insert_upload(&id, name.as_str(), &token.id, now.saturating_add(LIFE_US)).await?;
        tx.commit().await?;
        Ok(Upload { id, size_bytes: 0, repository, token_id: token.id.clone(), chunks: 0 })
    }

    /// Begins an upload, or has none to begin where the caller may read the blob in another repository: in `from`, or
    /// where nobody says in which, in any of the first `SOURCES_MAX` that hold it.
    pub async fn mount(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        digest: &BlobDigest,
        from: Option<&RepositoryName>,
    ) -> Result<Start, Error> {
        let repository = self.repository(caller, name, &[Scope::Push, Scope::Sign]).await?;
        let sources = match from {
            Some(from) => vec![from.clone()],
            None => {
                let held = self.db.list_holders(digest.as_str(), SOURCES_MAX).await?;
                held.iter().filter_map(|holder| holder.parse().ok()).collect()
            }
        };
        for source in &sources {
            // A source that is not there and one that is not for this caller are the same.
            let blob = match self.blob(caller, source, digest).await {
                Ok(blob) => blob,
                Err(error) if error.code().is_some() => continue,
                Err(error) => return Err(error),
            };
            if blob.size_bytes > self.blob_bytes_max(repository.kind) {
                break;
            }
            self.make_repository(&repository).await?;
            let mut tx = self.db.begin().await?;
            if tx.link_blob(name.as_str(), digest.as_str(), self.now()).await? {
                tx.commit().await?;
                return Ok(Start::Mounted(digest.clone()));
            }
        }
        self.begin_upload(caller, name).await.map(Start::Begun)
    }

    /// An upload that the caller began.
    pub async fn upload(&self, caller: &Caller, name: &RepositoryName, id: &str) -> Result<Upload, Error> {
        let repository = self.repository(caller, name, &[Scope::Push, Scope::Sign]).await?;
        let Caller::Token(token) = caller else { return Err(unauthorized()) };
        let is_callers = |row: &UploadRow| row.repository == name.as_str() && row.token_id == token.id;
        let found = self.db.find_upload(id, self.now()).await?.filter(is_callers);
        let row = found.ok_or_else(unknown)?;
        Ok(Upload {
            id: row.upload_id,
            size_bytes: row.size_bytes,
            repository,
            token_id: row.token_id,
            chunks: row.chunks,
        })
    }

    /// Ends an upload and drops what arrived.
    pub async fn cancel_upload(&self, upload: &Upload) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if !tx.delete_upload(&upload.id).await? {
            return Err(unknown());
        }
        Ok(tx.commit().await?)
    }

    /// Takes bytes for an upload as they arrive. `range` is what the client says of them: they must begin where the upload is.
    pub fn receive(&self, upload: Upload, range: Option<ByteRange>) -> Result<Arriving<'_>, Error> {
        if let Some(range) = range
            && range.first != upload.size_bytes
        {
            return Err(Error::OutOfOrder { size_bytes: upload.size_bytes });
        }
        Ok(Arriving { registry: self, upload, pending: Vec::new() })
    }

    /// Makes an upload a blob, if its bytes have this digest. If not, the upload is over as well.
    pub async fn finish_upload(&self, upload: Upload, digest: &BlobDigest) -> Result<(), Error> {
        let found = self.hash(&upload, digest).await?;
        if found != *digest {
            self.cancel_upload(&upload).await?;
            let message = format!("the bytes that arrived have the digest `{found}`");
            return Err(Error::refused(ErrorCode::DigestInvalid, message));
        }
        let mut tx = self.db.begin().await?;
        // Who appended meanwhile has another upload in mind.
        if !tx.end_upload(&upload.id, upload.size_bytes).await? {
            return Err(Error::refused(ErrorCode::BlobUploadInvalid, "the upload changed while it was finished"));
        }
        let name = upload.repository.name.as_str();
        tx.put_blob(name, digest.as_str(), &upload.id, upload.size_bytes, self.now()).await?;
        Ok(tx.commit().await?)
    }

    async fn hash(&self, upload: &Upload, digest: &BlobDigest) -> Result<BlobDigest, Error> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut at = 0;
        while at < upload.size_bytes {
            let found = self.db.find_chunk(&upload.id, at).await?;
            let (start, bytes) = found.ok_or_else(unknown)?;
            if start != at {
                return Err(bulkhead_database::Error::Corrupt { column: "start_bytes" }.into());
            }
            hasher.update(&bytes);
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Ok(hasher.finish())
    }

    async fn append(&self, upload: &mut Upload, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bytes_max = self.blob_bytes_max(upload.repository.kind);
        if upload.size_bytes.saturating_add(length) > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
        if upload.chunks >= CHUNKS_MAX {
            let message = format!("an upload has at most {CHUNKS_MAX} pieces; send larger ones");
            return Err(Error::refused(ErrorCode::BlobUploadInvalid, message));
        }
        let mut tx = self.db.begin().await?;
        let open = tx.open_uploads(&upload.token_id, self.now()).await?;
        if open.size_bytes.saturating_add(length) > OPEN_BYTES_MAX.max(bytes_max) {
            let message = "the uploads of this token that are going on are too large together; finish or cancel one";
            return Err(Error::refused(ErrorCode::TooManyRequests, message));
        }
        if !tx.append_chunk(&upload.id, upload.size_bytes, bytes).await? {
            // Somebody else appended, or ended it.
            let now = tx.find_upload(&upload.id, self.now()).await?.ok_or_else(unknown)?;
            return Err(Error::OutOfOrder { size_bytes: now.size_bytes });
        }
        tx.commit().await?;
        upload.size_bytes = upload.size_bytes.saturating_add(length);
        upload.chunks = upload.chunks.saturating_add(1);
        Ok(())
    }
}

/// Bytes on their way into an upload. At most one chunk is held; what was stored stays when the connection breaks.
#[derive(Debug)]
pub struct Arriving<'a> {
    registry: &'a Registry,
    upload: Upload,
    pending: Vec<u8>,
}

impl Arriving<'_> {
    /// The bytes that the blob may have at most, and so this body.
    pub fn bytes_max(&self) -> u64 {
        self.registry.blob_bytes_max(self.upload.repository.kind)
    }

    /// Takes a piece.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = CHUNK_BYTES_MAX.saturating_sub(self.pending.len());
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(taken);
            bytes = rest;
            if self.pending.len() >= CHUNK_BYTES_MAX {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Stores the rest; the upload as it is.
    pub async fn end(mut self) -> Result<Upload, Error> {
        self.flush().await?;
        Ok(self.upload)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        self.registry.append(&mut self.upload, &pending).await
    }
}

fn unknown() -> Error {
    Error::refused(ErrorCode::BlobUploadUnknown, "there is no such upload; it may have ended")
}
