//! Help, completions, the generated reference, and the errors of a host that is not there.

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
