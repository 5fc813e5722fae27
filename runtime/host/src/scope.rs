//! A host application's scope: hooks that are dispatched in it write into one transaction for each plugin, each call in a
//! savepoint, and nothing is kept before the application commits.
//! It runs no chain (`hooks` does) and no statement; plugins never meet in a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_database::StorageError;
use bulkhead_database::tenant::{PluginScope, SealedScope, limits};
use bulkhead_engine::CallContext;
use bulkhead_model::{Coded, PluginId, TenantId};
use tokio_util::task::AbortOnDropHandle;

use crate::calls::Caller;
use crate::error::Error;
use crate::hooks::{Applied, Failure, Fault};
use crate::host::Host;
use crate::snapshot::{Enabled, Link};

/// Scopes open at once in the host.
const SCOPES_MAX: usize = 64;
/// Scopes open at once in a tenant.
const SCOPES_PER_TENANT_MAX: usize = 16;

/// Dispatches hooks whose writes are kept together. Dropping it undoes them.
///
/// Each plugin writes into a transaction of its own storage, which opens when a call of it first writes; each call runs in a
/// savepoint. What a failed call wrote is undone, what the plugin wrote in its other calls stays. Until the scope ends, other
/// writes of the same plugin in the tenant wait, half a second each at most.
///
/// ```no_run
/// # async fn save(host: &bulkhead_host::Host, caller: &bulkhead_host::Caller) -> Result<(), bulkhead_host::Error> {
/// let mut scope = host.begin_scope(caller, std::time::Duration::from_secs(5))?;
/// let total = scope.apply_filter("order.total", "100".to_owned(), "[]").await?;
/// scope.dispatch_action("order.saved", r#"[{"id": 7}]"#).await?;
/// // The application stores the order with `total.value` in its own database here.
/// let committed = scope.commit().await?;
/// assert!(committed.lost.is_empty());
/// # drop(total);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a scope undoes what was written in it"]
pub struct HookScope {
    host: Host,
    caller: Caller,
    writes: Writes,
    _place: Place,
}

/// What a commit kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "some of what calls wrote may be lost"]
pub struct Committed {
    /// Plugins whose writes are permanent, in the order in which they were committed.
    pub plugins: Vec<PluginId>,
    /// Plugins of which calls had succeeded whose writes are lost: they were stopped or replaced, or their storage failed.
    pub lost: Vec<PluginId>,
}

/// How a commit stopped half way.
#[derive(Debug, thiserror::Error)]
#[error("`{failed}` could not commit its part of the scope; {} before it could", committed.len())]
pub struct CommitStopped {
    /// Plugins whose writes are permanent.
    pub committed: Vec<PluginId>,
    /// The plugin whose commit failed. Its writes are undone, unless the database broke off after it had committed.
    pub failed: PluginId,
    /// Plugins whose writes are undone because of it.
    pub undone: Vec<PluginId>,
    /// Why.
    #[source]
    pub source: StorageError,
}

impl Host {
    /// Opens a scope of the caller's tenant, for `time` and at most 30 s. Nothing is open in a database before a plugin writes.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant that is not served, [`Error::Busy`] when 64 scopes are open, or 16 of this tenant.
    pub fn begin_scope(&self, caller: &Caller, time: Duration) -> Result<HookScope, Error> {
        if self.inner.stopping.is_cancelled() {
            return Err(Error::Draining);
        }
        self.snapshot().tenant(&caller.tenant)?;
        let place = Place::take(&self.inner.scopes, &caller.tenant)?;
        let ends_at = Instant::now() + time.min(limits::SCOPE);
        let writes = Writes { ends_at, plugins: HashMap::new() };
        Ok(HookScope { host: self.clone(), caller: caller.clone(), writes, _place: place })
    }
}

