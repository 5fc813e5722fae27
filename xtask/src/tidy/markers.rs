//! What marks code as unfinished.
//!
//! A reminder with the number of its issue may stay: somebody else can find out about it.

use super::Finding;
use super::source::has_word;
use super::tree::Tree;

const MACROS: [&str; 2] = ["todo!", "unimplemented!"];
const REMINDERS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Refuses unfinished code, and reminders without an issue's number.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        for (line, code) in source.code() {
            if MACROS.iter().any(|word| has_word(code, word)) {
                findings.push(Finding::new(path, line, "unfinished: write it or return an error"));
            }
        }
        for (line, comment) in source.comments() {
            if REMINDERS.iter().any(|word| has_word(comment, word)) && !has_issue(comment) {
                findings.push(Finding::new(path, line, "a reminder names its issue, as in #12"));
            }
        }
    }
    findings
}

fn has_issue(comment: &str) -> bool {
    comment.split('#').skip(1).any(|tail| tail.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn unfinished_code_and_nameless_reminders_are_found() {
        check_rule(
            check,
            &[(
                "a.rs",
                "fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n// TODO later\n// TODO(#12) then\n// FIXME #\n",
            )],
            &["a.rs:1", "a.rs:2", "a.rs:3", "a.rs:5"],
        );
    }

    #[test]
    fn strings_and_longer_words_pass() {
        check_rule(check, &[("a.rs", "const A: &str = \"TODO todo!()\";\n// MASTODON\n")], &[]);
    }
}
