//! Asks for what a source names: one deadline, one credential that goes to its own places alone, statuses as errors.

use bulkhead_model::Coded as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Credential, DEADLINE, DOCUMENT_BYTES_MAX, invalid};
use crate::error::Error;
use crate::fetch::{FetchError, HeaderValue, Outbound, Request, Response, StatusCode, Url};
use crate::host::Host;

/// What a registry calls a user that it does not ask for.
const ANY_USER: &str = "token";

/// Asks for one source.
pub(super) struct Fetcher<'a> {
    outbound: &'a Outbound,
    credential: Option<&'a Credential>,
    until: Instant,
}

impl<'a> Fetcher<'a> {
    /// With a credential that the operator configured, if one is named.
    pub(super) fn new(host: &'a Host, credential: Option<&str>) -> Result<Self, Error> {
        let found =
            match credential {
                None => None,
                Some(name) => {
                    Some(host.inner.config.sources.credentials.get(name).ok_or_else(|| {
                        invalid("/source/credential", format!("`sources.credentials` has no `{name}`"))
                    })?)
                }
            };
        Ok(Self { outbound: &host.inner.outbound, credential: found, until: Instant::now() + DEADLINE })
    }

    /// Whether the credential is for the place of `url`.
    fn credential_for(&self, url: &Url) -> Option<&'a Credential> {
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        self.credential.filter(|credential| credential.places.iter().any(|place| place.has(host, port)))
    }

    /// `Authorization` for `url`, of the credential as it is: with a user `Basic`, else `Bearer`.
    pub(super) fn authorization(&self, url: &Url) -> Option<String> {
        let credential = self.credential_for(url)?;
        Some(match &credential.user {
            Some(user) => basic(user, &credential.secret),
            None => format!("Bearer {}", credential.secret),
        })
    }

    /// `Authorization` for `url` where `Basic` is asked for.
    pub(super) fn basic(&self, url: &Url) -> Option<String> {
        let credential = self.credential_for(url)?;
        Some(basic(credential.user.as_deref().unwrap_or(ANY_USER), &credential.secret))
    }

    /// Whether the place of `url` is asked without TLS.
    pub(super) fn speaks_http(&self, url: &Url) -> bool {
        self.outbound.speaks_http(url)
    }

    /// Any answer to a `GET`.
    pub(super) async fn ask(
        &self,
        url: Url,
        accept: &str,
        authorization: Option<&str>,
        bytes_max: usize,
    ) -> Result<Response, Error> {
        let left = self.until.saturating_duration_since(Instant::now());
        let mut request = Request::get(url, bytes_max, left).authorized(authorization);
        if let Ok(accept) = HeaderValue::from_str(accept) {
            request.headers.insert("accept", accept);
        }
        Ok(self.outbound.send(request).await?)
    }

    /// The answer to a `GET` with the credential, if it is a good one.
    pub(super) async fn get(&self, url: Url, accept: &str, bytes_max: usize) -> Result<Response, Error> {
        let authorization = self.authorization(&url);
        good(self.ask(url, accept, authorization.as_deref(), bytes_max).await?)
    }

    /// The bytes at an address.
    pub(super) async fn bytes(&self, url: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
        Ok(self.get(parse(url)?, "*/*", bytes_max).await?.bytes().await?)
    }

    /// A JSON document.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: Url, accept: &str) -> Result<T, Error> {
        let answer = self.get(url, accept, DOCUMENT_BYTES_MAX).await?;
        let host = answer.host();
        document(&host, &answer.bytes().await?)
    }
}

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{secret}").as_bytes()))
}

/// A JSON document of a host.
pub(super) fn document<T: DeserializeOwned>(host: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| unusable(host, format!("what is not the document wanted: {error}")))
}

/// An address.
pub(super) fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| invalid("/source", format!("an address cannot be read: {error}")))
}

/// An answer that is not to be used.
pub(super) fn unusable(host: &str, reason: impl Into<String>) -> Error {
    FetchError::Unusable { host: host.to_owned(), reason: reason.into() }.into()
}

/// The answer, if its status says that it is what was asked for.
pub(super) fn good(answer: Response) -> Result<Response, Error> {
    let host = answer.host();
    match answer.status {
        StatusCode::OK => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::not_found("such release at", &host)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(unusable(
            &host,
            format!("{}: name a credential that may read it, whose `hosts` include this one", answer.status.as_u16()),
        )),
        other => Err(unusable(&host, other.as_u16().to_string())),
    }
}

/// Whether nothing is there, which some questions expect.
pub(super) fn is_missing(error: &Error) -> bool {
    error.code() == bulkhead_model::Code::NotFound
}
