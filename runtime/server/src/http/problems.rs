//! `/problems/{code}`: what a code means and what to do about it, as JSON or for a person to read.
//! The table of codes is the model's.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bulkhead_host::Error;
use bulkhead_model::{Code, Kind};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Who};
use super::problem::{Problem, status};
use super::wire::List;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("get", "/problems", Who::Anyone, "List the codes of problems", || get(list))
        .answers::<List<CodeBody>>(200),
    Endpoint::new("get", "/problems/{code}", Who::Anyone, "What a code means and what to do about it", || get(show))
        .answers::<CodeBody>(200),
];

/// A code of problems.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Code")]
struct CodeBody {
    #[schemars(schema_with = "super::openapi::code_schema")]
    code: &'static str,
    /// HTTP status that it comes with.
    status: u16,
    title: &'static str,
    /// What to do about it.
    action: &'static str,
    /// Whether the same request may succeed after the time in `Retry-After`.
    retry: bool,
}

impl CodeBody {
    fn of(code: Code) -> Self {
        Self {
            code: code.as_str(),
            status: status(code.kind()).as_u16(),
            title: code.title(),
            action: code.action(),
            retry: matches!(code.kind(), Kind::Busy | Kind::TooMany),
        }
    }
}

async fn list() -> axum::Json<List<CodeBody>> {
    List::whole(Code::ALL.to_vec(), CodeBody::of)
}

async fn show(Path(text): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let unknown = || Error::NotFound { noun: "problem", name: text.chars().take(64).collect() };
    let code = Code::find(&text).ok_or_else(unknown)?;
    let for_people =
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/"));
    if for_people {
        return Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], section(code)).into_response());
    }
    Ok(axum::Json(CodeBody::of(code)).into_response())
}

/// The reference of all codes, Markdown.
pub fn reference() -> String {
    let sections: Vec<String> = Code::ALL.iter().map(|code| section(*code).replacen("# ", "## ", 1)).collect();
    format!(
        "# Problems\n\nEvery failure answers `application/problem+json` with one of these codes.\n\n{}",
        sections.join("\n")
    )
}

fn section(code: Code) -> String {
    let body = CodeBody::of(code);
    let retry = if body.retry { ", with `Retry-After`" } else { "" };
    format!("# {}\n\n{}. Status {}{retry}.\n\n{}\n", body.code, body.title, body.status, body.action)
}
