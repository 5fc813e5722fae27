//! `views`: rows of the views that other plugins of the tenant publish.
//! It knows neither who publishes nor who may read what; the host finds the view, and the database reads it.

use std::fmt;
use std::sync::Arc;

use bulkhead_bindings::bulkhead::plugin::storage_types as wit;
use bulkhead_bindings::bulkhead::plugin::views::Host;
use bulkhead_database::tenant::PluginView;
use bulkhead_model::Interface;

use super::sql::{CELL_OVERHEAD_BYTES, value};
use crate::imports::Failure;
use crate::state::CallState;

type Find = dyn Fn(&str, &str) -> Result<PluginView, NoView> + Send + Sync;

/// Where a cell finds the views of other plugins in its tenant, by plugin and name. The default finds none.
#[derive(Clone, Default)]
pub struct ViewSource(Option<Arc<Find>>);

/// Why there is no view to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoView {
    /// The plugin does not use it, or nobody publishes it in the version that is used.
    Denied,
    /// The plugin that publishes it does not serve this tenant now.
    Unavailable,
}

impl ViewSource {
    /// Views that `find` finds. It is called within calls: it must not wait.
    pub fn new(find: impl Fn(&str, &str) -> Result<PluginView, NoView> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(find)))
    }

    fn find(&self, plugin: &str, view: &str) -> Result<PluginView, NoView> {
        self.0.as_ref().map_or(Err(NoView::Denied), |find| find(plugin, view))
    }
}

impl fmt::Debug for ViewSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ViewSource").field(&self.0.is_some()).finish()
    }
}

impl Host for CallState {
    async fn read(
        &mut self,
        plugin: String,
        view: String,
        equals: Vec<(String, wit::Value)>,
        limit: u32,
    ) -> wasmtime::Result<Result<wit::Table, wit::StorageError>> {
        let result = self.views_read(&plugin, &view, equals, limit).await;
        self.answer(Interface::Views, result)
    }
}

impl CallState {
    async fn views_read(
        &mut self,
        plugin: &str,
        view: &str,
        equals: Vec<(String, wit::Value)>,
        limit: u32,
    ) -> Result<wit::Table, Failure> {
        let deadline = self.call.deadline;
        let equals: Vec<_> = equals.into_iter().map(|(column, cell)| (column, value(cell))).collect();
        let conditions_bytes = equals
            .iter()
            .map(|(column, cell)| column.len().saturating_add(cell.size_bytes()).saturating_add(CELL_OVERHEAD_BYTES))
            .sum();
        let bytes = plugin.len().saturating_add(view.len()).saturating_add(conditions_bytes);
        if !self.admit(Interface::Views, bytes)? {
            return Err(Failure::Answer(wit::StorageError::Denied(format!("grant:{}", Interface::Views))));
        }
        let found = self.shared.views.find(plugin, view).map_err(|none| {
            Failure::Answer(match none {
                NoView::Denied => wit::StorageError::Denied("view".to_owned()),
                NoView::Unavailable => wit::StorageError::Unavailable,
            })
        })?;
        let table = found.read(equals, limit, deadline).await?;
        self.table(table)
    }
}
