//! Releases: a version of a plugin, its bytes under the digest that names them, its signature bundles.
//! It verifies nothing; whoever reads bytes checks their digest.

use std::collections::HashMap;

use bulkhead_model::log::Event;
use bulkhead_model::{Digest, PluginId, Version};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, signed, single_reads, unsigned};
use crate::error::Error;

/// Most versions that a list shows.
const VERSIONS_MAX: i64 = 1_000;
/// Most signature bundles of an artifact.
const BUNDLES_MAX: i64 = 16;

/// A known version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginVersionRow {
    /// The plugin.
    pub plugin_id: PluginId,
    /// The version.
    pub version: Version,
    /// Digest of the artifact.
    pub digest: Digest,
    /// What was read from the artifact, JSON text.
    pub facts: String,
    /// Rises from release to release of the plugin; 0 when unsigned.
    pub sequence: u64,
    /// Bytes of the artifact.
    pub size_bytes: u64,
    /// Who registered it.
    pub registered_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
    /// Why it is not to be used, after it failed somewhere.
    pub held_reason: Option<String>,
}

/// A version of a plugin with the signature bundles that speak for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRelease {
    /// The version.
    pub row: PluginVersionRow,
    /// Its bundles, in the order in which they came.
    pub bundles: Vec<Vec<u8>>,
}

/// A release to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewRelease<'a> {
    /// The plugin.
    pub plugin_id: &'a PluginId,
    /// The version; immutable once stored.
    pub version: &'a Version,
    /// Digest of `artifact`.
    pub digest: &'a Digest,
    /// What was read from the artifact, JSON text.
    pub facts: &'a str,
    /// Rises from release to release of the plugin; 0 when unsigned.
    pub sequence: u64,
    /// The artifact's bytes.
    pub artifact: &'a [u8],
}

type Columns = (String, String, String, String, i64, i64, String, i64, Option<String>);

impl Tx {
    /// Stores a release; its plugin becomes known with it. A version that exists is a conflict.
    pub async fn insert_release(&mut self, release: &NewRelease<'_>, act: &Act) -> Result<(), Error> {
        self.insert_artifact(release.digest, release.artifact).await?;
        self.put_plugin(release.plugin_id, release.version, act.at).await?;
        self.insert_plugin_version(release, act).await?;
        let detail =
            serde_json::json!({ "version": release.version.to_string(), "digest": release.digest.to_string() })
                .to_string();
        self.append_audit(act, "release.register", Some(release.plugin_id), None, &detail).await?;
        let event = Event::ReleaseRegister {
            plugin: release.plugin_id.to_string(),
            version: release.version.to_string(),
            digest: release.digest.to_string(),
        };
        self.append_log(event, act).await.map(drop)
    }

    async fn insert_artifact(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        const INSERT_ARTIFACT: &str =
            "INSERT INTO artifacts (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
        on_engine!(self, |conn| sqlx::query(INSERT_ARTIFACT)
            .bind(digest.to_string())
            .bind(bytes)
            .execute(conn)
            .await
            .map(drop))
        .map_err(Error::query("insert_artifact"))
    }

    async fn insert_plugin_version(&mut self, release: &NewRelease<'_>, act: &Act) -> Result<(), Error> {
        const INSERT_PLUGIN_VERSION: &str = "INSERT INTO plugin_versions \
             (plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let size_bytes = signed(u64::try_from(release.artifact.len()).unwrap_or(u64::MAX));
        on_engine!(self, |conn| {
            sqlx::query(INSERT_PLUGIN_VERSION)
                .bind(release.plugin_id.as_str())
                .bind(release.version.to_string())
                .bind(release.digest.to_string())
                .bind(release.facts)
                .bind(signed(release.sequence))
                .bind(size_bytes)
                .bind(&act.actor)
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_plugin_version"))
    }

    /// Says that a version was installed at `at`, in microseconds since 1970: the next one is compared with it.
    pub async fn set_version_installed(&mut self, plugin: &PluginId, version: &Version, at: i64) -> Result<(), Error> {
        const SET_VERSION_INSTALLED: &str =
            "UPDATE plugin_versions SET installed_at = $1 WHERE plugin_id = $2 AND version = $3";
        on_engine!(self, |conn| {
            sqlx::query(SET_VERSION_INSTALLED)
                .bind(at)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("set_version_installed"))
    }

    /// The version that was installed last, if any was, also of a plugin that was uninstalled.
    pub async fn find_installed_version(&mut self, plugin: &PluginId) -> Result<Option<PluginVersionRow>, Error> {
        const FIND_INSTALLED_VERSION: &str = "SELECT plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, \
             held_reason FROM plugin_versions WHERE plugin_id = $1 AND installed_at IS NOT NULL ORDER BY installed_at DESC LIMIT 1";
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_INSTALLED_VERSION).bind(plugin.as_str()).fetch_optional(conn).await
        })
        .map_err(Error::query("find_installed_version"))?;
        found.map(row).transpose()
    }

