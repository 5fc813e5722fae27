//! Ranges of bytes: what of a blob is wanted, and which chunk of an upload arrives.
//! One range at a time; several in one request are not served.

use crate::error::{Error, ErrorCode};

/// Bytes from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl ByteRange {
    /// What `Range` asks of a blob of `size_bytes`. A form that is not understood is ignored: `None` is the whole blob.
    pub fn wanted(header: &str, size_bytes: u64) -> Result<Option<Self>, Error> {
        let nothing = || Error::OutOfRange { size_bytes };
        let Some((first, last)) = header.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Ok(None);
        };
        let (first, last) = (first.trim(), last.trim());
        if last.contains(',') || (first.is_empty() && last.is_empty()) {
            return Ok(None);
        }
        let number = |text: &str| digits(text).ok_or_else(nothing);
        let end = size_bytes.checked_sub(1).ok_or_else(nothing)?;
        let range = if first.is_empty() {
            let count = number(last)?;
            if count == 0 {
                return Err(nothing());
            }
            Self { first: size_bytes.saturating_sub(count), last: end }
        } else if last.is_empty() {
            Self { first: number(first)?, last: end }
        } else {
            Self { first: number(first)?, last: number(last)? }
        };
        if range.first > range.last || range.first > end {
            return Err(nothing());
        }
        Ok(Some(Self { last: range.last.min(end), ..range }))
    }

    /// What `Content-Range` says of a chunk: `0-1023`, also as `bytes 0-1023/*`.
    pub fn sent(header: &str) -> Result<Self, Error> {
        let malformed =
            || Error::refused(ErrorCode::BlobUploadInvalid, "`Content-Range` is the first and the last byte, `0-1023`");
        let text = header.trim().trim_start_matches("bytes").trim_start_matches([' ', '=']);
        let text = text.split('/').next().unwrap_or_default();
        let (first, last) = text.split_once('-').ok_or_else(malformed)?;
        let number = |text: &str| digits(text.trim()).ok_or_else(malformed);
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first > range.last {
            return Err(malformed());
        }
        Ok(range)
    }

    /// Bytes in it.
    pub fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// A number of digits alone: a sign is none of HTTP's.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_breaks_a_range(header in "(bytes)?[ =]?[-+0-9a-z,*/ ]{0,24}", size in any::<u64>()) {
            if let Ok(Some(range)) = ByteRange::wanted(&header, size) {
                prop_assert!(range.first <= range.last && range.last < size);
            }
            if let Ok(range) = ByteRange::sent(&header) {
                prop_assert!(range.first <= range.last && range.length() >= 1);
            }
        }
    }

    #[test]
    fn a_blobs_range_is_clipped_refused_or_ignored() {
        let check = |header: &str, size: u64, wanted: Result<Option<(u64, u64)>, ()>| {
            let found = ByteRange::wanted(header, size).map(|range| range.map(|range| (range.first, range.last)));
            assert_eq!(found.map_err(|_| ()), wanted, "{header} of {size}");
        };

        check("bytes=0-9", 100, Ok(Some((0, 9))));
        check("bytes=90-", 100, Ok(Some((90, 99))));
        check("bytes=-10", 100, Ok(Some((90, 99))));
        check("bytes=-1000", 100, Ok(Some((0, 99))));
        check("bytes=90-1000", 100, Ok(Some((90, 99))));
        check("bytes=99-99", 100, Ok(Some((99, 99))));
        check("bytes=100-", 100, Err(()));
        check("bytes=500-0", 100, Err(()));
        check("bytes=5-4", 100, Err(()));
        check("bytes=-0", 100, Err(()));
        check("bytes=0-", 0, Err(()));
        check("bytes=a-b", 100, Err(()));
        check("bytes=99999999999999999999-", 100, Err(()));
        check("bytes=0-1,5-6", 100, Ok(None));
        check("bytes=-", 100, Ok(None));
        check("lines=0-1", 100, Ok(None));
        check("", 100, Ok(None));
    }

    #[test]
    fn a_chunk_says_where_it_belongs() {
        let check = |header: &str, wanted: Option<(u64, u64)>| {
            assert_eq!(ByteRange::sent(header).ok().map(|range| (range.first, range.last)), wanted, "{header}");
        };

        check("0-1023", Some((0, 1023)));
        check("bytes 0-1023/2048", Some((0, 1023)));
        check("5-4", None);
        check("5", None);
        check("", None);
        check("a-b", None);
        assert_eq!(ByteRange::sent("10-19").unwrap().length(), 10);
    }
}
