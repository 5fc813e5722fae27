//! `/registry` and `/registry/{plugin}`: the catalogue for people, as pages without a script. They show what the catalogue's API
//! answers to the same token, which is the password of a sign-in by Basic.
//! Everything in them is text of strangers: the templates escape it, and the pages may load nothing.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bulkhead_host::{Error, RegistryActor};
use bulkhead_model::{Code, Coded as _, Digest, PluginId};
use bulkhead_oci::Caller;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Deserialize;

use super::extract::{PageQuery, Query};
use super::oci;
use super::problem::Problem;
use super::registry::OfferedBody;
use crate::app::App;

const STYLE: &str = include_str!("catalogue/style.css");
/// Plugins of a page where nobody says how many.
const LIMIT: u32 = 50;

/// The router of the pages.
pub(super) fn router() -> Router<App> {
    Router::new().route("/registry", get(list)).route("/registry/{plugin}", get(show))
}

/// The templates. Values are escaped because of their names, which end in `.html`.
static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.add_filter("bytes", bytes);
    pages.add_global("style", minijinja::Value::from_safe_string(STYLE.to_owned()));
    let texts = [
        ("page.html", include_str!("catalogue/page.html")),
        ("list.html", include_str!("catalogue/list.html")),
        ("plugin.html", include_str!("catalogue/plugin.html")),
        ("refused.html", include_str!("catalogue/refused.html")),
    ];
    for (name, text) in texts {
        if let Err(error) = pages.add_template(name, text) {
            unreachable!("`{name}` is a part of this program, and tests render it: {error}");
        }
    }
    pages
});

/// The pages' own style and nothing else: no script, no frame, no form to another place.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hex = Digest::of(STYLE.as_bytes()).to_string();
    let hash = data_encoding::HEXLOWER.decode(hex.trim_start_matches("sha256:").as_bytes()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        data_encoding::BASE64.encode(&hash)
    );
    HeaderValue::try_from(policy).unwrap_or_else(|error| unreachable!("a policy is ASCII: {error}"))
});

/// `?q&cursor`
#[derive(Debug, Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
    cursor: Option<String>,
}

async fn list(State(app): State<App>, headers: HeaderMap, Query(search): Query<Search>) -> Response {
    let found = async {
        let who = visitor(&app, &headers).await?;
        let page =
            PageQuery { limit: Some(LIMIT), cursor: search.cursor.filter(|cursor| !cursor.is_empty()) }.page()?;
        let found = app.host.registry_plugins(&who, &search.q, &page).await?;
        let plugins: Vec<OfferedBody> = found.items.into_iter().map(OfferedBody::of).collect();
        let plugins = minijinja::Value::from(Serde(plugins));
        Ok(context! { plugins, q => search.q, next => found.next_cursor })
    };
    answer("list.html", found.await)
}

async fn show(State(app): State<App>, headers: HeaderMap, Path(name): Path<String>) -> Response {
    let found = async {
        let who = visitor(&app, &headers).await?;
        let id: PluginId = name.parse().map_err(|_| Problem::new(Code::NotFound, "there is no such plugin here"))?;
        let plugin = OfferedBody::of(app.host.registry_plugin(&who, &id).await?);
        let plugin = minijinja::Value::from(Serde(plugin));
        Ok(context! { plugin })
    };
    answer("plugin.html", found.await)
}

/// Who looks: the holder of a token of the registry, within its rate.
async fn visitor(app: &App, headers: &HeaderMap) -> Result<RegistryActor, Problem> {
    let missing = || Error::Unauthenticated("sign in with a token of the registry as the password");
    let secret = oci::secret(headers).map_err(|_| missing())?.ok_or_else(missing)?;
    let known = app.host.registry().authenticate(Some(&secret)).await;
    let account = if let Ok(Caller::Token(token)) = &known { token.id.as_str() } else { "" };
    let too_often = |wait| Problem::retry_after(Code::RateLimited, "this token asks too often", wait);
    oci::take_rate(app, account).map_err(too_often)?;
    match known {
        Ok(caller) => Ok(RegistryActor::Token(caller)),
        Err(error) => match Error::from(error) {
            refused if refused.code() == Code::Unauthenticated => Err(missing().into()),
            failed => Err(failed.into()),
        },
    }
}

fn answer(page: &str, found: Result<minijinja::Value, Problem>) -> Response {
    match found {
        Ok(values) => written(StatusCode::OK, page, values),
        // What the host itself failed at is told, and logged, as everywhere.
        Err(problem) if problem.status().is_server_error() => problem.into_response(),
        Err(problem) => {
            let code = problem.code();
            let values = context! { title => code.title(), action => code.action() };
            let mut response = written(problem.status(), "refused.html", values);
            if code == Code::Unauthenticated {
                let challenge = HeaderValue::from_static("Basic realm=\"bulkhead registry\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

fn written(status: StatusCode, page: &str, values: minijinja::Value) -> Response {
    let rendered = PAGES.get_template(page).and_then(|template| template.render(values));
    let text = match rendered {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(page, error = &error as &dyn std::error::Error, "a page of the catalogue was not rendered");
            return Problem::new(Code::Internal, "the page cannot be shown").into_response();
        }
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    (status, headers, text).into_response()
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count.div_ceil(1_024)),
        _ => format!("{:.1} MiB", f64::from(u32::try_from(count / 1_024).unwrap_or(u32::MAX)) / 1_024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_people_expect() {
        let check = |count: u64, wanted: &str| assert_eq!(bytes(count), wanted);

        check(0, "0 B");
        check(1_023, "1023 B");
        check(1_024, "1 KiB");
        check(250_000, "245 KiB");
        check(1_048_576, "1.0 MiB");
        check(33_554_432, "32.0 MiB");
    }

    #[test]
    fn text_that_is_markup_is_shown_and_not_obeyed() {
        let hostile = "<script>alert(1)</script>\"'>&";
        let plugin = context! {
            id => "acme.crm", name => hostile, description => hostile, license => hostile, capabilities => vec![hostile],
            latest => "1.0.0", downloads => 1, versions => vec![context! {
                version => "1.0.0", digest => hostile, size_bytes => 1, downloads => 1, pushed_by => hostile,
                created_at => "2026-01-01T00:00:00Z", state => "yanked", yank_reason => hostile, yanked_at => hostile,
                reasons => vec![context! { code => hostile, detail => hostile }],
                signers => vec![context! { principal => hostile, key_id => hostile, role => "author" }],
            }]
        };
        let pages = [
            ("plugin.html", context! { plugin => plugin.clone() }),
            ("list.html", context! { plugins => vec![plugin], q => hostile, next => hostile }),
            ("refused.html", context! { title => hostile, action => hostile }),
        ];

        for (page, values) in pages {
            let text = PAGES.get_template(page).unwrap().render(values).unwrap();
            assert!(!text.contains("<script"), "{page}: {text}");
            assert!(!text.contains("\"'>&"), "{page}: {text}");
            assert!(text.contains("&lt;script&gt;"), "{page}: {text}");
        }
    }
}
