//! Reviews: a version that may do more than the one installed before waits, where the policy says so, until somebody in
//! security decides. What waits never serves. What is wider is said by `bulkhead_trust`.

use std::collections::BTreeSet;

use bulkhead_database::{Act, NewReview, OperationRow, PluginVersionRow, ReviewRow, Tx};
use bulkhead_model::{Actor, Code, Digest, PluginId, Role, Version};
use bulkhead_trust::CapabilityDiff;

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::{self, Release};
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

/// Longest reason of a decision in bytes.
const REASON_BYTES_MAX: usize = 2_000;
/// Most additions that a review keeps for its list; the whole difference is read from the two releases.
const WIDER_MAX: usize = 100;

/// A version that may do more than the one installed before.
pub(crate) struct Wider {
    base: PluginVersionRow,
    version: PluginVersionRow,
    diff_digest: Digest,
    /// What was added, JSON text.
    added: String,
}

impl Host {
    /// Versions that wait or waited for a reviewer, oldest first; `status` is `pending`, `approved`, `rejected` or empty.
    pub async fn list_reviews(
        &self,
        actor: &Actor,
        status: &str,
        page: &PageRequest,
    ) -> Result<Page<view::Review>, Error> {
        require(actor, &[Role::Security], "security")?;
        let malformed = || Error::InvalidName("the cursor is not one that a page named".to_owned());
        let (at, id) = match page.cursor.as_deref() {
            None => (i64::MIN, ""),
            Some(cursor) => {
                let (at, id) = cursor.split_once('.').ok_or_else(malformed)?;
                (at.parse().map_err(|_| malformed())?, id)
            }
        };
        let rows = self.inner.db.list_reviews(status, (at, id), page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| format!("{}.{}", row.created_at, row.review_id));
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.view_review(row).await?);
        }
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Decides about a version that waits; its installation goes on or fails. Nobody approves what they registered or
    /// install themselves.
    pub async fn decide_review(
        &self,
        actor: &Actor,
        id: &str,
        is_approved: bool,
        reason: &str,
    ) -> Result<view::Review, Error> {
        require(actor, &[Role::Security], "security")?;
        check_reason(reason)?;
        let unknown = || Error::not_found("review", &id.chars().take(64).collect::<String>());
        let row = self.inner.db.find_review(id).await?.ok_or_else(unknown)?;
        if is_approved && [&row.registered_by, &row.installed_by].contains(&&actor.subject) {
            return Err(Error::SelfReview(actor.subject.clone()));
        }
        let act = Act::new(actor, clock::now_micros());
        let status = if is_approved { "approved" } else { "rejected" };
        if !self.settle(&row, status, reason, &act).await? {
            return Err(Error::Conflict("this review was decided already".to_owned()));
        }
        let row = self.inner.db.find_review(id).await?.ok_or_else(unknown)?;
        self.view_review(row).await
    }

    async fn view_review(&self, row: ReviewRow) -> Result<view::Review, Error> {
        let release = self.inner.db.get_plugin_version(&row.plugin_id, &row.version).await?;
        Ok(view::Review {
            trust: self.trust_of(&release, None).await?,
            id: row.review_id,
            plugin: row.plugin_id,
            version: row.version,
            digest: row.digest,
            base_version: row.base_version,
            base_digest: row.base_digest,
            diff_digest: row.diff_digest,
            wider: row.wider,
            registered_by: row.registered_by,
            installed_by: row.installed_by,
            operation_id: row.operation_id,
            status: row.status,
            created_at: row.created_at,
            decided_by: row.decided_by,
            decided_at: row.decided_at,
            reason: row.reason,
        })
    }

    /// Lets a version that waits go on, where the rule's reviewers have signed by now that they looked at exactly what it waits
    /// for: its release, the one before, and their difference.
    pub(crate) async fn take_signed_review(&self, plugin: &PluginId, version: &Version) -> Result<(), Error> {
        let row = self.inner.db.get_plugin_version(plugin, version).await?;
        let Some(review) = self.inner.db.find_pending_review(&row.digest).await? else { return Ok(()) };
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let verdict =
            self.judge(&release::facts(&row.facts)?, &row.digest, &bundles, &release::admitted(row.created_at))?;
        if !verdict.is_approved(&review.base_digest, &review.diff_digest) {
            return Ok(());
        }
        let agree = verdict.reviews.iter().filter(|one| one.approves(&review.base_digest, &review.diff_digest));
        let names: BTreeSet<_> = agree.map(|one| one.principal.as_str()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let act = Act { actor: format!("signature:{}", names.join(",")), at: clock::now_micros() };
        self.settle(&review, "approved", "signed by the reviewers of the rule", &act).await.map(|_| ())
    }

    /// Writes a decision down and lets the operation that waits for it go on; says whether it still waited.
    async fn settle(&self, review: &ReviewRow, status: &str, reason: &str, act: &Act) -> Result<bool, Error> {
        let mut tx = self.inner.db.begin().await?;
        if !tx.decide_review(review, status, reason, act).await? {
            return Ok(false);
        }
        let resumed = tx.resume_operation(&review.operation_id, act.at).await?;
        tx.commit().await?;
        if resumed && let Some(operation) = self.inner.db.find_operation(&review.operation_id).await? {
            // It looks for the decision itself: so it does after a crash.
            self.run_operation(operation);
        }
        Ok(true)
    }

    /// Whether the release that `operation` installs must wait for a reviewer; an error if one rejected it. The first
    /// version of a plugin is what its rule allows, and is compared with nothing.
    pub(crate) async fn must_wait(&self, operation: &OperationRow, release: &Release) -> Result<Option<Wider>, Error> {
        let verdict = self.fleet_verdict(release)?;
        if !verdict.review_wider {
            return Ok(None);
        }
        let Some(base) = self.inner.db.find_installed_version(&release.plugin).await? else { return Ok(None) };
        if base.digest == release.digest {
            return Ok(None);
        }
        if let Some(review) = self.inner.db.find_review_of(&release.digest, &base.digest).await? {
            let is_of_this = review.operation_id == operation.operation_id;
            match review.status.as_str() {
                "approved" => return Ok(None),
                "rejected" if is_of_this => return Err(Error::ReviewRejected(review.reason.unwrap_or_default())),
                _ => {}
            }
        }
        let older = self.read_capabilities(&release.plugin, &base.version).await?;
        let newer = self.read_capabilities(&release.plugin, &release.version).await?;
        let diff = older.diff(&newer);
        if !diff.widens() || verdict.is_approved(&base.digest, &diff.digest()) {
            return Ok(None);
        }
        let version = self.inner.db.get_plugin_version(&release.plugin, &release.version).await?;
        Ok(Some(Wider { base, version, diff_digest: diff.digest(), added: added(&diff) }))
    }
}

