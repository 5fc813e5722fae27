//! Blobs of the registry: looked at, streamed in whole or in part, given up.
//! One piece is in memory at a time; a client that takes none ends its connection.

use axum::body::Body;
use axum::response::Response;
use bulkhead_oci::{BlobDigest, ByteRange, Error, Reader, RepositoryName};
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, StatusCode};

use super::{Asked, CONTENT_DIGEST, empty, set};

const OCTETS: &str = "application/octet-stream";

pub(super) async fn fetch(asked: Asked<'_>, name: RepositoryName, digest: &BlobDigest) -> Result<Response, Error> {
    let blob = asked.app.host.registry().blob(&asked.caller, &name, digest).await?;
    let is_get = asked.head.method == Method::GET;
    let wanted = asked.head.headers.get(RANGE).and_then(|value| value.to_str().ok()).filter(|_| is_get);
    let range = match wanted {
        Some(header) => ByteRange::wanted(header, blob.size_bytes)?,
        None => None,
    };
    let mut response = Response::new(Body::empty());
    if is_get {
        if range.is_none_or(|range| range.first == 0) {
            blob.count().await;
        }
        *response.body_mut() = streamed(blob.reader(range));
    }
    let length = range.map_or(blob.size_bytes, ByteRange::length);
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, CONTENT_RANGE, format!("bytes {}-{}/{}", range.first, range.last, blob.size_bytes));
    }
    set(&mut response, CONTENT_DIGEST, digest.as_str());
    set(&mut response, CONTENT_TYPE, OCTETS);
    set(&mut response, ACCEPT_RANGES, "bytes");
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// Read as fast as the client takes it. What fails midway ends the connection: the client has fewer bytes than announced.
fn streamed(reader: Reader) -> Body {
    Body::from_stream(futures_util::stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok::<Bytes, Error>(piece), Some(reader))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a blob could not be read to its end");
                Some((Err(error), None))
            }
        }
    }))
}

pub(super) async fn remove(asked: Asked<'_>, name: RepositoryName, digest: &BlobDigest) -> Result<Response, Error> {
    asked.app.host.registry().delete_blob(&asked.caller, &name, digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}
