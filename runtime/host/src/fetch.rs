//! What the host asks of other servers: one bounded client, whose addresses are checked before they are connected to and
//! whose redirects are followed by hand. It knows no document that it fetches, and no credential but those that it is given.

mod address;

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use bulkhead_model::{Code, Coded};
use bytes::Bytes;
pub use reqwest::Url;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout, timeout_at};

pub use address::{InvalidPlace, Place, Range};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// Longest address in bytes; those that are signed for a download are long.
const URL_BYTES_MAX: usize = 8 << 10;
/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 32;
/// Wait for a name to be resolved, and for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait for the next bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// The port of HTTP.
const HTTP_PORT: u16 = 80;
/// Headers of an answer.
const HEADERS_MAX: usize = 128;

/// Exceptions that an operator makes for outbound requests, and whom to trust.
#[derive(Clone, Debug, Default)]
pub struct OutboundConfig {
    /// Places that may be on private addresses or this machine. None by default.
    pub allow_private: Vec<Place>,
    /// Places that may be spoken to without TLS. None by default.
    pub allow_http: Vec<Place>,
    /// Certificates in PEM of authorities that are trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// The host's client.
pub struct Outbound {
    config: OutboundConfig,
    authorities: Vec<CertificateDer<'static>>,
    /// Made at the first request: it reads the system's authorities.
    tls: OnceLock<ClientConfig>,
}

/// A request. Headers other than `Accept` do not follow a redirect to another origin.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method; only an answer to `GET` or `HEAD` is followed elsewhere.
    pub method: Method,
    /// Where; without user and password.
    pub url: Url,
    /// Headers. A credential is marked sensitive by [`Request::authorized`].
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Largest body of an answer, in bytes.
    pub bytes_max: usize,
    /// Time for everything, redirects and the body of the answer included.
    pub deadline: Duration,
}

impl Request {
    /// A `GET` of `url` whose answer has at most `bytes_max` bytes and is whole within `deadline`.
    pub fn get(url: Url, bytes_max: usize, deadline: Duration) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new(), bytes_max, deadline }
    }

    /// The same with these media types wanted.
    pub fn accepting(mut self, media_types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(media_types));
        self
    }

    /// The same with an `Authorization`, which is never logged. One that is no header's value is left out.
    pub fn authorized(mut self, authorization: Option<&str>) -> Self {
        if let Some(mut value) = authorization.and_then(|value| HeaderValue::from_str(value).ok()) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }
}

/// An answer whose body is read by and by.
#[derive(Debug)]
pub struct Response {
    /// Its status; a redirect that could not be followed is an error instead.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    body: reqwest::Response,
    bytes_left: usize,
    bytes_max: usize,
    until: Instant,
}

/// Why there is no answer. Texts name a host and never what follows it in an address: that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none that can be asked.
    #[error("`{url}` is no address to fetch from: {reason}")]
    InvalidUrl {
        /// The address, or as much of it as may be told.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The host's rules forbid the address.
    #[error("`{host}` is not asked: {reason}; {next}")]
    Refused {
        /// Host and port.
        host: String,
        /// The rule.
        reason: String,
        /// What an operator does about it.
        next: &'static str,
    },
    /// There is no connection, or it broke.
    #[error("`{host}` does not answer: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// The time was up.
    #[error("`{host}` did not answer within {waited_ms} ms")]
    Late {
        /// Host and port.
        host: String,
        /// The time that it had, in milliseconds.
        waited_ms: u64,
    },
    /// The answer is longer than allowed.
    #[error("`{host}` sends more than {bytes_max} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// The answer is not one that can be used.
    #[error("`{host}` answered {reason}")]
    Unusable {
        /// Host and port.
        host: String,
        /// What it answered.
        reason: String,
    },
    /// The host itself cannot speak TLS.
    #[error("{0}")]
    Tls(String),
}

