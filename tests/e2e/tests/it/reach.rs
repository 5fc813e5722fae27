//! The reach report: whose code reaches what in which tenant, when it began and ended, on both engines and over hosts.

use bulkhead_testkit::guests::{NOTES, ROUTES};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{Builder, Client, TestHost, eventually};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/reach";
const NOTES_ID: &str = "acme.notes";

async fn get(host: &TestHost, query: &str) -> Value {
    host.security().get(&format!("{PATH}{query}")).await.expect(200).json()
}

/// `kind name access` of the entries in a list.
fn names(report: &Value, list: &str) -> Vec<String> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let said = |entry: &Value| {
        format!("{} {} {}", text(entry, "kind"), text(entry, "name"), text(entry, "access")).trim().to_owned()
    };
    report[list].as_array().unwrap().iter().map(said).collect()
}

async fn now(host: &TestHost) -> Vec<String> {
    names(&get(host, "").await, "items")
}

/// The time that a report says it is of.
async fn time(host: &TestHost) -> String {
    get(host, "").await["at"].as_str().unwrap().to_owned()
}

fn engines() -> [Builder; 2] {
    [TestHost::new(), TestHost::on_postgres()]
}

const OF_NOTES: [&str; 3] = ["data blob own", "data kv own", "data sql own"];

/// Those of the plugin's entries that consent can take away.
async fn data(host: &TestHost) -> Vec<String> {
    let mut found = now(host).await;
    found.retain(|name| name.starts_with("data "));
    found
}

#[tokio::test]
async fn an_enabled_plugin_reaches_what_it_was_granted_by_whom_and_since_when() {
    for builder in engines() {
        let host = builder.tenant("acme").tenant("globex").with(NOTES).await;
        host.tenant_admin("globex").disable_here(NOTES_ID).await.expect(200);

        let report = get(&host, "?tenant=acme&plugin=acme.notes&signer=alice").await;

        let mut found = names(&report, "items");
        found.retain(|name| name.starts_with("data "));
        assert_eq!(found, OF_NOTES);
        let entry = &report["items"][0];
        let digest = bulkhead_model::Digest::of(&NOTES.signed_by(ALICE).bytes).to_string();
        assert_eq!(
            (&entry["signer"], &entry["role"], &entry["rule"]),
            (&json!("alice"), &json!("author"), &json!("everything-by-alice"))
        );
        assert_eq!(entry["key_id"], json!(ALICE.verifying().id().to_string()));
        assert_eq!((&entry["digest"], &entry["policy_version"]), (&json!(digest), &json!(1)));
        assert_eq!((&entry["tenant_id"], &entry["until"]), (&json!("acme"), &Value::Null));
        assert!(entry["since"].as_str().unwrap() < report["at"].as_str().unwrap(), "{entry}");
        for other in ["?tenant=globex", "?plugin=test.routes", "?signer=bob", "?at=2020-01-01T00:00:00Z"] {
            assert_eq!(get(&host, other).await["items"], json!([]), "{other}");
        }
    }
}

#[tokio::test]
async fn what_stops_a_plugin_ends_its_reach_and_what_lets_it_go_on_begins_another() {
    for builder in engines() {
        let host = builder.tenant("acme").with(NOTES).await;
        let (admin, acme) = (host.admin(), host.tenant_admin("acme"));
        assert_eq!(data(&host).await, OF_NOTES);

        admin.kill(NOTES_ID).await.expect(200);
        assert_eq!(now(&host).await, [""; 0], "killed");
        admin.revive(NOTES_ID).await.expect(200);
        assert_eq!(data(&host).await, OF_NOTES, "revived");

        admin.post("/api/v1/tenants/acme/suspend").await.expect(200);
        assert_eq!(now(&host).await, [""; 0], "suspended");
        admin.post("/api/v1/tenants/acme/resume").await.expect(200);
        assert_eq!(data(&host).await, OF_NOTES, "resumed");

        acme.disable_here(NOTES_ID).await.expect(200);
        assert_eq!(now(&host).await, [""; 0], "disabled by the tenant");
        acme.enable_here(NOTES_ID).await.expect(200);
        admin.disable(NOTES_ID).await.expect(200);
        assert_eq!(now(&host).await, [""; 0], "disabled for all");
        admin.enable(NOTES_ID).await.expect(200);
        assert_eq!(data(&host).await, OF_NOTES, "enabled again");

        host.install_policy(&STANDARD.replace("tenants = [\"*\"]", "tenants = [\"bank-*\"]")).await;
        assert_eq!(now(&host).await, [""; 0], "the rule names other tenants");
        host.install_policy(STANDARD).await;
        assert_eq!(data(&host).await, OF_NOTES, "the rule names it again");

        let revoked = json!({ "plugin": NOTES_ID, "reason": "CVE" });
        host.security().post_json("/api/v1/revocations", &revoked).await.expect(201);
        assert_eq!(now(&host).await, [""; 0], "revoked");
    }
}

