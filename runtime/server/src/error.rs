//! What keeps the server from starting.
//! Problems of single requests are not here: they are `http::problem`.

use std::net::SocketAddr;
use std::path::PathBuf;

use bulkhead_model::{Code, Coded};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("failed to listen on `{address}`; is another host running?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("`{}` is not {wanted}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it must be.
        wanted: &'static str,
    },
    /// The system gives no random bytes.
    #[error("failed to draw random bytes for a key")]
    Random(#[source] getrandom::Error),
    /// A log is written by this process already, or its filter is not valid.
    #[error("failed to start the log: {0}")]
    Logs(String),
    /// The host did not open.
    #[error("failed to open the host")]
    Host(#[source] bulkhead_host::Error),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Host(error) => error.code(),
            Self::Listen { .. } | Self::Read { .. } | Self::Unusable { .. } | Self::Logs(_) => {
                Code::InvalidHostConfiguration
            }
            Self::Write { .. } | Self::Random(_) => Code::Internal,
        }
    }
}
