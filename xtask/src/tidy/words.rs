//! Words that speak of a workplace instead of the product.
//!
//! A reader of the product has neither the folders nor the colleagues of whoever wrote it.

use super::Finding;
use super::tree::Tree;

/// Looked for without regard to case, in every text file.
const WORDS: [&str; 9] = [
    "/work/main",
    "/work/shared",
    "/work/.",
    "/tmp/agent",
    "/tmp/w/",
    "/root/",
    "subagent",
    "claude",
    "this session's brief",
];

/// The file that must spell them out.
const HERE: &str = "xtask/src/tidy/words.rs";

/// Refuses the words everywhere.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| *path != HERE) {
        for (index, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            if let Some(word) = WORDS.iter().find(|word| line.contains(*word)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("`{word}` speaks of a workplace, not of the product"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn a_workplaces_words_are_found_in_any_file() {
        check_rule(
            check,
            &[
                ("README.md", "See /work/shared/x.\n"),
                ("a.rs", "//! Fine.\n// written by a SubAgent\n"),
                ("b.toml", "path = \"/var/lib/work/\"\n"),
            ],
            &["README.md:1", "a.rs:2"],
        );
    }
}
