//! `bulkhead sign`, `verify`, `inspect`: an artifact and the signatures beside it.

use std::fs;

use crate::bench::Bench;

const POLICY: &str = r#"
version = 1
expires = "2099-01-01"

[[principal]]
name = "acme"
keys = ["KEY"]

[[allow]]
id = "acme"
plugin = "acme.*"
version = "VERSIONS"
signers = [{ role = "author", of = ["acme"], threshold = 1 }]
tenants = ["*"]
"#;

/// Writes a policy that allows the key `acme` these versions.
fn write_policy(bench: &Bench, versions: &str) {
    let key = bench.json("key show acme.pub.pem");
    let text = POLICY.replace("KEY", key["policy_text"].as_str().unwrap()).replace("VERSIONS", versions);
    bench.write("allow.toml", text);
}

#[test]
fn signatures_lie_beside_the_artifact_with_the_next_free_number() {
    let bench = Bench::signed();
    let before = bench.read("echo-1.2.0.wasm");

    bench.ok("sign echo-1.2.0.wasm --key acme.key.pem --role reviewer --reason fine --policy-version 3");

    assert_eq!(bench.read("echo-1.2.0.wasm"), before);
    let names = bench.names();
    assert!(names.contains(&"echo-1.2.0.1.sigstore.json".to_owned()), "{names:?}");
    assert!(names.contains(&"echo-1.2.0.2.sigstore.json".to_owned()), "{names:?}");
}

#[test]
fn the_signer_s_key_verifies_and_another_does_not() {
    let bench = Bench::signed();
    bench.ok("key generate --out other");

    let text = bench.ok("verify echo-1.2.0.wasm --key acme.pub.pem");

    assert!(text.starts_with("verified: acme.echo 1.2.0 sha256:"), "{text}");
    assert_eq!(bench.refusal("verify echo-1.2.0.wasm --key other.pub.pem"), ["unknown-signer"]);
}

#[test]
fn a_policy_decides_by_signer_and_version() {
    let bench = Bench::signed();

    write_policy(&bench, "^1");
    let verdict = bench.json("verify echo-1.2.0.wasm --policy allow.toml");
    assert_eq!((verdict["rule"].as_str(), verdict["version"].as_str()), (Some("acme"), Some("1.2.0")));

    write_policy(&bench, "^2");
    assert_eq!(bench.refusal("verify echo-1.2.0.wasm --policy allow.toml"), ["version-out-of-range"]);
}

#[test]
fn an_author_and_a_reviewer_sign_the_same_release() {
    let bench = Bench::signed();
    bench.ok("key generate --out anna");
    write_policy(&bench, "*");
    let reviewer = bench.json("key show anna.pub.pem");
    let text = String::from_utf8(bench.read("allow.toml")).unwrap();
    let text = text
        .replace("threshold = 1 }]", "threshold = 1 }, { role = \"reviewer\", of = [\"anna\"], threshold = 1 }]")
        .replace(
            "[[allow]]",
            &format!("[[principal]]\nname = \"anna\"\nkeys = [{}]\n[[allow]]", reviewer["policy_text"]),
        );
    bench.write("allow.toml", text);

    assert_eq!(bench.refusal("verify echo-1.2.0.wasm --policy allow.toml"), ["threshold-not-met"]);
    bench.ok("sign echo-1.2.0.wasm --key anna.key.pem --role reviewer --policy-version 1 --reason fine");
    bench.ok("verify echo-1.2.0.wasm --policy allow.toml");
}

#[test]
fn a_reviewer_signs_for_the_difference_that_was_looked_at() {
    let bench = Bench::signed();
    bench.ok("key generate --out anna");

    bench.ok("sign echo-1.2.0.wasm --key anna.key.pem --role reviewer --reason fine --against echo-1.2.0.wasm");

    let diff = bench.json("diff echo-1.2.0.wasm echo-1.2.0.wasm");
    let bundle: serde_json::Value = serde_json::from_slice(&bench.read("echo-1.2.0.2.sigstore.json")).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = data_encoding::BASE64.decode(payload.as_bytes()).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement["predicate"]["capability_diff_digest"], diff["diff_digest"]);
    assert_eq!(statement["predicate"]["base_digest"], diff["digest"]);
}

