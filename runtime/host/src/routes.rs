//! Route calls: from a request's head to the plugin's answer, checks first and in their fixed order.
//! It reads no body before the head is admitted, and speaks no HTTP.

use std::sync::Arc;

use bulkhead_engine::{RouteRequest, RouteResponse};
use bulkhead_model::manifest::{self, Method};
use bulkhead_model::route::{PATH_BYTES_MAX, Template};
use bulkhead_model::{Coded, Entry, Manifest};

use crate::calls::Caller;
use crate::error::{Error, Located};
use crate::host::Host;
use crate::snapshot::Enabled;

/// A request without its body.
#[derive(Clone, Debug)]
pub struct RouteHead {
    /// HTTP method.
    pub method: String,
    /// Path below the plugin's prefix, beginning with `/`.
    pub path: String,
    /// Query without its `?`.
    pub query: Option<String>,
    /// Headers that the guest may see.
    pub headers: Vec<(String, String)>,
}

/// A request that may run as soon as its body is read.
pub struct AdmittedRoute {
    enabled: Arc<Enabled>,
    caller: Caller,
    head: RouteHead,
    template: Arc<str>,
    params: Vec<(String, String)>,
}

impl AdmittedRoute {
    /// Largest body in bytes that the plugin takes.
    pub fn body_bytes_max(&self) -> u64 {
        self.enabled.cell.limits().request_bytes
    }

    /// Milliseconds that reading the body may take.
    pub fn body_deadline_ms(&self) -> u32 {
        self.enabled.cell.limits().deadline_ms(Entry::Route)
    }

    /// The error for a body beyond the limit.
    pub fn body_too_large(&self) -> Located {
        self.located(Error::BodyTooLarge { bytes_max: self.body_bytes_max() })
    }

    fn located(&self, error: Error) -> Located {
        error.at(&self.enabled.plugin, Some(&self.caller.tenant))
    }
}

impl Host {
    /// Checks a request in the fixed order: enabled here, not killed, serving, route, method, permission, rate. No
    /// guest code runs and nothing is waited for.
    pub fn admit_route(&self, caller: &Caller, plugin: &str, head: RouteHead) -> Result<AdmittedRoute, Located> {
        let enabled = self.enabled(caller, plugin)?;
        let at = |error: Error| error.at(&enabled.plugin, Some(&caller.tenant));
        enabled.cell.admission().map_err(|error| at(error.into()))?;
        let Found { number, route, template, params } = enabled.release.routes.find(&head).map_err(at)?;
        if let Some(permission) = &route.permission
            && !caller.actor.has_permission(&enabled.plugin, permission)
        {
            return Err(at(Error::PermissionDenied(permission.full(&enabled.plugin))));
        }
        enabled.cell.take_rate(number).map_err(|error| at(error.into()))?;
        Ok(AdmittedRoute { caller: caller.clone(), head, template, params, enabled })
    }

    /// Runs an admitted request with its body.
    pub async fn call_route(&self, admitted: AdmittedRoute, body: Vec<u8>) -> Result<RouteResponse, Located> {
        let AdmittedRoute { enabled, caller, head, template, params } = admitted;
        let request = RouteRequest {
            method: head.method,
            path: head.path,
            route: template.to_string(),
            params,
            query: head.query,
            headers: head.headers,
            body,
        };
        let outcome = enabled.cell.handle_route(&caller.context(None), request).await;
        outcome.result.map_err(|error| {
            tracing::debug!(plugin.id = %enabled.plugin, tenant.id = %caller.tenant, code = %error.code(), "a route call failed");
            Error::from(error).at(&enabled.plugin, Some(&caller.tenant))
        })
    }

    /// The plugin in the caller's tenant; 404 alike for what does not exist and what is not enabled.
    pub(crate) fn enabled(&self, caller: &Caller, plugin: &str) -> Result<Arc<Enabled>, Located> {
        let snapshot = self.snapshot();
        let enabled = snapshot.tenant(&caller.tenant)?.plugin(plugin).cloned();
        enabled.ok_or_else(|| Error::not_found("plugin", &plugin.chars().take(80).collect::<String>()).into())
    }
}

/// The route of a request.
struct Found<'a> {
    /// Its place in the manifest.
    number: usize,
    route: &'a manifest::Route,
    template: Arc<str>,
    params: Vec<(String, String)>,
}

/// The routes of a release, most specific first.
pub(crate) struct RouteTable(Vec<Entrance>);

struct Entrance {
    number: usize,
    template: Template,
    text: Arc<str>,
    route: manifest::Route,
}

impl RouteTable {
    /// The table of a manifest; its templates were checked when it was read.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut entrances: Vec<Entrance> = manifest
            .routes
            .iter()
            .enumerate()
            .filter_map(|(number, route)| {
                let template = Template::parse(&route.path).ok()?;
                Some(Entrance { number, template, text: Arc::from(route.path.as_str()), route: route.clone() })
            })
            .collect();
        entrances.sort_by_cached_key(|entrance| entrance.template.specificity());
        Self(entrances)
    }

    fn find(&self, head: &RouteHead) -> Result<Found<'_>, Error> {
        if head.path.len() > PATH_BYTES_MAX {
            return Err(Error::RouteNotFound);
        }
        let mut others: Vec<Method> = Vec::new();
        for entrance in &self.0 {
            let Some(params) = entrance.template.params(&head.path) else {
                continue;
            };
            if entrance.route.method.as_str() == head.method {
                let Entrance { number, route, text, .. } = entrance;
                return Ok(Found { number: *number, route, template: Arc::clone(text), params });
            }
            others.push(entrance.route.method);
        }
        if others.is_empty() {
            return Err(Error::RouteNotFound);
        }
        others.sort_unstable();
        others.dedup();
        Err(Error::MethodNotAllowed(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [plugin]
        id = "acme.crm"
        version = "1.0.0"
        name = "CRM"
        [[routes]]
        method = "GET"
        path = "/deals/{id}"
        [[routes]]
        method = "DELETE"
        path = "/deals/{id}"
        [[routes]]
        method = "GET"
        path = "/deals/new"
    "#;

    fn find(method: &str, path: &str) -> Result<String, Error> {
        let table = RouteTable::of(&Manifest::parse_toml(MANIFEST).unwrap());
        let head = RouteHead { method: method.to_owned(), path: path.to_owned(), query: None, headers: Vec::new() };
        table.find(&head).map(|found| found.template.to_string())
    }

    #[test]
    fn the_most_specific_route_of_the_method_is_found() {
        assert_eq!(find("GET", "/deals/new").unwrap(), "/deals/new");
        assert_eq!(find("GET", "/deals/7").unwrap(), "/deals/{id}");
        assert_eq!(find("DELETE", "/deals/new").unwrap(), "/deals/{id}");
    }

    #[test]
    fn a_path_without_the_method_names_the_methods_that_it_has() {
        assert!(
            matches!(find("PUT", "/deals/7"), Err(Error::MethodNotAllowed(allow)) if allow == [Method::Get, Method::Delete])
        );
        assert!(matches!(find("GET", "/deals"), Err(Error::RouteNotFound)));
        assert!(matches!(find("GET", &format!("/deals/{}", "a".repeat(3_000))), Err(Error::RouteNotFound)));
    }
}
