//! Failures as problem documents (RFC 9457): the one map from a kind of failure to a status.
//! Text of a failure that is the host's own never gets in: it is logged, and the trace id leads to it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bulkhead_host::{Error, Located};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Code, Coded, Kind, PluginId, TenantId, TraceId};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::place::Place;

/// Retry time in milliseconds where nothing better is known.
const RETRY_AFTER_MS: u64 = 1_000;

/// A failure on its way out. It becomes a response where the trace id is known: `Front` renders it.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Arc<Failure>);

#[derive(Debug)]
struct Failure {
    code: Code,
    status: StatusCode,
    detail: String,
    issues: Vec<Issue>,
    plugin: Option<PluginId>,
    tenant: Option<TenantId>,
    retry_after_ms: Option<u64>,
    allow: Option<String>,
    cause: Option<Error>,
}

/// A problem document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemDocument<'a> {
    /// `/problems/{code}`, which says what to do.
    #[serde(rename = "type")]
    kind: String,
    /// The code in one line.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened here.
    detail: &'a str,
    /// Stable code.
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'a str,
    /// Trace id, 32 hex digits, also in `X-Trace-ID`.
    trace_id: String,
    /// Plugin that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    /// Tenant that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    /// Every problem of the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemIssue<'a>>,
}

/// One problem of the input.
#[derive(Debug, Serialize, JsonSchema)]
struct ProblemIssue<'a> {
    /// JSON pointer of the value; empty for the whole document.
    pointer: &'a str,
    /// What is wrong.
    message: &'a str,
}

impl Problem {
    /// A failure that the HTTP face finds by itself.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::of(Failure {
            code,
            status: status(code.kind()),
            detail: detail.into(),
            issues: Vec::new(),
            plugin: None,
            tenant: None,
            retry_after_ms: None,
            allow: None,
            cause: None,
        })
    }

    /// Input that is wrong at `pointer`.
    pub(crate) fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        let issues = vec![Issue::new(pointer, message)];
        Error::Invalid { code: Code::InvalidInput, issues }.into()
    }

    /// A failure that may be tried again after this time.
    pub(crate) fn retry_after(code: Code, detail: impl Into<String>, wait: std::time::Duration) -> Self {
        let mut failure = Self::new(code, detail);
        if let Some(inner) = Arc::get_mut(&mut failure.0) {
            inner.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        }
        failure
    }

    fn of(failure: Failure) -> Self {
        Self(Arc::new(failure))
    }

    /// With the plugin and the tenant of the request, where the failure names none itself.
    pub(super) fn at(mut self, place: Place) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.plugin = failure.plugin.take().or(place.plugin);
            failure.tenant = failure.tenant.take().or(place.tenant);
        }
        self
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The response. `allow` are the methods of the path, where the router found them.
    pub(crate) fn render(&self, trace: &TraceId, allow: Option<HeaderValue>) -> Response {
        let failure = &*self.0;
        let status = self.status();
        let detail = if failure.detail.is_empty() { failure.code.action() } else { &failure.detail };
        let document = ProblemDocument {
            kind: format!("/problems/{}", failure.code),
            title: failure.code.title(),
            status: status.as_u16(),
            detail,
            code: failure.code.as_str(),
            trace_id: trace.hex(),
            plugin: failure.plugin.as_ref().map(PluginId::as_str),
            tenant: failure.tenant.as_ref().map(TenantId::as_str),
            errors: failure
                .issues
                .iter()
                .map(|issue| ProblemIssue { pointer: &issue.pointer, message: &issue.message })
                .collect(),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        self.set_headers(response.headers_mut(), allow);
        response
    }

    fn set_headers(&self, headers: &mut HeaderMap, allow: Option<HeaderValue>) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let named = self.0.allow.as_deref().map(HeaderValue::from_str);
        if let Some(allow) = named.and_then(Result::ok).or(allow) {
            headers.insert(ALLOW, allow);
        }
        if self.0.code.kind() == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bulkhead\""));
        }
    }

    /// Seconds, rounded up. What would fail again names none.
    fn retry_after_s(&self) -> Option<u64> {
        match self.0.code.kind() {
            Kind::Busy | Kind::TooMany => Some(self.0.retry_after_ms.unwrap_or(RETRY_AFTER_MS).div_ceil(1_000).max(1)),
            _ => None,
        }
    }

    /// Writes a failure of the host's or a plugin's own to the log, once and with every cause.
    pub(crate) fn log(&self, trace: &TraceId) {
        let failure = &*self.0;
        let place = (failure.plugin.as_ref().map(PluginId::as_str), failure.tenant.as_ref().map(TenantId::as_str));
        let cause = || failure.cause.as_ref().map_or_else(|| failure.detail.clone(), chain);
        match failure.code.kind() {
            Kind::Failed | Kind::Busy if matches!(failure.code, Code::Internal | Code::DatabaseUnavailable) => {
                tracing::error!(trace.id = %trace, code = %failure.code, plugin.id = place.0, tenant.id = place.1, error = cause(), "a request failed");
            }
            Kind::Failed | Kind::BadGateway | Kind::Exhausted | Kind::Deadline => {
                tracing::warn!(trace.id = %trace, code = %failure.code, plugin.id = place.0, tenant.id = place.1, error = cause(), "a plugin failed a request");
            }
            _ => {
                tracing::debug!(trace.id = %trace, code = %failure.code, plugin.id = place.0, tenant.id = place.1, error = cause(), "a request was refused");
            }
        }
    }

    /// Counts who was denied. Refusals of artifacts are counted where they are decided.
    pub(crate) fn count(&self) {
        let code = self.0.code;
        if matches!(code.kind(), Kind::Unauthenticated | Kind::Forbidden) && !code.is_refusal() {
            metrics::counter!("bulkhead_denied_total", "reason" => code.as_str()).increment(1);
        }
    }
}

