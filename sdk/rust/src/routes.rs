//! The extension point `routes`: HTTP under `/api/plugins/{id}/`.
//! It does no routing: the host matched a declared route, and checked token and permission, before
//! the plugin is called.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};

use crate::bindings::routes::exports::bulkhead::plugin::routes as wire;
use crate::imports::types;
use crate::{Context, Export, PluginError};

pub use wire::{Request, Response};

/// Answers the routes that the manifest declares.
pub trait Routes: 'static {
    /// Answers one request, at most 1 s of wall time by default. Body and answer are at most 1 MiB;
    /// a larger answer is `response-too-large` for the caller.
    ///
    /// # Errors
    /// Each [`PluginError`] has its own status; see there.
    fn handle(ctx: &Context, request: &Request) -> Result<Response, PluginError>;
}

impl<T: Routes> wire::Guest for Export<T> {
    fn handle(ctx: Context, request: Request) -> Result<Response, types::PluginError> {
        Ok(T::handle(&ctx, &request)?)
    }
}

impl Request {
    /// A request as a test makes it: `GET` of a route without parameters.
    #[must_use]
    pub fn get(route: &str) -> Self {
        Self::of("GET", route)
    }

    /// A request as a test makes it. `route` is the declared template, for example `/deals/{id}`.
    #[must_use]
    pub fn of(method: &str, route: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: route.to_owned(),
            route: route.to_owned(),
            params: Vec::new(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same request with a value for a parameter of the template, also in its path.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: &str) -> Self {
        self.path = self.path.replace(&format!("{{{name}}}"), value);
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request with a query string, without its `?`.
    #[must_use]
    pub fn with_query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The value of a parameter of the matched template: `id` of `/deals/{id}`.
    ///
    /// # Errors
    /// `Internal` when the template has no such parameter.
    pub fn param(&self, name: &str) -> Result<&str, PluginError> {
        find(&self.params, |given| given == name)
            .ok_or_else(|| PluginError::internal(format!("route `{}` has no parameter `{name}`", self.route)))
    }

    /// The value of a parameter of the matched template, read as `T`.
    ///
    /// # Errors
    /// `InvalidInput` when it is not a `T`, `Internal` when the template has no such parameter.
    pub fn param_as<T: FromStr>(&self, name: &str) -> Result<T, PluginError> {
        parse(name, self.param(name)?)
    }

    /// The first value of a name in the query string, decoded.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs().find(|(given, _)| given == name).map(|(_, value)| value)
    }

    /// The first value of a name in the query string, read as `T`.
    ///
    /// # Errors
    /// `InvalidInput` when it is there and not a `T`.
    pub fn query_as<T: FromStr>(&self, name: &str) -> Result<Option<T>, PluginError> {
        self.query_value(name).map(|value| parse(name, &value)).transpose()
    }

    /// All names and values of the query string in their order, decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (String, String)> {
        let pairs = self.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, |given| given.eq_ignore_ascii_case(name))
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// `InvalidInput` that says where, when it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PluginError> {
        serde_json::from_slice(&self.body).map_err(|error| PluginError::invalid_input(format!("body: {error}")))
    }

    /// The body as text.
    ///
    /// # Errors
    /// `InvalidInput` when it is not UTF-8.
    pub fn text(&self) -> Result<&str, PluginError> {
        std::str::from_utf8(&self.body).map_err(|_| PluginError::invalid_input("body: not UTF-8"))
    }
}

impl Response {
    /// 200 with a JSON body.
    ///
    /// # Errors
    /// `Internal` when `value` has no JSON form.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, PluginError> {
        let body = serde_json::to_vec(value).map_err(|error| PluginError::internal(error.to_string()))?;
        Ok(Self::bytes("application/json", body))
    }

    /// 200 with a text body.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes("text/plain; charset=utf-8", text.into())
    }

    /// 200 with a body of this media type.
    #[must_use]
    pub fn bytes(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![("content-type".to_owned(), media_type.to_owned())], body: body.into() }
    }

    /// A status without a body, for example 204.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The same answer with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same answer with one header more. The host drops those that it owns (cookies, identity,
    /// connection).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn find(pairs: &[(String, String)], is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    pairs.iter().find(|(name, _)| is_wanted(name)).map(|(_, value)| value.as_str())
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T, PluginError> {
    value.parse().map_err(|_| PluginError::invalid_input(format!("`{name}` cannot be `{value}`")))
}

/// Decodes one part of a query string: `+` is a space, `%41` is `A`; what is not a valid escape
/// stays as it is.
fn decode(part: &str) -> String {
    let part: Cow<'_, str> = if part.contains('+') { part.replace('+', " ").into() } else { part.into() };
    let mut pieces = part.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let escaped = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(piece.as_bytes().get(2..).unwrap_or_default());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(piece.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_decoded() {
        check_query("q=a+b%20c", "q", Some("a b c"));
        check_query("q=%C3%A9%", "q", Some("é%"));
        check_query("q=%zz%4", "q", Some("%zz%4"));
        check_query("a=1&q=2&q=3", "q", Some("2"));
        check_query("q", "q", Some(""));
        check_query("%71=x", "q", Some("x"));
        check_query("&&", "q", None);
    }

    fn check_query(query: &str, name: &str, expected: Option<&str>) {
        let request = Request::get("/").with_query(query);
        assert_eq!(request.query_value(name).as_deref(), expected, "{query}");
    }

    #[test]
    fn a_parameter_that_is_not_of_its_type_is_the_callers_mistake() {
        let request = Request::get("/deals/{id}").with_param("id", "seven").with_query("page=x");

        assert_eq!(request.path, "/deals/seven");
        assert_eq!(request.param("id"), Ok("seven"));
        assert_eq!(request.param_as::<u32>("id"), Err(PluginError::invalid_input("`id` cannot be `seven`")));
        assert_eq!(request.query_as::<u32>("page"), Err(PluginError::invalid_input("`page` cannot be `x`")));
        assert_eq!(request.query_as::<u32>("size"), Ok(None));
    }

    #[test]
    fn a_parameter_that_the_route_lacks_is_the_plugins_mistake() {
        let error = Request::get("/deals").param("id").unwrap_err();

        assert!(matches!(error, PluginError::Internal(_)), "{error}");
    }

    #[test]
    fn a_body_that_is_not_the_wanted_json_says_where() {
        let request = Request::of("POST", "/deals").with_body("{\"a\": }");

        let error = request.json::<serde_json::Value>().unwrap_err();

        assert_eq!(error, PluginError::invalid_input("body: expected value at line 1 column 7"));
    }

    #[test]
    fn a_header_is_found_in_any_case() {
        let mut request = Request::get("/");
        request.headers.push(("X-Shape".to_owned(), "round".to_owned()));

        assert_eq!(request.header("x-shape"), Some("round"));
        assert_eq!(request.header("x-color"), None);
    }
}
