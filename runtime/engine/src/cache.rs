//! The compiled cache: native code on disk that this process will execute, so each entry is bound by a MAC
//! under the host's key to its component, its facts, the engine's settings and its own bytes.
//! It does not decide whether a component may run; whoever asks for an entry has decided.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bulkhead_model::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::{AtFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use wasmtime::component::Component;

use crate::error::Error;
use crate::settings::Fingerprint;

/// Separates these MACs from any other use of the key.
const LABEL: &[u8] = b"bulkhead compiled component v1\n";
/// Bytes of the MAC at the end of an entry.
const MAC_BYTES: u64 = 32;
/// Largest entry that is read. Worker limits may be raised per rule; the file's own bound is the host's.
const ENTRY_BYTES_MAX: u64 = (512 << 20) + MAC_BYTES;
/// Bytes that are authenticated at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Which compiled form: of which component, admitted with which facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    /// Digest of the component file.
    pub(crate) component: &'a Digest,
    /// Digest of what the host recorded about it.
    pub(crate) facts: &'a Digest,
}

/// The cache directory, opened once.
pub(crate) struct Cache {
    directory: OwnedFd,
    /// The key, padded with zeros to HMAC's block, as HMAC itself would.
    key: [u8; 64],
    fingerprint: Fingerprint,
}

impl Cache {
    /// Opens `path`, making it if it is missing. It must belong to this process's user and be closed to all others.
    pub(crate) fn open(path: &Path, key: [u8; 32], fingerprint: Fingerprint) -> Result<Self, Error> {
        let refused = |reason| Error::CacheDirectory { path: path.to_owned(), reason };
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(_) => return Err(refused("it cannot be made")),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|_| refused("it is not a directory that this user can open; a link is not followed"))?;
        let stat = rustix::fs::fstat(&directory).map_err(|_| refused("it cannot be inspected"))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(refused("others may enter it; its mode must be 0700"));
        }
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to = from;
        }
        Ok(Self { directory, key: block, fingerprint })
    }

    /// Writes the compiled form of `key`: complete or not at all, also when the machine stops in between.
    pub(crate) fn write(&self, key: Key<'_>, compiled: &[u8]) -> Result<(), Error> {
        let mut mac = self.mac(key, compiled.len() as u64);
        mac.update(compiled);
        let name = self.name(key);
        let temporary = format!("{name}.{:016x}.new", random_u64()?);
        let written = self.write_file(&temporary, compiled, &mac.finalize().into_bytes()).and_then(|()| {
            rustix::fs::renameat(&self.directory, &temporary, &self.directory, &name)?;
            rustix::fs::fsync(&self.directory)?;
            Ok(())
        });
        if written.is_err() && rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty()).is_err() {
            // An orphan is never read: its name is not an entry's.
            tracing::debug!("an unfinished entry of the compiled cache stays behind");
        }
        written.map_err(|source| Error::Cache { operation: "write an entry", source })
    }

    /// The component of `key`, authenticated. A damaged or foreign entry is deleted and is an error.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, key: Key<'_>) -> Result<Component, Error> {
        let failed = |source| Error::Cache { operation: "read an entry", source };
        let file = match self.open_entry(key) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(Error::NotCompiled(*key.component)),
            // A link where an entry should be.
            Err(Errno::LOOP) => return Err(self.refuse(key)?),
            Err(error) => return Err(failed(error.into())),
        };
        let Some(copy) = PrivateCopy::of(&file).map_err(failed)? else {
            return Err(self.refuse(key)?);
        };
        if !self.is_authentic(key, &copy).map_err(failed)? {
            return Err(self.refuse(key)?);
        }
        deserialize(engine, &copy.file).map_err(|error| Error::Load(format!("{error:#}")))
    }

    /// Deletes the entry of `key`, if there is one.
    pub(crate) fn remove(&self, key: Key<'_>) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.directory, self.name(key), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::Cache { operation: "delete an entry", source: error.into() }),
        }
    }

    fn refuse(&self, key: Key<'_>) -> Result<Error, Error> {
        metrics::counter!("bulkhead_denied_total", "reason" => "cache-mismatch").increment(1);
        tracing::error!(component.digest = %key.component, "a compiled cache entry was not written by this host; deleted");
        self.remove(key)?;
        Ok(Error::CacheMismatch(*key.component))
    }

    fn open_entry(&self, key: Key<'_>) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(&self.directory, self.name(key), flags, Mode::empty()).map(File::from)
    }

    fn write_file(&self, name: &str, compiled: &[u8], mac: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(compiled)?;
        file.write_all(mac)?;
        file.sync_all()
    }

    fn is_authentic(&self, key: Key<'_>, copy: &PrivateCopy) -> io::Result<bool> {
        let mut mac = self.mac(key, copy.length);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while at < copy.length {
            let wanted = usize::try_from(copy.length - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let Some(part) = chunk.get_mut(..wanted) else {
                return Ok(false);
            };
            copy.file.read_exact_at(part, at)?;
            mac.update(part);
            at = at.saturating_add(wanted as u64);
        }
        Ok(bool::from(mac.finalize().into_bytes().as_slice().ct_eq(copy.mac.as_slice())))
    }

    /// A MAC that already covers everything but the compiled bytes. Each part has a fixed length or its length before it.
    fn mac(&self, key: Key<'_>, length: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(LABEL);
        mac.update(key.component.as_bytes());
        mac.update(key.facts.as_bytes());
        // Covers the wasmtime version, the target and every compile setting.
        mac.update(self.fingerprint.as_bytes());
        mac.update(&length.to_le_bytes());
        mac
    }

    fn name(&self, key: Key<'_>) -> String {
        format!("{}-{}.cwasm", key.component.hex(), self.fingerprint.hex())
    }
}

/// An entry's bytes in memory that nothing can change any more, and the MAC that stood behind them.
struct PrivateCopy {
    file: File,
    length: u64,
    mac: [u8; 32],
}

impl PrivateCopy {
    /// Copies `file` and seals the copy. `None`: no regular file of a possible size.
    fn of(mut file: &File) -> io::Result<Option<Self>> {
        let stat = rustix::fs::fstat(file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if !FileType::from_raw_mode(stat.st_mode).is_file() || !(MAC_BYTES..=ENTRY_BYTES_MAX).contains(&size) {
            return Ok(None);
        }
        let length = size - MAC_BYTES;
        let memory = rustix::fs::memfd_create("bulkhead-compiled", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut copy = File::from(memory);
        let copied = io::copy(&mut file.take(length), &mut copy)?;
        let mut mac = [0; 32];
        if copied != length || file.read_exact(&mut mac).is_err() {
            return Ok(None);
        }
        rustix::fs::fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Some(Self { file: copy, length, mac }))
    }
}

#[expect(unsafe_code, reason = "deserializing trusts the bytes: they are sealed and carry this host's MAC")]
fn deserialize(engine: &wasmtime::Engine, sealed: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    // SAFETY: the file holds bytes that this host's compile worker made, as the MAC over them proves, and the
    // seals keep every process, this one included, from changing them.
    unsafe { Component::deserialize_file(engine, path) }
}

fn random_u64() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Cache { operation: "name an entry", source: io::Error::other(error.to_string()) })?;
    Ok(u64::from_le_bytes(bytes))
}
