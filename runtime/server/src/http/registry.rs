//! `/api/v1/registry`: the catalogue of plugins that are offered, and the registry's administration.
//! Pushing and pulling is `oci`'s.

mod offered;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::routing::{delete, get, post};
use bulkhead_host::{Error, RegistryActor};
use bulkhead_model::{Code, PluginId, Version};
use bulkhead_oci::{Caller, Collected, Kind, ListedToken, NamespaceRow, NewNamespace, NewToken, Scope};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::offered::OfferedBody;
use super::body;
use super::endpoint::{Endpoint, Who};
use super::extract::{Admin, Named, PageQuery, Query, RecordId};
use super::oci;
use super::problem::Problem;
use super::wire::{Created, List, Time};
use crate::app::App;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "get",
        "/api/v1/registry/plugins",
        Who::Registry,
        "List the plugins that the registry offers; `q` is part of an id, name or description",
        || get(list),
    )
    .query(&["q", "limit", "cursor"])
    .answers::<List<OfferedBody>>(200),
    Endpoint::new(
        "get",
        "/api/v1/registry/plugins/{id}",
        Who::Registry,
        "Show a plugin with all its versions, withdrawn ones too",
        || get(show),
    )
    .answers::<OfferedBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/registry/plugins/{id}/yank",
        Who::Registry,
        "Withdraw a version: it is no longer found, and stays for those who have its digest",
        || post(yank),
    )
    .takes::<YankBody>()
    .answers::<OfferedBody>(200),
    Endpoint::new(
        "post",
        "/api/v1/registry/plugins/{id}/unyank",
        Who::Registry,
        "Offer a withdrawn version again",
        || post(unyank),
    )
    .takes::<UnyankBody>()
    .answers::<OfferedBody>(200),
    Endpoint::new("get", "/api/v1/registry/namespaces", Who::SuperAdmin, "List namespaces of the registry", || {
        get(namespaces)
    })
    .query(&["limit", "cursor"])
    .answers::<List<NamespaceBody>>(200),
    Endpoint::new(
        "post",
        "/api/v1/registry/namespaces",
        Who::SuperAdmin,
        "Grant a namespace; one that looks like another is refused",
        || post(grant),
    )
    .takes::<GrantBody>()
    .answers::<NamespaceBody>(201),
    Endpoint::new(
        "delete",
        "/api/v1/registry/namespaces/{id}",
        Who::SuperAdmin,
        "Take a namespace back: an empty one, or with `force` one with all that is in it; never one with released versions",
        || delete(take_back),
    )
    .query(&["force"]),
    Endpoint::new("get", "/api/v1/registry/tokens", Who::SuperAdmin, "List tokens of the registry", || get(tokens))
        .query(&["limit", "cursor"])
        .answers::<List<TokenBody>>(200),
    Endpoint::new(
        "post",
        "/api/v1/registry/tokens",
        Who::SuperAdmin,
        "Make a token of the registry; its secret is in this answer alone",
        || post(issue),
    )
    .takes::<NewTokenBody>()
    .answers::<IssuedBody>(201),
    Endpoint::new("delete", "/api/v1/registry/tokens/{id}", Who::SuperAdmin, "End a token of the registry", || {
        delete(revoke)
    }),
    Endpoint::new(
        "post",
        "/api/v1/registry/gc",
        Who::SuperAdmin,
        "Remove what nobody refers to: uploads past their hour, blobs that no manifest has named for a day",
        || post(collect),
    )
    .answers::<CollectedBody>(200),
];

/// Seconds that a token is good for where nothing is said: 90 days.
const TTL_DEFAULT_S: u64 = 90 * 86_400;

/// Who asks: with a token of the host or of the registry. Each request counts against its rate.
pub(super) struct Asking(pub(super) RegistryActor);

