//! Which headers cross between clients and plugins. Identity, connection, origin, and who may keep an answer are the
//! host's: such headers never reach a guest, or a guest never sets them.

use std::borrow::Cow;

use bulkhead_host::Caller;
use bulkhead_model::Code;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;

/// Most headers that a plugin may answer.
const ANSWERED_MAX: usize = 100;
/// Headers that the host adds to an answer of a plugin.
const OWN_COUNT: usize = 5;
/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];
/// What a guest never learns: the caller's credentials, and identity that somebody else than the host claims.
const KEPT_FROM_GUESTS: [&str; 5] = ["authorization", "cookie", "x-tenant-id", "x-user-id", "x-trace-id"];
/// What a guest never sets: the host's own identity, everything that speaks for the whole origin, and orders to a proxy.
const KEPT_FROM_CLIENTS: [&str; 22] = [
    "set-cookie",
    "server",
    "date",
    "content-length",
    "x-tenant-id",
    "x-user-id",
    "x-trace-id",
    "x-content-type-options",
    "www-authenticate",
    "strict-transport-security",
    "clear-site-data",
    "alt-svc",
    "nel",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "accept-ch",
    "surrogate-control",
    "edge-control",
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-reproxy-url",
];
/// Prefixes of headers that are the host's or a proxy's.
const OWN_PREFIXES: [&str; 3] = ["x-bulkhead-", "access-control-", "x-accel-"];
/// Ending of the headers that speak to caches of one kind, such as `CDN-Cache-Control` (RFC 9213).
const CACHE_CONTROLS: &str = "-cache-control";
/// What a guest may say to the cache of its client (RFC 9111, section 5.2.2); everything else there either lets others
/// keep the answer or says nothing beside `private`.
const CACHE_DIRECTIVES: [&str; 8] = [
    "max-age",
    "no-cache",
    "no-store",
    "must-revalidate",
    "immutable",
    "no-transform",
    "stale-while-revalidate",
    "stale-if-error",
];
/// Every tenant's answers have the same address: no shared cache may keep one, and none is reused for another caller.
const PRIVATE: &str = "private";
const BY_CALLER: HeaderValue = HeaderValue::from_static("Authorization, X-Tenant-Id");
/// Without it a page of a plugin would run in the origin of the host's own API.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// The headers that the guest sees: the client's, cleaned, and the host's own word on who calls.
pub(super) fn to_guest(headers: &HeaderMap, caller: &Caller) -> Vec<(String, String)> {
    let named = named_by_connection(headers);
    let mut seen = Vec::with_capacity(headers.len().saturating_add(3));
    for (name, value) in headers {
        let name = name.as_str();
        let is_kept = HOP_BY_HOP.contains(&name)
            || KEPT_FROM_GUESTS.contains(&name)
            || name.starts_with("x-bulkhead-")
            || named.split(',').any(|other| other.trim().eq_ignore_ascii_case(name));
        // A value that is no UTF-8 has no form in which a guest could read it.
        if let (false, Ok(value)) = (is_kept, std::str::from_utf8(value.as_bytes())) {
            seen.push((name.to_owned(), value.to_owned()));
        }
    }
    seen.push(("x-tenant-id".to_owned(), caller.tenant.as_str().to_owned()));
    seen.push(("x-user-id".to_owned(), caller.actor.subject.clone()));
    seen.push(("x-trace-id".to_owned(), caller.trace.hex()));
    seen
}

fn named_by_connection(headers: &HeaderMap) -> Cow<'_, str> {
    let mut values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let first = values.next().unwrap_or_default();
    values.fold(Cow::Borrowed(first), |named, more| Cow::Owned(format!("{named},{more}")))
}

/// The headers that the client sees: the guest's, cleaned. A malformed one fails the call.
pub(super) fn to_client(headers: Vec<(String, String)>) -> Result<HeaderMap, Problem> {
    let unusable = |what: &str| Problem::new(Code::PluginFailed, format!("the plugin answered {what}"));
    if headers.len() > ANSWERED_MAX {
        return Err(unusable("too many headers"));
    }
    let mut seen = HeaderMap::with_capacity(headers.len().saturating_add(OWN_COUNT));
    let mut caching: Option<String> = None;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable("a header with a malformed name"))?;
        let text = name.as_str();
        if HOP_BY_HOP.contains(&text)
            || KEPT_FROM_CLIENTS.contains(&text)
            || OWN_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || text.ends_with(CACHE_CONTROLS)
        {
            continue;
        }
        let value = HeaderValue::try_from(value).map_err(|_| unusable("a header with a malformed value"))?;
        if name == CACHE_CONTROL {
            let caching = caching.get_or_insert_with(|| PRIVATE.to_owned());
            cache_directives(&value).for_each(|directive| caching.extend([", ", directive]));
            continue;
        }
        seen.append(name, value);
    }
    // Beside a policy of the guest's own: of several, all hold.
    seen.append(CONTENT_SECURITY_POLICY, SANDBOX);
    let caching = caching.and_then(|directives| HeaderValue::try_from(directives).ok());
    seen.insert(CACHE_CONTROL, caching.unwrap_or(const { HeaderValue::from_static(PRIVATE) }));
    seen.append(VARY, BY_CALLER);
    Ok(seen)
}

