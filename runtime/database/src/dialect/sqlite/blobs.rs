//! The blobs inside a plugin's `SQLite` file: the host's own statements on tables that the plugin's SQL cannot see, so
//! that quota and deletion are the file's. Blocking. An upload's rows belong to no name before it is finished.
//! It checks no name and no size; the caller did.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Connection, integer, text};
use super::files::acquire;
use super::raw::{Bind, Cell, RawStatement};
use super::storage::Store;
use crate::tenant::blobs::{BlobInfo, BlobPage, Rows, page};
use crate::tenant::kv::end_of_prefix;
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

const STAT: &str = "SELECT name, size_bytes, sha256, media_type, modified_at, upload_id FROM __blobs WHERE name = $1";
const CHUNKS: &str =
    "SELECT bytes FROM __blob_chunks WHERE upload_id = $1 AND number >= $2 AND number < $3 ORDER BY number";
const SCAN: &str = "SELECT name, size_bytes, sha256, media_type, modified_at FROM __blobs WHERE name >= $1 AND name > $2 \
     AND ($3 IS NULL OR name < $3) ORDER BY name LIMIT $4";
const BEGIN_UPLOAD: &str = "INSERT INTO __blob_uploads (upload_id, started_at) VALUES ($1, $2)";
const IS_OPEN: &str = "SELECT count(*) FROM __blob_uploads WHERE upload_id = $1";
const END_UPLOAD: &str = "DELETE FROM __blob_uploads WHERE upload_id = $1 RETURNING 1";
const OLDEST_UPLOAD: &str =
    "SELECT upload_id FROM __blob_uploads WHERE started_at <= $1 ORDER BY started_at, upload_id LIMIT 1";
const PUT_CHUNK: &str = "INSERT INTO __blob_chunks (upload_id, number, bytes) VALUES ($1, $2, $3)";
const DELETE_CHUNKS: &str = "DELETE FROM __blob_chunks WHERE upload_id = $1";
const COUNT: &str = "SELECT count(*) FROM __blobs";
const PUT: &str = "INSERT INTO __blobs (name, upload_id, size_bytes, sha256, media_type, modified_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const DELETE: &str = "DELETE FROM __blobs WHERE name = $1 RETURNING upload_id";

impl Store {
    /// The right to write a blob.
    pub(crate) async fn blob_place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        // One that was just dropped is still being removed: its place is waited for like a lock.
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        acquire(&self.file.blob_writers, until, limit_codes::OPEN_WRITERS).await
    }

    /// What is known of a blob.
    pub(crate) async fn blob_stat(&self, name: &str, deadline: Instant) -> Result<Option<BlobInfo>, StorageError> {
        let name = name.to_owned();
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| Ok(connection.blob(&name)?.map(|(info, _)| info))).await
    }

    /// These chunks of a blob, as far as it has them.
    pub(crate) async fn blob_chunks(
        &self,
        name: &str,
        numbers: Range<i64>,
        deadline: Instant,
    ) -> Result<Option<Vec<Vec<u8>>>, StorageError> {
        let name = name.to_owned();
        self.reader(deadline).await?.finish(deadline, move |connection| connection.blob_chunks(&name, &numbers)).await
    }

    /// Stores rows of an upload, which the first of them begins.
    pub(crate) async fn blob_append(&self, rows: Rows, now_us: i64, deadline: Instant) -> Result<(), StorageError> {
        self.write_blobs(limits::LOCK_WAIT, deadline, move |connection| connection.append(&rows, now_us)).await
    }

    /// Stores the last rows of an upload and makes all of it the blob of its name.
    pub(crate) async fn blob_finish(&self, rows: Rows, info: BlobInfo, deadline: Instant) -> Result<(), StorageError> {
        self.write_blobs(limits::LOCK_WAIT, deadline, move |connection| connection.finish(&rows, &info)).await
    }

    /// Removes an upload that was not finished.
    pub(crate) async fn blob_discard(&self, upload_id: i64, deadline: Instant) -> Result<(), StorageError> {
        let wait = limits::BLOB_DISCARD;
        self.write_blobs(wait, deadline, move |connection| connection.remove_upload(upload_id).map(|_| ())).await
    }

    /// Removes a blob and says whether it was there.
    pub(crate) async fn blob_delete(&self, name: &str, deadline: Instant) -> Result<bool, StorageError> {
        let name = name.to_owned();
        self.write_blobs(limits::LOCK_WAIT, deadline, move |connection| connection.remove_blob(&name)).await
    }

    /// Up to `max` blobs of a prefix behind `after`, in byte order.
    pub(crate) async fn blob_scan(
        &self,
        prefix: &str,
        after: Option<String>,
        max: usize,
        deadline: Instant,
    ) -> Result<BlobPage, StorageError> {
        let prefix = prefix.to_owned();
        let session = self.reader(deadline).await?;
        session.finish(deadline, move |connection| connection.blob_scan(&prefix, after.as_deref(), max)).await
    }

    /// Removes one upload that began before a moment and says how many.
    pub(crate) async fn blob_sweep(&self, before_us: i64, deadline: Instant) -> Result<u32, StorageError> {
        self.write_blobs(limits::LOCK_WAIT, deadline, move |connection| connection.sweep_upload(before_us)).await
    }

    async fn write_blobs<T: Send + 'static>(
        &self,
        wait: Duration,
        deadline: Instant,
        work: impl FnOnce(&mut Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let session = self.writer(wait, deadline).await?;
        session.finish(deadline, move |connection| connection.in_transaction(work)).await
    }
}

