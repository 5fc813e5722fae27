//! Namespaces: granted by an administrator, of two kinds, and none looks like another.
//! Who may administer is the host's to decide.

use bulkhead_database::registry as rows;
use bulkhead_database::{Act, registry::NamespaceRow};

use crate::error::{Error, ErrorCode};
use crate::lookalike::normal_form;
use crate::name::is_part;
use crate::registry::Registry;

/// Longest namespace in bytes.
const NAMESPACE_BYTES_MAX: usize = 64;
/// Longest owner in bytes.
const OWNER_BYTES_MAX: usize = 200;

/// What a namespace takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever the protocol knows; it can be deleted.
    Open,
    /// Releases of plugins and their signatures; nothing is replaced or deleted.
    Plugin,
}

impl Kind {
    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Plugin => "plugin",
        }
    }

    pub(crate) fn of(text: &str) -> Result<Self, Error> {
        match text {
            "open" => Ok(Self::Open),
            "plugin" => Ok(Self::Plugin),
            _ => Err(bulkhead_database::Error::Corrupt { column: "kind" }.into()),
        }
    }
}

/// A namespace to be granted.
#[derive(Clone, Debug)]
pub struct NewNamespace {
    /// Its name.
    pub namespace: String,
    /// What it takes.
    pub kind: Kind,
    /// For whom it is.
    pub owner: String,
    /// Whether everybody may pull, without a token.
    pub is_public: bool,
}

impl Registry {
    /// Grants a namespace. One that exists or looks like one that does is refused with `DENIED`, a wrong name with
    /// `NAME_INVALID`.
    pub async fn grant_namespace(&self, new: &NewNamespace, act: &Act) -> Result<NamespaceRow, Error> {
        let NewNamespace { namespace, kind, owner, is_public } = new;
        check_name(namespace, *kind)?;
        if owner.is_empty() || owner.len() > OWNER_BYTES_MAX || owner.contains('\0') {
            let message = format!("an owner is 1 to {OWNER_BYTES_MAX} bytes long");
            return Err(Error::refused(ErrorCode::NameInvalid, message));
        }
        let normal_form = normal_form(namespace);
        let mut tx = self.db.begin().await?;
        if let Some(other) = tx.find_lookalike(&normal_form).await? {
            let message = if other == *namespace {
                format!("the namespace `{namespace}` is granted already")
            } else {
                format!("`{namespace}` looks like `{other}`, which is granted")
            };
            return Err(Error::refused(ErrorCode::Denied, message));
        }
        let row = rows::NewNamespace {
            namespace,
            normal_form: &normal_form,
            kind: kind.as_str(),
            is_public: *is_public,
            owner,
        };
        tx.insert_namespace(&row, act).await?;
        let granted = tx.find_namespace(namespace).await?;
        tx.commit().await?;
        granted.ok_or_else(|| bulkhead_database::Error::NotFound { what: "namespace", name: namespace.clone() }.into())
    }

    /// Takes a namespace back. One that is not empty is refused with `DENIED` unless everything in it is meant to go; one in
    /// which a plugin was ever released always is.
    pub async fn delete_namespace(&self, namespace: &str, with_all_in_it: bool, act: &Act) -> Result<(), Error> {
        let denied = |message: String| Err(Error::refused(ErrorCode::Denied, message));
        let mut tx = self.db.begin().await?;
        if tx.count_released(namespace).await? > 0 {
            return denied(format!("versions were released in `{namespace}`: it stays, yank what must not be found"));
        }
        let repositories = tx.count_repositories(namespace).await?;
        if repositories > 0 && !with_all_in_it {
            return denied(format!("`{namespace}` holds {repositories} repositories; `force` deletes them with it"));
        }
        if !tx.delete_namespace(namespace, act).await? {
            let message = format!("the namespace `{namespace}` is not granted to anybody");
            return Err(Error::refused(ErrorCode::NameUnknown, message));
        }
        Ok(tx.commit().await?)
    }

    /// Namespaces behind `after`, by name.
    pub async fn namespaces(&self, after: &str, limit: u32) -> Result<Vec<NamespaceRow>, Error> {
        Ok(self.db.list_namespaces(after, limit).await?)
    }
}

fn check_name(namespace: &str, kind: Kind) -> Result<(), Error> {
    let is_valid = match kind {
        Kind::Open => namespace.len() <= NAMESPACE_BYTES_MAX && is_part(namespace),
        // The first part of a plugin's id.
        Kind::Plugin => format!("{namespace}.name").parse::<bulkhead_model::PluginId>().is_ok(),
    };
    if is_valid {
        return Ok(());
    }
    let message = match kind {
        Kind::Open => format!("a namespace is at most {NAMESPACE_BYTES_MAX} bytes of `a-z`, `0-9`, `.`, `_`, `-`"),
        Kind::Plugin => {
            "a namespace of plugins is 2 to 32 bytes of `a-z`, `0-9` and single hyphens, such as `acme`".into()
        }
    };
    Err(Error::refused(ErrorCode::NameInvalid, message))
}
