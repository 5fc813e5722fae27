//! The enablement snapshot: who serves what in which tenant, immutable and swapped by pointer.
//! Reading it takes no lock and no SQL; `start` alone makes a new one.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_database::tenant::PluginStore;
use bulkhead_engine::Cell;
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{HookName, PluginId, TenantId};
use bulkhead_trust::Verdict;
use jsonschema::Validator;

use crate::error::Error;
use crate::release::Release;

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
    pub(crate) cell: Arc<Cell>,
    /// Whether its start has run. A plugin that an operator stopped is mounted without, so that its state is seen, and
    /// starts when the stop ends.
    pub(crate) started: bool,
}

/// One plugin's place in a chain.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) enabled: Arc<Enabled>,
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
    /// The view of a tenant with these plugins: chains are ordered once, here.
    pub(crate) fn of(suspended: bool, plugins: impl IntoIterator<Item = Arc<Enabled>>) -> Self {
        let plugins: HashMap<PluginId, Arc<Enabled>> =
            plugins.into_iter().map(|enabled| (enabled.plugin.clone(), enabled)).collect();
        let declared = plugins
            .values()
            .flat_map(|enabled| enabled.release.extension_points.iter())
            .map(|hook| (hook.name.clone(), Arc::clone(hook)))
            .collect();
        let filters = chains(&plugins, HookKind::Filter);
        let actions = chains(&plugins, HookKind::Action);
        Self { suspended, plugins, filters, actions, declared }
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

    /// The plugins with one of them replaced or added.
    pub(crate) fn with(&self, enabled: &Arc<Enabled>) -> Self {
        let others = self.plugins.values().filter(|other| other.plugin != enabled.plugin).cloned();
        Self::of(self.suspended, others.chain([Arc::clone(enabled)]))
    }

    /// The plugins without one of them.
    pub(crate) fn without(&self, plugin: &PluginId) -> Self {
        Self::of(self.suspended, self.plugins.values().filter(|other| other.plugin != *plugin).cloned())
    }
}

/// Priority ascending, then load order, then plugin id, then the manifest's order: the same on every node.
fn chains(plugins: &HashMap<PluginId, Arc<Enabled>>, kind: HookKind) -> HashMap<HookName, Vec<Link>> {
    let mut keyed: Vec<_> = plugins
        .values()
        .flat_map(|enabled| {
            let hooks = enabled.release.manifest.hooks.iter().enumerate().filter(|(_, hook)| hook.kind == kind);
            hooks.map(move |(index, hook)| {
                let key = (hook.priority, enabled.release.manifest.plugin.load_order, enabled.plugin.clone(), index);
                (key, enabled, hook)
            })
        })
        .collect();
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    let mut chains: HashMap<HookName, Vec<Link>> = HashMap::new();
    for (_, enabled, hook) in keyed {
        chains.entry(hook.name.clone()).or_default().push(Link {
            enabled: Arc::clone(enabled),
            on_failure: hook.on_failure,
            deadline_ms: hook.deadline_ms,
        });
    }
    chains
}
