//! What this host saw last of the stored state, kept in its data folder: a database that was set back or written anew behind
//! the host's back is noticed, also over a restart. What follows from that is `usecase/registry_log`'s.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use bulkhead_trust::log::Seen;

use crate::error::Error;

/// Name of the file in the data folder.
const FILE: &str = "registry-log.json";

/// Where the last look is kept, and what it found.
pub(crate) struct LogWatch {
    path: PathBuf,
    /// Held during a look, so that an older one never overwrites a newer.
    pub(crate) looking: tokio::sync::Mutex<()>,
    broken: parking_lot::Mutex<Option<String>>,
    signed: parking_lot::Mutex<Option<SignedTimestamp>>,
}

/// A timestamp that is good for a while.
#[derive(Clone)]
pub(crate) struct SignedTimestamp {
    /// What it speaks of.
    pub(crate) of: Seen,
    /// The envelope.
    pub(crate) envelope: String,
    /// When it is signed anew, also if nothing changed.
    pub(crate) renew_at: jiff::Timestamp,
}

impl LogWatch {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(FILE),
            looking: tokio::sync::Mutex::default(),
            broken: parking_lot::Mutex::default(),
            signed: parking_lot::Mutex::default(),
        }
    }

    /// What was seen last; `None` before the first look.
    pub(crate) fn seen(&self) -> Result<Option<Seen>, Error> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Seen::from_json(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Keeps what was seen. The file is whole or the old one.
    pub(crate) fn keep(&self, seen: &Seen) -> Result<(), Error> {
        let draft = self.path.with_extension("new");
        let written = std::fs::File::create(&draft)
            .and_then(|mut file| file.write_all(seen.to_json().as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&draft, &self.path));
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::File { path: self.path.display().to_string(), source }
    }

    /// Sets or takes back the alarm; says whether that is news.
    pub(crate) fn set_broken(&self, reason: Option<String>) -> bool {
        let mut broken = self.broken.lock();
        let is_news = *broken != reason;
        *broken = reason;
        is_news
    }

    /// What is wrong with the stored state, if something is.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().clone()
    }

    /// The timestamp that was signed last.
    pub(crate) fn signed(&self) -> Option<SignedTimestamp> {
        self.signed.lock().clone()
    }

    pub(crate) fn keep_signed(&self, timestamp: SignedTimestamp) {
        *self.signed.lock() = Some(timestamp);
    }
}
