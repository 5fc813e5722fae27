//! The root keys in force: the configured ones, or what they and their successors signed since. Every document is verified
//! again whenever the chain is read, so that a row that nobody signed puts nothing in force. Verifying is `trust`'s.

use std::path::PathBuf;

use bulkhead_database::{Act, RootsRow};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, Digest, Role};
use bulkhead_trust::policy::{self, roots};
use bulkhead_trust::{Policy, Roots};

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::in_force::RootsInForce;
use crate::usecase::policy::{invalid_policy, put_policy};
use crate::view;

/// Documents of one read.
const PAGE: u32 = 200;
/// File of the data folder with the version of the last roots that this node saw, behind their anchor.
const MARK: &str = "roots-mark";

impl Host {
    /// The root keys in force, and where they come from.
    pub async fn get_roots(&self, actor: &Actor) -> Result<view::RootsView, Error> {
        require(actor, &[Role::Security], "security")?;
        let in_force = self.inner.roots.load();
        let anchor = self.inner.roots.anchor();
        let last = match in_force.roots.version {
            0 => None,
            version => self.inner.db.list_roots(&anchor.anchor_id(), version.saturating_sub(1), 1).await?.pop(),
        };
        Ok(view_roots(&in_force, anchor.anchor_id(), last))
    }

    /// Replaces the root keys by those of a document that enough of the old and of the new ones signed. What is in force must
    /// be signed by enough of the new ones as well, or come with them in `policy`, of a higher version: both are installed
    /// together or not at all.
    pub async fn install_roots(
        &self,
        actor: &Actor,
        envelope: &[u8],
        policy: Option<&[u8]>,
    ) -> Result<view::RootsView, Error> {
        require(actor, &[Role::Security], "security")?;
        let _turn = self.inner.acts.declarations().await;
        // Another host may have installed some meanwhile.
        self.load_roots().await?;
        let now = clock::now();
        let current = self.inner.roots.load().usable()?.clone();
        let next = successor(&current, envelope)?;
        if next.expires <= now {
            return Err(invalid(Code::PolicyInvalid, "/expires", "the root keys have expired"));
        }
        let act = Act::new(actor, clock::now_micros());
        let policy = match policy {
            Some(policy) => Some(self.newer_policy(&next, policy, &act).await?),
            None => None,
        };
        self.check_kept(&current, &next, policy.as_ref().map(|(policy, _)| policy)).await?;
        let row = RootsRow {
            version: next.version,
            envelope: envelope.to_vec(),
            installed_by: actor.subject.clone(),
            installed_at: act.at,
        };
        let anchor = self.inner.roots.anchor().anchor_id();
        let keys = match &policy {
            Some((policy, _)) => self.key_events(policy).await?,
            None => Vec::new(),
        };
        let mut tx = self.inner.db.begin().await?;
        tx.insert_roots(&anchor, &row, &act).await?;
        if let Some((_, policy)) = &policy {
            put_policy(&mut tx, policy, &keys, &act).await?;
        }
        tx.commit().await?;
        self.put_roots_in_force(next);
        match policy {
            Some((policy, row)) => self.take_policy(policy, row.observed).await?,
            None => self.judge_serving().await?,
        }
        Ok(view_roots(&self.inner.roots.load(), anchor, Some(row)))
    }

    /// Reads the chain into force. Where a document does not come behind the one before, or the chain is shorter than this
    /// node knows it, no key counts: an older key may be the stolen one.
    pub(crate) async fn load_roots(&self) -> Result<(), Error> {
        let anchor = self.inner.roots.anchor().clone();
        let (id, mut roots) = (anchor.anchor_id(), anchor);
        loop {
            let rows = self.inner.db.list_roots(&id, roots.version, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                match roots.successor(&row.envelope) {
                    // The row's own number says nothing: the envelope does.
                    Ok(next) if next.version == row.version => roots = next,
                    Ok(_) | Err(_) => {
                        let reason = format!("version {} does not come behind version {}", row.version, roots.version);
                        self.break_roots(&reason);
                        return Ok(());
                    }
                }
            }
        }
        let seen = self.seen_roots(&id).max(self.inner.roots.load().roots.version);
        if roots.version < seen {
            let path = self.mark_path();
            let reason = format!(
                "the database has them up to version {}, and this node has seen version {seen}; if an older backup was \
                 restored on purpose, remove `{}` and start again",
                roots.version,
                path.display()
            );
            self.break_roots(&reason);
            return Ok(());
        }
        self.put_roots_in_force(roots);
        Ok(())
    }

