//! `/health`, `/ready` and, on a listener of their own, metrics.
//! They need no token and tell nothing of a tenant; the metrics listener is for the operator alone.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Who};
use super::wire;
use crate::app::App;

/// Answered also when the host has no room for further requests.
pub(super) const PROBES: [&str; 2] = ["/health", "/ready"];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/health", Who::Anyone, "Whether the process lives", || get(health))
        .answers::<HostHealth>(200),
    Endpoint::new("get", "/ready", Who::Anyone, "Whether the host takes traffic; 503 when not", || get(ready))
        .answers::<Ready>(200),
];

/// The process lives.
#[derive(Debug, Serialize, JsonSchema)]
struct HostHealth {
    /// Always `ok`.
    status: &'static str,
    /// `production` or `dev`.
    mode: &'static str,
    /// Version of the host.
    version: &'static str,
}

/// Whether the host takes traffic.
#[derive(Debug, Serialize, JsonSchema)]
struct Ready {
    ready: bool,
    /// Why not, if not.
    reasons: Vec<String>,
    /// What an operator must look at while the host serves, such as `registry-log-broken: ...`.
    alarms: Vec<String>,
}

async fn health(State(app): State<App>) -> Json<HostHealth> {
    Json(HostHealth { status: "ok", mode: app.host.mode().as_str(), version: env!("CARGO_PKG_VERSION") })
}

async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let readiness = app.host.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: readiness.ready, reasons: readiness.reasons, alarms: app.host.alarms() }))
}

/// What the listener for operators answers.
pub(crate) fn operator<B>(app: &App, request: &Request<B>) -> Response<Body> {
    match (request.method().as_str(), request.uri().path()) {
        ("GET" | "HEAD", "/metrics") => ([(CONTENT_TYPE, wire::PROMETHEUS)], app.host.metrics_text()).into_response(),
        (_, "/metrics") => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
