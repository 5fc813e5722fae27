//! Uploads that are going on: how far each is, and its bytes in chunks. One writer at a time: an append says where it begins.
//! An upload is no blob before it is finished.

use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// An upload that is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Its random name.
    pub upload_id: String,
    /// The repository that it is for.
    pub repository: String,
    /// The token that began it.
    pub token_id: String,
    /// Bytes that have arrived.
    pub size_bytes: u64,
    /// Pieces that they are stored in.
    pub chunks: u64,
    /// When it ends by itself, in microseconds since 1970.
    pub expires_at: i64,
}

/// What a token has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenUploads {
    /// Uploads.
    pub count: u64,
    /// Bytes that have arrived for them.
    pub size_bytes: u64,
}

type Columns = (String, String, String, i64, i64, i64);

impl Tx {
    /// Begins an upload.
    pub async fn insert_upload(
        &mut self,
        upload_id: &str,
        repository: &str,
        token_id: &str,
        expires_at: i64,
    ) -> Result<(), Error> {
        const INSERT_UPLOAD: &str = "INSERT INTO registry_uploads \
             (upload_id, repository, token_id, size_bytes, chunks, expires_at) VALUES ($1, $2, $3, 0, 0, $4)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_UPLOAD)
                .bind(upload_id)
                .bind(repository)
                .bind(token_id)
                .bind(expires_at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_upload"))
    }

    /// The upload, unless it ended by `now`.
    pub async fn find_upload(&mut self, upload_id: &str, now: i64) -> Result<Option<UploadRow>, Error> {
        const FIND_UPLOAD: &str = "SELECT upload_id, repository, token_id, size_bytes, chunks, expires_at \
             FROM registry_uploads WHERE upload_id = $1 AND expires_at > $2";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_UPLOAD).bind(upload_id).bind(now).fetch_optional(conn).await)
                .map_err(Error::query("find_upload"))?;
        found.map(row).transpose()
    }

    /// What a token has under way at `now`.
    pub async fn open_uploads(&mut self, token_id: &str, now: i64) -> Result<OpenUploads, Error> {
        const OPEN_UPLOADS: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) \
             FROM registry_uploads WHERE token_id = $1 AND expires_at > $2";
        let (count, size_bytes): (i64, i64) =
            on_engine!(self, |conn| sqlx::query_as(OPEN_UPLOADS).bind(token_id).bind(now).fetch_one(conn).await)
                .map_err(Error::query("open_uploads"))?;
        Ok(OpenUploads { count: unsigned("count", count)?, size_bytes: unsigned("size_bytes", size_bytes)? })
    }

    /// Appends a chunk to an upload that has exactly `start_bytes`; says whether it had, and so whether it was appended.
    pub async fn append_chunk(&mut self, upload_id: &str, start_bytes: u64, bytes: &[u8]) -> Result<bool, Error> {
        const ADVANCE_UPLOAD: &str = "UPDATE registry_uploads SET size_bytes = size_bytes + $1, chunks = chunks + 1 \
             WHERE upload_id = $2 AND size_bytes = $3";
        const INSERT_CHUNK: &str = "INSERT INTO registry_chunks (content_id, start_bytes, bytes) VALUES ($1, $2, $3)";
        let length = signed(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let advanced = on_engine!(self, |conn| {
            sqlx::query(ADVANCE_UPLOAD)
                .bind(length)
                .bind(upload_id)
                .bind(signed(start_bytes))
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("advance_upload"))?;
        if advanced == 0 {
            return Ok(false);
        }
        on_engine!(self, |conn| sqlx::query(INSERT_CHUNK)
            .bind(upload_id)
            .bind(signed(start_bytes))
            .bind(bytes)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("insert_chunk"))?;
        Ok(true)
    }

    /// Ends an upload of exactly `size_bytes`, its chunks staying; says whether it was there.
    pub async fn end_upload(&mut self, upload_id: &str, size_bytes: u64) -> Result<bool, Error> {
        const END_UPLOAD: &str = "DELETE FROM registry_uploads WHERE upload_id = $1 AND size_bytes = $2";
        on_engine!(self, |conn| sqlx::query(END_UPLOAD)
            .bind(upload_id)
            .bind(signed(size_bytes))
            .execute(conn)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(Error::query("end_upload"))
    }

    /// Ends an upload and drops its chunks; says whether it was there.
    pub async fn delete_upload(&mut self, upload_id: &str) -> Result<bool, Error> {
        const DELETE_UPLOAD: &str = "DELETE FROM registry_uploads WHERE upload_id = $1";
        let deleted = on_engine!(self, |conn| sqlx::query(DELETE_UPLOAD)
            .bind(upload_id)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::query("delete_upload"))?;
        if deleted > 0 {
            self.delete_chunks(upload_id).await?;
        }
        Ok(deleted > 0)
    }

    /// Uploads whose time was over at `now`.
    pub(super) async fn list_expired_uploads(&mut self, now: i64, limit: u32) -> Result<Vec<String>, Error> {
        const LIST_EXPIRED_UPLOADS: &str =
            "SELECT upload_id FROM registry_uploads WHERE expires_at <= $1 ORDER BY upload_id LIMIT $2";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_EXPIRED_UPLOADS)
            .bind(now)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_expired_uploads"))
    }
}

single_reads! {
    /// The upload, unless it ended by `now`.
    find_upload(upload_id: &str, now: i64) -> Option<UploadRow>;
}

fn row((upload_id, repository, token_id, size_bytes, chunks, expires_at): Columns) -> Result<UploadRow, Error> {
    Ok(UploadRow {
        upload_id,
        repository,
        token_id,
        size_bytes: unsigned("size_bytes", size_bytes)?,
        chunks: unsigned("chunks", chunks)?,
        expires_at,
    })
}
