//! Plain tar archives in memory: regular files read from what `tar`, `npm`, `oras` and `skopeo` write, and written as ustar.
//! It unpacks nothing: an entry is a path and bytes. What is not a regular file under an honest path is refused.

use std::collections::BTreeSet;

/// Bytes of a block, the unit of the format.
const BLOCK_BYTES: usize = 512;
/// Most entries of an archive, folders included.
pub const ENTRIES_MAX: usize = 4_096;
/// Longest path in bytes.
const PATH_BYTES_MAX: usize = 512;
/// Most parts of a path.
const PATH_PARTS_MAX: usize = 32;
/// Largest extended header in bytes.
const EXTENDED_BYTES_MAX: usize = 16 << 10;
/// Longest path that a ustar header holds without a prefix.
const NAME_BYTES_MAX: usize = 100;

/// Why bytes are no archive that is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArchive {
    /// It breaks the format, or holds what is not taken.
    #[error("the archive is not taken: {0}")]
    Malformed(String),
    /// It is longer, or has more entries, than allowed.
    #[error("the archive is too large: {0}")]
    TooLarge(String),
    /// A blob of it has another digest than its name says.
    #[error("the archive is not taken: `{0}` has another digest")]
    Digest(String),
}

/// A regular file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path: relative, parts joined by `/`, none of them `.` or `..`.
    pub path: String,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The regular files of an archive, in its order.
pub fn read(archive: &[u8]) -> Result<Vec<Entry<'_>>, InvalidArchive> {
    let mut rest = archive;
    let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
    let mut named: Option<String> = None;
    for _ in 0..=ENTRIES_MAX {
        let Some((header, after)) = rest.split_first_chunk::<BLOCK_BYTES>() else {
            // Some writers leave the closing zeros out.
            return if rest.is_empty() && named.is_none() { Ok(entries) } else { Err(malformed("it ends early")) };
        };
        if header.iter().all(|byte| *byte == 0) {
            return ended(after, entries);
        }
        let header = Header::parse(header)?;
        let (bytes, after) = header.split(after)?;
        rest = after;
        match header.kind {
            b'x' => named = path_of_pax(bytes)?.or(named),
            b'L' => named = Some(text(bytes.strip_suffix(b"\0").unwrap_or(bytes))?),
            b'g' if bytes.len() <= EXTENDED_BYTES_MAX => {}
            b'0' | 0 => {
                let path = honest(&named.take().unwrap_or(header.path))?;
                if !seen.insert(path.to_ascii_lowercase()) {
                    return Err(malformed(format!("`{path}` stands in it twice, letter case aside")));
                }
                entries.push(Entry { path, bytes });
            }
            b'5' => drop(honest(named.take().unwrap_or(header.path).trim_end_matches('/'))?),
            b'1' | b'2' => return Err(malformed(format!("`{}` is a link", shown(&header.path)))),
            b'3' | b'4' | b'6' => return Err(malformed(format!("`{}` is a device or a pipe", shown(&header.path)))),
            other => return Err(malformed(format!("`{}` is of the unknown kind {other}", shown(&header.path)))),
        }
    }
    Err(InvalidArchive::TooLarge(format!("it has more than {ENTRIES_MAX} entries")))
}

fn ended<'a>(after: &[u8], entries: Vec<Entry<'a>>) -> Result<Vec<Entry<'a>>, InvalidArchive> {
    if after.iter().all(|byte| *byte == 0) { Ok(entries) } else { Err(malformed("bytes follow its end")) }
}

struct Header {
    path: String,
    kind: u8,
    size_bytes: usize,
}

impl Header {
    fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Self, InvalidArchive> {
        let field = |at: usize, length: usize| block.get(at..at.saturating_add(length)).unwrap_or_default();
        let counted = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let sum: u64 = counted.map(u64::from).sum();
        if number(field(148, 8)) != Some(sum) {
            return Err(malformed("a header's checksum is wrong"));
        }
        let size = number(field(124, 12)).and_then(|size| usize::try_from(size).ok());
        let name = text(until_zero(field(0, 100)))?;
        let prefix = if field(257, 6) == b"ustar\0" { text(until_zero(field(345, 155)))? } else { String::new() };
        Ok(Self {
            path: if prefix.is_empty() { name } else { format!("{prefix}/{name}") },
            kind: field(156, 1).first().copied().unwrap_or_default(),
            size_bytes: size.ok_or_else(|| malformed("a size is no number"))?,
        })
    }

