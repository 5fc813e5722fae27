//! The enablement snapshot: who serves what in which tenant, immutable and swapped by pointer.
//! Reading it takes no lock and no SQL; `start` alone makes a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_database::TenantPluginRow;
use bulkhead_database::tenant::{PluginStore, PluginViews};
use bulkhead_engine::Cell;
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{HookName, Interface, Manifest, PluginId, TenantId, Version};
use bulkhead_trust::Verdict;
use jsonschema::Validator;

use crate::error::Error;
use crate::release::Release;
use crate::view::PluginHealth;

/// Everything that a call needs to find its way.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) tenants: HashMap<TenantId, Arc<TenantView>>,
    /// Hooks that the host application declared.
    pub(crate) hooks: Arc<HashMap<HookName, Arc<DeclaredHook>>>,
}

/// What one tenant has.
#[derive(Default)]
pub(crate) struct TenantView {
    pub(crate) suspended: bool,
    pub(crate) plugins: HashMap<PluginId, Arc<Enabled>>,
    /// Plugins that the tenant has enabled and that do not serve: they start, their start failed, or they are no longer
    /// allowed. They keep their place in the chains, so that a hook that fails closed does.
    absent: HashMap<PluginId, Arc<Manifest>>,
    filters: HashMap<HookName, Vec<Link>>,
    actions: HashMap<HookName, Vec<Link>>,
    declared: HashMap<HookName, Arc<DeclaredHook>>,
}

/// A plugin that serves a tenant.
pub(crate) struct Enabled {
    pub(crate) plugin: PluginId,
    pub(crate) release: Arc<Release>,
    pub(crate) verdict: Arc<Verdict>,
    pub(crate) storage: Option<PluginStore>,
    /// What it publishes to other plugins of the tenant, if anything.
    pub(crate) views: Option<PluginViews>,
    pub(crate) cell: Arc<Cell>,
    /// Whether its start has run. A plugin that an operator stopped is mounted without, so that its state is seen, and
    /// starts when the stop ends.
    pub(crate) started: bool,
    /// The configuration that it was made with, JSON text.
    pub(crate) configuration: Arc<str>,
    /// What the tenant consented to when it was made, in order.
    pub(crate) granted: Vec<Interface>,
    /// What its health check said last, and when. Whoever asks meanwhile waits for the one run.
    pub(crate) health: tokio::sync::Mutex<Option<(Instant, PluginHealth)>>,
}

impl Enabled {
    /// Whether it is what the tenant's record and the fleet's version would make now.
    pub(crate) fn is_of(&self, row: &TenantPluginRow, version: &Version) -> bool {
        self.release.version == *version && *self.configuration == row.configuration && self.granted == row.granted
    }
}

/// One plugin's place in a chain.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) plugin: PluginId,
    /// `None` while the plugin does not serve.
    pub(crate) enabled: Option<Arc<Enabled>>,
    pub(crate) on_failure: OnFailure,
    pub(crate) deadline_ms: Option<u32>,
}

/// A hook that may be dispatched, and what its payload must satisfy.
pub(crate) struct DeclaredHook {
    pub(crate) name: HookName,
    pub(crate) kind: HookKind,
    pub(crate) on_failure: OnFailure,
    pub(crate) schema: Option<Validator>,
}

impl Snapshot {
    /// The tenant's view. A suspended tenant is served by nothing, as if it had no plugins.
    pub(crate) fn tenant(&self, tenant: &TenantId) -> Result<&Arc<TenantView>, Error> {
        self.tenants.get(tenant).filter(|view| !view.suspended).ok_or_else(|| Error::not_found("tenant", tenant))
    }

    /// The hook `name` of `kind` that the host application or a plugin of the tenant declared.
    pub(crate) fn hook<'a>(
        &'a self,
        view: &'a TenantView,
        name: &str,
        kind: HookKind,
    ) -> Result<&'a DeclaredHook, Error> {
        self.hooks
            .get(name)
            .or_else(|| view.declared.get(name))
            .filter(|declared| declared.kind == kind)
            .map(Arc::as_ref)
            .ok_or_else(|| Error::UnknownHook { name: name.chars().take(128).collect(), kind: kind.as_str() })
    }

    /// The snapshot with another view of one tenant; `None` takes the tenant away.
    pub(crate) fn with_tenant(&self, tenant: &TenantId, view: Option<TenantView>) -> Self {
        let mut next = self.clone();
        match view {
            Some(view) => next.tenants.insert(tenant.clone(), Arc::new(view)),
            None => next.tenants.remove(tenant),
        };
        next
    }
}

