//! Registering a release: admitted, compiled, tried once, stored. It installs nothing.

use bulkhead_database::{Act, NewRelease, PluginVersionRow};
use bulkhead_engine::Admitted;
use bulkhead_model::{Actor, Limits, PluginStatus, Transition};
use bulkhead_trust::admit::{Known, State, late_signatures};
use bulkhead_trust::{Artifact, Facts, Verdict};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release::admitted;
use crate::{view, views};

/// What was found about a release that comes.
struct Admission {
    verdict: Verdict,
    /// Whether it was not known.
    is_new: bool,
    /// The newer release behind which it comes by a reviewer's signature.
    back_from: Option<PluginVersionRow>,
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
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        match self.register_admitted(&act, artifact, bundles).await {
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
        bytes: Vec<u8>,
        bundles: Vec<Vec<u8>>,
    ) -> Result<(view::Plugin, bool), Error> {
        let artifact = bulkhead_trust::artifact::read(&bytes, &self.structural_limits()).map_err(Error::Refused)?;
        let id = &artifact.manifest.plugin.id;
        // The turn comes first: of two releases that come at once, the second is judged beside the first.
        let _turn = self.inner.acts.plugin(id).await?;
        let Admission { verdict, is_new, back_from } = self.admit(&artifact, &bundles).await?;
        if is_new {
            views::check(&artifact)?;
            self.try_once(&artifact, &bytes).await?;
        } else {
            self.check_together(&artifact, &bundles).await?;
        }

        let mut tx = self.inner.db.begin().await?;
        if is_new {
            let facts = Facts::of(&artifact).to_json();
            let release = NewRelease {
                plugin_id: id,
                version: &artifact.manifest.plugin.version,
                digest: &artifact.digest,
                facts: &String::from_utf8_lossy(&facts),
                sequence: verdict.sequence,
                artifact: &bytes,
            };
            tx.insert_release(&release, act).await?;
        }
        if let Some(newer) = back_from {
            let detail = serde_json::json!({
                "from": { "version": newer.version.to_string(), "digest": newer.digest.to_string() },
                "to": { "version": artifact.manifest.plugin.version.to_string(), "digest": artifact.digest.to_string() },
                "reviewers": verdict.reviews.iter().map(|review| &review.principal).collect::<Vec<_>>(),
            });
            tx.append_audit(act, "release.rollback", Some(id), None, &detail.to_string()).await?;
        }
        if tx.get_plugin(id).await?.status == PluginStatus::Uninstalled {
            tx.advance_plugin(id, Transition::Register, act).await?;
            tx.set_plugin_version(id, &artifact.manifest.plugin.version, act).await?;
        }
        let added = tx.insert_bundles(&artifact.digest, &bundles, act).await?;
        if added > 0 && !is_new {
            let detail = serde_json::json!({ "digest": artifact.digest.to_string(), "bundles": added }).to_string();
            tx.append_audit(act, "release.sign", Some(id), None, &detail).await?;
        }
        tx.commit().await?;
        self.read_bundles_again(id, &artifact.manifest.plugin.version).await?;
        if !is_new {
            self.take_signed_review(id, &artifact.manifest.plugin.version).await?;
        }
        Ok((self.view_plugin(id).await?, is_new))
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
