//! When policy is asked: at publish, install, enable, load, and at each read of what was compiled before.

use bulkhead_model::Digest;
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Release, TestHost};
use serde_json::json;

const GREET: &str = "acme.hello.hello.greet";

fn release() -> Release {
    HELLO.signed_by(ALICE)
}

/// A host that has done everything up to here, and whose policy then denies the release.
async fn denied_after(done: usize) -> TestHost {
    let host = TestHost::new().own_cache().tenant("acme").await;
    if done > 0 {
        host.admin().publish(&release()).await.expect(201);
    }
    if done > 1 {
        assert_eq!(host.admin().install("acme.hello").await.expect(200).json()["status"], "succeeded");
    }
    if done > 2 {
        host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
        assert_eq!(greet(&host).await, 200);
    }
    host.install_policy(&denying()).await;
    host
}

fn denying() -> String {
    format!("{STANDARD}\n[[deny]]\ndigest = \"{}\"\nreason = \"CVE\"\n", Digest::of(&release().bytes))
}

async fn greet(host: &TestHost) -> u16 {
    host.user("acme", &[GREET]).get_route("acme.hello", "/hello").await.status
}

/// Compiled forms that are kept.
fn compiled(host: &TestHost) -> usize {
    std::fs::read_dir(host.cache_dir()).unwrap().count()
}

#[tokio::test]
async fn policy_is_asked_at_publish_install_enable_load_and_each_read_of_what_was_compiled() {
    let revoked = (403, "revoked".to_owned());

    let at_publish = denied_after(0).await.admin().publish(&release()).await;
    let installed = denied_after(1).await.admin().install("acme.hello").await.json();
    let at_enable = denied_after(2).await.tenant_admin("acme").enable_here("acme.hello").await;
    let host = denied_after(3).await;
    let while_it_runs = greet(&host).await;
    let before = compiled(&host);
    let host = host.restart().await;
    let loaded = (greet(&host).await, compiled(&host));
    let shown = host.admin().plugin("acme.hello").await.json();
    host.install_policy(STANDARD).await;
    host.user("acme", &[]).ready("acme.hello").await;
    let allowed_again = (greet(&host).await, compiled(&host));

    assert_eq!(at_publish.outcome(), revoked);
    assert_eq!((&installed["status"], &installed["error"]["code"]), (&json!("failed"), &json!("revoked")));
    assert_eq!(at_enable.outcome(), revoked);
    assert_ne!(while_it_runs, 200);
    // The compiled form is there and authentic, and nothing reads it.
    assert!(before > 0 && loaded.0 != 200 && loaded.1 == before, "{before}, {loaded:?}");
    assert!(shown["last_error"].as_str().unwrap().starts_with("revoked"), "{shown}");
    assert_eq!(allowed_again, (200, before));
}
