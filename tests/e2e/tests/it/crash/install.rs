//! Kills between registering, installing and enabling.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_testkit::client::try_send;
use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Client, Release, eventually};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::{Instants, admin, audit_is_whole, installation, tenant_admin};

const KILLS: usize = 16;
/// Longest life of a host after it was asked.
const LIFE_MAX: Duration = Duration::from_millis(400);

/// What a host acknowledged before it was killed.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    registered: bool,
    /// Path of the operation.
    installing: Option<String>,
    installed: bool,
    enabled: bool,
}

#[tokio::test]
async fn what_was_acknowledged_is_there_and_what_was_begun_comes_to_an_end() {
    let installation = installation().await;
    let mut instants = Instants::new();

    for kill in 0..KILLS {
        let release = ROUTES.source().id(&format!("test.kill-{kill}")).signed_by(ALICE);
        let served = installation.serve();
        let seen = Arc::new(Mutex::new(Acknowledged::default()));
        let work = walk(admin(&served), tenant_admin(&served), release.clone(), Arc::clone(&seen));
        drop(tokio::time::timeout(instants.within(LIFE_MAX), work).await);
        served.kill();

        let acknowledged = seen.lock().unwrap().clone();
        check(&installation, &release, &acknowledged).await;
    }
}

/// Registers, installs and enables until the host is gone.
async fn walk(admin: Client, tenant: Client, release: Release, seen: Arc<Mutex<Acknowledged>>) -> Option<()> {
    let part = |bytes: &[u8]| Part::bytes(bytes.to_vec()).file_name("part");
    let form = Form::new().part("artifact", part(&release.bytes)).part("bundle", part(release.bundles[0].as_bytes()));
    let published = try_send(admin.request(Method::POST, "/api/v1/plugins").multipart(form)).await?;
    assert_eq!(published.status, 201, "{}", published.text());
    seen.lock().unwrap().registered = true;

    let path = format!("/api/v1/plugins/{}/install", release.id);
    let begun = try_send(admin.request(Method::POST, &path).json(&json!({}))).await?;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let operation = begun.header("location").to_owned();
    seen.lock().unwrap().installing = Some(operation.clone());
    while try_send(admin.request(Method::GET, &operation)).await?.json()["status"] == "running" {}
    seen.lock().unwrap().installed = true;

    let path = format!("/api/v1/tenant/plugins/{}/enable", release.id);
    let enabled = try_send(tenant.request(Method::POST, &path)).await?;
    assert_eq!(enabled.status, 200, "{}", enabled.text());
    seen.lock().unwrap().enabled = true;
    Some(())
}

async fn check(installation: &bulkhead_testkit::binary::Installation, release: &Release, acknowledged: &Acknowledged) {
    let served = installation.serve();
    let (admin, tenant) = (admin(&served), tenant_admin(&served));

    if acknowledged.registered {
        admin.plugin(&release.id).await.expect(200);
    }
    if let Some(operation) = &acknowledged.installing {
        let ended = eventually("the end of an interrupted install", || async {
            let operation = admin.get(operation).await.expect(200).json();
            (operation["status"] != "running").then_some(operation)
        })
        .await;
        assert_eq!(ended["status"], "succeeded", "{acknowledged:?} {ended}");
    }
    if acknowledged.installed {
        assert!(matches!(admin.status_of(&release.id).await.as_str(), "installed" | "active"), "{acknowledged:?}");
    }
    if acknowledged.enabled {
        tenant.ready(&release.id).await;
    }

    // Whatever was not acknowledged can be done again to its end.
    admin.publish(release).await;
    if matches!(admin.status_of(&release.id).await.as_str(), "registered" | "installing") {
        let begun = admin.begin_install(&release.id).await;
        assert!(matches!(begun.status, 202 | 409), "{}", begun.text());
        eventually("an installed plugin", || async {
            matches!(admin.status_of(&release.id).await.as_str(), "installed" | "active").then_some(())
        })
        .await;
    }
    tenant.enable_here(&release.id).await.expect(200);
    tenant.get_route(&release.id, "/").await.expect(200);
    audit_is_whole(&served).await;
    served.kill();
}
