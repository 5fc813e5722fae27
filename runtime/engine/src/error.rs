//! What can go wrong around a plugin's code before a call: start, compile, cache, load, trial.
//! It does not name what ends a call; `CallError` does. No wasmtime type is in here: causes are text.

use std::io;
use std::path::PathBuf;

use bulkhead_model::{Code, Coded, Digest};

use crate::call::CallError;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine's configuration or this machine does not allow a start.
    #[error("failed to start the engine: {0}")]
    Start(String),
    /// The pool would run out of memory mappings under load.
    #[error(
        "{instances_max} instances and {plugins_max} plugins need {needed} memory mappings, `vm.max_map_count` is {allowed}: \
         lower `engine.instances_max` or set `sysctl vm.max_map_count={needed}`"
    )]
    MapCount {
        /// Configured instances.
        instances_max: u32,
        /// Configured plugins.
        plugins_max: u32,
        /// Mappings that they need.
        needed: u64,
        /// Mappings that the kernel allows a process.
        allowed: u64,
    },
    /// The compile worker could not be started.
    #[error("failed to run the compile worker `{program}`")]
    Worker {
        /// The configured program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compile worker compiles for other settings than this process runs.
    #[error(
        "the compile worker `{program}` does not fit this program: {reason}; point `engine.compile_worker` at the same build"
    )]
    WorkerMismatch {
        /// The configured program.
        program: PathBuf,
        /// What it answered.
        reason: String,
    },
    /// The bytes are not those of the digest.
    #[error("the component's bytes are not `{0}`")]
    DigestMismatch(Digest),
    /// All compile jobs and their queue are taken.
    #[error("too many compilations wait")]
    CompileQueueFull,
    /// The component was not compiled.
    #[error("failed to compile the component: {0}")]
    Compile(CompileFailure),
    /// The cache directory is unusable.
    #[error("the cache directory `{path}` is not usable: {reason}")]
    CacheDirectory {
        /// The configured path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file operation in the cache failed.
    #[error("failed to {operation} in the compiled cache")]
    Cache {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no compiled form of this component under the engine's settings.
    #[error("`{0}` is not compiled")]
    NotCompiled(Digest),
    /// The compiled form is not what this host wrote for this component and these facts. It was deleted.
    #[error("the compiled form of `{0}` was not written by this host for it; it was deleted")]
    CacheMismatch(Digest),
    /// The compiled form is authentic and does not load.
    #[error("failed to load the component: {0}")]
    Load(String),
    /// The component needs what this host does not serve, or offers what it does not understand.
    #[error("the component does not fit this host's contract: {0}")]
    IncompatibleContract(String),
    /// The component does not start within the limits of a trial.
    #[error("the component failed its trial: {0}")]
    Trial(#[source] CallError),
}

/// Why a component was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileFailure {
    /// The compiler refused it.
    #[error("{0}")]
    Refused(String),
    /// More CPU time than allowed.
    #[error("it took more than {0} s of CPU time")]
    Cpu(u64),
    /// More memory than allowed.
    #[error("it took more than {0} bytes of memory")]
    Memory(u64),
    /// More wall time than allowed.
    #[error("it took longer than {0} ms")]
    Wall(u64),
    /// The compiled form is too large.
    #[error("its compiled form is larger than {0} bytes")]
    Output(u64),
    /// The worker ended without an answer.
    #[error("the compile worker ended without an answer ({0})")]
    Crashed(String),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Start(_)
            | Self::MapCount { .. }
            | Self::Worker { .. }
            | Self::WorkerMismatch { .. }
            | Self::CacheDirectory { .. } => Code::InvalidHostConfiguration,
            Self::DigestMismatch(_) => Code::DigestMismatch,
            Self::CompileQueueFull => Code::Overloaded,
            Self::Compile(_) => Code::CompileFailed,
            Self::Cache { .. } | Self::NotCompiled(_) | Self::CacheMismatch(_) => Code::Internal,
            Self::Load(_) | Self::IncompatibleContract(_) => Code::IncompatibleContract,
            Self::Trial(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_does_not_compile_is_told_apart_from_a_host_that_cannot() {
        assert_eq!(Error::Compile(CompileFailure::Cpu(10)).code(), Code::CompileFailed);
        assert_eq!(Error::CompileQueueFull.code(), Code::Overloaded);
        assert_eq!(Error::Start(String::new()).code(), Code::InvalidHostConfiguration);
    }
}