impl Connection {
    /// A blob, and the upload that has its chunks.
    fn blob(&mut self, name: &str) -> Result<Option<(BlobInfo, i64)>, StorageError> {
        let mut found = None;
        self.host_rows(STAT, &[Bind::Text(name)], |row| {
            found = Some((info(row)?, integer(row.cell(5))));
            Ok(())
        })?;
        Ok(found)
    }

    /// Of one moment: a blob that is replaced meanwhile is read as it was.
    fn blob_chunks(&mut self, name: &str, numbers: &Range<i64>) -> Result<Option<Vec<Vec<u8>>>, StorageError> {
        self.in_snapshot(|connection| match connection.blob(name)? {
            Some((_, upload_id)) => connection.chunks(upload_id, numbers).map(Some),
            None => Ok(None),
        })
    }

    fn chunks(&mut self, upload_id: i64, numbers: &Range<i64>) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut chunks = Vec::new();
        let numbers = [Bind::Integer(upload_id), Bind::Integer(numbers.start), Bind::Integer(numbers.end)];
        self.host_rows(CHUNKS, &numbers, |row| {
            chunks.push(bytes(row.cell(0)).to_vec());
            Ok(())
        })?;
        Ok(chunks)
    }

    fn append(&mut self, rows: &Rows, now_us: i64) -> Result<(), StorageError> {
        if !rows.has_earlier() {
            self.host(BEGIN_UPLOAD, &[Bind::Integer(rows.upload_id), Bind::Integer(now_us)])?;
        } else if self.first_number(IS_OPEN, rows.upload_id)?.unwrap_or(0) == 0 {
            return Err(StorageError::Ended);
        }
        self.put_chunks(rows)
    }

    fn finish(&mut self, rows: &Rows, info: &BlobInfo) -> Result<(), StorageError> {
        if rows.has_earlier() && self.first_number(END_UPLOAD, rows.upload_id)?.is_none() {
            return Err(StorageError::Ended);
        }
        // First, so that the room of the old blob serves the new one.
        let is_new = !self.remove_blob(&info.name)?;
        if is_new && u64::try_from(self.host_number(COUNT)?).unwrap_or(0) >= limits::BLOBS_MAX {
            return Err(StorageError::Limit(limit_codes::BLOBS));
        }
        self.put_chunks(rows)?;
        let put = [
            Bind::Text(&info.name),
            Bind::Integer(rows.upload_id),
            Bind::Integer(i64::try_from(info.size_bytes).unwrap_or(i64::MAX)),
            Bind::Blob(&info.sha256),
            Bind::Text(&info.media_type),
            Bind::Integer(info.modified_at),
        ];
        self.host(PUT, &put)
    }

    fn put_chunks(&mut self, rows: &Rows) -> Result<(), StorageError> {
        rows.numbered().try_for_each(|(number, bytes)| {
            self.host(PUT_CHUNK, &[Bind::Integer(rows.upload_id), Bind::Integer(number), Bind::Blob(bytes)])
        })
    }

    fn remove_blob(&mut self, name: &str) -> Result<bool, StorageError> {
        let mut upload_id = None;
        self.host_rows(DELETE, &[Bind::Text(name)], |row| {
            upload_id = Some(integer(row.cell(0)));
            Ok(())
        })?;
        match upload_id {
            Some(upload_id) => self.host(DELETE_CHUNKS, &[Bind::Integer(upload_id)]).map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether it was there. One that is a blob by now is left alone.
    fn remove_upload(&mut self, upload_id: i64) -> Result<bool, StorageError> {
        let was_open = self.first_number(END_UPLOAD, upload_id)?.is_some();
        if was_open {
            self.host(DELETE_CHUNKS, &[Bind::Integer(upload_id)])?;
        }
        Ok(was_open)
    }

    fn sweep_upload(&mut self, before_us: i64) -> Result<u32, StorageError> {
        match self.first_number(OLDEST_UPLOAD, before_us)? {
            Some(upload_id) => self.remove_upload(upload_id).map(u32::from),
            None => Ok(0),
        }
    }

    fn blob_scan(&mut self, prefix: &str, after: Option<&str>, max: usize) -> Result<BlobPage, StorageError> {
        // A name is never empty, so that the empty text is before every name.
        let after = Bind::Text(after.unwrap_or_default());
        let end = end_of_prefix(prefix);
        let end = end.as_deref().map_or(Bind::Null, Bind::Text);
        let limit = Bind::Integer(i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1));
        let mut items = Vec::new();
        self.host_rows(SCAN, &[Bind::Text(prefix), after, end, limit], |row| {
            items.push(info(row)?);
            Ok(())
        })?;
        Ok(page(items, max))
    }

    /// The number that a statement of one parameter answers, if it answers a row.
    fn first_number(&mut self, statement: &'static str, param: i64) -> Result<Option<i64>, StorageError> {
        let mut number = None;
        self.host_rows(statement, &[Bind::Integer(param)], |row| {
            number = Some(integer(row.cell(0)));
            Ok(())
        })?;
        Ok(number)
    }
}

fn info(row: &RawStatement) -> Result<BlobInfo, StorageError> {
    Ok(BlobInfo {
        name: text(row.cell(0)),
        size_bytes: u64::try_from(integer(row.cell(1))).unwrap_or(0),
        sha256: bytes(row.cell(2)).try_into().map_err(|_| StorageError::Unavailable)?,
        media_type: text(row.cell(3)),
        modified_at: integer(row.cell(4)),
    })
}

fn bytes(cell: Cell<'_>) -> &[u8] {
    match cell {
        Cell::Blob(bytes) => bytes,
        Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) => &[],
    }
}