    /// Its bytes, and what follows them and their padding.
    fn split<'a>(&self, rest: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), InvalidArchive> {
        if matches!(self.kind, b'x' | b'g' | b'L') && self.size_bytes > EXTENDED_BYTES_MAX {
            return Err(InvalidArchive::TooLarge(format!("a header has more than {EXTENDED_BYTES_MAX} bytes")));
        }
        // Folders and refused kinds have no bytes, whatever their size says.
        let size_bytes = if matches!(self.kind, b'0' | 0 | b'x' | b'g' | b'L') { self.size_bytes } else { 0 };
        let (bytes, after) = rest.split_at_checked(size_bytes).ok_or_else(|| malformed("it ends early"))?;
        let padding = size_bytes.next_multiple_of(BLOCK_BYTES).saturating_sub(size_bytes);
        Ok((bytes, after.get(padding..).ok_or_else(|| malformed("it ends early"))?))
    }
}

/// Octal digits between blanks, or the binary form with the highest bit set.
fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, rest)) => {
            let (high, low) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
            high.iter().all(|byte| *byte == 0).then_some(())?;
            Some(u64::from_be_bytes(low.try_into().ok()?))
        }
        _ => {
            let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
            if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
        }
    }
}

/// The path of an extended header, lines of `<length> <key>=<value>`. A size there would contradict the header's: refused.
fn path_of_pax(bytes: &[u8]) -> Result<Option<String>, InvalidArchive> {
    let (mut rest, mut path) = (bytes, None);
    while !rest.is_empty() {
        let broken = || malformed("an extended header is broken");
        let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length = rest.get(..blank).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        let (line, after) = length.and_then(|length| rest.split_at_checked(length)).ok_or_else(broken)?;
        let pair = line.get(blank.saturating_add(1)..).and_then(|pair| pair.strip_suffix(b"\n")).ok_or_else(broken)?;
        let equals = pair.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        match pair.split_at(equals) {
            (b"path", value) => path = Some(text(value.get(1..).unwrap_or_default())?),
            (b"size", _) => return Err(malformed("a size stands in an extended header")),
            _ => {}
        }
        rest = after;
    }
    Ok(path)
}

/// A path that leads nowhere else: relative, bounded, without `..`.
fn honest(path: &str) -> Result<String, InvalidArchive> {
    let refused = |why: &str| malformed(format!("the path `{}` {why}", shown(path)));
    let inner = path.strip_prefix("./").unwrap_or(path);
    if inner.len() > PATH_BYTES_MAX || inner.split('/').count() > PATH_PARTS_MAX {
        return Err(refused("is too long"));
    }
    if inner == "." {
        return Ok(String::new());
    }
    if inner.starts_with('/') || inner.contains(['\\', '\0', ':']) {
        return Err(refused("is not relative"));
    }
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refused("leads elsewhere"));
    }
    if inner.chars().any(char::is_control) {
        return Err(refused("holds control characters"));
    }
    Ok(inner.to_owned())
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> Result<String, InvalidArchive> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a path is not UTF-8"))
}

