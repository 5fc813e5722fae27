//! Where versions stand at the gate of releases, and what of a repository is released.
//! What a state means, and which follows which, is `registry/oci`'s to say.

use super::releases::ReleaseRow;
use crate::audit::Act;
use crate::db::{Tx, on_engine, single_reads};
use crate::error::Error;

/// States that are read of one blob: it may be the artifact of several versions.
const STATES_MAX: i64 = 16;

/// A version with what it is judged by.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct JudgedRow {
    /// The plugin's repository.
    pub repository: String,
    /// The version.
    pub version: String,
    /// Digest of its artifact.
    pub artifact_digest: String,
    /// Where it stands.
    pub state: String,
    /// What the host judges it by, JSON text.
    pub judged_by: String,
}

impl Tx {
    /// Moves a version from where it stood when `row` was read; says whether it still stood there. Its tag comes or goes.
    pub async fn set_release_state(
        &mut self,
        row: &ReleaseRow,
        state: &str,
        reasons: &str,
        is_released: bool,
        has_tag: bool,
        act: &Act,
    ) -> Result<bool, Error> {
        const SET_RELEASE_STATE: &str = "UPDATE registry_releases SET state = $1, reasons = $2, released_at = $3 \
             WHERE repository = $4 AND version = $5 AND state = $6";
        let moved = on_engine!(self, |conn| {
            sqlx::query(SET_RELEASE_STATE)
                .bind(state)
                .bind(reasons)
                .bind(row.released_at.or(is_released.then_some(act.at)))
                .bind(&row.repository)
                .bind(&row.version)
                .bind(&row.state)
                .execute(conn)
                .await
                .map(|done| done.rows_affected() > 0)
        })
        .map_err(Error::query("set_release_state"))?;
        if moved && row.state != state {
            self.set_version_tag(row, has_tag && row.yanked_at.is_none(), act.at).await?;
            let detail = serde_json::json!({
                "repository": row.repository, "version": row.version, "digest": row.artifact_digest,
                "from": row.state, "to": state
            });
            self.append_audit(act, "registry.state", None, None, &detail.to_string()).await?;
        }
        Ok(moved)
    }

    pub(super) async fn set_version_tag(&mut self, row: &ReleaseRow, is_wanted: bool, at: i64) -> Result<(), Error> {
        if is_wanted {
            self.put_tag(&row.repository, &row.version, &row.manifest_digest, at).await
        } else {
            self.delete_tag(&row.repository, &row.version, at).await.map(drop)
        }
    }

    /// Versions behind `after`, a repository and a version, that can be judged, in that order.
    pub async fn list_judged(&mut self, after: (&str, &str), limit: u32) -> Result<Vec<JudgedRow>, Error> {
        const LIST_JUDGED: &str = "SELECT repository, version, artifact_digest, state, judged_by FROM registry_releases \
             WHERE (repository, version) > ($1, $2) AND judged_by <> '' ORDER BY repository, version LIMIT $3";
        on_engine!(self, |conn| sqlx::query_as(LIST_JUDGED)
            .bind(after.0)
            .bind(after.1)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_judged"))
    }

    /// What a version is judged by, JSON text; empty where nothing is known.
    pub async fn find_judged_by(&mut self, repository: &str, version: &str) -> Result<String, Error> {
        const FIND_JUDGED_BY: &str = "SELECT judged_by FROM registry_releases WHERE repository = $1 AND version = $2";
        let found: Option<String> = on_engine!(self, |conn| sqlx::query_scalar(FIND_JUDGED_BY)
            .bind(repository)
            .bind(version)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_judged_by"))?;
        Ok(found.unwrap_or_default())
    }

    /// Where the versions stand whose artifact a manifest is or signs.
    pub async fn list_states_of_manifest(&mut self, repository: &str, digest: &str) -> Result<Vec<String>, Error> {
        const LIST_STATES_OF_MANIFEST: &str = "SELECT DISTINCT state FROM registry_releases \
             JOIN registry_manifests ON registry_manifests.repository = registry_releases.repository \
             AND registry_manifests.artifact_digest = registry_releases.artifact_digest \
             WHERE registry_manifests.repository = $1 AND registry_manifests.digest = $2 ORDER BY state LIMIT $3";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_STATES_OF_MANIFEST)
            .bind(repository)
            .bind(digest)
            .bind(STATES_MAX)
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_states_of_manifest"))
    }

    /// Where the versions stand whose manifests or signatures name a blob.
    pub async fn list_states_of_blob(&mut self, repository: &str, digest: &str) -> Result<Vec<String>, Error> {
        const LIST_STATES_OF_BLOB: &str = "SELECT DISTINCT state FROM registry_releases \
             JOIN registry_manifests ON registry_manifests.repository = registry_releases.repository \
             AND registry_manifests.artifact_digest = registry_releases.artifact_digest \
             JOIN registry_manifest_blobs ON registry_manifest_blobs.repository = registry_manifests.repository \
             AND registry_manifest_blobs.manifest_digest = registry_manifests.digest \
             WHERE registry_manifest_blobs.repository = $1 AND registry_manifest_blobs.blob_digest = $2 \
             ORDER BY state LIMIT $3";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_STATES_OF_BLOB)
            .bind(repository)
            .bind(digest)
            .bind(STATES_MAX)
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_states_of_blob"))
    }

    /// Tags behind `after` whose versions stand at `state`, in byte order.
    pub async fn list_tags_at(
        &mut self,
        repository: &str,
        state: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        const LIST_TAGS_AT: &str = "SELECT tag FROM registry_tags \
             JOIN registry_releases ON registry_releases.repository = registry_tags.repository \
             AND registry_releases.version = registry_tags.tag \
             WHERE registry_tags.repository = $1 AND state = $2 AND tag > $3 ORDER BY tag LIMIT $4";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_TAGS_AT)
            .bind(repository)
            .bind(state)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_tags_at"))
    }
}

single_reads! {
    /// Versions behind `after`, a repository and a version, that can be judged, in that order.
    list_judged(after: (&str, &str), limit: u32) -> Vec<JudgedRow>;
    /// What a version is judged by, JSON text; empty where nothing is known.
    find_judged_by(repository: &str, version: &str) -> String;
    /// Where the versions stand whose artifact a manifest is or signs.
    list_states_of_manifest(repository: &str, digest: &str) -> Vec<String>;
    /// Where the versions stand whose manifests or signatures name a blob.
    list_states_of_blob(repository: &str, digest: &str) -> Vec<String>;
    /// Tags behind `after` whose versions stand at `state`, in byte order.
    list_tags_at(repository: &str, state: &str, after: &str, limit: u32) -> Vec<String>;
}