    /// Catches up with roots that another host installed; says whether there were some.
    pub(crate) async fn follow_roots(&self) -> Result<bool, Error> {
        let anchor = self.inner.roots.anchor().anchor_id();
        let known = self.inner.roots.load();
        if known.broken.is_none() && self.inner.db.roots_version(&anchor).await? == known.roots.version {
            return Ok(false);
        }
        self.load_roots().await?;
        Ok(true)
    }

    fn put_roots_in_force(&self, roots: Roots) {
        let anchor = self.inner.roots.anchor().anchor_id();
        if roots.version > self.seen_roots(&anchor) {
            let mark = format!("{anchor} {}\n", roots.version);
            if let Err(error) = std::fs::write(self.mark_path(), mark) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "failed to write down which root keys were seen"
                );
            }
        }
        self.inner.roots.put(roots);
    }

    fn break_roots(&self, reason: &str) {
        tracing::error!(reason, "the chain of root keys is broken: nothing is allowed");
        self.inner.roots.break_off(reason);
    }

    /// Version of the last roots of this anchor that this node saw.
    fn seen_roots(&self, anchor: &Digest) -> u64 {
        let mark = std::fs::read_to_string(self.mark_path()).unwrap_or_default();
        let seen = mark.trim().split_once(' ').filter(|(of, _)| *of == anchor.to_string());
        seen.and_then(|(_, version)| version.parse().ok()).unwrap_or(0)
    }

    fn mark_path(&self) -> PathBuf {
        self.inner.config.data_dir.join(MARK)
    }

    /// Whether what is in force stays so under the next roots; `replaced_by` comes with them.
    async fn check_kept(&self, current: &Roots, next: &Roots, replaced_by: Option<&Policy>) -> Result<(), Error> {
        let enforced = self.inner.db.find_policy().await?;
        let observed = self.inner.db.find_latest_policy().await?.filter(|row| row.observed);
        let mode = replaced_by.map(|policy| policy.mode);
        // A policy that is enforced replaces both, one that is observed only the observed one.
        let enforced = enforced.filter(|_| mode != Some(policy::Mode::Enforce));
        let observed = observed.filter(|_| mode.is_none());
        for row in enforced.into_iter().chain(observed) {
            let holds = |roots: &Roots| policy::verify(&row.envelope, &roots.keys, roots.threshold).is_ok();
            if holds(current) && !holds(next) {
                return Err(Error::Conflict(format!(
                    "the policy of version {} is not signed by enough of the new root keys and would allow nothing: sign one \
                     of a higher version with them and install both together, `bulkhead policy roots install ROOTS --policy POLICY`",
                    row.version
                )));
            }
        }
        Ok(())
    }
}

/// The roots in an envelope, if they may come behind these.
fn successor(current: &Roots, envelope: &[u8]) -> Result<Roots, Error> {
    let claimed = roots::unverified(envelope).map_err(|error| invalid_policy(&error))?;
    if claimed.version <= current.version {
        let message =
            format!("the root keys in force have version {}; the next ones have the one after", current.version);
        return Err(invalid(Code::PolicyStale, "/version", &message));
    }
    current.successor(envelope).map_err(|error| invalid_policy(&error))
}

fn invalid(code: Code, pointer: &str, message: &str) -> Error {
    Error::Invalid { code, issues: vec![Issue::new(pointer, message)] }
}

fn view_roots(in_force: &RootsInForce, anchor: Digest, row: Option<RootsRow>) -> view::RootsView {
    let (installed_by, installed_at) = row.map(|row| (row.installed_by, row.installed_at)).unzip();
    let roots = &in_force.roots;
    view::RootsView {
        version: roots.version,
        keys: roots.keys.iter().map(|key| (key.to_policy_text(), key.id())).collect(),
        threshold: u64::try_from(roots.threshold.max(1)).unwrap_or(u64::MAX),
        expires: (roots.version > 0).then(|| roots.expires.as_microsecond()),
        anchor,
        broken: in_force.broken.clone(),
        installed_by,
        installed_at,
    }
}
