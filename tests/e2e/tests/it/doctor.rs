//! The doctor: each thing that can be wrong is made wrong and found, and a sound host has nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bulkhead_model::Digest;
use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::guests::{NOTES, ROUTES};
use bulkhead_testkit::host::{Issuer, IssuerKind, Mode};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Builder, Client, TestHost, programs};
use serde_json::{Value, json};

const NOTES_ID: &str = "acme.notes";

fn engines() -> [Builder; 2] {
    [TestHost::new(), TestHost::on_postgres()]
}

async fn findings(host: &TestHost) -> Vec<Value> {
    let found = host.security().get("/api/v1/doctor").await.expect(200).json();
    found["items"].as_array().unwrap().clone()
}

/// The codes that are found, each once. A database whose server everybody may use is the test's own.
async fn codes(host: &TestHost) -> Vec<String> {
    let mut codes: Vec<String> =
        findings(host).await.iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect();
    codes.dedup();
    codes.retain(|code| code != "storage-layer-open" && code != "disk-low");
    codes
}

/// The test's own key files are open to others.
fn close_keys(folder: &Path) {
    for entry in std::fs::read_dir(folder.join("keys")).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

async fn sound(builder: Builder) -> TestHost {
    let host = builder.own_cache().tenant("acme").with(NOTES).await;
    close_keys(host.data_dir());
    host
}

#[tokio::test]
async fn a_sound_host_has_no_findings_and_is_left_as_it_was() {
    for builder in engines() {
        let host = sound(builder).await;
        let before = host.security().get("/api/v1/audit/verify").await.json()["entries"].clone();

        assert_eq!(codes(&host).await, [""; 0]);

        assert_eq!(host.security().get("/api/v1/audit/verify").await.json()["entries"], before);
        host.admin().get("/api/v1/doctor").await.expect(200);
    }
}

#[tokio::test]
async fn the_doctor_is_for_those_who_may_act_on_it() {
    let host = TestHost::new().tenant("acme").await;
    let check = async |client: Client, status: u16| {
        assert_eq!(client.get("/api/v1/doctor").await.status, status);
    };
    check(host.anyone(), 401).await;
    check(host.user("acme", &[]), 403).await;
    check(host.tenant_admin("acme"), 403).await;
    check(host.app("acme"), 403).await;
}

#[tokio::test]
async fn releases_without_signature_of_strangers_or_refused_are_found() {
    for builder in engines() {
        let host = builder.own_cache().configured(|config| config.server.mode = Mode::Dev).await;
        close_keys(host.data_dir());
        let release = ROUTES.signed_by(ALICE);
        host.admin().publish_parts(&release.bytes, []).await.expect(201);
        assert_eq!(codes(&host).await, [""; 0], "in dev mode it is as it should be");
        let host = host.restart_with(|config| config.server.mode = Mode::Production).await;
        assert_eq!(codes(&host).await, ["release-unsigned"]);

        host.admin().publish(&release).await;
        host.admin().publish(&NOTES.signed_by(ALICE)).await.expect(201);
        assert!(!codes(&host).await.contains(&"signer-unknown".to_owned()));
        host.install_policy(&STANDARD.replace("alice", "bob")).await;
        assert!(codes(&host).await.contains(&"signer-unknown".to_owned()));
        let denies = format!("{STANDARD}\n[[deny]]\nplugin = \"{NOTES_ID}\"\nreason = \"old\"\n");
        host.install_policy(&denies).await;
        let found = findings(&host).await;
        let refused = found.iter().find(|one| one["code"] == "release-refused").unwrap();
        assert!(refused["what"].as_str().unwrap().contains("old"), "{refused}");
    }
}

#[tokio::test]
async fn what_the_tables_say_and_what_serves_are_compared() {
    let host = sound(TestHost::on_postgres()).await;

    host.tamper(&["UPDATE tenant_plugins SET enabled = false"]);
    assert_eq!(codes(&host).await, ["serving-not-stored"]);
    host.tamper(&["UPDATE tenant_plugins SET enabled = true"]);
    assert_eq!(codes(&host).await, [""; 0]);

    host.admin().create_tenant("globex").await.expect(201);
    host.tamper(&["INSERT INTO tenant_plugins (tenant_id, plugin_id, enabled, configuration, configuration_version, \
         original_version, status, granted, created_at, updated_at) \
         SELECT 'globex', plugin_id, true, configuration, configuration_version, original_version, 'ready', granted, 1, 1 \
         FROM tenant_plugins"]);
    assert_eq!(codes(&host).await, ["stored-not-serving"]);
}

#[tokio::test]
async fn orphans_are_found_on_either_engine() {
    for builder in engines() {
        let host = sound(builder).await;
        let name = format!("{}-0000.cwasm", Digest::of(b"gone").hex());
        std::fs::write(host.cache_dir().join(name), b"code").unwrap();
        if host.cluster().is_some() {
            host.tamper(&["INSERT INTO storage_key_totals VALUES ('ghost', 'acme.crm', 1, 1, 1)"]);
        } else {
            let folder = host.data_dir().join("tenants/ghost");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("acme__crm.db"), b"").unwrap();
        }

        assert_eq!(codes(&host).await, ["data-orphaned", "cache-orphaned"]);

        let found = findings(&host).await;
        let data = found.iter().find(|one| one["code"] == "data-orphaned").unwrap();
        assert_eq!((&data["what"], &data["severity"]), (&json!("of `acme__crm` in `ghost`"), &json!("warning")));
    }
}

