//! Manifests, the blobs that they name, tags, and who refers to whom.
//! A manifest is text here; `registry/oci` reads it.

use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// Its digest.
    pub digest: String,
    /// Its media type as pushed.
    pub media_type: String,
    /// Its bytes as pushed.
    pub bytes: Vec<u8>,
}

/// A manifest to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewManifest<'a> {
    /// The repository.
    pub repository: &'a str,
    /// Digest of `bytes`.
    pub digest: &'a str,
    /// Its media type as pushed.
    pub media_type: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Digest of the manifest that it refers to.
    pub subject: Option<&'a str>,
    /// What it is, for who asks for referrers of a kind.
    pub artifact_type: Option<&'a str>,
    /// JSON text of its descriptor, as a list of referrers shows it.
    pub descriptor: &'a str,
    /// The blobs that it names, each once.
    pub blobs: &'a [&'a str],
    /// The manifests that it names, each once.
    pub children: &'a [&'a str],
    /// The artifact that it is, or that it signs, in a namespace of plugins.
    pub artifact_digest: Option<&'a str>,
    /// Who pushed it.
    pub pushed_by: &'a str,
    /// When, in microseconds since 1970.
    pub at: i64,
}

impl Tx {
    /// Stores a manifest; one that is stored already stays as it was first pushed. What nothing led to is young again.
    pub async fn put_manifest(&mut self, manifest: &NewManifest<'_>) -> Result<(), Error> {
        const PUT_MANIFEST: &str = "INSERT INTO registry_manifests (repository, digest, media_type, bytes, size_bytes, subject, \
             artifact_type, descriptor, pushed_by, created_at, artifact_digest) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (repository, digest) DO UPDATE SET \
             loose_at = CASE WHEN registry_manifests.loose_at IS NULL THEN NULL ELSE excluded.created_at END";
        on_engine!(self, |conn| {
            sqlx::query(PUT_MANIFEST)
                .bind(manifest.repository)
                .bind(manifest.digest)
                .bind(manifest.media_type)
                .bind(manifest.bytes)
                .bind(signed(u64::try_from(manifest.bytes.len()).unwrap_or(u64::MAX)))
                .bind(manifest.subject)
                .bind(manifest.artifact_type)
                .bind(manifest.descriptor)
                .bind(manifest.pushed_by)
                .bind(manifest.at)
                .bind(manifest.artifact_digest)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_manifest"))?;
        self.put_named(manifest).await
    }

    /// Stores what a manifest names; what nothing led to before, it leads to.
    async fn put_named(&mut self, manifest: &NewManifest<'_>) -> Result<(), Error> {
        const PUT_BLOB: &str = "INSERT INTO registry_manifest_blobs (repository, manifest_digest, blob_digest) \
             VALUES ($1, $2, $3) ON CONFLICT (repository, manifest_digest, blob_digest) DO NOTHING";
        const PUT_CHILD: &str = "INSERT INTO registry_manifest_children (repository, manifest_digest, child_digest) \
             VALUES ($1, $2, $3) ON CONFLICT (repository, manifest_digest, child_digest) DO NOTHING";
        let blobs = manifest.blobs.iter().map(|blob| (PUT_BLOB, *blob));
        for (statement, named) in blobs.chain(manifest.children.iter().map(|child| (PUT_CHILD, *child))) {
            on_engine!(self, |conn| sqlx::query(statement)
                .bind(manifest.repository)
                .bind(manifest.digest)
                .bind(named)
                .execute(conn)
                .await
                .map(drop))
            .map_err(Error::query("put_named"))?;
        }
        for child in manifest.children {
            self.hold_manifest(manifest.repository, child).await?;
        }
        Ok(())
    }

    /// Something leads to a manifest.
    async fn hold_manifest(&mut self, repository: &str, digest: &str) -> Result<(), Error> {
        const HOLD_MANIFEST: &str =
            "UPDATE registry_manifests SET loose_at = NULL WHERE repository = $1 AND digest = $2";
        on_engine!(self, |conn| sqlx::query(HOLD_MANIFEST).bind(repository).bind(digest).execute(conn).await.map(drop))
            .map_err(Error::query("hold_manifest"))
    }

    /// A tag no longer leads to a manifest: nothing may.
    async fn loosen_manifest(&mut self, repository: &str, digest: &str, at: i64) -> Result<(), Error> {
        const LOOSEN_MANIFEST: &str = "UPDATE registry_manifests SET loose_at = $1 WHERE repository = $2 AND digest = $3 \
             AND NOT EXISTS (SELECT 1 FROM registry_tags WHERE registry_tags.repository = registry_manifests.repository \
             AND registry_tags.digest = registry_manifests.digest)";
        on_engine!(self, |conn| sqlx::query(LOOSEN_MANIFEST)
            .bind(at)
            .bind(repository)
            .bind(digest)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("loosen_manifest"))
    }

    /// The manifest of this digest, if the repository has it.
    pub async fn find_manifest(&mut self, repository: &str, digest: &str) -> Result<Option<ManifestRow>, Error> {
        const FIND_MANIFEST: &str =
            "SELECT digest, media_type, bytes FROM registry_manifests WHERE repository = $1 AND digest = $2";
        let found: Option<(String, String, Vec<u8>)> = on_engine!(self, |conn| sqlx::query_as(FIND_MANIFEST)
            .bind(repository)
            .bind(digest)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_manifest"))?;
        Ok(found.map(|(digest, media_type, bytes)| ManifestRow { digest, media_type, bytes }))
    }

    /// Manifests of a repository.
    pub async fn count_manifests(&mut self, repository: &str) -> Result<i64, Error> {
        const COUNT_MANIFESTS: &str = "SELECT COUNT(*) FROM registry_manifests WHERE repository = $1";
        on_engine!(self, |conn| sqlx::query_scalar(COUNT_MANIFESTS).bind(repository).fetch_one(conn).await)
            .map_err(Error::query("count_manifests"))
    }

    /// Removes a manifest with every tag that leads to it; says whether it was there. What it named, and what referred to
    /// it, may now be what nothing leads to.
    pub async fn delete_manifest(&mut self, repository: &str, digest: &str, at: i64) -> Result<bool, Error> {
        const DELETE_MANIFEST: &str = "DELETE FROM registry_manifests WHERE repository = $1 AND digest = $2";
        let deleted = on_engine!(self, |conn| sqlx::query(DELETE_MANIFEST)
            .bind(repository)
            .bind(digest)
            .execute(conn)
            .await
            .map(|done| done.rows_affected() > 0))
        .map_err(Error::query("delete_manifest"))?;
        if deleted {
            self.delete_traces(repository, digest, at).await?;
        }
        Ok(deleted)
    }

    /// Removes what was known of a manifest that is gone.
    pub(super) async fn delete_traces(&mut self, repository: &str, digest: &str, at: i64) -> Result<(), Error> {
        const LOOSEN: &str = "UPDATE registry_manifests SET loose_at = $3 WHERE repository = $1 AND (subject = $2 OR digest IN \
             (SELECT child_digest FROM registry_manifest_children WHERE repository = $1 AND manifest_digest = $2)) \
             AND NOT EXISTS (SELECT 1 FROM registry_tags WHERE registry_tags.repository = registry_manifests.repository \
             AND registry_tags.digest = registry_manifests.digest)";
        const DELETE_TAGS: &str = "DELETE FROM registry_tags WHERE repository = $1 AND digest = $2";
        const DELETE_BLOBS: &str = "DELETE FROM registry_manifest_blobs WHERE repository = $1 AND manifest_digest = $2";
        const DELETE_CHILDREN: &str =
            "DELETE FROM registry_manifest_children WHERE repository = $1 AND manifest_digest = $2";
        on_engine!(self, |conn| sqlx::query(LOOSEN)
            .bind(repository)
            .bind(digest)
            .bind(at)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("loosen"))?;
        for statement in [DELETE_TAGS, DELETE_BLOBS, DELETE_CHILDREN] {
            on_engine!(self, |conn| sqlx::query(statement).bind(repository).bind(digest).execute(conn).await.map(drop))
                .map_err(Error::query("delete_traces"))?;
        }
        Ok(())
    }

    /// Lets a tag lead to a manifest. Where it led before, nothing may lead now.
    pub async fn put_tag(&mut self, repository: &str, tag: &str, digest: &str, at: i64) -> Result<(), Error> {
        const PUT_TAG: &str = "INSERT INTO registry_tags (repository, tag, digest, updated_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at";
        let before = self.find_tag(repository, tag).await?;
        on_engine!(self, |conn| sqlx::query(PUT_TAG)
            .bind(repository)
            .bind(tag)
            .bind(digest)
            .bind(at)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("put_tag"))?;
        self.hold_manifest(repository, digest).await?;
        match before {
            Some(before) if before != digest => self.loosen_manifest(repository, &before, at).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Digest of the manifest that a tag leads to.
    pub async fn find_tag(&mut self, repository: &str, tag: &str) -> Result<Option<String>, Error> {
        const FIND_TAG: &str = "SELECT digest FROM registry_tags WHERE repository = $1 AND tag = $2";
        on_engine!(self, |conn| sqlx::query_scalar(FIND_TAG).bind(repository).bind(tag).fetch_optional(conn).await)
            .map_err(Error::query("find_tag"))
    }

    /// Removes a tag; says whether it was there.
    pub async fn delete_tag(&mut self, repository: &str, tag: &str, at: i64) -> Result<bool, Error> {
        const DELETE_TAG: &str = "DELETE FROM registry_tags WHERE repository = $1 AND tag = $2 RETURNING digest";
        let deleted: Option<String> = on_engine!(self, |conn| sqlx::query_scalar(DELETE_TAG)
            .bind(repository)
            .bind(tag)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("delete_tag"))?;
        let Some(digest) = deleted else { return Ok(false) };
        self.loosen_manifest(repository, &digest, at).await?;
        Ok(true)
    }

    /// Tags behind `after`, in byte order.
    pub async fn list_tags(&mut self, repository: &str, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        const LIST_TAGS: &str =
            "SELECT tag FROM registry_tags WHERE repository = $1 AND tag > $2 ORDER BY tag LIMIT $3";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_TAGS)
            .bind(repository)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_tags"))
    }

    /// Digests of the manifests that refer to `subject`, those behind `after`, with the bytes of their descriptors.
    pub async fn list_referrers(
        &mut self,
        repository: &str,
        subject: &str,
        artifact_type: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, Error> {
        const LIST_REFERRERS: &str = "SELECT digest, CAST(OCTET_LENGTH(descriptor) AS BIGINT) FROM registry_manifests \
             WHERE repository = $1 AND subject = $2 AND digest > $3 AND ($4 = '' OR artifact_type = $4) \
             ORDER BY digest LIMIT $5";
        let rows: Vec<(String, i64)> = on_engine!(self, |conn| sqlx::query_as(LIST_REFERRERS)
            .bind(repository)
            .bind(subject)
            .bind(after)
            .bind(artifact_type.unwrap_or(""))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_referrers"))?;
        rows.into_iter().map(|(digest, length)| Ok((digest, unsigned("length", length)?))).collect()
    }

    /// The descriptor of a manifest, JSON text.
    pub async fn get_descriptor(&mut self, repository: &str, digest: &str) -> Result<String, Error> {
        const GET_DESCRIPTOR: &str = "SELECT descriptor FROM registry_manifests WHERE repository = $1 AND digest = $2";
        let found: Option<String> = on_engine!(self, |conn| sqlx::query_scalar(GET_DESCRIPTOR)
            .bind(repository)
            .bind(digest)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("get_descriptor"))?;
        found.ok_or_else(|| Error::NotFound { what: "manifest", name: digest.to_owned() })
    }
}

single_reads! {
    /// The manifest of this digest, if the repository has it.
    find_manifest(repository: &str, digest: &str) -> Option<ManifestRow>;
    /// Digest of the manifest that a tag leads to.
    find_tag(repository: &str, tag: &str) -> Option<String>;
    /// Tags behind `after`, in byte order.
    list_tags(repository: &str, after: &str, limit: u32) -> Vec<String>;
}
