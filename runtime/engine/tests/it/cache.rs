//! The compiled cache: nothing runs but what this host wrote for this component and these facts.
//! It does not test the compiler.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use bulkhead_engine::{Admitted, Engine, Error};
use bulkhead_model::{Code, Coded as _, Digest};

use crate::guests::hostile;
use crate::host::{Host, config, facts};

/// A host with one compiled component and the path of its entry.
async fn compiled() -> (Host, Digest, PathBuf) {
    let host = Host::new();
    let bytes = hostile("echo");
    let digest = Digest::of(&bytes);
    host.engine.compile(&digest, &facts(), &bytes).await.unwrap();
    let entry = entries(&host).pop().unwrap();
    (host, digest, entry)
}

fn entries(host: &Host) -> Vec<PathBuf> {
    fs::read_dir(host.folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn load(host: &Host, digest: Digest) -> Result<(), Error> {
    host.engine.load(Admitted::new(digest, facts())).map(drop)
}

#[tokio::test]
async fn no_flipped_bit_of_an_entry_is_ever_loaded() {
    let (host, digest, entry) = compiled().await;
    let sound = fs::read(&entry).unwrap();
    let bits = sound.len() * 8;

    for round in 0..400 {
        // Odd steps through the file, the last bytes among them.
        let bit = if round < 40 { bits - 1 - round * 7 } else { round * 104_729 % bits };
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&entry, flipped).unwrap();

        assert!(matches!(load(&host, digest), Err(Error::CacheMismatch(_))), "bit {bit}");
        assert!(!entry.exists(), "bit {bit}");
    }
    fs::write(&entry, sound).unwrap();
    assert!(load(&host, digest).is_ok());
}

#[tokio::test]
async fn a_cut_or_longer_entry_is_not_loaded() {
    let (host, digest, entry) = compiled().await;
    let sound = fs::read(&entry).unwrap();
    let longer = [sound.as_slice(), &[0]].concat();

    for bad in [&sound[..sound.len() - 1], &sound[..31], &[], longer.as_slice()] {
        fs::write(&entry, bad).unwrap();
        assert!(matches!(load(&host, digest), Err(Error::CacheMismatch(_))), "{} bytes", bad.len());
    }
}

#[tokio::test]
async fn an_entry_of_another_component_facts_or_key_is_not_loaded() {
    let (host, digest, entry) = compiled().await;
    let other = hostile("panic");
    let other_digest = Digest::of(&other);
    host.engine.compile(&other_digest, &facts(), &other).await.unwrap();
    let other_entry = entries(&host).into_iter().find(|path| *path != entry).unwrap();

    // Another component's entry under this one's name.
    fs::copy(&other_entry, &entry).unwrap();
    assert!(matches!(load(&host, digest), Err(Error::CacheMismatch(_))));

    // The same component, admitted with other facts.
    let loaded = host.engine.load(Admitted::new(other_digest, Digest::of(b"other facts")));
    assert!(matches!(loaded, Err(Error::CacheMismatch(_))));

    // A host with another key.
    host.engine.compile(&other_digest, &facts(), &other).await.unwrap();
    let mut stranger = config(&host.folder);
    stranger.cache_key = [8; 32];
    let loaded = Engine::new(stranger).unwrap().load(Admitted::new(other_digest, facts()));
    assert!(matches!(loaded, Err(Error::CacheMismatch(_))));
}

#[tokio::test]
async fn a_link_in_the_place_of_an_entry_is_not_followed() {
    let (host, digest, entry) = compiled().await;
    let moved = host.folder.path().join("moved");
    fs::rename(&entry, &moved).unwrap();
    symlink(&moved, &entry).unwrap();

    assert!(matches!(load(&host, digest), Err(Error::CacheMismatch(_))));
    assert!(moved.exists());
}

#[tokio::test]
async fn a_component_that_was_never_compiled_says_so_and_a_deleted_one_compiles_again() {
    let (host, digest, entry) = compiled().await;
    fs::write(&entry, b"broken").unwrap();

    assert!(load(&host, digest).is_err());
    assert!(matches!(load(&host, digest), Err(Error::NotCompiled(_))));
    host.engine.compile(&digest, &facts(), &hostile("echo")).await.unwrap();
    assert!(load(&host, digest).is_ok());
}

#[tokio::test]
async fn an_entry_outlives_its_engine() {
    let (host, digest, _) = compiled().await;
    let again = Engine::new(config(&host.folder)).unwrap();

    assert!(again.load(Admitted::new(digest, facts())).is_ok());
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    let check = |prepare: &dyn Fn(&PathBuf)| {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        prepare(&config.cache_dir);
        let error = Engine::new(config).unwrap_err();
        assert!(matches!(error, Error::CacheDirectory { .. }), "{error}");
        assert_eq!(error.code(), Code::InvalidHostConfiguration);
    };

    check(&|path| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o750)).unwrap();
    });
    check(&|path| {
        let real = path.with_file_name("real");
        fs::create_dir(&real).unwrap();
        symlink(real, path).unwrap();
    });
    check(&|path| fs::write(path, b"a file").unwrap());
}