#[test]
fn without_a_policy_nothing_is_allowed() {
    let bench = Bench::signed();

    assert_eq!(bench.refusal("verify echo-1.2.0.wasm"), ["unknown-signer"]);
}

#[test]
fn an_unsigned_artifact_is_refused() {
    let bench = Bench::project();
    bench.ok("pack");
    bench.ok("key generate --out acme");

    assert_eq!(bench.refusal("verify echo-1.2.0.wasm --key acme.pub.pem"), ["unsigned"]);
    assert_eq!(bench.refusal("verify echo-1.2.0.wasm"), ["unsigned"]);
}

#[test]
fn a_flipped_bit_of_the_artifact_or_the_bundle_is_refused() {
    let bench = Bench::signed();
    write_policy(&bench, "*");
    for name in ["echo-1.2.0.wasm", "echo-1.2.0.1.sigstore.json"] {
        let good = bench.read(name);
        for at in (0..good.len()).step_by(good.len() / 16) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bench.write(name, &bad);

            bench.fails(3, "verify echo-1.2.0.wasm --policy allow.toml");
            bench.fails(3, "verify echo-1.2.0.wasm --key acme.pub.pem");
        }
        bench.write(name, &good);
    }

    bench.ok("verify echo-1.2.0.wasm --policy allow.toml");
}

#[test]
fn a_half_written_artifact_is_refused_by_every_command() {
    let bench = Bench::signed();
    let whole = bench.read("echo-1.2.0.wasm");
    for length in [0, 7, 8, whole.len() / 2, whole.len() - 1] {
        bench.write("echo-1.2.0.wasm", &whole[..length]);

        bench.fails(3, "verify echo-1.2.0.wasm --key acme.pub.pem");
        bench.fails(3, "inspect echo-1.2.0.wasm");
        bench.fails(3, "sign echo-1.2.0.wasm --key acme.key.pem");
    }
}

#[test]
fn a_file_that_is_missing_or_too_large_or_a_folder_is_told_as_such() {
    let bench = Bench::new();
    bench.ok("key generate --out acme");
    fs::create_dir(bench.path("folder.wasm")).unwrap();
    // Sparse: it takes no room, and nothing of it is read.
    fs::File::create(bench.path("huge.wasm")).unwrap().set_len(1 << 40).unwrap();

    for command in ["inspect", "verify --key acme.pub.pem", "sign --key acme.key.pem"] {
        bench.fails(4, &format!("{command} none.wasm"));
        assert!(bench.fails(1, &format!("{command} folder.wasm")).contains("is a directory"));
        assert!(bench.fails(1, &format!("{command} huge.wasm")).contains("is larger than"));
    }
}

#[test]
fn a_folder_in_a_bundles_place_is_told_as_such() {
    let bench = Bench::signed();
    fs::create_dir(bench.path("echo-1.2.0.2.sigstore.json")).unwrap();

    for command in ["sign --key acme.key.pem", "verify --key acme.pub.pem", "inspect"] {
        let stderr = bench.fails(1, &format!("{command} echo-1.2.0.wasm"));
        assert!(stderr.contains("`echo-1.2.0.2.sigstore.json`: is a directory"), "{stderr}");
    }
}

#[test]
fn a_time_in_the_past_is_a_usage_error() {
    let bench = Bench::signed();

    bench.fails(2, "sign echo-1.2.0.wasm --key acme.key.pem --not-after 2020-01-01T00:00:00Z");
    bench.fails(2, "sign echo-1.2.0.wasm --key acme.key.pem --not-after tomorrow");
}

#[test]
fn an_artifact_is_described_without_trusting_its_signatures() {
    let bench = Bench::signed();

    let body = bench.json("inspect echo-1.2.0.wasm");
    let text = bench.ok("inspect echo-1.2.0.wasm");

    assert_eq!(body["plugin"], "acme.echo");
    assert_eq!(body["exports"][0], "bulkhead:plugin/hooks@0.1.0");
    assert_eq!(body["imports"]["inert"][0], "bulkhead:plugin/types@0.1.0");
    assert_eq!(body["bundles"][0]["claims"], "acme.echo@1.2.0");
    assert!(text.contains("NOT VERIFIED"), "{text}");
}
