//! `bulkhead key`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::bench::Bench;

#[test]
fn a_pair_is_written_with_the_private_half_for_its_owner_alone() {
    let bench = Bench::new();

    let said = bench.json("key generate --out acme");

    assert_eq!(bench.names(), ["acme.key.pem", "acme.pub.pem"]);
    let mode = fs::metadata(bench.path("acme.key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(said["policy_text"].as_str().unwrap().starts_with("ed25519:"));
    assert!(said["key_id"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn both_halves_show_the_same_key() {
    let bench = Bench::new();
    bench.ok("key generate --out acme.v2");

    let public = bench.ok("key show acme.v2.pub.pem");

    assert_eq!(public, bench.ok("key show acme.v2.key.pem"));
    assert!(public.contains("ed25519:"), "{public}");
}

#[test]
fn a_pair_that_is_there_is_kept_unless_forced() {
    let bench = Bench::new();
    bench.ok("key generate --out acme");
    let before = bench.read("acme.key.pem");

    let stderr = bench.fails(1, "key generate --out acme");
    assert!(stderr.contains("exists already") && stderr.contains("--force"), "{stderr}");
    assert_eq!(bench.read("acme.key.pem"), before);

    bench.ok("key generate --out acme --force");
    assert_ne!(bench.read("acme.key.pem"), before);
}

#[test]
fn one_half_that_is_there_is_enough_to_stop() {
    let bench = Bench::new();
    bench.write("acme.pub.pem", "mine");

    bench.fails(1, "key generate --out acme");

    assert_eq!(bench.read("acme.pub.pem"), b"mine");
}

#[test]
fn a_file_that_is_no_key_is_told_as_such() {
    let bench = Bench::new();
    bench.write("text.pem", "hello");
    bench.write("bytes.pem", [0xff, 0xfe]);
    bench.write("huge.pem", vec![b'a'; 20_000]);
    fs::create_dir(bench.path("folder.pem")).unwrap();

    assert!(bench.fails(1, "key show text.pem").contains("not an Ed25519 public key"));
    assert!(bench.fails(1, "key show bytes.pem").contains("not PEM"));
    assert!(bench.fails(1, "key show huge.pem").contains("larger than 16384 bytes"));
    assert!(bench.fails(1, "key show folder.pem").contains("is a directory"));
    assert!(bench.fails(4, "key show none.pem").contains("No such file"));
}

#[test]
fn a_folder_that_is_not_there_is_named_and_not_made() {
    let bench = Bench::new();

    let stderr = bench.fails(1, "key generate --out keys/acme");

    assert!(stderr.contains("create the folder first"), "{stderr}");
}