#[tokio::test]
async fn consent_narrows_reach_and_the_difference_says_so_with_its_times() {
    for builder in engines() {
        let host = builder.tenant("acme").with(NOTES).await;
        let before = time(&host).await;
        let consent = json!({ "interfaces": ["sql"] });
        host.tenant_admin("acme").post_json("/api/v1/tenant/plugins/acme.notes/consent", &consent).await.expect(200);
        let after = time(&host).await;

        let diff = get(&host, &format!("?from={before}&to={after}")).await;

        assert_eq!(names(&diff, "removed"), ["data blob own", "data kv own"]);
        assert_eq!(diff["added"], json!([]));
        assert_eq!((&diff["from"], &diff["to"]), (&json!(before), &json!(after)));
        let ended = diff["removed"][0]["until"].as_str().unwrap();
        assert!(before.as_str() < ended && ended <= after.as_str(), "{before} {ended} {after}");
        let now = get(&host, "").await;
        let sql = now["items"].as_array().unwrap().iter().find(|entry| entry["name"] == "sql").unwrap().clone();
        assert!(sql["since"].as_str().unwrap() < before.as_str(), "what stays keeps its beginning: {sql}");
        let then = get(&host, &format!("?at={before}")).await;
        assert_eq!(names(&then, "items").iter().filter(|name| name.starts_with("data")).count(), 3);
        assert_eq!(get(&host, &format!("?from={before}&to={before}")).await["removed"], json!([]));
        assert_eq!(get(&host, &format!("?from={before}&signer=bob")).await["removed"], json!([]));
    }
}

#[tokio::test]
async fn a_policy_that_changes_nothing_rewrites_nothing() {
    for builder in engines() {
        let host = builder.tenant("acme").with(NOTES).await;
        let before = get(&host, "").await["items"].clone();

        host.install_policy(STANDARD).await;
        host.admin().create_tenant("globex").await.expect(201);
        let host = host.restart().await;

        assert_eq!(get(&host, "").await["items"], before);
    }
}

#[tokio::test]
async fn pages_put_together_are_the_whole_report() {
    let host = TestHost::new().tenant("acme").tenant("bank").tenant("shop").with(NOTES).await;
    let whole = get(&host, "").await["items"].as_array().unwrap().clone();
    assert!(whole.len() >= 9, "{whole:?}");

    for limit in [1, 2, 5] {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&host, &format!("?limit={limit}{cursor}")).await;
            assert!(page["items"].as_array().unwrap().len() <= limit);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            // The report goes on as of its first page.
            host.tenant_admin("shop").disable_here(NOTES_ID).await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut wanted = whole.clone();
        if limit > 1 {
            wanted.retain(|entry| entry["tenant_id"] != "shop");
        }
        let ids =
            |all: &[Value]| all.iter().map(|one| (one["tenant_id"].clone(), one["name"].clone())).collect::<Vec<_>>();
        assert_eq!(ids(&items), ids(&wanted), "{limit}");
    }
}

#[tokio::test]
async fn the_report_is_for_security_and_for_questions_that_make_sense() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    let check = async |client: Client, query: &str, status: u16, code: &str| {
        assert_eq!(client.get(&format!("{PATH}{query}")).await.outcome(), (status, code.to_owned()), "{query}");
    };

    check(host.anyone(), "", 401, "unauthenticated").await;
    check(host.admin(), "", 403, "role-required").await;
    check(host.tenant_admin("acme"), "", 403, "role-required").await;
    check(host.security(), "?at=yesterday", 422, "invalid-input").await;
    check(host.security(), "?to=2026-01-01T00:00:00Z", 422, "invalid-input").await;
    check(host.security(), "?at=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z", 422, "invalid-input").await;
    check(host.security(), "?from=2199-01-01T00:00:00Z", 422, "invalid-input").await;
    check(host.security(), "?cursor=x", 422, "invalid-input").await;
    check(host.security(), "?tenant=NO", 422, "invalid-input").await;
    check(host.security(), "?color=red", 422, "invalid-input").await;
}

#[tokio::test]
async fn hosts_of_one_database_keep_one_record_and_no_act_is_missing() {
    let one = TestHost::on_postgres().tenant("acme").with(NOTES).await;
    let two = one.another().await;
    eventually("the second host", || async { (two.anyone().get("/ready").await.status == 200).then_some(()) }).await;
    let before = get(&one, "").await["items"].clone();
    let began = time(&one).await;

    for host in [&two, &one, &two] {
        let acme = host.tenant_admin("acme");
        acme.disable_here(NOTES_ID).await.expect(200);
        acme.enable_here(NOTES_ID).await.expect(200);
    }

    let (by_one, by_two) = (get(&one, "").await["items"].clone(), get(&two, "").await["items"].clone());
    assert_eq!(by_one, by_two);
    assert_ne!(by_one, before);
    let rows = get(&one, &format!("?at={began}")).await["items"].clone();
    assert!(rows[0]["until"].is_string(), "{rows}");
    one.tamper(&["SELECT 1 / CASE WHEN (SELECT count(*) FROM reach) = 4 THEN 1 ELSE 0 END"]);
    one.tamper(&["SELECT 1 / CASE WHEN (SELECT count(*) FROM reach WHERE until_at IS NULL) = 1 THEN 1 ELSE 0 END"]);
}

#[tokio::test]
async fn what_a_dead_host_did_not_record_is_mended_by_the_next_pass() {
    let host = TestHost::on_postgres().tenant("acme").with(NOTES).await;
    assert_eq!(data(&host).await, OF_NOTES);

    host.tamper(&["DELETE FROM reach", "UPDATE change_counter SET changes = changes + 1"]);

    eventually("the record", || async { (data(&host).await == OF_NOTES).then_some(()) }).await;
}
