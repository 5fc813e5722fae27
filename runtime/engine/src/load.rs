//! From an admission to a component that can run: authenticated code, linked imports, known exports, and one
//! bounded trial that proves the types.
//! It admits nothing; whoever makes an [`Admitted`] has decided.

use bulkhead_model::Digest;
use wasmtime::component::InstancePre;

use crate::cache::Key;
use crate::component::{Component, Exports, Inner};
use crate::engine::Engine;
use crate::error::Error;
use crate::settings::TABLES_PER_SLOT;
use crate::state::CallState;

/// The right to load one component once. Made by the host from a fresh verdict, consumed by the load: the
/// engine has no other way to compiled code.
#[derive(Debug)]
pub struct Admitted {
    digest: Digest,
    facts: Digest,
}

impl Admitted {
    /// A verdict on the component of `digest` whose recorded facts have the digest `facts`.
    pub fn new(digest: Digest, facts: Digest) -> Self {
        Self { digest, facts }
    }
}

impl Engine {
    /// Loads the compiled form of an admitted component. Reads one file and hashes it: about a millisecond.
    ///
    /// # Errors
    /// [`Error::NotCompiled`] and [`Error::CacheMismatch`] ask for another compilation; the others are final.
    #[expect(clippy::needless_pass_by_value, reason = "an admission is good for one load")]
    pub fn load(&self, admitted: Admitted) -> Result<Component, Error> {
        let Admitted { digest, facts } = admitted;
        let engine = &self.inner;
        let compiled = engine.cache.load(&engine.wasm, Key { component: &digest, facts: &facts })?;
        let pre = engine
            .linker
            .instantiate_pre(&compiled)
            .map_err(|error| Error::IncompatibleContract(format!("{error:#}")))?;
        let exports = Exports::find(&pre)?;
        let slots = slots(&pre)?;
        Ok(Component { inner: std::sync::Arc::new(Inner { digest, pre, exports, slots }) })
    }
}

/// Instance slots that one instance takes. A slot has one memory and a few tables.
fn slots(pre: &InstancePre<CallState>) -> Result<u32, Error> {
    let needs = pre
        .component()
        .resources_required()
        .ok_or_else(|| Error::IncompatibleContract("it imports a core module".to_owned()))?;
    Ok(needs.num_memories.max(needs.num_tables.div_ceil(TABLES_PER_SLOT)).max(1))
}
