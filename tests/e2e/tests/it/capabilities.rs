//! What a release may do beyond another one, over HTTP and on the command line.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::guests::{ROUTES, component, plain};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, Source};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

/// A small plugin that imports nothing.
pub(crate) fn narrow(version: &str) -> Release {
    ROUTES.source().version(version).signed_by(ALICE)
}

/// The same plugin, importing and asking for `kv` too.
pub(crate) fn wide(version: &str) -> Release {
    wide_source(version).signed_by(ALICE)
}

pub(crate) fn wide_source(version: &str) -> Source {
    // The module of the routes guest, with one import more.
    let text = include_str!("../../../testkit/guests/routes.wat");
    let import = "(module (import \"bulkhead:plugin/kv@0.1.0\" \"get\" (func $kv (param i32 i32 i32)))";
    let manifest = ROUTES.source().manifest;
    let bytes = component(&text.replacen("(module", import, 1), &["kv"], &["routes"]);
    let mut source = plain("[plugin]\nid = \"test.routes\"\nversion = \"0.1.0\"\nname = \"Routes\"\n", bytes);
    source.manifest = manifest;
    source.version(version).edit(|manifest| manifest.capabilities.kv = true)
}

#[tokio::test]
async fn what_a_version_adds_to_another_is_told_from_their_bytes() {
    let host = TestHost::new().await;
    host.admin().publish(&narrow("0.1.0")).await.expect(201);
    host.admin().publish(&wide("0.2.0")).await.expect(201);
    let path = "/api/v1/plugins/test.routes/versions";

    let alone = host.admin().get(&format!("{path}/0.1.0/capabilities")).await.expect(200).json();
    let wider = host.security().get(&format!("{path}/0.2.0/capabilities?against=0.1.0")).await.expect(200).json();
    let narrower = host.admin().get(&format!("{path}/0.1.0/capabilities?against=0.2.0")).await.expect(200).json();

    assert_eq!(alone["widens"], Value::Null);
    assert!(alone["capabilities"].as_array().unwrap().iter().any(|one| one["area"] == "route"), "{alone}");
    assert_eq!((&wider["widens"], &narrower["widens"]), (&json!(true), &json!(false)));
    let widening: Vec<&Value> =
        wider["differences"].as_array().unwrap().iter().filter(|one| one["widens"] == true).collect();
    assert_json_snapshot!(widening.iter().filter(|one| one["area"] == "interface").collect::<Vec<_>>(), @r#"
    [
      {
        "after": "",
        "area": "interface",
        "before": null,
        "direction": "wider",
        "name": "bulkhead:plugin/kv",
        "widens": true
      }
    ]
    "#);
    assert!(widening.iter().any(|one| one["name"] == "bulkhead:plugin/kv@0.1.0#get"), "{wider}");
    assert!(wider["diff_digest"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn capabilities_are_for_the_platform_and_security_and_of_what_is_there() {
    let host = TestHost::new().tenant("acme").await;
    host.admin().publish(&narrow("0.1.0")).await.expect(201);
    let check = async |path: &str, wanted: (u16, &str)| {
        let answer = host.admin().get(&format!("/api/v1/plugins/{path}")).await;
        assert_eq!(answer.outcome(), (wanted.0, wanted.1.to_owned()), "{path}");
    };

    check("test.routes/versions/9.9.9/capabilities", (404, "not-found")).await;
    check("test.routes/versions/x/capabilities", (404, "not-found")).await;
    check("test.nothing/versions/0.1.0/capabilities", (404, "not-found")).await;
    check("test.routes/versions/0.1.0/capabilities?against=9.9.9", (404, "not-found")).await;
    check("test.routes/versions/0.1.0/capabilities?against=x", (422, "invalid-input")).await;
    let refused = host.tenant_admin("acme").get("/api/v1/plugins/test.routes/versions/0.1.0/capabilities").await;
    assert_eq!(refused.outcome(), (403, "role-required".to_owned()));
}

#[test]
fn two_files_are_compared_without_a_host() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.wasm"), narrow("0.1.0").bytes).unwrap();
    std::fs::write(folder.path().join("new.wasm"), wide("0.2.0").bytes).unwrap();
    let bulkhead = Bulkhead::at(folder.path());

    let json = bulkhead.run(["diff", "old.wasm", "new.wasm", "--json"]).expect(0).json();
    let text = bulkhead.run(["diff", "old.wasm", "new.wasm"]).expect(0).stdout;
    let back = bulkhead.run(["diff", "new.wasm", "old.wasm", "--json"]).expect(0).json();

    assert_eq!((&json["widens"], &back["widens"]), (&json!(true), &json!(false)));
    assert_eq!(json["against"]["version"], "0.1.0");
    assert!(text.contains("may do more than before") && text.contains("bulkhead:plugin/kv"), "{text}");
    bulkhead.run(["diff", "old.wasm", "test.routes@0.1.0"]).expect(2);
    bulkhead.run(["diff", "old.wasm", "missing.wasm"]).expect(4);
}
