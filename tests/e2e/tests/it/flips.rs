//! One flipped bit anywhere in an artifact, its bundle, or a compiled guest: refused with a reason, never run, never a
//! crash; 400 random flips of each.

use std::path::PathBuf;

use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, TestHost};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

/// Flips of each kind.
const FLIPS: usize = 400;
/// Hosts at once where each flip costs a compilation.
const HOSTS: usize = 4;
/// Starts of a plugin until it is read from its file again.
const LOADS_MAX: u32 = 100;

/// The same sequence of places in every run.
struct Flips(TestRng);

impl Flips {
    fn new() -> Self {
        Self(TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    }

    /// Another sequence.
    fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    fn of(&mut self, bytes: &[u8]) -> (usize, Vec<u8>) {
        let bit = usize::try_from(self.0.next_u64() % (u64::try_from(bytes.len()).unwrap() * 8)).unwrap();
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    }
}

/// Refused as an artifact is: by a code of refusals, with its reasons.
fn is_refused(bit: usize, answer: &Answer) {
    let code = answer.code();
    let code = bulkhead_model::Code::find(&code).unwrap_or_else(|| panic!("bit {bit}: {code}"));
    assert!(code.is_refusal(), "bit {bit}: {}", answer.text());
    assert!(!answer.problem()["errors"].as_array().unwrap().is_empty(), "bit {bit}: {}", answer.text());
}

#[tokio::test]
async fn an_artifact_with_one_flipped_bit_is_refused() {
    let host = TestHost::new().await;
    let release = hostile("echo").signed_by(ALICE);
    let mut flips = Flips::new();

    for _ in 0..FLIPS {
        let (bit, artifact) = flips.of(&release.bytes);
        let answer = host.admin().publish_parts(&artifact, [release.bundles[0].as_bytes()]).await;
        is_refused(bit, &answer);
    }

    assert!(host.admin().plugins().await.is_empty());
    host.admin().publish(&release).await.expect(201);
}

#[tokio::test]
async fn a_bundle_with_one_flipped_bit_is_refused() {
    let host = TestHost::new().await;
    let release = hostile("echo").signed_by(ALICE);
    let mut flips = Flips::new();

    for _ in 0..FLIPS {
        let (bit, bundle) = flips.of(release.bundles[0].as_bytes());
        let answer = host.admin().publish_parts(&release.bytes, [bundle.as_slice()]).await;
        is_refused(bit, &answer);
    }

    assert!(host.admin().plugins().await.is_empty());
    host.admin().publish(&release).await.expect(201);
}

#[tokio::test]
async fn a_compiled_guest_with_one_flipped_bit_is_never_run_but_compiled_again() {
    let mut flips = Flips::new();
    let hosts: Vec<_> = (0..HOSTS).map(|_| tokio::spawn(flip_compiled(flips.fork(), FLIPS / HOSTS))).collect();

    for host in hosts {
        host.await.unwrap();
    }
}

async fn flip_compiled(mut flips: Flips, count: usize) {
    let (host, entry) = with_compiled_guest().await;
    let whole = std::fs::read(&entry).unwrap();

    for _ in 0..count {
        let (bit, compiled) = flips.of(&whole);
        std::fs::write(&entry, &compiled).unwrap();
        let mut loaded = false;
        for _ in 0..LOADS_MAX {
            // A plugin that serves nobody is forgotten once its calls have ended, and read from the folder again.
            host.admin().disable("hostile.echo").await.expect(200);
            host.admin().enable("hostile.echo").await.expect(200);
            let answer = host.app("acme").apply("demo.value", &json!("value")).await.expect(200).json();
            assert_eq!(answer, json!({ "value": "value", "failures": [] }), "bit {bit}");
            loaded = std::fs::read(&entry).unwrap() != compiled;
            if loaded {
                break;
            }
        }
        assert!(loaded, "bit {bit}: the flipped file is still there");
    }
}

/// A host with a folder of compiled guests of its own, and the one file in it.
async fn with_compiled_guest() -> (TestHost, PathBuf) {
    let host = TestHost::new().own_cache().tenant("acme").with(hostile("echo")).await;
    host.app("acme").declare_filter("demo.value").await.expect(200);
    let entry = std::fs::read_dir(host.cache_dir()).unwrap().next().unwrap().unwrap().path();
    (host, entry)
}

#[tokio::test]
async fn a_host_that_starts_over_a_flipped_compiled_guest_compiles_it_again() {
    let (mut host, entry) = with_compiled_guest().await;
    let whole = std::fs::read(&entry).unwrap();
    let mut flips = Flips::new();

    for _ in 0..5 {
        let (bit, compiled) = flips.of(&whole);
        host = host.restart_after(|_| std::fs::write(&entry, &compiled).unwrap()).await;
        let answer = host.app("acme").apply("demo.value", &json!("value")).await.expect(200).json();
        assert_eq!(answer["failures"], json!([]), "bit {bit}");
        assert_ne!(std::fs::read(&entry).unwrap(), compiled, "bit {bit}");
    }
}

#[tokio::test]
async fn half_a_compiled_guest_or_none_is_compiled_again() {
    let (mut host, entry) = with_compiled_guest().await;
    let whole = std::fs::read(&entry).unwrap();
    let contents: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(&whole[..whole.len() / 2]),
        Some(&whole[..whole.len() - 1]),
        Some(&[whole.as_slice(), b"x"].concat()),
    ];

    for content in contents {
        host = host
            .restart_after(|_| match content {
                Some(bytes) => std::fs::write(&entry, bytes).unwrap(),
                None => std::fs::remove_file(&entry).unwrap(),
            })
            .await;
        let answer = host.app("acme").apply("demo.value", &json!("value")).await.expect(200).json();
        assert_eq!(answer["failures"], json!([]));
        assert_eq!(std::fs::read(&entry).unwrap().len(), whole.len());
    }
}