/// The only place that chooses a status for a failure.
pub(crate) const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::BadGateway => StatusCode::BAD_GATEWAY,
        Kind::Busy | Kind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Deadline => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Whether a component trapped or broke a limit when it was tried. Nobody called it: what is wrong is the artifact, and
/// trying again does not help.
fn failed_its_trial(error: &Error) -> bool {
    let Error::Engine(error) = error else { return false };
    let code = error.code();
    code == Code::PluginFailed || matches!(code.kind(), Kind::Exhausted | Kind::Deadline)
}

impl From<Located> for Problem {
    fn from(Located { error, plugin, tenant }: Located) -> Self {
        let allow = match &error {
            Error::MethodNotAllowed(methods) => {
                Some(methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", "))
            }
            _ => None,
        };
        Self::of(Failure {
            code: error.code(),
            status: if failed_its_trial(&error) { status(Kind::Invalid) } else { status(error.code().kind()) },
            detail: error.detail(),
            issues: error.issues(),
            plugin,
            tenant,
            retry_after_ms: error.retry_after_ms(),
            allow,
            cause: Some(error),
        })
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Located::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error and all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> TraceId {
        TraceId::from_random([7; 16])
    }

    /// The statuses of all codes, written down a second time: a code that moves breaks clients.
    const STATUSES: [(u16, &str); 16] = [
        (401, "unauthenticated"),
        (403, "unsigned unknown-signer bad-signature digest-mismatch expired revoked version-out-of-range"),
        (403, "threshold-not-met capability-over-ceiling forbidden-import role-required permission-denied"),
        (403, "hook-closed plugin-denied plugin-killed review-rejected self-review not-in-log outbound-refused"),
        (404, "not-found route-not-found unknown-hook"),
        (405, "method-not-allowed"),
        (
            409,
            "downgrade conflict refused-transition policy-stale migration-drift migration-failed view-broken dependency-unmet",
        ),
        (409, "pending-review registry-log-broken registry-key-missing"),
        (413, "too-large body-too-large"),
        (415, "unsupported-media-type"),
        (422, "manifest-mismatch incompatible-contract malformed compile-failed invalid-input tenant-required"),
        (422, "invalid-configuration plugin-error invalid-host-configuration policy-invalid"),
        (429, "rate-limited"),
        (500, "plugin-failed internal"),
        (502, "response-too-large outbound-failed"),
        (504, "deadline-exceeded"),
    ];
    /// 503 with a time to wait.
    const BUSY: &str = "plugin-unavailable breaker-open quarantined draining overloaded database-unavailable";
    /// 503 without: the same request would fail again.
    const EXHAUSTED: &str =
        "fuel-exhausted memory-exceeded stack-exhausted host-calls-exceeded handles-exceeded storage-full";

