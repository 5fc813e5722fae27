//! The blobs in tables of the host, whose connections run no plugin SQL. Every write takes the pair's totals first, as
//! one of a key does: the bytes of both are counted together and exactly. An upload's rows belong to no name before it
//! is finished. It checks no name and no size; the caller did.

use std::ops::Range;
use std::time::Instant;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::Failure;
use super::connections::{Lease, acquire};
use super::kv::{End, Totals};
use super::pair::Pair;
use super::storage::Store;
use crate::tenant::blobs::{BlobInfo, BlobPage, Rows, page};
use crate::tenant::kv::end_of_prefix;
use crate::tenant::limits;
use crate::tenant::value::{StorageError, limit_codes};

/// Bytes that a row takes beside what is kept in it, about.
const ROW_BYTES: i64 = 100;
/// Chunks that one statement removes.
const CHUNKS_PER_DELETE: i64 = 64;

const STAT: &str = "SELECT name, size_bytes, sha256, media_type, modified_at FROM storage_blobs \
     WHERE tenant_id = $1 AND plugin_id = $2 AND name = $3";
/// One row without a chunk where the blob has none of them.
const CHUNKS: &str = "SELECT c.bytes FROM storage_blobs AS b LEFT JOIN storage_blob_chunks AS c \
     ON c.tenant_id = b.tenant_id AND c.plugin_id = b.plugin_id AND c.upload_id = b.upload_id \
     AND c.number >= $4 AND c.number < $5 \
     WHERE b.tenant_id = $1 AND b.plugin_id = $2 AND b.name = $3 ORDER BY c.number LIMIT $6";
const SCAN: &str = "SELECT name, size_bytes, sha256, media_type, modified_at FROM storage_blobs \
     WHERE tenant_id = $1 AND plugin_id = $2 AND name >= $3 AND name > $4 AND ($5::text IS NULL OR name < $5) \
     ORDER BY name LIMIT $6";
const BEGIN_UPLOAD: &str = "INSERT INTO storage_blob_uploads (tenant_id, plugin_id, upload_id, started_at, bytes) \
     VALUES ($1, $2, $3, $4, $5)";
const CONTINUE_UPLOAD: &str = "UPDATE storage_blob_uploads SET bytes = bytes + $4 \
     WHERE tenant_id = $1 AND plugin_id = $2 AND upload_id = $3";
const END_UPLOAD: &str =
    "DELETE FROM storage_blob_uploads WHERE tenant_id = $1 AND plugin_id = $2 AND upload_id = $3 RETURNING bytes";
const OLDEST_UPLOAD: &str = "SELECT upload_id FROM storage_blob_uploads \
     WHERE tenant_id = $1 AND plugin_id = $2 AND started_at <= $3 ORDER BY started_at, upload_id LIMIT 1";
const PUT_CHUNK: &str = "INSERT INTO storage_blob_chunks (tenant_id, plugin_id, upload_id, number, bytes) \
     VALUES ($1, $2, $3, $4, $5)";
const DELETE_CHUNKS: &str =
    "DELETE FROM storage_blob_chunks WHERE tenant_id = $1 AND plugin_id = $2 AND upload_id = $3";
const COUNT: &str = "SELECT count(*) FROM storage_blobs WHERE tenant_id = $1 AND plugin_id = $2";
const PUT: &str = "INSERT INTO storage_blobs \
     (tenant_id, plugin_id, name, upload_id, size_bytes, sha256, media_type, modified_at, bytes) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const DELETE: &str = "DELETE FROM storage_blobs WHERE tenant_id = $1 AND plugin_id = $2 AND name = $3 \
     RETURNING upload_id, bytes";
const COUNT_BYTES: &str = "UPDATE storage_key_totals SET bytes = bytes + $3 WHERE tenant_id = $1 AND plugin_id = $2";

