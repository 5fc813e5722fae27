//! The server as its clients see it: a real host on SQLite, real sockets. No plugin is needed for what is proven here;
//! plugins behind the gateway are proven end to end elsewhere.

mod admin;
#[cfg(test)]
mod client;
mod connection;
mod identity;
mod reference;
mod shutdown;
mod upload;
