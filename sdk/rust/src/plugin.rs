//! `plugin!`: turns the named extension points of a struct into exports of the component.
//! It exports nothing that is not named, and nothing at all on the author's own machine.

use std::marker::PhantomData;

/// Carries an author's struct `T` to the generated exports: the traits of this crate are
/// implemented by `T`, the generated ones by `Export<T>`.
pub struct Export<T>(PhantomData<T>);

/// Exports the named extension points of a plugin's struct.
///
/// The names are those of the WIT interfaces, `config-migration` with an underscore; each needs the
/// trait of the same name. The manifest declares the same ones: the host refuses a component whose
/// exports and manifest disagree.
///
/// ```
/// use bulkhead_sdk::{Context, Health, Hooks, Report};
///
/// struct Acme;
///
/// bulkhead_sdk::plugin!(Acme: hooks, health);
///
/// impl Hooks for Acme {}
///
/// impl Health for Acme {
///     fn check(_ctx: &Context) -> Report {
///         Report::healthy()
///     }
/// }
/// ```
///
/// A name without its trait does not compile, also where nothing is exported:
///
/// ```compile_fail,E0277
/// struct Acme;
///
/// bulkhead_sdk::plugin!(Acme: hooks);
/// ```
#[macro_export]
macro_rules! plugin {
    ($plugin:ident: $($point:ident),+ $(,)?) => {
        $($crate::__export!($plugin $point);)+
    };
}

/// One extension point of `plugin!`. The assertion makes a missing trait an error also where
/// nothing is exported.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident routes) => {
        $crate::__export!($plugin, Routes, routes, export_routes);
    };
    ($plugin:ident hooks) => {
        $crate::__export!($plugin, Hooks, hooks, export_hooks);
    };
    ($plugin:ident events) => {
        $crate::__export!($plugin, Events, events, export_events);
    };
    ($plugin:ident jobs) => {
        $crate::__export!($plugin, Jobs, jobs, export_jobs);
    };
    ($plugin:ident services) => {
        $crate::__export!($plugin, Services, services, export_services);
    };
    ($plugin:ident lifecycle) => {
        $crate::__export!($plugin, Lifecycle, lifecycle, export_lifecycle);
    };
    ($plugin:ident health) => {
        $crate::__export!($plugin, Health, health, export_health);
    };
    ($plugin:ident guards) => {
        $crate::__export!($plugin, Guards, guards, export_guards);
    };
    ($plugin:ident sockets) => {
        $crate::__export!($plugin, Sockets, sockets, export_sockets);
    };
    ($plugin:ident config_migration) => {
        $crate::__export!($plugin, ConfigMigration, config_migration, export_config_migration);
    };
    ($plugin:ident $unknown:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($unknown),
            "` is not an extension point; known are routes, hooks, events, ",
            "jobs, services, lifecycle, health, guards, sockets, config_migration"
        ));
    };
    ($plugin:ident, $trait:ident, $module:ident, $export:ident) => {
        const _: () = {
            const fn implements<T: $crate::$trait>() {}
            implements::<$plugin>();
        };
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::Export<$plugin>;
    $crate::bindings::$module::$export!(Exported with_types_in $crate::bindings::$module);
        };
    };
}