impl Store {
    /// The right to write a blob.
    pub(crate) async fn blob_place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        // One that was just dropped is still being removed: its place is waited for like a lock.
        let until = deadline.min(Instant::now() + limits::LOCK_WAIT);
        acquire(&self.pair.blob_writers, until, limit_codes::OPEN_WRITERS).await
    }

    /// What is known of a blob.
    pub(crate) async fn blob_stat(&self, name: &str, deadline: Instant) -> Result<Option<BlobInfo>, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let row = sqlx::query(STAT).bind(tenant).bind(plugin).bind(name).fetch_optional(connection).await?;
            row.map(|row| info(&row)).transpose()
        })
        .await
    }

    /// These chunks of a blob, as far as it has them. One statement: a blob that is replaced meanwhile is read as it was.
    pub(crate) async fn blob_chunks(
        &self,
        name: &str,
        numbers: Range<i64>,
        deadline: Instant,
    ) -> Result<Option<Vec<Vec<u8>>>, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let chunks: Vec<Option<Vec<u8>>> = sqlx::query_scalar(CHUNKS)
                .bind(tenant)
                .bind(plugin)
                .bind(name)
                .bind(numbers.start)
                .bind(numbers.end)
                .bind(numbers.end.saturating_sub(numbers.start).max(1))
                .fetch_all(connection)
                .await?;
            Ok((!chunks.is_empty()).then(|| chunks.into_iter().flatten().collect()))
        })
        .await
    }

    /// Stores rows of an upload, which the first of them begins.
    pub(crate) async fn blob_append(&self, rows: Rows, now_us: i64, deadline: Instant) -> Result<(), StorageError> {
        self.write(deadline, async |lease, totals| {
            let added = rows_bytes(&rows);
            self.check_room(lease, totals, added).await?;
            let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
            let upload = if rows.has_earlier() {
                sqlx::query(CONTINUE_UPLOAD).bind(tenant).bind(plugin).bind(rows.upload_id)
            } else {
                sqlx::query(BEGIN_UPLOAD).bind(tenant).bind(plugin).bind(rows.upload_id).bind(now_us)
            };
            if upload.bind(added).execute(connection(lease)?).await?.rows_affected() == 0 {
                return Err(Failure::Failed(StorageError::Ended));
            }
            self.put_chunks(lease, &rows).await?;
            self.count_bytes(lease, added).await?;
            Ok(End::Done(()))
        })
        .await
    }

    /// Stores the last rows of an upload and makes all of it the blob of its name.
    pub(crate) async fn blob_finish(&self, rows: Rows, info: BlobInfo, deadline: Instant) -> Result<(), StorageError> {
        self.write(deadline, async |lease, totals| {
            let stored = if rows.has_earlier() {
                self.end_upload(lease, rows.upload_id).await?.ok_or(Failure::Failed(StorageError::Ended))?
            } else {
                0
            };
            let replaced = self.remove_blob(lease, &info.name).await?;
            if replaced.is_none() && self.blob_count(lease).await? >= limits::BLOBS_MAX {
                return Err(Failure::Failed(StorageError::Limit(limit_codes::BLOBS)));
            }
            let bytes = stored.saturating_add(rows_bytes(&rows)).saturating_add(info_bytes(&info));
            let added = bytes.saturating_sub(stored).saturating_sub(replaced.unwrap_or(0));
            self.check_room(lease, totals, added).await?;
            self.put_chunks(lease, &rows).await?;
            self.put_blob(lease, rows.upload_id, &info, bytes).await?;
            self.count_bytes(lease, added).await?;
            Ok(End::Done(()))
        })
        .await
    }

    /// Removes an upload that was not finished.
    pub(crate) async fn blob_discard(&self, upload_id: i64, deadline: Instant) -> Result<(), StorageError> {
        self.write(deadline, async |lease, _| self.remove_upload(lease, upload_id).await.map(End::Done)).await
    }

    /// Removes a blob and says whether it was there.
    pub(crate) async fn blob_delete(&self, name: &str, deadline: Instant) -> Result<bool, StorageError> {
        self.write(deadline, async |lease, _| match self.remove_blob(lease, name).await? {
            Some(bytes) => self.count_bytes(lease, -bytes).await.map(|()| End::Done(true)),
            None => Ok(End::Undone(false)),
        })
        .await
    }

    /// Up to `max` blobs of a prefix behind `after`, in byte order.
    pub(crate) async fn blob_scan(
        &self,
        prefix: &str,
        after: Option<String>,
        max: usize,
        deadline: Instant,
    ) -> Result<BlobPage, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            let rows = sqlx::query(SCAN)
                .bind(tenant)
                .bind(plugin)
                .bind(prefix)
                // A name is never empty, so that the empty text is before every name.
                .bind(after.unwrap_or_default())
                .bind(end_of_prefix(prefix))
                .bind(i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1))
                .fetch_all(connection)
                .await?;
            Ok(page(rows.iter().map(info).collect::<Result<_, _>>()?, max))
        })
        .await
    }

    /// Removes one upload that began before a moment and says how many.
    pub(crate) async fn blob_sweep(&self, before_us: i64, deadline: Instant) -> Result<u32, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.write(deadline, async |lease, _| {
            let oldest = sqlx::query_scalar(OLDEST_UPLOAD).bind(tenant).bind(plugin).bind(before_us);
            match oldest.fetch_optional(connection(lease)?).await? {
                Some(upload_id) => self.remove_upload(lease, upload_id).await.map(|()| End::Done(1)),
                None => Ok(End::Undone(0)),
            }
        })
        .await
    }

    /// Refuses `added` bytes for which there is no room. What removes more than it adds always has room.
    async fn check_room(&self, lease: &mut Lease, totals: Totals, added: i64) -> Result<(), Failure> {
        if added <= 0 {
            return Ok(());
        }
        let tables = self.table_bytes(lease).await?;
        if totals.bytes.saturating_add_signed(added).saturating_add(tables) > self.storage_bytes_max {
            return Err(Failure::Failed(StorageError::Limit(limit_codes::QUOTA)));
        }
        Ok(())
    }

    async fn put_chunks(&self, lease: &mut Lease, rows: &Rows) -> Result<(), Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        for (number, bytes) in rows.numbered() {
            let put = sqlx::query(PUT_CHUNK).bind(tenant).bind(plugin).bind(rows.upload_id).bind(number).bind(bytes);
            put.execute(connection(lease)?).await?;
        }
        Ok(())
    }

    async fn put_blob(&self, lease: &mut Lease, upload_id: i64, info: &BlobInfo, bytes: i64) -> Result<(), Failure> {
        sqlx::query(PUT)
            .bind(self.pair.tenant.as_str())
            .bind(self.pair.plugin.as_str())
            .bind(&info.name)
            .bind(upload_id)
            .bind(i64::try_from(info.size_bytes).unwrap_or(i64::MAX))
            .bind(info.sha256.as_slice())
            .bind(&info.media_type)
            .bind(info.modified_at)
            .bind(bytes)
            .execute(connection(lease)?)
            .await?;
        Ok(())
    }

    /// Removes a blob; answers what it counted.
    async fn remove_blob(&self, lease: &mut Lease, name: &str) -> Result<Option<i64>, Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        let delete = sqlx::query(DELETE).bind(tenant).bind(plugin).bind(name);
        let Some(row) = delete.fetch_optional(connection(lease)?).await? else {
            return Ok(None);
        };
        self.delete_chunks(lease, row.try_get(0)?).await?;
        Ok(Some(row.try_get(1)?))
    }

    /// One that is a blob by now is left alone.
    async fn remove_upload(&self, lease: &mut Lease, upload_id: i64) -> Result<(), Failure> {
        if let Some(bytes) = self.end_upload(lease, upload_id).await? {
            self.delete_chunks(lease, upload_id).await?;
            self.count_bytes(lease, -bytes).await?;
        }
        Ok(())
    }

    /// What the upload counted, if it was there.
    async fn end_upload(&self, lease: &mut Lease, upload_id: i64) -> Result<Option<i64>, Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        let end = sqlx::query_scalar(END_UPLOAD).bind(tenant).bind(plugin).bind(upload_id);
        Ok(end.fetch_optional(connection(lease)?).await?)
    }

    async fn delete_chunks(&self, lease: &mut Lease, upload_id: i64) -> Result<(), Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        let delete = sqlx::query(DELETE_CHUNKS).bind(tenant).bind(plugin).bind(upload_id);
        delete.execute(connection(lease)?).await?;
        Ok(())
    }

    async fn count_bytes(&self, lease: &mut Lease, added: i64) -> Result<(), Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        sqlx::query(COUNT_BYTES).bind(tenant).bind(plugin).bind(added).execute(connection(lease)?).await?;
        Ok(())
    }

    async fn blob_count(&self, lease: &mut Lease) -> Result<u64, Failure> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        let count: i64 = sqlx::query_scalar(COUNT).bind(tenant).bind(plugin).fetch_one(connection(lease)?).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// Removes all blobs and uploads of a pair, in small transactions.
