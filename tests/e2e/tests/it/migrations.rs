//! Migrations over many tenants: a failure stays in its tenant with its reason, a run goes on where it was, a dry run keeps
//! nothing.

use std::time::Instant;

use bulkhead_database::tenant::{PluginStorage, StorageConfig};
use bulkhead_database::{DatabaseConfig, Db};
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::host::Builder;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, TestHost};
use bulkhead_trust::File;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

const GREET: &str = "acme.hello.hello.greet";
const ID: &str = "acme.hello";
/// Migrations of the second version, behind the one of the first. The first of them fails where two visitors came equally
/// often.
const MIGRATIONS: [(&str, &str); 5] = [
    ("0002_counts.sql", "CREATE UNIQUE INDEX visits_by_count ON visits (visit_count);"),
    ("0003_source.sql", "ALTER TABLE visits ADD COLUMN source text;"),
    ("0004_backfill.sql", "UPDATE visits SET source = 'web' WHERE source IS NULL;"),
    ("0005_pages.sql", "CREATE TABLE pages (id bigint PRIMARY KEY, path text NOT NULL, CHECK (length(path) < 200));"),
    ("0006_paths.sql", "CREATE INDEX pages_by_path ON pages (path);"),
];

/// The second version.
fn second() -> Release {
    let mut source = HELLO.source().version("0.2.0");
    for (name, text) in MIGRATIONS {
        let file = File { media_type: "application/sql".to_owned(), bytes: text.as_bytes().to_vec() };
        source.migrations.insert(name, file).unwrap();
    }
    source.signed_by(ALICE)
}

/// Tenants that use the first version; in some of them two visitors came equally often. Then the plugin leaves, its data
/// stays, and the second version comes.
async fn with_second_version(builder: Builder, tenants: &[String], spoilt: &[&str]) -> TestHost {
    with_versions(builder, tenants, spoilt, &second()).await
}

async fn with_versions(builder: Builder, tenants: &[String], spoilt: &[&str], next: &Release) -> TestHost {
    let host = builder.await;
    host.admin().install_release(&HELLO.signed_by(ALICE)).await;
    let made = tenants.iter().map(|tenant| async {
        host.admin().create_tenant(tenant).await.expect(201);
        host.tenant_admin(tenant).enable_here(ID).await.expect(200);
    });
    stream::iter(made).buffer_unordered(8).collect::<Vec<()>>().await;
    for tenant in spoilt {
        for visitor in ["ada", "ben"] {
            host.client(visitor, Some(tenant), &[], &[GREET]).get_route(ID, "/visits").await.expect(200);
        }
    }
    host.admin().disable(ID).await.expect(200);
    host.admin().uninstall(ID, "?data=keep").await.expect(200);
    host.admin().publish(next).await.expect(201);
    let installed = host.admin().install(ID).await.expect(200).json();
    assert_eq!(installed["status"], "succeeded", "{installed}");
    host
}

/// Makes the visitors of a tenant differ, as an operator would who mends its data.
async fn mend(host: &TestHost, tenant: &str) {
    let tables = Db::open(&DatabaseConfig::new(host.config().database.url.clone())).await.unwrap();
    let storage = PluginStorage::beside(&tables, host.data_dir(), &StorageConfig::default()).await.unwrap();
    let store = storage.store(&tenant.parse().unwrap(), &ID.parse().unwrap(), 1 << 28);
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    store.execute("UPDATE visits SET visit_count = 7 WHERE visitor = 'ada'", Vec::new(), deadline).await.unwrap();
    storage.close().await.unwrap();
    tables.close().await;
}

async fn migrate(host: &TestHost, request: Value) -> (Value, Vec<Value>) {
    let admin = host.admin();
    let begun = admin.post_json("/api/v1/migrations", &request).await.expect(202);
    let operation = admin.ended(begun).await.expect(200).json();
    let path = format!("/api/v1/operations/{}/results", operation["id"].as_str().unwrap());
    let (mut results, mut query) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{path}?limit=200{query}")).await.expect(200).json();
        results.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("&cursor={cursor}"),
            None => return (operation, results),
        }
    }
}

