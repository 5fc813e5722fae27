//! The mock of `blob`: an ordered map, one writer at a time, the host's bounds.
//! It has no quota and nobody else who writes.

use std::collections::BTreeMap;

use crate::blob::Info;

/// Blobs of the one tenant and plugin.
#[derive(Debug, Default)]
pub(super) struct Store {
    blobs: BTreeMap<String, (Info, Vec<u8>)>,
    has_writer: bool,
}

/// `bulkhead:plugin/blob`.
pub(crate) mod imports {
    use std::cell::RefCell;
    use std::ops::Bound;

    use crate::blob::{Info, PIECE_BYTES_MAX, Page};
    use crate::imports::storage::StorageError;
    use crate::mock::sha256::sha256;
    use crate::mock::{Host, running, with_state};

    const NAME_BYTES_MAX: usize = 512;
    const MEDIA_TYPE_BYTES_MAX: usize = 255;
    const BLOB_BYTES_MAX: usize = 64 << 20;
    const BLOBS_MAX: usize = 10_000;
    const PAGE_MAX: u32 = 1_000;

    pub(crate) fn stat(name: &str) -> Result<Option<Info>, StorageError> {
        check_name(name)?;
        Ok(with_state(|state| state.blob.blobs.get(name).map(|(info, _)| info.clone())))
    }

    pub(crate) fn read(name: &str, offset: u64, len: u32) -> Result<Vec<u8>, StorageError> {
        check_name(name)?;
        check(len <= PIECE_BYTES_MAX, "bytes")?;
        with_state(|state| {
            let not_found = || StorageError::Other(("not-found".to_owned(), "no such blob".to_owned()));
            let (_, bytes) = state.blob.blobs.get(name).ok_or_else(not_found)?;
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let from = bytes.get(offset..).unwrap_or_default();
            Ok(from.iter().take(usize::try_from(len).unwrap_or(usize::MAX)).copied().collect())
        })
    }

