//! What a plugin writes while the host application dispatches inside a scope of its own: one open transaction of the plugin
//! over several calls, each in a savepoint of it.
//! It runs no call and knows no other plugin; the host application's scope is made of one of these for each plugin.

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::held::statement_deadline;
use super::limits;
use super::store::PluginStore;
use super::value::{StorageError, limit_codes};
use crate::dialect;

/// One plugin's part of a scope. Nothing is open before a call first writes. Dropping the last clone undoes everything.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use bulkhead_database::tenant::{KvCondition, PluginStorage, StorageConfig};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let deadline = Instant::now() + Duration::from_secs(5);
/// let storage = PluginStorage::open(folder.path(), StorageConfig::default()).await?;
/// let store = storage.store(&"bank".parse()?, &"acme.notes".parse()?, 8 << 20);
/// let scope = store.scope(deadline);
///
/// let call = scope.begin_call();
/// call.kv_set("kept", vec![1], None, KvCondition::Always, 0, deadline).await?;
/// scope.end_call(true).await?;
///
/// let call = scope.begin_call();
/// call.kv_set("undone", vec![2], None, KvCondition::Always, 0, deadline).await?;
/// scope.end_call(false).await?;
///
/// if let Some(sealed) = scope.seal().await? {
///     sealed.commit().await?;
/// }
/// assert!(store.kv_get("kept", 0, deadline).await?.is_some());
/// assert!(store.kv_get("undone", 0, deadline).await?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PluginScope {
    scope: dialect::Scope,
    admission: Arc<Admission>,
}

impl PluginStore {
    /// The plugin's part of a scope that ends at `ends_at`, at most [`limits::SCOPE`] from now.
    pub fn scope(&self, ends_at: Instant) -> PluginScope {
        let ends_at = ends_at.min(Instant::now() + limits::SCOPE);
        PluginScope { scope: self.store.scope(ends_at), admission: Arc::clone(&self.admission) }
    }

    /// Whether both are of one plugin in one tenant, in a scope or not.
    pub fn is_of_same_plugin(&self, other: &Self) -> bool {
        self.store.is_of_same_plugin(&other.store)
    }

    /// The end of a statement that begins now in a call that ends at `deadline`. A statement of a scope must not be cut off by
    /// the end of its call: it would take the transaction with it.
    pub(super) fn statement_deadline(&self, deadline: Instant) -> Instant {
        statement_deadline(self.call_deadline(deadline))
    }

    /// The end of what works for a call that ends at `deadline`.
    pub(super) fn call_deadline(&self, deadline: Instant) -> Instant {
        if self.store.is_scoped() { deadline.checked_sub(limits::SCOPE_MARGIN).unwrap_or(deadline) } else { deadline }
    }

    /// Refuses what a scope cannot undo.
    pub(super) fn refuse_in_scope(&self) -> Result<(), StorageError> {
        if self.store.is_scoped() { Err(StorageError::Limit(limit_codes::SCOPE)) } else { Ok(()) }
    }
}

impl PluginScope {
    /// Begins a call and answers its storage, which works in the scope until the call ends. A call before it that was not ended
    /// has failed.
    pub fn begin_call(&self) -> PluginStore {
        PluginStore { store: self.scope.begin_call(), admission: Arc::clone(&self.admission) }
    }

    /// Ends the call that began last: what it wrote is kept for the commit, or undone. An error is why it could not be kept;
    /// it is undone then.
    pub async fn end_call(&self, is_kept: bool) -> Result<(), StorageError> {
        self.scope.end_call(is_kept).await
    }

    /// Whether something was kept that is lost: its time is up, or an error of the engine undid more than one call.
    pub async fn is_lost(&self) -> bool {
        self.scope.is_lost().await
    }

    /// Undoes everything, now; whatever the plugin tries in the scope afterwards answers [`StorageError::Ended`].
    pub async fn end(&self) {
        self.scope.end().await;
    }

    /// Ends the scope's calls and takes what was kept out to be committed; `None` if there is nothing.
    pub async fn seal(&self) -> Result<Option<SealedScope>, StorageError> {
        let sealed = self.scope.seal().await?;
        Ok(sealed.map(|sealed| SealedScope { sealed }))
    }
}

/// What a plugin keeps of a scope, on its way to its commit. Dropping it undoes it.
#[derive(Debug)]
pub struct SealedScope {
    sealed: dialect::SealedScope,
}

impl SealedScope {
    /// Makes it permanent. After an error it is not known to be: the connection may have broken after the commit.
    pub async fn commit(self) -> Result<(), StorageError> {
        self.sealed.commit().await
    }
}
