//! What the end user of this call may do.
//! The permission of a route was checked by the host already: ask here for finer differences.

use crate::PluginError;
use crate::imports;

/// Whether the user has a permission: the short name of an own one (`notes.edit`), or the full name
/// of any. A call without a user has none.
#[must_use]
pub fn has(permission: &str) -> bool {
    imports::authz::has(permission)
}

/// Goes on only if the user has a permission.
///
/// # Errors
/// `Denied` with the permission's name.
pub fn require(permission: &str) -> Result<(), PluginError> {
    if has(permission) { Ok(()) } else { Err(PluginError::denied(format!("needs permission `{permission}`"))) }
}

/// The user's roles in this tenant.
#[must_use]
pub fn roles() -> Vec<String> {
    imports::authz::roles()
}
