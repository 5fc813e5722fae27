//! Every cell of this node, mounted or still starting: what a stop must reach.
//! It starts and ends none.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bulkhead_model::{PluginId, TenantId};

use crate::snapshot::Enabled;

type Pair = (TenantId, PluginId);

/// The cells that live; more than one of a pair while one takes the place of another. Calls do not come here.
#[derive(Default)]
pub(crate) struct Cells(parking_lot::Mutex<HashMap<Pair, Vec<Weak<Enabled>>>>);

impl Cells {
    /// Remembers a cell for as long as somebody holds it.
    pub(crate) fn add(&self, enabled: &Arc<Enabled>) {
        let key = (enabled.cell.tenant().clone(), enabled.plugin.clone());
        let mut cells = self.0.lock();
        let of_pair = cells.entry(key).or_default();
        of_pair.retain(|known| known.strong_count() > 0);
        of_pair.push(Arc::downgrade(enabled));
    }

    /// All that live; forgets those that do not.
    pub(crate) fn all(&self) -> Vec<Arc<Enabled>> {
        let mut cells = self.0.lock();
        let mut living = Vec::with_capacity(cells.len());
        cells.retain(|_, of_pair| {
            of_pair.retain(|known| known.upgrade().map(|enabled| living.push(enabled)).is_some());
            !of_pair.is_empty()
        });
        living
    }
}
