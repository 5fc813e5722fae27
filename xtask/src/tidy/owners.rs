//! Which crate may name which library.
//!
//! A library behind one crate can be replaced there; its types in a second crate cannot.

use super::Finding;
use super::source::has_word;
use super::tree::{Tree, line_of_dependency};

/// Libraries, as Cargo names them, and the crates that may depend on them.
const OWNERS: [(&[&str], &[&str]); 5] = [
    (&["sqlx", "libsqlite3-sys"], &["bulkhead-database"]),
    (&["wasmtime", "wasmtime-wasi", "wasmtime-wasi-http"], &["bulkhead-engine", "bulkhead-bindings"]),
    (&["axum"], &["bulkhead-server"]),
    (&["ed25519-dalek"], &["bulkhead-trust"]),
    (&["clap", "clap_complete"], &["bulkhead-cli"]),
];

/// Measures each library bare beside what we make of it, in one run: it names them all, and no product depends on it.
const MEASURES: &str = "bulkhead-benches";

const KINDS: [&str; 3] = ["dependencies", "build-dependencies", "dev-dependencies"];

/// Refuses a library outside its crates, as a dependency and as a path through another crate.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        for (libraries, owners) in OWNERS {
            if owners.contains(&package.name.as_str()) || package.name == MEASURES {
                continue;
            }
            let dependencies = package.dependencies(&KINDS);
            for library in libraries.iter().filter(|library| dependencies.iter().any(|name| name == *library)) {
                let line = line_of_dependency(tree.get(&package.manifest).unwrap_or_default(), library);
                let text = format!("only {} may depend on `{library}`", list(owners));
                findings.push(Finding::new(&package.manifest, line, text));
            }
            let paths: Vec<String> = libraries.iter().map(|name| format!("{}::", name.replace('-', "_"))).collect();
            for (path, source) in tree.sources().filter(|(path, _)| path.starts_with(&package.folder)) {
                let named = source.code().filter(|(_, line)| paths.iter().any(|name| has_word(line, name)));
                findings.extend(named.map(|(line, _)| {
                    Finding::new(path, line, format!("only {} may name `{}`", list(owners), libraries.join("`, `")))
                }));
            }
        }
    }
    findings
}

fn list(owners: &[&str]) -> String {
    format!("`{}`", owners.join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::super::check_rule;
    use super::*;

    #[test]
    fn the_owner_may_and_words_about_it_may() {
        check_rule(
            check,
            &[
                ("d/Cargo.toml", "[package]\nname = \"bulkhead-database\"\n[dependencies]\nsqlx = \"0\"\n"),
                ("d/src/lib.rs", "use sqlx::Row;\n"),
                ("h/Cargo.toml", "[package]\nname = \"bulkhead-host\"\n"),
                ("h/src/lib.rs", "// sqlx::Row stays below\nconst A: &str = \"sqlx::Row\";\n"),
            ],
            &[],
        );
    }

    #[test]
    fn a_second_crate_is_found_by_dependency_and_by_path() {
        check_rule(
            check,
            &[
                (
                    "h/Cargo.toml",
                    "[package]\nname = \"bulkhead-host\"\n[dev-dependencies]\nwasmtime.workspace = true\n",
                ),
                ("h/src/lib.rs", "//! Doc.\nfn f(e: engine::wasmtime::Error) {}\n"),
            ],
            &["h/Cargo.toml:4", "h/src/lib.rs:2"],
        );
    }
}
