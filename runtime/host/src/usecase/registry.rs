//! The registry's administration and its catalogue: who gets a namespace or a token, what is offered and by whom it is
//! signed, what is withdrawn. Pushing and pulling is the protocol's, not a use case here.

use std::sync::Arc;

use bulkhead_database::Act;
use bulkhead_model::{Actor, PluginId, Role, TrustLevel, Version};
use bulkhead_oci::{
    Caller, CatalogueQuery, Collected, ErrorCode, IssuedToken, ListedToken, NamespaceRow, NewNamespace, NewToken,
    Offered, State, TOKEN_PREFIX, Version as OfferedVersion,
};
use bulkhead_trust::{Bundle, Policy};

use crate::auth::{require, require_super_admin};
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::registry::CatalogueFacts;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

/// Who asks the registry outside its protocol.
#[derive(Clone, Debug)]
pub enum RegistryActor {
    /// A person or program with a token of the host.
    Person(Arc<Actor>),
    /// The holder of a token of the registry.
    Token(Caller),
}

impl Host {
    /// Who holds a bearer token, of the host or of its registry.
    pub async fn registry_actor(&self, token: &str) -> Result<RegistryActor, Error> {
        if token.starts_with(TOKEN_PREFIX) {
            return Ok(RegistryActor::Token(self.inner.registry.authenticate(Some(token)).await?));
        }
        self.authenticate(token).map(RegistryActor::Person)
    }

    /// Grants a namespace of the registry.
    pub async fn grant_namespace(&self, actor: &Actor, new: &NewNamespace) -> Result<NamespaceRow, Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        self.inner.registry.grant_namespace(new, &act).await.map_err(|error| match error.code() {
            // Taken, or it looks like one that is.
            Some(ErrorCode::Denied) => Error::Conflict(error.to_string()),
            _ => error.into(),
        })
    }

    /// Namespaces of the registry, by name.
    pub async fn list_namespaces(&self, actor: &Actor, page: &PageRequest) -> Result<Page<NamespaceRow>, Error> {
        require_super_admin(actor)?;
        let after = page.cursor.as_deref().unwrap_or("");
        let rows = self.inner.registry.namespaces(after, page.limit.saturating_add(1)).await?;
        Ok(page_of(rows, page.limit, |row| row.namespace.clone()))
    }

    /// Takes a namespace back, `with_all_in_it` or only if it is empty; never one with released versions.
    pub async fn delete_namespace(&self, actor: &Actor, namespace: &str, with_all_in_it: bool) -> Result<(), Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        let done = self.inner.registry.delete_namespace(namespace, with_all_in_it, &act).await;
        done.map_err(|error| match error.code() {
            Some(ErrorCode::Denied) => Error::Conflict(error.to_string()),
            Some(ErrorCode::NameUnknown) => {
                Error::not_found("namespace", &namespace.chars().take(80).collect::<String>())
            }
            _ => error.into(),
        })
    }

    /// Makes a token of the registry.
    pub async fn issue_registry_token(&self, actor: &Actor, new: &NewToken) -> Result<IssuedToken, Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        Ok(self.inner.registry.issue_token(new, &act).await?)
    }

    /// Tokens of the registry, without their secrets.
    pub async fn list_registry_tokens(&self, actor: &Actor, page: &PageRequest) -> Result<Page<ListedToken>, Error> {
        require_super_admin(actor)?;
        let after = page.cursor.as_deref().unwrap_or("");
        let tokens = self.inner.registry.tokens(after, page.limit.saturating_add(1)).await?;
        Ok(page_of(tokens, page.limit, |token| token.id.clone()))
    }

    /// Ends a token of the registry at once.
    pub async fn revoke_registry_token(&self, actor: &Actor, id: &str) -> Result<(), Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        if self.inner.registry.revoke_token(id, &act).await? {
            Ok(())
        } else {
            Err(Error::not_found("token", &id.chars().take(80).collect::<String>()))
        }
    }

    /// Collects what nobody refers to in the registry, now.
    pub async fn collect_registry(&self, actor: &Actor) -> Result<Collected, Error> {
        require_super_admin(actor)?;
        Ok(self.inner.registry.collect().await?)
    }

    /// The plugins that the registry offers to who asks, by id.
    pub async fn registry_plugins(
        &self,
        who: &RegistryActor,
        search: &str,
        page: &PageRequest,
    ) -> Result<Page<view::OfferedPlugin>, Error> {
        let caller = reader(who)?;
        let query = CatalogueQuery {
            search: search.to_owned(),
            after: page.cursor.clone().unwrap_or_default(),
            limit: page.limit,
        };
        let found = self.inner.registry.catalogue(caller, &query).await?;
        let policy = self.inner.policy.load();
        let items = found.items.into_iter().map(|offered| view_of(&policy, offered)).collect();
        Ok(Page { items, next_cursor: found.next })
    }

    /// One plugin that the registry offers, with all its versions.
    pub async fn registry_plugin(&self, who: &RegistryActor, plugin: &PluginId) -> Result<view::OfferedPlugin, Error> {
        let offered = self.inner.registry.offered(reader(who)?, plugin).await?;
        Ok(view_of(&self.inner.policy.load(), offered))
    }

    /// Withdraws a version with a reason, or offers it again without one.
    pub async fn yank(
        &self,
        who: &RegistryActor,
        plugin: &PluginId,
        version: &Version,
        reason: Option<&str>,
    ) -> Result<view::OfferedPlugin, Error> {
        let (caller, act) = match who {
            RegistryActor::Person(actor) => {
                require_super_admin(actor)?;
                (None, Act::new(actor, clock::now_micros()))
            }
            RegistryActor::Token(caller) => (Some(caller), Act::system(clock::now_micros())),
        };
        let registry = &self.inner.registry;
        registry.yank(caller, plugin, &version.to_string(), reason, &act).await?;
        let offered = registry.offered(None, plugin).await?;
        Ok(view_of(&self.inner.policy.load(), offered))
    }
}

