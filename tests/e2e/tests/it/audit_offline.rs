//! The audit log and the registry's log checked by the binary from files alone, and what the chain says of keys and denials.
//! Forged documents in all their forms are the trust crate's to refuse.

use bulkhead_model::audit::{AuditRecord, GENESIS, chain};
use bulkhead_testkit::binary::{Bulkhead, Ended};
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::{ALICE, BOB, MALLORY, REGISTRY};
use bulkhead_testkit::policies::STANDARD;
use bulkhead_testkit::{TestHost, tokens};
use bulkhead_trust::log::Exported;
use serde_json::{Value, json};

/// A host with its binary beside it, in a folder with the registry's public key.
struct Desk {
    host: TestHost,
    folder: tempfile::TempDir,
    bulkhead: Bulkhead,
}

impl Desk {
    async fn on(host: TestHost) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("registry.pub.pem"), REGISTRY.public_pem()).unwrap();
        let token = tokens::token("sec", None, &[bulkhead_model::Role::Security], &[]);
        let bulkhead = Bulkhead::at(folder.path())
            .env("BULKHEAD_SERVER", &format!("http://{}", host.address()))
            .env("BULKHEAD_TOKEN", &token);
        Self { host, folder, bulkhead }
    }

    fn run(&self, line: &str) -> Ended {
        self.bulkhead.run(line.split(' '))
    }

    /// Without a host and a token.
    fn alone(&self, line: &str) -> Ended {
        Bulkhead::at(self.folder.path()).run(line.split(' ').chain(["--json"]))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

fn records(text: &str) -> Vec<AuditRecord> {
    let record = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        AuditRecord {
            sequence: entry["sequence"].as_u64().unwrap(),
            at: entry["at"].as_i64().unwrap(),
            actor: text("actor"),
            action: text("action"),
            plugin: text("plugin"),
            tenant: text("tenant"),
            detail: text("detail"),
        }
    };
    text.lines().map(record).collect()
}

/// The log as a thief writes it who can compute hashes.
fn chained(records: Vec<AuditRecord>) -> String {
    let mut previous = GENESIS;
    let line = |record: AuditRecord| {
        previous = chain(&previous, &record);
        Exported::of(record, previous).to_line() + "\n"
    };
    records.into_iter().map(line).collect()
}

#[tokio::test]
async fn an_exported_log_proves_itself_and_a_kept_checkpoint_gives_away_one_that_was_written_anew() {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let desk = Desk::on(builder.tenant("acme").await).await;
        desk.host.admin().publish(&hostile("echo").signed_by(MALLORY)).await;
        desk.run("registry log checkpoint --out kept.checkpoint").expect(0);
        desk.host.admin().create_tenant("globex").await.expect(201);

        desk.run("audit export --out audit.jsonl").expect(0);

        let anchored = "audit verify --file audit.jsonl --checkpoint kept.checkpoint --key registry.pub.pem";
        let whole = desk.alone(anchored).expect(0).json();
        assert_eq!((&whole["intact"], &whole["anchored"]), (&json!(true), &json!(true)));
        let on_host = desk.host.security().get("/api/v1/audit/verify").await.expect(200).json();
        assert_eq!((&whole["entries"], &whole["head"]), (&on_host["entries"], &on_host["head"]));

        let text = desk.read("audit.jsonl");
        desk.write("audit.jsonl", &text.replacen("tenant.create", "tenant.delete", 1));
        let broken = desk.alone("audit verify --file audit.jsonl").expect(3).json();
        assert!(broken["errors"][0]["message"].as_str().unwrap().contains("is broken"), "{broken}");

        let mut records = records(&text);
        records[2].actor = "somebody else".to_owned();
        desk.write("audit.jsonl", &chained(records));
        desk.alone("audit verify --file audit.jsonl").expect(0);
        let anew = desk.alone(anchored).expect(3).json();
        assert_eq!(anew["code"], "registry-log-broken");
        assert!(anew["errors"][0]["message"].as_str().unwrap().contains("written anew"), "{anew}");

        let cut: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
        desk.write("audit.jsonl", &cut);
        let cut = desk.alone(anchored).expect(3).json();
        assert!(cut["errors"][0]["message"].as_str().unwrap().contains("entry 3"), "{cut}");
    }
}

