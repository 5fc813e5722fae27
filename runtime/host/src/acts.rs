//! One act at a time: whoever changes a tenant's or a plugin's stored state and what is mounted for it holds its turn.
//! Calls take none of these; a slow plugin holds up acts on itself alone.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bulkhead_model::{PluginId, TenantId};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::Error;

/// Turns of each kind; two names may share one, which only makes one wait for the other.
const TURNS: usize = 256;
/// Longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The turns.
pub(crate) struct Acts {
    hasher: RandomState,
    tenants: Vec<Mutex<()>>,
    plugins: Vec<Mutex<()>>,
    declarations: Mutex<()>,
}

/// A turn that is held.
pub(crate) struct Turn<'a> {
    _tenant: Option<MutexGuard<'a, ()>>,
    _plugin: Option<MutexGuard<'a, ()>>,
}

impl Acts {
    pub(crate) fn new() -> Self {
        let turns = || std::iter::repeat_with(Mutex::default).take(TURNS).collect();
        Self { hasher: RandomState::new(), tenants: turns(), plugins: turns(), declarations: Mutex::default() }
    }

    /// For an act on a tenant as a whole.
    pub(crate) async fn tenant(&self, tenant: &TenantId) -> Result<Turn<'_>, Error> {
        Ok(Turn { _tenant: Some(self.wait(&self.tenants, tenant.as_str()).await?), _plugin: None })
    }

    /// For an act on a plugin in the fleet.
    pub(crate) async fn plugin(&self, plugin: &PluginId) -> Result<Turn<'_>, Error> {
        Ok(Turn { _tenant: None, _plugin: Some(self.wait(&self.plugins, plugin.as_str()).await?) })
    }

    /// For an act on a plugin in a tenant. Always the tenant's turn first, so that no two acts wait for each other.
    pub(crate) async fn both(&self, tenant: &TenantId, plugin: &PluginId) -> Result<Turn<'_>, Error> {
        let tenant = self.wait(&self.tenants, tenant.as_str()).await?;
        let plugin = self.wait(&self.plugins, plugin.as_str()).await?;
        Ok(Turn { _tenant: Some(tenant), _plugin: Some(plugin) })
    }

    /// For an act on what concerns everything: the policy, declared hooks.
    pub(crate) async fn declarations(&self) -> MutexGuard<'_, ()> {
        self.declarations.lock().await
    }

    async fn wait<'a>(&self, turns: &'a [Mutex<()>], name: &str) -> Result<MutexGuard<'a, ()>, Error> {
        let at = usize::try_from(self.hasher.hash_one(name)).unwrap_or(0) % TURNS;
        let Some(turn) = turns.get(at) else { unreachable!("the index is below the number of turns") };
        tokio::time::timeout(WAIT_MAX, turn.lock())
            .await
            .map_err(|_| Error::Conflict(format!("another act on `{name}` is still going on; try again")))
    }
}
