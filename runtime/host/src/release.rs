//! A release of a plugin as this node runs it: verified again at each load, then the engine's component with what the
//! manifest says. It decides nothing about tenants; `start` does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bulkhead_database::tenant::{Phase, PluginMigration, ViewSelect};
use bulkhead_database::{PluginVersionRow, StoredRelease};
use bulkhead_engine::{Admitted, Component};
use bulkhead_model::{Digest, HookName, Manifest, PluginId, TenantId, TrustLevel, Version};
use bulkhead_trust::admit::{Explanation, Observation};
use bulkhead_trust::{Artifact, Facts, Refusal, State, StructuralLimits, Verdict};
use jsonschema::Validator;

use crate::clock;
use crate::config::Mode;
use crate::error::Error;
use crate::host::Host;
use crate::routes::RouteTable;
use crate::snapshot::DeclaredHook;
use crate::views;

/// A verified, loaded release.
pub(crate) struct Release {
    pub(crate) plugin: PluginId,
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
    facts: Facts,
    bundles: ArcSwap<Vec<Vec<u8>>>,
    /// When it was registered, in microseconds since 1970.
    admitted_at: i64,
    pub(crate) routes: RouteTable,
    pub(crate) extension_points: Vec<Arc<DeclaredHook>>,
    /// What it publishes to other plugins.
    pub(crate) views: Vec<ViewSelect>,
    pub(crate) component: Component,
    /// Read when a tenant first needs them.
    migrations: tokio::sync::OnceCell<Vec<PluginMigration>>,
}

impl Release {
    /// Its migrations for this host's engine, read from the artifact once.
    pub(crate) async fn migrations(&self, host: &Host) -> Result<&[PluginMigration], Error> {
        // Boxed: it runs once, and every start holds it.
        let read = Box::pin(async {
            let (_, artifact) = host.artifact(&self.digest).await?;
            let files = artifact.migrations.iter().map(|(name, file)| (name, file.bytes.as_slice()));
            Ok::<_, Error>(host.inner.storage.migrations(files)?)
        });
        self.migrations.get_or_try_init(|| read).await.map(Vec::as_slice)
    }
}

