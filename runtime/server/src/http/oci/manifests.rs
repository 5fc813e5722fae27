//! Manifests of the registry, and the lists of a repository: tags and referrers.
//! A manifest is answered byte by byte as it was pushed.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bulkhead_oci::media_type::INDEX;
use bulkhead_oci::{
    BlobDigest, Error, ErrorCode, InvalidReference, MANIFEST_BYTES_MAX, Reference, RepositoryName, Tag,
};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK, WARNING};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::super::body;
use super::{Asked, CONTENT_DIGEST, created, empty, set};

/// Time for a manifest to arrive.
const DEADLINE: Duration = Duration::from_secs(30);
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Longest warning in letters.
const WARNING_LETTERS_MAX: usize = 1_000;
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn fetch(asked: Asked<'_>, name: RepositoryName, reference: &Reference) -> Result<Response, Error> {
    let manifest = asked.app.host.registry().manifest(&asked.caller, &name, reference).await?;
    let length = manifest.bytes.len();
    let body = if asked.head.method == Method::GET { Body::from(manifest.bytes) } else { Body::empty() };
    let mut response = Response::new(body);
    set(&mut response, CONTENT_TYPE, &manifest.media_type);
    set(&mut response, CONTENT_DIGEST, &manifest.digest);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

pub(super) async fn push(
    asked: Asked<'_>,
    name: RepositoryName,
    reference: &Reference,
    body: Body,
) -> Result<Response, Error> {
    let invalid = |message: &str| Error::refused(ErrorCode::ManifestInvalid, message);
    let tags = asked.query.all("tag").map(str::parse).collect::<Result<Vec<Tag>, InvalidReference>>();
    let tags = tags.map_err(|error| invalid(&error.to_string()))?;
    let headers = &asked.head.headers;
    let bytes = body::read(headers, body, MANIFEST_BYTES_MAX, DEADLINE).await.map_err(|unread| match unread {
        body::Unread::TooLarge => Error::TooLarge { bytes_max: MANIFEST_BYTES_MAX },
        body::Unread::Late => invalid("the manifest did not arrive in time"),
        body::Unread::Broken => invalid("the manifest ended early"),
    })?;
    let media_type = body::media_type(headers);
    let registry = asked.app.host.registry();
    let pushed = registry.push_manifest(&asked.caller, &name, reference, tags, &media_type, &bytes).await?;
    let mut response = created(&name, "manifests", pushed.digest.as_str());
    if let Some(subject) = &pushed.subject {
        set(&mut response, SUBJECT, subject.as_str());
    }
    if let Some(text) = &pushed.warning {
        set(&mut response, WARNING, warning(text));
    }
    for tag in &pushed.tags {
        if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
            response.headers_mut().append(TAG, value);
        }
    }
    Ok(response)
}

/// As the protocol writes warnings. What a header cannot hold is replaced.
fn warning(text: &str) -> String {
    let plain = |letter: char| match letter {
        '"' | '\\' => '\'',
        letter if letter == ' ' || letter.is_ascii_graphic() => letter,
        _ => '?',
    };
    format!("299 - \"{}\"", text.chars().take(WARNING_LETTERS_MAX).map(plain).collect::<String>())
}

pub(super) async fn remove(asked: Asked<'_>, name: RepositoryName, reference: &Reference) -> Result<Response, Error> {
    asked.app.host.registry().delete_manifest(&asked.caller, &name, reference).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

#[derive(Serialize)]
struct TagsBody<'a> {
    name: &'a str,
    tags: Vec<String>,
}

pub(super) async fn tags(asked: Asked<'_>, name: RepositoryName) -> Result<Response, Error> {
    let wrong = || Error::refused(ErrorCode::SizeInvalid, "`n` is how many tags are wanted");
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let count: Option<u32> = asked.query.get("n").map(|text| digits(text).ok_or_else(wrong)).transpose()?;
    let last = asked.query.get("last").unwrap_or_default();
    let page = asked.app.host.registry().tags(&asked.caller, &name, count, last).await?;
    let mut response = axum::Json(TagsBody { name: name.as_str(), tags: page.tags }).into_response();
    if let Some(next) = page.next {
        let count = count.map(|count| format!("n={count}&")).unwrap_or_default();
        set(&mut response, LINK, format!("</v2/{name}/tags/list?{count}last={next}>; rel=\"next\""));
    }
    Ok(response)
}

pub(super) async fn referrers(asked: Asked<'_>, name: RepositoryName, subject: &BlobDigest) -> Result<Response, Error> {
    // A plus that was not encoded: no media type has a space.
    let artifact_type =
        asked.query.get("artifactType").map(|text| text.replace(' ', "+")).filter(|text| !text.is_empty());
    let last = asked.query.get("last").unwrap_or_default();
    let registry = asked.app.host.registry();
    let page = registry.referrers(&asked.caller, &name, subject, artifact_type.as_deref(), last).await?;
    let mut response = page.index.into_response();
    set(&mut response, CONTENT_TYPE, INDEX);
    if let Some(artifact_type) = &artifact_type {
        set(&mut response, FILTERS, "artifactType");
        if let Some(next) = &page.next {
            let wanted = artifact_type.replace('+', "%2B");
            let link = format!("</v2/{name}/referrers/{subject}?artifactType={wanted}&last={next}>; rel=\"next\"");
            set(&mut response, LINK, link);
        }
    } else if let Some(next) = &page.next {
        set(&mut response, LINK, format!("</v2/{name}/referrers/{subject}?last={next}>; rel=\"next\""));
    }
    Ok(response)
}
