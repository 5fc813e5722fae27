//! One plugin's blobs in one tenant: checks names and sizes, cuts what is written into rows, hashes it on the way.
//! Nothing is visible under a name before its writer finishes. It names no file: a name is a text and never a path.

use std::ops::Range;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::held::statement_deadline;
use super::limits;
use super::store::PluginStore;
use super::value::{StorageError, limit_codes};
use crate::dialect;

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// What its writer said it is.
    pub media_type: String,
    /// Microseconds since 1970, UTC.
    pub modified_at: i64,
}

/// A page of blobs in byte order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobPage {
    /// The blobs.
    pub items: Vec<BlobInfo>,
    /// Token for the next page, if there is more.
    pub next: Option<String>,
}

impl PluginStore {
    /// What is known of the blob of this name.
    pub async fn blob_stat(&self, name: &str, deadline: Instant) -> Result<Option<BlobInfo>, StorageError> {
        check_name(name)?;
        self.store.blob_stat(name, self.statement_deadline(deadline)).await
    }

    /// At most `len` bytes of a blob from `offset`, of which one read has [`limits::BLOB_PIECE_BYTES_MAX`]; fewer at
    /// its end, none behind it. `None` if there is no such blob.
    pub async fn blob_read(
        &self,
        name: &str,
        offset: u64,
        len: u32,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        check_name(name)?;
        let span = Span::new(offset, usize::try_from(len).unwrap_or(usize::MAX))?;
        let chunks = self.store.blob_chunks(name, span.chunks.clone(), self.statement_deadline(deadline)).await?;
        Ok(chunks.map(|chunks| span.cut(&chunks)))
    }

    /// Begins to write a blob, in the place of the one of this name if there is one.
    pub async fn blob_create(
        &self,
        name: &str,
        media_type: &str,
        deadline: Instant,
    ) -> Result<BlobWriter, StorageError> {
        check_name(name)?;
        check_media_type(media_type)?;
        self.refuse_in_scope()?;
        let place = self.store.blob_place(self.statement_deadline(deadline)).await?;
        Ok(BlobWriter {
            store: self.store.clone(),
            upload_id: new_upload_id(),
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            hash: Sha256::new(),
            size_bytes: 0,
            rest: Vec::new(),
            chunks_stored: 0,
            may_be_stored: false,
            has_failed: false,
            place: Some(place),
        })
    }

    /// Removes a blob and says whether it was there.
    pub async fn blob_delete(&self, name: &str, deadline: Instant) -> Result<bool, StorageError> {
        check_name(name)?;
        self.refuse_in_scope()?;
        self.store.blob_delete(name, self.statement_deadline(deadline)).await
    }

    /// Up to `max` blobs whose names begin with `prefix`, in byte order. `after` is the `next` of the page before.
    pub async fn blob_scan(
        &self,
        prefix: &str,
        after: Option<String>,
        max: u32,
        deadline: Instant,
    ) -> Result<BlobPage, StorageError> {
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        if let Some(after) = &after {
            check_name(after)?;
            if !after.starts_with(prefix) {
                return Err(StorageError::Invalid("the token is of another scan".to_owned()));
            }
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, limits::BLOBS_PER_PAGE_MAX);
        self.store.blob_scan(prefix, after, max, self.statement_deadline(deadline)).await
    }

    /// Removes an upload whose process died before it was finished or discarded, and says how many; 0 means that none
    /// is left.
    pub async fn blob_sweep(&self, now_ms: u64, deadline: Instant) -> Result<u32, StorageError> {
        let age_us = i64::try_from(limits::BLOB_UPLOAD.as_micros()).unwrap_or(i64::MAX);
        self.store.blob_sweep(microseconds(now_ms).saturating_sub(age_us), self.statement_deadline(deadline)).await
    }
}

/// A blob that is being written. Dropping it discards what was written; so does any error of it, and after one it
/// answers [`StorageError::Ended`].
#[derive(Debug)]
pub struct BlobWriter {
    store: dialect::Store,
    upload_id: i64,
    name: String,
    media_type: String,
    hash: Sha256,
    size_bytes: u64,
    /// What does not fill a chunk yet.
    rest: Vec<u8>,
    chunks_stored: i64,
    /// Whether there is something to discard, also when nobody waited for the answer.
    may_be_stored: bool,
    has_failed: bool,
    /// Given back when what was written is a blob or is gone.
    place: Option<OwnedSemaphorePermit>,
}

