//! Signed notes (C2SP signed-note): a text with signatures under it, each by a named key, here by Ed25519.
//! It does not know what the text says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Error, malformed, text};
use crate::key::{Outcome, SIGNATURE_BYTES, SigningKey, VerifyingKey};

/// Longest note in bytes, signatures included.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Most signatures of a note.
pub const SIGNATURES_MAX: usize = 32;
/// Longest name of a key in bytes.
pub const NAME_BYTES_MAX: usize = 200;

const WHAT: &str = "a signed note";
/// Begins a line with a signature.
const MARK: &str = "\u{2014} ";
/// The algorithm of a key, in its id.
const ED25519: u8 = 1;
const ID_BYTES: usize = 4;

/// Signs `text`, which ends with a line feed, under the key's `name`.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> String {
    let mut signature = id(name, &key.verifying_key()).to_vec();
    signature.extend_from_slice(&key.sign(text.as_bytes()));
    format!("{text}\n{MARK}{name} {}\n", STANDARD.encode(signature))
}

/// The text of a note that `key` signed under `name`, with its last line feed. Signatures by others are not looked at; one
/// that claims to be by this key and is not refuses the note.
pub fn verify<'a>(note: &'a [u8], name: &str, key: &VerifyingKey) -> Result<&'a str, Error> {
    let (text, signatures) = parse(note)?;
    let wanted = id(name, key);
    let mut ours = signatures.iter().filter(|signature| signature.name == name && signature.id == wanted);
    let Some(signature) = ours.next() else { return Err(Error::UnknownSigner { key: key.id().to_string() }) };
    if ours.next().is_some() {
        return Err(malformed(WHAT, "a key signed twice"));
    }
    let bytes: [u8; SIGNATURE_BYTES] = signature.bytes.as_slice().try_into().map_err(|_| Error::BadSignature)?;
    match key.check(text.as_bytes(), &bytes) {
        Outcome::Valid => Ok(text),
        Outcome::Prehashed | Outcome::Invalid => Err(Error::BadSignature),
    }
}

/// The key as other tools take it: name, key id and key, with plus signs between.
pub fn verifier(name: &str, key: &VerifyingKey) -> String {
    let id: String = id(name, key).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bytes = vec![ED25519];
    bytes.extend_from_slice(key.as_bytes());
    format!("{name}+{id}+{}", STANDARD.encode(bytes))
}

/// Whether `name` can be that of a key: no space, no plus sign, nothing that is not seen.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
}

struct Signature<'a> {
    name: &'a str,
    id: [u8; ID_BYTES],
    bytes: Vec<u8>,
}

/// The text and the signatures under it.
fn parse(note: &[u8]) -> Result<(&str, Vec<Signature<'_>>), Error> {
    let note = text(WHAT, note, NOTE_BYTES_MAX)?;
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(malformed(WHAT, "it has a control character other than line feed"));
    }
    // The last empty line: the text may have others.
    let Some(split) = note.rfind("\n\n") else {
        return Err(malformed(WHAT, "no empty line stands between text and signatures"));
    };
    let (text, under) = note.split_at(split.saturating_add(1));
    let lines = under.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
    let Some(lines) = lines.filter(|lines| !lines.is_empty()) else {
        return Err(malformed(WHAT, "no signatures stand under the text, or the last line is not ended"));
    };
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(malformed(WHAT, format!("it has more than {SIGNATURES_MAX} signatures")));
    }
    let signatures = lines.split('\n').map(signature).collect::<Option<Vec<_>>>();
    let signatures = signatures.ok_or_else(|| malformed(WHAT, "a line under the text is not a signature"))?;
    Ok((text, signatures))
}

fn signature(line: &str) -> Option<Signature<'_>> {
    let (name, encoded) = line.strip_prefix(MARK)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<ID_BYTES>()?;
    let is_named = !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace);
    (is_named && !bytes.is_empty()).then(|| Signature { name, id: *id, bytes: bytes.to_vec() })
}

/// The first bytes of a hash over name, algorithm and key: tells keys apart and proves nothing.
fn id(name: &str, key: &VerifyingKey) -> [u8; ID_BYTES] {
    let mut hash = Sha256::new_with_prefix(name);
    hash.update([b'\n', ED25519]);
    hash.update(key.as_bytes());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The note and the key in the documentation of Go's `sumdb/note`.
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SIGNATURE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_another_implementation_verifies_and_its_key_is_written_as_there() {
        let bytes = STANDARD.decode(KEY.rsplit('+').next().unwrap()).unwrap();
        let key = VerifyingKey::from_bytes(&bytes[1..].try_into().unwrap()).unwrap();
        let note = format!("{TEXT}\n{SIGNATURE}");

        assert_eq!(verify(note.as_bytes(), "PeterNeumann", &key), Ok(TEXT));
        assert_eq!(verifier("PeterNeumann", &key), KEY);
        assert_eq!(verify(note.replace("know", "knew").as_bytes(), "PeterNeumann", &key), Err(Error::BadSignature));
    }
}
