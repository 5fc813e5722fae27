//! What can go wrong in the automation.
//!
//! It decides no wording of the programs that are run: their output has been shown already.

use std::io;
use std::path::PathBuf;

/// A failed command of `cargo xtask`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("failed to {operation} `{}`", .path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to start `{program}`")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{line}` failed")]
    Failed { line: String },
    #[error("`{line}` took longer than {seconds} s and was ended")]
    Deadline { line: String, seconds: u64 },
    #[error("failed to find or make a wasm toolchain")]
    Toolchain(#[from] bulkhead_toolchain::Error),
    #[error("`{}` is not what it should be: {reason}", .path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{what}: not installed; {remedy}")]
    Missing { what: &'static str, remedy: String },
    #[error("{count} findings")]
    Untidy { count: usize },
    #[error("tests failed")]
    TestsFailed,
}

impl Error {
    /// 2 for a wrong command line, otherwise 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Error::Usage(_)) { 2 } else { 1 }
    }

    /// Wraps an I/O error of `operation` on `path`.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { operation, path, source }
    }
}
