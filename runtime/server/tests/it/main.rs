//! The server as its clients see it: a real host on SQLite, real sockets. What plugins do behind the gateway is proven end
//! to end elsewhere.

mod admin;
#[cfg(test)]
mod client;
mod connection;
#[cfg(test)]
mod gateway;
mod identity;
#[cfg(test)]
mod leaving;
mod reference;
mod shutdown;
mod upload;