pub(super) async fn delete_all(lease: &mut Lease, pair: &Pair) -> Result<(), Failure> {
    const BLOBS: &str = "DELETE FROM storage_blobs WHERE tenant_id = $1 AND plugin_id = $2";
    const UPLOADS: &str = "DELETE FROM storage_blob_uploads WHERE tenant_id = $1 AND plugin_id = $2";
    const CHUNK_BATCH: &str = "DELETE FROM storage_blob_chunks WHERE tenant_id = $1 AND plugin_id = $2 \
         AND (upload_id, number) IN (SELECT upload_id, number FROM storage_blob_chunks \
         WHERE tenant_id = $1 AND plugin_id = $2 LIMIT $3)";
    let (tenant, plugin) = (pair.tenant.as_str(), pair.plugin.as_str());
    for statement in [BLOBS, UPLOADS] {
        sqlx::query(statement).bind(tenant).bind(plugin).execute(connection(lease)?).await?;
    }
    loop {
        let batch = sqlx::query(CHUNK_BATCH).bind(tenant).bind(plugin).bind(CHUNKS_PER_DELETE);
        if batch.execute(connection(lease)?).await?.rows_affected() == 0 {
            return Ok(());
        }
    }
}

fn connection(lease: &mut Lease) -> Result<&mut PgConnection, Failure> {
    lease.connection().map_err(Failure::Broken)
}

fn info(row: &PgRow) -> Result<BlobInfo, Failure> {
    let sha256: Vec<u8> = row.try_get(2)?;
    Ok(BlobInfo {
        name: row.try_get(0)?,
        size_bytes: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
        sha256: sha256.try_into().map_err(|_| Failure::Failed(StorageError::Unavailable))?,
        media_type: row.try_get(3)?,
        modified_at: row.try_get(4)?,
    })
}

/// What rows count: their bytes and what each takes beside them.
fn rows_bytes(rows: &Rows) -> i64 {
    rows.numbered().map(|(_, bytes)| bytes_of(bytes.len()).saturating_add(ROW_BYTES)).sum()
}

/// What a blob counts beside its rows. The name is in the row and in the index.
fn info_bytes(info: &BlobInfo) -> i64 {
    bytes_of(2 * info.name.len() + info.media_type.len() + info.sha256.len()).saturating_add(ROW_BYTES)
}

fn bytes_of(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
