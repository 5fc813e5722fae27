//! Whether manifest, imports, exports and files of one artifact tell the same story.
//! It knows no signer and no policy.

use bulkhead_model::manifest::Ui;
use bulkhead_model::{CONTRACT_VERSION, Code, Interface, Manifest};

use crate::exports::{Exports, ExtensionPoint};
use crate::files::Files;
use crate::imports::Imports;
use crate::refusal::Refusal;

/// Name of the OpenAPI document among the assets.
pub const OPENAPI_PATH: &str = "openapi.json";
/// Longest SELECT of a view in bytes.
pub const VIEW_BYTES_MAX: usize = 64 * 1024;

/// The manifest against what the bytes import and export, both ways.
pub(crate) fn with_component(manifest: &Manifest, imports: &Imports, exports: &Exports) -> Vec<Refusal> {
    let mut refusals = unserved(manifest);
    if !manifest.plugin.contract.matches(&CONTRACT_VERSION) {
        let detail = format!("built for contract `{}`, this host serves {CONTRACT_VERSION}", manifest.plugin.contract);
        refusals.push(Refusal::at(Code::IncompatibleContract, "/plugin/contract", detail));
    }
    for (declared, point, pointer) in [
        (!manifest.routes.is_empty(), ExtensionPoint::Routes, "/routes"),
        (!manifest.hooks.is_empty(), ExtensionPoint::Hooks, "/hooks"),
        (manifest.health.export, ExtensionPoint::Health, "/health/export"),
    ] {
        let name = point.as_str();
        let detail = match (declared, exports.has(point)) {
            (true, false) => format!("the manifest declares {name}, the component does not export `{name}`"),
            (false, true) => format!("the component exports `{name}`, the manifest declares none"),
            (true, true) | (false, false) => continue,
        };
        refusals.push(Refusal::at(Code::ManifestMismatch, pointer, detail));
    }
    let requested: Vec<Interface> = manifest.requested().collect();
    for interface in imports.interfaces() {
        if !interface.is_baseline() && !requested.contains(interface) {
            let detail = format!("the component imports `{}`, the manifest does not ask for it", interface.qualified());
            let pointer = match interface {
                Interface::Views => "/views/uses".to_owned(),
                other => format!("/capabilities/{other}"),
            };
            refusals.push(Refusal::at(Code::ManifestMismatch, pointer, detail));
        }
    }
    if !manifest.views.provides.is_empty() && !imports.interfaces().contains(&Interface::Sql) {
        let detail =
            format!("views are of the plugin's own tables, and it does not import `{}`", Interface::Sql.qualified());
        refusals.push(Refusal::at(Code::ManifestMismatch, "/views/provides", detail));
    }
    // Whom a plugin reads is what a tenant's admin consents to: a list that means nothing would be a lie.
    if !manifest.views.uses.is_empty() && !imports.interfaces().contains(&Interface::Views) {
        let detail =
            format!("the manifest uses views, the component does not import `{}`", Interface::Views.qualified());
        refusals.push(Refusal::at(Code::ManifestMismatch, "/views/uses", detail));
    }
    refusals
}

/// The manifest against the files that lie beside it.
pub(crate) fn with_files(manifest: &Manifest, migrations: &Files, assets: &Files) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut mismatch = |pointer: &str, detail: &str| {
        refusals.push(Refusal::at(Code::ManifestMismatch, pointer, detail));
    };
    match (manifest.migrations.is_some(), migrations.is_empty()) {
        (true, true) => mismatch("/migrations", "the manifest declares migrations, the artifact has none"),
        (false, false) => mismatch("/migrations", "the artifact has migrations, the manifest declares none"),
        (true, false) if !manifest.capabilities.sql => {
            mismatch("/capabilities/sql", "migrations need the capability `sql`");
        }
        (true, false) | (false, true) => {}
    }
    if !manifest.views.provides.is_empty() && !manifest.capabilities.sql {
        mismatch("/capabilities/sql", "views of its tables need the capability `sql`");
    }
    for (pointer, path) in named_assets(manifest) {
        if assets.find(&path).is_none() {
            mismatch(&pointer, &format!("`{path}` is not among the assets"));
        }
    }
    refusals.extend(views(manifest, assets));
    refusals
}

/// The texts of the views. What they say is for the host to read, which knows SQL.
fn views(manifest: &Manifest, assets: &Files) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (index, view) in manifest.views.provides.iter().enumerate() {
        let Some(file) = assets.find(&view.sql) else { continue };
        let reason = match std::str::from_utf8(&file.bytes) {
            Err(_) => "it is not UTF-8".to_owned(),
            Ok(text) if text.len() > VIEW_BYTES_MAX => format!("a view has at most {VIEW_BYTES_MAX} bytes of SQL"),
            Ok(_) => continue,
        };
        let detail = format!("`{}`: {reason}", view.sql);
        refusals.push(Refusal::at(Code::Malformed, format!("/views/provides/{index}/sql"), detail));
    }
    refusals
}

/// Files that the manifest names, with the place where it does.
fn named_assets(manifest: &Manifest) -> Vec<(String, String)> {
    let mut named = Vec::new();
    if let Some(config) = &manifest.config {
        named.push(("/config/schema".to_owned(), config.schema.clone()));
    }
    for (index, point) in manifest.extension_points.iter().enumerate() {
        named.extend(point.schema.iter().map(|path| (format!("/extension_points/{index}/schema"), path.clone())));
    }
    for (index, view) in manifest.views.provides.iter().enumerate() {
        named.push((format!("/views/provides/{index}/sql"), view.sql.clone()));
    }
    if manifest.openapi.is_some() {
        named.push(("/openapi".to_owned(), OPENAPI_PATH.to_owned()));
    }
    if let Some(ui) = &manifest.ui {
        let entry = |entry: &str| entry_path(ui, entry);
        let pages = ui.pages.iter().enumerate().map(|(i, page)| (format!("/ui/pages/{i}/entry"), entry(&page.entry)));
        let widgets = ui.widgets.iter().enumerate().map(|(i, it)| (format!("/ui/widgets/{i}/entry"), entry(&it.entry)));
        named.extend(pages.chain(widgets));
    }
    named
}

fn entry_path(ui: &Ui, entry: &str) -> String {
    ui.assets.as_ref().map_or_else(|| entry.to_owned(), |folder| format!("{folder}/{entry}"))
}

/// Parts of a manifest that this host would have to ignore: refused, because an author counts on them.
fn unserved(manifest: &Manifest) -> Vec<Refusal> {
    let mut pointers: Vec<String> = [
        ("/websockets", manifest.websockets.is_empty()),
        ("/guards", manifest.guards.is_empty()),
        ("/jobs", manifest.jobs.is_empty()),
        ("/events/publishes", manifest.events.publishes.is_empty()),
        ("/events/subscribes", manifest.events.subscribes.is_empty()),
        ("/services/provides", manifest.services.provides.is_empty()),
        ("/services/uses", manifest.services.uses.is_empty()),
    ]
    .into_iter()
    .filter(|(_, absent)| !absent)
    .map(|(pointer, _)| pointer.to_owned())
    .collect();
    let guarded = manifest.routes.iter().enumerate().filter(|(_, route)| !route.guards.is_empty());
    pointers.extend(guarded.map(|(index, _)| format!("/routes/{index}/guards")));
    let refuse = |pointer: String| {
        let detail = format!("this host does not serve `{}` yet", pointer.trim_start_matches('/').replace('/', "."));
        Refusal::at(Code::IncompatibleContract, pointer, detail)
    };
    pointers.into_iter().map(refuse).collect()
}
