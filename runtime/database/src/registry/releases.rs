//! Versions of plugins in the registry, and the bundles that speak for them. A version's artifact never changes.
//! These are what is offered; what a host has registered for itself is in `releases.rs` above.

use bulkhead_model::log::Event;

use crate::audit::Act;
use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// Most versions of a plugin that are read at once.
const VERSIONS_MAX: i64 = 1_000;
/// Most bundles of an artifact that are read.
const BUNDLES_MAX: i64 = 16;

/// A version of a plugin as it is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// The plugin's repository.
    pub repository: String,
    /// The version.
    pub version: String,
    /// Digest of the manifest that the version's tag leads to.
    pub manifest_digest: String,
    /// Digest of the artifact.
    pub artifact_digest: String,
    /// Bytes of the artifact.
    pub size_bytes: u64,
    /// What the artifact says of itself, JSON text.
    pub facts: String,
    /// Times that the artifact was fetched.
    pub downloads: u64,
    /// Who pushed it.
    pub pushed_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
    /// When it was withdrawn, in microseconds since 1970.
    pub yanked_at: Option<i64>,
    /// Why.
    pub yank_reason: Option<String>,
    /// Where it stands at the gate; `registry/oci` knows the words.
    pub state: String,
    /// Why it is not released, JSON text.
    pub reasons: String,
    /// When it was first released, in microseconds since 1970.
    pub released_at: Option<i64>,
}

/// A version to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion<'a> {
    /// The plugin's repository.
    pub repository: &'a str,
    /// The version.
    pub version: &'a str,
    /// Digest of the manifest.
    pub manifest_digest: &'a str,
    /// Digest of the artifact.
    pub artifact_digest: &'a str,
    /// Bytes of the artifact.
    pub size_bytes: u64,
    /// What the artifact says of itself, JSON text.
    pub facts: &'a str,
    /// What the host judges it by without its bytes, JSON text.
    pub judged_by: &'a str,
    /// Where it stands at the gate.
    pub state: &'a str,
    /// Why it is not released, JSON text.
    pub reasons: &'a str,
    /// Whether that is to be released.
    pub is_released: bool,
}

#[derive(sqlx::FromRow)]
struct Columns {
    repository: String,
    version: String,
    manifest_digest: String,
    artifact_digest: String,
    size_bytes: i64,
    facts: String,
    downloads: i64,
    pushed_by: String,
    created_at: i64,
    yanked_at: Option<i64>,
    yank_reason: Option<String>,
    state: String,
    reasons: String,
    released_at: Option<i64>,
}

impl Tx {
    /// Stores a version. One that exists is a conflict.
    pub async fn insert_version(&mut self, version: &NewVersion<'_>, act: &Act) -> Result<(), Error> {
        const INSERT_VERSION: &str = "INSERT INTO registry_releases (repository, version, manifest_digest, artifact_digest, \
             size_bytes, facts, downloads, pushed_by, created_at, judged_by, state, reasons, released_at) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, $12)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_VERSION)
                .bind(version.repository)
                .bind(version.version)
                .bind(version.manifest_digest)
                .bind(version.artifact_digest)
                .bind(signed(version.size_bytes))
                .bind(version.facts)
                .bind(&act.actor)
                .bind(act.at)
                .bind(version.judged_by)
                .bind(version.state)
                .bind(version.reasons)
                .bind(version.is_released.then_some(act.at))
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_version"))?;
        let detail = serde_json::json!({
            "repository": version.repository, "version": version.version, "digest": version.artifact_digest, "state": version.state
        });
        self.append_audit(act, "registry.publish", None, None, &detail.to_string()).await?;
        let event = Event::ReleasePublish {
            repository: version.repository.to_owned(),
            version: version.version.to_owned(),
            digest: version.artifact_digest.to_owned(),
        };
        self.append_log(event, act).await.map(drop)
    }

