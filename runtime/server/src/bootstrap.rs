//! First start: makes the keys that the configuration leaves to the host.
//! It never overwrites a key, and signs nothing.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use bulkhead_host::SigningKey;

use crate::config::Config;
use crate::error::Error;

/// Makes the data folder, and each key that is missing where the configuration names none.
pub(crate) fn run(config: &Config) -> Result<(), Error> {
    make_folder(&config.server.data_dir)?;
    make_folder(&config.engine.cache_dir)?;
    if config.makes_keys
        && let Some(issuer) = config.auth.local_keys().next()
    {
        for public_key in config.policy.root_keys.iter().chain([issuer]) {
            make_pair(public_key)?;
        }
        if let Some(key) = &config.registry.signing_key_file {
            make_key(key)?;
        }
        let issuer_key = private_of(issuer);
        tracing::info!(
            "tokens are issued with `{0}`: bulkhead token issue --sub admin --role super_admin --key {0}",
            issuer_key.display()
        );
    }
    if config.makes_cache_key {
        make_cache_key(&config.engine.cache_key_file)?;
    }
    Ok(())
}

/// `<name>.pub.pem` and the private half beside it, `<name>.key.pem`.
fn make_pair(public_path: &Path) -> Result<(), Error> {
    if public_path.exists() {
        return Ok(());
    }
    let private_path = private_of(public_path);
    let key = if private_path.exists() {
        // A start that was killed between the two files left this half: it is completed, not replaced.
        let pem = std::fs::read_to_string(&private_path)
            .map_err(|source| Error::Read { path: private_path.clone(), source })?;
        SigningKey::from_pem(&pem)
            .map_err(|_| Error::Unusable { path: private_path, wanted: "an Ed25519 key in PEM" })?
    } else {
        let key = SigningKey::generate(random()?);
        write_new(&private_path, key.to_pem().as_bytes(), 0o600)?;
        key
    };
    write_new(public_path, key.verifying_key().to_pem().as_bytes(), 0o644)?;
    tracing::info!("made the key pair `{}`", public_path.display());
    Ok(())
}

/// A private key alone; who needs its public half makes it of it.
fn make_key(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    write_new(path, SigningKey::generate(random()?).to_pem().as_bytes(), 0o600)
}

pub(crate) fn private_of(public_path: &Path) -> std::path::PathBuf {
    let name = public_path.file_name().map(|name| name.to_string_lossy().replace(".pub.pem", ".key.pem"));
    public_path.with_file_name(name.unwrap_or_default())
}

fn make_cache_key(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    write_new(path, data_encoding::HEXLOWER.encode(&random()?).as_bytes(), 0o400)
}

fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let written = DirBuilder::new().recursive(true).mode(0o700).create(path);
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Writes beside the place and moves there: a key is whole or not there.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = Path::new(&name);
    match std::fs::remove_file(draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(draft, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_first_start_makes_keys_and_later_ones_keep_or_complete_them() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default_for(&folder.path().join("data"));

        run(&config).unwrap();
        let first = config.to_host_config().unwrap();
        run(&config).unwrap();
        std::fs::remove_file(config.auth.issuers[0].public_key.as_ref().unwrap()).unwrap();
        run(&config).unwrap();
        let second = config.to_host_config().unwrap();

        assert_eq!(first.cache_key, second.cache_key);
        assert_eq!(first.issuer_keys_pem, second.issuer_keys_pem);
        assert_ne!(first.issuer_keys_pem, first.policy_root_keys_pem);
        for (name, mode) in
            [("cache.key", 0o400), ("issuer.key.pem", 0o600), ("root.key.pem", 0o600), ("registry.key.pem", 0o600)]
        {
            let found = std::fs::metadata(folder.path().join("data/keys").join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
    }
}
