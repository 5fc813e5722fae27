//! Writes an archive: a plain POSIX tar (ustar) of regular files in the order in which they are put, with their checksums
//! at the end. What has no known length is spooled to a file without a name first, so that memory stays bounded.
//! It knows no plugin. Paths are its callers' to choose: none is made from what a plugin says.

use std::io::{Error, ErrorKind, Result, SeekFrom};
use std::path::Path;

use bulkhead_model::Digest;
use sha2::{Digest as _, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter};

/// Bytes of a block, the unit of the format.
const BLOCK_BYTES: usize = 512;
/// Largest length that the format's eleven octal digits hold; a longer one is written in the binary form that every
/// current `tar` reads.
const OCTAL_MAX: u64 = (1 << 33) - 1;
/// Bytes that are copied or buffered at once.
const BUFFER_BYTES: usize = 256 << 10;
/// The file with the checksum of each other one, as `sha256sum -c` reads it.
const SUMS: &str = "sha256sums";

/// An archive that is being written.
pub(crate) struct Archive<W> {
    out: W,
    sums: Spool,
    modified_s: u64,
}

impl<W: AsyncWrite + Unpin> Archive<W> {
    /// Begins one whose files bear the time `modified_s`, in seconds since 1970. `folder` takes what is spooled.
    pub(crate) async fn begin(out: W, folder: &Path, modified_s: u64) -> Result<Self> {
        Ok(Self { out, sums: Spool::open(folder).await?, modified_s })
    }

    /// Puts a file whose bytes are at hand.
    pub(crate) async fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let len = u64::try_from(bytes.len()).map_err(Error::other)?;
        self.out.write_all(&header(path, len, self.modified_s)?).await?;
        self.out.write_all(bytes).await?;
        self.pad(len).await?;
        self.note(path, Sha256::digest(bytes).into()).await
    }

    /// Puts a file that was spooled.
    pub(crate) async fn put_spooled(&mut self, path: &str, spool: &mut Spool, part: &Part) -> Result<()> {
        self.out.write_all(&header(path, part.len, self.modified_s)?).await?;
        spool.copy(part, &mut self.out).await?;
        self.pad(part.len).await?;
        self.note(path, part.sha256).await
    }

    /// Puts the checksums and the end, and gives back what was written to.
    pub(crate) async fn finish(mut self) -> Result<W> {
        let part = self.sums.end_part();
        self.out.write_all(&header(SUMS, part.len, self.modified_s)?).await?;
        self.sums.copy(&part, &mut self.out).await?;
        self.pad(part.len).await?;
        self.out.write_all(&[0; 2 * BLOCK_BYTES]).await?;
        self.out.flush().await?;
        Ok(self.out)
    }

    async fn note(&mut self, path: &str, sha256: [u8; 32]) -> Result<()> {
        let line = format!("{}  {path}\n", Digest::from_bytes(sha256).hex());
        self.sums.write(line.as_bytes()).await
    }

    async fn pad(&mut self, len: u64) -> Result<()> {
        let over = usize::try_from(len % 512).unwrap_or(0);
        let padding = [0; BLOCK_BYTES];
        self.out.write_all(padding.get(over..).filter(|_| over > 0).unwrap_or_default()).await
    }
}

/// The header of a regular file that its owner alone may read.
fn header(path: &str, len: u64, modified_s: u64) -> Result<[u8; BLOCK_BYTES]> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut fields = [0; BLOCK_BYTES];
    let checksum_blank = "        ";
    for (at, room, text) in [
        (0, 100, name),
        (100, 8, "0000600"),
        (108, 8, "0000000"),
        (116, 8, "0000000"),
        (124, 12, &format!("{:011o}", len.min(OCTAL_MAX))),
        (136, 12, &format!("{modified_s:011o}")),
        (148, 8, checksum_blank),
        (156, 1, "0"),
        (257, 6, "ustar"),
        (263, 2, "00"),
        (345, 155, folder),
    ] {
        write_field(&mut fields, at, room, text.as_bytes())?;
    }
    if len > OCTAL_MAX {
        let binary = [[0x80, 0, 0, 0].as_slice(), &len.to_be_bytes()].concat();
        write_field(&mut fields, 124, 12, &binary)?;
    }
    let sum: u32 = fields.iter().copied().map(u32::from).sum();
    write_field(&mut fields, 148, 8, format!("{sum:06o}\0 ").as_bytes())?;
    Ok(fields)
}

fn write_field(fields: &mut [u8; BLOCK_BYTES], at: usize, room: usize, bytes: &[u8]) -> Result<()> {
    let field = fields.get_mut(at..at.saturating_add(room)).and_then(|field| field.get_mut(..bytes.len()));
    let field = field.ok_or_else(|| Error::new(ErrorKind::InvalidFilename, "a path is too long for an archive"))?;
    field.copy_from_slice(bytes);
    Ok(())
}