impl FromRequestParts<App> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let missing = || Error::Unauthenticated("the request carries no bearer token");
        let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = value.and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing().into());
        }
        let token = token.trim().to_owned();
        let actor = app.host.registry_actor(&token).await?;
        match &actor {
            RegistryActor::Person(_) => {
                let Admin(actor) = Admin::from_request_parts(parts, app).await?;
                Ok(Self(RegistryActor::Person(actor)))
            }
            RegistryActor::Token(caller) => {
                let account = if let Caller::Token(token) = caller { token.id.as_str() } else { "" };
                let too_often = |wait| Problem::retry_after(Code::RateLimited, "this token asks too often", wait);
                oci::take_rate(app, account).map_err(too_often)?;
                Ok(Self(actor))
            }
        }
    }
}

/// The version to withdraw, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Yank")]
struct YankBody {
    version: Version,
    /// For those who look for it, and the audit log.
    #[serde(default)]
    reason: String,
}

/// The version to offer again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Unyank")]
struct UnyankBody {
    version: Version,
}

/// What a namespace takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NamespaceKind")]
enum KindBody {
    /// Releases of plugins and their signatures; nothing is replaced or deleted.
    #[default]
    Plugin,
    /// Whatever the protocol knows; it can be deleted.
    Open,
}

/// A namespace to grant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewNamespace")]
struct GrantBody {
    /// The first part of its repositories' names.
    namespace: String,
    #[serde(default)]
    kind: KindBody,
    /// For whom it is; the namespace itself where nobody is named.
    owner: Option<String>,
    /// Whether everybody may pull, without a token.
    #[serde(default)]
    public: bool,
}

/// A namespace of the registry.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Namespace")]
struct NamespaceBody {
    namespace: String,
    /// `plugin` or `open`.
    kind: String,
    owner: String,
    /// Whether everybody may pull, without a token.
    public: bool,
    granted_by: String,
    created_at: Time,
}

impl NamespaceBody {
    fn of(row: NamespaceRow) -> Self {
        Self {
            namespace: row.namespace,
            kind: row.kind,
            owner: row.owner,
            public: row.is_public,
            granted_by: row.granted_by,
            created_at: Time::of(row.created_at),
        }
    }
}

/// A token to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewRegistryToken")]
struct NewTokenBody {
    /// For whom or what it is.
    name: String,
    /// Patterns: a namespace `acme`, a repository `acme/crm`, a beginning `acme/crm-*`, or `*`.
    #[schemars(length(min = 1, max = 32))]
    repositories: Vec<String>,
    /// Any of `pull`, `push`, `sign`, `yank`, `admin`.
    #[schemars(length(min = 1, max = 5))]
    scopes: Vec<String>,
    /// Seconds that it is good for: 90 days where nothing is said, a year at most.
    ttl_s: Option<u64>,
}

/// A token of the registry.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RegistryToken")]
struct TokenBody {
    id: String,
    name: String,
    repositories: Vec<String>,
    scopes: Vec<String>,
    created_by: String,
    created_at: Time,
    expires_at: Time,
}

impl TokenBody {
    fn of(token: ListedToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            repositories: token.repositories,
            scopes: token.scopes,
            created_by: token.created_by,
            created_at: Time::of(token.created_at),
            expires_at: Time::of(token.expires_at),
        }
    }
}

/// A token of the registry with its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IssuedRegistryToken")]
struct IssuedBody {
    /// The secret: a bearer token, or the password of any user. It is not stored.
    token: String,
    #[serde(flatten)]
    listed: TokenBody,
}

/// What was removed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Collected")]
struct CollectedBody {
    /// Uploads past their hour.
    uploads: u64,
    /// Manifests of open namespaces that nothing has led to for a day.
    manifests: u64,
    /// Blobs that a repository held and none of its manifests named.
    links: u64,
    /// Blobs that no repository held.
    blobs: u64,
    /// Their bytes.
    blob_bytes: u64,
}

impl CollectedBody {
    fn of(collected: Collected) -> Self {
        let Collected { uploads, manifests, links, blobs, blob_bytes, .. } = collected;
        Self { uploads, manifests, links, blobs, blob_bytes }
    }
}

