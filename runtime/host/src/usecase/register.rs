//! Registering a release: admitted, compiled, tried once, stored. It installs nothing.

use bulkhead_database::{Act, NewRelease, PluginVersionRow, Tx};
use bulkhead_engine::Admitted;
use bulkhead_model::{Actor, Code, Limits, PluginId, PluginStatus, Transition};
use bulkhead_trust::admit::{Known, State, late_signatures};
use bulkhead_trust::{Artifact, Facts, Refusal, Verdict};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::admitted;
use crate::sources::{self, Sent, Source};
use crate::{view, views};

/// Most releases that are registered in one act: those of an archive.
pub const RELEASES_MAX: usize = bulkhead_oci::layout::RELEASES_MAX;

/// What was found about a release that comes.
struct Admission {
    verdict: Verdict,
    /// Whether it was not known.
    is_new: bool,
    /// The newer release behind which it comes by a reviewer's signature.
    back_from: Option<PluginVersionRow>,
}

/// A release that was admitted and tried, and is not stored yet.
struct Prepared {
    artifact: Artifact,
    sent: Sent,
    admission: Admission,
}

impl Host {
    /// Admits `artifact` with its signature `bundles` and stores it as a release. All reasons for a refusal are in the
    /// error, and a refused artifact leaves nothing behind. The answer says whether the release is new: registering the
    /// same bytes again is no error, and adds bundles that were not known.
    pub async fn register(
        &self,
        actor: &Actor,
        artifact: Vec<u8>,
        bundles: Vec<Vec<u8>>,
    ) -> Result<(view::Plugin, bool), Error> {
        let mut registered = self.register_all(actor, vec![Sent { artifact, bundles }], None).await?;
        registered.pop().ok_or_else(|| Error::not_found("release", "sent"))
    }

    /// Fetches what `source` names and registers it like an upload.
    pub async fn register_from(&self, actor: &Actor, source: &Source) -> Result<Vec<(view::Plugin, bool)>, Error> {
        require_super_admin(actor)?;
        match self.fetch(source).await {
            Ok(sent) => self.register_all(actor, sent, Some(source)).await,
            Err(error) => {
                let act = Act::new(actor, clock::now_micros());
                self.record_denial(&act, None, None, &error).await?;
                Err(error)
            }
        }
    }

    /// Registers the releases of an archive, an OCI image layout in a tar.
    pub async fn register_archive(&self, actor: &Actor, archive: &[u8]) -> Result<Vec<(view::Plugin, bool)>, Error> {
        require_super_admin(actor)?;
        self.register_all(actor, sources::unpack(archive)?, None).await
    }

