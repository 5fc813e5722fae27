//! A full disk: writes are refused with their code, reads go on, nothing is half there, and with room all goes on.

use bulkhead_model::Role;
use bulkhead_testkit::binary::{Installation, Served};
use bulkhead_testkit::guests::{NOTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::policies::{STANDARD, signed};
use bulkhead_testkit::tokens::token;
use bulkhead_testkit::{Answer, Client, eventually};
use serde_json::{Value, json};

/// The disk: room for the host's tables and a plugin.
const DISK_BYTES: u64 = 10 << 20;
/// Of which this is given back in the end.
const BALLAST_BYTES: u64 = 6 << 20;
/// Writes until the disk is full, at most.
const WRITES_MAX: u32 = 2_000;
/// Bytes of a note.
const NOTE_BYTES: usize = 16 << 10;

fn client(served: &Served, subject: &str, tenant: Option<&str>, role: Role, permissions: &[&str]) -> Client {
    served.client(&token(subject, tenant, &[role], permissions))
}

/// A host with a tenant that takes notes.
async fn with_notes(served: &Served) -> Client {
    client(served, "sec", None, Role::Security, &[]).put_policy(&signed(1, STANDARD)).await.expect(200);
    let admin = client(served, "root", None, Role::SuperAdmin, &[]);
    admin.create_tenant("acme").await.expect(201);
    admin.install_release(&NOTES.signed_by(ALICE)).await;
    let tenant_admin = client(served, "admin@acme", Some("acme"), Role::TenantAdmin, &[]);
    tenant_admin.enable_here("acme.notes").await.expect(200);
    let permissions = ["acme.notes.notes.view", "acme.notes.notes.edit"];
    client(served, "user@acme", Some("acme"), Role::Member, &permissions)
}

async fn write(user: &Client) -> Answer {
    let note = json!({ "title": "a note", "body": "n".repeat(NOTE_BYTES) });
    in_rate(|| user.post_json("/api/plugins/acme.notes/notes", &note)).await
}

async fn read(user: &Client, id: &Value) -> Answer {
    let path = format!("/notes/{}", id.as_str().unwrap());
    in_rate(|| user.get_route("acme.notes", &path)).await
}

/// The answer, as fast as the tenant's rate lets it come.
async fn in_rate<F: Future<Output = Answer>>(ask: impl Fn() -> F) -> Answer {
    eventually("the rate to let a call through", || async {
        let answer = ask().await;
        (answer.status != 429).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_full_disk_refuses_writes_with_its_code_and_loses_nothing() {
    let installation = Installation::new();
    let disk = installation.serve_on_disk(DISK_BYTES, BALLAST_BYTES);
    let user = with_notes(&disk.served).await;
    let admin = client(&disk.served, "root", None, Role::SuperAdmin, &[]);
    let security = client(&disk.served, "sec", None, Role::Security, &[]);

    let mut written = Vec::new();
    let full = loop {
        let answer = write(&user).await;
        if answer.status != 201 {
            break answer;
        }
        written.push(answer.json()["id"].clone());
        assert!(written.len() < WRITES_MAX as usize, "the disk does not become full");
    };
    let publish = admin.publish(&hostile("echo").signed_by(ALICE)).await;
    let known: Vec<Value> = admin.plugins().await;
    let still_there = read(&user, &written[0]).await;
    disk.free();
    write(&user).await.expect(201);
    admin.publish(&hostile("echo").signed_by(ALICE)).await.expect(201);
    let proof = security.get("/api/v1/audit/verify").await.expect(200).json();

    // The plugin says so in its own words.
    assert_eq!(full.outcome(), (503, "plugin-unavailable".to_owned()));
    assert!(full.text().contains("quota"), "{}", full.text());
    assert_eq!(publish.outcome(), (503, "storage-full".to_owned()));
    assert_eq!(known.len(), 1);
    still_there.expect(200);
    assert_eq!(proof["first_broken"], Value::Null);
    for id in &written {
        read(&user, id).await.expect(200);
    }
}
