//! The host's migrations come in pairs: the same number and name for both database engines.
//!
//! That both make the same tables is shown by the database's own tests.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::tree::Tree;

const FOLDERS: [&str; 2] = ["migrations/sqlite/", "migrations/postgres/"];

/// Refuses a migration without its twin, a number used twice, and a gap in the numbers.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let [sqlite, postgres] = FOLDERS;
    let mut findings = missing_twins(tree, sqlite, postgres);
    findings.extend(missing_twins(tree, postgres, sqlite));
    for folder in FOLDERS {
        let mut by_number: BTreeMap<u32, &str> = BTreeMap::new();
        for name in names(tree, folder) {
            let path = format!("{folder}{name}");
            let number = name.split_once('_').and_then(|(number, _)| number.parse().ok());
            match number {
                None => findings.push(Finding::new(&path, 0, "a migration is named NNNN_what_it_does.sql")),
                Some(number) => {
                    if let Some(other) = by_number.insert(number, name) {
                        findings.push(Finding::new(&path, 0, format!("has the number of `{other}`")));
                    }
                }
            }
        }
        let expected: BTreeSet<u32> = (1..).take(by_number.len()).collect();
        if let Some(number) = expected.iter().find(|number| !by_number.contains_key(number)) {
            findings.push(Finding::new(folder, 0, format!("number {number} is missing")));
        }
    }
    findings
}

fn missing_twins(tree: &Tree, from: &str, to: &str) -> Vec<Finding> {
    let alone = names(tree, from).filter(|name| tree.get(&format!("{to}{name}")).is_none());
    alone.map(|name| Finding::new(&format!("{from}{name}"), 0, format!("has no twin in {to}"))).collect()
}

fn names<'a>(tree: &'a Tree, folder: &'a str) -> impl Iterator<Item = &'a str> {
    tree.files().filter_map(move |(path, _)| path.strip_prefix(folder)).filter(|name| name.ends_with(".sql"))
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    fn pair(names: &[&str]) -> Vec<(String, &'static str)> {
        FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| (format!("{folder}{name}"), ""))).collect()
    }

    fn check_names(files: &[(String, &str)], expected: &[&str]) {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        check_rule(check, &files, expected);
    }

    #[test]
    fn pairs_without_gaps_pass() {
        check_names(&[], &[]);
        check_names(&pair(&["0001_start.sql", "0002_more.sql"]), &[]);
    }

    #[test]
    fn a_lone_a_double_a_missing_and_a_nameless_number_are_found() {
        check_names(&pair(&["0001_start.sql"])[..1], &["migrations/sqlite/0001_start.sql:0"]);
        check_names(
            &pair(&["0001_a.sql", "0001_b.sql"]),
            &["migrations/sqlite/0001_b.sql:0", "migrations/postgres/0001_b.sql:0"],
        );
        check_names(&pair(&["0002_a.sql"]), &["migrations/sqlite/:0", "migrations/postgres/:0"]);
        check_names(&pair(&["start.sql"]), &["migrations/sqlite/start.sql:0", "migrations/postgres/start.sql:0"]);
    }
}
