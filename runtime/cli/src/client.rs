//! Speaks to a host over HTTP: bounded waits, bounded answers, problems as typed errors.
//! It knows no path and no shape of an answer; the commands do.

use std::time::Duration;

use bulkhead_trust::bundle::MEDIA_TYPE as BUNDLE_MEDIA_TYPE;
use reqwest::header::{ACCEPT, CONTENT_TYPE, WARNING};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::args::Global;
use crate::error::Error;
use crate::problem::Problem;

/// Wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait for a whole answer; admission of the largest artifact is well within.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Wait for the answer to what the host asks others about, or admits several of.
const SLOW_TIMEOUT: Duration = Duration::from_secs(180);
/// Wait for a whole file, such as an archive; as long as a host takes to write one.
const FILE_TIMEOUT: Duration = Duration::from_secs(60 * 60 + 60);
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A host and the token to act with.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// A body that a host answered with, not a problem.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body; `null` when there is none.
    pub(crate) body: Value,
    /// What a registry warns of.
    pub(crate) warning: Option<String>,
}

impl Client {
    /// A client of the host that the command line names.
    pub(crate) fn new(global: &Global) -> Result<Self, Error> {
        Self::of(global.server.clone(), global.token.clone())
    }

    /// A client of the host at `server` that acts with `token`.
    pub(crate) fn of(server: Url, token: Option<String>) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable { server: server.to_string(), source };
        // An error means that it is installed already.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A redirect could carry the token somewhere else.
            .redirect(reqwest::redirect::Policy::none());
        if server.scheme() == "http" {
            // A machine without certificates can still speak without TLS.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&server) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(unreachable)?;
        Ok(Self { http, server, token })
    }

    /// Whether the token would cross a network in clear text.
    pub(crate) fn is_in_clear(&self) -> bool {
        self.token.is_some() && self.server.scheme() == "http" && !is_loopback(&self.server)
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        self.send(self.request(Method::GET, path, query)).await
    }

