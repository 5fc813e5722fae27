//! Views that a plugin publishes: SELECTs of its own, which other plugins of the tenant read with the owner's rights.
//! It decides nothing about who may read. Of a reader's call nothing reaches an engine but names of the view's own
//! columns, a number of rows, and parameters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::ViewName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::Admitted;
use super::held::statement_deadline;
use super::limits;
use super::store::PluginStore;
use super::value::{StorageError, Table, Value, limit_codes};

/// How often a read is tried that meets another's change of the tables.
const TRIES: u32 = 3;

/// A view as its plugin publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSelect {
    /// Its name.
    pub name: ViewName,
    /// Version of its columns.
    pub version: u32,
    /// Its one SELECT.
    pub sql: Arc<str>,
}

/// A view that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the view `{name}` version {version} cannot be read")]
pub struct BrokenView {
    /// Its name.
    pub name: ViewName,
    /// Version of its columns.
    pub version: u32,
    /// Why not.
    #[source]
    pub source: StorageError,
}

/// The views of one plugin in one tenant, each of which was found to be readable. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginViews {
    views: Arc<[Arc<View>]>,
    store: PluginStore,
    /// Others' reads at once, so that they leave connections to the owner.
    readers: Arc<Semaphore>,
}

/// One view, to be read. A cheap clone.
#[derive(Clone, Debug)]
pub struct PluginView {
    view: Arc<View>,
    store: PluginStore,
    readers: Arc<Semaphore>,
}

#[derive(Debug)]
struct View {
    name: ViewName,
    version: u32,
    select: Admitted,
    /// Names that are plain and unique.
    columns: Vec<String>,
}

impl PluginStore {
    /// Looks at each view, without reading a row, within [`limits::VIEW_LOOK`].
    ///
    /// # Errors
    /// The first view that is no SELECT, names what the plugin does not have, or has a column without a plain name of its
    /// own.
    pub async fn open_views(&self, selects: &[ViewSelect]) -> Result<PluginViews, BrokenView> {
        let mut views = Vec::with_capacity(selects.len());
        for select in selects {
            let broken = |source| BrokenView { name: select.name.clone(), version: select.version, source };
            views.push(Arc::new(self.open_view(select).await.map_err(broken)?));
        }
        let readers = Arc::new(Semaphore::new(limits::VIEW_READERS_MAX));
        Ok(PluginViews { views: views.into(), store: self.clone(), readers })
    }

    async fn open_view(&self, ViewSelect { name, version, sql }: &ViewSelect) -> Result<View, StorageError> {
        let select = self.admission.admit_view(sql)?;
        let found = self.read(&select.of_view([], 0), &[], Instant::now() + limits::VIEW_LOOK).await?;
        let mut seen = BTreeSet::new();
        for (place, column) in (1..).zip(&found.columns) {
            if !is_column(column) || !seen.insert(column) {
                return Err(StorageError::Invalid(format!(
                    "column {place} needs a name of its own, of `a-z`, `0-9` and `_`: write `AS name` behind it"
                )));
            }
        }
        Ok(View { name: name.clone(), version: *version, select, columns: found.columns })
    }

    /// Runs a read, again where another changed the tables at that very moment.
    async fn read(&self, statement: &Admitted, params: &[Value], deadline: Instant) -> Result<Table, StorageError> {
        let mut tries = 1;
        loop {
            match self.store.query(statement, params.to_vec(), deadline).await {
                Err(StorageError::Retry) if tries < TRIES && Instant::now() < deadline => tries += 1,
                answer => return answer,
            }
        }
    }
}

impl PluginViews {
    /// The view of this name and version.
    pub fn find(&self, name: &str, version: u32) -> Option<PluginView> {
        let view = self.views.iter().find(|view| view.name.as_str() == name && view.version == version)?;
        Some(PluginView { view: Arc::clone(view), store: self.store.clone(), readers: Arc::clone(&self.readers) })
    }

    /// Lets no read begin any more and waits for those that run, `wait_max` at most; false if it passed first.
    pub async fn close(&self, wait_max: Duration) -> bool {
        let all = u32::try_from(limits::VIEW_READERS_MAX).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(wait_max, self.readers.acquire_many(all)).await.is_ok();
        self.readers.close();
        ended
    }
}

