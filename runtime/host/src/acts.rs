//! One act at a time: whoever changes a tenant's or a plugin's stored state and what is mounted for it holds its turn. Acts
//! on one plugin in several tenants share the plugin's turn; an act on the plugin in the fleet has it alone. Calls take none
//! of these; a slow plugin holds up acts on itself alone.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bulkhead_model::{PluginId, TenantId};
use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::Error;

/// Turns of each kind; two names may share one, which only makes one wait for the other.
const TURNS: usize = 256;
/// Longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The turns.
pub(crate) struct Acts {
    hasher: RandomState,
    tenants: Vec<Mutex<()>>,
    plugins: Vec<RwLock<()>>,
    declarations: Mutex<()>,
}

/// A turn that is held.
pub(crate) enum Turn<'a> {
    /// Of a tenant as a whole.
    Tenant(#[expect(dead_code, reason = "held until it is dropped")] MutexGuard<'a, ()>),
    /// Of a plugin in the fleet.
    Plugin(#[expect(dead_code, reason = "held until it is dropped")] RwLockWriteGuard<'a, ()>),
    /// Of a plugin in a tenant whose turn is held by other means.
    Within(#[expect(dead_code, reason = "held until it is dropped")] RwLockReadGuard<'a, ()>),
    /// Of a plugin in a tenant.
    Both(#[expect(dead_code, reason = "held until they are dropped")] (MutexGuard<'a, ()>, RwLockReadGuard<'a, ()>)),
}

impl Acts {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            tenants: std::iter::repeat_with(Mutex::default).take(TURNS).collect(),
            plugins: std::iter::repeat_with(RwLock::default).take(TURNS).collect(),
            declarations: Mutex::default(),
        }
    }

    /// For an act on a tenant as a whole.
    pub(crate) async fn tenant(&self, tenant: &TenantId) -> Result<Turn<'_>, Error> {
        self.wait(tenant.as_str(), self.of(&self.tenants, tenant.as_str()).lock()).await.map(Turn::Tenant)
    }

    /// For an act on a plugin in the fleet.
    pub(crate) async fn plugin(&self, plugin: &PluginId) -> Result<Turn<'_>, Error> {
        self.wait(plugin.as_str(), self.of(&self.plugins, plugin.as_str()).write()).await.map(Turn::Plugin)
    }

    /// For an act on several plugins in the fleet. Turns are taken in one order, each once: no two such acts wait for each
    /// other, and nobody who holds one turn waits for a second one in another way.
    pub(crate) async fn plugins(&self, plugins: &[&PluginId]) -> Result<Vec<Turn<'_>>, Error> {
        let mut places: Vec<usize> = plugins.iter().map(|plugin| self.at(plugin.as_str())).collect();
        places.sort_unstable();
        places.dedup();
        let mut turns = Vec::with_capacity(places.len());
        for turn in places.into_iter().filter_map(|at| self.plugins.get(at)) {
            turns.push(self.wait("one of the plugins", turn.write()).await.map(Turn::Plugin)?);
        }
        Ok(turns)
    }

    /// For an act on a plugin in a tenant whose turn the caller holds.
    pub(crate) async fn within(&self, plugin: &PluginId) -> Result<Turn<'_>, Error> {
        self.wait(plugin.as_str(), self.of(&self.plugins, plugin.as_str()).read()).await.map(Turn::Within)
    }

    /// For an act on a plugin in a tenant. Always the tenant's turn first, so that no two acts wait for each other.
    pub(crate) async fn both(&self, tenant: &TenantId, plugin: &PluginId) -> Result<Turn<'_>, Error> {
        let tenant = self.wait(tenant.as_str(), self.of(&self.tenants, tenant.as_str()).lock()).await?;
        let plugin = self.wait(plugin.as_str(), self.of(&self.plugins, plugin.as_str()).read()).await?;
        Ok(Turn::Both((tenant, plugin)))
    }

    /// For an act on what concerns everything: the policy, declared hooks.
    pub(crate) async fn declarations(&self) -> MutexGuard<'_, ()> {
        self.declarations.lock().await
    }

    fn of<'a, T>(&self, turns: &'a [T], name: &str) -> &'a T {
        let Some(turn) = turns.get(self.at(name)) else { unreachable!("the index is below the number of turns") };
        turn
    }

    fn at(&self, name: &str) -> usize {
        usize::try_from(self.hasher.hash_one(name)).unwrap_or(0) % TURNS
    }

    async fn wait<T>(&self, name: &str, turn: impl Future<Output = T>) -> Result<T, Error> {
        tokio::time::timeout(WAIT_MAX, turn)
            .await
            .map_err(|_| Error::Conflict(format!("another act on `{name}` is still going on; try again")))
    }
}
