//! The registry as a whole: what it holds, and the one place where a caller meets a repository.
//! What it does stands in one file per resource.

use std::sync::Arc;

use bulkhead_database::{Act, Db};
use bulkhead_model::{Actor, PluginId};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::access::{Caller, Scope, Token};
use crate::checks::Checks;
use crate::error::{Error, ErrorCode};
use crate::gate::Sight;
use crate::name::RepositoryName;
use crate::namespaces::Kind;
use crate::tokens::TOKEN_PREFIX;

/// Largest blob in a namespace of plugins, in bytes.
pub const PLUGIN_BLOB_BYTES_MAX: u64 = 32 << 20;
/// Most repositories of a namespace.
const REPOSITORIES_MAX: i64 = 10_000;
/// Artifacts that are read into memory and checked at once.
const CHECKS_AT_ONCE: usize = 2;
/// Longest secret in bytes.
const SECRET_BYTES_MAX: usize = 256;

/// What the registry needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest blob in an open namespace, in bytes.
    pub open_blob_bytes_max: u64,
    /// Now, in microseconds since 1970.
    pub now: fn() -> i64,
    /// The host's judgment of bytes.
    pub checks: Checks,
}

/// The registry. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) db: Db,
    pub(crate) config: Config,
    pub(crate) checking: Arc<Semaphore>,
}

/// A repository that a caller may use.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) name: RepositoryName,
    pub(crate) kind: Kind,
    /// The plugin whose it is, in a namespace of plugins.
    pub(crate) plugin: Option<PluginId>,
    /// What the caller sees of it.
    pub(crate) sight: Sight,
}

impl Registry {
    /// The registry in the host's tables.
    pub fn new(db: Db, config: Config) -> Self {
        Self { db, config, checking: Arc::new(Semaphore::new(CHECKS_AT_ONCE)) }
    }

    /// Who holds a secret; without one, nobody that is known. A secret that nobody holds is refused.
    pub async fn authenticate(&self, secret: Option<&str>) -> Result<Caller, Error> {
        let Some(secret) = secret else { return Ok(Caller::Anonymous) };
        if !secret.starts_with(TOKEN_PREFIX) || secret.len() > SECRET_BYTES_MAX {
            return Err(unauthorized());
        }
        let found = self.db.find_token(&hash(secret), self.now()).await?.ok_or_else(unauthorized)?;
        // What cannot be read, since another version wrote it, allows nothing.
        let patterns = found.repositories.split(' ').filter_map(|text| text.parse().ok()).collect();
        let scopes = found.scopes.split(' ').filter_map(|text| text.parse().ok()).collect();
        Ok(Caller::Token(Token { id: found.token_id, name: found.name, patterns, scopes }))
    }

    /// The repository, if the caller has one of `scopes` in it.
    pub(crate) async fn repository(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        scopes: &[Scope],
    ) -> Result<Repository, Error> {
        let namespace = self.db.find_namespace(name.namespace()).await?;
        let is_public = namespace.as_ref().is_some_and(|row| row.is_public) && scopes == [Scope::Pull];
        match caller {
            _ if is_public => {}
            Caller::Anonymous => return Err(unauthorized()),
            Caller::Token(token) if scopes.iter().any(|scope| token.allows(*scope, name)) => {}
            Caller::Token(_) => {
                let wanted: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                let message = format!("the token does not allow `{}` in `{name}`", wanted.join("` or `"));
                return Err(Error::refused(ErrorCode::Denied, message));
            }
        }
        let Some(namespace) = namespace else {
            let message = format!("the namespace `{}` is not granted to anybody", name.namespace());
            return Err(Error::refused(ErrorCode::NameUnknown, message));
        };
        let kind = Kind::of(&namespace.kind)?;
        let plugin = match kind {
            Kind::Open => None,
            Kind::Plugin => Some(name.plugin().ok_or_else(|| {
                let message =
                    format!("in a namespace of plugins a repository is `<namespace>/<name>`, `{name}` is none");
                Error::refused(ErrorCode::NameInvalid, message)
            })?),
        };
        Ok(Repository { name: name.clone(), kind, plugin, sight: Sight::of(caller, name, kind) })
    }

    /// Makes a repository known at its first push. A name that looks like another's is refused.
    pub(crate) async fn make_repository(&self, repository: &Repository) -> Result<(), Error> {
        let name = repository.name.as_str();
        if self.db.has_repository(name).await? {
            return Ok(());
        }
        let normal_form = repository.normal_form();
        let mut tx = self.db.begin().await?;
        if let Some(other) = tx.find_repository_lookalike(&normal_form).await?.filter(|other| other != name) {
            let message = format!("`{name}` looks like `{other}`, which exists");
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        let namespace = repository.name.namespace();
        if tx.count_repositories(namespace).await? >= REPOSITORIES_MAX {
            let message = format!("the namespace `{namespace}` has {REPOSITORIES_MAX} repositories, as many as it may");
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        tx.put_repository(name, namespace, &normal_form, self.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Answers whether a caller is known at all.
    pub fn greet(&self, caller: &Caller) -> Result<(), Error> {
        match caller {
            Caller::Anonymous => Err(unauthorized()),
            Caller::Token(_) => Ok(()),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        (self.config.now)()
    }

    /// The largest blob that a repository takes, in bytes.
    pub(crate) fn blob_bytes_max(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Open => self.config.open_blob_bytes_max,
            Kind::Plugin => PLUGIN_BLOB_BYTES_MAX,
        }
    }

    /// An act of a caller, for the audit log.
    pub(crate) fn act(&self, caller: &Caller) -> Act {
        match caller {
            Caller::Token(token) => Act { actor: token.subject(), at: self.now() },
            Caller::Anonymous => Act::new(&Actor::system(), self.now()),
        }
    }
}

impl Repository {
    fn normal_form(&self) -> String {
        match (&self.kind, &self.plugin) {
            (Kind::Plugin, Some(plugin)) => {
                let normal = crate::lookalike::normal_form;
                format!("{}/{}", normal(plugin.namespace()), normal(plugin.name()))
            }
            // Only names of plugins are read by people who decide by them.
            _ => self.name.as_str().to_owned(),
        }
    }
}

/// A token is needed.
pub(crate) fn unauthorized() -> Error {
    Error::refused(ErrorCode::Unauthorized, "this needs a token of the registry, as the password or as a bearer token")
}

/// How a secret is stored.
pub(crate) fn hash(secret: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}
