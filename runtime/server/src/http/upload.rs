//! Reads what somebody registers: artifacts with their bundles, an archive of releases, or the name of a source.
//! It judges none of it.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use bulkhead_host::RELEASES_MAX;
use bulkhead_host::sources::{Sent, Source};
use bulkhead_model::Code;
use bulkhead_oci::layout::ARCHIVE_BYTES_MAX;
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::{self, Unread, media_type};
use super::problem::Problem;
use crate::app::App;

/// Largest artifact in bytes; the policy's rules allow less.
const ARTIFACT_BYTES_MAX: usize = 32 << 20;
/// Largest signature bundle in bytes.
const BUNDLE_BYTES_MAX: usize = 64 << 10;
/// Most signature bundles of an upload.
const BUNDLES_MAX: usize = 64;
/// Bytes of a multipart form around each of its parts.
const PART_BYTES: usize = 1_024;
/// Largest upload in bytes: what an archive may have, bundles, and the multipart form around them.
const UPLOAD_BYTES_MAX: usize = ARCHIVE_BYTES_MAX + BUNDLES_MAX * (BUNDLE_BYTES_MAX + PART_BYTES);
/// Time for an upload to arrive.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

/// What was sent.
pub(super) enum Upload {
    /// Artifacts with their bundles.
    Releases(Vec<Sent>),
    /// An OCI image layout in a tar.
    Archive(Vec<u8>),
    /// Where to fetch it from.
    Source(Source),
}

/// Where a release is fetched from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FromSource")]
pub(super) struct SourceBody {
    source: Source,
}

impl Upload {
    pub(super) async fn read(app: &App, request: Request) -> Result<Self, Problem> {
        match media_type(request.headers()).as_str() {
            "multipart/form-data" => {
                let parts = tokio::time::timeout(UPLOAD_DEADLINE, Box::pin(parts(request))).await;
                parts.unwrap_or_else(|_| Err(Unread::Late.problem(0))).map(Self::Releases)
            }
            "application/wasm" => {
                let artifact = bytes(request, ARTIFACT_BYTES_MAX).await?;
                Ok(Self::Releases(vec![Sent { artifact, bundles: Vec::new() }]))
            }
            "application/x-tar" => bytes(request, ARCHIVE_BYTES_MAX).await.map(Self::Archive),
            "application/json" => {
                let body::Json(SourceBody { source }) = body::Json::from_request(request, app).await?;
                Ok(Self::Source(source))
            }
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "send `multipart/form-data` with the parts `artifact` and `bundle`, `application/wasm`, an archive as \
                 `application/x-tar`, or `application/json` with a `source`",
            )),
        }
    }
}

async fn bytes(request: Request, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let (head, body) = request.into_parts();
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    body::read(&head.headers, body, bytes_max, UPLOAD_DEADLINE).await.map_err(|unread| unread.problem(bytes_max))
}

async fn parts(request: Request) -> Result<Vec<Sent>, Problem> {
    let mut request = request.map(|body| axum::body::Body::new(http_body_util::Limited::new(body, UPLOAD_BYTES_MAX)));
    // The limits stand in this file; the framework's own of 2 MB would hide them.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|error| Problem::invalid("", error.body_text()))?;
    let (mut artifacts, mut bundles) = (Vec::new(), Vec::new());
    while let Some(part) = form.next_field().await.map_err(|_| malformed())? {
        match part.name() {
            Some("artifact") if artifacts.len() < RELEASES_MAX => {
                artifacts.push(whole(part, ARTIFACT_BYTES_MAX).await?);
            }
            Some("artifact") => {
                let limit = format!("at most {RELEASES_MAX} artifacts are registered at once");
                return Err(Problem::invalid("/artifact", limit));
            }
            Some("bundle") if bundles.len() < BUNDLES_MAX => bundles.push(whole(part, BUNDLE_BYTES_MAX).await?),
            Some("bundle") => {
                return Err(Problem::invalid("/bundle", format!("an upload has at most {BUNDLES_MAX} bundles")));
            }
            Some(_) | None => {
                return Err(Problem::invalid("", "the parts are `artifact` and `bundle`"));
            }
        }
    }
    if artifacts.is_empty() {
        return Err(Problem::invalid("/artifact", "the part `artifact` is missing"));
    }
    Ok(Sent::together(artifacts, bundles)?)
}

/// The bytes of a part, which may be too many.
async fn whole(mut part: axum::extract::multipart::Field<'_>, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(|_| malformed())? {
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(Unread::TooLarge.problem(u64::try_from(bytes_max).unwrap_or(u64::MAX)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed() -> Problem {
    Problem::invalid("", "the multipart form is malformed, too long, or ended early")
}