impl Host {
    /// Why the release's migrations that remove old shape must wait: tenants run a version that does not carry them and
    /// needs that shape. `None` where nothing waits.
    pub(crate) async fn contract_waits(&self, release: &Release) -> Result<Option<String>, Error> {
        let contracts: Vec<_> =
            release.migrations(self).await?.iter().filter(|migration| migration.phase == Phase::Contract).collect();
        if contracts.is_empty() {
            return Ok(None);
        }
        for (version, tenants) in self.inner.db.list_running_versions(&release.plugin).await? {
            if version == release.version {
                continue;
            }
            let digest = self.inner.db.get_plugin_version(&release.plugin, &version).await?.digest;
            let (_, artifact) = self.artifact(&digest).await?;
            let files = artifact.migrations.iter().map(|(name, file)| (name, file.bytes.as_slice()));
            let carried = self.inner.storage.migrations(files)?;
            let is_carried = |wanted: &PluginMigration| carried.iter().any(|one| one.checksum == wanted.checksum);
            if let Some(needed) = contracts.iter().find(|contract| !is_carried(contract)) {
                let names: Vec<_> = tenants.iter().map(ToString::to_string).collect();
                return Ok(Some(format!(
                    "`{:04}_{}` removes what version {version} needs, which runs in {}",
                    needed.number,
                    needed.name,
                    names.join(", ")
                )));
            }
        }
        Ok(None)
    }
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
        self.load_release(self.inner.db.get_stored_release(plugin, version).await?).await
    }

    /// Loads releases that were read together, before anybody else asks for one.
    pub(crate) async fn release_of(&self, stored: StoredRelease) -> Result<Arc<Release>, Error> {
        let _loading = self.inner.loading.lock().await;
        self.load_release(stored).await
    }

    async fn load_release(&self, StoredRelease { row, bundles }: StoredRelease) -> Result<Arc<Release>, Error> {
        let facts = facts(&row.facts)?;
        self.judge(&facts, &row.digest, &bundles, &admitted(row.created_at))?;
        let component = match self.inner.engine.load(Admitted::new(row.digest, facts.digest())) {
            Ok(component) => component,
            Err(bulkhead_engine::Error::NotCompiled(_) | bulkhead_engine::Error::CacheMismatch(_)) => {
                self.compile_again(&row.digest, &facts).await?
            }
            Err(error) => return Err(error.into()),
        };
        let manifest = facts.manifest().map_err(Error::Refused)?;
        let (extension_points, views) = self.published(&row.digest, &manifest).await?;
        let release = Arc::new(Release {
            plugin: row.plugin_id.clone(),
            version: row.version.clone(),
            digest: row.digest,
            routes: RouteTable::of(&manifest),
            manifest: Arc::new(manifest),
            facts,
            bundles: ArcSwap::from_pointee(bundles),
            admitted_at: row.created_at,
            extension_points,
            views,
            component,
            migrations: tokio::sync::OnceCell::new(),
        });
        self.inner.releases.lock().insert((row.plugin_id, row.version), Arc::clone(&release));
        Ok(release)
    }

    /// The policy's word on a release beside `state`, what is known of the plugin's other releases.
    pub(crate) fn judge(
        &self,
        facts: &Facts,
        digest: &Digest,
        bundles: &[Vec<u8>],
        state: &State,
    ) -> Result<Verdict, Error> {
        let explained = self.explained(facts, digest, bundles, state);
        let verdict = explained.decision.map_err(Error::Refused)?;
        let tenant = state.tenant.as_ref();
        for code in self.inner.observations.note(&verdict.plugin, tenant, explained.observed, clock::now()) {
            metrics::counter!("bulkhead_denied_total", "reason" => format!("observed-{code}")).increment(1);
        }
        Ok(verdict)
    }

    /// The policy's word, what each rule makes of the release, and what would have been denied by what is only observed.
    pub(crate) fn explained(&self, facts: &Facts, digest: &Digest, bundles: &[Vec<u8>], state: &State) -> Explanation {
        let (policy, now) = (self.inner.policy.load(), clock::now());
        if self.inner.config.mode == Mode::Dev && bundles.is_empty() {
            let decision = bulkhead_trust::admit::evaluate_unsigned_dev(facts, digest, &policy, now);
            return Explanation { decision, rules: Vec::new(), signers: Vec::new(), observed: Vec::new() };
        }
        let bundles: Vec<&[u8]> = bundles.iter().map(Vec::as_slice).collect();
        let state = State { runtime: bulkhead_engine::runtime_version(), ..state.clone() };
        let mut explained = bulkhead_trust::admit::explain(facts, digest, &bundles, &policy, &state, now);
        if let Some(policy) = self.inner.policy.observed()
            && let Err(refusals) = bulkhead_trust::evaluate(facts, digest, &bundles, &policy, &state, now)
        {
            let by = format!("policy version {}", policy.version);
            explained.observed.extend(refusals.into_iter().map(|refusal| Observation { by: by.clone(), refusal }));
        }
        explained
    }

    /// How far policy trusts a stored release, in a tenant or at all; `None` where it is not allowed there.
    pub(crate) async fn trust_of(
        &self,
        row: &PluginVersionRow,
        tenant: Option<&TenantId>,
    ) -> Result<Option<TrustLevel>, Error> {
        let bundles = self.inner.db.list_bundles(&row.digest).await?;
        let state = State { tenant: tenant.cloned(), ..admitted(row.created_at) };
        let decision = self.explained(&facts(&row.facts)?, &row.digest, &bundles, &state).decision;
        Ok(decision.ok().map(|verdict| verdict.trust))
    }

    /// The verdict on a loaded release in the fleet, made now.
    pub(crate) fn fleet_verdict(&self, release: &Release) -> Result<Verdict, Error> {
        self.judge(&release.facts, &release.digest, &release.bundles.load(), &admitted(release.admitted_at))
    }

    /// The verdict on a release in a tenant, made now: the rule that names the tenant decides what the plugin may do
    /// there. None is kept, because time alone can change it.
    pub(crate) fn verdict(&self, release: &Release, tenant: &TenantId) -> Result<Arc<Verdict>, Error> {
        let state = State { tenant: Some(tenant.clone()), ..admitted(release.admitted_at) };
        self.judge(&release.facts, &release.digest, &release.bundles.load(), &state).map(Arc::new)
    }

    /// Lets a loaded release be judged by the bundles that are stored now.
    pub(crate) async fn read_bundles_again(&self, plugin: &PluginId, version: &Version) -> Result<(), Error> {
        let loaded = self.inner.releases.lock().get(&(plugin.clone(), version.clone())).cloned();
        if let Some(release) = loaded {
            release.bundles.store(Arc::new(self.inner.db.list_bundles(&release.digest).await?));
        }
        Ok(())
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

    /// The bytes of a stored artifact, their digest checked.
    pub(crate) async fn artifact_bytes(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let bytes = self.inner.db.get_artifact(digest).await?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::Refused(vec![Refusal::new(
                bulkhead_model::Code::DigestMismatch,
                "the stored artifact has changed",
            )]));
        }
        Ok(bytes)
    }

    /// The stored artifact, its digest and structure checked.
    pub(crate) async fn artifact(&self, digest: &Digest) -> Result<(Vec<u8>, Artifact), Error> {
        let bytes = self.artifact_bytes(digest).await?;
        let artifact = bulkhead_trust::artifact::read(&bytes, &self.structural_limits()).map_err(Error::Refused)?;
        Ok((bytes, artifact))
    }

    /// What the release publishes to others beside its code: hooks and views, whose texts are files of the artifact.
    async fn published(
        &self,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(Vec<Arc<DeclaredHook>>, Vec<ViewSelect>), Error> {
        if manifest.extension_points.is_empty() && manifest.views.provides.is_empty() {
            return Ok((Vec::new(), Vec::new()));
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
        Ok((points, views::selects(&artifact)?))
    }

    /// Forgets loaded releases that no tenant of this node uses, so that their code can go.
    pub(crate) fn forget_unused_releases(&self) {
        // The map's own reference is the last one.
        self.inner.releases.lock().retain(|_, release| Arc::strong_count(release) > 1);
    }
}

/// What is known of a release that was registered then, in microseconds since 1970: the keys of its signers need not be
/// valid any more.
pub(crate) fn admitted(at: i64) -> State {
    State { admitted_at: jiff::Timestamp::from_microsecond(at).ok(), ..State::default() }
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

/// Largest schema in bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Most parts of a schema, each reference counted as what it stands for: validating visits them all.
const SCHEMA_PARTS_MAX: u32 = 10_000;
/// Deepest nesting of a schema, references followed: validating recurses as deep.
const SCHEMA_DEPTH_MAX: u32 = 64;

/// Compiles a JSON Schema. It comes from a plugin's author or a host application and is used on the host's own threads, so
/// what it unfolds to is bounded before, patterns cannot backtrack, and references lead only into itself.
pub(crate) fn schema_of(schema: &serde_json::Value) -> Result<Validator, String> {
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(format!("a schema is at most {SCHEMA_BYTES_MAX} bytes long"));
    }
    let mut left = SCHEMA_PARTS_MAX;
    check_parts(schema, schema, 0, &mut left)?;
    let patterns = jsonschema::PatternOptions::regex();
    jsonschema::options().with_pattern_options(patterns).build(schema).map_err(|error| error.to_string())
}

fn check_parts(root: &serde_json::Value, at: &serde_json::Value, depth: u32, left: &mut u32) -> Result<(), String> {
    use serde_json::Value;

    *left = left.checked_sub(1).ok_or_else(|| format!("the schema unfolds to more than {SCHEMA_PARTS_MAX} parts"))?;
    if depth > SCHEMA_DEPTH_MAX {
        return Err(format!("the schema nests, or refers to itself, deeper than {SCHEMA_DEPTH_MAX}"));
    }
    let deeper = depth.saturating_add(1);
    match at {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(to)) => {
                        let target = to.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                        let target = target.ok_or_else(|| format!("`{to}` leads out of the schema, or nowhere"))?;
                        check_parts(root, target, deeper, left)?;
                    }
                    ("$dynamicRef" | "$recursiveRef" | "$anchor" | "$dynamicAnchor", Value::String(_)) => {
                        return Err(format!("`{name}` is not understood; use `$ref` with `#/...`"));
                    }
                    ("$id", Value::String(_)) if depth > 0 => return Err("`$id` stands at the top alone".to_owned()),
                    _ => check_parts(root, value, deeper, left)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_parts(root, item, deeper, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn malformed_at(path: &str, reason: impl std::fmt::Display) -> Error {
    Error::Refused(vec![Refusal::new(bulkhead_model::Code::Malformed, format!("`{path}`: {reason}"))])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(schema: &Value) -> String {
        schema_of(schema).map(|_| "compiled").unwrap_err()
    }

    #[test]
    fn a_schema_that_unfolds_without_bound_is_refused_before_it_is_used() {
        let mut doubling = serde_json::Map::new();
        for step in 0..14 {
            let next = json!({ "$ref": format!("#/$defs/a{}", step + 1) });
            doubling.insert(format!("a{step}"), json!({ "allOf": [next, next] }));
        }
        doubling.insert("a14".to_owned(), json!({ "type": "string" }));

        assert!(refused(&json!({ "$ref": "#/$defs/a0", "$defs": doubling })).contains("unfolds"));
        assert!(refused(&json!({ "properties": { "child": { "$ref": "#" } } })).contains("deeper"));
        assert!(refused(&json!({ "$ref": "https://example.com/schema.json" })).contains("leads out"));
        assert!(refused(&json!({ "$ref": "#/$defs/missing" })).contains("leads out"));
        assert!(refused(&json!({ "description": "a".repeat(SCHEMA_BYTES_MAX) })).contains("bytes"));
        assert!(refused(&json!({ "properties": { "a": { "$id": "x" } } })).contains("`$id`"));
    }

    #[test]
    fn an_ordinary_schema_is_taken() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": { "name": { "type": "string", "pattern": "^[a-z]+$" } },
            "properties": { "first": { "$ref": "#/$defs/name" }, "last": { "$ref": "#/$defs/name" } },
            "required": ["first"]
        });

        let validator = schema_of(&schema).unwrap();

        assert!(validator.is_valid(&json!({ "first": "ada" })));
        assert!(!validator.is_valid(&json!({ "first": "Ada" })));
        assert!(!validator.is_valid(&json!({})));
    }
}
