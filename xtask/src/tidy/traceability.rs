//! `docs/traceability.md`: each requirement, the test that proves it, and its state.
//!
//! It shows that the tests named exist; that they prove what the row says is a reader's judgement.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::{Package, Tree};

const DOCUMENT: &str = "docs/traceability.md";

/// Requirements by chapter: its letter and how many it has.
const CHAPTERS: [(char, u32); 18] = [
    ('A', 20),
    ('B', 6),
    ('C', 18),
    ('D', 8),
    ('E', 9),
    ('F', 7),
    ('G', 9),
    ('H', 9),
    ('I', 6),
    ('J', 3),
    ('K', 5),
    ('L', 3),
    ('M', 4),
    ('N', 6),
    ('O', 6),
    ('P', 10),
    ('Q', 8),
    ('R', 7),
];

const STATES: [&str; 3] = ["done", "partly", "later"];

/// Refuses a missing or doubled requirement, an unknown state, a proof that is missing or does not
/// exist.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.get(DOCUMENT) else {
        return vec![Finding::new(DOCUMENT, 0, "is missing")];
    };
    let packages = tree.packages();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for row in document.lines().enumerate().filter_map(|(index, line)| Row::parse(index + 1, line)) {
        let mut refuse = |text: String| findings.push(Finding::new(DOCUMENT, row.line, text));
        if !is_requirement(row.id) {
            refuse(format!("`{}` is no requirement", row.id));
        } else if !seen.insert(row.id) {
            refuse(format!("`{}` has a row already", row.id));
        }
        if !STATES.contains(&row.state) {
            refuse(format!("`{}` is no state: {}", row.state, STATES.join(", ")));
        }
        let tests: Vec<&str> = row.tests().collect();
        if tests.is_empty() && row.state != "later" {
            refuse(format!("`{}` is {} and names no test", row.id, row.state));
        }
        for test in tests {
            if let Some(reason) = refusal(tree, &packages, test) {
                refuse(reason);
            }
        }
    }
    let all = CHAPTERS.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")));
    findings.extend(
        all.filter(|id| !seen.contains(id.as_str())).map(|id| Finding::new(DOCUMENT, 0, format!("`{id}` has no row"))),
    );
    findings
}

/// `| A1 | behaviour | crate::test_name | state |`
struct Row<'a> {
    line: usize,
    id: &'a str,
    tests: &'a str,
    state: &'a str,
}

impl<'a> Row<'a> {
    /// The parts of a table row whose first cell looks like an identifier.
    fn parse(line: usize, text: &'a str) -> Option<Row<'a>> {
        let cells = text.trim().strip_prefix('|')?.strip_suffix('|')?;
        let (id, rest) = cells.split_once('|')?;
        let (rest, state) = rest.rsplit_once('|')?;
        let (_, tests) = rest.rsplit_once('|')?;
        let id = id.trim();
        let number = id.strip_prefix(|c: char| c.is_ascii_uppercase())?;
        let is_id = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then_some(Row { line, id, tests, state: state.trim() })
    }

    fn tests(&self) -> impl Iterator<Item = &'a str> {
        let names = self.tests.split([',', ' ']).flat_map(|part| part.split("<br>"));
        names
            .map(|name| name.trim().trim_matches('`'))
            .filter(|name| !name.is_empty() && !matches!(*name, "-" | "–" | "—"))
    }
}

fn is_requirement(id: &str) -> bool {
    CHAPTERS.iter().any(|(letter, count)| {
        let number = id.strip_prefix(*letter).and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| (1..=*count).contains(&number))
    })
}

/// Why `crate::path::test_name` is no test, or `None`. The prefix `bulkhead-` may be left out.
fn refusal(tree: &Tree, packages: &[Package], test: &str) -> Option<String> {
    let mut parts = test.split("::");
    let first = parts.next().unwrap_or_default();
    let last = parts.last();
    let Some(name) = last else {
        return Some(format!("`{test}` is not of the form crate::test_name"));
    };
    let short = first.replace('_', "-");
    let known =
        packages.iter().find(|package| package.name == short || package.name.strip_prefix("bulkhead-") == Some(&short));
    let Some(package) = known else {
        return Some(format!("`{test}`: there is no crate `{first}`"));
    };
    let declared = format!("fn {name}(");
    let mut sources = tree.sources().filter(|(path, _)| path.starts_with(&package.folder));
    let exists = sources.any(|(_, source)| source.code().any(|(_, line)| line.contains(&declared)));
    (!exists).then(|| format!("`{test}`: `{first}` has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole document in which every other requirement is for later.
    fn document(rows: &str) -> String {
        let mut text = format!("| ID | behaviour | test | state |\n|---|---|---|---|\n{rows}");
        for (letter, count) in CHAPTERS {
            for id in (1..=count).map(|number| format!("{letter}{number}")) {
                if !rows.contains(&format!("| {id} |")) {
                    text.push_str(&format!("| {id} | something | - | later |\n"));
                }
            }
        }
        text
    }

    fn check_text(text: &str, expected: &[&str]) {
        let tree = Tree::of(&[
            (DOCUMENT, text),
            ("t/Cargo.toml", "[package]\nname = \"bulkhead-trust\"\n"),
            ("t/tests/it/main.rs", "#[test]\nfn a_flipped_bit_is_refused() {}\n// fn not_this_one() {}\n"),
            ("u/Cargo.toml", "[package]\nname = \"u\"\n"),
            ("u/src/lib.rs", "fn elsewhere() {}\n"),
        ]);

        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();

        let expected: Vec<String> = expected.iter().map(|text| format!("{DOCUMENT}{text}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tests_that_exist_are_accepted() {
        check_text(&document("| A1 | x | `bulkhead-trust::it::a_flipped_bit_is_refused` | done |\n"), &[]);
        check_text(&document("| A1 | a \\| b | trust::a_flipped_bit_is_refused, u::elsewhere | partly |\n"), &[]);
    }

    #[test]
    fn tests_that_do_not_exist_are_refused() {
        check_text(
            &document("| A1 | x | trust::elsewhere | done |\n"),
            &[":3: `trust::elsewhere`: `trust` has no `elsewhere`"],
        );
        check_text(
            &document("| A1 | x | trust::not_this_one | done |\n"),
            &[":3: `trust::not_this_one`: `trust` has no `not_this_one`"],
        );
        check_text(&document("| A1 | x | v::elsewhere | done |\n"), &[":3: `v::elsewhere`: there is no crate `v`"]);
        check_text(
            &document("| A1 | x | elsewhere | done |\n"),
            &[":3: `elsewhere` is not of the form crate::test_name"],
        );
    }

    #[test]
    fn rows_that_say_nothing_are_refused() {
        check_text(&document("| A1 | x | - | done |\n"), &[":3: `A1` is done and names no test"]);
        check_text(
            &document("| A1 | x | - | soon |\n"),
            &[":3: `soon` is no state: done, partly, later", ":3: `A1` is soon and names no test"],
        );
        check_text(&document("| A1 | x | - | later |\n| A1 | x | - | later |\n"), &[":4: `A1` has a row already"]);
        check_text(&document("| A21 | x | - | later |\n"), &[":3: `A21` is no requirement"]);
    }

    #[test]
    fn a_requirement_without_a_row_is_named() {
        let text = document("").replace("| R7 | something | - | later |\n", "");

        check_text(&text, &[": `R7` has no row"]);
    }
}
