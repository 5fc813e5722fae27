//! Reads bodies: never more bytes than allowed, never longer than allowed, and JSON only where it says that it is JSON.
//! It knows no shape of a body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::extract::{FromRequest, Request};
use bulkhead_host::Error;
use bulkhead_model::{Code, Issue};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::problem::Problem;
use crate::app::App;

/// Largest JSON body of the administration API in bytes; a hook's value and arguments fit.
pub(super) const JSON_BYTES_MAX: u64 = 3 << 20;
/// Bytes of a body that nobody wants that are read and dropped: the largest upload is among them.
const DISCARDED_BYTES_MAX: usize = 48 << 20;
/// Time for which a body that nobody wants is read.
const DISCARD_TIME: Duration = Duration::from_millis(500);
/// Time for a JSON body to arrive.
const JSON_DEADLINE: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than allowed.
    TooLarge,
    /// It did not arrive in time.
    Late,
    /// The peer went away or sent what is no body.
    Broken,
}

impl Unread {
    pub(super) fn problem(self, bytes_max: u64) -> Problem {
        match self {
            Self::TooLarge => Error::BodyTooLarge { bytes_max }.into(),
            Self::Late => Problem::new(Code::DeadlineExceeded, "the body did not arrive in time"),
            Self::Broken => Problem::new(Code::InvalidInput, "the body ended early"),
        }
    }
}

/// The whole body. One that announces too many bytes is refused before any is read.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, bytes_max: u64, deadline: Duration) -> Result<Vec<u8>, Unread>
where
    B: Body<Data = Bytes>,
{
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Unread::TooLarge);
    }
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    tokio::time::timeout(deadline, collect(body, bytes_max)).await.map_err(|_| Unread::Late)?
}

async fn collect<B: Body<Data = Bytes>>(body: B, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut body = std::pin::pin!(body);
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if collected.len().saturating_add(data.len()) > bytes_max {
            return Err(Unread::TooLarge);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected)
}

/// A body on its way in. What of it nobody wanted is discarded before the answer goes out: a connection that is closed
/// with bytes unread may lose the answer on its way.
pub(super) struct Arriving<B> {
    body: B,
    /// Whether the client sends it: not while it waits to be asked.
    is_sent: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Arriving<B> {
    pub(super) fn new(headers: &HeaderMap, body: B) -> Self {
        Self { is_sent: body.is_end_stream() || !headers.contains_key(EXPECT), body }
    }

    /// Reads and drops what still comes, within bounds. Whoever sends on after that has had its chance to hear.
    pub(super) async fn discard(mut self) {
        if !self.is_sent || self.is_end_stream() {
            return;
        }
        let rest = async {
            let mut bytes = 0_usize;
            while let Some(Ok(frame)) = self.frame().await
                && bytes <= DISCARDED_BYTES_MAX
            {
                bytes = bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            }
        };
        if tokio::time::timeout(DISCARD_TIME, rest).await.is_err() {
            tracing::debug!("a body that nobody wanted did not end in time");
        }
    }

    /// The body for somebody who may keep it, and where it comes back to as soon as it is dropped.
    pub(super) fn lend(self) -> (Lent<B>, oneshot::Receiver<Self>) {
        let (owner, returned) = oneshot::channel();
        (Lent(Some((self, owner))), returned)
    }
}

impl<B: Body + Unpin> Body for Arriving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.is_sent = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that goes back to its owner when it is dropped. With the owner its connection is gone: a body that ends after
/// that has ended early, unless it was whole before. An act must not be taken for one without its arguments.
pub(super) struct Lent<B>(Option<(Arriving<B>, oneshot::Sender<Arriving<B>>)>);

impl<B: Body + Unpin> Body for Lent<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let Some((body, owner)) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let was_whole = body.is_end_stream();
        Poll::Ready(match ready!(Pin::new(body).poll_frame(context)) {
            None if !was_whole && owner.is_closed() => Some(Err("the connection ended before the body".into())),
            frame => frame.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(|(body, _)| body.size_hint()).unwrap_or_default()
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some((body, owner)) = self.0.take() {
            // An owner that is gone has no client any more.
            drop(owner.send(body));
        }
    }
}

/// A JSON body, parsed. None at all is read as `{}`: acts without arguments need no body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Problem> {
        let bytes = json_bytes(request).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        parse(text).map(Self)
    }
}

/// A JSON body as text, for who judges it as a whole.
pub(super) struct JsonText(pub(super) String);

impl FromRequest<App> for JsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Problem> {
        let bytes = json_bytes(request).await?;
        String::from_utf8(bytes).map(Self).map_err(|_| Problem::invalid("", "not JSON: the body is not UTF-8"))
    }
}