impl TenantView {
    /// The view of a tenant whose plugins all wait for their start.
    pub(crate) fn starting(absent: HashMap<PluginId, Arc<Manifest>>) -> Self {
        Self::of(HashMap::new(), absent)
    }

    /// The view of a tenant that nothing serves.
    pub(crate) fn suspended() -> Self {
        Self { suspended: true, ..Self::default() }
    }

    /// Chains are ordered once, here.
    fn of(plugins: HashMap<PluginId, Arc<Enabled>>, absent: HashMap<PluginId, Arc<Manifest>>) -> Self {
        let declared = plugins
            .values()
            .flat_map(|enabled| enabled.release.extension_points.iter())
            .map(|hook| (hook.name.clone(), Arc::clone(hook)))
            .collect();
        let filters = chains(&plugins, &absent, HookKind::Filter);
        let actions = chains(&plugins, &absent, HookKind::Action);
        Self { suspended: false, plugins, absent, filters, actions, declared }
    }

    /// The chain of a hook, in order.
    pub(crate) fn chain(&self, name: &str, kind: HookKind) -> &[Link] {
        let chains = match kind {
            HookKind::Filter => &self.filters,
            HookKind::Action => &self.actions,
        };
        chains.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The plugin, if it is enabled here.
    pub(crate) fn plugin(&self, plugin: &str) -> Option<&Arc<Enabled>> {
        self.plugins.get(plugin)
    }

    /// The view with plugins that serve from now on, each in the place of what it replaces.
    pub(crate) fn with(&self, enabled: impl IntoIterator<Item = Arc<Enabled>>) -> Self {
        let (mut plugins, mut absent) = (self.plugins.clone(), self.absent.clone());
        for enabled in enabled {
            absent.remove(&enabled.plugin);
            plugins.insert(enabled.plugin.clone(), enabled);
        }
        Self::of(plugins, absent)
    }

    /// The view with a plugin that the tenant has and that does not serve.
    pub(crate) fn with_absent(&self, plugin: &PluginId, manifest: &Arc<Manifest>) -> Self {
        let (mut plugins, mut absent) = (self.plugins.clone(), self.absent.clone());
        plugins.remove(plugin);
        absent.insert(plugin.clone(), Arc::clone(manifest));
        Self::of(plugins, absent)
    }

    /// The view without a plugin.
    pub(crate) fn without(&self, plugin: &PluginId) -> Self {
        let (mut plugins, mut absent) = (self.plugins.clone(), self.absent.clone());
        plugins.remove(plugin);
        absent.remove(plugin);
        Self::of(plugins, absent)
    }

    /// The plugins that the tenant has, serving or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PluginId> {
        self.plugins.keys().chain(self.absent.keys())
    }

    /// Whether the tenant has the plugin, serving or not.
    pub(crate) fn has(&self, plugin: &PluginId) -> bool {
        self.plugins.contains_key(plugin) || self.absent.contains_key(plugin)
    }
}

/// Priority ascending, then load order, then plugin id, then the manifest's order: the same on every node.
fn chains(
    plugins: &HashMap<PluginId, Arc<Enabled>>,
    absent: &HashMap<PluginId, Arc<Manifest>>,
    kind: HookKind,
) -> HashMap<HookName, Vec<Link>> {
    let serving = plugins.values().map(|enabled| (&enabled.plugin, &enabled.release.manifest, Some(enabled)));
    let waiting = absent.iter().map(|(plugin, manifest)| (plugin, manifest, None));
    let mut keyed: Vec<_> = serving
        .chain(waiting)
        .flat_map(|(plugin, manifest, enabled)| {
            let hooks = manifest.hooks.iter().enumerate().filter(|(_, hook)| hook.kind == kind);
            hooks.map(move |(index, hook)| {
                ((hook.priority, manifest.plugin.load_order, plugin.clone(), index), enabled, hook)
            })
        })
        .collect();
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    let mut chains: HashMap<HookName, Vec<Link>> = HashMap::new();
    for ((_, _, plugin, _), enabled, hook) in keyed {
        chains.entry(hook.name.clone()).or_default().push(Link {
            plugin,
            enabled: enabled.cloned(),
            on_failure: hook.on_failure,
            deadline_ms: hook.deadline_ms,
        });
    }
    chains
}