/// A file without a name, which goes with the value. It is written in parts, each of which is read back whole.
pub(crate) struct Spool {
    file: BufWriter<File>,
    len: u64,
    part_begin: u64,
    hash: Sha256,
}

/// A part of a spool.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    begin: u64,
    len: u64,
    sha256: [u8; 32],
}

impl Part {
    /// SHA-256 of its bytes.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

impl Spool {
    /// Opens one in `folder`.
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(format!(".{}.spool", crate::calls::random_trace().hex()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).await?;
        tokio::fs::remove_file(&path).await?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, len: 0, part_begin: 0, hash: Sha256::new() })
    }

    /// Adds to the part that is being written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).map_err(Error::other)?);
        self.file.write_all(bytes).await
    }

    /// Ends the part that is being written; the next one begins.
    pub(crate) fn end_part(&mut self) -> Part {
        let begin = std::mem::replace(&mut self.part_begin, self.len);
        let sha256 = std::mem::take(&mut self.hash).finalize().into();
        Part { begin, len: self.len.saturating_sub(begin), sha256 }
    }

    /// Forgets everything that was written.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        self.file.flush().await?;
        self.file.get_mut().set_len(0).await?;
        self.file.seek(SeekFrom::Start(0)).await?;
        (self.len, self.part_begin, self.hash) = (0, 0, Sha256::new());
        Ok(())
    }

    async fn copy(&mut self, part: &Part, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        self.file.flush().await?;
        self.file.seek(SeekFrom::Start(part.begin)).await?;
        let mut source = self.file.get_mut().take(part.len);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = source.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            out.write_all(bytes).await?;
        }
        if source.limit() > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.file.seek(SeekFrom::Start(self.len)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that the system's own `tar` finds, with their contents.
    fn unpacked(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.tar"), archive).unwrap();
        let tar = |arguments: &[&str]| {
            let done = std::process::Command::new("tar").current_dir(folder.path()).args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        tar(&["xf", "a.tar"]);
        let read = |name: &str| (name.to_owned(), std::fs::read(folder.path().join(name)).unwrap());
        tar(&["tf", "a.tar"]).lines().map(read).collect()
    }

    #[tokio::test]
    async fn the_systems_own_tar_reads_what_was_put_and_in_that_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::begin(Vec::new(), folder.path(), 1_700_000_000).await.unwrap();
        let mut spool = Spool::open(folder.path()).await.unwrap();
        let long = format!("tenants/{}/plugins/{}/tables/{}.ndjson", "t".repeat(63), "p".repeat(64), "n".repeat(63));

        spool.write(b"first").await.unwrap();
        let first = spool.end_part();
        spool.write(&[7; 700_001]).await.unwrap();
        let second = spool.end_part();
        archive.put("manifest.json", b"{}").await.unwrap();
        archive.put_spooled(&long, &mut spool, &second).await.unwrap();
        archive.put_spooled("a/first", &mut spool, &first).await.unwrap();
        spool.clear().await.unwrap();
        spool.write(&[1; 512]).await.unwrap();
        let third = spool.end_part();
        archive.put_spooled("a/third", &mut spool, &third).await.unwrap();
        archive.put("a/empty", b"").await.unwrap();
        let written = archive.finish().await.unwrap();

        let files = unpacked(&written);
        let sums = files.last().unwrap().clone();
        let wanted: [(&str, &[u8]); 5] = [
            ("manifest.json", b"{}"),
            (&long, &[7; 700_001]),
            ("a/first", b"first"),
            ("a/third", &[1; 512]),
            ("a/empty", b""),
        ];
        assert_eq!(files.len(), 6);
        for ((name, bytes), (wanted_name, wanted_bytes)) in files.iter().zip(wanted) {
            assert!(name == wanted_name && bytes == wanted_bytes, "{name}");
        }
        assert_eq!(sums.0, "sha256sums");
        let lines = String::from_utf8(sums.1).unwrap();
        assert_eq!(lines.lines().nth(2).unwrap(), format!("{}  a/first", Digest::of(b"first").hex()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a spool has no name");
    }

    #[test]
    fn what_the_format_cannot_say_is_refused() {
        assert_eq!(header(&"n".repeat(100), OCTAL_MAX, 0).unwrap()[124..136], *b"77777777777\0");
        assert_eq!(header("n", OCTAL_MAX + 1, 0).unwrap()[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert!(header(&"n".repeat(101), 1, 0).is_err());
        assert!(header(&format!("{}/n", "f".repeat(156)), 1, 0).is_err());
    }
}