    #[test]
    fn every_code_has_the_status_of_the_reference() {
        let listed = |list: &str, code: &Code| list.split(' ').any(|listed| listed == code.as_str());
        for code in Code::ALL {
            let (is_busy, is_exhausted) = (listed(BUSY, code), listed(EXHAUSTED, code));
            let wanted = STATUSES.iter().find(|(_, list)| listed(list, code)).map(|(status, _)| *status);
            let wanted = wanted.or((is_busy || is_exhausted).then_some(503));

            let response = Problem::new(*code, "").render(&trace(), None);

            assert_eq!(Some(response.status().as_u16()), wanted, "{code}");
            let headers = response.headers();
            assert_eq!(headers.contains_key(RETRY_AFTER), is_busy || wanted == Some(429), "{code}");
            assert_eq!(headers.contains_key(WWW_AUTHENTICATE), wanted == Some(401), "{code}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        }
    }

    #[tokio::test]
    async fn a_problem_says_where_and_what() {
        let issues = vec![Issue::new("/data/a", "must be a string"), Issue::new("/data/b", "is missing")];
        let error = Error::Invalid { code: Code::InvalidConfiguration, issues };
        let problem = Problem::from(Located { error, plugin: "acme.crm".parse().ok(), tenant: "globex".parse().ok() });

        let response = problem.render(&trace(), None);

        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        insta::assert_json_snapshot!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), @r#"
        {
          "code": "invalid-configuration",
          "detail": "2 problem(s)",
          "errors": [
            {
              "message": "must be a string",
              "pointer": "/data/a"
            },
            {
              "message": "is missing",
              "pointer": "/data/b"
            }
          ],
          "plugin": "acme.crm",
          "status": 422,
          "tenant": "globex",
          "title": "The configuration does not satisfy its schema",
          "trace_id": "07070707070707070707070707070707",
          "type": "/problems/invalid-configuration"
        }
        "#);
    }

    #[test]
    fn a_wait_is_named_in_whole_seconds_rounded_up() {
        let seconds = |wait_ms| {
            let wait = std::time::Duration::from_millis(wait_ms);
            Problem::retry_after(Code::BreakerOpen, "", wait).render(&trace(), None).headers()[RETRY_AFTER].clone()
        };

        assert_eq!(seconds(1), "1");
        assert_eq!(seconds(1_000), "1");
        assert_eq!(seconds(1_001), "2");
    }

    #[tokio::test]
    async fn the_text_of_a_failure_of_the_host_stays_inside() {
        let source = std::io::Error::other("/var/secret/path");
        let problem = Problem::from(Error::File { path: "/var/secret/path".to_owned(), source });

        let response = problem.render(&trace(), None);

        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
        assert_eq!(chain(problem.0.cause.as_ref().unwrap()).matches("/var/secret/path").count(), 2);
    }

    #[test]
    fn a_method_that_is_not_there_names_those_that_are() {
        use bulkhead_model::manifest::Method;
        let problem = Problem::from(Error::MethodNotAllowed(vec![Method::Get, Method::Delete]));

        let response = problem.render(&trace(), None);

        assert_eq!(response.headers()[ALLOW], "GET, DELETE");
    }
}
