//! One table of paths: it builds the router and the OpenAPI document, so that neither knows a path that the other does not.
//! Plugins' own routes are not in it; the gateway finds those.

use axum::Router;
use axum::routing::MethodRouter;
use bulkhead_model::Code;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::problem::Problem;
use super::{
    audit, capabilities, catalogue, doctor, health, hooks, kill, migrations, oci, operations, plugins, policy,
    problems, reach, registry, registry_log, reviews, revocations, roots, schemas, tenant_plugins, tenants, usage,
};
use crate::app::App;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Anyone,
    SuperAdmin,
    Security,
    TenantAdmin,
    Host,
    /// With a token of the registry, or whoever runs plugins.
    Registry,
}

/// Writes the schema of a type into a document.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// A method of a path.
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) who: Who,
    pub(super) summary: &'static str,
    /// Names of query parameters, all optional.
    pub(super) query: &'static [&'static str],
    /// JSON body that it takes.
    pub(super) input: Option<Shape>,
    pub(super) status: u16,
    /// JSON body that it answers.
    pub(super) output: Option<Shape>,
    /// Media type of a file that it answers.
    pub(super) file: Option<&'static str>,
    handler: fn() -> MethodRouter<App>,
}

impl Endpoint {
    /// A method that takes no body and answers 204.
    pub(super) const fn new(
        method: &'static str,
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: fn() -> MethodRouter<App>,
    ) -> Self {
        Self { method, path, who, summary, query: &[], input: None, status: 204, output: None, file: None, handler }
    }

    /// With a JSON body.
    pub(super) const fn takes<T: JsonSchema>(mut self) -> Self {
        self.input = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// With an answer in JSON.
    pub(super) const fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.output = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// With a file as its answer.
    pub(super) const fn answers_file(mut self, media_type: &'static str) -> Self {
        self.status = 200;
        self.file = Some(media_type);
        self
    }

    /// With query parameters.
    pub(super) const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }
}

/// Every endpoint, in the order of the document.
pub(super) fn all() -> impl Iterator<Item = &'static Endpoint> {
    [
        health::ENDPOINTS,
        schemas::ENDPOINTS,
        problems::ENDPOINTS,
        plugins::ENDPOINTS,
        capabilities::ENDPOINTS,
        usage::ENDPOINTS,
        operations::ENDPOINTS,
        migrations::ENDPOINTS,
        kill::ENDPOINTS,
        tenants::ENDPOINTS,
        policy::ENDPOINTS,
        reviews::ENDPOINTS,
        roots::ENDPOINTS,
        revocations::ENDPOINTS,
        reach::ENDPOINTS,
        doctor::ENDPOINTS,
        audit::ENDPOINTS,
        tenant_plugins::ENDPOINTS,
        hooks::ENDPOINTS,
        registry::ENDPOINTS,
        registry_log::ENDPOINTS,
    ]
    .into_iter()
    .flatten()
}

/// The router of every endpoint.
pub(super) fn router(app: App) -> Router {
    all()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, (endpoint.handler)()))
        .merge(oci::router())
        .merge(catalogue::router())
        .fallback(async || Problem::new(Code::NotFound, "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "this path does not take this method")
        })
        .with_state(app)
}
