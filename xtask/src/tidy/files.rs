//! What each Rust file has: a doc that says what it does, and a length that can be read.
//!
//! Whether the doc is true is a reader's judgement.

use super::Finding;
use super::tree::Tree;

/// Longest file, in lines.
const LINES_MAX: usize = 500;

/// Files that may be longer, with the reason; the list only shrinks.
const LONGER: [(&str, &str); 0] = [];

/// Refuses a file that does not begin with its doc.
pub(super) fn docs(tree: &Tree) -> Vec<Finding> {
    let files = tree.files().filter(|(path, text)| path.ends_with(".rs") && !text.starts_with("//! "));
    files
        .map(|(path, _)| {
            Finding::new(path, 1, "a file begins with `//!`: what it does, and what it deliberately does not")
        })
        .collect()
}

/// Refuses a long file, and an exception that is no longer needed.
pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    judge_lengths(tree, &LONGER)
}

fn judge_lengths(tree: &Tree, longer: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".rs")) {
        let lines = text.lines().count();
        let excepted = longer.iter().any(|(name, _)| *name == path);
        if lines > LINES_MAX && !excepted {
            findings.push(Finding::new(
                path,
                0,
                format!("{lines} lines; {LINES_MAX} are the limit: split it by what it serves"),
            ));
        }
        if lines <= LINES_MAX && excepted {
            findings.push(Finding::new(path, 0, "short enough: take it off the list of exceptions"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn a_file_without_its_doc_is_found() {
        check_rule(
            docs,
            &[
                ("a.rs", "//! Does one thing.\n"),
                ("b.rs", "use a::b;\n"),
                ("c.rs", "// Comment.\n//! Late.\n"),
                ("d.md", "text"),
            ],
            &["b.rs:1", "c.rs:1"],
        );
    }

    #[test]
    fn a_long_file_is_found_unless_it_has_a_reason() {
        let (short, long) = ("x\n".repeat(500), "x\n".repeat(501));
        let tree = Tree::of(&[("a.rs", &short), ("b.rs", &long), ("c.rs", &long), ("d.rs", &short)]);

        let found = judge_lengths(&tree, &[("c.rs", "a table"), ("d.rs", "was long")]);

        let paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["b.rs", "d.rs"]);
    }
}
