//! Everything that the story needs before it begins: keys, tokens, packed and signed plugins, a policy.
//! It starts no host and sends nothing.

use std::path::{Path, PathBuf};

use bulkhead_host::auth::Claims;
use bulkhead_model::{Manifest, Role};
use bulkhead_trust::{Artifact, Files, Policy, SigningKey, StructuralLimits, artifact, bundle, policy};
use jiff::Timestamp;

use super::scene::{Actor, Guest};
use crate::commands::sign;
use crate::commands::{key, pack, token};
use crate::error::Error;
use crate::file::{self, DOCUMENT_BYTES_MAX, Existing};
use crate::project::Project;

/// Lifetime of the demo's tokens in seconds: a working day.
const TTL_S: u64 = 12 * 60 * 60;

/// The manifest of the plugin that never returns; its component is text beside the other plugins.
const HOSTILE: &str = r#"
[plugin]
id = "acme.hostile"
version = "0.1.0"
name = "Hostile"
description = "Never returns."
license = "MIT OR Apache-2.0"

[[hooks]]
name = "demo.forever"
kind = "filter"
"#;

/// A release as it is sent.
#[derive(Debug)]
pub(super) struct Release {
    /// `hello-0.1.0.wasm`.
    pub(super) name: String,
    /// The artifact.
    pub(super) bytes: Vec<u8>,
    /// Its signature.
    pub(super) bundle: Vec<u8>,
}

/// What lies ready.
#[derive(Debug)]
pub(super) struct Stage {
    hello: Release,
    notes: Release,
    hostile: Release,
    /// The policy, signed by the root key.
    pub(super) policy: Vec<u8>,
    /// The issuer's private key in PEM.
    issuer_pem: String,
}

impl Stage {
    /// Packs and signs the plugins below `plugins`, and makes the policy that allows them, with keys in `keys`.
    pub(super) fn set(plugins: &Path, keys: &Path) -> Result<Self, Error> {
        let author = key::write_pair(&keys.join("author"), Existing::Replace)?;
        let root = key::read_private(&keys.join("root.key.pem"))?;
        let policy = allowing(&author.private, &keys.join("policy.toml"))?;
        let signed = |guest| release(plugins, guest, &author.private);
        Ok(Self {
            hello: signed(Guest::Hello)?,
            notes: signed(Guest::Notes)?,
            hostile: signed(Guest::Hostile)?,
            policy: policy::sign(&policy, &root).into_bytes(),
            issuer_pem: key::read_pem(&keys.join("issuer.key.pem"))?,
        })
    }

    /// The release of a guest.
    pub(super) fn release(&self, guest: Guest) -> &Release {
        match guest {
            Guest::Hello => &self.hello,
            Guest::Notes => &self.notes,
            Guest::Hostile => &self.hostile,
        }
    }

    /// A token for an actor.
    pub(super) fn token(&self, actor: Actor) -> Result<String, Error> {
        let claims = claims(actor);
        token::issue_with(Path::new("issuer.key.pem"), &self.issuer_pem, &claims)
    }
}

/// What an actor's token says.
fn claims(actor: Actor) -> Claims {
    const ALL: [&str; 3] = ["acme.hello.hello.greet", "acme.notes.notes.view", "acme.notes.notes.edit"];
    let (subject, tenant, role, permissions): (_, _, _, &[&str]) = match actor {
        Actor::Operator => ("operator", None, Role::SuperAdmin, &[]),
        Actor::Security => ("security", None, Role::Security, &[]),
        Actor::AcmeApp => ("acme-app", Some("acme-corp"), Role::Host, &[]),
        Actor::GlobexApp => ("globex-app", Some("globex"), Role::Host, &[]),
        Actor::Ada => ("ada", Some("acme-corp"), Role::Member, &ALL),
        Actor::Gus => ("gus", Some("globex"), Role::Member, &ALL),
        Actor::Eve => ("eve", Some("acme-corp"), Role::Member, &[]),
    };
    let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    let tenant = tenant.and_then(|tenant| tenant.parse().ok());
    Claims::new(subject, tenant, &[role], permissions, token::now_s(), TTL_S)
}

