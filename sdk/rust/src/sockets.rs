//! The extension point `sockets`: the plugin's end of a websocket that the host owns.
//! A socket is a number that means something to this tenant and plugin alone.

use crate::bindings::sockets::exports::bulkhead::plugin::sockets as wire;
use crate::imports::types;
use crate::{Context, Export, PluginError};

pub use crate::imports::types::SocketMessage;

/// Answers the websockets that the manifest declares.
pub trait Sockets: 'static {
    /// A socket was opened on `path`.
    ///
    /// # Errors
    /// Any [`PluginError`]: it is closed again.
    fn on_open(ctx: &Context, socket: u64, path: &str, query: Option<&str>) -> Result<(), PluginError>;

    /// A message came.
    ///
    /// # Errors
    /// Any [`PluginError`]: logged; the socket stays open.
    fn on_message(ctx: &Context, socket: u64, message: &SocketMessage) -> Result<(), PluginError>;

    /// The socket is closed.
    #[expect(unused_variables, reason = "the names are for those who implement it")]
    fn on_close(ctx: &Context, socket: u64) {}
}

impl<T: Sockets> wire::Guest for Export<T> {
    fn on_open(ctx: Context, socket: u64, path: String, query: Option<String>) -> Result<(), types::PluginError> {
        Ok(T::on_open(&ctx, socket, &path, query.as_deref())?)
    }

    fn on_message(ctx: Context, socket: u64, message: SocketMessage) -> Result<(), types::PluginError> {
        Ok(T::on_message(&ctx, socket, &message)?)
    }

    fn on_close(ctx: Context, socket: u64) {
        T::on_close(&ctx, socket);
    }
}
