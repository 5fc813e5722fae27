//! The catalogue: which plugins are offered, in which versions; withdrawing one and offering it again; collecting.
//! Who signed what is the host's to verify: here are the bundles.

use bulkhead_database::registry::{Collected, ReleaseRow};
use bulkhead_database::{Act, Error as DatabaseError};
use bulkhead_model::PluginId;

use crate::access::{Caller, Scope};
use crate::blobs::Reader;
use crate::error::{Error, ErrorCode};
use crate::gate::{Reason, Sight, State, standing};
use crate::name::RepositoryName;
use crate::registry::{Registry, unauthorized};

/// Longest text that is searched for, in bytes.
const SEARCH_BYTES_MAX: usize = 100;
/// Versions of one plugin whose signatures are shown.
const SIGNED_VERSIONS_MAX: usize = 50;
/// Repositories that are looked at for one page: those that the caller may not see are passed over.
const LOOKED_AT_MAX: u32 = 1_000;
/// Time in microseconds for which what nobody refers to is spared: longer than any push takes.
const GRACE_US: i64 = 24 * 3_600 * 1_000_000;
/// Time in microseconds after which an expired token is forgotten.
const TOKENS_KEPT_US: i64 = 30 * 24 * 3_600 * 1_000_000;
/// Longest reason in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// What is asked of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct CatalogueQuery {
    /// Part of an id, name or description; empty for all.
    pub search: String,
    /// The repository behind which the page begins.
    pub after: String,
    /// Plugins of the page.
    pub limit: u32,
}

/// A plugin that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The plugin.
    pub plugin: PluginId,
    /// Its versions, the newest first by semantic version.
    pub versions: Vec<Version>,
}

/// A version that is, or was, offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What is known of it.
    pub row: ReleaseRow,
    /// Where it stands.
    pub state: State,
    /// Why it is not released.
    pub reasons: Vec<Reason>,
    /// The signature bundles that speak for it; in a page of the catalogue those of the newest version alone.
    pub bundles: Vec<Vec<u8>>,
}

/// A page of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguePage {
    /// The plugins, by id.
    pub items: Vec<Offered>,
    /// Goes into `after` for the next page.
    pub next: Option<String>,
}

impl Registry {
    /// A page of the plugins that a caller may pull; `None` sees all.
    pub async fn catalogue(&self, caller: Option<&Caller>, query: &CatalogueQuery) -> Result<CataloguePage, Error> {
        let search: String = query.search.to_lowercase();
        if search.len() > SEARCH_BYTES_MAX || search.contains('\0') {
            let message = format!("what is searched for is at most {SEARCH_BYTES_MAX} bytes long");
            return Err(Error::refused(ErrorCode::NameInvalid, message));
        }
        let found = self.db.list_catalogue(&search, &query.after, LOOKED_AT_MAX).await?;
        let is_all = u32::try_from(found.len()).is_ok_and(|count| count < LOOKED_AT_MAX);
        let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let (mut items, mut seen) = (Vec::new(), None);
        for repository in found {
            if items.len() >= wanted {
                return Ok(CataloguePage { items, next: seen });
            }
            if let Ok(name) = repository.parse::<RepositoryName>()
                && let Some(sight) = self.sight(caller, &name).await?
                && let Some(plugin) = name.plugin()
            {
                let mut rows = self.versions(&name, sight).await?;
                rows.retain(|row| row.yanked_at.is_none());
                if !rows.is_empty() {
                    items.push(Offered { plugin, versions: self.with_bundles(&name, rows, 1).await? });
                }
            }
            seen = Some(repository);
        }
        Ok(CataloguePage { items, next: if is_all { None } else { seen } })
    }

