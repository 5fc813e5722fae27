//! Finds what looks like a secret in bytes that are about to be published.
//! It knows a few unmistakable shapes and no entropy: a false alarm stops a release.

/// A beginning, how many characters must follow at least and at most, which ones, and what it is.
struct Shape {
    start: &'static str,
    least: usize,
    most: usize,
    legal: fn(u8) -> bool,
    kind: &'static str,
}

/// More than any secret has.
const ANY: usize = usize::MAX;

const SHAPES: [Shape; 17] = [
    Shape { start: "AKIA", least: 16, most: 16, legal: is_upper, kind: "an AWS access key id" },
    Shape { start: "ASIA", least: 16, most: 16, legal: is_upper, kind: "an AWS access key id" },
    Shape { start: "ghp_", least: 36, most: ANY, legal: is_word, kind: "a GitHub token" },
    Shape { start: "gho_", least: 36, most: ANY, legal: is_word, kind: "a GitHub token" },
    Shape { start: "ghs_", least: 36, most: ANY, legal: is_word, kind: "a GitHub token" },
    Shape { start: "ghu_", least: 36, most: ANY, legal: is_word, kind: "a GitHub token" },
    Shape { start: "github_pat_", least: 36, most: ANY, legal: is_word, kind: "a GitHub token" },
    Shape { start: "glpat-", least: 20, most: ANY, legal: is_token, kind: "a GitLab token" },
    Shape { start: "npm_", least: 36, most: ANY, legal: is_word, kind: "an npm token" },
    Shape { start: "xoxb-", least: 20, most: ANY, legal: is_token, kind: "a Slack token" },
    Shape { start: "xoxp-", least: 20, most: ANY, legal: is_token, kind: "a Slack token" },
    Shape { start: "sk_live_", least: 16, most: ANY, legal: is_word, kind: "a Stripe key" },
    Shape { start: "rk_live_", least: 16, most: ANY, legal: is_word, kind: "a Stripe key" },
    Shape { start: "AIza", least: 35, most: ANY, legal: is_token, kind: "a Google API key" },
    Shape { start: "AGE-SECRET-KEY-1", least: 50, most: ANY, legal: is_upper, kind: "an age key" },
    Shape { start: "eyJhbGciOi", least: 60, most: ANY, legal: is_jwt, kind: "a signed token (JWT)" },
    Shape { start: "-----BEGIN ", least: 0, most: ANY, legal: is_word, kind: "a private key" },
];

/// The kinds of secrets in `bytes`, each once.
pub(crate) fn find(bytes: &[u8]) -> impl Iterator<Item = &'static str> {
    let mut kinds = Vec::new();
    for (at, first) in bytes.iter().enumerate() {
        if !matches!(first, b'A' | b'g' | b'n' | b'x' | b's' | b'r' | b'e' | b'-') {
            continue;
        }
        let Some(rest) = bytes.get(at..) else { break };
        for shape in SHAPES.iter().filter(|shape| rest.starts_with(shape.start.as_bytes())) {
            if !kinds.contains(&shape.kind) && shape.fits(bytes, at) {
                kinds.push(shape.kind);
            }
        }
    }
    kinds.into_iter()
}

impl Shape {
    fn fits(&self, bytes: &[u8], at: usize) -> bool {
        let Some(rest) = bytes.get(at.saturating_add(self.start.len())..) else { return false };
        if self.least == 0 {
            return is_private_key(rest);
        }
        // A longer run of letters is base64 of something else.
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let alone = before.is_none_or(|before| !before.is_ascii_alphanumeric());
        let run = rest.iter().take_while(|byte| (self.legal)(**byte)).count();
        alone && (self.least..=self.most).contains(&run)
    }
}

/// Libraries contain the label alone, as the text that they look for; a key has base64 after it.
fn is_private_key(rest: &[u8]) -> bool {
    let label: Vec<u8> = rest.iter().copied().take(40).take_while(|byte| *byte != b'-').collect();
    if !label.ends_with(b"PRIVATE KEY") {
        return false;
    }
    let Some(body) = rest.get(label.len().saturating_add(5)..) else { return false };
    let base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/=\r\n\\ ".contains(byte);
    body.iter().take(64).take_while(base64).count() >= 40
}

const fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

const fn is_jwt(byte: u8) -> bool {
    is_token(byte) || byte == b'.'
}
