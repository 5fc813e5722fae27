//! Everything that knows HTTP: status codes, headers, JSON shapes. One file per resource; `front` is what each request
//! passes first, `gateway` leads to plugins, `problem` is the only place that chooses a status for a failure.

mod audit;
mod body;
mod capabilities;
mod catalogue;
mod doctor;
mod endpoint;
mod extract;
pub(crate) mod front;
mod gateway;
mod guest_headers;
pub(crate) mod health;
mod hooks;
mod kill;
mod migrations;
mod oci;
pub(crate) mod openapi;
mod operations;
mod place;
mod plugins;
mod policy;
mod problem;
pub(crate) mod problems;
mod reach;
mod registry;
mod registry_log;
mod reviews;
mod revocations;
mod roots;
mod schemas;
mod tenant_plugins;
mod tenants;
mod upload;
mod usage;
mod wire;
