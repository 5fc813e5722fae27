//! Reads a machine's apt sources and keeps those that are Debian's own.
//!
//! Third parties' are left out: one that is down or has an expired key would fail the whole update.

/// One source line: where packages come from and whose signature they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Base address of the archive.
    pub(super) uri: String,
    /// Suite, such as `bookworm-security`.
    pub(super) suite: String,
    /// Path of the key ring, or `None` for apt's default.
    pub(super) signed_by: Option<String>,
}

impl Source {
    /// The line for an apt source list: packages alone, no translations or icons.
    pub(super) fn line(&self) -> String {
        let key = self.signed_by.as_ref().map_or_else(String::new, |path| format!(" signed-by={path}"));
        format!("deb [target=Packages{key}] {} {} main\n", self.uri, self.suite)
    }

    /// Whether this is the main archive rather than the one of security updates.
    pub(super) fn is_main_archive(&self) -> bool {
        !self.suite.contains("security")
    }

    fn is_debian(&self) -> bool {
        let rest = self.uri.split_once("://").map_or(self.uri.as_str(), |(_, rest)| rest);
        let mut parts = rest.split('/');
        let host = parts.next().unwrap_or_default();
        host == "debian.org"
            || host.ends_with(".debian.org")
            || parts.any(|part| part == "debian" || part == "debian-security")
    }
}

/// Debian's sources in one file of `/etc/apt`; `name` tells which of the two formats it has.
pub(super) fn parse(name: &str, text: &str) -> Vec<Source> {
    let all = if name.ends_with(".sources") { paragraphs(text) } else { lines(text) };
    all.into_iter().filter(|source| source.is_debian() && !source.suite.ends_with('/')).collect()
}

/// `deb [signed-by=KEYS] URI SUITE COMPONENT...`, a line each.
fn lines(text: &str) -> Vec<Source> {
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Source> {
    let mut rest = text.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let mut signed_by = None;
    if let Some((options, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        signed_by = options.split_whitespace().find_map(|word| word.strip_prefix("signed-by=")).map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.any(|component| component == "main").then(|| Source {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        signed_by,
    })
}

/// `Types:`, `URIs:`, `Suites:`, `Components:`, `Signed-By:` in paragraphs.
fn paragraphs(text: &str) -> Vec<Source> {
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    kept.split(|line| line.trim().is_empty()).flat_map(paragraph).collect()
}

fn paragraph(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| {
        lines
            .iter()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    };
    let has = |name: &str, word: &str| field(name).split_whitespace().any(|found| found == word);
    if !has("Types", "deb") || !has("Components", "main") || field("Enabled").eq_ignore_ascii_case("no") {
        return Vec::new();
    }
    // A key written out in the paragraph has an empty first line; apt's default ring serves then.
    let signed_by = Some(field("Signed-By")).filter(|path| path.starts_with('/')).map(str::to_owned);
    let mut found = Vec::new();
    for uri in field("URIs").split_whitespace() {
        for suite in field("Suites").split_whitespace() {
            found.push(Source { uri: uri.to_owned(), suite: suite.to_owned(), signed_by: signed_by.clone() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expected: &[&str]) {
        let found: Vec<String> = parse(name, text).iter().map(|source| source.line().trim_end().to_owned()).collect();

        assert_eq!(found, expected, "{name}: {text}");
    }

    #[test]
    fn paragraphs_give_a_source_for_each_suite() {
        check(
            "debian.sources",
            "Types: deb deb-src\n# a snapshot\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\n\
             Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
             Types: deb\nURIs: http://deb.debian.org/debian-security/\nSuites: bookworm-security\nComponents: main\n",
            &[
                "deb [target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main",
                "deb [target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-updates main",
                "deb [target=Packages] http://deb.debian.org/debian-security/ bookworm-security main",
            ],
        );
    }

    #[test]
    fn lines_give_a_source_each() {
        check(
            "sources.list",
            "# comment\ndeb http://mirror.example/debian bookworm main non-free\n\
             deb [ arch=amd64 signed-by=/k.gpg ] https://security.debian.org x-security main\n\
             deb-src http://mirror.example/debian bookworm main\n",
            &[
                "deb [target=Packages] http://mirror.example/debian bookworm main",
                "deb [target=Packages signed-by=/k.gpg] https://security.debian.org x-security main",
            ],
        );
    }

    #[test]
    fn sources_of_others_are_left_out() {
        check(
            "node.sources",
            "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: nodistro\nComponents: main\n",
            &[],
        );
        check("cloud.list", "deb https://packages.cloud.example/apt cloud-sdk-bookworm main\n", &[]);
        check("near.list", "deb https://notdebian.org/apt bookworm main\n", &[]);
    }

    #[test]
    fn broken_and_disabled_entries_give_nothing() {
        check("a.list", "deb\ndeb [\ndeb http://deb.debian.org/debian\ndebian\n", &[]);
        check(
            "b.sources",
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: sid\nComponents: main\nEnabled: no\n",
            &[],
        );
        check("c.sources", "no colon here\n\n:\n", &[]);
    }
}
