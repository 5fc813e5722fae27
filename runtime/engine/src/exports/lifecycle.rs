//! `lifecycle`: start and end of an enabled plugin.
//! It keeps no state; the host decides when each is called.

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_model::Entry;

use crate::component::Exports;
use crate::exports::Export;
use crate::instance::Instance;

/// One of the three functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Init,
    Ready,
    Shutdown,
}

impl Export for Lifecycle {
    type Answer = ();

    fn entry(&self) -> Entry {
        match self {
            Self::Init => Entry::Init,
            Self::Ready => Entry::Ready,
            Self::Shutdown => Entry::Shutdown,
        }
    }

    fn missing(&self, exports: &Exports) -> Option<&'static str> {
        exports.lifecycle.is_none().then_some("lifecycle")
    }

    fn request_bytes(&self) -> usize {
        0
    }

    async fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        let (guest, store) = instance.lifecycle()?;
        match self {
            Self::Init => guest.call_init(store, context).await,
            Self::Ready => guest.call_ready(store, context).await,
            Self::Shutdown => guest.call_shutdown(store, context).await,
        }
    }

    fn response_bytes((): &()) -> usize {
        0
    }
}
