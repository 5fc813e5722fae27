//! `config`: the tenant's configuration of this plugin.
//! It validates nothing; the host stored it validated, with defaults applied.

use bulkhead_bindings::bulkhead::plugin::config::Host;
use bulkhead_model::Interface;

use crate::state::CallState;

impl Host for CallState {
    fn get(&mut self) -> wasmtime::Result<String> {
        self.admit_baseline(Interface::Config, self.shared.configuration.json.len())?;
        Ok(self.shared.configuration.json.as_ref().to_owned())
    }

    fn version(&mut self) -> wasmtime::Result<u32> {
        self.admit_baseline(Interface::Config, 0)?;
        Ok(self.shared.configuration.version)
    }
}
