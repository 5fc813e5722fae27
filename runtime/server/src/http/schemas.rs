//! `/schemas/manifest.json` and `/openapi.json`: documents about the host itself.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use bulkhead_model::Manifest;
use http::header::CONTENT_TYPE;

use super::endpoint::{Endpoint, Who};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/openapi.json", Who::Anyone, "This document", || get(openapi))
        .answers::<serde_json::Value>(200),
    Endpoint::new("get", "/schemas/manifest.json", Who::Anyone, "JSON Schema of the plugin manifest", || get(manifest))
        .answers::<serde_json::Value>(200),
];

async fn openapi(State(app): State<App>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.openapi.clone())
}

async fn manifest() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/schema+json")], Manifest::json_schema().to_string())
}
