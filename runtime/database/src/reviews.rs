//! Versions that may do more than the one before: those that wait for a reviewer, and what was decided.
//! What is wider is said by whoever holds a version back.

use bulkhead_model::{Digest, PluginId, Version};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, readable, single_reads};
use crate::error::Error;

/// A version that waits, or waited, for a reviewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRow {
    /// Its id, a random UUID.
    pub review_id: String,
    /// The plugin.
    pub plugin_id: PluginId,
    /// The version that waits.
    pub version: Version,
    /// Its release.
    pub digest: Digest,
    /// The version that was installed before.
    pub base_version: Version,
    /// The release of that one.
    pub base_digest: Digest,
    /// Digest of the difference.
    pub diff_digest: Digest,
    /// What was added, JSON text.
    pub wider: String,
    /// Who registered the version.
    pub registered_by: String,
    /// Who began to install it.
    pub installed_by: String,
    /// The operation that waits.
    pub operation_id: String,
    /// `pending`, `approved` or `rejected`.
    pub status: String,
    /// Since when it waits, in microseconds since 1970.
    pub created_at: i64,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// A version to be held back.
#[derive(Clone, Copy, Debug)]
pub struct NewReview<'a> {
    /// The plugin.
    pub plugin_id: &'a PluginId,
    /// The version that waits.
    pub version: &'a Version,
    /// Its release.
    pub digest: &'a Digest,
    /// The version that was installed before.
    pub base_version: &'a Version,
    /// The release of that one.
    pub base_digest: &'a Digest,
    /// Digest of the difference.
    pub diff_digest: &'a Digest,
    /// What was added, JSON text.
    pub wider: &'a str,
    /// Who registered the version.
    pub registered_by: &'a str,
    /// Who began to install it.
    pub installed_by: &'a str,
    /// The operation that waits.
    pub operation_id: &'a str,
}

type Columns = (
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    Option<String>,
    Option<i64>,
    Option<String>,
);

