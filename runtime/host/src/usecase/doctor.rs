//! The doctor: looks at everything that can be wrong with this host and its database, and says what. It changes nothing but a
//! file that it writes into the data folder and removes.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::pin::Pin;

use bulkhead_model::{Actor, Code, Digest, PluginId, Role, TenantId, Version};
use jiff::Timestamp;

use crate::auth::{KEYS_KEPT_MS, require};
use crate::clock;
use crate::config::Mode;
use crate::doctor::{Check, Finding, end, policy_findings, sorted};
use crate::error::Error;
use crate::host::Host;
use crate::release;

/// Rows of one read.
const PAGE: u32 = 500;
/// Versions, and plugins in tenants, that are looked at closely: each costs signatures or an open file.
const LOOKED_AT_MAX: usize = 2_000;
/// Pairs of tenant and plugin whose data is looked for.
const KEPT_MAX: usize = 100_000;
/// Skew of clocks that is not told of, in microseconds.
const SKEW_MICROS_MAX: i64 = 2_000_000;
/// Least free bytes of the data folder's disk.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Least free part of it, in percent.
const FREE_PERCENT_MIN: u64 = 5;
/// Age of an issuer's keys, in milliseconds, from which on it is told of: an hour, when a dozen fetches failed.
const KEYS_OLD_MS: u64 = KEYS_KEPT_MS / 24;

/// One look at the database; boxed, since each waits for it many times.
type Look<'a> = Pin<Box<dyn Future<Output = Result<Vec<Finding>, Error>> + Send + 'a>>;

impl Host {
    /// Everything that is found, the worst first; `more` is what the caller found beside.
    pub async fn doctor(&self, actor: &Actor, more: Vec<Finding>) -> Result<Vec<Finding>, Error> {
        require(actor, &[Role::SuperAdmin, Role::Security], "super_admin or security")?;
        let mut findings = more;
        findings.extend(self.look_at_machine().await);
        findings.extend(self.look_at_issuers());
        if let Err(error) = self.inner.db.changes().await {
            findings.push(Finding::new(Check::DatabaseUnreachable, error.to_string()));
            return Ok(sorted(findings));
        }
        let looks: [Look<'_>; 7] = [
            Box::pin(self.look_at_clock()),
            Box::pin(self.look_at_policy()),
            Box::pin(self.look_at_registry()),
            Box::pin(self.look_at_releases()),
            Box::pin(self.look_at_serving()),
            Box::pin(self.look_at_data()),
            Box::pin(self.look_at_audit()),
        ];
        for look in looks {
            match look.await {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(Finding::new(Check::DatabaseUnreachable, error.to_string())),
            }
        }
        Ok(sorted(findings))
    }

