//! Artifacts that a host refuses: each with its code and status, all reasons at once, and nothing left behind.
//! Single flipped bits have a file of their own.

use bulkhead_model::Digest;
use bulkhead_testkit::guests::{self, HELLO, hostile};
use bulkhead_testkit::keys::{ALICE, BOB, CAROL, MALLORY};
use bulkhead_testkit::{Answer, Release, Source, TestHost};
use insta::assert_json_snapshot;

const STRICT: &str = r#"
    [[principal]]
    name = "alice"
    keys = ["alice"]
    [[principal]]
    name = "bob"
    keys = ["bob"]
    [[allow]]
    id = "acme-by-two"
    plugin = "acme.*"
    version = ">=0.1.0, <2.0.0"
    signers = [{ role = "author", of = ["alice", "bob"], threshold = 2 }]
    tenants = ["*"]
    [allow.ceiling]
    interfaces = ["bulkhead:plugin/kv"]
"#;

/// Publishes to a fresh host and sees that nothing is left.
async fn refused(policy: Option<&str>, release: &Release) -> Answer {
    let builder = TestHost::new().own_cache();
    let host = match policy {
        Some(policy) => builder.policy(policy).await,
        None => builder.await,
    };

    let answer = host.admin().publish(release).await;

    assert!(host.admin().plugins().await.is_empty(), "a refused plugin is listed");
    assert_eq!(compiled(&host), 0, "a refused plugin was compiled");
    let audit = host.security().get("/api/v1/audit?limit=200").await.text();
    assert!(audit.contains("plugin.refuse"), "a refusal is not in the audit log: {audit}");
    answer
}

async fn check(policy: Option<&str>, release: &Release, status: u16, code: &str) {
    let answer = refused(policy, release).await;
    assert_eq!(answer.outcome(), (status, code.to_owned()), "{}", answer.text());
    let reasons = answer.problem()["errors"].as_array().cloned().unwrap_or_default();
    assert!(
        reasons.iter().any(|reason| reason["message"].as_str().unwrap().starts_with(&format!("{code}: "))),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn an_unsigned_artifact_is_refused() {
    let answer = refused(None, &HELLO.source().pack()).await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "unsigned",
      "detail": "refused: unsigned (there is no signature beside the artifact)",
      "errors": [
        {
          "message": "unsigned: there is no signature beside the artifact",
          "pointer": ""
        }
      ],
      "status": 403,
      "title": "The artifact carries no signature",
      "type": "/problems/unsigned"
    }
    "#);
}

#[tokio::test]
async fn a_signer_whom_no_rule_names_is_refused() {
    check(None, &HELLO.signed_by(MALLORY), 403, "unknown-signer").await;
}

#[tokio::test]
async fn a_signature_that_does_not_fit_is_refused() {
    let mut release = HELLO.signed_by(ALICE);
    // The signature of another statement by the same key.
    let other = HELLO.source().version("0.3.0").signed_by(ALICE);
    let pick = |bundle: &str| serde_json::from_str::<serde_json::Value>(bundle).unwrap();
    let mut mixed = pick(&release.bundles[0]);
    mixed["dsseEnvelope"]["signatures"] = pick(&other.bundles[0])["dsseEnvelope"]["signatures"].clone();
    release.bundles = vec![mixed.to_string()];

    check(None, &release, 403, "bad-signature").await;
}

#[tokio::test]
async fn bytes_that_were_not_signed_are_refused() {
    let mut release = HELLO.signed_by(ALICE);
    release.bytes = HELLO.source().version("0.3.0").pack().bytes;

    check(None, &release, 403, "digest-mismatch").await;
}

#[tokio::test]
async fn a_statement_that_speaks_of_another_plugin_is_refused() {
    let release = HELLO.source().pack().signed_as(ALICE, |statement| statement.plugin = "acme.other".parse().unwrap());

    check(None, &release, 422, "manifest-mismatch").await;
}

#[tokio::test]
async fn a_signature_that_is_over_is_refused() {
    let release = HELLO.source().pack().signed_as(ALICE, |statement| {
        statement.issued_at = "2020-01-01T00:00:00Z".parse().unwrap();
        statement.not_after = "2020-02-01T00:00:00Z".parse().unwrap();
    });

    check(None, &release, 403, "expired").await;
}

#[tokio::test]
async fn a_denied_key_is_refused_whatever_allows_it() {
    let policy = format!(
        "{}\n[[deny]]\nplugin = \"*\"\nkey = \"alice\"\nreason = \"stolen\"\n",
        bulkhead_testkit::policies::STANDARD
    );

    check(Some(&policy), &HELLO.signed_by(ALICE), 403, "revoked").await;
}

#[tokio::test]
async fn every_reason_is_told_at_once() {
    let release = HELLO.source().version("2.0.0").signed_by(ALICE).reviewed_by(CAROL);

    let answer = refused(Some(STRICT), &release).await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "unknown-signer",
      "detail": "refused: unknown-signer (bundle 2: the signature was made by none of the known keys); threshold-not-met (1 of 2 signatures as author by alice, bob, as the rule `acme-by-two` wants); version-out-of-range (2.0.0 is not in `>=0.1.0, <2.0.0`, the range of the rule `acme-by-two`); capability-over-ceiling (the interface `bulkhead:plugin/sql` is above the ceiling of the rule `acme-by-two`)",
      "errors": [
        {
          "message": "unknown-signer: bundle 2: the signature was made by none of the known keys",
          "pointer": ""
        },
        {
          "message": "threshold-not-met: 1 of 2 signatures as author by alice, bob, as the rule `acme-by-two` wants",
          "pointer": ""
        },
        {
          "message": "version-out-of-range: 2.0.0 is not in `>=0.1.0, <2.0.0`, the range of the rule `acme-by-two`",
          "pointer": "/plugin/version"
        },
        {
          "message": "capability-over-ceiling: the interface `bulkhead:plugin/sql` is above the ceiling of the rule `acme-by-two`",
          "pointer": "/capabilities/sql"
        }
      ],
      "status": 403,
      "title": "No signer of this artifact may ship this plugin",
      "type": "/problems/unknown-signer"
    }
    "#);
}

