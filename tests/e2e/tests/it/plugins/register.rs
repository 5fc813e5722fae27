//! `POST /api/v1/plugins`: what is registered, what comes again, and in which forms it may arrive.
//! What is refused for what it is stands in `refusals`.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{HELLO, NOTES, hostile};
use bulkhead_testkit::keys::{ALICE, CAROL};
use insta::assert_json_snapshot;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

#[tokio::test]
async fn a_signed_artifact_is_registered_and_nothing_runs_yet() {
    let host = TestHost::new().tenant("acme").await;

    let answer = host.admin().publish(&HELLO.signed_by(ALICE)).await.expect(201);

    let mut plugin = answer.json();
    assert_eq!(plugin["manifest"]["plugin"]["id"], "acme.hello");
    assert!(plugin["created_at"].as_str().unwrap().ends_with('Z'));
    for field in ["manifest", "created_at", "updated_at"] {
        plugin.as_object_mut().unwrap().remove(field);
    }
    assert_json_snapshot!(plugin, @r#"
    {
      "health": "unknown",
      "id": "acme.hello",
      "last_error": null,
      "name": "Hello",
      "status": "registered",
      "tenants_enabled": 0,
      "trust": "untrusted",
      "version": "0.1.0"
    }
    "#);
    assert_eq!(host.tenant_admin("acme").enable_here("acme.hello").await.outcome(), (409, "conflict".to_owned()));
    assert_eq!(host.user("acme", &["acme.hello.hello.greet"]).get_route("acme.hello", "/hello").await.status, 404);
}

#[tokio::test]
async fn the_same_release_again_is_the_same_release() {
    let host = TestHost::new().await;
    let release = HELLO.signed_by(ALICE);

    host.admin().publish(&release).await.expect(201);
    let again = host.admin().publish(&release).await.expect(200);

    assert_eq!(again.json()["status"], "registered");
    host.admin().publish(&HELLO.source().version("0.2.0").signed_by(ALICE)).await.expect(201);
    host.admin().publish(&release).await.expect(200);
    let versions = host.admin().get("/api/v1/plugins/acme.hello/versions").await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    assert_eq!(versions["items"][0]["registered_by"], "root");
}

#[tokio::test]
async fn a_signature_may_come_later_beside_the_first() {
    let host = TestHost::new().await;
    let release = HELLO.signed_by(ALICE);
    host.admin().publish(&release).await.expect(201);

    host.admin().publish(&release.clone().reviewed_by(CAROL)).await.expect(200);

    let wants_both = r#"
        [[principal]]
        name = "alice"
        keys = ["alice"]
        [[principal]]
        name = "carol"
        keys = ["carol"]
        [[allow]]
        id = "reviewed"
        plugin = "acme.*"
        signers = [{ role = "author", of = ["alice"], threshold = 1 }, { role = "reviewer", of = ["carol"], threshold = 1 }]
        tenants = ["*"]
        [allow.ceiling]
        interfaces = ["bulkhead:plugin/sql"]
    "#;
    host.install_policy(wants_both).await;
    host.admin().install("acme.hello").await.expect(200);
    assert_eq!(host.admin().status_of("acme.hello").await, "installed");
}

#[tokio::test]
async fn a_version_is_immutable() {
    let host = TestHost::new().await;
    host.admin().publish(&HELLO.signed_by(ALICE)).await.expect(201);
    let other_bytes = HELLO.source().edit(|manifest| manifest.plugin.description = "Other bytes".to_owned());

    let answer = host.admin().publish(&other_bytes.signed_by(ALICE)).await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "conflict",
      "detail": "the version 0.1.0 of `acme.hello` is registered with other bytes: versions are immutable",
      "status": 409,
      "title": "The request conflicts with what is there",
      "type": "/problems/conflict"
    }
    "#);
    let versions = host.admin().get("/api/v1/plugins/acme.hello/versions").await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_the_newest_is_shown() {
    let host = TestHost::new().await;
    for version in ["0.1.0", "0.2.0", "1.0.0"] {
        host.admin().publish(&HELLO.source().version(version).signed_by(ALICE)).await.expect(201);
    }

    let versions = host.admin().get("/api/v1/plugins/acme.hello/versions").await.json();

    let listed: Vec<_> = versions["items"].as_array().unwrap().iter().map(|item| item["version"].clone()).collect();
    assert_eq!(listed, ["1.0.0", "0.2.0", "0.1.0"]);
    assert!(versions["items"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(host.admin().plugin("acme.hello").await.json()["version"], "1.0.0");
}

#[tokio::test]
async fn plugins_are_listed_in_pages() {
    let host = TestHost::new().await;
    for guest in [HELLO, NOTES, hostile("echo")] {
        host.admin().publish(&guest.signed_by(ALICE)).await.expect(201);
    }

    let mut seen = Vec::new();
    let mut path = "/api/v1/plugins?limit=1".to_owned();
    loop {
        let page = host.admin().get(&path).await.expect(200).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|plugin| plugin["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/plugins?limit=1&cursor={cursor}");
    }

    assert_eq!(seen, ["acme.hello", "acme.notes", "hostile.echo"]);
}

#[tokio::test]
async fn only_a_platform_admin_registers() {
    let host = TestHost::new().tenant("acme").await;
    let release = HELLO.signed_by(ALICE);

    for client in [host.security(), host.tenant_admin("acme"), host.app("acme"), host.user("acme", &[])] {
        assert_eq!(client.publish(&release).await.outcome(), (403, "role-required".to_owned()));
    }
    assert_eq!(host.anyone().publish(&release).await.outcome(), (401, "unauthenticated".to_owned()));
    assert!(host.admin().plugins().await.is_empty());
}

#[tokio::test]
async fn an_upload_of_another_form_is_refused_with_what_is_wanted() {
    let host = TestHost::new().await;
    let artifact = || Part::bytes(b"\0asm".to_vec());
    let post = |form: Form| host.admin().request(Method::POST, "/api/v1/plugins").multipart(form);

    let no_artifact = send(post(Form::new().text("bundle", "{}"))).await;
    let two_artifacts = send(post(Form::new().part("artifact", artifact()).part("artifact", artifact()))).await;
    let unknown_part = send(post(Form::new().part("artifact", artifact()).text("colour", "blue"))).await;
    let many = (0..100).fold(Form::new().part("artifact", artifact()), |form, _| form.text("bundle", "{}"));
    let many_bundles = send(post(many)).await;
    let json = host.admin().post_json("/api/v1/plugins", &json!({})).await;

    assert_json_snapshot!(no_artifact.problem(), @r#"
    {
      "code": "invalid-input",
      "detail": "1 problem(s)",
      "errors": [
        {
          "message": "the part `artifact` is missing",
          "pointer": "/artifact"
        }
      ],
      "status": 422,
      "title": "The input is not valid",
      "type": "/problems/invalid-input"
    }
    "#);
    assert_eq!(
        two_artifacts.outcome(),
        (422, "malformed".to_owned()),
        "several are taken, and judged for what they are"
    );
    assert_eq!(unknown_part.outcome(), (422, "invalid-input".to_owned()));
    assert_eq!(many_bundles.outcome(), (422, "invalid-input".to_owned()));
    assert_json_snapshot!(json.problem(), @r#"
    {
      "code": "invalid-input",
      "detail": "1 problem(s)",
      "errors": [
        {
          "message": "missing field `source` at line 1 column 2",
          "pointer": ""
        }
      ],
      "status": 422,
      "title": "The input is not valid",
      "type": "/problems/invalid-input"
    }
    "#);
    assert!(host.admin().plugins().await.is_empty());
}

#[tokio::test]
async fn in_dev_mode_an_unsigned_artifact_may_come_alone() {
    let host = TestHost::new()
        .tenant("acme")
        .configured(|config| config.server.mode = bulkhead_testkit::host::Mode::Dev)
        .await;
    let release = HELLO.source().pack();

    let request = host.admin().request(Method::POST, "/api/v1/plugins").header("content-type", "application/wasm");
    send(request.body(release.bytes)).await.expect(201);
    host.admin().install("acme.hello").await.expect(200);

    host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
    let user = host.user("acme", &["acme.hello.hello.greet"]);
    assert_eq!(user.get_route("acme.hello", "/hello").await.json(), json!({ "message": "Hello, user@acme!" }));
}

#[tokio::test]
async fn an_artifact_of_many_megabytes_is_registered() {
    let host = TestHost::new().await;
    let mut source = hostile("echo").source();
    source.component.extend_from_slice(&custom_section(&[0; 5 << 20]));

    host.admin().publish(&source.signed_by(ALICE)).await.expect(201);
}

/// A custom section `pad`.
fn custom_section(content: &[u8]) -> Vec<u8> {
    let mut length = content.len() + 4;
    let mut section = vec![0];
    while length >= 0x80 {
        section.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    section.push(u8::try_from(length).unwrap());
    section.extend_from_slice(b"\x03pad");
    section.extend_from_slice(content);
    section
}
