//! A release of a plugin as this node runs it: verified again at each load, then the engine's component with what the
//! manifest says. It decides nothing about tenants; `start` does.

use std::sync::Arc;

use bulkhead_engine::{Admitted, Component};
use bulkhead_model::{Digest, HookName, Manifest, PluginId, TenantId, Version};
use bulkhead_trust::{Artifact, Facts, Refusal, State, StructuralLimits, Verdict};
use jsonschema::Validator;

use crate::clock;
use crate::config::Mode;
use crate::error::Error;
use crate::host::Host;
use crate::routes::RouteTable;
use crate::snapshot::DeclaredHook;

/// A verified, loaded release.
pub(crate) struct Release {
    pub(crate) plugin: PluginId,
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
    /// The verdict for tenants in general; a tenant that it does not name is judged by itself.
    verdict: Arc<Verdict>,
    facts: Facts,
    bundles: Vec<Vec<u8>>,
    pub(crate) routes: RouteTable,
    pub(crate) extension_points: Vec<Arc<DeclaredHook>>,
    pub(crate) component: Component,
}

impl Host {
    /// The release, loaded once and shared by its tenants; verified anew whenever it is not loaded.
    pub(crate) async fn release(&self, plugin: &PluginId, version: &Version) -> Result<Arc<Release>, Error> {
        let key = (plugin.clone(), version.clone());
        if let Some(release) = self.inner.releases.lock().get(&key) {
            return Ok(Arc::clone(release));
        }
        // One load at a time: a second caller waits here and finds the first one's result.
        let _loading = self.inner.loading.lock().await;
        if let Some(release) = self.inner.releases.lock().get(&key) {
            return Ok(Arc::clone(release));
        }
        let release = Arc::new(self.load_release(plugin, version).await?);
        self.inner.releases.lock().insert(key, Arc::clone(&release));
        Ok(release)
    }

    async fn load_release(&self, plugin: &PluginId, version: &Version) -> Result<Release, Error> {
        let row = self.inner.db.get_plugin_version(plugin, version).await?;
        let facts = facts(&row.facts)?;
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let verdict = self.judge(&facts, &row.digest, &bundles, &State::default())?;
        let component = match self.inner.engine.load(Admitted::new(row.digest, facts.digest())) {
            Ok(component) => component,
            Err(bulkhead_engine::Error::NotCompiled(_) | bulkhead_engine::Error::CacheMismatch(_)) => {
                self.compile_again(&row.digest, &facts).await?
            }
            Err(error) => return Err(error.into()),
        };
        let manifest = facts.manifest().map_err(Error::Refused)?;
        let extension_points = self.extension_points(&row.digest, &manifest).await?;
        Ok(Release {
            plugin: plugin.clone(),
            version: version.clone(),
            digest: row.digest,
            routes: RouteTable::of(&manifest),
            manifest: Arc::new(manifest),
            verdict: Arc::new(verdict),
            facts,
            bundles,
            extension_points,
            component,
        })
    }

    /// The policy's word on a release beside `state`, what is known of the plugin's other releases.
    pub(crate) fn judge(
        &self,
        facts: &Facts,
        digest: &Digest,
        bundles: &[Vec<u8>],
        state: &State,
    ) -> Result<Verdict, Error> {
        if self.inner.config.mode == Mode::Dev && bundles.is_empty() {
            return bulkhead_trust::admit::evaluate_unsigned_dev(facts, digest).map_err(Error::Refused);
        }
        let bundles: Vec<&[u8]> = bundles.iter().map(Vec::as_slice).collect();
        let policy = self.inner.policy.load();
        let state = State { runtime: bulkhead_engine::runtime_version(), ..state.clone() };
        bulkhead_trust::evaluate(facts, digest, &bundles, &policy, &state, clock::now()).map_err(Error::Refused)
    }

    /// The verdict on a release in a tenant: the rule that names the tenant decides what the plugin may do there.
    pub(crate) fn verdict(&self, release: &Release, tenant: &TenantId) -> Result<Arc<Verdict>, Error> {
        if release.verdict.allows_tenant(tenant) {
            return Ok(Arc::clone(&release.verdict));
        }
        let state = State { tenant: Some(tenant.clone()), ..State::default() };
        self.judge(&release.facts, &release.digest, &release.bundles, &state).map(Arc::new)
    }

