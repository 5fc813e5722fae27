//! The WIT package as Rust, generated: the imports once, then one small world for each extension
//! point that takes its shared types from them, so that a plugin exports only what it names.
//! Nothing here is written by hand or meant for authors: the modules beside this one are.

#![expect(clippy::mem_forget, reason = "generated: an export's answer is freed by its post-return call")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "imports",
    generate_unused_types: true,
    additional_derives: [Clone, PartialEq],
    additional_derives_ignore: ["transaction", "cursor", "writer"],
});

/// Binds one extension point in a module of its own. Without the `with` list each of them would
/// carry a second, different `CallContext`.
macro_rules! extension_point {
    ($module:ident, $world:tt, $export:tt) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                additional_derives: [Clone, PartialEq],
                with: {
                    "bulkhead:plugin/types@0.1.0": crate::bindings::bulkhead::plugin::types,
                    "bulkhead:plugin/storage-types@0.1.0": crate::bindings::bulkhead::plugin::storage_types,
                    "bulkhead:plugin/log@0.1.0": crate::bindings::bulkhead::plugin::log,
                    "bulkhead:plugin/sql@0.1.0": crate::bindings::bulkhead::plugin::sql,
                    "bulkhead:plugin/kv@0.1.0": crate::bindings::bulkhead::plugin::kv,
                    "bulkhead:plugin/blob@0.1.0": crate::bindings::bulkhead::plugin::blob,
                    "bulkhead:plugin/views@0.1.0": crate::bindings::bulkhead::plugin::views,
                    "bulkhead:plugin/http@0.1.0": crate::bindings::bulkhead::plugin::http,
                    "bulkhead:plugin/events-publish@0.1.0": crate::bindings::bulkhead::plugin::events_publish,
                    "bulkhead:plugin/config@0.1.0": crate::bindings::bulkhead::plugin::config,
                    "bulkhead:plugin/secrets@0.1.0": crate::bindings::bulkhead::plugin::secrets,
                    "bulkhead:plugin/services-call@0.1.0": crate::bindings::bulkhead::plugin::services_call,
                    "bulkhead:plugin/hooks-dispatch@0.1.0": crate::bindings::bulkhead::plugin::hooks_dispatch,
                    "bulkhead:plugin/authz@0.1.0": crate::bindings::bulkhead::plugin::authz,
                    "bulkhead:plugin/sockets-send@0.1.0": crate::bindings::bulkhead::plugin::sockets_send,
                    "bulkhead:plugin/jobs-schedule@0.1.0": crate::bindings::bulkhead::plugin::jobs_schedule,
                    "bulkhead:plugin/signals@0.1.0": crate::bindings::bulkhead::plugin::signals,
                    "bulkhead:plugin/metrics@0.1.0": crate::bindings::bulkhead::plugin::metrics,
                    "bulkhead:plugin/crypto@0.1.0": crate::bindings::bulkhead::plugin::crypto,
                },
            });
        }
    };
}

extension_point!(hooks, "hooks-only", "export_hooks");
extension_point!(routes, "routes-only", "export_routes");
extension_point!(events, "events-only", "export_events");
extension_point!(jobs, "jobs-only", "export_jobs");
extension_point!(services, "services-only", "export_services");
extension_point!(lifecycle, "lifecycle-only", "export_lifecycle");
extension_point!(health, "health-only", "export_health");
extension_point!(guards, "guards-only", "export_guards");
extension_point!(sockets, "sockets-only", "export_sockets");
extension_point!(config_migration, "config-migration-only", "export_config_migration");
