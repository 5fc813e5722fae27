//! `authz`: what the end user of this call may do.
//! It answers about the call's own actor alone.

use bulkhead_bindings::bulkhead::plugin::authz::Host;
use bulkhead_model::Interface;

use crate::state::CallState;

impl Host for CallState {
    fn has(&mut self, permission: String) -> wasmtime::Result<bool> {
        self.admit_baseline(Interface::Authz, permission.len())?;
        let permissions = &self.call.actor.permissions;
        Ok(permissions.contains(&permission) || permissions.contains(&format!("{}.{permission}", self.shared.plugin)))
    }

    fn roles(&mut self) -> wasmtime::Result<Vec<String>> {
        self.admit_baseline(Interface::Authz, 0)?;
        Ok(self.call.actor.roles.iter().map(|role| role.as_str().to_owned()).collect())
    }
}
