//! Keeps the record of reach: compares what is enabled and allowed with what is on record, and writes the difference. Rows that
//! are still true are not touched. Any host may do it at any time, and dying in between loses nothing: the next pass mends it,
//! and what it finds then begins or ends at the time of that pass.
//!
//! It counts what a call could use: the plugin is enabled in the tenant, its fleet's version serves, the tenant is active, the
//! policy allows the release there now, and no stored stop hits it. Whether a start went well does not matter: its code ran.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::{Pair, ReachCandidate, ReachChange, ReachFilter, ReachPass, Tx};
use bulkhead_model::{Coded, Digest, Interface, Manifest, PluginId, TenantId, Version};
use bulkhead_trust::{Facts, Policy, State, Verdict};

use crate::clock;
use crate::config::Mode;
use crate::error::Error;
use crate::host::{Host, Kills};
use crate::reach::ReachSet;
use crate::release;

/// Time between two looks at the number of changes.
const LOOK: Duration = Duration::from_millis(500);
/// Time after which everything is compared although nothing was changed: validity of keys, rules and releases ends by itself.
const PASS_MICROS: i64 = 60_000_000;
/// Rows of one read.
const PAGE: u32 = 1_000;
/// Changes of one transaction.
const CHANGES_PER_WRITE: usize = 250;
/// Time for which what has ended is kept: two years.
const KEPT_MICROS: i64 = 2 * 365 * 24 * 60 * 60 * 1_000_000;
/// Time between two removals of what is older.
const REMOVAL: Duration = Duration::from_secs(60 * 60);
/// Rows of one removal; what is left waits for the next.
const REMOVED_MAX: u32 = 10_000;

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    let (recorder, remover) = (host.clone(), host.clone());
    host.inner.tasks.spawn(async move {
        while recorder.inner.stopping.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            said("record what plugins may reach", Box::pin(recorder.record_reach()).await);
        }
    });
    host.inner.tasks.spawn(async move {
        while remover.inner.stopping.run_until_cancelled(tokio::time::sleep(REMOVAL)).await.is_some() {
            said("remove what was reached long ago", remover.remove_old_reach().await);
        }
    });
}

fn said(what: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::warn!(code = %error.code(), error = &error as &dyn std::error::Error, "failed to {what}; it is tried again");
    }
}

impl Host {
    /// Brings the record up to date, if anything was changed since it was.
    pub(crate) async fn record_reach(&self) -> Result<(), Error> {
        let _alone = self.inner.recording.lock().await;
        let changes = self.inner.db.changes().await?;
        let passed = self.inner.db.reach_pass().await?;
        let age = clock::now_micros().saturating_sub(passed.at);
        if passed.changes == changes && (0..PASS_MICROS).contains(&age) {
            return Ok(());
        }
        if !self.compare(changes, ReachFilter::default()).await? {
            return Ok(());
        }
        let mut tx = self.inner.db.begin().await?;
        tx.set_reach_pass(ReachPass { changes, at: clock::now_micros() }).await?;
        Ok(tx.commit().await?)
    }

    /// Brings the record of one plugin in one tenant up to date, so that no act is missing that is undone at once. A failure is
    /// logged: the next pass mends it.
    pub(crate) async fn record_reach_of(&self, tenant: &TenantId, plugin: &PluginId) {
        let filter = ReachFilter { tenant: Some(tenant), plugin: Some(plugin) };
        let recorded = async {
            let changes = self.inner.db.changes().await?;
            self.compare(changes, filter).await.map(drop)
        };
        said("record what a plugin may reach", Box::pin(recorded).await);
    }

