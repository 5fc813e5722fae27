//! Who depends on whom, against the list under `## Arrows` in ARCHITECTURE.md.
//!
//! It judges only arrows among the workspace's own crates; libraries are the owners' rule.

use std::collections::BTreeMap;

use super::Finding;
use super::tree::{Tree, line_of, line_of_dependency};

const DOCUMENT: &str = "ARCHITECTURE.md";

/// What tests may depend on beyond their crate's own arrows.
const TESTS_MAY_USE: &str = "bulkhead-testkit";

/// Refuses an arrow that the list does not have, and a crate that it does not name.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let document = tree.get(DOCUMENT).unwrap_or_default();
    let arrows = parse(document);
    let elsewhere = excluded(tree.get("Cargo.toml").unwrap_or_default());
    let mut packages = tree.packages();
    packages.retain(|package| !elsewhere.iter().any(|folder| package.folder.starts_with(folder)));
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();

    let mut findings = Vec::new();
    for package in &packages {
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            let text = format!("`{}` has no line under `## Arrows` in {DOCUMENT}", package.name);
            findings.push(Finding::new(&package.manifest, 0, text));
            continue;
        };
        let shipped = package.dependencies(&["dependencies", "build-dependencies"]);
        let in_tests = package.dependencies(&["dev-dependencies"]);
        let in_tests = in_tests.into_iter().filter(|name| name != TESTS_MAY_USE);
        for name in shipped.into_iter().chain(in_tests) {
            if ours.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                let line = line_of_dependency(tree.get(&package.manifest).unwrap_or_default(), &name);
                let text = format!(
                    "`{}` may not depend on `{name}`: a new arrow is a decision in docs/decisions",
                    package.name
                );
                findings.push(Finding::new(&package.manifest, line, text));
            }
        }
    }
    for name in arrows.iter().flat_map(|(from, to)| to.iter().chain([from])) {
        if !ours.contains(name) {
            let text = format!("`{name}` is no crate of this workspace");
            findings.push(Finding::new(DOCUMENT, line_of(document, &format!("`{name}`")), text));
        }
    }
    findings
}

/// Folders with a workspace of their own, such as the guests', each with a `/` at its end.
fn excluded(root: &str) -> Vec<String> {
    let table: toml::Table = root.parse().unwrap_or_default();
    let folders = table.get("workspace").and_then(|workspace| workspace.get("exclude")?.as_array());
    let folders = folders.into_iter().flatten().filter_map(|folder| folder.as_str());
    folders.map(|folder| format!("{folder}/")).collect()
}

/// Lines such as "`a` -> `b`, `c`" or "`a` -> nothing", below the heading.
fn parse(document: &str) -> BTreeMap<&str, Vec<&str>> {
    let section = document.lines().skip_while(|line| *line != "## Arrows").skip(1);
    let lines = section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.split_once("->"));
    lines.filter_map(|(from, to)| Some((names(from).next()?, names(to).collect()))).collect()
}

/// The words between backticks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    const LIST: &str = "## Arrows\n\n- `b` -> `a`\n- `a` -> nothing\n\n## Else\n- `x` -> `y`\n";

    #[test]
    fn arrows_of_the_list_pass() {
        check_rule(
            check,
            &[
                ("ARCHITECTURE.md", LIST),
                ("Cargo.toml", "[workspace]\nexclude = [\"plugins\"]\n"),
                ("a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nserde = \"1\"\n"),
                ("b/Cargo.toml", "[package]\nname = \"b\"\n[dependencies]\na = { path = \"../a\" }\n"),
                ("plugins/p/Cargo.toml", "[package]\nname = \"p\"\n[dependencies]\na = { path = \"\" }\n"),
            ],
            &[],
        );
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_found_in_tests_too() {
        for table in ["dependencies", "build-dependencies", "dev-dependencies"] {
            check_rule(
                check,
                &[
                    ("ARCHITECTURE.md", LIST),
                    ("a/Cargo.toml", &format!("[package]\nname = \"a\"\n[{table}]\nb.workspace = true\n")),
                    ("b/Cargo.toml", "[package]\nname = \"b\"\n"),
                ],
                &["a/Cargo.toml:4"],
            );
        }
    }

    #[test]
    fn crates_and_lines_without_each_other_are_found() {
        check_rule(
            check,
            &[
                ("ARCHITECTURE.md", LIST),
                ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
                ("c/Cargo.toml", "[package]\nname = \"c\"\n"),
            ],
            &["c/Cargo.toml:0", "ARCHITECTURE.md:3"],
        );
    }
}
