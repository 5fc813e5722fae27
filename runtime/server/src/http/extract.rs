//! Takes from a request's head what handlers need, parsed and checked: who acts, for which tenant, path and query.
//! It decides no permission; use cases do.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::{FromRequestParts, Path};
use bulkhead_host::view::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest};
use bulkhead_host::{Caller, Error, Host};
use bulkhead_model::manifest::Issue;
use bulkhead_model::{Actor, Code, PluginId, TenantId, TraceId};
use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;

/// Names the tenant, for the host application alone.
pub(super) const TENANT_ID: &str = "x-tenant-id";
/// Longest language tag in bytes that is passed on.
const LOCALE_BYTES_MAX: usize = 35;
/// Longest cursor in bytes.
const CURSOR_BYTES_MAX: usize = 1_024;

/// Who administers. Each request counts against the administrator's rate.
pub(super) struct Admin(pub(super) Arc<Actor>);

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let actor = authenticate(&app.host, &parts.headers)?;
        app.rates.take(&actor, Instant::now()).map_err(|wait| {
            Problem::retry_after(
                Code::RateLimited,
                "this subject sends too many requests to the administration API",
                wait,
            )
        })?;
        Ok(Self(actor))
    }
}

/// Who calls for which tenant.
pub(super) struct Calling(pub(super) Caller);

impl FromRequestParts<App> for Calling {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let trace = parts.extensions.get::<TraceId>().copied().unwrap_or_else(bulkhead_host::random_trace);
        caller(&app.host, &parts.headers, parts.uri.query(), trace).map(Self)
    }
}

/// Who calls, for which tenant, under which trace. Identity comes from the token; a header or the query names a tenant
/// only where the token's role lets it.
pub(super) fn caller(host: &Host, headers: &HeaderMap, query: Option<&str>, trace: TraceId) -> Result<Caller, Problem> {
    let actor = authenticate(host, headers)?;
    let header = headers.get(TENANT_ID).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let tenant = host.tenant_of(&actor, header, query.and_then(tenant_in))?;
    Ok(Caller { tenant, actor, trace, locale: locale(headers) })
}

/// The tenant that a query names.
pub(super) fn tenant_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("tenant="))
}

fn authenticate(host: &Host, headers: &HeaderMap) -> Result<Arc<Actor>, Problem> {
    let missing = || Error::Unauthenticated("the request carries no bearer token");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing().into());
    };
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing().into());
    }
    Ok(host.authenticate(token.trim_start_matches(' '))?)
}

/// The language that the caller wants first.
fn locale(headers: &HeaderMap) -> Arc<str> {
    static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("en"));
    let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let first = wanted.and_then(|list| list.split([',', ';']).next()).map(str::trim);
    let legal = |tag: &&str| {
        (2..=LOCALE_BYTES_MAX).contains(&tag.len())
            && tag.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    match first.filter(legal) {
        Some("en") | None => Arc::clone(&DEFAULT),
        Some(tag) => Arc::from(tag),
    }
}

/// A name in the path. One that cannot exist is answered like one that does not.
pub(super) struct Named<T>(pub(super) T);

/// What a path names, for the answer when it does not exist.
pub(super) trait Noun: FromStr {
    const NOUN: &'static str;
}

impl Noun for PluginId {
    const NOUN: &'static str = "plugin";
}

impl Noun for TenantId {
    const NOUN: &'static str = "tenant";
}

/// The id of a row that the host made: letters, digits and hyphens.
pub(super) struct RecordId(pub(super) String);

/// Longest id in bytes.
const RECORD_ID_BYTES_MAX: usize = 64;

impl FromStr for RecordId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_legal =
            text.len() <= RECORD_ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_legal.then(|| Self(text.to_owned())).ok_or(())
    }
}

impl Noun for RecordId {
    const NOUN: &'static str = "record";
}

impl<T: Noun> FromRequestParts<App> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let nothing = |name: &str| Error::NotFound { noun: T::NOUN, name: name.chars().take(80).collect() };
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| nothing("\u{fffd}"))?;
        Ok(Self(text.parse().map_err(|_| nothing(&text))?))
    }
}

/// Query parameters; an unknown one or a wrong value is a problem.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let axum::extract::Query(value) =
            axum::extract::Query::try_from_uri(&parts.uri).map_err(|error| invalid_query(&error.body_text()))?;
        Ok(Self(value))
    }
}

fn invalid_query(reason: &str) -> Error {
    Error::Invalid {
        code: Code::InvalidInput,
        issues: vec![Issue::new("", format!("the query is not valid: {reason}"))],
    }
}

/// `?tenant=`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantQuery {
    pub(super) tenant: Option<TenantId>,
}

/// `?limit&cursor`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    /// The page; more than the host answers at once is answered in pages.
    pub(super) fn page(self) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(PAGE_LIMIT_DEFAULT).min(PAGE_LIMIT_MAX);
        if limit == 0 {
            return Err(Problem::invalid("", "`limit` is at least 1"));
        }
        // A cursor is bound into a query, and no engine takes every text.
        let is_place = |cursor: &String| cursor.len() <= CURSOR_BYTES_MAX && !cursor.contains(char::is_control);
        if self.cursor.as_ref().is_some_and(|cursor| !is_place(cursor)) {
            return Err(Problem::invalid("", "`cursor` is what an earlier page named as the next one"));
        }
        Ok(PageRequest { limit, cursor: self.cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wanted_language_is_passed_on_if_it_is_one() {
        let check = |header: &'static str, wanted: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, http::HeaderValue::from_static(header))]);
            assert_eq!(&*locale(&headers), wanted, "{header}");
        };

        check("it-IT,it;q=0.9,en;q=0.8", "it-IT");
        check("de;q=0.5", "de");
        check("*", "en");
        check("", "en");
        check("x", "en");
        check("../../etc", "en");
        check("en-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "en");
        assert_eq!(&*locale(&HeaderMap::new()), "en");
    }
}