fn release(plugins: &Path, guest: Guest, key: &SigningKey) -> Result<Release, Error> {
    let (name, bytes) = match guest {
        Guest::Hello => packed(plugins, "hello")?,
        Guest::Notes => packed(plugins, "notes")?,
        Guest::Hostile => ("hostile-0.1.0.wasm".to_owned(), hostile(plugins)?),
    };
    let artifact = read(&name, &bytes)?;
    let statement = sign::release_statement(&artifact, Timestamp::now());
    Ok(Release { name, bundle: bundle::sign(key, &statement).into_bytes(), bytes })
}

fn read(name: &str, bytes: &[u8]) -> Result<Artifact, Error> {
    artifact::read(bytes, &StructuralLimits::DEFAULT)
        .map_err(|refusals| Error::Refused { subject: name.to_owned(), refusals })
}

/// Packs a plugin whose component was built beforehand.
fn packed(plugins: &Path, name: &str) -> Result<(String, Vec<u8>), Error> {
    let project = Project::read(&plugins.join(name).join("plugin.toml"))?;
    let component = plugins.join("..").join("target/guests").join(format!("{name}.wasm"));
    if !component.exists() {
        return Err(not_built(&component));
    }
    let packed = pack::pack(&project, &pack::read_component(&component)?, None)?;
    Ok((project.artifact_name(), packed.bytes))
}

fn not_built(path: &Path) -> Error {
    Error::Unusable {
        path: path.to_owned(),
        wanted: "a component",
        reason: "it is not there".to_owned(),
        next: "run the demo from the sources with `cargo xtask demo`, which builds the plugins first".to_owned(),
    }
}

fn hostile(plugins: &Path) -> Result<Vec<u8>, Error> {
    let path: PathBuf = plugins.join("hostile/loop.wat");
    let unusable = |reason: String| Error::Unusable {
        path: path.clone(),
        wanted: "a component in text form",
        reason,
        next: "restore the file".to_owned(),
    };
    let text = file::read(&path, DOCUMENT_BYTES_MAX)?;
    let component = wat::parse_bytes(&text).map_err(|error| unusable(error.to_string()))?;
    let manifest = Manifest::parse_toml(HOSTILE)
        .unwrap_or_else(|issues| unreachable!("the manifest is a constant, a test reads it: {issues:?}"));
    bulkhead_trust::pack(&component, &manifest, &Files::new(), &Files::new(), None, &StructuralLimits::DEFAULT)
        .map_err(|refusals| Error::Refused { subject: path.display().to_string(), refusals })
}

/// The policy that lets this author ship the demo's plugins; also left in `path`, to look at.
fn allowing(author: &SigningKey, path: &Path) -> Result<Policy, Error> {
    let text = format!(
        r#"version = 1
expires = "2099-12-31"

[[principal]]
name = "demo-author"
keys = ["{}"]

[[allow]]
id = "demo"
plugin = "acme.*"
version = "*"
signers = [{{ role = "author", of = ["demo-author"], threshold = 1 }}]
tenants = ["*"]
reason = "the demo"

[allow.ceiling]
interfaces = ["bulkhead:plugin/sql", "bulkhead:plugin/kv", "bulkhead:plugin/blob"]
"#,
        author.verifying_key().to_policy_text()
    );
    file::write(path, text.as_bytes(), file::PUBLIC, Existing::Replace)?;
    crate::commands::verify::read_policy(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hostile_plugins_manifest_is_valid() {
        assert!(Manifest::parse_toml(HOSTILE).is_ok());
    }

    #[test]
    fn the_demos_policy_is_valid_and_allows_its_author() {
        let folder = tempfile::tempdir().unwrap();
        let author = SigningKey::generate([7; 32]);

        let policy = allowing(&author, &folder.path().join("policy.toml")).unwrap();

        assert_eq!(policy.version, 1);
        assert_eq!(policy.principals[0].keys, [author.verifying_key()]);
    }
}