    pub(crate) fn create(name: &str, media_type: &str) -> Result<Writer, StorageError> {
        check_name(name)?;
        check(media_type.len() <= MEDIA_TYPE_BYTES_MAX, "bytes")?;
        if media_type.is_empty() || !media_type.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(StorageError::Invalid("a media type is printable ASCII, not empty".to_owned()));
        }
        with_state(|state| check(!std::mem::replace(&mut state.blob.has_writer, true), "open-writers"))?;
        let open = Open { bytes: Vec::new(), has_failed: false };
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        Ok(Writer { host: running(), name, media_type, open: RefCell::new(open) })
    }

    pub(crate) fn delete(name: &str) -> Result<bool, StorageError> {
        check_name(name)?;
        Ok(with_state(|state| state.blob.blobs.remove(name).is_some()))
    }

    pub(crate) fn scan(prefix: &str, after: Option<&str>, max: u32) -> Result<Page, StorageError> {
        if after.is_some_and(|after| !after.starts_with(prefix)) {
            return Err(StorageError::Invalid("the token is of another scan".to_owned()));
        }
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let max = usize::try_from(max.clamp(1, PAGE_MAX)).unwrap_or(usize::MAX);
        with_state(|state| {
            let mut infos = state
                .blob
                .blobs
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|(name, _)| name.starts_with(prefix))
                .map(|(_, (info, _))| info.clone());
            let items: Vec<Info> = infos.by_ref().take(max).collect();
            let next = infos.next().and_then(|_| items.last().map(|info| info.name.clone()));
            Ok(Page { items, next })
        })
    }

    /// A blob that is being written.
    #[derive(Debug)]
    pub(crate) struct Writer {
        host: Host,
        name: String,
        media_type: String,
        open: RefCell<Open>,
    }

    #[derive(Debug)]
    struct Open {
        bytes: Vec<u8>,
        has_failed: bool,
    }

    impl Writer {
        pub(crate) fn write(&self, piece: &[u8]) -> Result<(), StorageError> {
            let mut open = self.open.borrow_mut();
            if std::mem::replace(&mut open.has_failed, true) {
                return Err(StorageError::Ended);
            }
            check(piece.len() <= usize::try_from(PIECE_BYTES_MAX).unwrap_or(usize::MAX), "bytes")?;
            check(open.bytes.len().saturating_add(piece.len()) <= BLOB_BYTES_MAX, "bytes")?;
            open.bytes.extend_from_slice(piece);
            open.has_failed = false;
            Ok(())
        }

        #[expect(clippy::needless_pass_by_value, reason = "finishing ends the writer, as in the host's binding")]
        pub(crate) fn finish(this: Self) -> Result<Info, StorageError> {
            let Open { bytes, has_failed } = this.open.replace(Open { bytes: Vec::new(), has_failed: true });
            if has_failed {
                return Err(StorageError::Ended);
            }
            let state = &mut *this.host.0.borrow_mut();
            let is_new = !state.blob.blobs.contains_key(&this.name);
            check(!is_new || state.blob.blobs.len() < BLOBS_MAX, "blobs")?;
            let info = Info {
                name: this.name.clone(),
                size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                sha256: sha256(&bytes).to_vec(),
                media_type: this.media_type.clone(),
                modified_at: state.now_us,
            };
            state.blob.blobs.insert(this.name.clone(), (info.clone(), bytes));
            Ok(info)
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            self.host.0.borrow_mut().blob.has_writer = false;
        }
    }

    fn check_name(name: &str) -> Result<(), StorageError> {
        if name.is_empty() || name.contains('\0') {
            return Err(StorageError::Invalid("a name is text without NUL, not empty".to_owned()));
        }
        check(name.len() <= NAME_BYTES_MAX, "bytes")
    }

    fn check(is_met: bool, limit: &str) -> Result<(), StorageError> {
        if is_met { Ok(()) } else { Err(StorageError::Limit(limit.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crate::StorageError;
    use crate::blob::{self, PIECE_BYTES_MAX};
    use crate::mock::Host;

    fn limit<T: std::fmt::Debug>(result: Result<T, StorageError>, code: &str) {
        assert_eq!(result.map(|_| ()), Err(StorageError::Limit(code.to_owned())));
    }

    #[test]
    fn a_blob_is_visible_when_it_is_finished_and_not_before() {
        Host::new().with_now_us(7).run(|| {
            blob::put("a", "text/plain", b"old").unwrap();
            let mut writer = blob::create("a", "text/csv").unwrap();
            writer.append(b"new").unwrap();
            assert_eq!(blob::read("a", 1, 100), Ok(Some(b"ld".to_vec())));

            let info = writer.finish().unwrap();

            assert_eq!((info.size, info.media_type.as_str(), info.modified_at), (3, "text/csv", 7));
            assert_eq!(blob::stat("a"), Ok(Some(info)));
            assert_eq!(blob::read("a", 1, 100), Ok(Some(b"ew".to_vec())));
            assert_eq!((blob::delete("a"), blob::delete("a")), (Ok(true), Ok(false)));
            assert_eq!((blob::read("a", 0, 1), blob::read_to_end("a", 9)), (Ok(None), Ok(None)));
        });
    }

    #[test]
    fn a_dropped_writer_leaves_nothing_and_its_place() {
        Host::new().run(|| {
            let mut writer = blob::create("a", "text/plain").unwrap();
            writer.append(b"1").unwrap();
            limit(blob::create("b", "text/plain"), "open-writers");
            drop(writer);

            assert_eq!(blob::stat("a"), Ok(None));
            blob::put("b", "text/plain", b"2").unwrap();
        });
    }

    #[test]
    fn a_large_blob_is_written_and_read_in_pieces() {
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|place| place.to_le_bytes()[0]).collect();
        Host::new().run(|| {
            let mut writer = blob::create("a", "application/octet-stream").unwrap();
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap();

            assert_eq!(blob::read_to_end("a", 2_500_000), Ok(Some(bytes.clone())));
            for bytes_max in [0, 10, 2_499_999] {
                limit(blob::read_to_end("a", bytes_max), "bytes");
            }
            assert_eq!(blob::read("a", u64::MAX, 5), Ok(Some(vec![])));
            limit(blob::read("a", 0, PIECE_BYTES_MAX + 1), "bytes");
        });
    }

    #[test]
    fn small_writes_join_in_their_order() {
        Host::new().run(|| {
            let mut writer = blob::create("a", "text/plain").unwrap();
            let mut wanted = Vec::new();
            for piece in [&b"one"[..], &[7; 65_534], b"two", &[8; 65_537], b"", &[9; 65_536], b"three"] {
                writer.append(piece).unwrap();
                wanted.extend_from_slice(piece);
            }

            assert_eq!(writer.finish().unwrap().size, 196_618);
            assert_eq!(blob::read_to_end("a", 1 << 20), Ok(Some(wanted)));
        });
    }

    #[test]
    fn names_media_types_and_sizes_are_bounded_as_by_the_host() {
        Host::new().run(|| {
            for (name, media_type) in [("", "a/b"), ("a\0", "a/b"), ("a", ""), ("a", "a\nb"), ("a", "ä")] {
                let refused = blob::put(name, media_type, b"");
                assert!(matches!(refused, Err(StorageError::Invalid(_))), "{name:?} {media_type:?}");
            }
            limit(blob::put(&"n".repeat(513), "a/b", b""), "bytes");
            limit(blob::put("a", &"m".repeat(256), b""), "bytes");
            let mut writer = blob::create("a", "a/b").unwrap();
            limit(writer.append(&vec![0; (64 << 20) + 1]), "bytes");
            assert!(writer.flush().is_ok() && writer.write_all(b"x").is_ok() && writer.flush().is_err());
            assert_eq!(writer.finish(), Err(StorageError::Ended));
            assert_eq!(blob::stat("a"), Ok(None));
        });
    }

    #[test]
    fn pages_of_a_scan_join_without_a_gap() {
        Host::new().run(|| {
            for name in ["a", "b/1", "b/2", "b/3", "c"] {
                blob::put(name, "a/b", name.as_bytes()).unwrap();
            }
            let names = |page: &blob::Page| page.items.iter().map(|info| info.name.clone()).collect::<Vec<_>>();

            let first = blob::scan("b/", None, 2).unwrap();
            let second = blob::scan("b/", first.next.as_deref(), 2).unwrap();

            assert_eq!((names(&first), names(&second)), (vec!["b/1".into(), "b/2".into()], vec!["b/3".into()]));
            assert_eq!(second.next, None);
            assert!(matches!(blob::scan("b/", Some("c"), 2), Err(StorageError::Invalid(_))));
        });
    }
}
