//! What links, what does not, and what only a trial finds out.
//! It calls no guest.

use std::fs;
use std::path::Path;

use bulkhead_engine::Error;
use bulkhead_model::{Code, Coded as _, Limits};

use crate::guests::{HOOKS, event_publisher, guest_of, hooks_core, hostile, panicking, socket_user};
use crate::host::Host;

#[tokio::test]
async fn the_network_does_not_link() {
    let host = Host::new();

    let error = host.try_component(&socket_user()).await.unwrap_err();

    assert_eq!(error.code(), Code::IncompatibleContract);
    assert!(error.to_string().contains("wasi:sockets/instance-network"), "{error}");
}

#[tokio::test]
async fn an_interface_that_this_host_does_not_serve_is_named() {
    let host = Host::new();

    let error = host.try_component(&event_publisher()).await.unwrap_err();

    assert!(matches!(error, Error::IncompatibleContract(_)), "{error}");
    assert!(error.to_string().contains("bulkhead:plugin/events-publish"), "{error}");
}

#[tokio::test]
async fn inert_wasi_links_and_a_sound_component_passes_its_trial() {
    let host = Host::new();

    let component = host.component(&panicking("x")).await;

    assert_eq!(component.exports(), ["hooks"]);
    assert!(host.engine.trial(&component, Limits::DEFAULT).await.is_ok());
    assert_eq!(host.engine.instances_live(), 0);
}

/// A copy of the contract with one record changed.
fn changed_contract(folder: &Path) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    for entry in fs::read_dir(wit).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        let text = fs::read_to_string(entry.path()).unwrap();
        fs::write(folder.join(entry.file_name()), text.replace("locale: string,", "locale: u32, zone: u32,")).unwrap();
    }
}

#[tokio::test]
async fn a_changed_record_passes_every_check_but_the_trial() {
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    changed_contract(folder.path());

    let component = host.component(&guest_of(folder.path(), HOOKS, &hooks_core("", "(call $none)"))).await;
    let error = host.engine.trial(&component, Limits::DEFAULT).await.unwrap_err();

    assert!(matches!(error, Error::IncompatibleContract(_)), "{error}");
}

#[tokio::test]
async fn a_component_that_does_not_start_fails_its_trial_with_its_own_code() {
    let host = Host::new();

    for (name, code) in [("trap_in_start", Code::PluginFailed), ("memory_at_start", Code::MemoryExceeded)] {
        let component = host.component(&hostile(name)).await;
        let error = host.engine.trial(&component, Limits::DEFAULT).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}");
    }
}