    async fn look_at_machine(&self) -> Vec<Finding> {
        let (engine, data_dir) = (self.inner.engine.clone(), self.inner.config.data_dir.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let mut findings = Vec::new();
            if let Err(error) = engine.check_compile_worker() {
                findings.push(Finding::new(Check::CompileWorkerBroken, error.to_string()));
            }
            findings.extend(folder(&data_dir));
            findings
        });
        looked.await.unwrap_or_default()
    }

    fn look_at_issuers(&self) -> Vec<Finding> {
        let now_ms = clock::now_ms();
        let issuers = self.inner.verifier.issuers().iter();
        let found = issuers.filter_map(|issuer| {
            let (known, name) = (issuer.known(), &issuer.config.issuer);
            match known.fetched_ms() {
                None => Some(Finding::new(Check::IssuerKeysMissing, format!("`{name}`: never fetched"))),
                Some(_) if !known.serve(now_ms) => {
                    Some(Finding::new(Check::IssuerKeysMissing, format!("`{name}`: the last ones are too old")))
                }
                Some(fetched) if now_ms.saturating_sub(fetched) > KEYS_OLD_MS => {
                    Some(Finding::new(Check::IssuerKeysOld, format!("`{name}`")))
                }
                Some(_) => None,
            }
        });
        found.collect()
    }

    async fn look_at_clock(&self) -> Result<Vec<Finding>, Error> {
        let Some(theirs) = self.inner.db.clock_micros().await? else { return Ok(Vec::new()) };
        Ok(skewed(clock::now_micros(), theirs).into_iter().collect())
    }

    async fn look_at_policy(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let in_force = self.inner.roots.load();
        if self.inner.roots.anchor().keys.is_empty() {
            findings.push(Finding::new(Check::PolicyRootMissing, "`policy.root_keys` is empty"));
        }
        if let Some(broken) = &in_force.broken {
            findings.push(Finding::new(Check::PolicyRootsBroken, broken.clone()));
        }
        let what = format!("version {}", in_force.roots.version);
        let (over, soon) = (Check::PolicyRootsExpired, Check::PolicyRootsExpiring);
        findings.extend(end(in_force.roots.expires, clock::now(), &what, over, soon));
        match self.inner.db.find_policy().await? {
            None => findings.push(Finding::new(Check::PolicyMissing, "every plugin is refused")),
            Some(row) => match self.verified_policy(&row.envelope) {
                Ok(policy) => findings.extend(policy_findings(&policy, clock::now())),
                Err(error) => {
                    let what = format!("version {}: {error}", row.version);
                    findings.push(Finding::new(Check::PolicyUnverified, what));
                }
            },
        }
        for layer in self.inner.storage.check().await? {
            let what = format!("{}: {}; {}", layer.layer, layer.detail, layer.remedy);
            findings.push(Finding::new(Check::StorageLayerOpen, what));
        }
        Ok(findings)
    }

    async fn look_at_registry(&self) -> Result<Vec<Finding>, Error> {
        let (mut findings, mut after) = (Vec::new(), String::new());
        let now = clock::now();
        loop {
            let page = self.inner.db.list_tokens(&after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(findings) };
            after.clone_from(&last.token_id);
            for token in &page {
                let until = Timestamp::from_microsecond(token.expires_at).unwrap_or(Timestamp::MAX);
                let what = format!("`{}`", token.name);
                let (over, soon) = (Check::RegistryTokenExpired, Check::RegistryTokenExpiring);
                findings.extend(end(until, now, &what, over, soon));
            }
        }
    }

    async fn look_at_releases(&self) -> Result<Vec<Finding>, Error> {
        let (mut findings, mut digests) = (Vec::new(), HashSet::new());
        let (mut after, mut looked_at) = ((String::new(), String::new()), 0_usize);
        loop {
            let page = self.inner.db.list_all_versions((&after.0, &after.1), PAGE).await?;
            let Some((plugin, version)) = page.last() else { break };
            after = (plugin.to_string(), version.to_string());
            for (plugin, version) in &page {
                looked_at = looked_at.saturating_add(1);
                let (digest, found) = self.look_at_release(plugin, version, looked_at <= LOOKED_AT_MAX).await?;
                digests.insert(digest);
                findings.extend(found);
                // Signatures were verified: calls on this thread go between.
                tokio::task::yield_now().await;
            }
        }
        let folder = self.inner.config.cache_dir.clone();
        let cached = tokio::task::spawn_blocking(move || cached(&folder)).await.unwrap_or_default();
        let orphans = cached.into_iter().filter(|(digest, _)| !digests.contains(digest));
        findings.extend(orphans.map(|(_, file)| Finding::new(Check::CacheOrphaned, format!("`{file}`"))));
        Ok(findings)
    }

    async fn look_at_release(
        &self,
        plugin: &PluginId,
        version: &Version,
        closely: bool,
    ) -> Result<(Digest, Option<Finding>), Error> {
        let row = self.inner.db.get_plugin_version(plugin, version).await?;
        if !closely {
            return Ok((row.digest, None));
        }
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let what = format!("`{plugin}` {version}");
        if bundles.is_empty() {
            let is_dev = self.inner.config.mode == Mode::Dev;
            return Ok((row.digest, (!is_dev).then(|| Finding::new(Check::ReleaseUnsigned, what))));
        }
        let facts = release::facts(&row.facts)?;
        let decision = self.explained(&facts, &row.digest, &bundles, &release::admitted(row.created_at)).decision;
        let finding = decision.err().map(|refusals| {
            let is_unknown = refusals.iter().any(|refusal| refusal.code == Code::UnknownSigner);
            let check = if is_unknown { Check::SignerUnknown } else { Check::ReleaseRefused };
            let reasons: Vec<_> = refusals.iter().map(ToString::to_string).collect();
            Finding::new(check, format!("{what}: {}", reasons.join("; ")))
        });
        Ok((row.digest, finding))
    }

    /// What serves here, beside what the tables say.
    async fn look_at_serving(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let mut stored: HashSet<(TenantId, PluginId)> = HashSet::new();
        let mut cursor: Option<(TenantId, PluginId)> = None;
        loop {
            let after = cursor.as_ref().map(|(tenant, plugin)| (tenant, plugin));
            let page =
                self.inner.db.list_reach_candidates(bulkhead_database::ReachFilter::default(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            cursor = Some((last.tenant_id.clone(), last.plugin_id.clone()));
            for row in page {
                if row.serves && !self.serves(&row.tenant_id, &row.plugin_id) {
                    let what = format!("`{}` {} in `{}`", row.plugin_id, row.version, row.tenant_id);
                    findings.push(Finding::new(Check::StoredNotServing, what));
                }
                if row.serves {
                    stored.insert((row.tenant_id, row.plugin_id));
                }
            }
        }
        let snapshot = self.snapshot();
        let mut looked_at = 0_usize;
        for (tenant, view) in &snapshot.tenants {
            for (plugin, enabled) in &view.plugins {
                let what = format!("`{plugin}` {} in `{tenant}`", enabled.release.version);
                if !stored.contains(&(tenant.clone(), plugin.clone())) {
                    findings.push(Finding::new(Check::ServingNotStored, what));
                } else if enabled.release.manifest.migrations.is_some() && looked_at < LOOKED_AT_MAX {
                    looked_at = looked_at.saturating_add(1);
                    findings.extend(self.drift(tenant, &enabled.release, &what).await?);
                }
            }
        }
        Ok(findings)
    }

    /// Migrations that ran in a tenant and that the release does not carry as they ran.
    async fn drift(&self, tenant: &TenantId, release: &release::Release, what: &str) -> Result<Option<Finding>, Error> {
        let store = self.inner.storage.store(tenant, &release.plugin, 0);
        let failed = |source| bulkhead_database::Error::Storage { query: "applied_migrations", source };
        let applied = store.applied_migrations().await.map_err(failed)?;
        let carried = release.migrations(self).await?;
        let is_carried =
            |ran: &bulkhead_database::tenant::Applied| carried.iter().any(|one| one.checksum == ran.checksum);
        let drifted: Vec<String> = applied
            .iter()
            .filter(|ran| !is_carried(ran))
            .map(|ran| format!("{:04}_{}", ran.number, ran.name))
            .collect();
        Ok((!drifted.is_empty())
            .then(|| Finding::new(Check::MigrationDrift, format!("{what}: {}", drifted.join(", ")))))
    }

    /// Data of which no record says whose it is.
    async fn look_at_data(&self) -> Result<Vec<Finding>, Error> {
        let kept = self.inner.storage.kept(KEPT_MAX).await?;
        let tenants: BTreeSet<String> = kept.iter().map(|one| one.tenant.clone()).collect();
        let mut known = HashSet::new();
        for tenant in tenants.iter().filter_map(|tenant| tenant.parse::<TenantId>().ok()) {
            if self.inner.db.find_tenant(&tenant).await?.is_some() {
                let rows = self.inner.db.list_tenant_plugins(&tenant).await?;
                known.extend(rows.into_iter().map(|row| (tenant.to_string(), row.plugin_id.sql_name())));
            }
        }
        let orphans = kept.into_iter().filter(|one| !known.contains(&(one.tenant.clone(), one.plugin.clone())));
        Ok(orphans
            .map(|one| Finding::new(Check::DataOrphaned, format!("of `{}` in `{}`", one.plugin, one.tenant)))
            .collect())
    }

    async fn look_at_audit(&self) -> Result<Vec<Finding>, Error> {
        let proof = self.inner.db.verify_audit().await?;
        let broken = |entry| Finding::new(Check::AuditBroken, format!("entry {entry} does not follow"));
        Ok(proof.first_broken.map(broken).into_iter().collect())
    }
}

/// Whether two clocks, in microseconds, are apart.
fn skewed(ours: i64, theirs: i64) -> Option<Finding> {
    let skew = ours.saturating_sub(theirs);
    let what = || format!("this machine is {} ms ahead of the database", skew / 1_000);
    (skew.saturating_abs() > SKEW_MICROS_MAX).then(|| Finding::new(Check::ClockSkew, what()))
}

/// The component's digest and the name of each file of compiled code.
fn cached(folder: &Path) -> Vec<(Digest, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(KEPT_MAX).filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.ends_with(".cwasm"))
        .filter_map(|name| Some((format!("sha256:{}", name.split('-').next()?).parse().ok()?, name)))
        .collect()
}

