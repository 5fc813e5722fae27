//! Registering a release: admitted, compiled, tried once, stored. It installs nothing.

use bulkhead_database::{Act, NewRelease};
use bulkhead_engine::Admitted;
use bulkhead_model::{Actor, Limits, PluginStatus, Transition};
use bulkhead_trust::admit::{Known, State};
use bulkhead_trust::{Artifact, Facts, Verdict};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::view;

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
        let (admitted, verdict, is_new) = match self.admit(&artifact, &bundles).await {
            Ok(admitted) => admitted,
            Err(error) => {
                self.record_denial(actor, &error).await?;
                return Err(error);
            }
        };
        let id = &admitted.manifest.plugin.id;
        let _turn = self.inner.acts.plugin(id).await?;
        if is_new {
            self.try_once(&admitted, &artifact).await?;
        } else {
            self.check_together(&admitted, &bundles).await?;
        }

        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        if is_new {
            let facts = Facts::of(&admitted).to_json();
            let release = NewRelease {
                plugin_id: id,
                version: &admitted.manifest.plugin.version,
                digest: &admitted.digest,
                facts: &String::from_utf8_lossy(&facts),
                sequence: verdict.sequence,
                artifact: &artifact,
            };
            tx.insert_release(&release, &act).await?;
        }
        if tx.get_plugin(id).await?.status == PluginStatus::Uninstalled {
            tx.advance_plugin(id, Transition::Register, &act).await?;
            tx.set_plugin_version(id, &admitted.manifest.plugin.version, &act).await?;
        }
        tx.insert_bundles(&admitted.digest, &bundles).await?;
        tx.commit().await?;
        Ok((self.view_plugin(id).await?, is_new))
    }

    /// The artifact, its verdict, and whether the release is new. A release that is known already is judged for itself,
    /// not as a step back from a later one; other bytes under its version are refused.
    async fn admit(&self, bytes: &[u8], bundles: &[Vec<u8>]) -> Result<(Artifact, Verdict, bool), Error> {
        let artifact = bulkhead_trust::artifact::read(bytes, &self.structural_limits()).map_err(Error::Refused)?;
        let plugin = &artifact.manifest.plugin;
        let same_version = self.inner.db.find_plugin_version(&plugin.id, &plugin.version).await?;
        let latest = match &same_version {
            Some(_) => None,
            None => self.inner.db.find_latest_release(&plugin.id).await?,
        };
        let state = State {
            known: latest.map(|row| Known { version: row.version, sequence: row.sequence, digest: row.digest }),
            ..State::default()
        };
        let verdict = self.judge(&Facts::of(&artifact), &artifact.digest, bundles, &state)?;
        match same_version {
            Some(known) if known.digest != artifact.digest => Err(Error::Conflict(format!(
                "the version {} of `{}` is registered with other bytes: versions are immutable",
                plugin.version, plugin.id
            ))),
            known => Ok((artifact, verdict, known.is_none())),
        }
    }

    /// Whether the bundles that are stored and those that come now are good together: a release is judged by all of them at
    /// its next load, and none can be taken away.
    async fn check_together(&self, artifact: &Artifact, bundles: &[Vec<u8>]) -> Result<(), Error> {
        let mut together = self.inner.db.list_bundles(&artifact.digest).await?;
        for bundle in bundles {
            if !together.contains(bundle) {
                together.push(bundle.clone());
            }
        }
        self.judge(&Facts::of(artifact), &artifact.digest, &together, &State::default()).map(|_| ())
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

    async fn record_denial(&self, actor: &Actor, error: &Error) -> Result<(), Error> {
        let Error::Refused(refusals) = error else {
            return Ok(());
        };
        for refusal in refusals {
            metrics::counter!("bulkhead_denied_total", "reason" => refusal.code.as_str()).increment(1);
        }
        let detail =
            serde_json::json!({ "reasons": refusals.iter().map(|refusal| refusal.code.as_str()).collect::<Vec<_>>() });
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        tx.append_audit(&act, "plugin.refuse", None, None, &detail.to_string()).await?;
        Ok(tx.commit().await?)
    }
}