impl Tx {
    /// Lets a version wait for a reviewer; one that waited before for the same step waits anew.
    pub async fn put_review(&mut self, new: &NewReview<'_>, act: &Act) -> Result<(), Error> {
        const PUT_REVIEW: &str = "INSERT INTO reviews (review_id, plugin_id, version, digest, base_version, base_digest, diff_digest, wider, \
             registered_by, installed_by, operation_id, status, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', $12) \
             ON CONFLICT (digest, base_digest) DO UPDATE SET diff_digest = excluded.diff_digest, wider = excluded.wider, \
             installed_by = excluded.installed_by, operation_id = excluded.operation_id, status = excluded.status, \
             created_at = excluded.created_at, decided_by = NULL, decided_at = NULL, reason = NULL";
        on_engine!(self, |conn| {
            sqlx::query(PUT_REVIEW)
                .bind(uuid::Uuid::new_v4().to_string())
                .bind(new.plugin_id.as_str())
                .bind(new.version.to_string())
                .bind(new.digest.to_string())
                .bind(new.base_version.to_string())
                .bind(new.base_digest.to_string())
                .bind(new.diff_digest.to_string())
                .bind(new.wider)
                .bind(new.registered_by)
                .bind(new.installed_by)
                .bind(new.operation_id)
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_review"))?;
        let detail = serde_json::json!({
            "version": new.version.to_string(),
            "base_version": new.base_version.to_string(),
            "diff_digest": new.diff_digest.to_string(),
        });
        self.append_audit(act, "review.wait", Some(new.plugin_id), None, &detail.to_string()).await.map(drop)
    }

    /// Writes down a decision about a version that waits; says whether it still waited.
    pub async fn decide_review(
        &mut self,
        review: &ReviewRow,
        status: &str,
        reason: &str,
        act: &Act,
    ) -> Result<bool, Error> {
        const DECIDE_REVIEW: &str = "UPDATE reviews SET status = $1, reason = $2, decided_by = $3, decided_at = $4 \
             WHERE review_id = $5 AND status = 'pending' AND operation_id = $6";
        let decided = on_engine!(self, |conn| {
            sqlx::query(DECIDE_REVIEW)
                .bind(status)
                .bind(reason)
                .bind(&act.actor)
                .bind(act.at)
                .bind(&review.review_id)
                .bind(&review.operation_id)
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(Error::query("decide_review"))?;
        if decided == 0 {
            return Ok(false);
        }
        let detail = serde_json::json!({
            "version": review.version.to_string(),
            "base_version": review.base_version.to_string(),
            "diff_digest": review.diff_digest.to_string(),
            "reason": reason,
        });
        let action = format!("review.{status}");
        self.append_audit(act, &action, Some(&review.plugin_id), None, &detail.to_string()).await?;
        Ok(true)
    }

    /// The review, if there is one.
    pub async fn find_review(&mut self, review: &str) -> Result<Option<ReviewRow>, Error> {
        const FIND_REVIEW: &str = "SELECT review_id, plugin_id, version, digest, base_version, base_digest, diff_digest, wider, \
             registered_by, installed_by, operation_id, status, created_at, decided_by, decided_at, reason \
             FROM reviews WHERE review_id = $1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_REVIEW).bind(review).fetch_optional(conn).await)
                .map_err(Error::query("find_review"))?;
        found.map(row).transpose()
    }

    /// What was decided about the step from one release to another, or that it waits.
    pub async fn find_review_of(&mut self, digest: &Digest, base: &Digest) -> Result<Option<ReviewRow>, Error> {
        const FIND_REVIEW_OF: &str = "SELECT review_id, plugin_id, version, digest, base_version, base_digest, diff_digest, wider, \
             registered_by, installed_by, operation_id, status, created_at, decided_by, decided_at, reason \
             FROM reviews WHERE digest = $1 AND base_digest = $2";
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_REVIEW_OF).bind(digest.to_string()).bind(base.to_string()).fetch_optional(conn).await
        })
        .map_err(Error::query("find_review_of"))?;
        found.map(row).transpose()
    }

    /// The review for which this release waits, the newest.
    pub async fn find_pending_review(&mut self, digest: &Digest) -> Result<Option<ReviewRow>, Error> {
        const FIND_PENDING_REVIEW: &str = "SELECT review_id, plugin_id, version, digest, base_version, base_digest, diff_digest, wider, \
             registered_by, installed_by, operation_id, status, created_at, decided_by, decided_at, reason \
             FROM reviews WHERE digest = $1 AND status = 'pending' ORDER BY created_at DESC LIMIT 1";
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_PENDING_REVIEW).bind(digest.to_string()).fetch_optional(conn).await
        })
        .map_err(Error::query("find_pending_review"))?;
        found.map(row).transpose()
    }

    /// Reviews behind `after` (when it began to wait, and its id), oldest first; an empty `status` stands for every one.
    pub async fn list_reviews(
        &mut self,
        status: &str,
        after: (i64, &str),
        limit: u32,
    ) -> Result<Vec<ReviewRow>, Error> {
        const LIST_REVIEWS: &str = "SELECT review_id, plugin_id, version, digest, base_version, base_digest, diff_digest, wider, \
             registered_by, installed_by, operation_id, status, created_at, decided_by, decided_at, reason FROM reviews \
             WHERE ($1 = '' OR status = $1) AND (created_at, review_id) > ($2, $3) ORDER BY created_at, review_id LIMIT $4";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REVIEWS)
                .bind(status)
                .bind(after.0)
                .bind(after.1)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_reviews"))?;
        Ok(readable("list_reviews", rows, row))
    }
}

single_reads! {
    /// The review, if there is one.
    find_review(review: &str) -> Option<ReviewRow>;
    /// What was decided about the step from one release to another, or that it waits.
    find_review_of(digest: &Digest, base: &Digest) -> Option<ReviewRow>;
    /// The review for which this release waits, the newest.
    find_pending_review(digest: &Digest) -> Option<ReviewRow>;
    /// Reviews behind `after`, oldest first; an empty `status` stands for every one.
    list_reviews(status: &str, after: (i64, &str), limit: u32) -> Vec<ReviewRow>;
}

fn row(row: Columns) -> Result<ReviewRow, Error> {
    Ok(ReviewRow {
        review_id: row.0,
        plugin_id: parsed("plugin_id", &row.1)?,
        version: parsed("version", &row.2)?,
        digest: parsed("digest", &row.3)?,
        base_version: parsed("base_version", &row.4)?,
        base_digest: parsed("base_digest", &row.5)?,
        diff_digest: parsed("diff_digest", &row.6)?,
        wider: row.7,
        registered_by: row.8,
        installed_by: row.9,
        operation_id: row.10,
        status: row.11,
        created_at: row.12,
        decided_by: row.13,
        decided_at: row.14,
        reason: row.15,
    })
}
