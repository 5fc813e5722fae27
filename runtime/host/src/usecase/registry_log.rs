//! The registry's log: leaves, signed checkpoints, proofs, the timestamp that expires; and the look whether what is stored can
//! have come after what this host saw before. Nothing is signed, and nothing installed, while it cannot.

use bulkhead_database::registry::LogState;
use bulkhead_database::{Act, Tx};
use bulkhead_model::log::{Event, Leaf};
use bulkhead_model::{Actor, PluginId, Role, Version};
use bulkhead_oci::Caller;
use bulkhead_trust::SigningKey;
use bulkhead_trust::log::{AuditHead, Checkpoint, ConsistencyProof, InclusionProof, Seen, Timestamp};
use jiff::SignedDuration;

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::log_watch::SignedTimestamp;
use crate::release::Release;
use crate::usecase::fleet::page_of;
use crate::usecase::registry::RegistryActor;
use crate::usecase::reviews::check_reason;
use crate::view::{self, Page, PageRequest};

/// Which leaf is to be proven.
#[derive(Clone, Debug)]
pub enum WantedLeaf {
    /// The one at this place, from 0.
    Index(u64),
    /// The first with which the artifact of this digest came.
    Digest(String),
}

impl Host {
    /// Leaves of the log, from the first on.
    pub async fn list_log(&self, who: &RegistryActor, page: &PageRequest) -> Result<Page<view::LogLeaf>, Error> {
        require_all(who)?;
        let first = page.cursor.as_deref().map_or(Ok(0), str::parse::<u64>);
        let first = first.map_err(|_| Error::InvalidName("the cursor is not one of this list".to_owned()))?;
        let rows = self.inner.db.list_leaves(first, page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.index.saturating_add(1).to_string());
        let items = page.items.into_iter().map(|row| view::LogLeaf { index: row.index, leaf: row.leaf }).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// The signed state of the log as it is.
    pub async fn registry_checkpoint(&self, who: &RegistryActor) -> Result<String, Error> {
        require_some(who)?;
        let state = self.look_at_log().await?;
        Ok(self.checkpoint(&state).sign(self.registry_key()?))
    }

    /// How far log, revocations and policy are, signed for a while; the same answer until half of its time is over or
    /// something changed.
    pub async fn registry_timestamp(&self, who: &RegistryActor) -> Result<String, Error> {
        require_some(who)?;
        let key = self.registry_key()?;
        let state = self.look_at_log().await?;
        let (of, now) = (seen(&state), clock::now());
        let watch = &self.inner.log_watch;
        if let Some(signed) = watch.signed().filter(|signed| signed.of == of && now < signed.renew_at) {
            return Ok(signed.envelope);
        }
        let life = SignedDuration::from_hours(i64::from(self.inner.config.registry_timestamp_hours));
        let after = |life| now.saturating_add(life).unwrap_or(jiff::Timestamp::MAX);
        let timestamp = Timestamp {
            checkpoint: self.checkpoint(&state).sign(key),
            revocation_epoch: state.revocation_epoch,
            policy_version: state.policy_version,
            issued_at: now,
            expires: after(life),
        };
        let envelope = timestamp.sign(key);
        watch.keep_signed(SignedTimestamp { of, envelope: envelope.clone(), renew_at: after(life / 2) });
        Ok(envelope)
    }

    /// Proves a leaf among the first `size`, or among all of them.
    pub async fn prove_leaf(
        &self,
        who: &RegistryActor,
        wanted: &WantedLeaf,
        size: Option<u64>,
    ) -> Result<InclusionProof, Error> {
        match wanted {
            // Who knows a digest may ask for it; places are tried one after the other.
            WantedLeaf::Digest(_) => require_some(who)?,
            WantedLeaf::Index(_) => require_all(who)?,
        }
        let state = self.look_at_log().await?;
        let mut tx = self.inner.db.begin_read().await?;
        let found = match wanted {
            WantedLeaf::Index(index) => tx.find_leaf(*index).await?,
            WantedLeaf::Digest(digest) => tx.find_release_leaf(digest, "").await?,
        };
        let leaf = found.ok_or_else(|| match wanted {
            WantedLeaf::Index(index) => Error::not_found("leaf", index),
            WantedLeaf::Digest(digest) => Error::not_found("leaf", &digest.chars().take(80).collect::<String>()),
        })?;
        self.prove(&mut tx, (leaf.index, leaf.leaf), &state, size.unwrap_or(state.size)).await
    }

    /// Proves that the first `from` leaves are the beginning of the first `to`, or of all.
    pub async fn prove_growth(
        &self,
        who: &RegistryActor,
        from: u64,
        to: Option<u64>,
    ) -> Result<ConsistencyProof, Error> {
        require_some(who)?;
        let state = self.look_at_log().await?;
        let to = to.unwrap_or(state.size);
        let no_such = || Error::not_found("log of this size, from and to in order,", &format!("{from} to {to}"));
        if to > state.size {
            return Err(no_such());
        }
        let mut tx = self.inner.db.begin_read().await?;
        let hashes = tx.prove_consistency(from, to).await?.ok_or_else(no_such)?;
        Ok(ConsistencyProof { from, to, hashes })
    }

    /// What proved, when a version was installed last, that the log has its release.
    pub async fn install_proof(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        version: &Version,
    ) -> Result<InclusionProof, Error> {
        require(actor, &[Role::SuperAdmin, Role::Security], "super_admin or security")?;
        let kept = self.inner.db.find_install_proof(plugin, version).await?;
        let kept = kept.ok_or_else(|| Error::not_found("proof of an install of", &format!("{plugin}@{version}")))?;
        Ok(InclusionProof::from_json(kept.as_bytes())?)
    }

    /// Takes the stored state as it is, on this host, after somebody looked why it is not what was seen before. On record.
    pub async fn accept_log(&self, actor: &Actor, reason: &str) -> Result<view::AcceptedLog, Error> {
        require(actor, &[Role::Security], "security")?;
        check_reason(reason)?;
        let watch = &self.inner.log_watch;
        let _looking = watch.looking.lock().await;
        let alarm = watch.broken();
        let act = Act::new(actor, clock::now_micros());
        let found = seen(&self.inner.db.log_state().await?);
        let detail = serde_json::json!({
            "alarm": alarm, "reason": reason, "node": self.inner.node, "size": found.size, "root": found.root.to_string(),
            "revocation_epoch": found.revocation_epoch, "policy_version": found.policy_version,
        });
        let mut tx = self.inner.db.begin().await?;
        tx.append_audit(&act, "registry.log.accept", None, None, &detail.to_string()).await?;
        tx.commit().await?;
        watch.keep(&found)?;
        watch.set_broken(None);
        Ok(view::AcceptedLog { size: found.size, root: found.root, alarm })
    }

    /// What is wrong with the stored state, for those who watch the host.
    pub fn alarms(&self) -> Vec<String> {
        let broken = self.inner.log_watch.broken();
        broken.into_iter().map(|reason| format!("registry-log-broken: {reason}")).collect()
    }

    /// Looks whether what is stored can have come after what was seen before, and keeps it as seen. While it cannot, the
    /// alarm stands and this fails.
    pub(crate) async fn look_at_log(&self) -> Result<LogState, Error> {
        let watch = &self.inner.log_watch;
        let _looking = watch.looking.lock().await;
        let compared = self.compare_log().await;
        let reason = match &compared {
            Ok(_) => None,
            Err(Error::LogBroken(reason)) => Some(reason.clone()),
            // The database does not answer, or holds no such row: that says nothing against what is stored.
            Err(_) => return compared,
        };
        if watch.set_broken(reason.clone())
            && let Some(reason) = reason
        {
            tracing::error!(
                reason,
                code = "registry-log-broken",
                "the stored state is not what this host saw before: nothing is installed until `bulkhead registry log accept`"
            );
        }
        compared
    }

    async fn compare_log(&self) -> Result<LogState, Error> {
        let watch = &self.inner.log_watch;
        let broken = |error: &dyn std::fmt::Display| Error::LogBroken(error.to_string());
        let known = watch.seen().map_err(|error| broken(&error))?;
        let mut tx = self.inner.db.begin_read().await?;
        let lost = |error: bulkhead_database::Error| match error {
            bulkhead_database::Error::Corrupt { .. } => {
                broken(&"a hash of the stored log is missing or cannot be read")
            }
            other => other.into(),
        };
        let state = tx.log_state().await.map_err(lost)?;
        let found = seen(&state);
        let Some(known) = known else {
            watch.keep(&found)?;
            return Ok(state);
        };
        if known != found {
            let then = if known.size <= state.size { Some(tx.log_root(known.size).await.map_err(lost)?) } else { None };
            known.check(&found, then).map_err(|error| broken(&error))?;
            watch.keep(&found)?;
        }
        Ok(state)
    }

    /// Proves to this host that the log has a release that is about to be installed, and keeps the proof.
    pub(crate) async fn prove_release(&self, release: &Release) -> Result<(), Error> {
        let state = self.look_at_log().await?;
        let (digest, version) = (release.digest.to_string(), release.version.to_string());
        let missing = |reason: &str| Error::NotInLog(format!("{}@{version}: {reason}", release.plugin));
        let mut tx = self.inner.db.begin_read().await?;
        let leaf = tx.find_release_leaf(&digest, "release.register").await?;
        let leaf = leaf.ok_or_else(|| missing("no leaf records that it was registered"))?;
        let mut proof = self.prove(&mut tx, (leaf.index, leaf.leaf), &state, state.size).await?;
        drop(tx);
        let proven: Leaf = proof.check(&self.checkpoint(&state)).map_err(|error| missing(&error.to_string()))?;
        let Event::ReleaseRegister { plugin, version: registered, digest: of } = proven.event else {
            return Err(missing("its leaf records something else"));
        };
        if (plugin.as_str(), &registered, &of) != (release.plugin.as_str(), &version, &digest) {
            return Err(missing("its leaf records another release"));
        }
        if let Ok(key) = self.registry_key() {
            proof.checkpoint = Some(self.checkpoint(&state).sign(key));
        }
        let mut tx = self.inner.db.begin().await?;
        tx.put_install_proof(&release.plugin, &release.version, &proof.to_json(), clock::now_micros()).await?;
        Ok(tx.commit().await?)
    }

    async fn prove(
        &self,
        tx: &mut Tx,
        (index, leaf): (u64, String),
        state: &LogState,
        size: u64,
    ) -> Result<InclusionProof, Error> {
        let hashes = if size <= state.size { tx.prove_inclusion(index, size).await? } else { None };
        let no_such = || Error::not_found("tree of this size with the leaf", &format!("{size} with {index}"));
        let hashes = hashes.ok_or_else(no_such)?;
        let checkpoint = match self.registry_key() {
            Ok(key) if size == state.size => Some(self.checkpoint(state).sign(key)),
            Ok(key) => {
                let root = tx.log_root(size).await?;
                let origin = self.inner.config.registry_origin.clone();
                Some(Checkpoint { origin, size, root, audit: None }.sign(key))
            }
            Err(_) => None,
        };
        Ok(InclusionProof { leaf_index: index, tree_size: size, leaf, hashes, checkpoint })
    }

    fn checkpoint(&self, state: &LogState) -> Checkpoint {
        let (sequence, hash) = state.audit;
        Checkpoint {
            origin: self.inner.config.registry_origin.clone(),
            size: state.size,
            root: state.root,
            audit: Some(AuditHead { sequence, hash }),
        }
    }

    fn registry_key(&self) -> Result<&SigningKey, Error> {
        self.inner.config.registry_key.as_deref().ok_or(Error::RegistryKeyMissing)
    }
}

fn seen(state: &LogState) -> Seen {
    Seen {
        size: state.size,
        root: state.root,
        revocation_epoch: state.revocation_epoch,
        policy_version: state.policy_version,
    }
}

/// Who may know the names in every leaf: those who watch the host, and tokens for every repository.
fn require_all(who: &RegistryActor) -> Result<(), Error> {
    match who {
        RegistryActor::Person(actor) => require(actor, &[Role::SuperAdmin, Role::Security], "super_admin or security"),
        RegistryActor::Token(caller) if caller.reads_everything() => Ok(()),
        RegistryActor::Token(_) => Err(Error::RoleRequired("super_admin or security, or a token for `*`")),
    }
}

/// Who may compare states and look for what they have: whoever uses the registry.
fn require_some(who: &RegistryActor) -> Result<(), Error> {
    match who {
        RegistryActor::Person(actor) => {
            let roles = [Role::SuperAdmin, Role::Security, Role::TenantAdmin];
            require(actor, &roles, "super_admin, security or tenant_admin")
        }
        RegistryActor::Token(Caller::Token(_)) => Ok(()),
        RegistryActor::Token(Caller::Anonymous) => Err(Error::RoleRequired("a token of the registry")),
    }
}
