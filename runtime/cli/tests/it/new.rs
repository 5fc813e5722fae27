//! `bulkhead new`: the project that an author begins with.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::Bench;

#[test]
fn a_new_project_passes_its_own_tests_outside_the_repository() {
    let bench = Bench::new();
    bench.ok("new acme.crm");

    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--quiet"])
        .current_dir(bench.path("crm"))
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project"))
        .output()
        .unwrap();

    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
    assert!(stdout.contains("4 passed"), "{stdout}");
}

#[test]
fn a_new_project_is_good_before_it_is_compiled() {
    let bench = Bench::new();
    bench.ok("new my-org.my-crm --dir project");

    let body = bench.json("check --manifest project/plugin.toml");

    assert_eq!(body["plugin"], "my-org.my-crm");
    assert_eq!(body["component_checked"], false);
}

#[test]
fn a_folder_that_is_used_stays_as_it_is() {
    let bench = Bench::new();
    fs::create_dir(bench.path("crm")).unwrap();
    bench.write("crm/mine.txt", "mine");

    bench.fails(1, "new acme.crm");

    assert_eq!(fs::read_dir(bench.path("crm")).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_folders_place_stays_as_it_is() {
    let bench = Bench::new();
    bench.write("crm", "mine");

    bench.fails(1, "new acme.crm");

    assert_eq!(bench.read("crm"), b"mine");
}

#[test]
fn a_language_without_a_template_says_which_there_are() {
    let bench = Bench::new();

    let stderr = bench.fails(2, "new acme.crm --lang typescript");

    assert!(stderr.contains("`rust`"), "{stderr}");
}

#[test]
fn a_name_that_is_no_id_is_a_usage_error() {
    let bench = Bench::new();

    for id in ["crm", "Acme.crm", "acme.crm/x", "../acme.crm"] {
        bench.fails(2, &format!("new {id}"));
    }
}

#[test]
fn an_upgrade_replaces_the_sdk_and_nothing_else() {
    let bench = Bench::new();
    bench.ok("new acme.crm");
    bench.write("crm/src/lib.rs", "// mine");
    bench.write("crm/.bulkhead/old.rs", "old");
    bench.write("crm/.bulkhead/wit/worlds.wit", "old");

    bench.ok("new acme.crm --upgrade");

    assert_eq!(bench.read("crm/src/lib.rs"), b"// mine");
    assert!(!bench.path("crm/.bulkhead/old.rs").exists());
    assert_ne!(bench.read("crm/.bulkhead/wit/worlds.wit"), b"old");
    bench.fails(1, "new acme.crm --upgrade --dir crm/src");
}
