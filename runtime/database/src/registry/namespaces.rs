//! Namespaces and the repositories in them. Both are unique by what they look like as well.
//! What looks alike is `registry/oci`'s to say.

use bulkhead_model::log::Event;

use crate::audit::Act;
use crate::db::{Tx, on_engine, single_reads};
use crate::error::Error;

/// A namespace that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRow {
    /// Its name: the first part of its repositories' names.
    pub namespace: String,
    /// `open` or `plugin`.
    pub kind: String,
    /// Whether everybody may pull, without a token.
    pub is_public: bool,
    /// For whom it is.
    pub owner: String,
    /// Who granted it.
    pub granted_by: String,
    /// When, in microseconds since 1970.
    pub created_at: i64,
}

/// A namespace to be granted.
#[derive(Clone, Copy, Debug)]
pub struct NewNamespace<'a> {
    /// Its name.
    pub namespace: &'a str,
    /// What the name looks like.
    pub normal_form: &'a str,
    /// `open` or `plugin`.
    pub kind: &'a str,
    /// Whether everybody may pull.
    pub is_public: bool,
    /// For whom it is.
    pub owner: &'a str,
}

type Columns = (String, String, i64, String, String, i64);

impl Tx {
    /// Grants a namespace. One that exists, or looks like one that does, is a conflict.
    pub async fn insert_namespace(&mut self, namespace: &NewNamespace<'_>, act: &Act) -> Result<(), Error> {
        const INSERT_NAMESPACE: &str = "INSERT INTO registry_namespaces \
             (namespace, normal_form, kind, is_public, owner, granted_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_NAMESPACE)
                .bind(namespace.namespace)
                .bind(namespace.normal_form)
                .bind(namespace.kind)
                .bind(i64::from(namespace.is_public))
                .bind(namespace.owner)
                .bind(&act.actor)
                .bind(act.at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_namespace"))?;
        let detail = serde_json::json!({
            "namespace": namespace.namespace, "kind": namespace.kind, "owner": namespace.owner, "public": namespace.is_public
        });
        self.append_audit(act, "registry.namespace.grant", None, None, &detail.to_string()).await?;
        let event = Event::NamespaceGrant {
            namespace: namespace.namespace.to_owned(),
            kind: namespace.kind.to_owned(),
            owner: namespace.owner.to_owned(),
            public: namespace.is_public,
        };
        self.append_log(event, act).await.map(drop)
    }

    /// The namespace, if it was granted.
    pub async fn find_namespace(&mut self, namespace: &str) -> Result<Option<NamespaceRow>, Error> {
        const FIND_NAMESPACE: &str = "SELECT namespace, kind, is_public, owner, granted_by, created_at \
             FROM registry_namespaces WHERE namespace = $1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_NAMESPACE).bind(namespace).fetch_optional(conn).await)
                .map_err(Error::query("find_namespace"))?;
        Ok(found.map(row))
    }

    /// The namespace with this normal form: what a new name would be taken for.
    pub async fn find_lookalike(&mut self, normal_form: &str) -> Result<Option<String>, Error> {
        const FIND_LOOKALIKE: &str = "SELECT namespace FROM registry_namespaces WHERE normal_form = $1";
        on_engine!(self, |conn| sqlx::query_scalar(FIND_LOOKALIKE).bind(normal_form).fetch_optional(conn).await)
            .map_err(Error::query("find_lookalike"))
    }

    /// Namespaces behind `after`, by name.
    pub async fn list_namespaces(&mut self, after: &str, limit: u32) -> Result<Vec<NamespaceRow>, Error> {
        const LIST_NAMESPACES: &str = "SELECT namespace, kind, is_public, owner, granted_by, created_at \
             FROM registry_namespaces WHERE namespace > $1 ORDER BY namespace LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| sqlx::query_as(LIST_NAMESPACES)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await)
        .map_err(Error::query("list_namespaces"))?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Versions of a namespace's plugins that were ever released.
    pub async fn count_released(&mut self, namespace: &str) -> Result<i64, Error> {
        const COUNT_RELEASED: &str = "SELECT COUNT(*) FROM registry_releases \
             JOIN registry_repositories ON registry_repositories.repository = registry_releases.repository \
             WHERE namespace = $1 AND released_at IS NOT NULL";
        on_engine!(self, |conn| sqlx::query_scalar(COUNT_RELEASED).bind(namespace).fetch_one(conn).await)
            .map_err(Error::query("count_released"))
    }

    /// Takes a namespace back with all that is in it; says whether it was there. Bytes that nobody else holds go by and by.
    pub async fn delete_namespace(&mut self, namespace: &str, act: &Act) -> Result<bool, Error> {
        const CONTENTS: [&str; 9] = [
            "DELETE FROM registry_chunks WHERE content_id IN (SELECT upload_id FROM registry_uploads WHERE repository IN \
             (SELECT repository FROM registry_repositories WHERE namespace = $1))",
            "DELETE FROM registry_uploads WHERE repository IN (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_bundles WHERE repository IN (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            // A version that is released meanwhile keeps its repository, and so the namespace: the act fails as a whole.
            "DELETE FROM registry_releases WHERE released_at IS NULL AND repository IN \
             (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_tags WHERE repository IN (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_manifest_blobs WHERE repository IN \
             (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_manifest_children WHERE repository IN \
             (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_manifests WHERE repository IN (SELECT repository FROM registry_repositories WHERE namespace = $1)",
            "DELETE FROM registry_links WHERE repository IN (SELECT repository FROM registry_repositories WHERE namespace = $1)",
        ];
        const DELETE_REPOSITORIES: &str = "DELETE FROM registry_repositories WHERE namespace = $1";
        const DELETE_NAMESPACE: &str = "DELETE FROM registry_namespaces WHERE namespace = $1";
        let mut deleted = 0;
        for statement in CONTENTS.into_iter().chain([DELETE_REPOSITORIES, DELETE_NAMESPACE]) {
            deleted = on_engine!(self, |conn| sqlx::query(statement)
                .bind(namespace)
                .execute(conn)
                .await
                .map(|done| done.rows_affected()))
            .map_err(Error::query("delete_namespace"))?;
        }
        if deleted > 0 {
            let detail = serde_json::json!({ "namespace": namespace });
            self.append_audit(act, "registry.namespace.delete", None, None, &detail.to_string()).await?;
        }
        Ok(deleted > 0)
    }

    /// Whether anything was pushed, or begun to be, to a repository.
    pub async fn has_repository(&mut self, repository: &str) -> Result<bool, Error> {
        const HAS_REPOSITORY: &str = "SELECT COUNT(*) FROM registry_repositories WHERE repository = $1";
        let count: i64 =
            on_engine!(self, |conn| sqlx::query_scalar(HAS_REPOSITORY).bind(repository).fetch_one(conn).await)
                .map_err(Error::query("has_repository"))?;
        Ok(count > 0)
    }

    /// Holds a repository to the end of the transaction: another that does so waits.
    pub async fn lock_repository(&mut self, repository: &str) -> Result<(), Error> {
        const LOCK_REPOSITORY: &str = "UPDATE registry_repositories SET namespace = namespace WHERE repository = $1";
        on_engine!(self, |conn| sqlx::query(LOCK_REPOSITORY).bind(repository).execute(conn).await.map(drop))
            .map_err(Error::query("lock_repository"))
    }

    /// Repositories of a namespace.
    pub async fn count_repositories(&mut self, namespace: &str) -> Result<i64, Error> {
        const COUNT_REPOSITORIES: &str = "SELECT COUNT(*) FROM registry_repositories WHERE namespace = $1";
        on_engine!(self, |conn| sqlx::query_scalar(COUNT_REPOSITORIES).bind(namespace).fetch_one(conn).await)
            .map_err(Error::query("count_repositories"))
    }

    /// The repository with this normal form.
    pub async fn find_repository_lookalike(&mut self, normal_form: &str) -> Result<Option<String>, Error> {
        const FIND_REPOSITORY_LOOKALIKE: &str = "SELECT repository FROM registry_repositories WHERE normal_form = $1";
        on_engine!(self, |conn| sqlx::query_scalar(FIND_REPOSITORY_LOOKALIKE)
            .bind(normal_form)
            .fetch_optional(conn)
            .await)
        .map_err(Error::query("find_repository_lookalike"))
    }

    /// Makes a repository known; one that is stays as it is. A lookalike that another writer makes meanwhile is a conflict.
    pub async fn put_repository(
        &mut self,
        repository: &str,
        namespace: &str,
        normal_form: &str,
        at: i64,
    ) -> Result<(), Error> {
        const PUT_REPOSITORY: &str = "INSERT INTO registry_repositories (repository, namespace, normal_form, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (repository) DO NOTHING";
        on_engine!(self, |conn| {
            sqlx::query(PUT_REPOSITORY)
                .bind(repository)
                .bind(namespace)
                .bind(normal_form)
                .bind(at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_repository"))
    }
}

single_reads! {
    /// The namespace, if it was granted.
    find_namespace(namespace: &str) -> Option<NamespaceRow>;
    /// Namespaces behind `after`, by name.
    list_namespaces(after: &str, limit: u32) -> Vec<NamespaceRow>;
    /// Whether anything was pushed, or begun to be, to a repository.
    has_repository(repository: &str) -> bool;
}

fn row((namespace, kind, is_public, owner, granted_by, created_at): Columns) -> NamespaceRow {
    NamespaceRow { namespace, kind, is_public: is_public != 0, owner, granted_by, created_at }
}