impl Coded for FetchError {
    fn code(&self) -> Code {
        match self {
            Self::InvalidUrl { .. } => Code::InvalidInput,
            Self::Refused { .. } => Code::OutboundRefused,
            Self::Unreachable { .. } | Self::Unusable { .. } => Code::OutboundFailed,
            Self::Late { .. } => Code::DeadlineExceeded,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Tls(_) => Code::InvalidHostConfiguration,
        }
    }
}

impl Outbound {
    /// A client under these exceptions. Certificates that cannot be read are an error; nothing is connected to.
    pub fn new(config: OutboundConfig) -> Result<Self, FetchError> {
        let authorities = match &config.ca_pem {
            Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>(),
            None => Ok(Vec::new()),
        };
        let authorities = authorities
            .ok()
            .filter(|found| config.ca_pem.is_none() || !found.is_empty())
            .ok_or_else(|| FetchError::Tls("`outbound.ca_file` holds no certificate in PEM".to_owned()))?;
        Ok(Self { config, authorities, tls: OnceLock::new() })
    }

    /// Whether the operator lets a host, and the port of an address or that of HTTP, be asked without TLS.
    pub fn speaks_http(&self, url: &Url) -> bool {
        let port = url.port().unwrap_or(HTTP_PORT);
        url.host_str().is_some_and(|host| self.config.allow_http.iter().any(|place| place.has(host, port)))
    }

    /// Sends a request and answers what the last of its redirects answers, whatever its status.
    pub async fn send(&self, request: Request) -> Result<Response, FetchError> {
        let until = Instant::now() + request.deadline;
        let Request { method, mut url, mut headers, body, bytes_max, deadline } = request;
        let follows = matches!(method, Method::GET | Method::HEAD);
        for _ in 0..=REDIRECTS_MAX {
            let late = || FetchError::Late { host: told(&url), waited_ms: millis(deadline) };
            let one = self.one(&method, &url, &headers, body.clone());
            let answer = timeout_at(until, Box::pin(one)).await.map_err(|_| late())??;
            let Some(next) =
                (follows && answer.status().is_redirection()).then(|| next_of(&url, &answer)).transpose()?
            else {
                return response(answer, url, bytes_max, until);
            };
            if next.origin() != url.origin() {
                let accept = headers.get(ACCEPT).cloned();
                headers = accept.map(|accept| (ACCEPT, accept)).into_iter().collect();
            }
            url = next;
        }
        Err(FetchError::Unusable { host: told(&url), reason: format!("the redirect after {REDIRECTS_MAX} others") })
    }

    /// One request to one address, connected to at an address that was checked.
    async fn one(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, FetchError> {
        let (host, port) = self.check(url)?;
        let addresses = self.resolve(host, port).await?;
        let unreachable =
            |error: reqwest::Error| FetchError::Unreachable { host: told(url), reason: innermost(&error) };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?.clone())
            .resolve_to_addrs(host, &addresses)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .no_proxy()
            .referer(false)
            .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(unreachable)?;
        let request = client.request(method.clone(), url.clone()).headers(headers.clone());
        let request = request.header(ACCEPT_ENCODING, "identity");
        let request = if body.is_empty() { request } else { request.body(body) };
        request.send().await.map_err(unreachable)
    }

