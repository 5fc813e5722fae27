//! Who acts: the verified identity behind a request.
//! It does not verify tokens; a value of this type was made by whoever did.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::id::{PermissionName, PluginId, TenantId};

/// Platform role of a token. No role implies a permission of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the host: plugins, tenants, kill switches.
    SuperAdmin,
    /// Reviews signers, policy, audit.
    Security,
    /// Runs one tenant.
    TenantAdmin,
    /// The host application: calls hooks, publishes events.
    Host,
    /// An end user of one tenant.
    Member,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::SuperAdmin, Self::Security, Self::TenantAdmin, Self::Host, Self::Member];

    /// The role as tokens write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super_admin",
            Self::Security => "security",
            Self::TenantAdmin => "tenant_admin",
            Self::Host => "host",
            Self::Member => "member",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of super_admin, security, tenant_admin, host, member")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}

/// A verified identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's `sub`.
    pub subject: String,
    /// The tenant that the token is bound to, if any.
    pub tenant: Option<TenantId>,
    /// Platform roles.
    pub roles: BTreeSet<Role>,
    /// Permissions in full form, for example `acme.crm.deals.view`.
    pub permissions: BTreeSet<String>,
}

impl Actor {
    /// The host itself, as the actor of its own recovery steps in the audit log.
    pub fn system() -> Self {
        Self { subject: "bulkhead".to_owned(), tenant: None, roles: BTreeSet::new(), permissions: BTreeSet::new() }
    }

    /// Whether the actor has this platform role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the actor has `permission` of `plugin`.
    pub fn has_permission(&self, plugin: &PluginId, permission: &PermissionName) -> bool {
        self.permissions.contains(&permission.full(plugin))
    }
}