    /// Versions of a plugin that were installed, the one installed last first.
    pub async fn list_installed_versions(&mut self, plugin: &PluginId) -> Result<Vec<PluginVersionRow>, Error> {
        const LIST_INSTALLED_VERSIONS: &str = "SELECT plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, \
             held_reason FROM plugin_versions WHERE plugin_id = $1 AND installed_at IS NOT NULL ORDER BY installed_at DESC LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_INSTALLED_VERSIONS).bind(plugin.as_str()).bind(VERSIONS_MAX).fetch_all(conn).await
        })
        .map_err(Error::query("list_installed_versions"))?;
        rows.into_iter().map(row).collect()
    }

    /// Versions of every plugin by plugin and version text, those behind `after`; two empty texts begin.
    pub async fn list_all_versions(
        &mut self,
        after: (&str, &str),
        limit: u32,
    ) -> Result<Vec<(PluginId, Version)>, Error> {
        const LIST_ALL_VERSIONS: &str = "SELECT plugin_id, version FROM plugin_versions \
             WHERE (plugin_id, version) > ($1, $2) ORDER BY plugin_id, version LIMIT $3";
        let rows: Vec<(String, String)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_ALL_VERSIONS).bind(after.0).bind(after.1).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_all_versions"))?;
        rows.into_iter()
            .map(|(plugin, version)| Ok((parsed("plugin_id", &plugin)?, parsed("version", &version)?)))
            .collect()
    }

    /// The version, if it is known.
    pub async fn find_plugin_version(
        &mut self,
        plugin: &PluginId,
        version: &Version,
    ) -> Result<Option<PluginVersionRow>, Error> {
        const FIND_PLUGIN_VERSION: &str = "SELECT plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, \
             held_reason FROM plugin_versions WHERE plugin_id = $1 AND version = $2";
        let found: Option<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_PLUGIN_VERSION)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .fetch_optional(conn)
                .await
        })
        .map_err(Error::query("find_plugin_version"))?;
        found.map(row).transpose()
    }

    /// The version.
    pub async fn get_plugin_version(
        &mut self,
        plugin: &PluginId,
        version: &Version,
    ) -> Result<PluginVersionRow, Error> {
        let found = self.find_plugin_version(plugin, version).await?;
        found.ok_or_else(|| Error::NotFound { what: "release", name: format!("{plugin}@{version}") })
    }

    /// Versions of a plugin, the newest registered first.
    pub async fn list_plugin_versions(&mut self, plugin: &PluginId) -> Result<Vec<PluginVersionRow>, Error> {
        const LIST_PLUGIN_VERSIONS: &str = "SELECT plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, \
             held_reason FROM plugin_versions WHERE plugin_id = $1 ORDER BY created_at DESC, version DESC LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_PLUGIN_VERSIONS).bind(plugin.as_str()).bind(VERSIONS_MAX).fetch_all(conn).await
        })
        .map_err(Error::query("list_plugin_versions"))?;
        rows.into_iter().map(row).collect()
    }

    /// The release with the highest sequence: what a new one must come behind.
    pub async fn find_latest_release(&mut self, plugin: &PluginId) -> Result<Option<PluginVersionRow>, Error> {
        const FIND_LATEST_RELEASE: &str = "SELECT plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, \
             held_reason FROM plugin_versions WHERE plugin_id = $1 ORDER BY sequence DESC, created_at DESC LIMIT 1";
        let found: Option<Columns> = on_engine!(self, |conn| sqlx::query_as(FIND_LATEST_RELEASE)
            .bind(plugin.as_str())
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_latest_release"))?;
        found.map(row).transpose()
    }

    /// Holds a version back with a reason, or lifts the hold.
    pub async fn set_held(
        &mut self,
        plugin: &PluginId,
        version: &Version,
        reason: Option<&str>,
        act: &Act,
    ) -> Result<(), Error> {
        const SET_HELD: &str = "UPDATE plugin_versions SET held_reason = $1 WHERE plugin_id = $2 AND version = $3";
        self.get_plugin_version(plugin, version).await?;
        on_engine!(self, |conn| {
            sqlx::query(SET_HELD)
                .bind(reason)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("set_held"))?;
        let action = if reason.is_some() { "release.hold" } else { "release.lift" };
        let detail = serde_json::json!({ "version": version.to_string(), "reason": reason }).to_string();
        self.append_audit(act, action, Some(plugin), None, &detail).await?;
        self.count_change().await
    }

    /// The bytes of an artifact.
    pub async fn get_artifact(&mut self, digest: &Digest) -> Result<Vec<u8>, Error> {
        const GET_ARTIFACT: &str = "SELECT bytes FROM artifacts WHERE digest = $1";
        let found: Option<Vec<u8>> = on_engine!(self, |conn| sqlx::query_scalar(GET_ARTIFACT)
            .bind(digest.to_string())
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("get_artifact"))?;
        found.ok_or_else(|| Error::NotFound { what: "artifact", name: digest.to_string() })
    }

    /// Adds the bundles that are not known yet, up to 16 for an artifact; more are a conflict. Answers how many were new.
    pub async fn insert_bundles(&mut self, digest: &Digest, bundles: &[Vec<u8>], act: &Act) -> Result<usize, Error> {
        const INSERT_BUNDLE: &str = "INSERT INTO bundles (digest, ordinal, bytes) VALUES ($1, $2, $3)";
        let mut known = self.list_bundles(digest).await?;
        let before = known.len();
        for bundle in bundles {
            if known.contains(bundle) {
                continue;
            }
            let ordinal = i64::try_from(known.len()).unwrap_or(i64::MAX);
            if ordinal >= BUNDLES_MAX {
                return Err(Error::Conflict { query: "insert_bundles" });
            }
            on_engine!(self, |conn| {
                sqlx::query(INSERT_BUNDLE)
                    .bind(digest.to_string())
                    .bind(ordinal)
                    .bind(bundle.as_slice())
                    .execute(conn)
                    .await
                    .map(drop)
            })
            .map_err(Error::query("insert_bundles"))?;
            let event = Event::BundleAdd { digest: digest.to_string(), bundle: Digest::of(bundle).to_string() };
            self.append_log(event, act).await?;
            known.push(bundle.clone());
        }
        Ok(known.len().saturating_sub(before))
    }

    /// The signature bundles of an artifact, in the order in which they came.
    pub async fn list_bundles(&mut self, digest: &Digest) -> Result<Vec<Vec<u8>>, Error> {
        const LIST_BUNDLES: &str = "SELECT bytes FROM bundles WHERE digest = $1 ORDER BY ordinal LIMIT $2";
        on_engine!(self, |conn| sqlx::query_scalar(LIST_BUNDLES)
            .bind(digest.to_string())
            .bind(BUNDLES_MAX)
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_bundles"))
    }
}

impl Tx {
    /// The version with its bundles.
    pub async fn get_stored_release(&mut self, plugin: &PluginId, version: &Version) -> Result<StoredRelease, Error> {
        let row = self.get_plugin_version(plugin, version).await?;
        let bundles = self.list_bundles(&row.digest).await?;
        Ok(StoredRelease { row, bundles })
    }

    /// The current release of every serving plugin that some tenant has enabled, by plugin, those behind `after`; the empty
    /// text begins. Two queries for a page.
    pub async fn list_enabled_releases(&mut self, after: &str, limit: u32) -> Result<Vec<StoredRelease>, Error> {
        const LIST_ENABLED_RELEASES: &str = "SELECT v.plugin_id, v.version, v.digest, v.facts, v.sequence, v.size_bytes, v.registered_by, \
             v.created_at, v.held_reason FROM plugins p \
             JOIN plugin_versions v ON v.plugin_id = p.plugin_id AND v.version = p.version \
             WHERE p.plugin_id > $1 AND p.status IN ('installed', 'active') \
             AND EXISTS (SELECT 1 FROM tenant_plugins t WHERE t.plugin_id = p.plugin_id AND t.enabled) \
             ORDER BY p.plugin_id LIMIT $2";
        const LIST_BUNDLES_BETWEEN: &str = "SELECT v.plugin_id, b.bytes FROM plugins p \
             JOIN plugin_versions v ON v.plugin_id = p.plugin_id AND v.version = p.version \
             JOIN bundles b ON b.digest = v.digest \
             WHERE p.plugin_id > $1 AND p.plugin_id <= $2 ORDER BY p.plugin_id, b.ordinal";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_ENABLED_RELEASES).bind(after).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_enabled_releases"))?;
        let Some(last) = rows.last().map(|columns| columns.0.clone()) else { return Ok(Vec::new()) };
        let signed: Vec<(String, Vec<u8>)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_BUNDLES_BETWEEN).bind(after).bind(&last).fetch_all(conn).await
        })
        .map_err(Error::query("list_enabled_releases"))?;
        let mut bundles: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
        for (plugin, bytes) in signed {
            bundles.entry(plugin).or_default().push(bytes);
        }
        let stored = |columns: Columns| {
            let bundles = bundles.remove(&columns.0).unwrap_or_default();
            Ok(StoredRelease { row: row(columns)?, bundles })
        };
        rows.into_iter().map(stored).collect()
    }
}

