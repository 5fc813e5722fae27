//! Everything that can go wrong in a command, each with its exit code and with what to do next.
//! It prints nothing; `output` does.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use bulkhead_model::{Code, Coded, Issue, Kind};
use bulkhead_trust::Refusal;
use serde_json::{Value, json};

use crate::problem::Problem;

/// How the process ends. The numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for any other reason.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// An artifact, or the policy over it, says no.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// The host does not answer.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        let number: u8 = match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::NotFound => 4,
            Exit::Unreachable => 5,
        };
        Self::from(number)
    }
}

/// A command that failed. A variant is the operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written; nothing of it is left behind.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any of its kind may be.
    #[error("`{}` is larger than {max_bytes} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// A file stands where a new one would be written.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do, for example which option overwrites.
        next: &'static str,
    },
    /// A file is not what the command needs.
    #[error("`{}` is not {wanted}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it should be, with its article.
        wanted: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do.
        next: String,
    },
    /// A document has problems, all of them here.
    #[error("`{}` has {}", path.display(), count(issues.len(), "problem"))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problems.
        issues: Vec<Issue>,
        /// What to do.
        next: &'static str,
    },
    /// An artifact is refused, with every reason.
    #[error("`{subject}` is refused")]
    Refused {
        /// The file or release.
        subject: String,
        /// The reasons.
        refusals: Vec<Refusal>,
    },
    /// Options that do not go together, or a value that no parser could judge alone.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        next: String,
    },
    /// The host answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The host did not answer.
    #[error("failed to reach the host at `{server}`")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The host answered with something that no Bulkhead host says.
    #[error("the answer of `{server}` is not understood: {reason}")]
    Answer {
        /// Its address.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// Another program failed or could not be started.
    #[error("failed to {what}: {reason}")]
    Step {
        /// The operation.
        what: &'static str,
        /// What it said.
        reason: String,
        /// What to do.
        next: String,
    },
    /// The doctor found errors, and has told them.
    #[error("{errors} of the findings are errors")]
    Unhealthy {
        /// How many.
        errors: usize,
    },
}

impl Error {
    /// Whether the result that was printed says everything.
    pub(crate) const fn is_told(&self) -> bool {
        matches!(self, Self::Unhealthy { .. })
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Usage { .. } => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Problem(problem) => problem.exit(),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::FileTooLarge { .. }
            | Self::Exists { .. }
            | Self::Unusable { .. }
            | Self::Invalid { .. }
            | Self::Answer { .. }
            | Self::Step { .. }
            | Self::Unhealthy { .. } => Exit::Failed,
        }
    }

    /// What to do next: one sentence.
    pub(crate) fn next(&self) -> String {
        match self {
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path".to_owned(),
                io::ErrorKind::IsADirectory => "name a file, not a folder".to_owned(),
                _ => "check that you may read it".to_owned(),
            },
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "create the folder first, or name another".to_owned(),
                io::ErrorKind::StorageFull => "free space on the disk and run it again".to_owned(),
                _ => "check that you may write there, or name another place".to_owned(),
            },
            Self::FileTooLarge { .. } => "check that it is the right file".to_owned(),
            Self::Exists { next, .. } | Self::Invalid { next, .. } => (*next).to_owned(),
            Self::Unusable { next, .. } | Self::Usage { next, .. } | Self::Step { next, .. } => next.clone(),
            Self::Unhealthy { .. } => "each finding says what to do".to_owned(),
            Self::Refused { refusals, .. } => advice(refusals),
            Self::Problem(problem) => problem.next(),
            Self::Unreachable { .. } => {
                "start a host with `bulkhead serve`, or name one with `--server URL`".to_owned()
            }
            Self::Answer { .. } => "check that `--server` names a Bulkhead host of this version".to_owned(),
        }
    }

    /// The error for people: what failed with all its causes, each detail on a line, what to do.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            // Writing to a string cannot fail.
            write!(text, ": {source}").unwrap_or_default();
            cause = source.source();
        }
        for (name, detail) in self.details() {
            let name = if name.is_empty() { name } else { name + ": " };
            write!(text, "\n  {name}{detail}").unwrap_or_default();
        }
        write!(text, "\nnext: {}", self.next()).unwrap_or_default();
        text
    }

    /// The error for programs, in the shape of the host's problems.
    pub(crate) fn json(&self) -> Value {
        if let Self::Problem(problem) = self {
            return problem.body().clone();
        }
        let errors: Vec<Value> = match self {
            Self::Invalid { issues, .. } => {
                issues.iter().map(|issue| json!({ "pointer": issue.pointer, "message": issue.message })).collect()
            }
            Self::Refused { refusals, .. } => refusals
                .iter()
                .map(|refusal| {
                    json!({
                        "code": refusal.code.as_str(), "pointer": refusal.pointer, "message": refusal.detail,
                    })
                })
                .collect(),
            _ => Vec::new(),
        };
        let (code, title) = match self {
            // No host has said it, so the table of codes has none for it.
            Self::Unreachable { .. } => ("unreachable", "The host does not answer"),
            _ => (self.code().as_str(), self.code().title()),
        };
        json!({
            "type": format!("/problems/{code}"), "title": title, "code": code,
            "detail": self.to_string(), "errors": errors, "next": self.next(),
        })
    }

    fn details(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid { issues, .. } => {
                issues.iter().map(|issue| (issue.pointer.clone(), issue.message.clone())).collect()
            }
            Self::Refused { refusals, .. } => refusals
                .iter()
                .map(|refusal| {
                    let at = refusal.pointer.iter().map(|at| format!(" (at {at})")).collect::<String>();
                    (refusal.code.as_str().to_owned(), format!("{}{at}", refusal.detail))
                })
                .collect(),
            Self::Problem(problem) => problem.details(),
            _ => Vec::new(),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Refused { refusals, .. } => refusals.first().map_or(Code::Malformed, |refusal| refusal.code),
            Self::Problem(problem) => problem.code().unwrap_or(Code::Internal),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Code::NotFound,
            Self::Exists { .. } => Code::Conflict,
            Self::FileTooLarge { .. } => Code::TooLarge,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => Code::StorageFull,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Answer { .. }
            | Self::Step { .. }
            | Self::Unhealthy { .. } => Code::Internal,
            Self::Unreachable { .. } => Code::PluginUnavailable,
            Self::Unusable { .. } | Self::Invalid { .. } | Self::Usage { .. } => Code::InvalidInput,
        }
    }
}