/// Whether the data folder can be written to, and has room.
fn folder(data_dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let probe = data_dir.join(format!(".doctor-{}", crate::calls::random_trace().hex()));
    if let Err(error) = std::fs::write(&probe, b"written by the doctor\n").and_then(|()| std::fs::remove_file(&probe)) {
        let what = format!("`{}`: {error}", data_dir.display());
        findings.push(Finding::new(Check::DataDirUnwritable, what));
    }
    if let Ok(disk) = rustix::fs::statvfs(data_dir) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        findings.extend(room(free, disk.f_blocks.saturating_mul(disk.f_frsize)));
    }
    findings
}

fn room(free_bytes: u64, bytes: u64) -> Option<Finding> {
    let least = FREE_BYTES_MIN.max(bytes / 100 * FREE_PERCENT_MIN).min(FREE_BYTES_MIN * 20);
    let what = || format!("{} MiB are free, {} MiB should be", free_bytes >> 20, least >> 20);
    (free_bytes < least).then(|| Finding::new(Check::DiskLow, what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_needs_a_gibibyte_and_a_larger_one_a_twentieth_up_to_twenty() {
        const GIB: u64 = 1 << 30;
        let check = |free: u64, of: u64, is_low: bool| assert_eq!(room(free, of).is_some(), is_low, "{free} of {of}");
        check(GIB, 10 * GIB, false);
        check(GIB - 1, 10 * GIB, true);
        check(4 * GIB, 100 * GIB, true);
        check(6 * GIB, 100 * GIB, false);
        check(21 * GIB, 10_000 * GIB, false);
        check(0, 0, true);
    }

    #[test]
    fn clocks_may_be_two_seconds_apart() {
        let check = |ours: i64, theirs: i64, is_off: bool| assert_eq!(skewed(ours, theirs).is_some(), is_off);
        check(10_000_000, 8_000_000, false);
        check(10_000_001, 8_000_000, true);
        check(8_000_000, 10_000_000, false);
        check(8_000_000, 10_000_001, true);
        check(i64::MAX, i64::MIN, true);
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_written_to_and_a_good_one_is_left_as_it_was() {
        let temporary = tempfile::tempdir().unwrap();
        let codes = |path: &Path| folder(path).iter().map(|one| one.check.code()).collect::<Vec<_>>();

        assert!(codes(&temporary.path().join("gone")).contains(&"data-dir-unwritable"));
        assert!(!codes(temporary.path()).contains(&"data-dir-unwritable"));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }

    #[test]
    fn compiled_code_is_known_by_its_name() {
        let temporary = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"a component");
        for name in [&format!("{}-abc.cwasm", digest.hex()), "README", "x-y.cwasm"] {
            std::fs::write(temporary.path().join(name), b"").unwrap();
        }

        assert_eq!(cached(temporary.path()), [(digest, format!("{}-abc.cwasm", digest.hex()))]);
        assert_eq!(cached(&temporary.path().join("gone")), []);
    }
}
