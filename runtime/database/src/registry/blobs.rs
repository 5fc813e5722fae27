//! Blobs: bytes under the digest that names them, held by repositories, stored in chunks.
//! Whoever stores a blob has computed its digest; nothing is hashed here.

use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// Largest chunk in bytes.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A blob that a repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// Its digest.
    pub digest: String,
    /// Whose chunks are its bytes.
    pub content_id: String,
    /// Its bytes.
    pub size_bytes: u64,
}

impl Tx {
    /// Makes the chunks of `content_id` the blob of this digest, and a repository hold it. Where the digest is stored
    /// already, the chunks are dropped: the same bytes are stored once.
    pub async fn put_blob(
        &mut self,
        repository: &str,
        digest: &str,
        content_id: &str,
        size_bytes: u64,
        at: i64,
    ) -> Result<(), Error> {
        const INSERT_BLOB: &str = "INSERT INTO registry_blobs (digest, content_id, size_bytes, touched_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING";
        let inserted = on_engine!(self, |conn| {
            sqlx::query(INSERT_BLOB)
                .bind(digest)
                .bind(content_id)
                .bind(signed(size_bytes))
                .bind(at)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("insert_blob"))?;
        if inserted == 0 {
            self.delete_chunks(content_id).await?;
        }
        if self.link_blob(repository, digest, at).await? {
            return Ok(());
        }
        // It was collected between the two statements.
        Err(Error::Conflict { query: "put_blob" })
    }

    /// Makes a repository hold a blob that is stored; says whether it is.
    pub async fn link_blob(&mut self, repository: &str, digest: &str, at: i64) -> Result<bool, Error> {
        // First the blob's own row: collecting takes it as well, so that one of the two waits.
        const TOUCH_BLOB: &str = "UPDATE registry_blobs SET touched_at = $1 WHERE digest = $2";
        const PUT_LINK: &str = "INSERT INTO registry_links (repository, digest, touched_at) VALUES ($1, $2, $3) \
             ON CONFLICT (repository, digest) DO UPDATE SET touched_at = excluded.touched_at";
        let touched = on_engine!(self, |conn| sqlx::query(TOUCH_BLOB)
            .bind(at)
            .bind(digest)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::query("touch_blob"))?;
        if touched == 0 {
            return Ok(false);
        }
        on_engine!(self, |conn| sqlx::query(PUT_LINK)
            .bind(repository)
            .bind(digest)
            .bind(at)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("put_link"))?;
        Ok(true)
    }

    /// Says that a repository still wants a blob; whether it holds it.
    pub async fn touch_link(&mut self, repository: &str, digest: &str, at: i64) -> Result<bool, Error> {
        const TOUCH_LINK: &str = "UPDATE registry_links SET touched_at = $1 WHERE repository = $2 AND digest = $3";
        on_engine!(self, |conn| sqlx::query(TOUCH_LINK)
            .bind(at)
            .bind(repository)
            .bind(digest)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(Error::query("touch_link"))
    }

    /// The blob, if the repository holds it.
    pub async fn find_blob(&mut self, repository: &str, digest: &str) -> Result<Option<BlobRow>, Error> {
        const FIND_BLOB: &str = "SELECT registry_blobs.digest, content_id, size_bytes FROM registry_links \
             JOIN registry_blobs ON registry_blobs.digest = registry_links.digest \
             WHERE repository = $1 AND registry_links.digest = $2";
        let found: Option<(String, String, i64)> =
            on_engine!(self, |conn| sqlx::query_as(FIND_BLOB).bind(repository).bind(digest).fetch_optional(conn).await)
                .map_err(Error::query("find_blob"))?;
        found
            .map(|(digest, content_id, size_bytes)| {
                Ok(BlobRow { digest, content_id, size_bytes: unsigned("size_bytes", size_bytes)? })
            })
            .transpose()
    }

    /// Repositories that hold a blob, by name.
    pub async fn list_holders(&mut self, digest: &str, limit: u32) -> Result<Vec<String>, Error> {
        const LIST_HOLDERS: &str =
            "SELECT repository FROM registry_links WHERE digest = $1 ORDER BY repository LIMIT $2";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_HOLDERS)
            .bind(digest)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_holders"))
    }

    /// The chunk that holds the byte at `at_bytes`, with the place of its first.
    pub async fn find_chunk(&mut self, content_id: &str, at_bytes: u64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        const FIND_CHUNK: &str = "SELECT start_bytes, bytes FROM registry_chunks \
             WHERE content_id = $1 AND start_bytes <= $2 ORDER BY start_bytes DESC LIMIT 1";
        let found: Option<(i64, Vec<u8>)> = on_engine!(self, |conn| sqlx::query_as(FIND_CHUNK)
            .bind(content_id)
            .bind(signed(at_bytes))
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_chunk"))?;
        found.map(|(start, bytes)| Ok((unsigned("start_bytes", start)?, bytes))).transpose()
    }

    /// Takes a blob from a repository; says whether it held it. The bytes go when nobody holds them.
    pub async fn unlink_blob(&mut self, repository: &str, digest: &str) -> Result<bool, Error> {
        const UNLINK_BLOB: &str = "DELETE FROM registry_links WHERE repository = $1 AND digest = $2";
        on_engine!(self, |conn| sqlx::query(UNLINK_BLOB)
            .bind(repository)
            .bind(digest)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(Error::query("unlink_blob"))
    }

    pub(super) async fn delete_chunks(&mut self, content_id: &str) -> Result<(), Error> {
        const DELETE_CHUNKS: &str = "DELETE FROM registry_chunks WHERE content_id = $1";
        on_engine!(self, |conn| sqlx::query(DELETE_CHUNKS).bind(content_id).execute(conn).await.map(drop))
            .map_err(Error::query("delete_chunks"))
    }
}

single_reads! {
    /// The blob, if the repository holds it.
    find_blob(repository: &str, digest: &str) -> Option<BlobRow>;
    /// Repositories that hold a blob, by name.
    list_holders(digest: &str, limit: u32) -> Vec<String>;
    /// The chunk that holds the byte at `at_bytes`, with the place of its first.
    find_chunk(content_id: &str, at_bytes: u64) -> Option<(u64, Vec<u8>)>;
}