impl BlobWriter {
    /// Adds a piece of at most [`limits::BLOB_PIECE_BYTES_MAX`] to a blob of at most [`limits::BLOB_BYTES_MAX`].
    /// `now_ms` tells the sweeper how old an upload is.
    pub async fn write(&mut self, piece: &[u8], now_ms: u64, deadline: Instant) -> Result<(), StorageError> {
        if std::mem::replace(&mut self.has_failed, true) {
            return Err(StorageError::Ended);
        }
        self.take(piece)?;
        if self.rest.len() >= limits::BLOB_CHUNK_BYTES {
            self.store_chunks(now_ms, deadline).await?;
        }
        self.has_failed = false;
        Ok(())
    }

    /// Makes what was written the blob of its name, all at once.
    pub async fn finish(mut self, now_ms: u64, deadline: Instant) -> Result<BlobInfo, StorageError> {
        if self.has_failed {
            return Err(StorageError::Ended);
        }
        let info = BlobInfo {
            name: std::mem::take(&mut self.name),
            size_bytes: self.size_bytes,
            sha256: std::mem::take(&mut self.hash).finalize().into(),
            media_type: std::mem::take(&mut self.media_type),
            modified_at: microseconds(now_ms),
        };
        let rows = self.rows(self.rest.len());
        self.store.blob_finish(rows, info.clone(), statement_deadline(deadline)).await?;
        self.may_be_stored = false;
        Ok(info)
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        let size_bytes = self.size_bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if piece.len() > limits::BLOB_PIECE_BYTES_MAX || size_bytes > limits::BLOB_BYTES_MAX {
            return Err(StorageError::Limit(limit_codes::BYTES));
        }
        self.size_bytes = size_bytes;
        self.hash.update(piece);
        self.rest.extend_from_slice(piece);
        Ok(())
    }

    async fn store_chunks(&mut self, now_ms: u64, deadline: Instant) -> Result<(), StorageError> {
        let rows = self.rows(self.rest.len() / limits::BLOB_CHUNK_BYTES * limits::BLOB_CHUNK_BYTES);
        let end = rows.end();
        self.may_be_stored = true;
        self.store.blob_append(rows, microseconds(now_ms), statement_deadline(deadline)).await?;
        self.chunks_stored = end;
        Ok(())
    }

    /// The first `bytes` of what is not stored yet.
    fn rows(&mut self, bytes: usize) -> Rows {
        let rest = self.rest.split_off(bytes);
        let bytes = std::mem::replace(&mut self.rest, rest);
        Rows { upload_id: self.upload_id, first: self.chunks_stored, bytes }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // A process that ends here leaves the upload to the sweeper.
        let (true, Ok(runtime)) = (self.may_be_stored, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (store, upload_id, place) = (self.store.clone(), self.upload_id, self.place.take());
        runtime.spawn(async move {
            if let Err(error) = store.blob_discard(upload_id, Instant::now() + limits::BLOB_DISCARD).await {
                tracing::warn!(%error, "an unfinished blob is left to the sweeper");
            }
            drop(place);
        });
    }
}

/// Consecutive rows of an upload.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) upload_id: i64,
    /// Number of the first.
    pub(crate) first: i64,
    /// Bytes of all, of which only the last row has less than a chunk.
    pub(crate) bytes: Vec<u8>,
}

