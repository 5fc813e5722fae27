//! Reads bodies: never more bytes than allowed, never longer than allowed, and JSON only where it says that it is JSON.
//! It knows no shape of a body.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bulkhead_host::Error;
use bulkhead_model::{Code, Issue};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;

/// Largest JSON body of the administration API in bytes; a hook's value and arguments fit.
pub(super) const JSON_BYTES_MAX: u64 = 3 << 20;
/// Bytes beyond a limit that are read and dropped, so that the refusal reaches whoever is still sending.
const DISCARDED_BYTES_MAX: usize = 4 << 20;
/// Time for which the rest of a refused body is read.
pub(super) const DISCARD_TIME: Duration = Duration::from_millis(500);
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
    B: hyper::body::Body<Data = Bytes>,
{
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        discard(body).await;
        return Err(Unread::TooLarge);
    }
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    tokio::time::timeout(deadline, collect(body, bytes_max)).await.map_err(|_| Unread::Late)?
}

/// Reads and drops what a refused request still sends, within bounds: a connection that is closed with bytes unread may
/// lose the refusal on its way.
pub(super) async fn discard<B: hyper::body::Body<Data = Bytes>>(body: B) {
    if body.is_end_stream() {
        return;
    }
    let rest = collect(body, 0);
    // Whoever still sends after that has had its chance to hear.
    if tokio::time::timeout(DISCARD_TIME, rest).await.is_err() {
        tracing::debug!("a refused body did not end in time");
    }
}

async fn collect<B: hyper::body::Body<Data = Bytes>>(body: B, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut body = std::pin::pin!(body);
    let mut collected = Vec::new();
    // A connection that is closed with bytes unread may lose the answer on its way: a bounded rest is read and dropped.
    let mut discarded = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if discarded == 0 && collected.len().saturating_add(data.len()) <= bytes_max {
            collected.extend_from_slice(&data);
            continue;
        }
        discarded = discarded.saturating_add(data.len());
        if discarded > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if discarded > 0 { Err(Unread::TooLarge) } else { Ok(collected) }
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

        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, http::HeaderValue::from_static("5"))]);
        assert_eq!(read(&headers, unread, 4, SOON).await, Err(Unread::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());

        assert_eq!(read(&HeaderMap::new(), never, 4, Duration::from_millis(10)).await, Err(Unread::Late));
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(read(&HeaderMap::new(), broken, 4, SOON).await, Err(Unread::Broken));
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
