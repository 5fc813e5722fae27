//! W3C trace ids: <https://www.w3.org/TR/trace-context/>.
//! It makes none: random bytes come from the edge.

use std::fmt;

/// A trace id, 32 lower-case hex digits, never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// A trace id of these random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        // The standard reserves all zero for "none"; one set bit keeps any input legal.
        if bytes == [0; 16] { Self([1; 16]) } else { Self(bytes) }
    }

    /// The trace id of a `traceparent` header, if the header is well formed: version, 32 hex digits,
    /// 16 hex digits, flags. A malformed one is ignored, as the standard asks.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        let lengths = version.len() == 2 && parent.len() == 16 && flags.len() == 2;
        if !known || !lengths || header.len() > 256 {
            return None;
        }
        let _parent =
            data_encoding::HEXLOWER.decode(parent.as_bytes()).ok().filter(|bytes| bytes.iter().any(|b| *b != 0))?;
        let bytes: [u8; 16] = data_encoding::HEXLOWER.decode(trace.as_bytes()).ok()?.try_into().ok()?;
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// 32 lower-case hex digits.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_followed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

        assert_eq!(
            TraceId::from_traceparent(good).map(|id| id.hex()).as_deref(),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert_eq!(TraceId::from_traceparent(bad), None, "{bad}");
        }
    }
}
