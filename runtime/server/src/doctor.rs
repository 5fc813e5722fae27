//! What can be wrong with the files that the configuration names: who else can read keys, and which are gone.
//! What is wrong with the host and its database, the host says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bulkhead_host::doctor::{Check, Finding};

use crate::bootstrap::private_of;
use crate::config::Config;

/// Bits of a file's mode with which others may use it.
const OTHERS: u32 = 0o077;

/// Looks at the key files that a configuration names, and at the private halves beside public ones.
pub fn key_files(config: &Config) -> Vec<Finding> {
    let secrets = [Some(&config.engine.cache_key_file), config.database.login_key_file.as_ref()];
    let issuers = config.auth.local_keys();
    let publics: Vec<&PathBuf> = issuers.chain(&config.policy.root_keys).collect();
    let privates = publics.iter().map(|public| private_of(public)).filter(|path| path.is_file());
    let mut findings: Vec<Finding> =
        secrets.into_iter().flatten().cloned().chain(privates).filter_map(|path| open_to_others(&path)).collect();
    let missing = publics.iter().filter(|path| !path.is_file());
    findings.extend(missing.map(|path| Finding::new(Check::KeyFileMissing, format!("`{}`", path.display()))));
    let roots = config.policy.root_keys.iter().map(|public| private_of(public)).filter(|path| path.is_file());
    findings.extend(roots.map(|path| Finding::new(Check::RootKeyOnHost, format!("`{}`", path.display()))));
    findings
}

fn open_to_others(path: &Path) -> Option<Finding> {
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & OTHERS != 0 => {
            let mode = found.permissions().mode() & 0o777;
            Some(Finding::new(Check::KeyFileOpen, format!("`{}` has the mode {mode:03o}", path.display())))
        }
        Ok(_) => None,
        Err(error) => Some(Finding::new(Check::KeyFileMissing, format!("`{}`: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap;

    fn codes(config: &Config) -> Vec<&'static str> {
        key_files(config).iter().map(|finding| finding.check.code()).collect()
    }

    #[test]
    fn keys_that_others_can_read_or_that_are_gone_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default_for(folder.path());
        bootstrap::run(&config).unwrap();
        let keys = folder.path().join("keys");
        let mode = |name: &str, mode: u32| {
            std::fs::set_permissions(keys.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };

        assert_eq!(codes(&config), ["root-key-on-host"]);
        std::fs::remove_file(keys.join("root.key.pem")).unwrap();
        assert_eq!(codes(&config), [""; 0]);
        mode("cache.key", 0o640);
        mode("issuer.key.pem", 0o604);
        assert_eq!(codes(&config), ["key-file-open", "key-file-open"]);
        mode("cache.key", 0o400);
        mode("issuer.key.pem", 0o600);
        std::fs::remove_file(keys.join("cache.key")).unwrap();
        std::fs::remove_file(keys.join("issuer.pub.pem")).unwrap();
        assert_eq!(codes(&config), ["key-file-missing", "key-file-missing"]);
    }
}