    /// Whether everything within `filter` was compared and written. Not so where this host does not know what `changes`
    /// stands for yet, or somebody who knew more wrote meanwhile.
    async fn compare(&self, changes: u64, filter: ReachFilter<'_>) -> Result<bool, Error> {
        let Some(policy) = self.known_policy().await? else { return Ok(false) };
        let kills = self.inner.db.list_kills().await?.into_iter().map(|row| (row.plugin_id, row.tenant_id)).collect();
        let mut judge =
            Judge { host: self, policy, kills: Kills(kills), releases: HashMap::new(), sets: HashMap::new() };
        let mut cursor: Option<(TenantId, PluginId)> = None;
        loop {
            let after = cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin));
            let page = self.inner.db.list_reach_candidates(filter, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
            let mut changed = Vec::new();
            for candidate in page {
                changed.extend(judge.change(candidate).await?);
            }
            if !self.write_reach(changes, changed, &judge.sets).await? {
                return Ok(false);
            }
        }
        loop {
            let left = self.inner.db.list_reach_left(filter, PAGE).await?;
            if left.is_empty() {
                return Ok(true);
            }
            let ended = left.into_iter().map(|row| ReachChange {
                tenant_id: row.tenant_id,
                plugin_id: row.plugin_id,
                ends: Some(row.since),
                begins: None,
            });
            if !self.write_reach(changes, ended.collect(), &judge.sets).await? {
                return Ok(false);
            }
        }
    }

    /// The policy in force; `None` while another one, or a revocation, is stored that this host has not read yet.
    async fn known_policy(&self) -> Result<Option<Arc<Policy>>, Error> {
        if self.inner.db.revocation_epoch().await? != self.inner.policy.epoch() {
            return Ok(None);
        }
        let stored = self.inner.db.find_latest_policy().await?;
        let known = self.inner.policy.newest();
        // One that does not verify is never in force, however long one waits.
        let waits =
            |row: &bulkhead_database::PolicyRow| row.version != known && self.verified_policy(&row.envelope).is_ok();
        Ok(if stored.is_some_and(|row| waits(&row)) { None } else { Some(self.inner.policy.load()) })
    }

    /// Whether the changes were written: not where somebody who knew more wrote meanwhile.
    async fn write_reach(
        &self,
        changes: u64,
        mut changed: Vec<ReachChange>,
        sets: &HashMap<Digest, String>,
    ) -> Result<bool, Error> {
        while !changed.is_empty() {
            let rest = changed.split_off(changed.len().min(CHANGES_PER_WRITE));
            let mut tx = self.inner.db.begin().await?;
            let Some(at) = tx.take_reach_turn(changes, clock::now_micros()).await? else { return Ok(false) };
            write(&mut tx, &changed, sets, at).await?;
            tx.commit().await?;
            changed = rest;
        }
        Ok(true)
    }

    async fn remove_old_reach(&self) -> Result<(), Error> {
        let mut tx = self.inner.db.begin().await?;
        tx.delete_reach_before(clock::now_micros().saturating_sub(KEPT_MICROS), REMOVED_MAX).await?;
        Ok(tx.commit().await?)
    }
}

async fn write(tx: &mut Tx, changed: &[ReachChange], sets: &HashMap<Digest, String>, at: i64) -> Result<(), Error> {
    let mut put = Vec::new();
    for change in changed {
        if let Some((set, _)) = &change.begins
            && let Some(text) = sets.get(set)
            && !put.contains(set)
        {
            tx.put_reach_set(set, text).await?;
            put.push(*set);
        }
        tx.write_reach(change, at).await?;
    }
    Ok(())
}

/// Judges candidates; what is the same for many tenants is worked out once.
struct Judge<'a> {
    host: &'a Host,
    policy: Arc<Policy>,
    kills: Kills,
    /// `None` where what is stored of the release cannot be read.
    releases: HashMap<(PluginId, Version), Option<Judged>>,
    /// Texts of the sets that were met.
    sets: HashMap<Digest, String>,
}

/// A release, and what was found out about it. Tenants differ in the rules that name them, and in their consent.
struct Judged {
    facts: Facts,
    digest: Digest,
    /// When the host took the release, in microseconds since 1970.
    admitted_at: i64,
    manifest: Manifest,
    bundles: Vec<Vec<u8>>,
    verdicts: HashMap<Vec<bool>, Option<Verdict>>,
    known: HashMap<(Vec<bool>, Vec<Interface>), Digest>,
}

