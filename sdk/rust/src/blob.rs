//! Files of the plugin in this tenant: written piece by piece, visible all at once, read in ranges.
//! Names are texts and no paths: `/` and `..` mean nothing in them.
//!
//! A name has 1 to 512 bytes without NUL, a media type 1 to 255 bytes of printable ASCII, a blob at most 64 MiB; a plugin
//! has at most 10,000 blobs in a tenant. Blobs count in the storage quota. All bytes that cross in one call, read and
//! written, count in its `host_call_bytes`, 16 MiB by default, and all its waits in its deadline.
//!
//! ```
//! use std::io::Write as _;
//!
//! use bulkhead_sdk::{blob, mock};
//!
//! mock::Host::new().run(|| {
//!     blob::put("logo.svg", "image/svg+xml", b"<svg/>")?;
//!     assert_eq!(blob::read_to_end("logo.svg", 1_000)?.as_deref(), Some(&b"<svg/>"[..]));
//!
//!     let mut report = blob::create("report.csv", "text/csv")?;
//!     for row in 1..=3 {
//!         writeln!(report, "{row},{}", row * row)?;
//!     }
//!     let info = report.finish()?;
//!     assert_eq!(info.size, 12);
//!     assert_eq!(blob::scan("report", None, 10)?.items, [info]);
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! }).unwrap();
//! ```

use std::io;

use crate::StorageError;
use crate::imports::blob as host;

pub use crate::bindings::bulkhead::plugin::blob::{Info, Page};

/// Most bytes of one piece: of one [`read`], and of what a [`Writer`] sends at a time.
pub const PIECE_BYTES_MAX: u32 = 1 << 20;
/// Bytes that a [`Writer`] keeps back until they are worth a call of the host.
pub const WRITER_BUFFER_BYTES: usize = 64 << 10;
/// How often [`read_to_end`] begins again when the blob is replaced meanwhile.
pub const READ_ATTEMPTS_MAX: u32 = 3;

/// The code of the host's answer that there is no such blob.
const NOT_FOUND: &str = "not-found";

/// Size, SHA-256, media type and time of a blob, if there is one of this name.
///
/// # Errors
/// [`StorageError`].
pub fn stat(name: &str) -> Result<Option<Info>, StorageError> {
    Ok(host::stat(name)?)
}

/// At most `len` bytes ([`PIECE_BYTES_MAX`]) from `offset`; fewer at the end, none behind it; `None` if there is no such
/// blob. Of several reads each may see another blob of the name: [`read_to_end`] does not.
///
/// # Errors
/// [`StorageError`]; `Limit` for a larger `len`.
pub fn read(name: &str, offset: u64, len: u32) -> Result<Option<Vec<u8>>, StorageError> {
    match host::read(name, offset, len).map_err(StorageError::from) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::Other { code, .. }) if code == NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole blob, of one moment, if there is one of this name and it has at most `bytes_max`.
///
/// # Errors
/// [`StorageError`]; `Limit` with `bytes` when it has more, `Retry` when it was replaced [`READ_ATTEMPTS_MAX`] times
/// while it was read.
pub fn read_to_end(name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    // One byte more than wanted tells in one call whether that is all.
    let len = u32::try_from(bytes_max.saturating_add(1)).unwrap_or(u32::MAX).min(PIECE_BYTES_MAX);
    let Some(bytes) = read(name, 0, len)? else {
        return Ok(None);
    };
    if size(&bytes) < u64::from(len) {
        return Ok(Some(bytes));
    }
    let mut attempts = 1..READ_ATTEMPTS_MAX;
    loop {
        match read_pieces(name, bytes_max) {
            Err(StorageError::Retry) if attempts.next().is_some() => {}
            answer => return answer,
        }
    }
}

/// `Retry` when it was replaced meanwhile.
fn read_pieces(name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(info) = stat(name)? else {
        return Ok(None);
    };
    if info.size > bytes_max {
        return Err(StorageError::Limit("bytes".to_owned()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(info.size).unwrap_or(0));
    while size(&bytes) < info.size {
        match read(name, size(&bytes), PIECE_BYTES_MAX)? {
            Some(piece) if !piece.is_empty() => bytes.extend(piece),
            _ => return Err(StorageError::Retry),
        }
    }
    if stat(name)?.as_ref() == Some(&info) { Ok(Some(bytes)) } else { Err(StorageError::Retry) }
}

/// Writes a whole blob, in the place of what had the name.
///
/// # Errors
/// As of [`Writer::append`] and [`Writer::finish`]; then what had the name is still there.
pub fn put(name: &str, media_type: &str, bytes: &[u8]) -> Result<Info, StorageError> {
    let mut writer = create(name, media_type)?;
    writer.append(bytes)?;
    writer.finish()
}

/// Begins to write a blob. A call has one writer open at a time, and a plugin two in a tenant.
///
/// # Errors
/// [`StorageError`]; `Limit` with `open-writers` for one more, after a wait of at most 500 ms.
pub fn create(name: &str, media_type: &str) -> Result<Writer, StorageError> {
    Ok(Writer { host: host::create(name, media_type)?, buffer: Vec::new() })
}

/// Removes a blob and says whether it was there.
///
/// # Errors
/// [`StorageError`]. Works over the quota as well.
pub fn delete(name: &str) -> Result<bool, StorageError> {
    Ok(host::delete(name)?)
}

/// The blobs whose names begin with a prefix in byte order, at most `max` of them (1,000 at most). `after` is the token
/// `next` of the page before.
///
/// # Errors
/// [`StorageError`]; `Invalid` for a token that is not of this prefix.
pub fn scan(prefix: &str, after: Option<&str>, max: u32) -> Result<Page, StorageError> {
    Ok(host::scan(prefix, after, max)?)
}

/// A blob that is being written. Nothing of it is visible before [`Writer::finish`]; dropping it discards it, and so does
/// the end of the call. After an error it cannot be finished any more: `Ended`.
///
/// It is an [`io::Write`] as well, and sends small writes together. Do not write inside a [`crate::sql::transaction`]: on
/// SQLite both wait for one lock, and the writer gets `Limit` with `lock-wait`.
#[derive(Debug)]
pub struct Writer {
    host: host::Writer,
    buffer: Vec<u8>,
}

impl Writer {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StorageError`], also for what was added before; `Limit` with `quota` over the storage quota, with `bytes` beyond
    /// 64 MiB.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        if self.buffer.len() + bytes.len() > WRITER_BUFFER_BYTES {
            self.send()?;
        }
        if bytes.len() > WRITER_BUFFER_BYTES {
            let piece_bytes = usize::try_from(PIECE_BYTES_MAX).unwrap_or(usize::MAX);
            return bytes.chunks(piece_bytes).try_for_each(|piece| Ok(self.host.write(piece)?));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes the blob visible, all at once, in the place of what had the name.
    ///
    /// # Errors
    /// As of [`Writer::append`]; `Limit` with `blobs`. Then what had the name is still there.
    pub fn finish(mut self) -> Result<Info, StorageError> {
        self.send()?;
        Ok(host::Writer::finish(self.host)?)
    }

    fn send(&mut self) -> Result<(), StorageError> {
        if !self.buffer.is_empty() {
            self.host.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// The [`StorageError`] is inside the [`io::Error`].
impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map(|()| bytes.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