/// The directives that a guest may give: a name, or a name and a number of seconds. `no-cache` for some headers alone
/// becomes one for all.
fn cache_directives(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let directives = value.to_str().unwrap_or_default().split(',').map(str::trim);
    directives.filter_map(|directive| {
        let (name, seconds) = directive.split_once('=').unwrap_or((directive, ""));
        if !CACHE_DIRECTIVES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        if seconds.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(directive);
        }
        name.eq_ignore_ascii_case("no-cache").then_some("no-cache")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bulkhead_model::Actor;

    use super::*;

    fn caller() -> Caller {
        Caller {
            tenant: "globex".parse().unwrap(),
            actor: Arc::new(Actor { subject: "anna".to_owned(), ..Actor::system() }),
            trace: bulkhead_model::TraceId::from_random([1; 16]),
            locale: Arc::from("en"),
        }
    }

    fn guest_sees(headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        to_guest(&map, &caller())
    }

    #[test]
    fn identity_reaches_the_guest_from_the_host_alone() {
        let seen = guest_sees(&[
            ("x-tenant-id", "initech"),
            ("x-user-id", "eve"),
            ("x-trace-id", "0"),
            ("x-bulkhead-role", "root"),
            ("authorization", "Bearer t"),
            ("cookie", "session=1"),
            ("accept", "text/plain"),
        ]);

        let trace = "01".repeat(16);
        let wanted = [
            ("accept", "text/plain"),
            ("x-tenant-id", "globex"),
            ("x-user-id", "anna"),
            ("x-trace-id", trace.as_str()),
        ];
        assert_eq!(seen, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_belongs_to_the_connection_stays_there() {
        let headers: Vec<(&str, &str)> =
            HOP_BY_HOP.into_iter().filter(|name| *name != "connection").map(|name| (name, "x")).collect();
        assert_eq!(guest_sees(&headers).len(), 3);

        let seen = guest_sees(&[
            ("connection", "X-One, close"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
        ]);
        assert_eq!(seen.first(), Some(&("x-three".to_owned(), "3".to_owned())));
        assert_eq!(seen.len(), 4);
    }

    fn client_sees(headers: &[(&str, &str)]) -> Vec<String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        to_client(headers).unwrap().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    const OWN: [&str; 3] =
        ["content-security-policy: sandbox", "cache-control: private", "vary: Authorization, X-Tenant-Id"];

    #[test]
    fn a_guest_sets_nothing_that_is_the_hosts() {
        for name in HOP_BY_HOP.into_iter().chain(KEPT_FROM_CLIENTS).chain([
            "X-Bulkhead-Plugin",
            "Access-Control-Allow-Origin",
            "Set-Cookie",
            "X-Accel-Redirect",
            "CDN-Cache-Control",
            "X-LiteSpeed-Cache-Control",
        ]) {
            assert_eq!(client_sees(&[(name, "x")]), OWN, "{name}");
        }

        assert_eq!(
            client_sees(&[("Content-Type", "text/html"), ("Content-Security-Policy", "default-src *"), ("X-Own", "1")]),
            [
                "content-type: text/html",
                "content-security-policy: default-src *",
                "content-security-policy: sandbox",
                "x-own: 1",
                OWN[1],
                OWN[2],
            ]
        );
    }

    #[test]
    fn no_shared_cache_may_keep_an_answer_of_a_plugin() {
        let check = |said: &[&str], wanted: &str| {
            let headers: Vec<_> = said.iter().map(|value| ("Cache-Control", *value)).collect();
            let caching = [OWN[0].to_owned(), format!("cache-control: {wanted}"), OWN[2].to_owned()];
            assert_eq!(client_sees(&headers), caching, "{said:?}");
        };

        check(&["public, max-age=3600"], "private, max-age=3600");
        check(&["s-maxage=60, PUBLIC, Must-Revalidate"], "private, Must-Revalidate");
        check(&["no-store"], "private, no-store");
        check(&["public", "max-age=5", "proxy-revalidate, immutable"], "private, max-age=5, immutable");
        check(&[r#"private="set-cookie", max-age=5"#], "private, max-age=5");
        check(&[r#"no-cache="set-cookie""#], "private, no-cache");
        check(&[r#"x="a, public, s-maxage=1, b", max-age=x, max-age="5""#], "private");
        check(&["", ",", "private"], "private");
    }

    #[test]
    fn an_answer_varies_with_its_caller_beside_what_the_guest_names() {
        let seen = client_sees(&[("Vary", "Accept-Language"), ("Expires", "0")]);

        assert_eq!(seen, ["vary: Accept-Language", "vary: Authorization, X-Tenant-Id", "expires: 0", OWN[0], OWN[1]]);
    }

    #[test]
    fn a_malformed_header_fails_the_call_and_splits_nothing() {
        let check = |name: &str, value: &str| {
            assert_eq!(
                to_client(vec![(name.to_owned(), value.to_owned())]).unwrap_err().code(),
                Code::PluginFailed,
                "{name}: {value}"
            );
        };

        check("x-a", "1\r\nset-cookie: a=b");
        check("x-a\r\nset-cookie", "a=b");
        check("", "1");
        check("x a", "1");
        let many = vec![("x-a".to_owned(), "1".to_owned()); ANSWERED_MAX + 1];
        assert_eq!(to_client(many).unwrap_err().code(), Code::PluginFailed);
    }
}