/// As whom the catalogue is read: a person who runs plugins sees all of it.
fn reader(who: &RegistryActor) -> Result<Option<&Caller>, Error> {
    match who {
        RegistryActor::Person(actor) => {
            let roles = [Role::SuperAdmin, Role::Security, Role::TenantAdmin];
            require(actor, &roles, "super_admin, security or tenant_admin")?;
            Ok(None)
        }
        RegistryActor::Token(caller) => Ok(Some(caller)),
    }
}

fn view_of(policy: &Policy, offered: Offered) -> view::OfferedPlugin {
    let Offered { plugin, versions } = offered;
    let facts: CatalogueFacts = versions
        .iter()
        .find(|version| version.state == State::Released && version.row.yanked_at.is_none())
        .or(versions.first())
        .and_then(|version| serde_json::from_str(&version.row.facts).ok())
        .unwrap_or_default();
    let versions: Vec<view::OfferedVersion> = versions
        .into_iter()
        .map(|version| view::OfferedVersion {
            trust: trust(policy, &plugin, &version),
            signers: version
                .bundles
                .iter()
                .filter_map(|bundle| signer(policy, bundle, &version.row.artifact_digest))
                .collect(),
            version: version.row.version,
            digest: version.row.artifact_digest,
            size_bytes: version.row.size_bytes,
            downloads: version.row.downloads,
            pushed_by: version.row.pushed_by,
            created_at: version.row.created_at,
            state: match version.state {
                State::Released if version.row.yanked_at.is_some() => "yanked",
                state => state.as_str(),
            },
            reasons: version.reasons,
            yanked_at: version.row.yanked_at,
            yank_reason: version.row.yank_reason,
        })
        .collect();
    view::OfferedPlugin { id: plugin, facts, versions }
}

/// The level that policy gives to a version for who signed it.
fn trust(policy: &Policy, plugin: &PluginId, version: &OfferedVersion) -> Option<TrustLevel> {
    let (number, digest) = (version.row.version.parse().ok()?, version.row.artifact_digest.parse().ok()?);
    let bundles: Vec<&[u8]> = version.bundles.iter().map(Vec::as_slice).collect();
    bulkhead_trust::admit::level((plugin, &number), &digest, &bundles, policy, clock::now())
}

/// Who signed: a principal of the policy whose key verifies, or the key that the bundle claims.
fn signer(policy: &Policy, bundle: &[u8], digest: &str) -> Option<view::RegistrySigner> {
    let bundle = Bundle::parse(bundle).ok()?;
    let role = |is_review: bool| if is_review { "reviewer" } else { "author" };
    for principal in &policy.principals {
        if let Ok(verified) = bundle.verify(&principal.keys) {
            return (verified.statement.digest.to_string() == digest).then(|| view::RegistrySigner {
                principal: Some(principal.name.clone()),
                key_id: verified.key.id().to_string(),
                role: role(verified.statement.review.is_some()),
            });
        }
    }
    let claims = bundle.claims().ok().filter(|claims| claims.digest.to_string() == digest)?;
    let key_id = data_encoding::BASE64.decode(bundle.hint().as_bytes()).ok();
    let key_id = key_id.map(|bytes| format!("sha256:{}", data_encoding::HEXLOWER.encode(&bytes))).unwrap_or_default();
    Some(view::RegistrySigner { principal: None, key_id, role: role(claims.review.is_some()) })
}
