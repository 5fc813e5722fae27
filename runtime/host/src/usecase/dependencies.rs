//! Dependencies between plugins: what an install needs, who needs a plugin, and what happens to those when it goes.
//! It installs and uninstalls nothing.

use std::collections::BTreeMap;

use bulkhead_database::Act;
use bulkhead_model::{Actor, Manifest, PluginId, PluginStatus, Transition};

use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;

/// Plugins that are looked at for dependants.
const PLUGINS_MAX: u32 = 10_000;

impl Host {
    /// Every dependency is installed in a version that the manifest's range takes.
    pub(crate) async fn check_dependencies(&self, manifest: &Manifest) -> Result<(), Error> {
        for (dependency, range) in &manifest.dependencies {
            let row = self.inner.db.find_plugin(dependency).await?;
            let met = row.as_ref().is_some_and(|row| {
                matches!(row.status, PluginStatus::Installed | PluginStatus::Active | PluginStatus::Disabled)
                    && range.matches(row.version.semver())
            });
            if met {
                continue;
            }
            let found = row
                .map_or_else(|| "which is not there".to_owned(), |row| format!("found {} {}", row.status, row.version));
            let circle = self.circle(&manifest.plugin.id, dependency).await?;
            let circle =
                circle.map_or_else(String::new, |names| format!("; they need each other: {}", names.join(" needs ")));
            return Err(Error::DependencyUnmet(format!("`{dependency}` {range}, {found}{circle}")));
        }
        Ok(())
    }

    /// Plugins that need this one, by id; those that are not installed need nothing yet.
    pub(crate) async fn dependants(&self, plugin: &PluginId) -> Result<Vec<PluginId>, Error> {
        let mut dependants = Vec::new();
        for (row, manifest) in self.known_manifests().await? {
            let is_there = !matches!(row.1, PluginStatus::Registered | PluginStatus::Uninstalled);
            if is_there && manifest.dependencies.contains_key(plugin) {
                dependants.push(row.0);
            }
        }
        Ok(dependants)
    }

    /// Disables a plugin that loses what it needs, and says why.
    pub(crate) async fn disable_dependant(
        &self,
        actor: &Actor,
        dependant: &PluginId,
        lost: &PluginId,
    ) -> Result<(), Error> {
        let _turn = self.inner.acts.plugin(dependant).await?;
        let act = Act::new(actor, clock::now_micros());
        let mut tx = self.inner.db.begin().await?;
        if tx.get_plugin(dependant).await?.status == PluginStatus::Active {
            tx.advance_plugin(dependant, Transition::Disable, &act).await?;
        }
        tx.set_plugin_error(dependant, Some(&format!("it needs `{lost}`, which was uninstalled")), act.at).await?;
        tx.commit().await?;
        self.unmount_everywhere(dependant).await;
        tracing::warn!(plugin.id = %dependant, lost = %lost, "a plugin was disabled: what it needs was uninstalled");
        Ok(())
    }

    /// The way from `plugin` over its dependency `first` back to itself, if there is one.
    async fn circle(&self, plugin: &PluginId, first: &PluginId) -> Result<Option<Vec<String>>, Error> {
        let manifests: BTreeMap<PluginId, Manifest> =
            self.known_manifests().await?.into_iter().map(|(row, manifest)| (row.0, manifest)).collect();
        // Breadth first, so that the shortest way is named; each plugin is looked at once.
        let mut came_from: BTreeMap<&PluginId, &PluginId> = BTreeMap::new();
        let mut next = std::collections::VecDeque::from([first]);
        while let Some(at) = next.pop_front() {
            if at == plugin {
                let mut way = vec![plugin.to_string()];
                let mut step = at;
                while let Some(&before) = came_from.get(step) {
                    way.push(before.to_string());
                    step = before;
                }
                way.push(plugin.to_string());
                way.reverse();
                return Ok(Some(way));
            }
            for needed in manifests.get(at).iter().flat_map(|manifest| manifest.dependencies.keys()) {
                if needed != first && !came_from.contains_key(needed) {
                    came_from.insert(needed, at);
                    next.push_back(needed);
                }
            }
        }
        Ok(None)
    }

    /// Every known plugin, by id, with its state and what its current version says.
    async fn known_manifests(&self) -> Result<Vec<((PluginId, PluginStatus), Manifest)>, Error> {
        let mut known = Vec::new();
        for row in self.inner.db.list_plugins("", PLUGINS_MAX).await? {
            let stored = self.inner.db.get_plugin_version(&row.plugin_id, &row.version).await?;
            let manifest = release::facts(&stored.facts)?.manifest().map_err(Error::Refused)?;
            known.push(((row.plugin_id, row.status), manifest));
        }
        Ok(known)
    }
}
