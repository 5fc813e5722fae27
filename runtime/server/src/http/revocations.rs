//! `/api/v1/revocations`: keys, releases and plugins that never run again.
//! What a revocation stops is not decided here.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use bulkhead_host::{NewRevocation, view};
use bulkhead_model::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, PageQuery, Query};
use super::problem::Problem;
use super::wire::{Created, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/revocations", Who::Security, "List revocations by epoch", || get(list))
        .query(&["limit", "cursor"])
        .answers::<List<RevocationBody>>(200),
    Endpoint::new(
        "post",
        "/api/v1/revocations",
        Who::Security,
        "Revoke a key, a release, or versions of a plugin, for good; what it hits stops on every host within a second",
        || post(revoke),
    )
    .takes::<NewRevocationBody>()
    .answers::<RevocationBody>(201),
];

/// What is revoked: everything that meets all that is given. At least a key, a digest or a plugin is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewRevocation")]
struct NewRevocationBody {
    /// `ed25519:<base64>`, or `sha256:<hex>`, the id of a key that the policy in force knows.
    key: Option<String>,
    /// `sha256:<hex>` of an artifact.
    #[schemars(with = "Option<String>")]
    digest: Option<Digest>,
    /// An id, `namespace.*` or `*`.
    plugin: Option<String>,
    /// A range such as `>=1.2.0, <1.2.5`; one version is `=1.2.3`.
    version: Option<String>,
    /// From when; at once where it is left out.
    from: Option<Time>,
    /// For the audit log and for those who are refused, 1 to 2,000 bytes.
    reason: String,
}

/// A revocation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revocation")]
struct RevocationBody {
    /// Its place; rises with each.
    epoch: u64,
    key: Option<String>,
    digest: Option<String>,
    plugin: Option<String>,
    version: Option<String>,
    from: Option<Time>,
    reason: String,
    revoked_by: String,
    revoked_at: Time,
}

impl RevocationBody {
    fn of(revocation: view::Revocation) -> Self {
        Self {
            epoch: revocation.epoch,
            key: revocation.key,
            digest: revocation.digest.map(|digest| digest.to_string()),
            plugin: revocation.plugin,
            version: revocation.version,
            from: revocation.from_at.map(Time::of),
            reason: revocation.reason,
            revoked_by: revocation.revoked_by,
            revoked_at: Time::of(revocation.revoked_at),
        }
    }
}

async fn list(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<RevocationBody>>, Problem> {
    Ok(List::page(app.host.list_revocations(&actor, &query.page()?).await?, RevocationBody::of))
}

async fn revoke(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(new): body::Json<NewRevocationBody>,
) -> Result<Created<RevocationBody>, Problem> {
    let new = NewRevocation {
        key: new.key,
        digest: new.digest,
        plugin: new.plugin,
        version: new.version,
        from_at: new.from.as_ref().map(Time::micros),
        reason: new.reason,
    };
    Ok(Created(RevocationBody::of(Box::pin(app.host.revoke(&actor, new)).await?)))
}