fn failed(results: &[Value]) -> Vec<&str> {
    let failed = results.iter().filter(|result| result["outcome"] == "failed");
    failed.map(|result| result["tenant_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn of_many_tenants_those_that_fail_are_recorded_and_mended_alone() {
    let tenants: Vec<String> = (0..100).map(|number| format!("tenant-{number:02}")).collect();
    let spoilt = ["tenant-07", "tenant-50", "tenant-99"];
    let host = with_second_version(TestHost::new(), &tenants, &spoilt).await;

    let shown = host.tenant_admin("tenant-50").get("/api/v1/tenant/plugins").await.expect(200).json();
    let (tried, trial) = migrate(&host, json!({ "plugin": ID, "dry_run": true, "batch_size": 8 })).await;
    let (first, _) = migrate(&host, json!({ "plugin": ID, "batch_size": 8 })).await;
    for tenant in spoilt {
        mend(&host, tenant).await;
    }
    let (second, repaired) = migrate(&host, json!({ "plugin": ID, "batch_size": 8 })).await;

    assert_eq!(shown["items"][0]["status"], "failed");
    assert!(shown["items"][0]["last_error"].as_str().unwrap().starts_with("migration-failed: migration 2"), "{shown}");
    assert_eq!((tried["status"].as_str(), trial.len()), (Some("failed"), 100));
    assert_eq!(failed(&trial), spoilt);
    assert_eq!(first["error"]["detail"], "3 of 100 tenants failed: tenant-07, tenant-50, tenant-99");
    assert_eq!((second["status"].as_str(), repaired.len()), (Some("succeeded"), 100), "{second}");
    let all_five: Vec<_> = MIGRATIONS.iter().map(|(name, _)| name.trim_end_matches(".sql")).collect();
    let ran: Vec<_> = repaired.iter().filter(|result| result["detail"]["migrations"] != json!([])).collect();
    assert_eq!(ran.iter().map(|result| &result["tenant_id"]).collect::<Vec<_>>(), spoilt);
    assert!(ran.iter().all(|result| result["detail"]["migrations"] == json!(all_five)), "{ran:?}");
    for tenant in spoilt {
        host.user(tenant, &[GREET]).get_route(ID, "/hello").await.expect(200);
    }
}

#[tokio::test]
async fn a_run_takes_the_tenants_that_it_is_told_to() {
    let tenants = ["acme", "bank", "cafe"].map(str::to_owned);
    let host = with_second_version(TestHost::new(), &tenants, &["acme", "bank", "cafe"]).await;
    for tenant in &tenants {
        mend(&host, tenant).await;
    }
    let names = |results: &[Value]| results.iter().map(|result| result["tenant_id"].clone()).collect::<Vec<_>>();

    let (_, dry) = migrate(&host, json!({ "plugin": ID, "dry_run": true })).await;
    let (_, none) = migrate(&host, json!({ "plugin": ID, "since": "2199-01-01T00:00:00Z" })).await;
    let (_, one) = migrate(&host, json!({ "plugin": ID, "tenants": ["bank"] })).await;
    let before = host.admin().get(&format!("/api/v1/plugins/{ID}/migrations")).await.expect(200).json();
    let (_, rest) = migrate(&host, json!({ "plugin": ID, "from": "cafe", "since": "2000-01-01T00:00:00Z" })).await;
    let after =
        host.admin().get(&format!("/api/v1/plugins/{ID}/migrations?limit=1&cursor=bank")).await.expect(200).json();

    assert_eq!(names(&dry), ["acme", "bank", "cafe"]);
    assert!(failed(&dry).is_empty());
    assert_eq!(names(&none), [] as [&str; 0]);
    assert_eq!(names(&one), ["bank"]);
    let pending: Vec<usize> =
        before["items"].as_array().unwrap().iter().map(|item| item["pending"].as_array().unwrap().len()).collect();
    assert_eq!(pending, [5, 0, 5], "{before}");
    assert_eq!(before["items"][0]["failed"]["migration"], "0002_counts");
    assert_eq!(names(&rest), ["cafe"]);
    assert_eq!(after["items"][0]["tenant_id"], "cafe");
    assert_eq!(after["items"][0]["pending"], json!([]));
}

#[tokio::test]
async fn a_run_that_cannot_be_is_refused_before_it_begins() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    let run = async |request: Value| host.admin().post_json("/api/v1/migrations", &request).await.outcome();

    let unknown_plugin = run(json!({ "plugin": "acme.absent" })).await;
    let unknown_tenant = run(json!({ "plugin": ID, "tenants": ["absent"] })).await;
    let too_many = run(json!({ "plugin": ID, "batch_size": 65 })).await;
    let none = run(json!({ "plugin": ID, "batch_size": 0 })).await;
    let other_field = run(json!({ "plugin": ID, "force": true })).await;
    let tenants_own = host.tenant_admin("acme").post_json("/api/v1/migrations", &json!({ "plugin": ID })).await;

    assert_eq!(unknown_plugin, (404, "not-found".to_owned()));
    assert_eq!(unknown_tenant, (404, "not-found".to_owned()));
    assert_eq!(too_many, (422, "invalid-input".to_owned()));
    assert_eq!(none, (422, "invalid-input".to_owned()));
    assert_eq!(other_field, (422, "invalid-input".to_owned()));
    assert_eq!(tenants_own.outcome(), (403, "role-required".to_owned()));
}

#[tokio::test]
async fn what_an_older_version_needs_is_removed_when_no_tenant_runs_it_any_more() {
    let with_contract = |version: &str| {
        let mut source = HELLO.source().version(version);
        let texts = [
            ("0002_counts.sql", "CREATE UNIQUE INDEX visits_by_count ON visits (visit_count);"),
            ("0003_trim.sql", "-- phase: contract\nDROP INDEX visits_by_count;"),
        ];
        for (name, text) in texts {
            let file = File { media_type: "application/sql".to_owned(), bytes: text.as_bytes().to_vec() };
            source.migrations.insert(name, file).unwrap();
        }
        source.signed_by(ALICE)
    };
    let tenants = ["acme", "bank"].map(str::to_owned);
    let host = with_versions(TestHost::new(), &tenants, &["bank"], &with_contract("0.2.0")).await;
    let pending = async || {
        let shown = host.admin().get(&format!("/api/v1/plugins/{ID}/migrations")).await.expect(200).json();
        shown["items"].as_array().unwrap().iter().map(|item| item["pending"].clone()).collect::<Vec<_>>()
    };

    // `bank` fails at the second migration and stays with the first version, which needs what the third removes.
    assert_eq!(pending().await, [json!(["0003_trim"]), json!(["0002_counts", "0003_trim"])]);
    let (refused, results) = migrate(&host, json!({ "plugin": ID, "tenants": ["acme"] })).await;
    mend(&host, "bank").await;
    let (first, _) = migrate(&host, json!({ "plugin": ID })).await;
    let (second, _) = migrate(&host, json!({ "plugin": ID })).await;

    assert_eq!(refused["status"], "failed");
    assert_eq!(results[0]["detail"]["code"], "conflict");
    assert_eq!(results[0]["detail"]["detail"], "`0003_trim` removes what version 0.1.0 needs, which runs in bank");
    assert_eq!((&first["status"], &second["status"]), (&json!("failed"), &json!("succeeded")));
    assert_eq!(pending().await, [json!([]), json!([])]);
}

#[tokio::test]
async fn migrations_are_undone_by_force_alone_and_disable_the_plugin() {
    let mut source = HELLO.source();
    let text = b"DROP TABLE visits;".to_vec();
    source
        .migrations
        .insert("0001_visits.down.sql", File { media_type: "application/sql".to_owned(), bytes: text })
        .unwrap();
    let host = TestHost::new().tenant("acme").tenant("bank").with_release(source.signed_by(ALICE)).await;
    let visit = async |tenant: &str| host.user(tenant, &[GREET]).get_route(ID, "/visits").await;
    visit("acme").await.expect(200);
    visit("bank").await.expect(200);
    let down = async |force: bool| {
        let body = json!({ "plugin": ID, "tenant": "acme", "to": 0, "force": force });
        host.admin().post_json("/api/v1/migrations/down", &body).await
    };

    let without_force = down(false).await;
    let still_there = visit("acme").await.expect(200).json();
    let undone = down(true).await.expect(200).json();
    let disabled = visit("acme").await;
    host.tenant_admin("acme").enable_here(ID).await.expect(200);

    assert_eq!(without_force.outcome(), (409, "conflict".to_owned()));
    assert_eq!(still_there["total"], 2);
    assert_eq!((&undone["applied"], &undone["pending"]), (&json!([]), &json!(["0001_visits"])));
    assert_eq!(disabled.outcome(), (404, "not-found".to_owned()));
    assert_eq!(visit("acme").await.expect(200).json()["total"], 1);
    assert_eq!(visit("bank").await.expect(200).json()["total"], 2);
}
