//! Revocations: what a key signed, a release, or versions of a plugin never run again, whatever policy comes. They only
//! narrow, so that they need no root key; none is ever taken back. Each is a deny entry of what is in force.

use bulkhead_database::{Act, RevocationRow};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, Coded, Digest, Role};
use bulkhead_trust::policy::{self, Deny};
use jiff::Timestamp;

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::snapshot::Enabled;
use crate::usecase::fleet::page_of;
use crate::usecase::reviews::check_reason;
use crate::view::{self, Page, PageRequest};

/// Most revocations: each is looked at in each verdict.
const REVOCATIONS_MAX: usize = 4_096;
/// Most of them by key: each key may cost a verification of each signature.
const KEYS_MAX: usize = 256;
/// Revocations of one read.
const PAGE: u32 = 1_000;

/// What is to be revoked: everything that meets every condition given, of which there is at least one of the first three.
#[derive(Clone, Debug, Default)]
pub struct NewRevocation {
    /// What this key signed: `ed25519:<base64>`, or `sha256:<hex>`, the id of a key that the policy in force knows.
    pub key: Option<String>,
    /// One release.
    pub digest: Option<Digest>,
    /// Plugins: an id, `namespace.*` or `*`.
    pub plugin: Option<String>,
    /// Range of versions.
    pub version: Option<String>,
    /// From when, in microseconds since 1970; `None` is at once.
    pub from_at: Option<i64>,
    /// Why.
    pub reason: String,
}

impl Host {
    /// Puts a revocation in force, here at once and on every other host of the database within a second. What it hits
    /// stops, calls in flight included.
    pub async fn revoke(&self, actor: &Actor, new: NewRevocation) -> Result<view::Revocation, Error> {
        require(actor, &[Role::Security], "security")?;
        check_reason(&new.reason)?;
        let act = Act::new(actor, clock::now_micros());
        let mut row = RevocationRow {
            epoch: 0,
            key: new.key.map(|key| self.key_named(key)).transpose()?,
            digest: new.digest,
            plugin: new.plugin,
            version: new.version,
            from_at: new.from_at,
            reason: new.reason,
            revoked_by: actor.subject.clone(),
            revoked_at: act.at,
        };
        deny(&row).map_err(|issues| Error::Invalid { code: Code::InvalidInput, issues })?;
        let _turn = self.inner.acts.declarations().await;
        let mut known = self.all_revocations().await?;
        let keys = known.iter().filter(|known| known.key.is_some()).count();
        if known.len() >= REVOCATIONS_MAX || (row.key.is_some() && keys >= KEYS_MAX) {
            let message = format!("at most {REVOCATIONS_MAX} revocations are kept, {KEYS_MAX} of them by key");
            return Err(Error::Conflict(format!("{message}: deny what is old in the policy and keep a backup")));
        }
        let mut tx = self.inner.db.begin().await?;
        row.epoch = tx.insert_revocation(&row, &act).await?;
        tx.commit().await?;
        let is_next = known.last().map_or(0, |last| last.epoch).saturating_add(1) == row.epoch;
        if is_next {
            known.push(row.clone());
            self.put_in_force(&known)?;
        } else {
            // Another host revoked something meanwhile.
            self.load_revocations().await?;
        }
        self.stop_revoked();
        // It is stored and in force: what could not be recorded about those that it stops is recorded later.
        if let Err(error) = self.judge_serving().await {
            tracing::error!(code = %error.code(), error = &error as &dyn std::error::Error, "failed to judge the serving plugins after a revocation");
        }
        Ok(view_revocation(row))
    }

    /// Every revocation, by epoch.
    pub async fn list_revocations(&self, actor: &Actor, page: &PageRequest) -> Result<Page<view::Revocation>, Error> {
        require(actor, &[Role::Security], "security")?;
        let after = page.cursor.as_deref().unwrap_or("0").parse();
        let after = after.map_err(|_| Error::InvalidName("the cursor is not one that a page named".to_owned()))?;
        let rows = self.inner.db.list_revocations(after, page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.epoch.to_string());
        Ok(Page { items: page.items.into_iter().map(view_revocation).collect(), next_cursor: page.next_cursor })
    }

    /// Reads every revocation into force. One that cannot be read is an error: what it revokes would run.
    pub(crate) async fn load_revocations(&self) -> Result<(), Error> {
        self.put_in_force(&self.all_revocations().await?)
    }

