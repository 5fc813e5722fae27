//! Which plugin and which tenant a request to the administration API names, so that its problems and the log can say it.
//! Nothing is decided by it.

use bulkhead_host::Host;
use bulkhead_model::{PluginId, TenantId, TraceId};
use http::request::Parts;

use super::extract;

/// Where the fleet's plugins are.
const PLUGINS: &str = "/api/v1/plugins/";
/// Where a tenant's plugins are; the tenant is the caller's.
const TENANT: &str = "/api/v1/tenant/";
/// Where tenants are.
const TENANTS: &str = "/api/v1/tenants/";

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) plugin: Option<PluginId>,
    pub(super) tenant: Option<TenantId>,
}

impl Place {
    pub(super) fn of(host: &Host, head: &Parts, trace: TraceId) -> Self {
        let query = head.uri.query();
        let mut place = Self::named(head.uri.path(), query);
        if head.uri.path().starts_with(TENANT) {
            place.tenant = extract::caller(host, &head.headers, query, trace).ok().map(|caller| caller.tenant);
        }
        place
    }

    /// What path and query name.
    fn named(path: &str, query: Option<&str>) -> Self {
        let plugins = path.strip_prefix(PLUGINS).or_else(|| path.strip_prefix(TENANT)?.strip_prefix("plugins/"));
        let tenant = path.strip_prefix(TENANTS).map(first).or_else(|| extract::tenant_in(query?));
        Self {
            plugin: plugins.and_then(|rest| first(rest).parse().ok()),
            tenant: tenant.and_then(|tenant| tenant.parse().ok()),
        }
    }
}

/// The first segment.
fn first(path: &str) -> &str {
    path.split_once('/').map_or(path, |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_plugin_or_a_tenant_or_neither() {
        let check = |path: &str, query: &str, plugin: Option<&str>, tenant: Option<&str>| {
            let place = Place::named(path, Some(query).filter(|query| !query.is_empty()));
            assert_eq!(place.plugin.as_ref().map(PluginId::as_str), plugin, "{path}?{query}");
            assert_eq!(place.tenant.as_ref().map(TenantId::as_str), tenant, "{path}?{query}");
        };

        check("/api/v1/plugins/acme.crm", "", Some("acme.crm"), None);
        check("/api/v1/plugins/acme.crm/kill", "tenant=globex", Some("acme.crm"), Some("globex"));
        check("/api/v1/tenant/plugins/acme.crm/config/history", "", Some("acme.crm"), None);
        check("/api/v1/tenants/globex", "", None, Some("globex"));
        check("/api/v1/tenants/globex/suspend", "tenant=other", None, Some("globex"));
        check("/api/v1/hooks", "limit=1&tenant=globex", None, Some("globex"));
        check("/api/v1/plugins", "", None, None);
        check("/api/v1/plugins/NO NAME/kill", "tenant=NO NAME", None, None);
        check("/health", "", None, None);
    }
}
