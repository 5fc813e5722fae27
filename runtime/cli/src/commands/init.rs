//! `bulkhead init`: what a host needs before its first start: keys, configuration, a deny-all policy,
//! two tokens. It overwrites nothing and starts nothing.

use std::path::{Path, PathBuf};

use bulkhead_host::auth::Claims;
use bulkhead_model::Role;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Context, key, token};
use crate::error::Error;
use crate::file::{self, Existing, PRIVATE, PUBLIC, SEALED};

const CONFIGURATION: &str = include_str!("../../templates/init/bulkhead.toml");
const POLICY: &str = include_str!("../../templates/init/policy.toml");
/// Lifetime of the first tokens in seconds: a day.
const TTL_S: u64 = 24 * 60 * 60;
/// How long the first policy counts: a year.
const POLICY_VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Everything that `init` writes.
const FILES: [&str; 11] = [
    "bulkhead.toml",
    "policy.toml",
    "keys/root.key.pem",
    "keys/root.pub.pem",
    "keys/issuer.key.pem",
    "keys/issuer.pub.pem",
    "keys/registry.key.pem",
    "keys/registry.pub.pem",
    "keys/cache.key",
    "tokens/super_admin.token",
    "tokens/security.token",
];

const WRITES: &str = "\
Writes:
  bulkhead.toml      configuration
  policy.toml        a policy that allows nothing yet, with an example
  keys/              root (signs the policy), issuer (signs tokens), registry (signs the log), cache.key (binds compiled plugins)
  tokens/            super_admin.token and security.token, good for a day

Example:
  bulkhead init --dir host && cd host && bulkhead serve";

#[derive(Debug, Args)]
#[command(after_help = WRITES)]
pub(crate) struct Init {
    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Init {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let dir = &self.dir;
        const NEXT: &str = "choose another folder with `--dir DIR`, or use what is there";
        if let Some(path) = FILES.iter().map(|name| dir.join(name)).find(|path| path.exists()) {
            return Err(Error::Exists { path, next: NEXT });
        }
        let is_new = !dir.exists();
        if let Err(error) = write(dir, Existing::Keep(NEXT)) {
            undo(dir, is_new);
            return Err(error);
        }
        let body = json!({ "folder": dir.display().to_string(), "files": FILES });
        context.output.result(&body, &next_steps(dir));
        Ok(())
    }
}

fn write(dir: &Path, existing: Existing) -> Result<(), Error> {
    file::create_folder(dir)?;
    file::create_private_folder(&dir.join("keys"))?;
    file::create_private_folder(&dir.join("tokens"))?;
    key::write_pair(&dir.join("keys/root"), existing)?;
    let issuer = key::write_pair(&dir.join("keys/issuer"), existing)?;
    key::write_pair(&dir.join("keys/registry"), existing)?;
    file::write(&dir.join("keys/cache.key"), &key::random()?, SEALED, existing)?;
    file::write(&dir.join("bulkhead.toml"), CONFIGURATION.as_bytes(), PUBLIC, existing)?;
    file::write(&dir.join("policy.toml"), policy(Timestamp::now()).as_bytes(), PUBLIC, existing)?;
    for role in [Role::SuperAdmin, Role::Security] {
        let claims = Claims::new("init", None, &[role], Vec::new(), token::now_s(), TTL_S);
        let token = token::issue_with(&issuer.private_path, &issuer.private.to_pem(), &claims)?;
        let path = dir.join("tokens").join(format!("{role}.token"));
        file::write(&path, token.as_bytes(), PRIVATE, existing)?;
    }
    Ok(())
}

/// Removes what this run wrote; a folder goes if nothing else is in it.
fn undo(dir: &Path, is_new: bool) {
    for name in FILES {
        file::remove(&dir.join(name));
    }
    for name in ["keys", "tokens"] {
        file::remove_empty_folder(&dir.join(name));
    }
    if is_new {
        file::remove_empty_folder(dir);
    }
}

/// The first policy, good for a year.
fn policy(now: Timestamp) -> String {
    let until = now.saturating_add(POLICY_VALIDITY).unwrap_or(Timestamp::MAX).to_string();
    POLICY.replace("EXPIRES", until.get(..10).unwrap_or("2099-12-31"))
}

fn next_steps(dir: &Path) -> String {
    let enter = if dir == Path::new(".") { String::new() } else { format!("  cd {}\n", dir.display()) };
    format!(
        "A host is ready to start in `{}`.\n\nnext:\n{enter}  bulkhead serve\n\nthen, in another terminal:\n{enter}  \
        export BULKHEAD_TOKEN=$(cat tokens/super_admin.token)\n  bulkhead tenant create acme-corp\n  bulkhead plugin list\n\n\
        To let an author's plugins in, follow policy.toml. Both tokens are good for a day:\n  \
        bulkhead token issue --sub YOU --role super_admin --ttl 8h\n\n\
        Keep keys/root.key.pem somewhere else: who has it decides what runs.",
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use bulkhead_server::{Config, Overrides};
    use bulkhead_trust::{Policy, SigningKey};

    use super::*;

    #[test]
    fn the_first_configuration_is_valid_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();

        write(folder.path(), Existing::Keep("")).unwrap();

        let config = Config::load(Some(&folder.path().join("bulkhead.toml")), &Overrides::default()).unwrap();
        assert!(!config.makes_keys);
        assert_eq!(config.policy.root_keys, [folder.path().join("keys/root.pub.pem")]);
        for name in FILES {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn the_first_policy_allows_nothing_and_its_example_is_a_valid_rule() {
        let first = policy(Timestamp::now());
        let key = SigningKey::generate([7; 32]).verifying_key().to_policy_text();
        let (head, example) = first.split_once("# An example").unwrap();
        let example = example
            .lines()
            .skip(1)
            .map(|line| line.trim_start_matches('#').trim_start())
            .collect::<Vec<_>>()
            .join("\n");

        let plain = Policy::from_toml(&first).unwrap();
        let filled = Policy::from_toml(&format!("{head}\n{}", example.replace("ed25519:KEY", &key))).unwrap();

        assert!(plain.allow.is_empty() && plain.principals.is_empty());
        assert_eq!((filled.allow.len(), filled.principals.len()), (1, 1));
    }
}
