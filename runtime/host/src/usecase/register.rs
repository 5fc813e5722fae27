//! Registering a release: admitted, compiled, tried once, stored. It installs nothing.

use bulkhead_database::{Act, NewRelease};
use bulkhead_engine::Admitted;
use bulkhead_model::{Actor, Limits, PluginStatus, Transition};
use bulkhead_trust::admit::{Known, State};
use bulkhead_trust::{Artifact, Bundle, Facts};

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
        let admitted = match self.admit(&artifact, &bundles).await {
            Ok(admitted) => admitted,
            Err(error) => {
                self.record_denial(actor, &error).await?;
                return Err(error);
            }
        };
        let facts = Facts::of(&admitted);
        self.try_once(&admitted, &facts, &artifact).await?;

        let id = &admitted.manifest.plugin.id;
        let _turn = self.inner.acts.plugin(id).await?;
        let version = &admitted.manifest.plugin.version;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        let created = match tx.find_plugin_version(id, version).await? {
            Some(known) if known.digest == admitted.digest => false,
            Some(_) => {
                return Err(Error::Conflict(format!(
                    "the version {version} of `{id}` is already registered with other bytes: versions are immutable"
                )));
            }
            None => true,
        };
        tx.insert_bundles(&admitted.digest, &bundles).await?;
        if created {
            let claims =
                bundles.iter().filter_map(|bundle| Bundle::parse(bundle).and_then(|bundle| bundle.claims()).ok());
            let sequence = claims.map(|claims| claims.sequence).max();
            tx.insert_release(
                &NewRelease {
                    plugin_id: id,
                    version,
                    digest: &admitted.digest,
                    facts: &String::from_utf8_lossy(&facts.to_json()),
                    sequence: sequence.unwrap_or(0),
                    artifact: &artifact,
                },
                &act,
            )
            .await?;
            if tx.get_plugin(id).await?.status == PluginStatus::Uninstalled {
                tx.advance_plugin(id, Transition::Register, &act).await?;
            }
        }
        tx.commit().await?;
        Ok((self.view_plugin(id).await?, created))
    }

    async fn admit(&self, bytes: &[u8], bundles: &[Vec<u8>]) -> Result<Artifact, Error> {
        let artifact = bulkhead_trust::artifact::read(bytes, &self.structural_limits()).map_err(Error::Refused)?;
        let facts = Facts::of(&artifact);
        let known = self.inner.db.find_latest_release(&artifact.manifest.plugin.id).await?;
        let state = State {
            known: known.map(|row| Known { version: row.version, sequence: row.sequence, digest: row.digest }),
            ..State::default()
        };
        self.judge(&facts, &artifact.digest, bundles, &state)?;
        Ok(artifact)
    }

    /// Compiles in the worker and loads once: a component whose types are not the contract's fails here, not in a tenant.
    async fn try_once(&self, artifact: &Artifact, facts: &Facts, bytes: &[u8]) -> Result<(), Error> {
        self.inner.engine.compile(&artifact.digest, &facts.digest(), bytes).await?;
        let component = self.inner.engine.load(Admitted::new(artifact.digest, facts.digest()))?;
        Ok(self.inner.engine.trial(&component, Limits::DEFAULT).await?)
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