impl HookScope {
    /// As [`Host::apply_filter`], in the scope.
    ///
    /// # Errors
    /// Those of [`Host::apply_filter`], and [`Error::ScopeEnded`] when the time is up. What succeeded before stays in the scope,
    /// also when a hook fails closed: whether to go on is the application's choice.
    pub async fn apply_filter(&mut self, name: &str, value: String, args: &str) -> Result<Applied, Error> {
        self.host.filter(&self.caller, Some(&mut self.writes), name, value, args).await
    }

    /// As [`Host::dispatch_action`], in the scope.
    ///
    /// # Errors
    /// Those of [`Host::dispatch_action`], and [`Error::ScopeEnded`] when the time is up.
    pub async fn dispatch_action(&mut self, name: &str, args: &str) -> Result<Vec<Failure>, Error> {
        self.host.act(&self.caller, Some(&mut self.writes), name, args).await
    }

    /// The plugins of which calls succeeded whose writes are lost by now, for an application that commits all or nothing.
    pub async fn lost(&self) -> Vec<PluginId> {
        let mut lost = Vec::new();
        for (plugin, part) in &self.writes.plugins {
            if part.writes.is_lost().await {
                lost.push(plugin.clone());
            }
        }
        lost.sort();
        lost
    }

    /// Keeps what was written: one plugin after another, in load order. The scope is atomic for each plugin on SQLite; on
    /// PostgreSQL a plugin's tables are committed first and its keys next. Once begun, a commit goes on when nobody waits for it.
    ///
    /// # Errors
    /// Nothing is kept after [`Error::ScopeEnded`], and after [`Error::ScopeLost`]: a plugin lost writes that has a hook which
    /// fails closed. [`Error::ScopeCommit`] names what is kept and what is not.
    pub async fn commit(self) -> Result<Committed, Error> {
        let Self { host, writes, _place: place, .. } = self;
        let committing = host.inner.tasks.spawn(async move {
            let _place = place;
            writes.commit().await
        });
        match committing.await {
            Ok(done) => done,
            Err(_) => Err(Error::Draining),
        }
    }

    /// Undoes what was written, and returns when it is undone. Dropping the scope does the same in the background.
    pub async fn rollback(self) {
        for part in self.writes.plugins.values() {
            part.writes.end().await;
        }
    }
}

/// The plugins' transactions of a scope.
pub(crate) struct Writes {
    ends_at: Instant,
    plugins: HashMap<PluginId, Part>,
}

/// One plugin's part of a scope.
struct Part {
    enabled: Arc<Enabled>,
    writes: PluginScope,
    /// Whether a call succeeded of a hook that fails closed.
    fails_closed: bool,
    /// Whether any call succeeded.
    has_kept: bool,
    /// Ends it when the plugin is stopped, replaced or removed.
    _watch: AbortOnDropHandle<()>,
}

impl Part {
    fn new(enabled: &Arc<Enabled>, writes: PluginScope) -> Self {
        let (watched, ends) = (Arc::clone(enabled), writes.clone());
        let watch = tokio::spawn(async move {
            watched.cell.stopped().await;
            ends.end().await;
        });
        let enabled = Arc::clone(enabled);
        Self { enabled, writes, fails_closed: false, has_kept: false, _watch: AbortOnDropHandle::new(watch) }
    }
}

impl Writes {
    /// The context of a call in the scope. It works in the plugin's transaction until [`Writes::end_call`].
    pub(crate) fn context(
        &mut self,
        caller: &Caller,
        link: &Link,
        enabled: &Arc<Enabled>,
    ) -> Result<CallContext, Error> {
        let left_ms = self.ends_at.saturating_duration_since(Instant::now()).as_millis();
        if left_ms == 0 {
            return Err(Error::ScopeEnded);
        }
        let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
        let mut context = caller.context(Some(link.deadline_ms.map_or(left_ms, |own_ms| own_ms.min(left_ms))));
        if let Some(store) = &enabled.storage {
            let ends_at = self.ends_at;
            let begin = || Part::new(enabled, store.scope(ends_at));
            let part = self.plugins.entry(enabled.plugin.clone()).or_insert_with(begin);
            // What took the plugin's place goes on where nothing was lost with it.
            if !part.has_kept && !Arc::ptr_eq(&part.enabled, enabled) {
                *part = begin();
            }
            context.storage = Some(part.writes.begin_call());
        }
        Ok(context)
    }

