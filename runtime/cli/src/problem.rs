//! Reads a problem (RFC 9457) that the host answered.
//! It trusts nothing in it: a field that is missing or odd is left out.

use std::fmt;

use bulkhead_model::Code;
use serde_json::Value;

use crate::error::{Exit, exit_of};

/// A problem document and the status that it came with.
#[derive(Debug)]
pub(crate) struct Problem {
    status: u16,
    body: Value,
}

impl Problem {
    /// The problem in `body`; an answer that is no JSON object stands as its status alone.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let body = serde_json::from_slice(body)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| serde_json::json!({ "status": status }));
        Self { status, body }
    }

    /// The problem of an operation that failed: its `error` says why.
    pub(crate) fn of_operation(operation: &Value) -> Self {
        let body = operation.get("error").filter(|error| error.is_object()).unwrap_or(operation);
        Self { status: 200, body: body.clone() }
    }

    /// The document.
    pub(crate) fn body(&self) -> &Value {
        &self.body
    }

    /// Its code, if this version knows it.
    pub(crate) fn code(&self) -> Option<Code> {
        Code::find(self.text("code")?)
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self.code() {
            Some(code) => exit_of(code),
            None if self.status == 404 => Exit::NotFound,
            None => Exit::Failed,
        }
    }

    /// What to do next, with the trace id to look up where there is one.
    pub(crate) fn next(&self) -> String {
        let action = match self.code() {
            Some(code) => code.action(),
            None => "Check that `--server` names a Bulkhead host, and see its log.",
        };
        match self.text("trace_id") {
            Some(trace) => format!("{action} (trace {trace})"),
            None => action.to_owned(),
        }
    }

    /// What the problem lists, name and text.
    pub(crate) fn details(&self) -> Vec<(String, String)> {
        let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = self.body.get("errors").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|item| {
                let named = ["code", "pointer"].map(|name| text(item, name));
                let name = named.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
                let message = ["message", "detail"].map(|name| text(item, name));
                (name, message.into_iter().find(|text| !text.is_empty()).unwrap_or_default())
            })
            .collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text("code") {
            Some(code) => write!(f, "{code}")?,
            None => write!(f, "status {}", self.status)?,
        }
        let said: Vec<&str> = ["title", "detail"].iter().filter_map(|name| self.text(name)).collect();
        match said.as_slice() {
            [] => Ok(()),
            [title, detail] if title == detail => write!(f, ": {title}"),
            said => write!(f, ": {}", said.join(": ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, text: &str, exit: Exit) {
        let problem = Problem::read(status, body.as_bytes());
        assert_eq!(problem.to_string(), text, "{body}");
        assert_eq!(problem.exit(), exit, "{body}");
    }

    #[test]
    fn a_problem_is_told_by_code_title_and_detail() {
        let body = r#"{"code": "unsigned", "title": "No signature", "detail": "no bundle", "status": 403}"#;
        check(403, body, "unsigned: No signature: no bundle", Exit::Refused);
        check(404, r#"{"code": "not-found", "title": "None", "detail": "None"}"#, "not-found: None", Exit::NotFound);
    }

    #[test]
    fn an_answer_that_is_no_problem_still_has_its_status() {
        check(502, "<html>", "status 502", Exit::Failed);
        check(404, "", "status 404", Exit::NotFound);
        check(500, "[1]", "status 500", Exit::Failed);
        check(500, r#"{"code": 7, "title": null}"#, "status 500", Exit::Failed);
        check(400, r#"{"code": "from-the-future", "title": "New"}"#, "from-the-future: New", Exit::Failed);
    }

    #[test]
    fn every_listed_problem_is_told_and_the_trace_stands_in_the_advice() {
        let body = br#"{"code": "invalid-input", "trace_id": "abc", "errors": [
            {"pointer": "/a", "message": "no"}, {"code": "unsigned", "detail": "x"}, {"pointer": "", "message": "all"}, 5]}"#;

        let problem = Problem::read(422, body);

        let pairs = [("/a", "no"), ("unsigned", "x"), ("", "all"), ("", "")];
        assert_eq!(problem.details(), pairs.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert!(problem.next().ends_with("(trace abc)"), "{}", problem.next());
    }

    #[test]
    fn a_failed_operation_is_the_problem_in_it() {
        let operation =
            serde_json::json!({ "status": "failed", "error": { "code": "dependency-unmet", "detail": "x" } });

        let problem = Problem::of_operation(&operation);

        assert_eq!(problem.code(), Some(Code::DependencyUnmet));
    }
}
