//! What a test may not do: be skipped, expect a panic, or wait for a time instead of a thing.
//!
//! A pause in a loop that looks at a condition is a wait for a thing. The test kit may pause anywhere.

use super::Finding;
use super::source::{has_word, is_test_file};
use super::tree::Tree;

/// Refuses the three in tests, and skipped tests anywhere.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources() {
        let begin = if is_test_file(path) { 1 } else { source.tests_begin().unwrap_or(usize::MAX) };
        let mut before = ["", ""];
        for (line, code) in source.code() {
            let in_loop = before.iter().any(|line| has_word(line, "while") || has_word(line, "loop"));
            let [_, last] = before;
            before = [last, code];
            let text = if code.contains("#[ignore") {
                "an ignored test proves nothing: mend it or delete it"
            } else if code.contains("should_panic") {
                "a panic is a bug: return an error and compare it"
            } else if line >= begin && !in_loop && has_word(code, "sleep(") {
                "a test waits for a condition, not for a time: use the test kit's wait"
            } else {
                continue;
            };
            findings.push(Finding::new(path, line, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn skipped_panicking_and_sleeping_tests_are_found() {
        check_rule(
            check,
            &[
                (
                    "a/src/lib.rs",
                    "fn f() { sleep(1); }\n#[cfg(test)]\nmod t {\n#[ignore = \"slow\"]\nfn g() { thread::sleep(D); }\n}\n",
                ),
                ("a/tests/it/main.rs", "#[should_panic]\nfn h() { tokio::time::sleep(D).await; }\n"),
                ("tests/testkit/src/wait.rs", "fn w() { sleep(1); }\n"),
            ],
            &["a/src/lib.rs:4", "a/src/lib.rs:5", "a/tests/it/main.rs:1", "a/tests/it/main.rs:2"],
        );
    }

    #[test]
    fn a_pause_in_a_loop_is_a_wait_for_a_condition() {
        check_rule(
            check,
            &[("a/tests/it/main.rs", "while !gone() {\n    sleep(D);\n}\nsleep(D);\n")],
            &["a/tests/it/main.rs:4"],
        );
    }

    #[test]
    fn words_about_them_pass() {
        check_rule(
            check,
            &[("a/tests/it/main.rs", "// no #[ignore]\nconst A: &str = \"sleep(1)\";\nfn oversleep() {}\n")],
            &[],
        );
    }
}