#[tokio::test]
async fn the_registrys_log_is_checked_from_files_and_each_lie_is_named() {
    let desk = Desk::on(TestHost::new().await).await;
    let release = hostile("echo").signed_by(ALICE);
    desk.run("registry log checkpoint --out old").expect(0);
    desk.host.admin().publish(&release).await.expect(201);
    std::fs::write(desk.folder.path().join("echo.wasm"), &release.bytes).unwrap();
    let digest = bulkhead_model::Digest::of(&release.bytes);
    desk.run("registry log checkpoint --out new").expect(0);
    desk.run("registry log prove --from 1 --to 3 --out grown.json").expect(0);
    desk.run(&format!("registry log prove --digest {digest} --out echo.proof.json")).expect(0);
    desk.run("registry log timestamp --out stamp.json").expect(0);
    let verify = |rest: &str| desk.alone(&format!("registry log verify --key registry.pub.pem {rest}"));
    let refused = |rest: &str, code: &str, words: &str| {
        let answer = verify(rest).expect(3).json();
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer.to_string().contains(words), "{answer}");
    };

    let all = "--checkpoint new --old old --consistency grown.json --inclusion echo.proof.json --file echo.wasm --timestamp stamp.json";
    let found = verify(all).expect(0).json();
    assert_eq!((&found["consistency"]["to"], &found["leaf"]["index"]), (&json!(3), &json!(1)));
    verify("--inclusion echo.proof.json").expect(0);
    verify("--timestamp stamp.json --old old --consistency grown.json --origin bulkhead-registry").expect(0);
    verify("--checkpoint new --old old").expect(2);
    verify("").expect(2);
    refused("--checkpoint old --old new", "registry-log-broken", "rolled back");
    desk.write("lie.json", &desk.read("grown.json").replacen("sha256:", "sha256:00", 1).replacen("\"]", "00\"]", 0));
    desk.write("fork.json", r#"{"from":1,"to":3,"hashes":[]}"#);
    refused("--checkpoint new --old old --consistency fork.json", "registry-log-broken", "forked");
    refused("--checkpoint new --old old --consistency lie.json", "malformed", "malformed");
    refused("--inclusion echo.proof.json --file registry.pub.pem", "not-in-log", "another release");
    refused("--checkpoint old --inclusion echo.proof.json", "not-in-log", "another size");
    refused("--checkpoint new --origin elsewhere", "unknown-signer", "elsewhere");
    desk.write("changed", &desk.read("new").replacen("\n3\n", "\n4\n", 1));
    refused("--checkpoint changed", "bad-signature", "does not fit");
    desk.write("registry.pub.pem", &MALLORY.public_pem());
    refused("--checkpoint new", "unknown-signer", "has not signed");
    refused("--timestamp stamp.json", "bad-signature", "does not fit");
}

#[tokio::test]
async fn keys_that_come_and_go_and_those_that_are_made_new_are_on_record() {
    let host = TestHost::new().await;
    let bob = STANDARD.replace("alice", "bob");
    let dated = bob.replace("keys = [\"bob\"]", "keys = [\"bob\"]\nvalid = [\"2026-01-01\", \"2199-01-01\"]");
    let listed = async |host: &TestHost| -> Vec<(String, Value)> {
        let entries = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let entry = |entry: &Value| (entry["action"].as_str().unwrap().to_owned(), entry["detail"].clone());
        let all = entries["items"].as_array().unwrap().iter().map(entry);
        all.filter(|(action, _)| action.starts_with("key.")).collect()
    };

    host.install_policy(&bob).await;
    host.install_policy(&dated).await;
    let host = host.restart().await;

    let events = listed(&host).await;
    let names: Vec<&str> = events.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(names, ["key.new", "key.new", "key.add", "key.add", "key.remove", "key.change"]);
    assert_eq!((&events[0].1["key"], &events[1].1["key"]), (&json!("cache"), &json!("registry")));
    assert_eq!(events[3].1["key"], BOB.verifying().to_policy_text());
    assert_eq!(events[4].1["principal"], "alice");
    assert_eq!(events[5].1["before"]["until"], Value::Null);
    let key = host.config().registry.signing_key_file.clone().unwrap();
    let host = host.restart_after(|_| std::fs::write(&key, MALLORY.private_pem()).unwrap()).await;
    let events = listed(&host).await;
    assert_eq!((events.len(), &events[6].1["key"]), (7, &json!("registry")));
    assert_eq!(events[6].1["before"], REGISTRY.verifying().id().to_string());
}

#[tokio::test]
async fn a_flood_of_refusals_is_one_entry_each_hour() {
    let host = TestHost::new().tenant("acme").with(hostile("echo")).await;
    let refused = async |host: &TestHost| -> Vec<Value> {
        let entries = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let all = entries["items"].as_array().unwrap().iter();
        all.filter(|entry| entry["action"] == "plugin.refuse").cloned().collect()
    };
    for _ in 0..5 {
        host.admin().publish(&hostile("loop").signed_by(MALLORY)).await;
    }
    assert_eq!(refused(&host).await.len(), 1);

    host.install_policy(&STANDARD.replace("alice", "bob")).await;
    for _ in 0..3 {
        assert_eq!(host.tenant_admin("acme").enable_here("hostile.echo").await.status, 403);
    }
    let host = host.restart().await;

    let entries = refused(&host).await;
    let fleet = entries.iter().filter(|entry| entry["plugin"] == "hostile.echo" && entry["tenant"].is_null());
    let tenant = entries.iter().filter(|entry| entry["tenant"] == "acme");
    assert_eq!((fleet.count(), tenant.count()), (1, 1), "{entries:#?}");
}
