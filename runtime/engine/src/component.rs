//! A loaded component: ready to instantiate, its exports found by name and version.
//! It runs nothing.

use std::sync::Arc;

use bulkhead_bindings::exports::bulkhead::plugin::{health, hooks, lifecycle, routes};
use bulkhead_model::Digest;
use wasmtime::component::InstancePre;

use crate::error::Error;
use crate::state::CallState;

/// A component that was admitted, compiled, authenticated and linked. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) digest: Digest,
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) exports: Exports,
    /// Instance slots that one instance takes.
    pub(crate) slots: u32,
}

/// Where the interfaces are that the host can enter.
pub(crate) struct Exports {
    pub(crate) routes: Option<routes::GuestIndices>,
    pub(crate) hooks: Option<hooks::GuestIndices>,
    pub(crate) lifecycle: Option<lifecycle::GuestIndices>,
    pub(crate) health: Option<health::GuestIndices>,
}

impl Component {
    /// Digest of the component file.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// Names of the exported interfaces that this host enters, without package and version, in order.
    pub fn exports(&self) -> Vec<&'static str> {
        let exports = &self.inner.exports;
        let known = [
            ("health", exports.health.is_some()),
            ("hooks", exports.hooks.is_some()),
            ("lifecycle", exports.lifecycle.is_some()),
            ("routes", exports.routes.is_some()),
        ];
        known.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("digest", self.digest()).field("exports", &self.exports()).finish()
    }
}

impl Exports {
    /// Finds the exports of a linked component. One of our package that this host does not enter is refused:
    /// its author would wait for calls that never come.
    pub(crate) fn find(pre: &InstancePre<CallState>) -> Result<Self, Error> {
        let engine = pre.engine();
        let component = pre.component().component_type();
        let mut exports = Self { routes: None, hooks: None, lifecycle: None, health: None };
        for (name, _) in component.exports(engine) {
            let Some(interface) = name.strip_prefix("bulkhead:plugin/") else {
                continue;
            };
            let (interface, version) = interface.split_once('@').unwrap_or((interface, ""));
            let found = match interface {
                "routes" => routes::GuestIndices::new(pre).map(|indices| exports.routes = Some(indices)),
                "hooks" => hooks::GuestIndices::new(pre).map(|indices| exports.hooks = Some(indices)),
                "lifecycle" => lifecycle::GuestIndices::new(pre).map(|indices| exports.lifecycle = Some(indices)),
                "health" => health::GuestIndices::new(pre).map(|indices| exports.health = Some(indices)),
                _ => {
                    return Err(Error::IncompatibleContract(format!(
                        "it exports `{name}`, which this host does not call"
                    )));
                }
            };
            found.map_err(|error| {
                Error::IncompatibleContract(format!("its export `{interface}` of version `{version}`: {error:#}"))
            })?;
        }
        Ok(exports)
    }
}
