//! Uploads to the registry: begun, continued, finished, looked at, cancelled. Bodies are stored as they arrive; a body that
//! breaks off leaves what came, and the client goes on from there.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bulkhead_oci::{Algorithm, BlobDigest, ByteRange, Error, ErrorCode, RepositoryName, Start, Upload};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt as _;

use super::{Asked, created, empty, refused, set};

/// Longest wait for a piece of a body.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Longest time that one body may take.
const BODY_MAX: Duration = Duration::from_secs(600);
/// Name of an upload, for clients that want one.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

pub(super) async fn begin(asked: Asked<'_>, name: RepositoryName, body: Body) -> Result<Response, Error> {
    let registry = asked.app.host.registry();
    if let Some(mounted) = asked.query.get("mount") {
        let digest: BlobDigest = mounted.parse()?;
        let from: Option<RepositoryName> = asked.query.get("from").map(str::parse).transpose()?;
        return Ok(match registry.mount(&asked.caller, &name, &digest, from.as_ref()).await? {
            Start::Mounted(digest) => created(&name, "blobs", digest.as_str()),
            Start::Begun(upload) => going_on(StatusCode::ACCEPTED, &name, &upload),
        });
    }
    let digest: Option<BlobDigest> = asked.query.get("digest").map(str::parse).transpose()?;
    // Every upload takes any algorithm that is known at all: the digest that ends it says which.
    let _: Option<Algorithm> = asked.query.get("digest-algorithm").map(str::parse).transpose()?;
    let upload = registry.begin_upload(&asked.caller, &name).await?;
    let Some(digest) = digest else {
        return Ok(going_on(StatusCode::ACCEPTED, &name, &upload));
    };
    let begun = upload.clone();
    let finished = async {
        let upload = receive(&asked, upload, None, body).await?;
        registry.finish_upload(upload, &digest).await
    };
    match finished.await {
        Ok(()) => Ok(created(&name, "blobs", digest.as_str())),
        Err(error) => {
            // Nobody knows its name: nobody will go on with it.
            registry.cancel_upload(&begun).await.unwrap_or_default();
            Err(error)
        }
    }
}

pub(super) async fn status(asked: Asked<'_>, name: RepositoryName, id: &str) -> Result<Response, Error> {
    let upload = asked.app.host.registry().upload(&asked.caller, &name, id).await?;
    Ok(going_on(StatusCode::NO_CONTENT, &name, &upload))
}

pub(super) async fn append(asked: Asked<'_>, name: RepositoryName, id: &str, body: Body) -> Result<Response, Error> {
    let upload = asked.app.host.registry().upload(&asked.caller, &name, id).await?;
    let before = upload.clone();
    match received(&asked, upload, body).await {
        Ok(upload) => Ok(going_on(StatusCode::ACCEPTED, &name, &upload)),
        Err(error @ Error::OutOfOrder { size_bytes }) => Ok(out_of_order(error, &name, &before, size_bytes)),
        Err(error) => Err(error),
    }
}

pub(super) async fn finish(asked: Asked<'_>, name: RepositoryName, id: &str, body: Body) -> Result<Response, Error> {
    let registry = asked.app.host.registry();
    let upload = registry.upload(&asked.caller, &name, id).await?;
    let named = asked.query.get("digest");
    let missing = || Error::refused(ErrorCode::DigestInvalid, "an upload is finished under `?digest=`");
    let digest: BlobDigest = named.ok_or_else(missing)?.parse()?;
    let before = upload.clone();
    let upload = match received(&asked, upload, body).await {
        Err(error @ Error::OutOfOrder { size_bytes }) => return Ok(out_of_order(error, &name, &before, size_bytes)),
        received => received?,
    };
    registry.finish_upload(upload, &digest).await?;
    Ok(created(&name, "blobs", digest.as_str()))
}

pub(super) async fn cancel(asked: Asked<'_>, name: RepositoryName, id: &str) -> Result<Response, Error> {
    let registry = asked.app.host.registry();
    let upload = registry.upload(&asked.caller, &name, id).await?;
    registry.cancel_upload(&upload).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Takes a body that may say which bytes it is.
async fn received(asked: &Asked<'_>, upload: Upload, body: Body) -> Result<Upload, Error> {
    let header = asked.head.headers.get(CONTENT_RANGE);
    let range = match header {
        Some(value) => Some(ByteRange::sent(value.to_str().unwrap_or_default())?),
        None => None,
    };
    receive(asked, upload, range, body).await
}

async fn receive(asked: &Asked<'_>, upload: Upload, range: Option<ByteRange>, body: Body) -> Result<Upload, Error> {
    let full = |_| Error::refused(ErrorCode::TooManyRequests, "as many uploads arrive as may");
    let _permit = asked.app.registry_uploads.try_acquire().map_err(full)?;
    let before = upload.size_bytes;
    let mut arriving = asked.app.host.registry().receive(upload, range)?;
    let announced = content_length(&asked.head.headers);
    let wrong = |length: u64| {
        let wanted = range.map_or(length, ByteRange::length);
        let message = format!("`Content-Range` names {wanted} bytes, the body has {length}");
        if wanted == length { Ok(()) } else { Err(Error::refused(ErrorCode::SizeInvalid, message)) }
    };
    if let Some(length) = announced {
        wrong(length)?;
        let bytes_max = arriving.bytes_max();
        if before.saturating_add(length) > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
    }
    let (mut body, started) = (body, Instant::now());
    let broken = loop {
        match tokio::time::timeout(STALL_MAX, body.frame()).await {
            Err(_) => break Some("the body did not arrive in time"),
            Ok(_) if started.elapsed() > BODY_MAX => break Some("the body did not arrive in time"),
            Ok(None) => break None,
            Ok(Some(Err(_))) => break Some("the body ended early"),
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    arriving.push(&bytes).await?;
                }
            }
        }
    };
    // Also what came of a body that broke: the client goes on behind it.
    let upload = arriving.end().await?;
    match broken {
        Some(reason) => Err(Error::refused(ErrorCode::BlobUploadInvalid, reason)),
        None => wrong(upload.size_bytes.saturating_sub(before)).map(|()| upload),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where an upload is, and how far.
fn going_on(status: StatusCode, name: &RepositoryName, upload: &Upload) -> Response {
    let mut response = empty(status);
    place(&mut response, name, upload, upload.size_bytes);
    response
}

/// 416, with where the upload really is.
fn out_of_order(error: Error, name: &RepositoryName, upload: &Upload, size_bytes: u64) -> Response {
    let mut response = refused(error);
    place(&mut response, name, upload, size_bytes);
    response
}

fn place(response: &mut Response, name: &RepositoryName, upload: &Upload, size_bytes: u64) {
    set(response, LOCATION, format!("/v2/{name}/blobs/uploads/{}", upload.id));
    // The protocol cannot say that there are no bytes.
    set(response, RANGE, format!("0-{}", size_bytes.saturating_sub(1)));
    set(response, UPLOAD_ID, &upload.id);
}
