//! Lists what an artifact can do and asks for, each thing under its area and name.
//! It compares nothing; `diff` does.

use std::collections::BTreeMap;

use bulkhead_model::limits::{Entry, Limits, LimitsRequest, Reuse};
use bulkhead_model::manifest::{Category, HookKind, OnFailure};
use bulkhead_model::{Digest, Manifest};

use super::{Area, Held};
use crate::admit::used;
use crate::artifact::Artifact;
use crate::functions::{ByInterface, Functions, bounded};
use crate::imports;

type Map = BTreeMap<(Area, String), Held>;

pub(super) fn held(artifact: &Artifact, functions: &Functions) -> Map {
    let mut map = Map::new();
    let mut put = |area: Area, name: String, held: Held| {
        map.insert((area, bounded(name)), Held { text: bounded(held.text), ..held });
    };
    for interface in used(&artifact.manifest, &artifact.imports) {
        put(Area::Interface, interface.qualified(), Held::default());
    }
    functions_of(functions, &mut put);
    outward(&artifact.manifest, &mut put);
    inward(&artifact.manifest, &mut put);
    limits(&artifact.manifest.limits, &mut put);
    for (path, file) in artifact.migrations.iter() {
        put(Area::Migration, path.to_owned(), Held::text(Digest::of(&file.bytes).to_string()));
    }
    for (name, value) in artifact.structure.entries() {
        put(Area::Size, name.to_owned(), Held::measured(value.to_string(), [value]));
    }
    map
}

fn functions_of(functions: &Functions, put: &mut impl FnMut(Area, String, Held)) {
    let mut each = |interfaces: &ByInterface, area: fn(&str) -> Area| {
        for (interface, functions) in interfaces {
            for (name, ty) in functions {
                put(area(interface), format!("{interface}#{name}"), Held::text(ty.clone()));
            }
        }
    };
    each(&functions.imports, |interface| match imports::classify(interface) {
        Ok(None) => Area::InertImport,
        Ok(Some(_)) | Err(_) => Area::Import,
    });
    each(&functions.exports, |_| Area::Export);
}

/// What it reaches: hosts, secrets, topics, and what other plugins offer.
fn outward(manifest: &Manifest, put: &mut impl FnMut(Area, String, Held)) {
    let asked = &manifest.capabilities;
    for http in &asked.http {
        let methods: Vec<&str> = match http.methods.as_slice() {
            [] => vec!["GET"],
            methods => methods.iter().map(|method| method.as_str()).collect(),
        };
        let ports: &[u16] = if http.ports.is_empty() { &[443] } else { &http.ports };
        for (method, port) in methods.iter().flat_map(|method| ports.iter().map(move |port| (method, port))) {
            put(Area::Host, format!("{}:{port} {method}", http.host.to_ascii_lowercase()), Held::default());
        }
    }
    for secret in &asked.secrets {
        put(Area::Secret, secret.clone(), Held::default());
    }
    for topic in &manifest.events.publishes {
        put(Area::Event, topic.topic.to_string(), Held::default());
    }
    for topic in &manifest.events.subscribes {
        put(Area::Subscription, topic.topic.to_string(), Held::default());
    }
    for view in &manifest.views.uses {
        put(Area::View, format!("{}/{}@{}", view.plugin, view.view, view.version), Held::default());
    }
    for service in &manifest.services.uses {
        put(Area::Service, format!("{}/{}", service.plugin, service.service), Held::default());
    }
    for signal in &asked.signals {
        put(Area::Signal, signal.clone(), Held::default());
    }
    for hook in &asked.hooks_dispatch {
        put(Area::Dispatch, hook.to_string(), Held::default());
    }
    let plugin = &manifest.plugin;
    if plugin.category == Category::Core {
        put(Area::Standing, "core".to_owned(), Held::default());
    }
    if plugin.critical {
        put(Area::Standing, "critical".to_owned(), Held::default());
    }
}