    fn put_in_force(&self, rows: &[RevocationRow]) -> Result<(), Error> {
        let epoch = rows.last().map_or(0, |row| row.epoch);
        let read =
            rows.iter().map(|row| deny(row).map_err(|issues| Error::Invalid { code: Code::PolicyInvalid, issues }));
        let revoked = read.collect::<Result<Vec<_>, _>>()?;
        self.inner.policy.revoke(revoked, epoch);
        Ok(())
    }

    /// Puts in force what another host revoked, and stops what it hits; says whether there was something.
    pub(crate) async fn follow_revocations(&self) -> Result<bool, Error> {
        if self.inner.db.revocation_epoch().await? <= self.inner.policy.epoch() {
            return Ok(false);
        }
        self.load_revocations().await?;
        self.stop_revoked();
        Ok(true)
    }

    /// Stops at once, from memory, what a revocation plainly hits: a full judgement of everything that serves follows, and
    /// takes longer than a revocation may.
    fn stop_revoked(&self) {
        let (policy, now) = (self.inner.policy.load(), clock::now());
        let enforced: Vec<&Deny> = policy
            .deny
            .iter()
            .filter(|deny| deny.mode == policy::Mode::Enforce && deny.from.is_none_or(|from| from <= now))
            .collect();
        for enabled in self.inner.cells.all() {
            if enforced.iter().any(|deny| hits(deny, &enabled)) {
                enabled.cell.kill();
            }
        }
    }

    async fn all_revocations(&self) -> Result<Vec<RevocationRow>, Error> {
        let mut all: Vec<RevocationRow> = Vec::new();
        loop {
            let after = all.last().map_or(0, |row| row.epoch);
            let page = self.inner.db.list_revocations(after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// The key itself, where its id is given.
    fn key_named(&self, text: String) -> Result<String, Error> {
        if !text.starts_with("sha256:") {
            return Ok(text);
        }
        let policy = self.inner.policy.load();
        let mut keys = policy.principals.iter().flat_map(|principal| &principal.keys);
        let found = keys.find(|key| key.id().to_string() == text);
        found.map(bulkhead_trust::VerifyingKey::to_policy_text).ok_or_else(|| Error::Invalid {
            code: Code::InvalidInput,
            issues: vec![Issue::new(
                "/key",
                "the policy in force knows no key of this id; name the key as `ed25519:...`",
            )],
        })
    }
}

/// Whether what serves meets a deny entry, as far as its last verdict tells.
fn hits(deny: &Deny, enabled: &Enabled) -> bool {
    let release = &enabled.release;
    let signed = |key: &bulkhead_trust::VerifyingKey| {
        let id = key.id();
        enabled.verdict.signers.iter().any(|signer| signer.key_id == id)
    };
    deny.plugin.matches(release.plugin.as_str())
        && deny.version.as_ref().is_none_or(|range| range.matches(release.version.semver()))
        && deny.digest.is_none_or(|digest| digest == release.digest)
        && deny.key.as_ref().is_none_or(signed)
}

/// The deny entry of a revocation, by the rules of a policy's.
fn deny(row: &RevocationRow) -> Result<Deny, Vec<Issue>> {
    let from = match row.from_at {
        Some(micros) => Some(
            Timestamp::from_microsecond(micros)
                .map_err(|error| vec![Issue::new("/from", error.to_string())])?
                .to_string(),
        ),
        None => None,
    };
    let entry = serde_json::json!({
        "key": row.key,
        "digest": row.digest.map(|digest| digest.to_string()),
        "plugin": row.plugin,
        "version": row.version,
        "from": from,
        "reason": row.reason,
    });
    // A field that is not given is left out: an entry that names nothing would deny everything.
    let serde_json::Value::Object(fields) = entry else { unreachable!("it is an object") };
    let given: serde_json::Map<_, _> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    Deny::from_json(serde_json::Value::Object(given).to_string().as_bytes()).map_err(|error| match error {
        policy::Error::Invalid(issues) => issues,
        policy::Error::Refused(refusal) => vec![Issue::new("", refusal.detail)],
    })
}

fn view_revocation(row: RevocationRow) -> view::Revocation {
    view::Revocation {
        epoch: row.epoch,
        key: row.key,
        digest: row.digest,
        plugin: row.plugin,
        version: row.version,
        from_at: row.from_at,
        reason: row.reason,
        revoked_by: row.revoked_by,
        revoked_at: row.revoked_at,
    }
}