single_reads! {
    /// The version that was installed last, if any was, also of a plugin that was uninstalled.
    find_installed_version(plugin: &PluginId) -> Option<PluginVersionRow>;
    /// Versions of a plugin that were installed, the one installed last first.
    list_installed_versions(plugin: &PluginId) -> Vec<PluginVersionRow>;
    /// Versions of every plugin by plugin and version text, those behind `after`; two empty texts begin.
    list_all_versions(after: (&str, &str), limit: u32) -> Vec<(PluginId, Version)>;
    /// The version with its bundles.
    get_stored_release(plugin: &PluginId, version: &Version) -> StoredRelease;
    /// The current release of every serving plugin that some tenant has enabled, by plugin, those behind `after`; the empty
    /// text begins.
    list_enabled_releases(after: &str, limit: u32) -> Vec<StoredRelease>;
    /// The version, if it is known.
    find_plugin_version(plugin: &PluginId, version: &Version) -> Option<PluginVersionRow>;
    /// The version.
    get_plugin_version(plugin: &PluginId, version: &Version) -> PluginVersionRow;
    /// Versions of a plugin, the newest registered first.
    list_plugin_versions(plugin: &PluginId) -> Vec<PluginVersionRow>;
    /// The release with the highest sequence: what a new one must come behind.
    find_latest_release(plugin: &PluginId) -> Option<PluginVersionRow>;
    /// The bytes of an artifact.
    get_artifact(digest: &Digest) -> Vec<u8>;
    /// The signature bundles of an artifact, in the order in which they came.
    list_bundles(digest: &Digest) -> Vec<Vec<u8>>;
}

fn row(columns: Columns) -> Result<PluginVersionRow, Error> {
    let (plugin_id, version, digest, facts, sequence, size_bytes, registered_by, created_at, held_reason) = columns;
    Ok(PluginVersionRow {
        plugin_id: parsed("plugin_id", &plugin_id)?,
        version: parsed("version", &version)?,
        digest: parsed("digest", &digest)?,
        facts,
        sequence: unsigned("sequence", sequence)?,
        size_bytes: unsigned("size_bytes", size_bytes)?,
        registered_by,
        created_at,
        held_reason,
    })
}
