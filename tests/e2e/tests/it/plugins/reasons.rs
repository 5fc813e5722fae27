//! Each of the fifteen reasons for which an artifact is refused, over HTTP and on the command line, from one host.

use bulkhead_model::Code;
use bulkhead_testkit::guests::{HELLO, hostile};
use bulkhead_testkit::keys::{ALICE, BOB, CAROL, MALLORY};
use bulkhead_testkit::{Release, Source, guests};
use serde_json::Value;

use super::refusals::{bare, unlinted};
use crate::cli::Stage;

const POLICY: &str = r#"
    [[principal]]
    name = "alice"
    keys = ["alice"]
    [[principal]]
    name = "bob"
    keys = ["bob"]
    [[allow]]
    id = "by-alice"
    plugin = "*"
    version = "<1.0.0"
    signers = [{ role = "author", of = ["alice"], threshold = "any" }]
    tenants = ["*"]
    [allow.ceiling]
    interfaces = ["bulkhead:plugin/sql"]
    [[deny]]
    key = "mallory"
    reason = "stolen"
"#;
/// The same, with a second signer and nothing to ask for.
const STRICT: &str = r#"
    [[principal]]
    name = "alice"
    keys = ["alice"]
    [[principal]]
    name = "bob"
    keys = ["bob"]
    [[allow]]
    id = "by-both"
    plugin = "*"
    version = "*"
    signers = [{ role = "author", of = ["alice", "bob"], threshold = "all" }]
    tenants = ["*"]
"#;

fn echo(id: &str, version: &str) -> Source {
    hostile("echo").source().id(id).version(version)
}

fn bad_signature() -> Release {
    let pick = |bundle: &str| serde_json::from_str::<Value>(bundle).unwrap();
    let (mut release, other) = (HELLO.signed_by(ALICE), HELLO.source().version("0.3.0").signed_by(ALICE));
    let mut mixed = pick(&release.bundles[0]);
    mixed["dsseEnvelope"]["signatures"] = pick(&other.bundles[0])["dsseEnvelope"]["signatures"].clone();
    release.bundles = vec![mixed.to_string()];
    release
}

fn expired() -> Release {
    HELLO.source().pack().signed_as(ALICE, |statement| {
        statement.issued_at = "2020-01-01T00:00:00Z".parse().unwrap();
        statement.not_after = "2020-02-01T00:00:00Z".parse().unwrap();
    })
}

fn too_large() -> Release {
    let imports: String = (0..101).map(|index| format!("(import \"wasi:io/poll{index}@0.2.0\" (instance))")).collect();
    unlinted(&bare(&format!("(component {imports})")), Some(&[]))
}

/// What is refused, with its reason, under [`POLICY`].
fn cases() -> Vec<(Code, Release)> {
    let sockets = bare(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#);
    let future = HELLO.source().edit(|manifest| manifest.plugin.contract = "^9.0".parse().unwrap());
    let promises = Source { component: guests::text("(component)"), ..hostile("echo").source() };
    let mut swapped = HELLO.signed_by(ALICE);
    swapped.bytes = HELLO.source().version("0.3.0").pack().bytes;
    let mut cut = HELLO.signed_by(ALICE);
    cut.bytes.truncate(cut.bytes.len() - 1);
    vec![
        (Code::Unsigned, HELLO.source().pack()),
        (Code::UnknownSigner, HELLO.signed_by(CAROL)),
        (Code::BadSignature, bad_signature()),
        (Code::DigestMismatch, swapped),
        (Code::Expired, expired()),
        (Code::Revoked, HELLO.signed_by(ALICE).signed_by(MALLORY)),
        (Code::VersionOutOfRange, echo("acme.echo", "1.0.0").signed_by(ALICE)),
        (Code::Downgrade, echo("acme.known", "0.2.0").signed_by(ALICE)),
        (Code::ManifestMismatch, unlinted(&promises, Some(&[]))),
        (Code::IncompatibleContract, unlinted(&future, None)),
        (Code::ForbiddenImport, unlinted(&sockets, Some(&["wasi:sockets/tcp@0.2.0"]))),
        (Code::TooLarge, too_large()),
        (Code::Malformed, cut),
    ]
}

/// Refused over HTTP and by the binary, with its status, its code among the reasons, and exit code 3.
async fn check(stage: &Stage, code: Code, release: &Release) {
    let client = stage.client(&stage.token("super_admin"));
    let answer = client.publish(release).await;
    stage.place("refused", release);
    let ended = stage.admin().run(["publish", "refused.wasm", "--json"]).expect(3);
    for number in 1..=release.bundles.len() {
        std::fs::remove_file(stage.path(&format!("refused.{number}.sigstore.json"))).unwrap();
    }

    assert!(matches!(answer.status, 403 | 409 | 413 | 422), "{code}: {}", answer.text());
    assert_eq!(answer.problem()["code"], code.as_str(), "{}", answer.text());
    assert_eq!(ended.json()["code"], code.as_str(), "{ended:?}");
    let listed = |body: &Value| {
        let reasons = body["errors"].as_array().cloned().unwrap_or_default();
        reasons.iter().any(|one| one["message"].as_str().is_some_and(|text| text.starts_with(code.as_str())))
    };
    assert!(listed(&answer.problem()) && listed(&ended.json()), "{code}: {}", answer.text());
    assert!(ended.stderr.contains("next: "), "{code}: {}", ended.stderr);
}

#[tokio::test]
async fn each_of_the_fifteen_reasons_is_told_over_http_and_on_the_command_line() {
    let stage = Stage::new();
    let client = stage.client(&stage.token("super_admin"));
    stage.put_policy(2, POLICY).await;
    client.publish(&echo("acme.known", "0.3.0").signed_by(ALICE)).await.expect(201);

    let mut told = Vec::new();
    for (code, release) in cases() {
        check(&stage, code, &release).await;
        told.push(code);
    }
    stage.put_policy(3, STRICT).await;
    check(&stage, Code::ThresholdNotMet, &echo("acme.echo", "0.1.0").signed_by(ALICE)).await;
    check(&stage, Code::CapabilityOverCeiling, &HELLO.signed_by(ALICE).signed_by(BOB)).await;
    told.extend([Code::ThresholdNotMet, Code::CapabilityOverCeiling]);

    told.sort_unstable();
    // What the registry's log does not prove is refused at install, not here.
    let is_told_here = |code: &Code| code.is_refusal() && *code != Code::NotInLog;
    let every: Vec<Code> = Code::ALL.iter().copied().filter(is_told_here).collect();
    assert_eq!(told, every);
    assert_eq!(every.len(), 15);
    let known = client.plugins().await;
    assert_eq!(known.len(), 1, "what is refused leaves nothing: {known:?}");
}
