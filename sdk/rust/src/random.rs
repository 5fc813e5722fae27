//! Random bytes and ids, from the host's generator.
//! Keys and signatures are not made here: the host's `crypto` keeps keys that a plugin never sees.

use std::fmt;
use std::str::FromStr;

/// A UUID: 128 bits, written as 32 hex digits in groups of 8-4-4-4-12.
///
/// ```
/// use bulkhead_sdk::random::Uuid;
///
/// let id = Uuid::new();
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub u128);

impl Uuid {
    /// A random one (version 4).
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two defaults would differ")]
    pub fn new() -> Self {
        let mut bytes = [0; 16];
        fill(&mut bytes);
        let random = u128::from_be_bytes(bytes);
        let version = 0xf << 76;
        let variant = 0b11 << 62;
        Self(random & !version & !variant | 0x4 << 76 | 0b10 << 62)
    }
}

/// Fills `bytes` with random ones; the host gives at most 64 KiB in one call.
#[expect(clippy::panic, reason = "a host without randomness cannot run anything")]
pub fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("no random bytes: {error}");
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [(96, 8), (80, 4), (64, 4), (48, 4), (0, 12)];
        for (index, (shift, digits)) in groups.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { "-" };
            let group = self.0 >> shift & ((1 << (4 * digits)) - 1);
            write!(f, "{separator}{group:0digits$x}")?;
        }
        Ok(())
    }
}

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID: 32 hex digits in groups of 8-4-4-4-12")
    }
}

impl std::error::Error for InvalidUuid {}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let is_shaped = text.len() == 36
            && text.bytes().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !is_shaped {
            return Err(InvalidUuid);
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(Self).map_err(|_| InvalidUuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_only_in_its_one_form() {
        check("00112233-4455-6677-8899-aabbccddeeff", Ok(Uuid(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)));
        check("00112233445566778899aabbccddeeff", Err(InvalidUuid));
        check("00112233-4455-6677-8899-aabbccddeefg", Err(InvalidUuid));
        check("+0112233-4455-6677-8899-aabbccddeeff", Err(InvalidUuid));
        check("", Err(InvalidUuid));
    }

    fn check(text: &str, expected: Result<Uuid, InvalidUuid>) {
        assert_eq!(text.parse(), expected, "{text}");
    }

    #[test]
    fn a_new_uuid_is_of_version_4() {
        let text = Uuid::new().to_string();

        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text);
        assert_ne!(text, Uuid::new().to_string());
    }
}