    /// `GET` of a document that is taken byte for byte.
    pub(crate) async fn get_bytes(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let response =
            self.request(Method::GET, path, query).send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        let bytes = self.body(response).await?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(Error::Problem(Box::new(Problem::read(status.as_u16(), &bytes))))
        }
    }

    /// `POST` with a JSON body.
    pub(crate) async fn post(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Result<Answer, Error> {
        self.send(self.request(Method::POST, path, query).json(body)).await
    }

    /// `PUT` with a body of JSON text.
    pub(crate) async fn put(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, Error> {
        let request = self.request(Method::PUT, path, query);
        self.send(request.header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// `PUT` with a body of any media type; the answer has no body.
    pub(crate) async fn put_as(&self, path: &str, media_type: &str, body: Vec<u8>) -> Result<Answer, Error> {
        self.send(self.request(Method::PUT, path, &[]).header(CONTENT_TYPE, media_type).body(body)).await
    }

    /// `POST` with bytes; the answer has no body.
    pub(crate) async fn upload(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, Error> {
        let request = self.request(Method::POST, path, query);
        self.send(request.header(CONTENT_TYPE, "application/octet-stream").body(body)).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Error> {
        self.send(self.request(Method::DELETE, path, query)).await
    }

    /// `POST` that is answered with a file; `each` takes its pieces as they come.
    pub(crate) async fn post_for_file(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.file(self.request(Method::POST, path, &[]), each).await
    }

    /// `GET` that is answered with a file; `each` takes its pieces as they come.
    pub(crate) async fn get_for_file(
        &self,
        path: &str,
        each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.file(self.request(Method::GET, path, &[]), each).await
    }

    async fn file(
        &self,
        request: RequestBuilder,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut response = request.timeout(FILE_TIMEOUT).send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if !status.is_success() {
            let bytes = self.body(response).await?;
            return Err(Error::Problem(Box::new(Problem::read(status.as_u16(), &bytes))));
        }
        while let Some(piece) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            each(&piece)?;
        }
        Ok(())
    }

    /// Sends an artifact and its signature bundles.
    pub(crate) async fn post_artifact(
        &self,
        path: &str,
        artifact: Vec<u8>,
        bundles: Vec<Vec<u8>>,
    ) -> Result<Answer, Error> {
        self.post_artifacts(path, vec![artifact], bundles).await
    }

    /// Sends several artifacts and the signature bundles of all of them.
    pub(crate) async fn post_artifacts(
        &self,
        path: &str,
        artifacts: Vec<Vec<u8>>,
        bundles: Vec<Vec<u8>>,
    ) -> Result<Answer, Error> {
        let request = self.request(Method::POST, path, &[]).multipart(self.form(artifacts, bundles)?);
        self.send(request.timeout(SLOW_TIMEOUT)).await
    }

    /// Sends an archive of releases.
    pub(crate) async fn post_archive(&self, path: &str, archive: Vec<u8>) -> Result<Answer, Error> {
        let request = self.request(Method::POST, path, &[]).header(CONTENT_TYPE, "application/x-tar");
        self.send(request.body(archive).timeout(SLOW_TIMEOUT)).await
    }

    /// `POST` with a JSON body, for what the host asks others about.
    pub(crate) async fn post_slow(&self, path: &str, body: &Value) -> Result<Answer, Error> {
        self.send(self.request(Method::POST, path, &[]).json(body).timeout(SLOW_TIMEOUT)).await
    }

    /// `GET` of a file of at most `bytes_max`, its query in `path`.
    pub(crate) async fn get_file(&self, path: &str, media_type: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.request(Method::GET, path, &[]).build().map_err(|source| self.unreachable(source))?;
        url.url_mut().set_query(query);
        url.headers_mut().insert(ACCEPT, media_type.parse().map_err(|_| self.answer("no media type".to_owned()))?);
        let response = self.http.execute(url).await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        let bytes = self.body_up_to(response, bytes_max).await?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(Error::Problem(Box::new(Problem::read(status.as_u16(), &bytes))))
    }

    /// Like [`Client::post_artifact`], but a problem is an answer like any other.
    pub(crate) async fn exchange_artifact(
        &self,
        path: &str,
        artifact: Vec<u8>,
        bundles: Vec<Vec<u8>>,
    ) -> Result<Answer, Error> {
        self.exchange_any(self.request(Method::POST, path, &[]).multipart(self.form(vec![artifact], bundles)?)).await
    }

    /// Sends any request, its query in `path`, and answers status and body, also of a problem.
    pub(crate) async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let request = self.request(method, path, &query);
        self.exchange_any(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    async fn exchange_any(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status().as_u16();
        let bytes = self.body(response).await?;
        let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()), warning: None })
    }

    fn form(&self, artifacts: Vec<Vec<u8>>, bundles: Vec<Vec<u8>>) -> Result<Form, Error> {
        let part = |bytes, media_type: &str, name: &'static str| {
            Part::bytes(bytes).file_name(name).mime_str(media_type).map_err(|source| self.unreachable(source))
        };
        let mut form = Form::new();
        for artifact in artifacts {
            form = form.part("artifact", part(artifact, "application/wasm", "artifact.wasm")?);
        }
        for bundle in bundles {
            form = form.part("bundle", part(bundle, BUNDLE_MEDIA_TYPE, "bundle.sigstore.json")?);
        }
        Ok(form)
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        // Below the server's own path, for a host behind a prefix.
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url).header(ACCEPT, "application/json");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        let warning = response.headers().get(WARNING).and_then(|value| value.to_str().ok()).map(unquoted);
        let bytes = self.body(response).await?;
        if !status.is_success() {
            return Err(Error::Problem(Box::new(Problem::read(status.as_u16(), &bytes))));
        }
        let body = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
        let body = body.map_err(|error| self.answer(format!("not JSON: {error}")))?;
        Ok(Answer { status: status.as_u16(), body, warning })
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, Error> {
        self.body_up_to(response, ANSWER_BYTES_MAX).await
    }

    async fn body_up_to(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(self.answer(format!("longer than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        // The address stands in the error already, and a query may hold what should not be shown.
        Error::Unreachable { server: self.server.to_string(), source: source.without_url() }
    }

    /// An answer of this host that is not understood.
    pub(crate) fn answer(&self, reason: String) -> Error {
        Error::Answer { server: self.server.to_string(), reason }
    }
}

/// The text of a `Warning` header, `299 - "text"`.
fn unquoted(header: &str) -> String {
    header.split_once('"').map_or(header, |(_, text)| text.trim_end_matches('"')).to_owned()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Client {
        Client::of(Url::parse(server).unwrap(), Some("token".to_owned())).unwrap()
    }

    #[test]
    fn a_token_in_clear_beyond_this_machine_is_noticed() {
        for here in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://plugins.example.com"] {
            assert!(!client(here).is_in_clear(), "{here}");
        }
        for beyond in ["http://10.0.0.1", "http://127.0.0.1.example.com", "http://localhost.example.com"] {
            assert!(client(beyond).is_in_clear(), "{beyond}");
        }
    }

    #[test]
    fn paths_lie_below_the_servers_own_and_queries_are_escaped() {
        let request =
            client("https://example.com/bulkhead/").request(Method::GET, "/api/v1/plugins", &[("a", "b&c=d")]);

        let request = request.build().unwrap();

        assert_eq!(request.url().as_str(), "https://example.com/bulkhead/api/v1/plugins?a=b%26c%3Dd");
        assert_eq!(request.headers()["authorization"], "Bearer token");
    }
}
