//! The registry's log over HTTP: what a stranger with the public key can check, and what the host notices by itself.
//! Forged proofs and documents are the trust crate's to refuse.

use bulkhead_model::Digest;
use bulkhead_model::log::Leaf;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::{ALICE, REGISTRY};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::release::Release;
use bulkhead_testkit::{Client, TestHost};
use bulkhead_trust::log::{Checkpoint, ConsistencyProof, InclusionProof, Timestamp};
use serde_json::{Value, json};

use super::{everything, get, grant, holder, on_both};

const LOG: &str = "/api/v1/registry/log";
const PLUGIN: &str = "hostile.echo";

fn echo() -> Release {
    hostile("echo").signed_by(ALICE)
}

fn digest() -> String {
    Digest::of(&echo().bytes).to_string()
}

async fn checkpoint(client: &Client) -> Checkpoint {
    let note = get(client, &format!("{LOG}/checkpoint")).await.expect(200);
    assert_eq!(note.header("content-type"), "text/plain; charset=utf-8");
    Checkpoint::verify(&note.body, &REGISTRY.verifying(), Some("bulkhead-registry")).unwrap()
}

async fn inclusion(client: &Client, query: &str) -> InclusionProof {
    InclusionProof::from_json(&get(client, &format!("{LOG}/proof?{query}")).await.expect(200).body).unwrap()
}

async fn consistency(client: &Client, query: &str) -> ConsistencyProof {
    ConsistencyProof::from_json(&get(client, &format!("{LOG}/consistency?{query}")).await.expect(200).body).unwrap()
}

async fn events(client: &Client) -> Vec<String> {
    let listed = get(client, &format!("{LOG}?limit=100")).await.expect(200).json();
    let name = |item: &Value| item["entry"]["event"].as_object().unwrap().keys().next().unwrap().clone();
    listed["items"].as_array().unwrap().iter().map(name).collect()
}

async fn alarms(host: &TestHost) -> String {
    get(&host.anyone(), "/ready").await.expect(200).json()["alarms"].to_string()
}

#[tokio::test]
async fn a_stranger_checks_that_the_log_has_a_release_and_only_grew() {
    on_both(async |host| {
        let reader = holder(host, &["acme"], &["pull"]).await;
        let old = checkpoint(&reader).await;
        host.admin().publish(&echo()).await.expect(201);
        let revoked = json!({ "plugin": "acme.old", "reason": "CVE" });
        host.security().post_json("/api/v1/revocations", &revoked).await.expect(201);

        let new = checkpoint(&reader).await;
        let proof = inclusion(&reader, &format!("digest={}", digest())).await;
        let earlier = inclusion(&host.security(), &format!("index={}&size={}", proof.leaf_index, new.size - 1)).await;
        let grown = consistency(&reader, &format!("from={}&to={}", old.size, new.size)).await;

        assert_eq!(proof.check(&new).unwrap().event.release_digest(), Some(digest().as_str()));
        let then = Checkpoint::verify(earlier.checkpoint.as_ref().unwrap().as_bytes(), &REGISTRY.verifying(), None);
        earlier.check(&then.unwrap()).unwrap();
        assert_eq!(grown.check(&old, &new), Ok(()));
        assert_eq!(
            events(&host.security()).await,
            [
                "policy.install",
                "namespace.grant",
                "namespace.grant",
                "release.register",
                "bundle.add",
                "revocation.add"
            ]
        );
        let audit = host.security().get("/api/v1/audit/verify").await.expect(200).json();
        let head = new.audit.unwrap();
        assert_eq!(
            (json!(head.sequence), json!(head.hash.to_string())),
            (audit["entries"].clone(), audit["head"].clone())
        );
    })
    .await;
}