    /// Ends a call: what it wrote stays if it succeeded. A call whose writes cannot stay has failed.
    pub(crate) async fn end_call<T>(
        &mut self,
        plugin: &PluginId,
        fails_closed: bool,
        answer: Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Some(part) = self.plugins.get_mut(plugin) else {
            return answer;
        };
        let kept = part.writes.end_call(answer.is_ok()).await;
        let answer = answer?;
        kept.map_err(|error| Fault { code: error.code(), detail: format!("what it wrote cannot be kept: {error}") })?;
        part.has_kept = true;
        part.fails_closed |= fails_closed;
        Ok(answer)
    }

    async fn commit(self) -> Result<Committed, Error> {
        if Instant::now() >= self.ends_at {
            return Err(Error::ScopeEnded);
        }
        let mut parts: Vec<_> = self.plugins.into_iter().collect();
        parts.sort_by(|(one, left), (other, right)| (left.load_order(), one).cmp(&(right.load_order(), other)));
        let (mut sealed, mut lost) = (Vec::new(), Vec::new());
        for (plugin, part) in parts {
            match part.seal().await {
                Ok(None) => {}
                Ok(Some(writes)) => sealed.push((plugin, writes)),
                // All that is sealed is undone.
                Err(Lost) if part.fails_closed => return Err(Error::ScopeLost(plugin)),
                Err(Lost) => lost.push(plugin),
            }
        }
        let plugins = commit_in_order(sealed).await?;
        Ok(Committed { plugins, lost })
    }
}

/// Writes of calls that succeeded are gone.
struct Lost;

impl Part {
    fn load_order(&self) -> u32 {
        self.enabled.release.manifest.plugin.load_order
    }

    async fn seal(&self) -> Result<Option<SealedScope>, Lost> {
        if self.enabled.cell.is_stopped() {
            self.writes.end().await;
        }
        self.writes.seal().await.map_err(|error| {
            let (plugin, tenant) = (self.enabled.cell.plugin(), self.enabled.cell.tenant());
            tracing::warn!(plugin.id = %plugin, tenant.id = %tenant, %error, "a plugin lost what it wrote in a scope");
            Lost
        })
    }
}

/// Commits one after another. The first that fails leaves those behind it undone.
async fn commit_in_order(sealed: Vec<(PluginId, SealedScope)>) -> Result<Vec<PluginId>, Error> {
    let mut committed = Vec::with_capacity(sealed.len());
    let mut waiting = sealed.into_iter();
    while let Some((plugin, writes)) = waiting.next() {
        if let Err(source) = writes.commit().await {
            let undone = waiting.map(|(plugin, _)| plugin).collect();
            return Err(Box::new(CommitStopped { committed, failed: plugin, undone, source }).into());
        }
        committed.push(plugin);
    }
    Ok(committed)
}

/// How many scopes are open, by tenant.
#[derive(Default)]
pub(crate) struct OpenScopes(parking_lot::Mutex<HashMap<TenantId, usize>>);

/// A place among the open scopes, left on drop.
struct Place {
    open: Arc<OpenScopes>,
    tenant: TenantId,
}

impl Place {
    fn take(open: &Arc<OpenScopes>, tenant: &TenantId) -> Result<Self, Error> {
        let mut counts = open.0.lock();
        let of_tenant = counts.get(tenant).copied().unwrap_or(0);
        if of_tenant >= SCOPES_PER_TENANT_MAX || counts.values().sum::<usize>() >= SCOPES_MAX {
            return Err(Error::Busy("as many scopes are open as may be"));
        }
        counts.insert(tenant.clone(), of_tenant.saturating_add(1));
        Ok(Self { open: Arc::clone(open), tenant: tenant.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.0.lock();
        match counts.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(counts.remove(&self.tenant)),
        }
    }
}