    /// Registers several releases of different plugins: every one is admitted before the first is stored, and all are stored
    /// in one transaction. The answers are in the order of what was sent.
    pub async fn register_all(
        &self,
        actor: &Actor,
        sent: Vec<Sent>,
        source: Option<&Source>,
    ) -> Result<Vec<(view::Plugin, bool)>, Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        match self.register_admitted(&act, sent, source).await {
            Err(error) => {
                self.record_denial(&act, None, None, &error).await?;
                Err(error)
            }
            registered => registered,
        }
    }

    async fn register_admitted(
        &self,
        act: &Act,
        sent: Vec<Sent>,
        source: Option<&Source>,
    ) -> Result<Vec<(view::Plugin, bool)>, Error> {
        let artifacts = self.read_all(&sent)?;
        let ids: Vec<&PluginId> = artifacts.iter().map(|artifact| &artifact.manifest.plugin.id).collect();
        // The turns come first: of two releases that come at once, the second is judged beside the first.
        let _turns = self.inner.acts.plugins(&ids).await?;
        let mut prepared = Vec::with_capacity(sent.len());
        for (artifact, sent) in artifacts.into_iter().zip(sent) {
            match self.prepare(artifact, sent).await {
                Ok(one) => prepared.push(one),
                Err(error) => {
                    self.forget_prepared(&prepared)?;
                    return Err(error);
                }
            }
        }

        let mut tx = self.inner.db.begin().await?;
        for one in &prepared {
            one.store(&mut tx, act, source).await?;
        }
        tx.commit().await?;
        let mut registered = Vec::with_capacity(prepared.len());
        for one in prepared {
            let (plugin, is_new) = (&one.artifact.manifest.plugin, one.admission.is_new);
            self.read_bundles_again(&plugin.id, &plugin.version).await?;
            if !is_new {
                self.take_signed_review(&plugin.id, &plugin.version).await?;
            }
            registered.push((self.view_plugin(&plugin.id).await?, is_new));
        }
        Ok(registered)
    }

    /// The artifacts of what was sent, each of another plugin.
    fn read_all(&self, sent: &[Sent]) -> Result<Vec<Artifact>, Error> {
        if sent.len() > RELEASES_MAX {
            let detail = format!("at most {RELEASES_MAX} releases are registered at once");
            return Err(Error::Refused(vec![Refusal::new(Code::TooLarge, detail)]));
        }
        let limits = self.structural_limits();
        let mut artifacts: Vec<Artifact> = Vec::with_capacity(sent.len());
        for sent in sent {
            let artifact = bulkhead_trust::artifact::read(&sent.artifact, &limits).map_err(Error::Refused)?;
            let id = &artifact.manifest.plugin.id;
            if artifacts.iter().any(|other| other.manifest.plugin.id == *id) {
                return Err(Error::Conflict(format!("two releases of `{id}` are sent at once: send one")));
            }
            artifacts.push(artifact);
        }
        Ok(artifacts)
    }

    /// Everything that can refuse a release; nothing is stored.
    async fn prepare(&self, artifact: Artifact, sent: Sent) -> Result<Prepared, Error> {
        let admission = self.admit(&artifact, &sent.bundles).await?;
        if admission.is_new {
            views::check(&artifact)?;
            self.try_once(&artifact, &sent.artifact).await?;
        } else {
            self.check_together(&artifact, &sent.bundles).await?;
        }
        Ok(Prepared { artifact, sent, admission })
    }

    /// A release that is not stored after all leaves no compiled form behind.
    fn forget_prepared(&self, prepared: &[Prepared]) -> Result<(), Error> {
        for one in prepared.iter().filter(|one| one.admission.is_new) {
            self.inner.engine.forget(&one.artifact.digest, &Facts::of(&one.artifact).digest())?;
        }
        Ok(())
    }

    /// The verdict on a release. A release that is known already is judged for itself, not as a step back
    /// from a later one; other bytes under its version are refused.
    async fn admit(&self, artifact: &Artifact, bundles: &[Vec<u8>]) -> Result<Admission, Error> {
        let plugin = &artifact.manifest.plugin;
        let same_version = self.inner.db.find_plugin_version(&plugin.id, &plugin.version).await?;
        let latest = match &same_version {
            Some(_) => None,
            None => self.inner.db.find_latest_release(&plugin.id).await?,
        };
        let back_from = latest.clone().filter(|latest| plugin.version < latest.version);
        let state = State {
            known: latest.map(|row| Known { version: row.version, sequence: row.sequence, digest: row.digest }),
            ..State::default()
        };
        let verdict = self.judge(&Facts::of(artifact), &artifact.digest, bundles, &state)?;
        match same_version {
            Some(known) if known.digest != artifact.digest => Err(Error::Conflict(format!(
                "the version {} of `{}` is registered with other bytes: versions are immutable",
                plugin.version, plugin.id
            ))),
            known => Ok(Admission { verdict, is_new: known.is_none(), back_from }),
        }
    }

    /// Whether the bundles that are stored and those that come now are good together: a release is judged by all of them at
    /// its next load, and none can be taken away.
    async fn check_together(&self, artifact: &Artifact, bundles: &[Vec<u8>]) -> Result<(), Error> {
        let mut together = self.inner.db.list_bundles(&artifact.digest).await?;
        let new: Vec<&[u8]> = bundles.iter().filter(|one| !together.contains(one)).map(Vec::as_slice).collect();
        // They would count by the time at which the release was admitted.
        let late = late_signatures(&new, &self.inner.policy.load(), clock::now());
        if !late.is_empty() {
            return Err(Error::Refused(late));
        }
        let new: Vec<Vec<u8>> = new.into_iter().map(<[u8]>::to_vec).collect();
        together.extend(new);
        let row =
            self.inner.db.get_plugin_version(&artifact.manifest.plugin.id, &artifact.manifest.plugin.version).await?;
        self.judge(&Facts::of(artifact), &artifact.digest, &together, &admitted(row.created_at)).map(|_| ())
    }

    /// Compiles in the worker, unless that was done, and loads once: a component whose types are not the contract's fails
    /// here, not in a tenant, and leaves no compiled form behind.
    async fn try_once(&self, artifact: &Artifact, bytes: &[u8]) -> Result<(), Error> {
        let engine = &self.inner.engine;
        let (digest, facts) = (artifact.digest, Facts::of(artifact).digest());
        let tried = async {
            let component = match engine.load(Admitted::new(digest, facts)) {
                Err(bulkhead_engine::Error::NotCompiled(_) | bulkhead_engine::Error::CacheMismatch(_)) => {
                    engine.compile(&digest, &facts, bytes).await?;
                    engine.load(Admitted::new(digest, facts))?
                }
                loaded => loaded?,
            };
            engine.trial(&component, Limits::DEFAULT).await
        };
        if let Err(error) = tried.await {
            engine.forget(&digest, &facts)?;
            return Err(error.into());
        }
        Ok(())
    }
}

impl Prepared {
    async fn store(&self, tx: &mut Tx, act: &Act, source: Option<&Source>) -> Result<(), Error> {
        let Self { artifact, sent, admission: Admission { verdict, is_new, back_from } } = self;
        let (id, version) = (&artifact.manifest.plugin.id, &artifact.manifest.plugin.version);
        if *is_new {
            let facts = Facts::of(artifact).to_json();
            let release = NewRelease {
                plugin_id: id,
                version,
                digest: &artifact.digest,
                facts: &String::from_utf8_lossy(&facts),
                sequence: verdict.sequence,
                artifact: &sent.artifact,
            };
            tx.insert_release(&release, act).await?;
        }
        if let Some(newer) = back_from {
            let detail = serde_json::json!({
                "from": { "version": newer.version.to_string(), "digest": newer.digest.to_string() },
                "to": { "version": version.to_string(), "digest": artifact.digest.to_string() },
                "reviewers": verdict.reviews.iter().map(|review| &review.principal).collect::<Vec<_>>(),
            });
            tx.append_audit(act, "release.rollback", Some(id), None, &detail.to_string()).await?;
        }
        if tx.get_plugin(id).await?.status == PluginStatus::Uninstalled {
            tx.advance_plugin(id, Transition::Register, act).await?;
            tx.set_plugin_version(id, version, act).await?;
        }
        let added = tx.insert_bundles(&artifact.digest, &sent.bundles, act).await?;
        let digest = artifact.digest.to_string();
        if added > 0 && !is_new {
            let detail = serde_json::json!({ "digest": digest, "bundles": added }).to_string();
            tx.append_audit(act, "release.sign", Some(id), None, &detail).await?;
        }
        if let Some(source) = source {
            let detail =
                serde_json::json!({ "version": version.to_string(), "digest": digest, "source": source.told() });
            tx.append_audit(act, "release.fetch", Some(id), None, &detail.to_string()).await?;
        }
        Ok(())
    }
}