/// `?q&limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueQuery {
    #[serde(default)]
    q: String,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    Asking(who): Asking,
    Query(query): Query<CatalogueQuery>,
) -> Result<Json<List<OfferedBody>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.page()?;
    Ok(List::page(app.host.registry_plugins(&who, &query.q, &page).await?, OfferedBody::of))
}

async fn show(
    State(app): State<App>,
    Asking(who): Asking,
    Named(id): Named<PluginId>,
) -> Result<Json<OfferedBody>, Problem> {
    Ok(Json(OfferedBody::of(app.host.registry_plugin(&who, &id).await?)))
}

async fn yank(
    State(app): State<App>,
    Asking(who): Asking,
    Named(id): Named<PluginId>,
    body::Json(body): body::Json<YankBody>,
) -> Result<Json<OfferedBody>, Problem> {
    Ok(Json(OfferedBody::of(app.host.yank(&who, &id, &body.version, Some(&body.reason)).await?)))
}

async fn unyank(
    State(app): State<App>,
    Asking(who): Asking,
    Named(id): Named<PluginId>,
    body::Json(body): body::Json<UnyankBody>,
) -> Result<Json<OfferedBody>, Problem> {
    Ok(Json(OfferedBody::of(app.host.yank(&who, &id, &body.version, None).await?)))
}

async fn namespaces(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<NamespaceBody>>, Problem> {
    Ok(List::page(app.host.list_namespaces(&actor, &query.page()?).await?, NamespaceBody::of))
}

async fn grant(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<GrantBody>,
) -> Result<Created<NamespaceBody>, Problem> {
    let new = NewNamespace {
        kind: match body.kind {
            KindBody::Plugin => Kind::Plugin,
            KindBody::Open => Kind::Open,
        },
        owner: body.owner.unwrap_or_else(|| body.namespace.clone()),
        namespace: body.namespace,
        is_public: body.public,
    };
    Ok(Created(NamespaceBody::of(app.host.grant_namespace(&actor, &new).await?)))
}

/// `?force`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeBackQuery {
    force: Option<String>,
}

async fn take_back(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
    Query(query): Query<TakeBackQuery>,
) -> Result<StatusCode, Problem> {
    let force = match query.force.as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => return Err(Problem::invalid("", "`force` is `true` or `false`")),
    };
    app.host.delete_namespace(&actor, &id, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tokens(
    State(app): State<App>,
    Admin(actor): Admin,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<TokenBody>>, Problem> {
    Ok(List::page(app.host.list_registry_tokens(&actor, &query.page()?).await?, TokenBody::of))
}

async fn issue(
    State(app): State<App>,
    Admin(actor): Admin,
    body::Json(body): body::Json<NewTokenBody>,
) -> Result<Created<IssuedBody>, Problem> {
    let mut scopes = Vec::with_capacity(Scope::ALL.len());
    for (index, scope) in body.scopes.iter().enumerate() {
        let parsed = scope.parse::<Scope>();
        let parsed = parsed.map_err(|error| Problem::invalid(&format!("/scopes/{index}"), error.to_string()))?;
        if !scopes.contains(&parsed) {
            scopes.push(parsed);
        }
    }
    let new = NewToken {
        name: body.name,
        repositories: body.repositories,
        scopes,
        ttl_s: body.ttl_s.unwrap_or(TTL_DEFAULT_S),
    };
    let issued = app.host.issue_registry_token(&actor, &new).await?;
    Ok(Created(IssuedBody { token: issued.secret, listed: TokenBody::of(issued.token) }))
}

async fn revoke(
    State(app): State<App>,
    Admin(actor): Admin,
    Named(RecordId(id)): Named<RecordId>,
) -> Result<StatusCode, Problem> {
    app.host.revoke_registry_token(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn collect(State(app): State<App>, Admin(actor): Admin) -> Result<Json<CollectedBody>, Problem> {
    Ok(Json(CollectedBody::of(app.host.collect_registry(&actor).await?)))
}