/// The advice of each distinct code, in the order of the reasons.
fn advice(refusals: &[Refusal]) -> String {
    let mut codes: Vec<Code> = Vec::new();
    for refusal in refusals {
        if !codes.contains(&refusal.code) {
            codes.push(refusal.code);
        }
    }
    let sentences: Vec<&str> = codes.iter().map(|code| code.action()).collect();
    sentences.join(" ")
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The exit of a failure with this code.
pub(crate) fn exit_of(code: Code) -> Exit {
    match code.kind() {
        _ if code.is_refusal() || code.is_review() => Exit::Refused,
        Kind::NotFound => Exit::NotFound,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Error {
        let refusals = vec![
            Refusal::new(Code::Unsigned, "there is no bundle"),
            Refusal::at(Code::ManifestMismatch, "/routes", "the component does not export `routes`"),
            Refusal::at(Code::ManifestMismatch, "/hooks", "the component does not export `hooks`"),
        ];
        Error::Refused { subject: "crm-1.0.0.wasm".to_owned(), refusals }
    }

    #[test]
    fn a_refusal_lists_every_reason_and_each_advice_once() {
        insta::assert_snapshot!(refused().text(), @r"
        error: `crm-1.0.0.wasm` is refused
          unsigned: there is no bundle
          manifest-mismatch: the component does not export `routes` (at /routes)
          manifest-mismatch: the component does not export `hooks` (at /hooks)
        next: Sign it with `bulkhead sign FILE --key PEM` and publish the bundle with it. Make id, version, imports and exports agree, pack again, sign again.
        ");
    }

    #[test]
    fn a_cause_is_told_once_after_what_failed() {
        let error = Error::Read { path: "crm.wasm".into(), source: io::ErrorKind::NotFound.into() };

        insta::assert_snapshot!(error.text(), @r"
        error: failed to read `crm.wasm`: entity not found
        next: check the path
        ");
    }

    #[test]
    fn an_invalid_document_lists_its_problems_by_pointer() {
        let issues = vec![Issue::new("/plugin/id", "no id"), Issue::new("", "not TOML")];
        let error = Error::Invalid { path: "plugin.toml".into(), issues, next: "correct it" };

        insta::assert_snapshot!(error.text(), @r"
        error: `plugin.toml` has 2 problems
          /plugin/id: no id
          not TOML
        next: correct it
        ");
    }

    #[test]
    fn programs_read_the_same_reasons() {
        let body = refused().json();

        assert_eq!((body["code"].as_str(), body["errors"][1]["pointer"].as_str()), (Some("unsigned"), Some("/routes")));
        assert!(body["next"].as_str().is_some_and(|next| next.starts_with("Sign it")));
    }

    #[test]
    fn each_code_of_a_refusal_ends_with_3_and_each_absence_with_4() {
        for code in Code::ALL {
            let wanted = match code.kind() {
                _ if code.is_refusal() || code.is_review() => Exit::Refused,
                Kind::NotFound => Exit::NotFound,
                _ => Exit::Failed,
            };
            let body = format!(r#"{{"code": "{code}"}}"#);
            let error = Error::Problem(Box::new(Problem::read(400, body.as_bytes())));

            assert_eq!(error.exit(), wanted, "{code}");
            assert!(error.next().starts_with(code.action()), "{code}");
        }
    }
}