impl PluginView {
    /// The names of its columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.view.columns
    }

    /// The rows whose columns equal all of `equals`, `limit` of them at most. A [`Value::Null`] stands for a column without
    /// a value.
    ///
    /// # Errors
    /// [`StorageError`], which tells nothing of the owner's tables; `Parameter` has the place in `equals`.
    pub async fn read(
        &self,
        equals: Vec<(String, Value)>,
        limit: u32,
        deadline: Instant,
    ) -> Result<Table, StorageError> {
        let (statement, params, places) = self.view.statement(equals, limit)?;
        let deadline = statement_deadline(deadline);
        let _reader = self.reader(deadline).await?;
        match self.store.read(&statement, &params, deadline).await {
            Ok(table) => Ok(Table { affected: 0, ..table }),
            Err(error) => Err(self.view.told(error, &places)),
        }
    }

    async fn reader(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, StorageError> {
        match tokio::time::timeout_at(deadline.into(), Arc::clone(&self.readers).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The plugin's calls have ended, and so have reads of what it keeps.
            Ok(Err(_closed)) => Err(StorageError::Unavailable),
            Err(_late) => Err(StorageError::Limit(limit_codes::DEADLINE)),
        }
    }
}

impl View {
    /// The statement of a read, its parameters, and the place in `equals` from which each of them comes.
    fn statement(
        &self,
        equals: Vec<(String, Value)>,
        limit: u32,
    ) -> Result<(Admitted, Vec<Value>, Vec<u32>), StorageError> {
        if equals.len() > limits::PARAMETERS_MAX {
            return Err(StorageError::Limit(limit_codes::PARAMETERS));
        }
        if limit == 0 || usize::try_from(limit).is_ok_and(|limit| limit > limits::RESULT_ROWS_MAX) {
            let wanted = format!("a limit of 1 to {} rows", limits::RESULT_ROWS_MAX);
            return Err(StorageError::Invalid(wanted));
        }
        let (mut conditions, mut params, mut places) = (Vec::with_capacity(equals.len()), Vec::new(), Vec::new());
        for (place, (name, value)) in (1..).zip(equals) {
            let wanted = |what: &str| StorageError::Parameter(place, what.to_owned());
            let column = self.columns.iter().find(|column| **column == name);
            let column = column.ok_or_else(|| wanted("a column of the view"))?;
            // The engines do not agree on when two documents are equal, if they say so at all.
            if matches!(value, Value::Json(_)) {
                return Err(wanted("a value that is no JSON"));
            }
            conditions.push((column.as_str(), value == Value::Null));
            if value != Value::Null {
                params.push(value);
                places.push(place);
            }
        }
        Ok((self.select.of_view(conditions, limit), params, places))
    }

    /// What a reader may learn of `error`: nothing of the owner's tables, of which it knows this view alone.
    fn told(&self, error: StorageError, places: &[u32]) -> StorageError {
        match error {
            StorageError::Parameter(number, wanted) => {
                let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
                StorageError::Parameter(places.get(index).copied().unwrap_or_default(), wanted)
            }
            StorageError::Retry
            | StorageError::Limit(_)
            | StorageError::Ended
            | StorageError::Unavailable
            | StorageError::Internal(_) => error,
            StorageError::Invalid(ref text)
                if !text.starts_with("no such table") && !text.starts_with("no such column") =>
            {
                StorageError::Invalid("a value that cannot be compared or computed".to_owned())
            }
            // The view was readable when its owner started: the tables changed since.
            StorageError::Invalid(_) | StorageError::Denied(_) | StorageError::Violation { .. } => {
                tracing::warn!(view = %self.name, view.version = self.version, %error, "a published view cannot be read");
                StorageError::Unavailable
            }
        }
    }
}

/// Whether a column can be named by a reader: `[a-z_][a-z0-9_]{0,62}`.
fn is_column(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=limits::VIEW_COLUMN_BYTES_MAX).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_a_reader_can_name_is_plain() {
        let check = |name: &str, wanted: bool| assert_eq!(is_column(name), wanted, "{name:?}");
        for good in ["a", "_", "note_id", "a1", &"a".repeat(63)] {
            check(good, true);
        }
        for bad in ["", "1a", "A", "a b", "a\"", "a;", "ä", "count(*)", "?column?", "a\0", &"a".repeat(64)] {
            check(bad, false);
        }
    }
}
