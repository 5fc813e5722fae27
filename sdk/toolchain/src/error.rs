//! Why there is no toolchain, in words that say what to do.
//!
//! It decides nothing: each variant names the operation that failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::{Origin, RUST_MIN, TARGET};

/// A failure to find or make a toolchain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every route failed; each with its reason.
    #[error("no Rust toolchain builds {TARGET} here:{}\n  to use a compiler of your own, set BULKHEAD_WASM_RUSTC to its path", list(.tried))]
    NoToolchain {
        /// The routes in the order in which they were tried.
        tried: Vec<Attempt>,
    },
    /// The route's starting point is not there.
    #[error("{reason}")]
    NotThere {
        /// What is missing, as a sentence.
        reason: String,
    },
    /// A program could not be started.
    #[error("failed to start `{program}`")]
    Start {
        /// Name of the program.
        program: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("`{line}` failed: {stderr}")]
    Failed {
        /// The command line.
        line: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A program ran longer than it may and was ended.
    #[error("`{line}` took longer than {seconds} s")]
    Deadline {
        /// The command line.
        line: String,
        /// Its bound.
        seconds: u64,
    },
    /// A file operation failed.
    #[error("failed to {operation} `{}`", .path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Another process has held the lock for too long.
    #[error("another process has held `{}` for {seconds} s; remove the file if there is none", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// The newest compiler on offer is older than the SDK needs.
    #[error("the newest `{package}` is {version}, and {}.{} is needed", RUST_MIN.0, RUST_MIN.1)]
    TooOld {
        /// The package or program.
        package: String,
        /// Its version.
        version: String,
    },
    /// A file that a package should hold is not in it.
    #[error("the packages hold no `{what}`")]
    Absent {
        /// Path or pattern of the missing file.
        what: String,
    },
    /// Libraries are missing that no package of the compiler's brings.
    #[error("the compiler needs shared libraries that this system lacks: {names}")]
    MissingLibraries {
        /// Their names, with commas between.
        names: String,
    },
    /// The smoke build ended well and its result is no component.
    #[error("`{}` built something that is not a component", .rustc.display())]
    NotAComponent {
        /// The compiler.
        rustc: PathBuf,
    },
}

/// One route and why it gave no toolchain.
#[derive(Debug)]
pub struct Attempt {
    /// The route.
    pub origin: Origin,
    /// Why it failed.
    pub error: Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.error)?;
        let mut source = std::error::Error::source(&self.error);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn list(tried: &[Attempt]) -> String {
    tried.iter().map(|attempt| format!("\n  - {attempt}")).collect()
}
