//! What every request passes: room for it, its trace id, the net under panics, the log line, the headers of every answer.
//! It knows no resource but where the gateway begins.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bulkhead_model::{Code, TraceId};
use futures_util::FutureExt as _;
use http::header::{ALLOW, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use tracing::Instrument as _;

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
        let started = Instant::now();
        let trace = trace_of(request.headers());
        let is_call = request.uri().path().starts_with(gateway::PREFIX);
        // A call into a plugin gets a span only when somebody looks closely: it is the hot path.
        let span = if is_call {
            tracing::debug_span!("request", trace.id = %trace, http.method = %request.method(), http.path = request.uri().path())
        } else {
            tracing::info_span!("request", trace.id = %trace, http.method = %request.method(), http.path = request.uri().path())
        };
        let answered = async {
            let mut response = self.dispatch(is_call, trace, request).await;
            if let Some(problem) = response.extensions_mut().remove::<Problem>() {
                problem.log(&trace);
                problem.count();
                response = problem.render(&trace, response.headers_mut().remove(ALLOW));
            }
            log(is_call, &response, started);
            response
        };
        let mut response = answered.instrument(span).await;
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(trace) = HeaderValue::from_str(&trace.hex()) {
            headers.insert(TRACE_ID, trace);
        }
        response
    }

    async fn dispatch(&self, is_call: bool, trace: TraceId, request: Request<Incoming>) -> Response {
        // Whether the host lives must be told also when it is full.
        let is_probe = health::PROBES.contains(&request.uri().path());
        let permit = self.app.requests.try_acquire();
        if permit.is_err() && !is_probe {
            return problem(Problem::new(Code::Overloaded, "the host answers as many requests as it may"));
        }
        let answered = async {
            if is_call {
                return gateway::call(&self.app, trace, request).await.unwrap_or_else(problem);
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(trace);
            match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        match AssertUnwindSafe(answered).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                tracing::error!(trace.id = %trace, panic = panic_text(panic.as_ref()), "answering a request panicked");
                problem(Problem::new(Code::Internal, ""))
            }
        }
    }
}

fn problem(problem: Problem) -> Response {
    use axum::response::IntoResponse as _;
    problem.into_response()
}

/// The trace that the caller is in, or a new one.
fn trace_of(headers: &HeaderMap) -> TraceId {
    let named = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceId::from_traceparent);
    named.unwrap_or_else(bulkhead_host::random_trace)
}

fn log(is_call: bool, response: &Response, started: Instant) {
    let status = response.status().as_u16();
    if is_call {
        tracing::debug!(http.status = status, duration_us = micros(started), "answered a call");
    } else {
        tracing::info!(http.status = status, duration_us = micros(started), "answered a request");
    }
}

fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}
