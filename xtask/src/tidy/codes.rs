//! Every error code is documented and produced by a test.
//!
//! The table in the model is the only list; nothing here repeats a code.

use super::Finding;
use super::tree::{Tree, line_of};

/// The table of codes.
const TABLE: &str = "runtime/model/src/code.rs";
/// Their reference.
const REFERENCE: &str = "docs/reference/errors.md";
/// Codes that no test produces yet: lines `code: reason`. The list only shrinks.
const UNPRODUCED: &str = "xtask/unproduced-codes.txt";

/// Refuses a code that has no section in the reference, once there is a reference.
pub(super) fn documented(tree: &Tree) -> Vec<Finding> {
    let Some(reference) = tree.get(REFERENCE) else {
        return Vec::new();
    };
    let table = tree.get(TABLE).unwrap_or_default();
    let missing = codes(table)
        .into_iter()
        .filter(|(_, code)| !reference.lines().any(|line| line.strip_prefix("## ") == Some(code)));
    missing.map(|(line, code)| Finding::new(TABLE, line, format!("`{code}` is not in {REFERENCE}"))).collect()
}

/// Refuses a code that no test names and the list does not excuse, and an excuse without need.
pub(super) fn produced(tree: &Tree) -> Vec<Finding> {
    let table = tree.get(TABLE).unwrap_or_default();
    let list = tree.get(UNPRODUCED).unwrap_or_default();
    let excused: Vec<&str> = excuses(list).map(|(code, _)| code).collect();
    let snapshots = tree.files().filter(|(path, _)| path.ends_with(".snap")).map(|(_, text)| text.to_owned());
    let sources = tree.sources().filter(|(path, _)| *path != TABLE).map(|(path, source)| source.tests(path));
    let tests: Vec<String> = sources.chain(snapshots).filter(|text| !text.is_empty()).collect();
    let is_produced = |code: &str| {
        let variant = format!("Code::{}", variant(code));
        let text = format!("\"{code}\"");
        tests.iter().any(|test| test.contains(&text) || super::source::has_word(test, &variant))
    };

    let codes = codes(table);
    let mut findings = Vec::new();
    for (line, code) in &codes {
        if !is_produced(code) && !excused.contains(&code.as_str()) {
            let text = format!("no test produces `{code}`: write one, or give the reason in {UNPRODUCED}");
            findings.push(Finding::new(TABLE, *line, text));
        }
    }
    for (code, reason) in excuses(list) {
        let text = if reason.is_empty() {
            format!("`{code}` has no reason")
        } else if !codes.iter().any(|(_, known)| known == code) {
            format!("`{code}` is no code")
        } else if is_produced(code) {
            format!("a test produces `{code}`: take it off the list")
        } else {
            continue;
        };
        findings.push(Finding::new(UNPRODUCED, line_of(list, code), text));
    }
    findings
}

/// Rows such as `NotFound = "not-found", NotFound, "title",` of the table, with their lines.
fn codes(table: &str) -> Vec<(usize, String)> {
    let rows = table.lines().enumerate().filter_map(|(index, line)| {
        let (name, rest) = line.trim().split_once(" = \"")?;
        let (code, rest) = rest.split_once("\", ")?;
        let is_name = name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_uppercase);
        (is_name && !rest.is_empty()).then(|| (index + 1, code.to_owned()))
    });
    rows.collect()
}

fn excuses(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(':').map_or((line, ""), |(code, reason)| (code.trim(), reason.trim())))
}

/// `not-found` as the enum names it: `NotFound`.
fn variant(code: &str) -> String {
    let words = code.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    const ROWS: &str = "codes! {\n    NotFound = \"not-found\", NotFound, \"There is no such thing\",\n        \"Look.\";\n    Conflict = \"conflict\", Conflict, \"t\",\n        \"a = \\\"b\\\", c\";\n}\n";

    #[test]
    fn a_code_that_the_reference_lacks_is_found() {
        check_rule(documented, &[(TABLE, ROWS)], &[]);
        check_rule(documented, &[(TABLE, ROWS), (REFERENCE, "## conflict\n")], &["runtime/model/src/code.rs:2"]);
    }

    #[test]
    fn a_code_is_produced_by_its_text_or_its_name_in_a_test() {
        check_rule(
            produced,
            &[
                (TABLE, ROWS),
                ("a/tests/it/main.rs", "assert_eq!(code, \"not-found\");"),
                ("b/src/lib.rs", "fn f() {}\n#[cfg(test)]\nmod t { fn g() { Code::Conflict; } }\n"),
            ],
            &[],
        );
        check_rule(
            produced,
            &[
                (TABLE, ROWS),
                ("b/src/lib.rs", "fn f() { Code::Conflict; }\n"),
                ("c/tests/s.snap", "{\"code\": \"not-found\"}"),
            ],
            &["runtime/model/src/code.rs:4"],
        );
    }

    #[test]
    fn an_excuse_needs_a_reason_and_a_need() {
        check_rule(
            produced,
            &[
                (TABLE, ROWS),
                ("a/tests/it/main.rs", "\"not-found\""),
                (UNPRODUCED, "# why\nconflict: the feature comes later\nnot-found: x\nnothing: x\n"),
            ],
            &["xtask/unproduced-codes.txt:3", "xtask/unproduced-codes.txt:4"],
        );
        check_rule(
            produced,
            &[(TABLE, ROWS), ("a/tests/it/main.rs", "\"not-found\""), (UNPRODUCED, "conflict:\n")],
            &["xtask/unproduced-codes.txt:1"],
        );
    }
}
