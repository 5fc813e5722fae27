//! `hooks`: filters change a value, actions are told.
//! It orders no callbacks and knows no hook's schema; the host does.

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_model::Entry;

use crate::component::Exports;
use crate::exports::Export;
use crate::instance::Instance;

/// `hooks.apply-filter`.
pub(crate) struct ApplyFilter<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) args: &'a str,
}

/// `hooks.on-action`.
pub(crate) struct OnAction<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: &'a str,
}

impl Export for ApplyFilter<'_> {
    type Answer = Option<String>;

    fn entry(&self) -> Entry {
        Entry::Filter
    }

    fn missing(&self, exports: &Exports) -> Option<&'static str> {
        exports.hooks.is_none().then_some("hooks")
    }

    fn request_bytes(&self) -> usize {
        self.name.len().saturating_add(self.value.len()).saturating_add(self.args.len())
    }

    async fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> wasmtime::Result<Result<Option<String>, types::PluginError>> {
        let (guest, store) = instance.hooks()?;
        guest.call_apply_filter(store, context, self.name, self.value, self.args).await
    }

    fn response_bytes(answer: &Option<String>) -> usize {
        answer.as_ref().map_or(0, String::len)
    }
}

impl Export for OnAction<'_> {
    type Answer = ();

    fn entry(&self) -> Entry {
        Entry::Action
    }

    fn missing(&self, exports: &Exports) -> Option<&'static str> {
        exports.hooks.is_none().then_some("hooks")
    }

    fn request_bytes(&self) -> usize {
        self.name.len().saturating_add(self.args.len())
    }

    async fn call(
        self,
        instance: &mut Instance,
        context: types::CallContext<'_>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        let (guest, store) = instance.hooks()?;
        guest.call_on_action(store, context, self.name, self.args).await
    }

    fn response_bytes((): &()) -> usize {
        0
    }
}
