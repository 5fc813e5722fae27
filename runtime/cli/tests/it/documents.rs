//! Help, completions, the generated reference, and the errors of a host that is not there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::bench::Bench;

#[test]
fn help_teaches_with_examples_and_is_a_result() {
    let bench = Bench::new();

    for line in
        ["--help", "plugin install --help", "sign --help", "verify --help", "serve --help", "token issue --help"]
    {
        let text = bench.ok(line);
        assert!(text.contains("Example") || text.contains("See it work"), "{line}: {text}");
    }
}

#[test]
fn the_first_page_of_help_shows_the_way() {
    insta::assert_snapshot!(Bench::new().ok("--help"));
}

#[test]
fn a_command_that_does_not_exist_is_a_usage_error() {
    let stderr = Bench::new().fails(2, "instal");

    assert!(stderr.contains("install") || stderr.contains("Usage"), "{stderr}");
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let bench = Bench::new();

    for line in [
        "plugin list",
        "tenant create acme",
        "audit tail",
        "policy explain acme.crm",
        "tenant-plugin enable acme.crm --tenant a",
    ] {
        // Port 9 of loopback: nothing listens there.
        let stderr = bench.fails(5, &format!("{line} --server http://127.0.0.1:9 --token t"));
        assert!(stderr.contains("bulkhead serve"), "{stderr}");
        assert!(!stderr.contains("token"), "{stderr}");
    }
}

#[test]
fn a_demo_that_fails_leaves_no_server_and_no_folder() {
    let bench = Bench::new();
    // A folder that the server's user may enter, too.
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();

    for line in ["demo --smoke --plugins none", "demo --smoke --postgres --plugins none"] {
        let output = bench.command(line).env("TMPDIR", bench.path("")).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();

        assert_eq!(output.status.code(), Some(4), "{line}: {stderr}");
        assert!(stderr.contains("none/hello/plugin.toml"), "{line}: {stderr}");
        assert_eq!(bench.names(), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn a_demo_on_postgresql_keeps_no_folder() {
    let stderr = Bench::new().fails(2, "demo --postgres --data-dir data");

    assert!(stderr.contains("--data-dir"), "{stderr}");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(Bench::new().ok(&format!("completions {shell}")).contains("tenant-plugin"), "{shell}");
    }
}

#[test]
fn the_reference_is_written_and_then_found_fresh() {
    let bench = Bench::new();

    bench.ok("reference --out reference");

    bench.ok("reference --check reference");
    bench.write("reference/errors.md", "changed");
    bench.fails(1, "reference --check reference");
}

#[test]
fn a_failure_is_a_document_for_programs() {
    let bench = Bench::new();

    let output = bench.command("inspect none.wasm --json").output().unwrap();

    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["code"], "not-found");
    assert_eq!(body["next"], "check the path");
}