    /// Compiles a release whose compiled form is missing or was refused, from bytes that are read and checked anew.
    async fn compile_again(&self, digest: &Digest, facts: &Facts) -> Result<Component, Error> {
        let (bytes, artifact) = self.artifact(digest).await?;
        if Facts::of(&artifact).digest() != facts.digest() {
            return Err(Error::Refused(vec![Refusal::new(
                bulkhead_model::Code::ManifestMismatch,
                "what is stored about this release is not what its artifact says",
            )]));
        }
        self.inner.engine.compile(digest, &facts.digest(), &bytes).await?;
        Ok(self.inner.engine.load(Admitted::new(*digest, facts.digest()))?)
    }

    /// Structural limits of any artifact: the default, or what a rule of the policy allows beyond it.
    pub(crate) fn structural_limits(&self) -> StructuralLimits {
        self.inner.policy.load().structure_max(&StructuralLimits::DEFAULT)
    }

    /// The stored artifact, its digest and structure checked.
    pub(crate) async fn artifact(&self, digest: &Digest) -> Result<(Vec<u8>, Artifact), Error> {
        let bytes = self.inner.db.get_artifact(digest).await?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::Refused(vec![Refusal::new(
                bulkhead_model::Code::DigestMismatch,
                "the stored artifact has changed",
            )]));
        }
        let artifact = bulkhead_trust::artifact::read(&bytes, &self.structural_limits()).map_err(Error::Refused)?;
        Ok((bytes, artifact))
    }

    async fn extension_points(&self, digest: &Digest, manifest: &Manifest) -> Result<Vec<Arc<DeclaredHook>>, Error> {
        if manifest.extension_points.is_empty() {
            return Ok(Vec::new());
        }
        let (_, artifact) = self.artifact(digest).await?;
        let mut points = Vec::with_capacity(manifest.extension_points.len());
        for point in &manifest.extension_points {
            let schema = point.schema.as_deref().map(|path| asset_schema(&artifact, path)).transpose()?;
            points.push(Arc::new(DeclaredHook {
                name: HookName::clone(&point.name),
                kind: point.kind,
                on_failure: bulkhead_model::manifest::OnFailure::Open,
                schema,
            }));
        }
        Ok(points)
    }

    /// Forgets loaded releases that no tenant of this node uses, so that their code can go.
    pub(crate) fn forget_unused_releases(&self) {
        // The map's own reference is the last one.
        self.inner.releases.lock().retain(|_, release| Arc::strong_count(release) > 1);
    }
}

/// The facts of a stored release.
pub(crate) fn facts(text: &str) -> Result<Facts, Error> {
    serde_json::from_str(text).map_err(|error| malformed_at("facts", error))
}

/// The JSON Schema in an asset of the artifact.
pub(crate) fn asset_schema(artifact: &Artifact, path: &str) -> Result<Validator, Error> {
    let schema = asset_json(artifact, path)?;
    schema_of(&schema).map_err(|reason| malformed_at(path, reason))
}

/// The JSON document in an asset of the artifact.
pub(crate) fn asset_json(artifact: &Artifact, path: &str) -> Result<serde_json::Value, Error> {
    let file = artifact.assets.find(path).ok_or_else(|| malformed_at(path, "the artifact has no such file"))?;
    serde_json::from_slice(&file.bytes).map_err(|error| malformed_at(path, format!("not JSON: {error}")))
}

/// Compiles a JSON Schema. References to other documents are never followed.
pub(crate) fn schema_of(schema: &serde_json::Value) -> Result<Validator, String> {
    jsonschema::options().build(schema).map_err(|error| error.to_string())
}

fn malformed_at(path: &str, reason: impl std::fmt::Display) -> Error {
    Error::Refused(vec![Refusal::new(bulkhead_model::Code::Malformed, format!("`{path}`: {reason}"))])
}
