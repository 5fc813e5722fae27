//! What every request passes: room for it, its trace id, the net under panics, the log line, the headers of every answer.
//! It knows no resource but where the gateway begins.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bulkhead_model::{Code, TraceId};
use futures_util::FutureExt as _;
use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::body::Arriving;
use super::place::Place;
use super::problem::Problem;
use super::{endpoint, gateway, health};
use crate::app::App;

/// The header that names the trace, in both directions of the host's making.
pub(super) const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: &str = "traceparent";

/// The way into the host.
pub(crate) struct Front {
    pub(crate) app: App,
    router: Router,
}

impl Front {
    pub(crate) fn new(app: App) -> Self {
        let router = endpoint::router(App::clone(&app));
        Self { app, router }
    }

    /// Answers a request. Whatever happens inside, it is answered.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        let trace = trace_of(request.headers());
        let (head, body) = request.into_parts();
        let body = Arriving::new(&head.headers, body);
        let mut response = if head.uri.path().starts_with(gateway::PREFIX) {
            self.call(trace, &head, body).await
        } else {
            self.act(trace, head, body).await
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Ok(trace) = HeaderValue::from_str(&trace.hex()) {
            headers.insert(TRACE_ID, trace);
        }
        response
    }

    /// A call into a plugin. It is dropped with its connection, and ends there.
    async fn call(&self, trace: TraceId, head: &Parts, mut body: Arriving<Incoming>) -> Response {
        let started = Instant::now();
        // Only when somebody looks closely: it is the hot path.
        let span =
            tracing::debug_span!("request", trace.id = %trace, http.method = %head.method, http.path = head.uri.path());
        let answered = async {
            let response = match self.app.requests.try_acquire() {
                Ok(_permit) => caught(trace, gateway::call(&self.app, trace, head, &mut body)).await,
                Err(_) => overloaded().into_response(),
            };
            let response = rendered(response, trace, Place::default());
            let status = response.status().as_u16();
            tracing::debug!(http.status = status, duration_us = micros(started), "answered a call");
            response
        };
        let response = answered.instrument(span).await;
        body.discard().await;
        response
    }

    /// Any other request. It goes on to its end when its client leaves: nothing is left half done.
    async fn act(&self, trace: TraceId, head: Parts, body: Arriving<Incoming>) -> Response {
        let started = Instant::now();
        let span =
            tracing::info_span!("request", trace.id = %trace, http.method = %head.method, http.path = head.uri.path());
        // Whether the host lives must be told also when it is full.
        let is_probe = health::PROBES.contains(&head.uri.path());
        let permit = Arc::clone(&self.app.requests).try_acquire_owned();
        let place = Place::of(&self.app.host, &head, trace);
        let (body, returned) = body.lend();
        let mut request = Request::from_parts(head, Body::new(body));
        request.extensions_mut().insert(trace);
        let router = self.router.clone();

        let answered = async move {
            let response = match permit {
                Err(_) if !is_probe => {
                    drop(request);
                    overloaded().into_response()
                }
                _held => caught(trace, router.oneshot(request).map(|Ok(response)| Ok(response))).await,
            };
            let response = rendered(response, trace, place);
            let status = response.status().as_u16();
            tracing::info!(http.status = status, duration_us = micros(started), "answered a request");
            response
        };
        let response = self.app.tasks.spawn(answered.instrument(span)).await;
        if let Ok(body) = returned.await {
            body.discard().await;
        }
        response.unwrap_or_else(|_| rendered(Problem::new(Code::Draining, "").into_response(), trace, Place::default()))
    }
}

/// The answer, also when finding it panics.
async fn caught(trace: TraceId, answer: impl Future<Output = Result<Response, Problem>>) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(answered) => answered.unwrap_or_else(Problem::into_response),
        Err(panic) => {
            tracing::error!(trace.id = %trace, panic = panic_text(panic.as_ref()), "answering a request panicked");
            Problem::new(Code::Internal, "").into_response()
        }
    }
}

fn overloaded() -> Problem {
    Problem::new(Code::Overloaded, "the host answers as many requests as it may")
}

/// A problem as the document that the client sees, logged and counted; any other answer as it is.
fn rendered(mut response: Response, trace: TraceId, place: Place) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let problem = problem.at(place);
    problem.log(&trace);
    problem.count();
    problem.render(&trace, response.headers_mut().remove(ALLOW))
}

/// The trace that the caller is in, or a new one.
fn trace_of(headers: &HeaderMap) -> TraceId {
    let named = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceId::from_traceparent);
    named.unwrap_or_else(bulkhead_host::random_trace)
}

fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_tells_nothing() {
        let trace = TraceId::from_random([7; 16]);

        let response = rendered(caught(trace, async { panic!("secret") }).await, trace, Place::default());

        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