impl Judge<'_> {
    /// What is to be written about a candidate, if anything.
    async fn change(&mut self, candidate: ReachCandidate) -> Result<Option<ReachChange>, Error> {
        let wanted = if candidate.serves { self.set(&candidate).await? } else { None };
        if candidate.open.map(|(set, _)| set) == wanted {
            return Ok(None);
        }
        Ok(Some(ReachChange {
            tenant_id: candidate.tenant_id,
            plugin_id: candidate.plugin_id,
            ends: candidate.open.map(|(_, since)| since),
            begins: wanted.map(|set| (set, self.policy.version)),
        }))
    }

    /// What the plugin may reach in the tenant, if it may run there.
    async fn set(&mut self, candidate: &ReachCandidate) -> Result<Option<Digest>, Error> {
        let key = (candidate.plugin_id.clone(), candidate.version.clone());
        if !self.releases.contains_key(&key) {
            let judged = self.read(&key.0, &key.1).await?;
            self.releases.insert(key.clone(), judged);
        }
        let Some(Some(judged)) = self.releases.get_mut(&key) else { return Ok(None) };
        let rules = rules_of(&self.policy, &key.0, &candidate.tenant_id);
        let is_dev = self.host.inner.config.mode == Mode::Dev;
        if !judged.verdicts.contains_key(&rules) {
            let verdict = judged.verdict(&self.policy, &candidate.tenant_id, is_dev);
            judged.verdicts.insert(rules.clone(), verdict);
            // Signatures were verified: calls on this thread go between.
            tokio::task::yield_now().await;
        }
        let Some(Some(verdict)) = judged.verdicts.get(&rules) else { return Ok(None) };
        if self.kills.hit(&key.0, &candidate.tenant_id, verdict.core) {
            return Ok(None);
        }
        let consented = (rules, candidate.granted.clone());
        if let Some(known) = judged.known.get(&consented) {
            return Ok(Some(*known));
        }
        let (set, text) = ReachSet::of(verdict, &judged.manifest, &candidate.granted).to_text();
        judged.known.insert(consented, set);
        self.sets.insert(set, text);
        Ok(Some(set))
    }

    async fn read(&self, plugin: &PluginId, version: &Version) -> Result<Option<Judged>, Error> {
        let stored = match self.host.inner.db.get_stored_release(plugin, version).await {
            Ok(stored) => stored,
            Err(bulkhead_database::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let read = release::facts(&stored.row.facts).and_then(|facts| {
            let manifest = facts.manifest().map_err(Error::Refused)?;
            Ok((facts, manifest))
        });
        Ok(read.ok().map(|(facts, manifest)| Judged {
            facts,
            digest: stored.row.digest,
            admitted_at: stored.row.created_at,
            manifest,
            bundles: stored.bundles,
            verdicts: HashMap::new(),
            known: HashMap::new(),
        }))
    }
}

impl Judged {
    fn verdict(&self, policy: &Policy, tenant: &TenantId, is_dev: bool) -> Option<Verdict> {
        let now = clock::now();
        if is_dev && self.bundles.is_empty() {
            return bulkhead_trust::admit::evaluate_unsigned_dev(&self.facts, &self.digest, policy, now).ok();
        }
        let bundles: Vec<&[u8]> = self.bundles.iter().map(Vec::as_slice).collect();
        let runtime = bulkhead_engine::runtime_version();
        let state = State { tenant: Some(tenant.clone()), runtime, ..release::admitted(self.admitted_at) };
        bulkhead_trust::evaluate(&self.facts, &self.digest, &bundles, policy, &state, now).ok()
    }
}

/// Which of the rules for a plugin name a tenant: tenants that agree in this get the same verdict.
fn rules_of(policy: &Policy, plugin: &PluginId, tenant: &TenantId) -> Vec<bool> {
    let rules = policy.allow.iter().filter(|rule| rule.plugin.matches(plugin.as_str()));
    rules.map(|rule| rule.tenants.iter().any(|pattern| pattern.matches(tenant.as_str()))).collect()
}

/// A plugin in a tenant, as a borrowed pair.
pub(crate) fn pair(pair: &(TenantId, PluginId)) -> Pair<'_> {
    (&pair.0, &pair.1)
}
