//! What a host answered, read whole.
//! It judges nothing: a status is compared by the test.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end.
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the whole body of an answer").to_vec();
        Self { status, headers, body }
    }

    /// The body as JSON; `null` if it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The problem document, checked to be one, without its trace id, which differs each time.
    pub fn problem(&self) -> Value {
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/problem+json", "{} {}", self.status, self.text());
        let mut problem = self.json();
        let object = problem.as_object_mut().expect("a problem is an object");
        assert_eq!(object.get("status").and_then(Value::as_u64), Some(u64::from(self.status)), "{object:?}");
        let code = object.get("code").and_then(Value::as_str).expect("a problem has a code");
        let kind = object.get("type").and_then(Value::as_str).expect("a problem has a type");
        assert_eq!(kind, format!("/problems/{code}"));
        let trace = object.remove("trace_id").expect("a problem has a trace id");
        assert_eq!(trace.as_str(), Some(self.header("x-trace-id")), "the trace id of body and header");
        problem
    }

    /// The code of the problem document.
    pub fn code(&self) -> String {
        self.problem().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Status and code in one: `(200, "")` where the answer is no problem.
    pub fn outcome(&self) -> (u16, String) {
        (self.status, if self.status < 400 { String::new() } else { self.code() })
    }

    /// This answer if its status is the wanted one; the test ends otherwise.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}
