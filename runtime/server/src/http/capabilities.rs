//! `/api/v1/plugins/{id}/versions/{v}/capabilities`: what a version can do, and beyond another one with `?against=`.
//! Comparing is not done here.

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use bulkhead_host::{Capabilities, CapabilityDiff, Error};
use bulkhead_model::{PluginId, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Query};
use super::problem::Problem;
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint::new(
    "get",
    "/api/v1/plugins/{id}/versions/{v}/capabilities",
    Who::SuperAdmin,
    "What a version can do and asks for, read from its bytes, and with `against` what it adds to that version; security may ask too",
    || get(show),
)
.query(&["against"])
.answers::<CapabilitiesBody>(200)];

/// What a version can do, and what it adds to another one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Capabilities")]
struct CapabilitiesBody {
    plugin_id: String,
    version: String,
    /// `sha256:<hex>` of the artifact.
    digest: String,
    /// By area and name.
    capabilities: Vec<CapabilityBody>,
    /// The version that it is compared with.
    against: Option<AgainstBody>,
    /// Whether it has authority that the other one has not.
    widens: Option<bool>,
    /// `sha256:<hex>` of the difference, which a review names.
    diff_digest: Option<String>,
    /// Every difference, by area and name.
    differences: Option<Vec<DifferenceBody>>,
}

/// Something that a version can do or asks for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Capability")]
struct CapabilityBody {
    /// For example `interface`, `import`, `host`, `secret`, `hook`, `limit`, `route`, `size`.
    area: &'static str,
    name: String,
    /// What is said of it, for example a function's type or a limit.
    text: String,
    /// Whether more of it is more authority.
    authority: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ComparedVersion")]
struct AgainstBody {
    version: String,
    digest: String,
}

/// A difference between two versions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CapabilityDifference")]
struct DifferenceBody {
    area: &'static str,
    name: String,
    /// `null` where the older version does not have it.
    before: Option<String>,
    /// `null` where the newer version does not have it.
    after: Option<String>,
    /// `wider`, `narrower` or `same`.
    direction: &'static str,
    /// Whether it adds authority.
    widens: bool,
}

impl CapabilitiesBody {
    fn of(capabilities: &Capabilities, diff: Option<&CapabilityDiff>) -> Self {
        let capability = |(area, name, text): (bulkhead_host::Area, &str, &str)| CapabilityBody {
            area: area.as_str(),
            name: name.to_owned(),
            text: text.to_owned(),
            authority: area.is_authority(),
        };
        Self {
            plugin_id: capabilities.plugin.to_string(),
            version: capabilities.version.to_string(),
            digest: capabilities.digest.to_string(),
            capabilities: capabilities.iter().map(capability).collect(),
            against: diff.map(|diff| AgainstBody {
                version: diff.from.version.to_string(),
                digest: diff.from.digest.to_string(),
            }),
            widens: diff.map(CapabilityDiff::widens),
            diff_digest: diff.map(|diff| diff.digest().to_string()),
            differences: diff.map(differences),
        }
    }
}

fn differences(diff: &CapabilityDiff) -> Vec<DifferenceBody> {
    let body = |difference: &bulkhead_host::Difference| DifferenceBody {
        area: difference.area.as_str(),
        name: difference.name.clone(),
        before: difference.before.clone(),
        after: difference.after.clone(),
        direction: difference.direction.as_str(),
        widens: difference.widens(),
    };
    diff.differences.iter().map(body).collect()
}

/// `?against=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgainstQuery {
    against: Option<Version>,
}

async fn show(
    State(app): State<App>,
    Admin(actor): Admin,
    Path((id, version)): Path<(String, String)>,
    Query(query): Query<AgainstQuery>,
) -> Result<Json<CapabilitiesBody>, Problem> {
    let nothing = |noun: &'static str, name: &str| Error::NotFound { noun, name: name.chars().take(80).collect() };
    let plugin: PluginId = id.parse().map_err(|_| nothing("plugin", &id))?;
    let version: Version = version.parse().map_err(|_| nothing("version", &version))?;
    let (capabilities, diff) =
        Box::pin(app.host.capabilities(&actor, &plugin, &version, query.against.as_ref())).await?;
    Ok(Json(CapabilitiesBody::of(&capabilities, diff.as_ref())))
}
