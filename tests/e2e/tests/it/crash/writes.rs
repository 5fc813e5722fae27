//! Kills while a plugin writes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_model::Role;
use bulkhead_testkit::Client;
use bulkhead_testkit::binary::Served;
use bulkhead_testkit::client::try_send;
use bulkhead_testkit::guests::NOTES;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::tokens::token;
use reqwest::Method;
use serde_json::json;

use super::{Instants, admin, audit_is_whole, installation, tenant_admin};

const KILLS: usize = 12;
/// Longest life of a host after the first write.
const LIFE_MAX: Duration = Duration::from_millis(300);
/// Writers at once.
const WRITERS: usize = 4;

#[tokio::test]
async fn every_acknowledged_write_is_there_after_the_kill() {
    let installation = installation().await;
    let served = installation.serve();
    admin(&served).install_release(&NOTES.signed_by(ALICE)).await;
    tenant_admin(&served).enable_here("acme.notes").await.expect(200);
    served.kill();
    let mut instants = Instants::new();
    let mut written: Vec<String> = Vec::new();

    for _ in 0..KILLS {
        let served = installation.serve();
        user(&served).ready("acme.notes").await;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> =
            (0..WRITERS).map(|_| tokio::spawn(write(user(&served), Arc::clone(&acknowledged)))).collect();
        let all = async {
            while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
                tokio::task::yield_now().await
            }
        };
        drop(tokio::time::timeout(instants.within(LIFE_MAX), all).await);
        served.kill();
        for writer in writers {
            writer.await.unwrap();
        }

        let served = installation.serve();
        let user = user(&served);
        user.ready("acme.notes").await;
        written.append(&mut acknowledged.lock().unwrap());
        for id in written.iter().rev().take(40) {
            user.get_route("acme.notes", &format!("/notes/{id}")).await.expect(200);
        }
        let stats = user.get_route("acme.notes", "/stats").await.expect(200).json();
        let least = i64::try_from(written.len()).unwrap();
        assert!(
            stats["notes"].as_i64().unwrap() >= least && stats["written"].as_i64().unwrap() >= least,
            "{stats}, acknowledged {least}"
        );
        audit_is_whole(&served).await;
        served.kill();
    }

    assert!(written.len() > KILLS, "too few writes were acknowledged to prove anything: {}", written.len());
}

fn user(served: &Served) -> Client {
    served.client(&token("user", Some("acme"), &[Role::Member], &["acme.notes.notes.view", "acme.notes.notes.edit"]))
}

/// Writes until the host is gone, or its rate is used up.
async fn write(user: Client, acknowledged: Arc<Mutex<Vec<String>>>) {
    loop {
        let request = user
            .request(Method::POST, "/api/plugins/acme.notes/notes")
            .json(&json!({ "title": "kept", "tags": ["a"] }));
        match try_send(request).await {
            Some(answer) if answer.status == 201 => {
                acknowledged.lock().unwrap().push(answer.json()["id"].as_str().unwrap().to_owned())
            }
            Some(answer) => return assert!(matches!(answer.status, 429 | 503), "{}", answer.text()),
            None => return,
        }
    }
}