fn shown(path: &str) -> String {
    path.chars().take(80).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn malformed(reason: impl Into<String>) -> InvalidArchive {
    InvalidArchive::Malformed(reason.into())
}

/// The header of a regular file that everybody may read, without a time: the same files make the same archive. Paths have at
/// most 100 bytes.
pub(crate) fn header(path: &str, size_bytes: u64) -> Option<[u8; BLOCK_BYTES]> {
    let mut block = [0; BLOCK_BYTES];
    let sizes = format!("{size_bytes:011o}");
    for (at, room, text) in [
        (0_usize, NAME_BYTES_MAX, path),
        (100, 8, "0000644"),
        (108, 8, "0000000"),
        (116, 8, "0000000"),
        (124, 12, sizes.as_str()),
        (136, 12, "00000000000"),
        (148, 8, "        "),
        (156, 1, "0"),
        (257, 6, "ustar"),
        (263, 2, "00"),
    ] {
        block.get_mut(at..at.saturating_add(room))?.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    }
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    block.get_mut(148..156)?.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// Appends a regular file.
pub(crate) fn put(archive: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let header = header(path, size_bytes)
        .unwrap_or_else(|| unreachable!("the layout's paths have at most 100 bytes, its files at most 2^33"));
    archive.extend_from_slice(&header);
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// Appends the end.
pub(crate) fn finish(archive: &mut Vec<u8>) {
    archive.resize(archive.len().saturating_add(2 * BLOCK_BYTES), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An archive of entries: path, kind, bytes.
    fn archive(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (path, kind, bytes) in entries {
            raw(&mut archive, path.as_bytes(), *kind, bytes);
        }
        finish(&mut archive);
        archive
    }

    fn raw(archive: &mut Vec<u8>, path: &[u8], kind: u8, bytes: &[u8]) {
        let mut block = header("", bytes.len() as u64).unwrap();
        block[..path.len()].copy_from_slice(path);
        block[156] = kind;
        sum(&mut block);
        archive.extend_from_slice(&block);
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }

    fn sum(block: &mut [u8]) {
        block[148..156].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn what_is_not_a_regular_file_under_an_honest_path_is_refused() {
        let check = |why: &str, entries: &[(&str, u8, &[u8])]| {
            let error = read(&archive(entries)).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        };

        check("leads elsewhere", &[("../evil", b'0', b"x")]);
        check("leads elsewhere", &[("a/../../evil", b'0', b"x")]);
        check("leads elsewhere", &[("a//b", b'0', b"x")]);
        check("leads elsewhere", &[("a/./b", b'0', b"x")]);
        check("leads elsewhere", &[("a/", b'0', b"x")]);
        check("leads elsewhere", &[("", b'0', b"x")]);
        check("leads elsewhere", &[("../folder", b'5', b"")]);
        check("not relative", &[("/etc/passwd", b'0', b"x")]);
        check("not relative", &[("C:evil", b'0', b"x")]);
        check("not relative", &[("a\\b", b'0', b"x")]);
        check("control characters", &[("a\nb", b'0', b"x")]);
        check("twice", &[("a", b'0', b"x"), ("a", b'0', b"y")]);
        check("twice", &[("Crm.wasm", b'0', b"x"), ("crm.WASM", b'0', b"y")]);
        check("twice", &[("a", b'0', b"x"), ("./a", b'0', b"y")]);
        check("a link", &[("a", b'2', b"")]);
        check("a link", &[("a", b'1', b"")]);
        check("a device", &[("a", b'3', b"")]);
        check("a device", &[("a", b'4', b"")]);
        check("a device", &[("a", b'6', b"")]);
        check("unknown kind", &[("a", b'S', b"")]);
        check("unknown kind", &[("a", b'7', b"x")]);
        check("extended header is broken", &[("p", b'x', b"nonsense")]);
        check("extended header is broken", &[("p", b'x', b"99 path=a\n")]);
        check("size stands in", &[("p", b'x', b"10 size=9\n"), ("a", b'0', b"x")]);
        check("leads elsewhere", &[("p", b'x', b"16 path=../../x\n"), ("a", b'0', b"x")]);
        check("leads elsewhere", &[("long", b'L', b"../x\0"), ("a", b'0', b"x")]);
        check("more than", &[("p", b'x', &[b'x'; EXTENDED_BYTES_MAX + 1])]);
    }

    #[test]
    fn a_broken_archive_is_refused_and_a_whole_one_is_read() {
        let whole = archive(&[("dir", b'5', b""), ("./dir/a", b'0', b"hello"), ("b", 0, b""), ("g", b'g', b"")]);
        let found: Vec<(String, Vec<u8>)> =
            read(&whole).unwrap().into_iter().map(|entry| (entry.path, entry.bytes.to_vec())).collect();
        assert_eq!(found, [("dir/a".to_owned(), b"hello".to_vec()), ("b".to_owned(), Vec::new())]);

        let check = |bytes: &[u8], why: &str| {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        };
        check(&whole[..700], "ends early");
        check(&whole[..1_030], "ends early");
        check(&[b'x'; 512], "checksum");
        check(&[whole.as_slice(), b"more"].concat(), "follow its end");
        let mut lying = Vec::new();
        raw(&mut lying, b"a", b'0', b"hello");
        lying[124..136].copy_from_slice(b"77777777777\0");
        sum(&mut lying[..512]);
        check(&lying, "ends early");
        lying[124..136].copy_from_slice(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        sum(&mut lying[..512]);
        check(&lying, "no number");
        let many = archive(&vec![("d", b'5', b"".as_slice()); ENTRIES_MAX + 1]);
        assert!(matches!(read(&many), Err(InvalidArchive::TooLarge(_))));
    }

    #[test]
    fn long_paths_are_read_in_both_spellings() {
        let long = format!("blobs/{}/x", "d".repeat(120));
        let pax = format!("{} path={long}\n", long.len() + 10);
        let nul = format!("{long}\0");

        for entries in
            [[("p", b'x', pax.as_bytes()), ("a", b'0', b"1")], [("l", b'L', nul.as_bytes()), ("a", b'0', b"1")]]
        {
            assert_eq!(read(&archive(&entries)).unwrap()[0].path, long);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..2_048)) {
            drop(read(&bytes));
        }

        #[test]
        fn a_bit_flip_is_refused_or_changes_what_is_read(at in 0_usize..2_560, bit in 0_u8..8) {
            let mut flipped = archive(&[("a/b", b'0', b"hello"), ("c", b'0', b"x")]);
            flipped[at % 1_536] ^= 1 << bit;
            if let Ok(entries) = read(&flipped) {
                prop_assert!(entries.iter().all(|entry| !entry.path.contains("..")));
            }
        }
    }
}
