//! Kills while several plugins are installed as one: in the end all of them are there, or none.

use std::time::Duration;

use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, eventually};
use serde_json::{Value, json};

use super::{Instants, admin, audit_is_whole, installation};

const KILLS: usize = 10;
/// Longest life of a host after it was asked.
const LIFE_MAX: Duration = Duration::from_millis(150);

/// Four plugins, each of which needs the one before; in every other set the last one needs what is not there.
fn set(number: usize) -> Vec<Release> {
    let id = |place: usize| format!("test.set-{number}-{place}");
    let one = |place: usize| {
        let missing = place == 3 && number % 2 == 1;
        let needed = if missing { Some("test.missing".to_owned()) } else { place.checked_sub(1).map(id) };
        let source = hostile("echo").source().id(&id(place)).edit(|manifest| {
            manifest.dependencies.extend(needed.map(|needed| (needed.parse().unwrap(), ">=0.1".parse().unwrap())));
        });
        source.signed_by(ALICE)
    };
    (0..4).map(one).collect()
}

#[tokio::test]
async fn plugins_that_are_installed_together_are_all_there_or_none_after_a_crash() {
    let installation = installation().await;
    let mut instants = Instants::new();

    for kill in 0..KILLS {
        let releases = set(kill);
        let served = installation.serve();
        admin(&served).publish_together(&releases.iter().collect::<Vec<_>>()).await.expect(201);
        let plugins: Vec<Value> = releases.iter().map(|release| json!({ "id": release.id })).collect();
        let begun =
            admin(&served).post_json("/api/v1/plugins/install", &json!({ "plugins": plugins })).await.expect(202);
        drop(tokio::time::timeout(instants.within(LIFE_MAX), std::future::pending::<()>()).await);
        served.kill();

        let served = installation.serve();
        let admin = admin(&served);
        let operation = eventually("the end of an interrupted act", || async {
            let operation = admin.get(begun.header("location")).await.expect(200).json();
            (operation["status"] != "running").then_some(operation)
        })
        .await;

        let (ended, status) = if kill % 2 == 1 { ("failed", "registered") } else { ("succeeded", "installed") };
        assert_eq!(operation["status"], ended, "{operation:#}");
        for release in &releases {
            assert_eq!(admin.status_of(&release.id).await, status, "{} {operation:#}", release.id);
        }
        audit_is_whole(&served).await;
        served.kill();
    }
}