#[tokio::test]
async fn a_timestamp_names_the_state_and_stays_until_something_changes() {
    on_both(async |host| {
        let read = async || get(&host.security(), &format!("{LOG}/timestamp")).await.expect(200).body;
        let verify = |bytes: &[u8]| Timestamp::verify(bytes, &REGISTRY.verifying(), jiff::Timestamp::now()).unwrap();

        let first = read().await;
        let again = read().await;
        let revoked = json!({ "plugin": "acme.old", "reason": "CVE" });
        host.security().post_json("/api/v1/revocations", &revoked).await.expect(201);
        let after = read().await;

        assert_eq!(first, again);
        let ((first, _), (after, checkpoint)) = (verify(&first), verify(&after));
        assert_eq!((first.revocation_epoch, first.policy_version), (0, 1));
        assert_eq!((after.revocation_epoch, after.policy_version, checkpoint.size), (1, 1, 4));
        let life = first.expires.duration_since(first.issued_at);
        assert_eq!(life.as_hours(), 24);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_read_everything_asks_for_what_they_have() {
    let host = TestHost::new().await;
    host.admin().publish(&echo()).await.expect(201);
    let (ci, mirror) = (holder(&host, &["acme"], &["push"]).await, everything(&host).await);
    let check = async |client: &Client, path: &str, status: u16| {
        let answer = get(client, &format!("{LOG}{path}")).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    };
    let by_digest = format!("/proof?digest={}", digest());

    for path in ["", "/proof?index=0"] {
        check(&ci, path, 403).await;
        check(&mirror, path, 200).await;
        check(&host.admin(), path, 200).await;
        check(&host.app("acme"), path, 403).await;
    }
    for path in ["/checkpoint", "/timestamp", "/consistency?from=1", by_digest.as_str()] {
        check(&ci, path, 200).await;
        check(&host.tenant_admin("acme"), path, 200).await;
        check(&host.user("acme", &[]), path, 403).await;
        check(&host.anyone(), path, 401).await;
    }
    check(&mirror, "/proof", 422).await;
    check(&mirror, "/proof?index=0&digest=x", 422).await;
    check(&mirror, "/proof?index=99", 404).await;
    check(&mirror, "/proof?index=0&size=99", 404).await;
    check(&mirror, "/proof?digest=sha256:00", 404).await;
    check(&mirror, "/consistency?from=2&to=1", 404).await;
    check(&mirror, "/consistency?from=1&to=99", 404).await;
    check(&mirror, "/proof?index=-1", 422).await;
    check(&mirror, "?cursor=x", 422).await;
    let accept = host.admin().post_json(&format!("{LOG}/accept"), &json!({ "reason": "x" })).await;
    assert_eq!(accept.outcome(), (403, "role-required".to_owned()));
}

#[tokio::test]
async fn without_the_key_the_log_grows_and_nothing_is_signed() {
    let host = TestHost::new().configured(|config| config.registry.signing_key_file = None).await;
    host.admin().install_release(&echo()).await;

    for path in ["/checkpoint", "/timestamp"] {
        let answer = host.security().get(&format!("{LOG}{path}")).await;
        assert_eq!(answer.outcome(), (409, "registry-key-missing".to_owned()));
    }
    let proof = inclusion(&host.security(), &format!("digest={}", digest())).await;
    assert_eq!((proof.checkpoint, proof.leaf_index), (None, 1));
}

#[tokio::test]
async fn an_install_keeps_the_proof_of_its_release() {
    on_both(async |host| {
        host.admin().install_release(&echo()).await;
        grant(host, &json!({ "namespace": "later" })).await.expect(201);

        let kept = host.admin().get(&format!("/api/v1/plugins/{PLUGIN}/versions/{}/proof", echo().version)).await;

        let proof = InclusionProof::from_json(&kept.expect(200).body).unwrap();
        let note = proof.checkpoint.clone().unwrap();
        let checkpoint = Checkpoint::verify(note.as_bytes(), &REGISTRY.verifying(), None).unwrap();
        let leaf: Leaf = proof.check(&checkpoint).unwrap();
        assert_eq!((leaf.event.name(), leaf.event.release_digest()), ("release.register", Some(digest().as_str())));
        let grown = consistency(&host.security(), &format!("from={}", checkpoint.size)).await;
        assert_eq!(grown.check(&checkpoint, &self::checkpoint(&host.security()).await), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_release_that_was_written_past_the_host_is_not_installed() {
    let check = async |statements: &[&str]| {
        let host = TestHost::on_postgres().await;
        host.admin().publish(&echo()).await.expect(201);

        host.tamper(statements);
        let operation = host.admin().install(PLUGIN).await.expect(200).json();

        assert_eq!(
            (&operation["status"], &operation["error"]["code"]),
            (&json!("failed"), &json!("not-in-log")),
            "{operation:#}"
        );
        assert_eq!(host.admin().status_of(PLUGIN).await, "registered");
    };

    check(&["UPDATE registry_log SET digest = '' WHERE event = 'release.register'"]).await;
    // The leaf of another event, and one that says something else than what was hashed.
    let of_bundle = format!(
        "UPDATE registry_log SET event = 'release.register', digest = '{}' WHERE event = 'bundle.add'",
        digest()
    );
    check(&["UPDATE registry_log SET digest = '' WHERE event = 'release.register'", &of_bundle]).await;
    check(&["UPDATE registry_log SET leaf = replace(leaf, '\"at\":1', '\"at\":2') WHERE event = 'release.register'"])
        .await;
}

#[tokio::test]
async fn a_database_that_was_set_back_is_noticed_and_nothing_is_installed_until_somebody_looked() {
    let check = async |statements: &[&str], wanted: &str| {
        let host = TestHost::on_postgres().await;
        host.admin().publish(&echo()).await.expect(201);
        let revoked = json!({ "plugin": "acme.old", "reason": "CVE" });
        host.security().post_json("/api/v1/revocations", &revoked).await.expect(201);
        host.install_policy(STANDARD).await;
        checkpoint(&host.security()).await;

        host.tamper(statements);
        let host = host.restart().await;

        assert!(alarms(&host).await.contains(wanted), "{}", alarms(&host).await);
        let broken = (409, "registry-log-broken".to_owned());
        assert_eq!(host.admin().install(PLUGIN).await.outcome(), broken);
        assert_eq!(get(&host.security(), &format!("{LOG}/checkpoint")).await.outcome(), broken);
        assert_eq!(get(&host.security(), &format!("{LOG}/timestamp")).await.outcome(), broken);
        let accept = async |reason: &str| {
            host.security().post_json(&format!("{LOG}/accept"), &json!({ "reason": reason })).await
        };
        assert_eq!(accept("").await.status, 422);
        let accepted = accept("restored from Monday's backup").await.expect(200).json();
        assert!(accepted["alarm"].as_str().unwrap().contains(wanted), "{accepted}");
        assert_eq!(alarms(&host).await, "[]");
        host.admin().install_release(&echo()).await;
        let audit = host.security().get("/api/v1/audit?order=desc&limit=50").await.expect(200).text();
        assert!(audit.contains("registry.log.accept") && audit.contains("Monday's backup"), "{audit}");
        let host = host.restart().await;
        assert_eq!(alarms(&host).await, "[]");
    };
    let cut = [
        "DELETE FROM registry_log WHERE leaf_index = 4",
        "DELETE FROM registry_log_nodes WHERE level = 0 AND node_index = 4",
        "UPDATE registry_log_head SET size = 4",
    ];
    let forged = "UPDATE registry_log_nodes SET hash = 'sha256:00000000000000000000000000000000000000000000000000000000000000ff' \
                  WHERE level = 0 AND node_index = 4";

    check(&cut, "log's size is 4").await;
    check(&[forged], "forked").await;
    check(&["DELETE FROM revocations"], "revocation epoch is 0").await;
    check(&["DELETE FROM policies WHERE version = 2"], "policy version is 1").await;
}

#[tokio::test]
async fn a_database_file_from_a_backup_is_noticed() {
    let host = TestHost::new().await;
    let copy = |host: &TestHost, from: &str, to: &str| {
        let place = |name: &str| host.data_dir().join(name);
        std::fs::copy(place(from), place(to)).unwrap();
        for beside in ["host.db-wal", "host.db-shm"] {
            std::fs::remove_file(place(beside)).unwrap_or_default();
        }
    };
    let host = host.restart_after(|host| copy(host, "host.db", "monday.db")).await;
    host.admin().publish(&echo()).await.expect(201);
    checkpoint(&host.security()).await;

    let host = host.restart_after(|host| copy(host, "monday.db", "host.db")).await;

    assert!(alarms(&host).await.contains("rolled back"), "{}", alarms(&host).await);
}

#[tokio::test]
async fn another_host_notices_as_well_and_goes_on_only_where_somebody_looked() {
    let one = TestHost::on_postgres().await;
    one.admin().publish(&echo()).await.expect(201);
    let two = one.another().await;
    assert_eq!(checkpoint(&one.security()).await, checkpoint(&two.security()).await);

    one.tamper(&[
        "UPDATE registry_log_nodes SET hash = replace(hash, 'sha256:0', 'sha256:1') WHERE level = 0",
        "UPDATE registry_log_nodes SET hash = replace(hash, 'sha256:a', 'sha256:b') WHERE level = 0 OR level = 1",
        "UPDATE registry_log_nodes SET hash = replace(hash, '9', '8')",
    ]);
    let broken = (409, "registry-log-broken".to_owned());
    assert_eq!(one.admin().install(PLUGIN).await.outcome(), broken);
    assert_eq!(two.admin().install(PLUGIN).await.outcome(), broken);
    one.security().post_json(&format!("{LOG}/accept"), &json!({ "reason": "a drill" })).await.expect(200);

    assert_eq!((alarms(&one).await.as_str(), alarms(&two).await.contains("forked")), ("[]", true));
}