    /// The host and port of an address that may be asked, as far as it says itself.
    fn check<'a>(&self, url: &'a Url) -> Result<(&'a str, u16), FetchError> {
        let invalid = |reason| FetchError::InvalidUrl { url: told(url), reason };
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        if !matches!(url.scheme(), "https" | "http") {
            return Err(FetchError::InvalidUrl { url: format!("{}:", url.scheme()), reason: "it is not HTTPS" });
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("it names no host"))?;
        let port = url.port_or_known_default().filter(|port| *port > 0).ok_or_else(|| invalid("it names no port"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a user or password stands in it; name a credential instead"));
        }
        if url.scheme() == "http" && !self.config.allow_http.iter().any(|place| place.has(host, port)) {
            return Err(FetchError::Refused {
                host: told(url),
                reason: "it is not HTTPS".to_owned(),
                next: "use an `https://` address, or name the host in `outbound.allow_http`",
            });
        }
        Ok((host, port))
    }

    /// The addresses of a host; all of them may be connected to.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let place = format!("{host}:{port}");
        let unreachable = |reason: &str| FetchError::Unreachable { host: place.clone(), reason: reason.to_owned() };
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses: Vec<SocketAddr> = match literal {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => {
                let found = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, port))).await;
                let found = found.map_err(|_| unreachable("its name was not resolved in time"))?;
                found.map_err(|_| unreachable("its name is not known"))?.take(ADDRESSES_MAX).collect()
            }
        };
        if addresses.is_empty() {
            return Err(unreachable("its name has no address"));
        }
        // One of them is enough to refuse: whoever answers with both wants one of them to be taken.
        for address in &addresses {
            if let Some(range) = address::refusal(&self.config.allow_private, host, address.ip(), port) {
                return Err(FetchError::Refused {
                    host: place,
                    reason: format!("it is at {range}"),
                    next: "use a public address, or name the host in `outbound.allow_private`",
                });
            }
        }
        Ok(addresses)
    }

    fn tls(&self) -> Result<&ClientConfig, FetchError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|error| {
                FetchError::Tls(format!("a certificate of `outbound.ca_file` cannot be trusted: {error}"))
            })?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::Tls(format!("TLS is not available: {error}")))?;
        Ok(self.tls.get_or_init(|| builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

/// Where an answer sends to. A redirect never leaves TLS.
fn next_of(url: &Url, answer: &reqwest::Response) -> Result<Url, FetchError> {
    let unusable = |reason: &str| FetchError::Unusable { host: told(url), reason: reason.to_owned() };
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| unusable("a redirect that says not where to"))?;
    let next = url.join(location).map_err(|_| unusable("a redirect to what is no address"))?;
    if url.scheme() == "https" && next.scheme() != "https" {
        return Err(unusable("a redirect to what is not HTTPS"));
    }
    Ok(next)
}

fn response(answer: reqwest::Response, url: Url, bytes_max: usize, until: Instant) -> Result<Response, FetchError> {
    let encoding = answer.headers().get(CONTENT_ENCODING).filter(|value| *value != "identity" && !value.is_empty());
    if encoding.is_some() {
        return Err(FetchError::Unusable {
            host: told(&url),
            reason: "in an encoding that was not asked for".to_owned(),
        });
    }
    let announced = answer.content_length().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(FetchError::TooLarge { host: told(&url), bytes_max });
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    Ok(Response { status, headers, url, body: answer, bytes_left: bytes_max, bytes_max, until })
}

impl Response {
    /// Host and port that answered, for messages.
    pub fn host(&self) -> String {
        told(&self.url)
    }

    /// Its media type without parameters, lower case; empty where none is named.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let until = self.until.min(Instant::now() + READ_TIMEOUT);
        let waited = until.saturating_duration_since(Instant::now());
        let Ok(read) = timeout_at(until, self.body.chunk()).await else {
            return Err(FetchError::Late { host: self.host(), waited_ms: millis(waited) });
        };
        let piece = read.map_err(|error| FetchError::Unreachable { host: self.host(), reason: innermost(&error) })?;
        if let Some(piece) = &piece {
            self.bytes_left = self
                .bytes_left
                .checked_sub(piece.len())
                .ok_or_else(|| FetchError::TooLarge { host: self.host(), bytes_max: self.bytes_max })?;
        }
        Ok(piece)
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// Host and port of an address, for messages.
fn told(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => format!("{}:", url.scheme()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The last of the causes: the others repeat the address, which may hold a secret.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map_or_else(|| "the connection broke".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
