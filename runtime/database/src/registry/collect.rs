//! Collecting what nobody refers to: uploads past their time, blobs that no manifest of their repository names, bytes that no
//! repository holds, and in open namespaces manifests that nothing leads to any more. What is young is spared, since it may be
//! on its way into a manifest. Tags and releases are never collected: they are what refers.

use crate::db::{Db, Tx, on_engine, unsigned};
use crate::error::Error;

/// Rows that one transaction removes, each with its chunks.
const BATCH: u32 = 32;
/// Transactions of each kind in one round; what is left waits for the next.
const BATCHES_MAX: u32 = 10_000;

/// What a round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Uploads past their time.
    pub uploads: u64,
    /// Manifests of open namespaces that nothing led to any more.
    pub manifests: u64,
    /// Blobs that a repository held and no manifest of it named.
    pub links: u64,
    /// Blobs that no repository held.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Tokens that expired long ago.
    pub tokens: u64,
}

impl Db {
    /// Removes what nobody refers to, except what was touched at or after `spared_from`. Both times and `now` are in
    /// microseconds since 1970. It may run on several hosts at once, and beside pushes.
    pub async fn collect_registry(&self, now: i64, spared_from: i64, tokens_before: i64) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        for _ in 0..BATCHES_MAX {
            let removed = self.collect_uploads(now).await?;
            collected.uploads = collected.uploads.saturating_add(removed);
            if removed == 0 {
                break;
            }
        }
        for _ in 0..BATCHES_MAX {
            let mut tx = self.begin().await?;
            let removed = tx.delete_loose_manifests(now, spared_from).await?;
            tx.commit().await?;
            collected.manifests = collected.manifests.saturating_add(removed);
            if removed == 0 {
                break;
            }
        }
        for _ in 0..BATCHES_MAX {
            let mut tx = self.begin().await?;
            let removed = tx.delete_unused_links(spared_from).await?;
            tx.commit().await?;
            collected.links = collected.links.saturating_add(removed);
            if removed == 0 {
                break;
            }
        }
        for _ in 0..BATCHES_MAX {
            let mut tx = self.begin().await?;
            let removed = tx.delete_unheld_blobs(spared_from).await?;
            tx.commit().await?;
            if removed.is_empty() {
                break;
            }
            for bytes in removed {
                collected.blobs = collected.blobs.saturating_add(1);
                collected.blob_bytes = collected.blob_bytes.saturating_add(bytes);
            }
        }
        let mut tx = self.begin().await?;
        collected.tokens = tx.delete_expired_tokens(tokens_before).await?;
        tx.commit().await?;
        Ok(collected)
    }

    async fn collect_uploads(&self, now: i64) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let mut removed = 0_u64;
        for upload in tx.list_expired_uploads(now, BATCH).await? {
            removed = removed.saturating_add(u64::from(tx.delete_upload(&upload).await?));
        }
        tx.commit().await?;
        Ok(removed)
    }
}

impl Tx {
    async fn delete_loose_manifests(&mut self, now: i64, spared_from: i64) -> Result<u64, Error> {
        const LIST_LOOSE: &str = "SELECT registry_manifests.repository, digest FROM registry_manifests \
             JOIN registry_repositories ON registry_repositories.repository = registry_manifests.repository \
             JOIN registry_namespaces ON registry_namespaces.namespace = registry_repositories.namespace \
             WHERE loose_at < $1 AND kind = 'open' AND NOT EXISTS (SELECT 1 FROM registry_tags \
             WHERE registry_tags.repository = registry_manifests.repository AND registry_tags.digest = registry_manifests.digest) \
             AND NOT EXISTS (SELECT 1 FROM registry_manifest_children \
             WHERE registry_manifest_children.repository = registry_manifests.repository \
             AND child_digest = registry_manifests.digest) \
             AND NOT EXISTS (SELECT 1 FROM registry_manifests AS subjects \
             WHERE subjects.repository = registry_manifests.repository AND subjects.digest = registry_manifests.subject) LIMIT $2";
        // Judged again as it goes: who pushed it meanwhile has taken the mark away, or waits and pushes it anew.
        const DELETE_LOOSE: &str =
            "DELETE FROM registry_manifests WHERE repository = $1 AND digest = $2 AND loose_at < $3";
        let found: Vec<(String, String)> = on_engine!(self, |conn| sqlx::query_as(LIST_LOOSE)
            .bind(spared_from)
            .bind(i64::from(BATCH))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_loose"))?;
        let mut removed = 0_u64;
        for (repository, digest) in found {
            let deleted = on_engine!(self, |conn| sqlx::query(DELETE_LOOSE)
                .bind(&repository)
                .bind(&digest)
                .bind(spared_from)
                .execute(conn)
                .await
                .map(|done| done.rows_affected()))
            .map_err(Error::query("delete_loose"))?;
            if deleted > 0 {
                self.delete_traces(&repository, &digest, now).await?;
            }
            removed = removed.saturating_add(deleted);
        }
        Ok(removed)
    }

    async fn delete_unused_links(&mut self, spared_from: i64) -> Result<u64, Error> {
        // The age stands outside as well: a row that a push touches meanwhile is judged again by it, and stays.
        const DELETE_UNUSED_LINKS: &str = "DELETE FROM registry_links WHERE touched_at < $1 AND (repository, digest) IN ( \
             SELECT repository, digest FROM registry_links WHERE touched_at < $1 AND NOT EXISTS ( \
             SELECT 1 FROM registry_manifest_blobs WHERE registry_manifest_blobs.repository = registry_links.repository \
             AND registry_manifest_blobs.blob_digest = registry_links.digest) LIMIT $2)";
        on_engine!(self, |conn| sqlx::query(DELETE_UNUSED_LINKS)
            .bind(spared_from)
            .bind(i64::from(BATCH))
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))
        .map_err(Error::query("delete_unused_links"))
    }

    /// The sizes of what was removed.
    async fn delete_unheld_blobs(&mut self, spared_from: i64) -> Result<Vec<u64>, Error> {
        const DELETE_UNHELD_BLOBS: &str = "DELETE FROM registry_blobs WHERE touched_at < $1 AND digest IN ( \
             SELECT digest FROM registry_blobs WHERE touched_at < $1 AND NOT EXISTS ( \
             SELECT 1 FROM registry_links WHERE registry_links.digest = registry_blobs.digest) LIMIT $2) \
             RETURNING content_id, size_bytes";
        let removed: Vec<(String, i64)> = on_engine!(self, |conn| sqlx::query_as(DELETE_UNHELD_BLOBS)
            .bind(spared_from)
            .bind(i64::from(BATCH))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("delete_unheld_blobs"))?;
        let mut sizes = Vec::with_capacity(removed.len());
        for (content_id, size_bytes) in removed {
            self.delete_chunks(&content_id).await?;
            sizes.push(unsigned("size_bytes", size_bytes)?);
        }
        Ok(sizes)
    }
}
