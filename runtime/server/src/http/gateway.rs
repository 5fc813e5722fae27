//! `ANY /api/plugins/{id}/{path}`: the way into plugins, and each plugin's pages that the host serves. The order of its
//! answers is the host's: 401, 404, 403 kill, 503, 404 and 405 route, 403 permission, 429, 413. No SQL, no router.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bulkhead_host::{AdmittedRoute, Caller, Error, Host, Located, RouteHead, RouteResponse, view};
use bulkhead_model::manifest::Method;
use bulkhead_model::{Code, TraceId};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::Problem;
use super::wire::{self, HealthBody};
use super::{body, extract, guest_headers};
use crate::app::App;

/// Where plugins' paths begin.
pub(super) const PREFIX: &str = "/api/plugins/";
/// Status codes that a plugin may answer.
const STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

/// Whether a plugin takes calls.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginReadiness")]
pub(super) struct ReadyBody {
    /// Whether it does.
    ready: bool,
}

/// Answers a request to a plugin.
pub(super) async fn call<B>(app: &App, trace: TraceId, head: &Parts, body: B) -> Result<Response, Problem>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let admitted = match enter(app, trace, head)? {
        Entered::Route(admitted) => admitted,
        Entered::Page(page, caller) => {
            let (plugin, _) = target(head.uri.path());
            return page.answer(&app.host, &caller, plugin).await;
        }
    };
    let deadline = Duration::from_millis(u64::from(admitted.body_deadline_ms()));
    let body = match body::read(&head.headers, body, admitted.body_bytes_max(), deadline).await {
        Ok(body) => body,
        Err(body::Unread::TooLarge) => return Err(admitted.body_too_large().into()),
        Err(unread) => return Err(unread.problem(admitted.body_bytes_max())),
    };
    answer(app.host.call_route(admitted, body).await?)
}

/// What a request's head leads to.
enum Entered {
    Route(AdmittedRoute),
    Page(Page, Caller),
}

/// Everything that is decided before the body.
fn enter(app: &App, trace: TraceId, head: &Parts) -> Result<Entered, Problem> {
    let query = head.uri.query();
    let caller = extract::caller(&app.host, &head.headers, query, trace)?;
    let (plugin, path) = target(head.uri.path());
    if let Some(page) = Page::at(path) {
        return match head.method {
            http::Method::GET | http::Method::HEAD => Ok(Entered::Page(page, caller)),
            _ => Err(not_a_method_of_pages(&app.host, &caller, plugin)),
        };
    }
    let route = RouteHead {
        method: head.method.as_str().to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: guest_headers::to_guest(&head.headers, &caller),
    };
    admit(&app.host, &caller, plugin, route).map(Entered::Route)
}

/// 405, unless something comes before it in the order of answers.
fn not_a_method_of_pages(host: &Host, caller: &Caller, plugin: &str) -> Problem {
    let located = host.admit_route(caller, plugin, nowhere()).err().unwrap_or(Error::RouteNotFound.into());
    let error = match located.error {
        Error::RouteNotFound => Error::MethodNotAllowed(vec![Method::Get, Method::Head]),
        earlier => earlier,
    };
    Located { error, ..located }.into()
}

/// A head that leads to no route: no template has this path. It finds what comes before the route in the order of answers.
fn nowhere() -> RouteHead {
    RouteHead { method: String::new(), path: "//".to_owned(), query: None, headers: Vec::new() }
}

