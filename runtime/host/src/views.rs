//! Views that plugins publish to each other within a tenant: looked at when their plugin starts, found by those whose
//! manifest uses them. Finding one takes no lock and no SQL.
//! It grants nothing: the engine asks for the grant before it looks for a view.

use std::sync::Arc;

use bulkhead_database::TenantPluginRow;
use bulkhead_database::tenant::{PluginView, PluginViews, ViewSelect};
use bulkhead_engine::{NoView, ViewSource};
use bulkhead_model::manifest::UsedView;
use bulkhead_model::{Code, Interface, Limits, Manifest, TenantId};
use bulkhead_trust::{Artifact, Refusal, Verdict};

use crate::error::Error;
use crate::host::Host;
use crate::release::Release;
use crate::snapshot::Snapshot;
use crate::sql;
use crate::start::grants;

/// The SELECTs of the views that an artifact publishes.
pub(crate) fn selects(artifact: &Artifact) -> Result<Vec<ViewSelect>, Error> {
    let (mut selects, mut refusals) = (Vec::new(), Vec::new());
    for (index, view) in artifact.manifest.views.provides.iter().enumerate() {
        let file = artifact.assets.find(&view.sql);
        match file.and_then(|file| std::str::from_utf8(&file.bytes).ok()) {
            Some(text) => selects.push(ViewSelect { name: view.name.clone(), version: view.version, sql: text.into() }),
            None => refusals.push(refusal(index, "the artifact has no such text")),
        }
    }
    if refusals.is_empty() { Ok(selects) } else { Err(Error::Refused(refusals)) }
}

/// Whether each view is a SELECT that may run: what an author can know before any tenant has the plugin.
pub(crate) fn check(artifact: &Artifact) -> Result<(), Error> {
    let refusals: Vec<_> = selects(artifact)?
        .iter()
        .enumerate()
        .filter_map(|(index, select)| Some(refusal(index, &sql::check_view(&select.sql).err()?.to_string())))
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(Error::Refused(refusals)) }
}

fn refusal(index: usize, reason: &str) -> Refusal {
    Refusal::at(Code::Malformed, format!("/views/provides/{index}/sql"), reason)
}

impl Host {
    /// The views that a plugin publishes in a tenant, each looked at; none where it was not granted `sql`.
    pub(crate) async fn open_views(
        &self,
        row: &TenantPluginRow,
        release: &Release,
        verdict: &Verdict,
    ) -> Result<Option<PluginViews>, Error> {
        if release.views.is_empty() || !grants(row, verdict).allows(Interface::Sql) {
            return Ok(None);
        }
        let limits = Limits::effective(&release.manifest.limits, &verdict.limits_ceiling);
        let store = self.inner.storage.store(&row.tenant_id, &row.plugin_id, limits.storage_bytes);
        let opened = store.open_views(&release.views).await;
        opened.map(Some).map_err(|broken| Error::ViewBroken { plugin: release.plugin.clone(), broken })
    }

    /// Where a plugin with this manifest finds the views of others in a tenant.
    pub(crate) fn view_source(&self, tenant: &TenantId, manifest: &Arc<Manifest>) -> ViewSource {
        if manifest.views.uses.is_empty() {
            return ViewSource::default();
        }
        // Weak, because the host holds the cells that hold this.
        let (inner, tenant, manifest) = (Arc::downgrade(&self.inner), tenant.clone(), Arc::clone(manifest));
        ViewSource::new(move |plugin, view| {
            let inner = inner.upgrade().ok_or(NoView::Unavailable)?;
            find(&inner.snapshot.load(), &tenant, &manifest.views.uses, plugin, view)
        })
    }
}

/// The view `view` of `plugin` in the version that is used, if its plugin serves the tenant now.
fn find(
    snapshot: &Snapshot,
    tenant: &TenantId,
    uses: &[UsedView],
    plugin: &str,
    view: &str,
) -> Result<PluginView, NoView> {
    let is_used = |used: &&UsedView| used.plugin.as_str() == plugin && used.view.as_str() == view;
    let used = uses.iter().find(is_used).ok_or(NoView::Denied)?;
    let serving = snapshot.tenant(tenant).ok().and_then(|serving| serving.plugin(plugin));
    let owner = serving.filter(|owner| owner.started && !owner.cell.is_killed()).ok_or(NoView::Unavailable)?;
    let found = owner.views.as_ref().and_then(|views| views.find(view, used.version));
    found.ok_or(NoView::Denied)
}
