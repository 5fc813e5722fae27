//! `/api/v1/doctor`: what is wrong with the host, and what to do about it.
//! What is looked for stands in the host, and for key files beside the configuration.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use bulkhead_host::doctor::Finding;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Who};
use super::extract::Admin;
use super::problem::Problem;
use super::wire::List;
use crate::app::App;
use crate::doctor;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint::new(
    "get",
    "/api/v1/doctor",
    Who::Security,
    "Look for what is wrong with the host and its database, the worst first; also for super_admin. It changes nothing",
    || get(look),
)
.answers::<List<FindingBody>>(200)];

/// Something that was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
struct FindingBody {
    /// What kind of thing, for example `policy-expiring`.
    code: &'static str,
    #[schemars(extend("enum" = ["error", "warning", "info"]))]
    severity: &'static str,
    /// Which one.
    what: String,
    /// What to do.
    next: &'static str,
}

impl FindingBody {
    fn of(finding: Finding) -> Self {
        let check = finding.check;
        Self { code: check.code(), severity: check.severity().as_str(), what: finding.what, next: check.next() }
    }
}

async fn look(State(app): State<App>, Admin(actor): Admin) -> Result<Json<List<FindingBody>>, Problem> {
    let config = app.config.clone();
    let files = tokio::task::spawn_blocking(move || doctor::key_files(&config)).await.unwrap_or_default();
    Ok(List::whole(Box::pin(app.host.doctor(&actor, files)).await?, FindingBody::of))
}