#[tokio::test]
async fn too_few_signers_are_refused() {
    let quiet = guests::hostile("echo").source().id("acme.echo");

    check(Some(STRICT), &quiet.signed_by(ALICE), 403, "threshold-not-met").await;
    check(Some(STRICT), &quiet.signed_by(ALICE).signed_by(ALICE), 403, "threshold-not-met").await;
}

#[tokio::test]
async fn a_version_outside_the_range_is_refused() {
    let quiet = guests::hostile("echo").source().id("acme.echo").version("2.0.0");

    check(Some(STRICT), &quiet.signed_by(ALICE).signed_by(BOB), 403, "version-out-of-range").await;
}

#[tokio::test]
async fn a_wish_beyond_the_ceiling_is_refused() {
    check(Some(STRICT), &HELLO.signed_by(ALICE).signed_by(BOB), 403, "capability-over-ceiling").await;
}

#[tokio::test]
async fn an_older_release_is_refused() {
    let host = TestHost::new().await;
    host.admin().publish(&HELLO.source().version("0.2.0").signed_by(ALICE)).await.expect(201);

    let older = host.admin().publish(&HELLO.source().version("0.1.0").signed_by(ALICE)).await;
    let newer_with_an_old_number =
        HELLO.source().version("0.3.0").pack().signed_as(ALICE, |statement| statement.sequence = 1);
    let sneaky = host.admin().publish(&newer_with_an_old_number).await;

    assert_json_snapshot!(older.problem(), @r#"
    {
      "code": "downgrade",
      "detail": "refused: downgrade (version 0.1.0 is older than 0.2.0, and no reviewer signed for going back)",
      "errors": [
        {
          "message": "downgrade: version 0.1.0 is older than 0.2.0, and no reviewer signed for going back",
          "pointer": ""
        }
      ],
      "status": 409,
      "title": "An older release than the one known",
      "type": "/problems/downgrade"
    }
    "#);
    assert_eq!(sneaky.outcome(), (409, "downgrade".to_owned()));
}

#[tokio::test]
async fn another_contract_is_refused() {
    let future = HELLO.source().edit(|manifest| manifest.plugin.contract = "^9.0".parse().unwrap());

    check(None, &unlinted(&future, None), 422, "incompatible-contract").await;
}

/// Packs and signs by hand what `pack` refuses. `imports` are the component's, where they are not the guest's own.
pub(super) fn unlinted(source: &Source, imports: Option<&[&str]>) -> Release {
    let bytes = with_manifest(&source.component, &source.manifest.for_artifact().to_json());
    let digest = Digest::of(&bytes);
    let size_bytes = u64::try_from(bytes.len()).unwrap();
    let signed = HELLO.source().pack().signed_as(ALICE, |statement| {
        statement.plugin = source.manifest.plugin.id.clone();
        statement.version = source.manifest.plugin.version.clone();
        (statement.digest, statement.size_bytes) = (digest, size_bytes);
        if let Some(imports) = imports {
            let lines: String = imports.iter().map(|name| format!("{name}\n")).collect();
            statement.imports_digest = Digest::of(lines.as_bytes());
        }
    });
    Release { bytes, ..signed }
}

/// A component with a `bulkhead:manifest` section behind it.
fn with_manifest(component: &[u8], manifest: &[u8]) -> Vec<u8> {
    let name = b"bulkhead:manifest";
    let mut payload = leb(name.len());
    payload.extend_from_slice(name);
    payload.extend_from_slice(manifest);
    let mut bytes = component.to_vec();
    bytes.push(0);
    bytes.extend(leb(payload.len()));
    bytes.extend(payload);
    bytes
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[tokio::test]
async fn an_import_that_never_links_is_refused() {
    let source = bare(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#);

    let answer = refused(None, &unlinted(&source, Some(&["wasi:sockets/tcp@0.2.0"]))).await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "forbidden-import",
      "detail": "refused: forbidden-import (`wasi:sockets/tcp@0.2.0` never links)",
      "errors": [
        {
          "message": "forbidden-import: `wasi:sockets/tcp@0.2.0` never links",
          "pointer": ""
        }
      ],
      "status": 403,
      "title": "The component imports something that never links",
      "type": "/problems/forbidden-import"
    }
    "#);
}

#[tokio::test]
async fn an_interface_that_is_not_served_is_named() {
    let events = bare(r#"(component (import "bulkhead:plugin/events@0.1.0" (instance)))"#);
    let unknown = bare(r#"(component (import "bulkhead:plugin/telepathy@0.1.0" (instance)))"#);

    check(None, &unlinted(&events, Some(&["bulkhead:plugin/events@0.1.0"])), 422, "incompatible-contract").await;
    check(None, &unlinted(&unknown, Some(&["bulkhead:plugin/telepathy@0.1.0"])), 422, "incompatible-contract").await;
}

#[tokio::test]
async fn a_manifest_that_promises_what_the_component_lacks_is_refused() {
    let source = Source { component: guests::text("(component)"), ..hostile("echo").source() };

    check(None, &unlinted(&source, Some(&[])), 422, "manifest-mismatch").await;
}

#[tokio::test]
async fn a_component_whose_types_are_not_the_contracts_is_refused() {
    // The right name with nothing behind it: only loading it once tells.
    let component = guests::text(r#"(component (instance $i) (export "bulkhead:plugin/hooks@0.1.0" (instance $i)))"#);
    let source = Source { component, ..hostile("echo").source() };
    let host = TestHost::new().own_cache().await;

    let answer = host.admin().publish(&unlinted(&source, Some(&[]))).await;

    assert_eq!(answer.outcome(), (422, "incompatible-contract".to_owned()), "{}", answer.text());
    assert!(host.admin().plugins().await.is_empty());
    assert_eq!(compiled(&host), 0, "what was compiled for the trial is left");
}

#[tokio::test]
async fn what_is_no_artifact_is_refused() {
    let hello = HELLO.source().pack().bytes;
    let without_manifest = HELLO.source().component;
    let module = [b"\0asm\x01\0\0\0".as_slice(), &hello[8..]].concat();
    for bytes in [
        Vec::new(),
        b"\0asm".to_vec(),
        b"(component)".to_vec(),
        vec![0; 1_000],
        without_manifest,
        module,
        hello[..hello.len() - 1].to_vec(),
    ] {
        let host = TestHost::new().own_cache().await;
        let answer = host.admin().publish_parts(&bytes, [HELLO.signed_by(ALICE).bundles[0].as_bytes()]).await;
        let (status, code) = answer.outcome();
        assert!(matches!((status, code.as_str()), (422, "malformed") | (403, "digest-mismatch")), "{}", answer.text());
        assert!(host.admin().plugins().await.is_empty());
    }
}

#[tokio::test]
async fn a_bundle_that_is_no_bundle_is_refused() {
    let host = TestHost::new().await;
    let hello = HELLO.source().pack().bytes;
    for bundle in ["", "{}", "[]", "null", "\u{0}", r#"{"mediaType":"application/json"}"#] {
        let answer = host.admin().publish_parts(&hello, [bundle.as_bytes()]).await;
        assert_eq!(answer.outcome(), (422, "malformed".to_owned()), "{bundle}: {}", answer.text());
    }
    assert!(host.admin().plugins().await.is_empty());
}

#[tokio::test]
async fn an_artifact_beyond_the_structural_limits_is_refused() {
    // 101 imports.
    let imports: String = (0..101).map(|index| format!("(import \"wasi:io/poll{index}@0.2.0\" (instance))")).collect();
    let source = bare(&format!("(component {imports})"));

    let answer = refused(None, &unlinted(&source, Some(&[]))).await;

    assert_eq!(answer.outcome(), (413, "too-large".to_owned()), "{}", answer.text());
}

#[tokio::test]
async fn an_upload_beyond_the_bound_is_refused_before_it_is_judged() {
    let host = TestHost::new().await;
    let huge = vec![0; 40 << 20];

    let request =
        host.admin().request(reqwest::Method::POST, "/api/v1/plugins").header("content-type", "application/wasm");
    let answer = bulkhead_testkit::client::try_send(request.body(huge)).await;

    // The host may close while bytes still come; what it answers, if it is read, is 413.
    if let Some(answer) = answer {
        assert_eq!(answer.outcome(), (413, "body-too-large".to_owned()));
    }
    assert!(host.admin().plugins().await.is_empty());
}

/// A guest that is this component and has no hooks.
pub(super) fn bare(component_text: &str) -> Source {
    let source = hostile("echo").source().edit(|manifest| manifest.hooks.clear());
    Source { component: guests::text(component_text), ..source }
}

/// Files in the folder of compiled guests.
fn compiled(host: &TestHost) -> usize {
    std::fs::read_dir(host.cache_dir()).unwrap().count()
}
