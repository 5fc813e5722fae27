//! `/v2/`: the OCI distribution protocol's HTTP face. It reads a request into the registry's terms, asks the registry, and
//! writes the answer; the only place that gives the protocol's codes a status.
//! What may be pushed or pulled by whom is the registry's to decide.

mod blobs;
mod manifests;
mod uploads;

use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bulkhead_host::Error as HostError;
use bulkhead_model::Actor;
use bulkhead_oci::{Caller, Error, ErrorCode, RepositoryName, Target};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::app::App;

/// Says that the protocol is spoken here.
const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
/// Digest of what is answered.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Seconds after which a client that was told to wait may try again.
const RETRY_AFTER_S: u64 = 5;
/// Longest `Authorization` in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 1_024;

/// The router of the protocol, and of the document by which wasm's own clients find it.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*path}", any(answer))
        .route("/.well-known/wasm-pkg/registry.json", get(wasm_pkg))
}

/// A request whose caller is known.
struct Asked<'a> {
    app: &'a App,
    caller: Caller,
    head: Parts,
    query: Query,
}

/// What the protocol's queries can say; anything else is ignored, as the protocol has it.
#[derive(Debug, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn of(head: &Parts) -> Self {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
        Self(pairs.map(|pairs| pairs.0).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

async fn answer(State(app): State<App>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut response = match asked(&app, head).await {
        Ok((asked, target)) => match dispatch(asked, target, body).await {
            Ok(response) => response,
            Err(error) => refused(error),
        },
        Err(refusal) => refusal,
    };
    let (name, value) = API_VERSION;
    response.headers_mut().insert(name, value);
    response
}

/// Who asks for what, within its rate.
async fn asked(app: &App, head: Parts) -> Result<(Asked<'_>, Target), Response> {
    let known = match secret(&head.headers) {
        Ok(secret) => app.host.registry().authenticate(secret.as_deref()).await,
        Err(error) => Err(error),
    };
    // Those whose token is none share one account with those who have none.
    let account = match &known {
        Ok(Caller::Token(token)) => token.id.as_str(),
        Ok(Caller::Anonymous) | Err(_) => "",
    };
    if let Err(wait) = take_rate(app, account) {
        let mut response = refused(Error::refused(ErrorCode::TooManyRequests, "too many requests"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
        return Err(response);
    }
    let caller = known.map_err(refused)?;
    let path = below(head.uri.path());
    let target = Target::parse(&path).map_err(|error| {
        // Who is nobody learns nothing, not even that a name is malformed.
        refused(app.host.registry().greet(&caller).err().unwrap_or(error))
    })?;
    let query = Query::of(&head);
    Ok((Asked { app, caller, head, query }, target))
}

/// Takes one request of a token, by its id, or says how long to wait.
pub(super) fn take_rate(app: &App, token_id: &str) -> Result<(), Duration> {
    let subject = Actor { subject: format!("registry:{token_id}"), ..Actor::system() };
    app.registry_rates.take(&subject, Instant::now())
}

/// The part of a path behind `/v2/`. Clients may encode the colon of a digest.
fn below(path: &str) -> String {
    let rest = path.strip_prefix("/v2").unwrap_or(path);
    rest.strip_prefix('/').unwrap_or(rest).replace("%3A", ":").replace("%3a", ":")
}

async fn dispatch(asked: Asked<'_>, target: Target, body: Body) -> Result<Response, Error> {
    let method = asked.head.method.clone();
    match target {
        Target::Base => match method {
            Method::GET | Method::HEAD => {
                asked.app.host.registry().greet(&asked.caller)?;
                Ok(Json(serde_json::json!({})).into_response())
            }
            _ => Ok(not_allowed("GET, HEAD")),
        },
        Target::Uploads(name) => match method {
            Method::POST => uploads::begin(asked, name, body).await,
            _ => Ok(not_allowed("POST")),
        },
        Target::Upload(name, id) => match method {
            Method::GET | Method::HEAD => uploads::status(asked, name, &id).await,
            Method::PATCH => uploads::append(asked, name, &id, body).await,
            Method::PUT => uploads::finish(asked, name, &id, body).await,
            Method::DELETE => uploads::cancel(asked, name, &id).await,
            _ => Ok(not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
        },
        Target::Blob(name, digest) => match method {
            Method::GET | Method::HEAD => blobs::fetch(asked, name, &digest).await,
            Method::DELETE => blobs::remove(asked, name, &digest).await,
            _ => Ok(not_allowed("GET, HEAD, DELETE")),
        },
        Target::Manifest(name, reference) => match method {
            Method::GET | Method::HEAD => manifests::fetch(asked, name, &reference).await,
            Method::PUT => manifests::push(asked, name, &reference, body).await,
            Method::DELETE => manifests::remove(asked, name, &reference).await,
            _ => Ok(not_allowed("GET, HEAD, PUT, DELETE")),
        },
        Target::Tags(name) => match method {
            Method::GET | Method::HEAD => manifests::tags(asked, name).await,
            _ => Ok(not_allowed("GET, HEAD")),
        },
        Target::Referrers(name, digest) => match method {
            Method::GET | Method::HEAD => manifests::referrers(asked, name, &digest).await,
            _ => Ok(not_allowed("GET, HEAD")),
        },
    }
}

/// The secret of a request: a bearer token, or the password of anybody.
pub(super) fn secret(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let malformed = || Error::refused(ErrorCode::Unauthorized, "the `Authorization` header is malformed");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Of two, who stands before this host may have looked at the other.
    if values.next().is_some() {
        return Err(malformed());
    }
    if value.len() > AUTHORIZATION_BYTES_MAX {
        return Err(malformed());
    }
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let decoded = data_encoding::BASE64.decode(rest.as_bytes()).map_err(|_| malformed())?;
    let text = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (_, password) = text.split_once(':').ok_or_else(malformed)?;
    Ok(Some(password.to_owned()))
}

/// The protocol's own form of a failure.
#[derive(Serialize)]
struct Errors<'a> {
    errors: [ErrorBody<'a>; 1],
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
    detail: Option<serde_json::Value>,
}

/// A failure on its way out. One of the host's own becomes a problem, logged with its trace.
fn refused(error: Error) -> Response {
    let Some(code) = error.code() else {
        return Problem::from(HostError::from(error)).into_response();
    };
    let detail = match &error {
        Error::OutOfOrder { size_bytes } | Error::OutOfRange { size_bytes } => {
            Some(serde_json::json!({ "size_bytes": size_bytes }))
        }
        Error::Barred { reasons } => Some(serde_json::json!({ "reasons": reasons })),
        Error::TooLarge { bytes_max } => Some(serde_json::json!({ "bytes_max": bytes_max })),
        _ => None,
    };
    let body = Errors { errors: [ErrorBody { code: code.as_str(), message: &error.to_string(), detail }] };
    let mut response = (status(&error, code), Json(body)).into_response();
    let headers = response.headers_mut();
    match code {
        // A bearer challenge would send clients to a token server; they all know how to send a password.
        ErrorCode::Unauthorized => {
            metrics::counter!("bulkhead_denied_total", "reason" => "registry-unauthorized").increment(1);
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bulkhead registry\""));
        }
        ErrorCode::Denied => metrics::counter!("bulkhead_denied_total", "reason" => "registry-denied").increment(1),
        ErrorCode::TooManyRequests => {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        _ => {}
    }
    if let Error::OutOfRange { size_bytes } = error
        && let Ok(value) = HeaderValue::try_from(format!("bytes */{size_bytes}"))
    {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    response
}

fn status(error: &Error, code: ErrorCode) -> StatusCode {
    match error {
        Error::TooLarge { .. } => return StatusCode::PAYLOAD_TOO_LARGE,
        Error::OutOfOrder { .. } | Error::OutOfRange { .. } => return StatusCode::RANGE_NOT_SATISFIABLE,
        Error::Refused { .. } | Error::Barred { .. } | Error::Database(_) | Error::Random(_) | Error::Check(_) => {}
    }
    match code {
        ErrorCode::BlobUnknown
        | ErrorCode::BlobUploadUnknown
        | ErrorCode::ManifestBlobUnknown
        | ErrorCode::ManifestUnknown
        | ErrorCode::NameUnknown => StatusCode::NOT_FOUND,
        ErrorCode::BlobUploadInvalid
        | ErrorCode::DigestInvalid
        | ErrorCode::ManifestInvalid
        | ErrorCode::NameInvalid
        | ErrorCode::SizeInvalid => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Denied => StatusCode::FORBIDDEN,
        ErrorCode::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn not_allowed(allow: &'static str) -> Response {
    let mut response = refused(Error::refused(ErrorCode::Unsupported, "this path does not take this method"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// An empty answer.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// Sets a header whose value is made of parsed names and numbers.
fn set(response: &mut Response, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
}

/// 201, with the place of what was made and its digest.
fn created(name: &RepositoryName, kind: &str, digest: &str) -> Response {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, format!("/v2/{name}/{kind}/{digest}"));
    set(&mut response, CONTENT_DIGEST, digest);
    response
}

/// By which wasm's own clients find the protocol.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WasmPkg {
    preferred_protocol: String,
    oci: WasmPkgOci,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WasmPkgOci {
    /// Host and port.
    registry: String,
    namespace_prefix: String,
}

async fn wasm_pkg(State(app): State<App>, headers: HeaderMap) -> Response {
    let configured = app.public_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
    let public = configured.and_then(|url| url.authority().map(ToString::to_string));
    let named = || headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let document = WasmPkg {
        preferred_protocol: "oci".to_owned(),
        oci: WasmPkgOci { registry: public.unwrap_or_else(named), namespace_prefix: String::new() },
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code with the status that the protocol gives it, written down a second time.
    const STATUSES: [(u16, &str); 7] = [
        (400, "BLOB_UPLOAD_INVALID DIGEST_INVALID MANIFEST_INVALID NAME_INVALID SIZE_INVALID"),
        (401, "UNAUTHORIZED"),
        (403, "DENIED"),
        (404, "BLOB_UNKNOWN BLOB_UPLOAD_UNKNOWN MANIFEST_BLOB_UNKNOWN MANIFEST_UNKNOWN NAME_UNKNOWN"),
        (405, "UNSUPPORTED"),
        (413, ""),
        (429, "TOOMANYREQUESTS"),
    ];

    #[test]
    fn every_code_of_the_protocol_has_its_status() {
        for code in ErrorCode::ALL {
            let wanted = STATUSES.iter().find(|(_, list)| list.split(' ').any(|listed| listed == code.as_str()));
            let response = refused(Error::refused(code, "x"));

            assert_eq!(Some(response.status().as_u16()), wanted.map(|(status, _)| *status), "{code:?}");
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), code == ErrorCode::Unauthorized);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), code == ErrorCode::TooManyRequests);
        }
        assert_eq!(refused(Error::TooLarge { bytes_max: 1 }).status(), 413);
        assert_eq!(refused(Error::OutOfOrder { size_bytes: 1 }).status(), 416);
        assert_eq!(refused(Error::OutOfRange { size_bytes: 1 }).status(), 416);
    }

    #[test]
    fn a_path_loses_the_protocols_beginning_once() {
        let check = |path: &str, wanted: &str| assert_eq!(below(path), wanted, "{path}");

        check("/v2", "");
        check("/v2/", "");
        check("/v2/v2/app/tags/list", "v2/app/tags/list");
        check("/v2//a/tags/list", "/a/tags/list");
        check("/v2/a/blobs/sha256%3Ab", "a/blobs/sha256:b");
    }

    #[test]
    fn a_secret_is_a_bearer_token_or_anybodys_password() {
        let check = |header: &str, wanted: Result<Option<&str>, ()>| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(header).unwrap())]);
            let found = secret(&headers);
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(|_| ()), wanted, "{header}");
        };

        check("Bearer bkr_1", Ok(Some("bkr_1")));
        check("bearer  bkr_1", Ok(Some("bkr_1")));
        check(&format!("Basic {}", data_encoding::BASE64.encode(b"anna:bkr_1")), Ok(Some("bkr_1")));
        check(&format!("Basic {}", data_encoding::BASE64.encode(b":a:b")), Ok(Some("a:b")));
        check(&format!("Basic {}", data_encoding::BASE64.encode(b"nocolon")), Err(()));
        check("Basic ???", Err(()));
        check("Digest x", Err(()));
        check("x", Err(()));
        check(&"B".repeat(2_000), Err(()));
        assert_eq!(secret(&HeaderMap::new()).unwrap(), None);
    }
}
