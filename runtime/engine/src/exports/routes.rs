//! `routes`: an HTTP request that the host has authenticated, permitted and matched.
//! It knows no router; headers that the host owns are dropped by the server.

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_bindings::exports::bulkhead::plugin::routes;
use bulkhead_model::Entry;

use crate::call::CallError;
use crate::component::Exports;
use crate::exports::{Export, pairs_bytes};
use crate::instance::Instance;

/// Headers of a response.
const HEADERS_MAX: usize = 128;
/// Bytes of all headers of a response together.
const HEADERS_BYTES_MAX: usize = 32 << 10;

/// A request as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRequest {
    /// Upper case, for example `GET`.
    pub method: String,
    /// Below the plugin's prefix, beginning with `/`.
    pub path: String,
    /// The declared template that matched.
    pub route: String,
    /// Parameters of the template.
    pub params: Vec<(String, String)>,
    /// Query without `?`.
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, already within the host's limit.
    pub body: Vec<u8>,
}

/// A response whose status and headers are legal HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteResponse {
    /// 100 to 599.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Body within the call's limit.
    pub body: Vec<u8>,
}

/// `routes.handle`.
pub(crate) struct Handle(pub(crate) RouteRequest);

impl Export for Handle {
    type Answer = RouteResponse;

    fn entry(&self) -> Entry {
        Entry::Route
    }

    fn missing(&self, exports: &Exports) -> Option<&'static str> {
        exports.routes.is_none().then_some("routes")
    }

    fn request_bytes(&self) -> usize {
        let request = &self.0;
        [request.method.len(), request.path.len(), request.route.len(), request.query.as_ref().map_or(0, String::len)]
            .into_iter()
            .sum::<usize>()
            .saturating_add(pairs_bytes(&request.params))
            .saturating_add(pairs_bytes(&request.headers))
            .saturating_add(request.body.len())
    }

    async fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> wasmtime::Result<Result<RouteResponse, types::PluginError>> {
        let request = &self.0;
        let (params, headers) = (pairs(&request.params), pairs(&request.headers));
        let request = routes::Request {
            method: &request.method,
            path: &request.path,
            route: &request.route,
            params: &params,
            query: request.query.as_deref(),
            headers: &headers,
            body: &request.body,
        };
        let (guest, store) = instance.routes()?;
        let answer = guest.call_handle(store, context, request).await?;
        Ok(answer.map(|response| RouteResponse {
            status: response.status,
            headers: response.headers,
            body: response.body,
        }))
    }

    fn response_bytes(answer: &RouteResponse) -> usize {
        answer.body.len()
    }

    fn check(answer: &RouteResponse) -> Result<(), CallError> {
        if !(100..=599).contains(&answer.status) {
            return Err(CallError::ResponseInvalid("the status is not 100 to 599"));
        }
        if answer.headers.len() > HEADERS_MAX || pairs_bytes(&answer.headers) > HEADERS_BYTES_MAX {
            return Err(CallError::ResponseInvalid("more than 128 headers or 32 KiB of them"));
        }
        for (name, value) in &answer.headers {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(CallError::ResponseInvalid("a header's name is not legal"));
            }
            if http::HeaderValue::from_str(value).is_err() {
                return Err(CallError::ResponseInvalid("a header's value is not legal"));
            }
        }
        Ok(())
    }
}

fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, headers: &[(&str, &str)], legal: bool) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = RouteResponse { status, headers, body: Vec::new() };
        assert_eq!(Handle::check(&response).is_ok(), legal, "{response:?}");
    }

    #[test]
    fn only_a_legal_response_leaves_the_engine() {
        check(200, &[("content-type", "text/plain")], true);
        check(100, &[], true);
        check(599, &[], true);
        check(99, &[], false);
        check(600, &[], false);
        check(0, &[], false);
        check(200, &[("a b", "x")], false);
        check(200, &[("", "x")], false);
        check(200, &[("x", "a\r\nset-cookie: b")], false);
        check(200, &[("x\r\ny", "a")], false);
        check(200, &[("x", "a"); 129], false);
        check(200, &[("x", &"a".repeat(33_000))], false);
    }
}