impl Rows {
    /// Each row's number and bytes.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (i64, &[u8])> {
        (self.first..).zip(self.bytes.chunks(limits::BLOB_CHUNK_BYTES))
    }

    /// Whether rows of the upload were stored before these.
    pub(crate) fn has_earlier(&self) -> bool {
        self.first > 0
    }

    /// Number of the row behind the last.
    fn end(&self) -> i64 {
        let count = self.bytes.len().div_ceil(limits::BLOB_CHUNK_BYTES);
        self.first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// A page of at most `max` of `items`, which holds one more than that where there is more.
pub(crate) fn page(mut items: Vec<BlobInfo>, max: usize) -> BlobPage {
    let has_more = items.len() > max;
    items.truncate(max);
    let next = items.last().filter(|_| has_more).map(|info| info.name.clone());
    BlobPage { items, next }
}

/// A range of bytes, and the chunks that it is in.
#[derive(Debug, PartialEq)]
struct Span {
    chunks: Range<i64>,
    /// Bytes of the first chunk before the range.
    skip: usize,
    len: usize,
}

impl Span {
    fn new(offset: u64, len: usize) -> Result<Self, StorageError> {
        if len > limits::BLOB_PIECE_BYTES_MAX {
            return Err(StorageError::Limit(limit_codes::BYTES));
        }
        let count = |bytes: u64| usize::try_from(bytes).map_err(|_| StorageError::Limit(limit_codes::BYTES));
        // Behind the largest blob is as good as behind any.
        let offset = count(offset.min(limits::BLOB_BYTES_MAX))?;
        let number = |chunk: usize| i64::try_from(chunk).unwrap_or(i64::MAX);
        let first = offset / limits::BLOB_CHUNK_BYTES;
        let end = (offset + len).div_ceil(limits::BLOB_CHUNK_BYTES);
        Ok(Self { chunks: number(first)..number(end), skip: offset % limits::BLOB_CHUNK_BYTES, len })
    }

    fn cut(&self, chunks: &[Vec<u8>]) -> Vec<u8> {
        let (mut bytes, mut skip) = (Vec::with_capacity(self.len), self.skip);
        for chunk in chunks {
            let from = chunk.get(skip..).unwrap_or_default();
            let left = self.len.saturating_sub(bytes.len());
            bytes.extend_from_slice(from.get(..left).unwrap_or(from));
            skip = 0;
        }
        bytes
    }
}

/// A name is 1 to 512 bytes of UTF-8 without NUL.
fn check_name(name: &str) -> Result<(), StorageError> {
    if name.is_empty() || name.contains('\0') {
        return Err(StorageError::Invalid("a name is text without NUL, not empty".to_owned()));
    }
    if name.len() > limits::BLOB_NAME_BYTES_MAX {
        return Err(StorageError::Limit(limit_codes::BYTES));
    }
    Ok(())
}

/// A media type goes into headers: printable ASCII.
fn check_media_type(media_type: &str) -> Result<(), StorageError> {
    if media_type.len() > limits::BLOB_MEDIA_TYPE_BYTES_MAX {
        return Err(StorageError::Limit(limit_codes::BYTES));
    }
    if media_type.is_empty() || !media_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(StorageError::Invalid("a media type is printable ASCII, not empty".to_owned()));
    }
    Ok(())
}

/// At random, so that the writer knows it whatever became of its first row.
fn new_upload_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    (high ^ low).cast_signed() & i64::MAX
}

fn microseconds(now_ms: u64) -> i64 {
    i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = limits::BLOB_CHUNK_BYTES;

    #[test]
    fn a_range_is_cut_out_of_the_chunks_that_it_touches() {
        let blob: Vec<u8> = (0..2 * CHUNK + 5).map(|place| u8::try_from(place % 251).unwrap()).collect();
        let chunks: Vec<Vec<u8>> = blob.chunks(CHUNK).map(<[u8]>::to_vec).collect();
        let check = |offset: usize, len: usize| {
            let span = Span::new(u64::try_from(offset).unwrap(), len).unwrap();
            let touched: Vec<_> = (0..)
                .zip(&chunks)
                .filter(|(number, _)| span.chunks.contains(number))
                .map(|(_, chunk)| chunk.clone())
                .collect();
            let wanted = blob.get(offset..blob.len().min(offset + len)).unwrap_or_default();
            assert!(touched.len() <= len.div_ceil(CHUNK) + 1, "{offset} {len}");
            assert_eq!(span.cut(&touched), wanted, "{offset} {len}");
        };
        for offset in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 4, 2 * CHUNK + 5, 3 * CHUNK] {
            for len in [0, 1, 5, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK] {
                check(offset, len);
            }
        }
    }

    #[test]
    fn an_offset_behind_every_blob_is_behind_every_chunk() {
        let last = i64::try_from(limits::BLOB_BYTES_MAX / u64::try_from(CHUNK).unwrap()).unwrap();
        for offset in [limits::BLOB_BYTES_MAX, limits::BLOB_BYTES_MAX + 1, u64::MAX] {
            assert!(Span::new(offset, limits::BLOB_PIECE_BYTES_MAX).unwrap().chunks.start >= last, "{offset}");
        }
        assert_eq!(Span::new(0, limits::BLOB_PIECE_BYTES_MAX + 1), Err(StorageError::Limit(limit_codes::BYTES)));
    }
}