#[tokio::test]
async fn a_changed_migration_log_or_table_is_found() {
    let host = sound(TestHost::on_postgres()).await;
    host.tamper(&[&format!("UPDATE storage_migrations SET checksum = '{}' WHERE number = 1", Digest::of(b"other"))]);
    assert_eq!(codes(&host).await, ["migration-drift"]);

    host.tamper(&["UPDATE audit SET actor = 'mallory' WHERE sequence = 2"]);
    assert_eq!(codes(&host).await, ["audit-broken", "migration-drift"]);

    host.tamper(&["ALTER TABLE change_counter RENAME TO gone"]);
    assert_eq!(codes(&host).await, ["database-unreachable"]);
    host.tamper(&["ALTER TABLE gone RENAME TO change_counter"]);
}

#[tokio::test]
async fn a_worker_that_is_gone_and_open_keys_are_found() {
    let host = TestHost::new()
        .own_cache()
        .configured(|config| {
            let copy = config.server.data_dir.join("worker");
            std::fs::copy(programs::compile_worker(), &copy).unwrap();
            config.engine.compile_worker = copy;
        })
        .await;
    assert_eq!(codes(&host).await, ["key-file-open"]);
    close_keys(host.data_dir());
    assert_eq!(codes(&host).await, [""; 0]);

    std::fs::remove_file(host.data_dir().join("worker")).unwrap();

    assert_eq!(codes(&host).await, ["compile-worker-broken"]);
}

#[tokio::test]
async fn a_policy_without_roots_and_a_missing_one_are_found() {
    let host = sound(TestHost::new()).await;
    let host = host.restart_with(|config| config.policy.root_keys.clear()).await;
    let found = codes(&host).await;
    for code in ["policy-unverified", "policy-root-missing"] {
        assert!(found.contains(&code.to_owned()), "{code}: {found:?}");
    }
}

#[tokio::test]
async fn tokens_of_the_registry_and_issuers_that_end_are_found() {
    let host = TestHost::new()
        .own_cache()
        .configured(|config| {
            let mut issuer = Issuer::local("unused".into());
            (issuer.kind, issuer.public_key) = (IssuerKind::Oidc, None);
            issuer.issuer = Some("https://127.0.0.1:1".to_owned());
            issuer.roles_max = vec!["member".to_owned()];
            issuer.tenants = vec!["acme".to_owned()];
            config.auth.issuers.push(issuer);
        })
        .await;
    close_keys(host.data_dir());
    assert_eq!(codes(&host).await, ["issuer-keys-missing"]);

    for (name, ttl_s) in [("late", 80 * 86_400), ("soon", 86_400)] {
        let token = json!({ "name": name, "repositories": ["*"], "scopes": ["pull"], "ttl_s": ttl_s });
        host.admin().post_json("/api/v1/registry/tokens", &token).await.expect(201);
    }

    assert_eq!(codes(&host).await, ["issuer-keys-missing", "registry-token-expiring"]);
}

#[test]
fn the_command_says_by_its_exit_whether_something_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let bulkhead = Bulkhead::at(folder.path()).env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0");
    bulkhead.run(["init"]).expect(0);
    let local = |code: i32| bulkhead.run(["doctor", "--config", "bulkhead.toml", "--json"]).expect(code).json();
    let key = folder.path().join("keys/issuer.key.pem");

    let served = bulkhead.serve(["--listen", "127.0.0.1:0"]);
    let before = local(0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let after = local(1);
    let token = std::fs::read_to_string(folder.path().join("tokens/security.token")).unwrap();
    let remote = bulkhead.clone().env("BULKHEAD_SERVER", served.base()).env("BULKHEAD_TOKEN", token.trim());
    let of_host = remote.run(["doctor", "--json"]).expect(1).json();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    remote.run(["doctor"]).expect(0);

    let codes = |body: &Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
    };
    assert!(!codes(&before).contains(&"key-file-open".to_owned()), "{before}");
    assert!(codes(&after).contains(&"key-file-open".to_owned()), "{after}");
    assert!(codes(&of_host).contains(&"key-file-open".to_owned()), "{of_host}");
}
