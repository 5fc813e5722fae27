//! Takes a Rust file apart into code and comments, line by line.
//!
//! It is no parser: it knows comments, strings and characters, which is enough to search for a word
//! where it means something.

/// A Rust file's text in parts that have the same lines.
pub(super) struct Source {
    /// Code; comments and the inside of strings are blank.
    code: String,
    /// Comments; everything else is blank.
    comments: String,
    /// Everything.
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Text,
}

impl Source {
    pub(super) fn of(text: &str) -> Source {
        let mut code = String::with_capacity(text.len());
        let mut comments = String::with_capacity(text.len());
        for (character, part) in classify(text) {
            let blank = if character == '\n' { '\n' } else { ' ' };
            code.push(if part == Part::Code { character } else { blank });
            comments.push(if part == Part::Comment { character } else { blank });
        }
        Source { code, comments, text: text.to_owned() }
    }

    /// Code by line, counted from 1.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code)
    }

    /// Comments by line, counted from 1.
    pub(super) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.comments)
    }

    /// The first line of the tests within the file: a module of tests, which comes last.
    pub(super) fn tests_begin(&self) -> Option<usize> {
        let lines: Vec<&str> = self.code.lines().collect();
        let begins = |pair: &[&str]| {
            let text = pair.concat();
            let item = text.split_once("#[cfg(test)]").map_or("", |(_, item)| item.trim());
            item.starts_with("mod ") && item.contains('{')
        };
        lines.windows(2).position(begins).map(|index| index + 1)
    }

    /// The text of the tests within the file, or all of it in a file of tests.
    pub(super) fn tests(&self, path: &str) -> String {
        if is_test_file(path) {
            return self.text.clone();
        }
        let begin = self.tests_begin().unwrap_or(usize::MAX);
        self.text.lines().skip(begin.saturating_sub(1)).collect::<Vec<_>>().join("\n")
    }
}

/// Whether the whole file is tests.
pub(super) fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/e2e/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether `line` has `word` not as a part of a longer name.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).and_then(|head| head.chars().next_back());
        let after = line.get(start + word.len()..).and_then(|tail| tail.chars().next());
        let goes_on = word.ends_with(is_name) && after.is_some_and(is_name);
        !goes_on && !before.is_some_and(is_name)
    })
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn classify(text: &str) -> Vec<(char, Part)> {
    let mut parts = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut after_name = false;
    while let Some(first) = rest.chars().next() {
        let (length, part) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), Part::Comment),
            '/' if rest.starts_with("/*") => (block_comment(rest), Part::Comment),
            '"' => (string(rest), Part::Text),
            'r' if !after_name && raw_string(rest).is_some() => (raw_string(rest).unwrap_or(1), Part::Text),
            '\'' => character(rest).map_or((1, Part::Code), |length| (length, Part::Text)),
            _ => (first.len_utf8(), Part::Code),
        };
        // `br"` and `cr"` are strings too; `for"` is not.
        after_name = is_name(first) && (after_name || !matches!(first, 'b' | 'c'));
        let (taken, left) = rest.split_at_checked(length).unwrap_or((rest, ""));
        parts.extend(taken.chars().map(|character| (character, part)));
        rest = left;
    }
    parts
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |end| end + close.len());
    Some(1 + hashes + 1 + end)
}

/// Length of a character literal, or `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return Some(2 + first + escape.get(first..)?.find('\'')? + 1);
    }
    let first = inner.chars().next()?.len_utf8();
    inner.get(first..)?.starts_with('\'').then_some(1 + first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str, comments: &str) {
        let source = Source::of(text);

        let squeezed = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&source.code), code, "code of {text}");
        assert_eq!(squeezed(&source.comments), comments, "comments of {text}");
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        check("a // b\nc", "a c", "// b");
        check("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */");
        check(r#"f("x // y\" z") + 1"#, "f( ) + 1", "");
        check("f(r#\"x \" // y\"#) + 1", "f( ) + 1", "");
        check(r#"f(br"\") + 1"#, "f(b ) + 1", "");
        check("for x in y", "for x in y", "");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        check(r#"'"' + x<'a> + '\'' + '\u{1F600}' // c"#, "+ x<'a> + +", "// c");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}", "");
    }

    #[test]
    fn broken_text_is_taken_to_its_end() {
        for text in ["\"abc", "/* abc", "r#\"abc\"", "'", "'\\", "r#", "é'é"] {
            assert_eq!(classify(text).len(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn tests_begin_at_their_module() {
        let begin = |text: &str| Source::of(text).tests_begin();

        assert_eq!(begin("#[cfg(test)]\nfn helper() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), Some(4));
        assert_eq!(begin("#[cfg(test)]\nmod tests;\nfn shipped() {}\n"), None);
        assert_eq!(begin("// #[cfg(test)]\nmod inner {\n}\n"), None);
    }

    #[test]
    fn a_word_is_not_found_inside_a_longer_name() {
        assert!(has_word("use sqlx::Row;", "sqlx::"));
        assert!(has_word("(sleep(1))", "sleep("));
        assert!(!has_word("my_sqlx::Row", "sqlx::"));
        assert!(!has_word("Sqlites", "Sqlite"));
    }
}