/// How it is reached, and what it offers.
fn inward(manifest: &Manifest, put: &mut impl FnMut(Area, String, Held)) {
    for hook in &manifest.hooks {
        let deadline_ms = hook.deadline_ms.unwrap_or_else(|| Entry::Filter.deadline_ms_default());
        let is_filter = hook.kind == HookKind::Filter;
        let is_closed = hook.on_failure == OnFailure::Closed;
        let text = format!("priority {}, fails {}, {deadline_ms} ms", hook.priority, hook.on_failure.as_str(),);
        let measures = [u64::from(is_filter), u64::from(is_closed), u64::from(deadline_ms)];
        put(Area::Hook, format!("{} {}", hook.kind.as_str(), hook.name), Held::measured(text, measures));
    }
    for route in &manifest.routes {
        let text = match &route.permission {
            Some(permission) => format!("permission {permission}, {} guards", route.guards.len()),
            None => format!("any user of the tenant, {} guards", route.guards.len()),
        };
        let name = format!("{} {}", route.method.as_str(), route.path);
        put(Area::Route, name, Held::measured(text, [u64::from(route.permission.is_none())]));
    }
    for socket in &manifest.websockets {
        let text = socket.permission.as_ref().map_or_else(|| "any user of the tenant".to_owned(), ToString::to_string);
        put(Area::Websocket, socket.path.clone(), Held::measured(text, [u64::from(socket.permission.is_none())]));
    }
    for guard in &manifest.guards {
        let text = if guard.exported { "for other plugins too" } else { "" };
        put(Area::Guard, guard.name.clone(), Held::measured(text, [u64::from(guard.exported)]));
    }
    for permission in &manifest.permissions {
        put(Area::Permission, permission.name.to_string(), Held::default());
    }
    for point in &manifest.extension_points {
        put(Area::ExtensionPoint, point.name.to_string(), Held::text(point.kind.as_str()));
    }
    for view in &manifest.views.provides {
        put(Area::ProvidedView, format!("{}@{}", view.name, view.version), Held::default());
    }
    for service in &manifest.services.provides {
        let text = service.visibility.clone().unwrap_or_default();
        put(Area::ProvidedService, service.name.clone(), Held::text(text));
    }
    for job in &manifest.jobs {
        put(Area::Job, job.name.clone(), Held::text(job.cron.clone()));
    }
}

/// Every limit that a manifest can ask for, also where it leaves it to the host.
fn limits(request: &LimitsRequest, put: &mut impl FnMut(Area, String, Held)) {
    // Taken apart, so that a limit that comes cannot be left out here.
    let LimitsRequest {
        fuel_per_call,
        memory_bytes,
        deadline_ms,
        fuel_per_minute,
        fuel_per_month,
        reuse,
        reuse_calls_max,
    } = request;
    let (default, host) = (Limits::DEFAULT, Limits::HOST_MAX);
    // Left to the host, a call gets the default, a deadline that of its entry, and a window all that policy allows.
    let deadlines = (Entry::Route.deadline_ms_default().into(), Entry::Filter.deadline_ms_default().into());
    for (name, asked, left_to_host) in [
        ("fuel_per_call", *fuel_per_call, (default.fuel_units, default.fuel_units)),
        ("memory_bytes", *memory_bytes, (default.memory_bytes, default.memory_bytes)),
        ("deadline_ms", deadline_ms.map(u64::from), deadlines),
        ("fuel_per_minute", *fuel_per_minute, (host.fuel_per_minute, host.fuel_per_minute)),
        ("fuel_per_month", *fuel_per_month, (host.fuel_per_month, host.fuel_per_month)),
        ("reuse_calls_max", reuse_calls_max.map(u64::from), (default.reuse_calls.into(), default.reuse_calls.into())),
    ] {
        let text = asked.map_or_else(|| "what the host gives".to_owned(), |asked| asked.to_string());
        let measures = vec![asked.map_or(left_to_host, |asked| (asked, asked))];
        put(Area::Limit, name.to_owned(), Held { text, measures });
    }
    let text = match reuse {
        Reuse::Never => "never",
        Reuse::Tenant => "tenant",
    };
    put(Area::Limit, "reuse".to_owned(), Held::measured(text, [u64::from(*reuse == Reuse::Tenant)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_outside_that_a_manifest_names_is_listed_under_its_area() {
        let manifest = Manifest::parse_toml(
            r#"
            [plugin]
            id = "acme.crm"
            version = "1.0.0"
            name = "CRM"
            category = "core"
            critical = true
            [[events.publishes]]
            topic = "crm.deal_won"
            [[events.subscribes]]
            topic = "billing.paid"
            [[services.uses]]
            plugin = "acme.billing"
            service = "invoices"
            [[views.uses]]
            plugin = "acme.billing"
            view = "balances"
            version = 2
            [capabilities]
            http = [{ host = "API.acme.example", methods = ["GET", "POST"], ports = [443, 8443] }]
            secrets = ["api_key"]
            signals = ["deals"]
            "#,
        )
        .unwrap();
        let mut listed = Vec::new();

        outward(&manifest, &mut |area: Area, name, _| listed.push(format!("{} {name}", area.as_str())));

        assert_eq!(
            listed,
            [
                "host api.acme.example:443 GET",
                "host api.acme.example:8443 GET",
                "host api.acme.example:443 POST",
                "host api.acme.example:8443 POST",
                "secret api_key",
                "event crm.deal_won",
                "subscription billing.paid",
                "view acme.billing/balances@2",
                "service acme.billing/invoices",
                "signal deals",
                "standing core",
                "standing critical",
            ]
        );
    }
}