impl Wider {
    /// Writes down that the version waits, in the transaction in which its operation begins to.
    pub(crate) async fn wait(&self, tx: &mut Tx, operation: &OperationRow, act: &Act) -> Result<(), Error> {
        let review = NewReview {
            plugin_id: &operation.plugin_id,
            version: &self.version.version,
            digest: &self.version.digest,
            base_version: &self.base.version,
            base_digest: &self.base.digest,
            diff_digest: &self.diff_digest,
            wider: &self.added,
            registered_by: &self.version.registered_by,
            installed_by: &operation.started_by,
            operation_id: &operation.operation_id,
        };
        tx.put_review(&review, act).await?;
        tx.set_plugin_error(&operation.plugin_id, Some(&format!("{}: {}", Code::PendingReview, self.detail())), act.at)
            .await?;
        Ok(())
    }

    /// Why it waits, for people.
    pub(crate) fn detail(&self) -> String {
        format!("version {} may do more than {}", self.version.version, self.base.version)
    }
}

/// The additions as a JSON list.
fn added(diff: &CapabilityDiff) -> String {
    let added = diff.differences.iter().filter(|one| one.widens()).take(WIDER_MAX).map(|one| {
        serde_json::json!({
            "area": one.area.as_str(), "name": one.name, "before": one.before, "after": one.after,
        })
    });
    serde_json::Value::Array(added.collect()).to_string()
}

/// A reason that every engine can store.
pub(super) fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.contains('\0') {
        return Err(Error::InvalidName(format!("a reason has 1 to {REASON_BYTES_MAX} bytes, none of them NUL")));
    }
    Ok(())
}
