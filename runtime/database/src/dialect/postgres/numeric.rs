//! The server's binary form of a decimal number, exactly and of any width: digits of base 10,000 with the weight of
//! the first and the number of decimals to show.
//! It computes with no number.

/// Digits before and behind the point together: what the server itself can hold is more.
const DIGITS_MAX: usize = 10_000;

/// The binary form of an optional minus, digits, and at most one point between digits.
pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || unsigned.len() > DIGITS_MAX {
        return None;
    }
    // Groups of four to the left and to the right of the point.
    let before = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let behind = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let digits: Vec<u16> =
        before.as_bytes().chunks(4).chain(behind.as_bytes().chunks(4)).map(group).collect::<Option<_>>()?;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let significant = digits.get(leading..digits.len().saturating_sub(trailing)).unwrap_or_default();
    let weight = if significant.is_empty() {
        0
    } else {
        i16::try_from(before.len() / 4).ok()? - 1 - i16::try_from(leading).ok()?
    };
    let sign: u16 = if text.starts_with('-') && !significant.is_empty() { 0x4000 } else { 0 };
    let mut bytes = u16::try_from(significant.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(u16::try_from(fraction.len()).ok()?.to_be_bytes());
    bytes.extend(significant.iter().flat_map(|digit| digit.to_be_bytes()));
    Some(bytes)
}

fn group(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The text of a binary form; `None` for NaN and the infinities.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let mut fields = bytes.chunks_exact(2).map(|field| <[u8; 2]>::try_from(field).map(u16::from_be_bytes).ok());
    let mut next = || fields.next().flatten();
    let (count, weight, sign, scale) = (next()?, next()?, next()?, next()?);
    let weight = i32::from(i16::from_be_bytes(weight.to_be_bytes()));
    if !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let digits: Vec<u16> = fields.collect::<Option<_>>()?;
    if digits.len() != usize::from(count) {
        return None;
    }
    // The digit that stands `place` groups left of the point's right neighbour.
    let digit = |place: i32| {
        usize::try_from(weight.saturating_sub(place)).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    text.push_str(&digit(weight.max(0)).to_string());
    for place in (0..weight.max(0)).rev() {
        text.push_str(&format!("{:04}", digit(place)));
    }
    if scale > 0 {
        let groups = i32::from(scale).div_euclid(4) + 1;
        let mut fraction: String = (1..=groups).map(|place| format!("{:04}", digit(-place))).collect();
        fraction.truncate(usize::from(scale));
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comes_back_digit_for_digit() {
        for text in [
            "0",
            "1",
            "-1",
            "10",
            "9999",
            "10000",
            "100000000",
            "0.1",
            "0.0001",
            "0.00001",
            "-0.10",
            "1.10",
            "123.456",
            "12345678901234567890.000000001",
            "1000000000000000000000.5",
            "0.000000000000",
            "99999999.99999999",
        ] {
            assert_eq!(decode(&encode(text).unwrap()).as_deref(), Some(text), "{text}");
        }
        assert_eq!(decode(&encode("007").unwrap()).as_deref(), Some("7"));
        assert_eq!(decode(&encode("-0").unwrap()).as_deref(), Some("0"));
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in ["", "-", "1.", ".1", "1e5", "1,0", "NaN", "--1", "+1", "1.2.3", " 1"] {
            assert_eq!(encode(text), None, "{text}");
        }
        assert_eq!(encode(&"9".repeat(DIGITS_MAX + 1)), None);
        assert_eq!(decode(&[0, 0, 0, 0, 0xC0, 0, 0, 0]), None);
        assert_eq!(decode(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
    }
}