/// Plugin and path below it, as sent: nothing is decoded.
fn target(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

/// `HEAD` is answered by a route of its own or by that of `GET`; the connection leaves the body out.
fn admit(host: &Host, caller: &Caller, plugin: &str, head: RouteHead) -> Result<AdmittedRoute, Problem> {
    if !is_straight(&head.path) {
        // What a plugin would resolve differently than a proxy before it can be no route.
        return Ok(host.admit_route(caller, plugin, nowhere())?);
    }
    if head.method != Method::Head.as_str() {
        return Ok(host.admit_route(caller, plugin, head)?);
    }
    match host.admit_route(caller, plugin, head.clone()) {
        Err(Located { error: Error::MethodNotAllowed(methods), .. }) if methods.contains(&Method::Get) => {
            Ok(host.admit_route(caller, plugin, RouteHead { method: Method::Get.as_str().to_owned(), ..head })?)
        }
        admitted => Ok(admitted?),
    }
}

/// Whether no segment is `.` or `..` and no byte is NUL or a backslash, percent-encoded or not.
fn is_straight(path: &str) -> bool {
    let dots = |segment: &str| {
        let bytes = segment.as_bytes();
        let mut rest = bytes;
        let mut count = 0_u32;
        while !rest.is_empty() {
            rest = match rest {
                [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => tail,
                _ => return false,
            };
            count = count.saturating_add(1);
        }
        matches!(count, 1 | 2)
    };
    let bytes = path.as_bytes();
    let odd = bytes.contains(&b'\\')
        || bytes.contains(&0)
        || bytes.windows(3).any(|three| matches!(three, b"%00" | [b'%', b'5', b'c' | b'C']));
    !odd && !path.split('/').any(dots)
}

/// The guest's answer, as far as it is the guest's to give.
fn answer(answered: RouteResponse) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answered.status).ok().filter(|status| STATUSES.contains(&status.as_u16()));
    let status =
        status.ok_or_else(|| Problem::new(Code::PluginFailed, "the plugin answered a status outside 200 to 599"))?;
    let headers = guest_headers::to_client(answered.headers)?;
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(if has_body { Body::from(answered.body) } else { Body::empty() });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What the host serves below every plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Health,
    Ready,
    OpenApi,
    Metrics,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/openapi.json" => Some(Self::OpenApi),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    async fn answer(self, host: &Host, caller: &Caller, plugin: &str) -> Result<Response, Problem> {
        Ok(match self {
            Self::Health => {
                let health = host.plugin_health(caller, plugin).await?;
                (served(health.healthy), axum::Json(HealthBody::of(plugin, &caller.tenant, &health))).into_response()
            }
            Self::Ready => {
                let view::PluginHealth { ready, .. } = host.plugin_health(caller, plugin).await?;
                (served(ready), axum::Json(ReadyBody { ready })).into_response()
            }
            Self::OpenApi => axum::Json(host.plugin_openapi(caller, plugin).await?).into_response(),
            Self::Metrics => ([(CONTENT_TYPE, wire::PROMETHEUS)], host.plugin_metrics(caller, plugin)?).into_response(),
        })
    }
}

fn served(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_after_the_plugin_and_kept_as_sent() {
        assert_eq!(target("/api/plugins/acme.crm"), ("acme.crm", "/"));
        assert_eq!(target("/api/plugins/acme.crm/"), ("acme.crm", "/"));
        assert_eq!(target("/api/plugins/acme.crm/deals/a%2Fb"), ("acme.crm", "/deals/a%2Fb"));
        assert_eq!(target("/api/plugins/acme.crm//x"), ("acme.crm", "//x"));
        assert_eq!(target("/api/plugins/"), ("", "/"));
    }

    #[test]
    fn a_path_that_climbs_is_no_route() {
        for straight in ["/", "/deals/7", "/a.b", "/...", "/a%2Fb", "/.well-known/x", "/%2e%2e%2e", "//"] {
            assert!(is_straight(straight), "{straight}");
        }
        for crooked in ["/..", "/a/../b", "/./a", "/%2e%2E/a", "/.%2e", "/a/%2e", "/a%00", "/a\\b", "/a%5cb"] {
            assert!(!is_straight(crooked), "{crooked}");
        }
    }

    fn answered(status: u16, body: &str) -> Result<Response, Problem> {
        answer(RouteResponse { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
    }

    #[test]
    fn only_a_final_status_is_an_answer() {
        for status in [200, 204, 302, 404, 500, 599] {
            assert_eq!(answered(status, "").unwrap().status().as_u16(), status);
        }
        for status in [0, 100, 101, 199, 600, 999, 1_000] {
            assert_eq!(answered(status, "").unwrap_err().code(), Code::PluginFailed, "{status}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_has_no_body_loses_the_guests() {
        let length =
            async |status| axum::body::to_bytes(answered(status, "text").unwrap().into_body(), 10).await.unwrap().len();

        assert_eq!(length(200).await, 4);
        assert_eq!(length(204).await, 0);
        assert_eq!(length(304).await, 0);
    }
}