    /// What a caller sees of a plugin; none is nothing.
    async fn sight(&self, caller: Option<&Caller>, name: &RepositoryName) -> Result<Option<Sight>, Error> {
        let Some(caller) = caller else { return Ok(Some(Sight::All)) };
        match self.repository(caller, name, &[Scope::Pull]).await {
            Ok(repository) => Ok(Some(repository.sight)),
            Err(error) if error.code().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A plugin with all its versions, withdrawn ones too; `None` sees all plugins.
    pub async fn offered(&self, caller: Option<&Caller>, plugin: &PluginId) -> Result<Offered, Error> {
        let name = RepositoryName::of_plugin(plugin);
        let sight = match caller {
            Some(caller) => self.repository(caller, &name, &[Scope::Pull]).await?.sight,
            None => Sight::All,
        };
        let rows = self.versions(&name, sight).await?;
        if rows.is_empty() {
            return Err(Error::refused(ErrorCode::NameUnknown, format!("no version of `{plugin}` was pushed")));
        }
        Ok(Offered { plugin: plugin.clone(), versions: self.with_bundles(&name, rows, SIGNED_VERSIONS_MAX).await? })
    }

    /// The newest first. What was revoked is shown to everybody as such.
    async fn versions(&self, name: &RepositoryName, sight: Sight) -> Result<Vec<ReleaseRow>, Error> {
        let mut rows = self.db.list_versions(name.as_str()).await?;
        let is_shown = |row: &ReleaseRow| row.released_at.is_some() || sight == Sight::All;
        rows.retain(is_shown);
        rows.sort_by_cached_key(|row| std::cmp::Reverse(semver::Version::parse(&row.version).ok()));
        Ok(rows)
    }

    /// With the bundles of the first so many.
    async fn with_bundles(
        &self,
        name: &RepositoryName,
        rows: Vec<ReleaseRow>,
        count: usize,
    ) -> Result<Vec<Version>, Error> {
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let is_wanted = versions.len() < count;
            let bundles = if is_wanted { self.bundles(name, &row.artifact_digest).await? } else { Vec::new() };
            let (state, reasons) = standing(&row)?;
            versions.push(Version { row, state, reasons, bundles });
        }
        Ok(versions)
    }

    /// The artifact of a version that is offered, with its signature bundles. Who may is the caller's to say.
    pub async fn release(&self, plugin: &PluginId, version: &str) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
        let name = RepositoryName::of_plugin(plugin);
        let rows = self.versions(&name, Sight::Released).await?;
        let row = rows.into_iter().find(|row| row.version == version && row.yanked_at.is_none());
        let unknown = || {
            let message = format!("the registry offers no version `{version}` of `{plugin}`");
            Error::refused(ErrorCode::ManifestUnknown, message)
        };
        let row = row.ok_or_else(unknown)?;
        if standing(&row)?.0 != State::Released {
            return Err(unknown());
        }
        let blob = self.db.find_blob(name.as_str(), &row.artifact_digest).await?.ok_or_else(unknown)?;
        let artifact = Reader::of(&self.db, &blob.content_id, blob.size_bytes).rest().await?;
        Ok((artifact, self.bundles(&name, &row.artifact_digest).await?))
    }

    /// The signature bundles that speak for an artifact.
    pub(crate) async fn bundles(&self, name: &RepositoryName, artifact: &str) -> Result<Vec<Vec<u8>>, Error> {
        let mut bundles = Vec::new();
        for digest in self.db.list_registry_bundles(name.as_str(), artifact).await? {
            let Some(row) = self.db.find_blob(name.as_str(), &digest).await? else { continue };
            bundles.push(Reader::of(&self.db, &row.content_id, row.size_bytes).rest().await?);
        }
        Ok(bundles)
    }

    /// Withdraws a version with a reason, or offers it again without one. `caller` is the holder of a token; an
    /// administrator acts without.
    pub async fn yank(
        &self,
        caller: Option<&Caller>,
        plugin: &PluginId,
        version: &str,
        reason: Option<&str>,
        act: &Act,
    ) -> Result<ReleaseRow, Error> {
        let name = RepositoryName::of_plugin(plugin);
        let act = match caller {
            None => act.clone(),
            Some(Caller::Anonymous) => return Err(unauthorized()),
            Some(caller) => {
                self.repository(caller, &name, &[Scope::Yank]).await?;
                self.act(caller)
            }
        };
        if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX || reason.contains('\0')) {
            let message = format!("a reason is at most {REASON_BYTES_MAX} bytes long, without NUL");
            return Err(Error::refused(ErrorCode::NameInvalid, message));
        }
        let mut tx = self.db.begin().await?;
        let unknown =
            || Error::refused(ErrorCode::ManifestUnknown, format!("`{plugin}` has no version `{version}` here"));
        let row = tx.find_version(name.as_str(), version).await?.ok_or_else(unknown)?;
        if row.yanked_at.is_some() != reason.is_some() {
            let (state, _) = standing(&row)?;
            tx.set_yanked(&row, reason, state.has_tag(), &act).await?;
        }
        let row = tx.find_version(name.as_str(), version).await?.ok_or_else(unknown)?;
        tx.commit().await?;
        Ok(row)
    }

    /// Removes what nobody refers to: uploads past their hour, and blobs that no manifest has named for a day.
    pub async fn collect(&self) -> Result<Collected, DatabaseError> {
        self.collect_before(self.now().saturating_sub(GRACE_US)).await
    }

    /// The same, sparing only what was touched since a moment, in microseconds since 1970.
    pub async fn collect_before(&self, spared_from: i64) -> Result<Collected, DatabaseError> {
        let now = self.now();
        self.db.collect_registry(now, spared_from, now.saturating_sub(TOKENS_KEPT_US)).await
    }
}
