//! The extension point `events`: facts that other plugins or the host application published.
//! Deduplication is the plugin's: an event may come more than once, with the same id.

use crate::bindings::events::exports::bulkhead::plugin::events as wire;
use crate::imports::types;
use crate::{Context, Export, JsonText, PluginError};

pub use wire::Event;

/// Receives the events of the topics that the manifest subscribes to, in order for each key.
pub trait Events: 'static {
    /// Takes one event; 30 s of wall time.
    ///
    /// # Errors
    /// Any [`PluginError`]: it comes again later, up to 10 times, then it is a dead letter.
    fn handle(ctx: &Context, event: &Event) -> Result<(), PluginError>;
}

impl<T: Events> wire::Guest for Export<T> {
    fn handle(ctx: Context, event: Event) -> Result<(), types::PluginError> {
        Ok(T::handle(&ctx, &event)?)
    }
}

impl Event {
    /// The payload, to be parsed as the topic's schema says.
    #[must_use]
    pub fn json(&self) -> JsonText {
        JsonText::from_text(self.payload.as_str())
    }
}