    /// The version, if it was ever pushed.
    pub async fn find_version(&mut self, repository: &str, version: &str) -> Result<Option<ReleaseRow>, Error> {
        const FIND_VERSION: &str = "SELECT repository, version, manifest_digest, artifact_digest, size_bytes, facts, downloads, \
             pushed_by, created_at, yanked_at, yank_reason, state, reasons, released_at FROM registry_releases WHERE repository = $1 AND version = $2";
        let found: Option<Columns> = on_engine!(self, |conn| sqlx::query_as(FIND_VERSION)
            .bind(repository)
            .bind(version)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_version"))?;
        found.map(row).transpose()
    }

    /// Versions of a plugin, the newest pushed first, withdrawn ones too.
    pub async fn list_versions(&mut self, repository: &str) -> Result<Vec<ReleaseRow>, Error> {
        const LIST_VERSIONS: &str = "SELECT repository, version, manifest_digest, artifact_digest, size_bytes, facts, downloads, \
             pushed_by, created_at, yanked_at, yank_reason, state, reasons, released_at FROM registry_releases WHERE repository = $1 \
             ORDER BY created_at DESC, version DESC LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| sqlx::query_as(LIST_VERSIONS)
            .bind(repository)
            .bind(VERSIONS_MAX)
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_versions"))?;
        rows.into_iter().map(row).collect()
    }

    /// Repositories of plugins behind `after` with a version that is not withdrawn, by name. `search` is part of the name or
    /// of the facts, in lower case; an empty one finds all.
    pub async fn list_catalogue(&mut self, search: &str, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        const LIST_CATALOGUE: &str = "SELECT repository FROM registry_repositories WHERE repository > $1 AND EXISTS ( \
             SELECT 1 FROM registry_releases WHERE registry_releases.repository = registry_repositories.repository \
             AND yanked_at IS NULL AND (LOWER(registry_releases.repository) LIKE $2 ESCAPE '!' OR LOWER(facts) LIKE $2 ESCAPE '!')) \
             ORDER BY repository LIMIT $3";
        // Wildcards in what is searched for stand for themselves.
        let escaped = search.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        on_engine!(self, |conn| sqlx::query_scalar(LIST_CATALOGUE)
            .bind(after)
            .bind(format!("%{escaped}%"))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_catalogue"))
    }

    /// Withdraws a version, or offers it again: its tag goes or comes, unless the gate keeps it away. What has its digest can
    /// fetch it as before.
    pub async fn set_yanked(
        &mut self,
        row: &ReleaseRow,
        reason: Option<&str>,
        has_tag: bool,
        act: &Act,
    ) -> Result<(), Error> {
        const SET_YANKED: &str = "UPDATE registry_releases SET yanked_at = $1, yanked_by = $2, yank_reason = $3 \
             WHERE repository = $4 AND version = $5";
        on_engine!(self, |conn| {
            sqlx::query(SET_YANKED)
                .bind(reason.map(|_| act.at))
                .bind(reason.map(|_| act.actor.as_str()))
                .bind(reason)
                .bind(&row.repository)
                .bind(&row.version)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("set_yanked"))?;
        self.set_version_tag(row, has_tag && reason.is_none(), act.at).await?;
        let action = if reason.is_some() { "registry.yank" } else { "registry.unyank" };
        let detail = serde_json::json!({
            "repository": row.repository, "version": row.version, "digest": row.artifact_digest, "reason": reason
        });
        self.append_audit(act, action, None, None, &detail.to_string()).await?;
        let (repository, version, digest) = (row.repository.clone(), row.version.clone(), row.artifact_digest.clone());
        let event = match reason {
            Some(_) => Event::ReleaseYank { repository, version, digest },
            None => Event::ReleaseUnyank { repository, version, digest },
        };
        self.append_log(event, act).await.map(drop)
    }

    /// Counts that an artifact was fetched.
    pub async fn count_download(&mut self, repository: &str, artifact_digest: &str) -> Result<(), Error> {
        const COUNT_DOWNLOAD: &str =
            "UPDATE registry_releases SET downloads = downloads + 1 WHERE repository = $1 AND artifact_digest = $2";
        on_engine!(self, |conn| sqlx::query(COUNT_DOWNLOAD)
            .bind(repository)
            .bind(artifact_digest)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("count_download"))
    }

    /// Stores that a blob is a bundle that speaks for an artifact.
    pub async fn put_bundle(
        &mut self,
        repository: &str,
        artifact_digest: &str,
        blob_digest: &str,
        act: &Act,
    ) -> Result<(), Error> {
        const PUT_BUNDLE: &str = "INSERT INTO registry_bundles (repository, artifact_digest, blob_digest, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (repository, artifact_digest, blob_digest) DO NOTHING";
        let added = on_engine!(self, |conn| {
            sqlx::query(PUT_BUNDLE)
                .bind(repository)
                .bind(artifact_digest)
                .bind(blob_digest)
                .bind(act.at)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("put_bundle"))?;
        if added > 0 {
            let detail =
                serde_json::json!({ "repository": repository, "digest": artifact_digest, "bundle": blob_digest });
            self.append_audit(act, "registry.sign", None, None, &detail.to_string()).await?;
            let event = Event::BundleAdd { digest: artifact_digest.to_owned(), bundle: blob_digest.to_owned() };
            self.append_log(event, act).await?;
        }
        Ok(())
    }

    /// The bundles that speak for an artifact, as digests of blobs of its repository, in the order in which they came.
    pub async fn list_registry_bundles(
        &mut self,
        repository: &str,
        artifact_digest: &str,
    ) -> Result<Vec<String>, Error> {
        const LIST_REGISTRY_BUNDLES: &str = "SELECT blob_digest FROM registry_bundles \
             WHERE repository = $1 AND artifact_digest = $2 ORDER BY created_at, blob_digest LIMIT $3";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_REGISTRY_BUNDLES)
            .bind(repository)
            .bind(artifact_digest)
            .bind(BUNDLES_MAX)
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_registry_bundles"))
    }
}

single_reads! {
    /// The version, if it was ever pushed.
    find_version(repository: &str, version: &str) -> Option<ReleaseRow>;
    /// Versions of a plugin, the newest pushed first, withdrawn ones too.
    list_versions(repository: &str) -> Vec<ReleaseRow>;
    /// Repositories of plugins behind `after` with a version that is not withdrawn, by name.
    list_catalogue(search: &str, after: &str, limit: u32) -> Vec<String>;
    /// The bundles that speak for an artifact, as digests of blobs of its repository, in the order in which they came.
    list_registry_bundles(repository: &str, artifact_digest: &str) -> Vec<String>;
}

fn row(columns: Columns) -> Result<ReleaseRow, Error> {
    Ok(ReleaseRow {
        repository: columns.repository,
        version: columns.version,
        manifest_digest: columns.manifest_digest,
        artifact_digest: columns.artifact_digest,
        size_bytes: unsigned("size_bytes", columns.size_bytes)?,
        facts: columns.facts,
        downloads: unsigned("downloads", columns.downloads)?,
        pushed_by: columns.pushed_by,
        created_at: columns.created_at,
        yanked_at: columns.yanked_at,
        yank_reason: columns.yank_reason,
        state: columns.state,
        reasons: columns.reasons,
        released_at: columns.released_at,
    })
}
