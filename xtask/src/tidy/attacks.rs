//! The attack suites are data that nobody shrinks: every file of cases is run by a test, and together they are as many as they were.
//!
//! What a case means is the matter of the test that runs it.

use super::Finding;
use super::tree::Tree;

/// Folder of the files, below the tests of any package.
const FOLDER: &str = "tests/data/hostile/";
/// What begins a case.
const CASE: &str = "[[case]]";
/// How many cases there are at least; it rises with them.
const CASES_MIN: usize = 735;

/// Refuses fewer cases than there were, and cases that no test reads.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    check_for(tree, CASES_MIN)
}

fn check_for(tree: &Tree, cases_min: usize) -> Vec<Finding> {
    let files: Vec<(&str, &str)> =
        tree.files().filter(|(path, _)| path.contains(FOLDER) && path.ends_with(".toml")).collect();
    let mut findings = Vec::new();
    for (path, _) in &files {
        let (crate_folder, name) = path.split_once(FOLDER).unwrap_or_default();
        let included = format!("data/hostile/{name}\"");
        let is_read = |(source, text): (&str, &str)| {
            source.starts_with(crate_folder) && source.ends_with(".rs") && text.contains(&included)
        };
        if !tree.files().any(is_read) {
            findings.push(Finding::new(path, 0, "no test of this package includes these cases"));
        }
    }
    let count: usize = files.iter().map(|(_, text)| text.lines().filter(|line| line.trim() == CASE).count()).sum();
    if count < cases_min {
        let text =
            format!("{count} attack cases in all `{FOLDER}`, there were {cases_min}: cases are added, not taken away");
        findings.push(Finding::new("xtask/src/tidy/attacks.rs", 0, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNER: (&str, &str) = ("a/tests/it/runner.rs", "include_str!(\"../data/hostile/x.toml\")");

    fn found(files: &[(&str, &str)], cases_min: usize) -> usize {
        check_for(&Tree::of(files), cases_min).len()
    }

    #[test]
    fn cases_are_counted_over_all_files() {
        let two = ("a/tests/data/hostile/x.toml", "[[case]]\nname = \"1\"\n[[case]]\n");
        let elsewhere = ("a/tests/data/good/x.toml", "[[case]]\n");

        assert_eq!(found(&[RUNNER, two, elsewhere], 2), 0);
        assert_eq!(found(&[RUNNER, two, elsewhere], 3), 1);
    }

    #[test]
    fn cases_that_no_test_of_their_package_reads_are_found() {
        let cases = ("a/tests/data/hostile/y.toml", "[[case]]\n");
        let other = ("b/tests/it/runner.rs", "include_str!(\"../data/hostile/y.toml\")");

        assert_eq!(found(&[RUNNER, cases, other], 1), 1);
    }
}
