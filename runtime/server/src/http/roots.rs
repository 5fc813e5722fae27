//! `/api/v1/policy/roots`: the root keys that sign policies, and their successors.
//! Verifying is not done here.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, put};
use bulkhead_host::view;
use schemars::JsonSchema;
use serde::Serialize;

use super::body::JsonText;
use super::endpoint::{Endpoint, Who};
use super::extract::Admin;
use super::problem::Problem;
use super::wire::Time;
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/api/v1/policy/roots", Who::Security, "Show the root keys in force", || get(show))
        .answers::<RootsBody>(200),
    Endpoint::new(
        "put",
        "/api/v1/policy/roots",
        Who::Security,
        "Replace the root keys; the body is the envelope that enough of the old and of the new ones signed, or \
         `{\"roots\": .., \"policy\": ..}` with a policy that the new ones signed",
        || put(install),
    )
    .takes::<serde_json::Value>()
    .answers::<RootsBody>(200),
];

/// The root keys in force.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Roots")]
struct RootsBody {
    /// 0 are the configured keys; each document that replaces them has the next number.
    version: u64,
    keys: Vec<KeyBody>,
    /// How many different ones sign a policy.
    threshold: u64,
    /// From when they install nothing but their successors; `null` for configured ones, which have no end.
    expires: Option<Time>,
    /// `sha256:<hex>` of the configured keys and their threshold, with which the chain begins.
    anchor: String,
    /// Why no key counts, where the stored chain is broken.
    broken: Option<String>,
    installed_by: Option<String>,
    installed_at: Option<Time>,
}

/// A root key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RootKey")]
struct KeyBody {
    /// `ed25519:` and the base64 of the public key.
    key: String,
    /// SHA-256 of the key's SPKI form.
    key_id: String,
}

impl RootsBody {
    fn of(roots: view::RootsView) -> Self {
        let key = |(key, id): (String, bulkhead_model::Digest)| KeyBody { key, key_id: id.to_string() };
        Self {
            version: roots.version,
            keys: roots.keys.into_iter().map(key).collect(),
            threshold: roots.threshold,
            expires: roots.expires.map(Time::of),
            anchor: roots.anchor.to_string(),
            broken: roots.broken,
            installed_by: roots.installed_by,
            installed_at: roots.installed_at.map(Time::of),
        }
    }
}

async fn show(State(app): State<App>, Admin(actor): Admin) -> Result<Json<RootsBody>, Problem> {
    Ok(Json(RootsBody::of(app.host.get_roots(&actor).await?)))
}

async fn install(
    State(app): State<App>,
    Admin(actor): Admin,
    JsonText(body): JsonText,
) -> Result<Json<RootsBody>, Problem> {
    let (roots, policy) = parts(&body)?;
    let installed =
        Box::pin(app.host.install_roots(&actor, roots.as_bytes(), policy.as_deref().map(str::as_bytes))).await?;
    Ok(Json(RootsBody::of(installed)))
}

/// The envelope of the roots and that of a policy, if one comes with them. An envelope has no field of these names.
fn parts(body: &str) -> Result<(String, Option<String>), Problem> {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(body) else {
        return Err(Problem::invalid("", "the body is a JSON object"));
    };
    let Some(roots) = fields.remove("roots") else { return Ok((body.to_owned(), None)) };
    let policy = fields.remove("policy").map(|policy| policy.to_string());
    match fields.keys().next() {
        Some(name) => Err(Problem::invalid("", format!("there is no field `{name}` beside `roots` and `policy`"))),
        None => Ok((roots.to_string(), policy)),
    }
}
