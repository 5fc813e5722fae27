//! Several plugins as one: all are admitted or none, installed by dependency, and taken back together.

use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::guests::{HELLO, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, TestHost};
use serde_json::{Value, json};

/// A plugin that needs others.
fn plugin(id: &str, needs: &[&str]) -> Release {
    hostile("echo")
        .source()
        .id(id)
        .edit(|manifest| {
            for needed in needs {
                manifest.dependencies.insert(needed.parse().unwrap(), ">=0.1".parse().unwrap());
            }
        })
        .signed_by(ALICE)
}

#[tokio::test]
async fn plugins_of_one_upload_are_installed_in_the_order_of_their_dependencies() {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.await;
        let (crm, billing) = (plugin("acme.aa-crm", &["acme.billing"]), plugin("acme.billing", &[]));

        let sent = host.admin().publish_together(&[&crm, &billing]).await.expect(201).json();
        let operation = host.admin().install_together(&["acme.aa-crm", "acme.billing"]).await.expect(200).json();

        assert_eq!(sent["items"].as_array().unwrap().len(), 2, "{sent:#}");
        assert_eq!(operation["status"], "succeeded", "{operation:#}");
        let steps: Vec<&str> = operation["steps"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|step| step["name"].as_str().unwrap().strip_prefix("install "))
            .collect();
        assert_eq!(steps, ["acme.billing", "acme.aa-crm"]);
        for id in ["acme.aa-crm", "acme.billing"] {
            assert_eq!(host.admin().status_of(id).await, "installed");
        }
    }
}

#[tokio::test]
async fn one_refused_artifact_keeps_all_of_them_out() {
    let host = TestHost::new().await;
    let unsigned = hostile("echo").source().id("acme.unsigned").pack();

    let answer = host.admin().publish_together(&[&plugin("acme.billing", &[]), &unsigned]).await;

    assert_eq!(answer.outcome(), (403, "unsigned".to_owned()));
    assert_eq!(host.admin().plugins().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_bundle_that_speaks_for_none_of_the_artifacts_is_refused() {
    let host = TestHost::new().await;
    let (mut crm, billing) = (plugin("acme.crm", &[]), plugin("acme.billing", &[]));
    crm.bundles = plugin("acme.other", &[]).bundles;

    let answer = host.admin().publish_together(&[&crm, &billing]).await;

    assert_eq!(answer.outcome(), (403, "digest-mismatch".to_owned()));
}

#[tokio::test]
async fn a_failure_takes_back_what_was_installed_with_it_and_leaves_what_was_there() {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.tenant("globex").await;
        host.admin().install_release(&plugin("acme.there", &[])).await;
        let (good, bad) = (plugin("acme.aa-good", &["acme.there"]), plugin("acme.bad", &["acme.missing"]));
        host.admin().publish_together(&[&good, &bad]).await.expect(201);

        let operation = host.admin().install_together(&["acme.bad", "acme.aa-good"]).await.expect(200).json();

        assert_eq!(operation["status"], "failed", "{operation:#}");
        assert_eq!(operation["error"]["code"], "dependency-unmet", "{operation:#}");
        assert!(operation["error"]["detail"].as_str().unwrap().contains("acme.missing"), "{operation:#}");
        for id in ["acme.aa-good", "acme.bad"] {
            let plugin = host.admin().plugin(id).await.expect(200).json();
            assert_eq!(plugin["status"], "registered");
            assert!(plugin["last_error"].as_str().unwrap().contains("dependency-unmet"), "{plugin:#}");
        }
        assert_eq!(host.admin().status_of("acme.there").await, "installed");
        host.admin().publish(&plugin("acme.missing", &[])).await.expect(201);
        let again = host.admin().install_together(&["acme.bad", "acme.aa-good", "acme.missing", "acme.there"]).await;
        assert_eq!(again.expect(200).json()["status"], "succeeded");
    }
}

#[tokio::test]
async fn a_circle_of_dependencies_is_named_and_changes_nothing() {
    let host = TestHost::new().await;
    let (one, two) = (plugin("acme.one", &["acme.two"]), plugin("acme.two", &["acme.one"]));
    host.admin().publish_together(&[&one, &two]).await.expect(201);

    let answer = host.admin().install_together(&["acme.one", "acme.two"]).await;

    assert_eq!(answer.outcome(), (409, "dependency-unmet".to_owned()));
    assert!(answer.text().contains("acme.one needs acme.two needs acme.one"), "{}", answer.text());
    assert_eq!(host.admin().status_of("acme.one").await, "registered");
}

#[tokio::test]
async fn an_interrupted_act_is_taken_up_by_the_next_start() {
    let host = TestHost::new().await;
    let releases = [plugin("acme.billing", &[]), plugin("acme.crm", &["acme.billing"]), HELLO.signed_by(ALICE)];
    host.admin().publish_together(&releases.each_ref()).await.expect(201);
    let plugins: Vec<Value> = releases.iter().map(|release| json!({ "id": release.id })).collect();
    let begun = host.admin().post_json("/api/v1/plugins/install", &json!({ "plugins": plugins })).await.expect(202);

    let host = host.restart().await;

    let operation = host.admin().ended(begun).await.expect(200).json();
    assert_eq!(operation["status"], "succeeded", "{operation:#}");
    for release in &releases {
        assert_eq!(host.admin().status_of(&release.id).await, "installed");
    }
}

#[tokio::test]
async fn the_command_line_installs_several_files_and_says_what_became_of_them() {
    let host = TestHost::new().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, release) in [("a", plugin("acme.crm", &["acme.billing"])), ("b", plugin("acme.billing", &[]))] {
        std::fs::write(folder.path().join(format!("{name}.wasm")), &release.bytes).unwrap();
        std::fs::write(folder.path().join(format!("{name}.1.sigstore.json")), &release.bundles[0]).unwrap();
    }
    let bulkhead = Bulkhead::at(folder.path())
        .env("BULKHEAD_SERVER", &format!("http://{}", host.address()))
        .env("BULKHEAD_TOKEN", host.admin().token());

    let ended = bulkhead.run(["plugin", "install", "a.wasm", "b.wasm"]).expect(0);
    let mixed = bulkhead.run(["plugin", "install", "a.wasm", "oci://r.example/a/b:1"]);
    let refused = bulkhead.run(["plugin", "install", "https://127.0.0.1/x#sha256:00"]);

    assert!(ended.stdout.contains("are installed"), "{}", ended.stdout);
    assert_eq!((mixed.code, refused.code), (2, 1), "{} {}", mixed.stderr, refused.stderr);
}