async fn json_bytes(request: Request) -> Result<Vec<u8>, Problem> {
    let (parts, body) = request.into_parts();
    if !body.is_end_stream() && !is_json(&parts.headers) {
        return Err(Problem::new(Code::UnsupportedMediaType, "the body must be `application/json`"));
    }
    read(&parts.headers, body, JSON_BYTES_MAX, JSON_DEADLINE).await.map_err(|unread| unread.problem(JSON_BYTES_MAX))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = media_type(headers);
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// The media type without its parameters, lower case; empty where none is named.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The value in `text`, a JSON object; a problem names the field by JSON pointer.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    // A list of the fields' values in order would be read as well, and mean another thing with the next field.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::invalid("", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Issue::new(pointer(error.path()), error.into_inner().to_string()));
    let ended = |value| match json.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(Issue::new("", error.to_string())),
    };
    parsed.and_then(ended).map_err(|issue| Problem::invalid(&issue.pointer, issue.message))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.extend(["/", &key.replace('~', "~0").replace('/', "~1")]),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
        let none = HeaderMap::new();

        assert_eq!(read(&none, Body::from("1234"), 4, SOON).await, Ok(b"1234".to_vec()));
        assert_eq!(read(&none, Body::from("12345"), 4, SOON).await, Err(Unread::TooLarge));
        assert_eq!(read(&none, Body::empty(), 0, SOON).await, Ok(Vec::new()));
        let chunks = stream::iter(["123", "456"].map(Ok::<_, std::io::Error>));
        assert_eq!(read(&none, Body::from_stream(chunks), 5, SOON).await, Err(Unread::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused_unread() {
        let unread = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());

        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("5"))]);
        assert_eq!(read(&headers, unread, 4, SOON).await, Err(Unread::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());

        assert_eq!(read(&HeaderMap::new(), never, 4, Duration::from_millis(10)).await, Err(Unread::Late));
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(read(&HeaderMap::new(), broken, 4, SOON).await, Err(Unread::Broken));
    }

    /// A body of so many pieces, and how many of them are left to read.
    fn pieces(count: usize) -> (Body, impl Fn() -> usize) {
        let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(count));
        let counted = std::sync::Arc::clone(&left);
        let stream = stream::iter(std::iter::repeat_n(Bytes::from_static(&[0; 1 << 10]), count).map(move |piece| {
            counted.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(piece)
        }));
        (Body::from_stream(stream), move || left.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_nobody_wanted_of_a_body_is_read_within_bounds() {
        let (short, left) = pieces(10);
        Arriving::new(&HeaderMap::new(), short).discard().await;
        assert_eq!(left(), 0);

        let (endless, left) = pieces(1 << 20);
        Arriving::new(&HeaderMap::new(), endless).discard().await;
        assert!(left() > 0);
    }

    #[tokio::test]
    async fn a_body_is_asked_for_only_if_it_was_begun() {
        let waits = HeaderMap::from_iter([(EXPECT, HeaderValue::from_static("100-continue"))]);

        let (unasked, left) = pieces(10);
        Arriving::new(&waits, unasked).discard().await;
        assert_eq!(left(), 10);

        let (begun, left) = pieces(10);
        let mut begun = Arriving::new(&waits, begun);
        begun.frame().await.unwrap().unwrap();
        begun.discard().await;
        assert_eq!(left(), 0);
    }

    #[tokio::test]
    async fn a_body_that_was_lent_comes_back_when_it_is_dropped() {
        let (body, left) = pieces(10);
        let (mut lent, returned) = Arriving::new(&HeaderMap::new(), body).lend();

        lent.frame().await.unwrap().unwrap();
        drop(lent);

        assert_eq!(left(), 9);
        returned.await.unwrap().discard().await;
        assert_eq!(left(), 0);
    }

    #[tokio::test]
    async fn a_body_whose_connection_is_gone_is_whole_or_broken() {
        let (unknown, _) = pieces(0);
        let (lent, connection) = Arriving::new(&HeaderMap::new(), unknown).lend();
        drop(connection);
        assert_eq!(read(&HeaderMap::new(), lent, 1, SOON).await, Err(Unread::Broken));

        let (lent, connection) = Arriving::new(&HeaderMap::new(), Body::from("{}")).lend();
        drop(connection);
        assert_eq!(read(&HeaderMap::new(), lent, 2, SOON).await, Ok(b"{}".to_vec()));
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its type matters")]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its type matters")]
        number: u32,
    }

    #[test]
    fn a_wrong_field_is_named_by_pointer() {
        let check = |text: &str, wanted: &str| {
            let mut json = serde_json::Deserializer::from_slice(text.as_bytes());
            let error = serde_path_to_error::deserialize::<_, Sample>(&mut json).unwrap_err();
            assert_eq!(pointer(error.path()), wanted, "{text}");
            assert_eq!(parse::<Sample>(text.as_bytes()).unwrap_err().code(), Code::InvalidInput);
        };

        check(r#"{"list": [{"number": 1}, {"number": "x"}]}"#, "/list/1/number");
        check(r#"{"list": 1}"#, "/list");
        check(r#"{"colour": 1}"#, "/colour");
        assert!(parse::<Sample>(br#"{"list": []} x"#).is_err());
        for other in ["", "[[]]", "[", "null", "7"] {
            assert!(parse::<Sample>(other.as_bytes()).is_err(), "{other}");
        }
        assert!(parse::<Sample>(br#" {"list": []} "#).is_ok());
    }
}
