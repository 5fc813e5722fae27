//! What others may use of a plugin by its manifest: hooks that it declares, services, views, topics, permissions, guards that it
//! exports. A later version that is compatible takes none of it away.
//! It does not decide which versions are compatible; the registry does.

use std::collections::BTreeSet;

use bulkhead_model::Manifest;

/// What `after` takes away of what others may use of `before`, for people, each once.
pub fn taken_away(before: &Manifest, after: &Manifest) -> Vec<String> {
    let after = surface(after);
    surface(before).into_iter().filter(|item| !after.contains(item)).collect()
}

fn surface(manifest: &Manifest) -> BTreeSet<String> {
    let points = manifest.extension_points.iter().map(|point| format!("the {:?} hook `{}`", point.kind, point.name));
    // A service without a word is for its tenant, like one that says so.
    let visibility = |word: &Option<String>| word.clone().unwrap_or_else(|| "tenant".to_owned());
    let services = manifest
        .services
        .provides
        .iter()
        .map(|service| format!("the service `{}` for `{}`", service.name, visibility(&service.visibility)));
    let views =
        manifest.views.provides.iter().map(|view| format!("version {} of the view `{}`", view.version, view.name));
    let topics = manifest.events.publishes.iter().map(|topic| format!("the topic `{}`", topic.topic));
    let permissions = manifest.permissions.iter().map(|permission| format!("the permission `{}`", permission.name));
    let guards = manifest.guards.iter().filter(|guard| guard.exported);
    let guards = guards.map(|guard| format!("the guard `{}`", guard.name));
    let lowered = points.map(|text| text.to_lowercase());
    lowered.chain(services).chain(views).chain(topics).chain(permissions).chain(guards).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Manifest {
        let text = format!(
            r#"{{"plugin": {{"id": "acme.crm", "version": "1.0.0", "name": "CRM", "contract": "^0.1"}}{more}}}"#
        );
        Manifest::parse_json(text.as_bytes()).unwrap_or_else(|issues| panic!("{issues:?} {text}"))
    }

    #[test]
    fn what_others_may_use_is_missed_and_the_rest_is_not() {
        let check = |before: &str, after: &str, wanted: &[&str]| {
            assert_eq!(taken_away(&manifest(before), &manifest(after)), wanted, "{before} -> {after}");
        };

        let permission = r#", "permissions": [{"name": "deals.view"}]"#;
        check(permission, permission, &[]);
        check("", permission, &[]);
        check(permission, "", &["the permission `deals.view`"]);
        let view = |version: u32| {
            format!(
                r#", "views": {{"provides": [{{"name": "customers", "version": {version}, "sql": "views/c.sql"}}]}},
                   "capabilities": {{"sql": true}}"#
            )
        };
        check(&view(1), &view(2), &["version 1 of the view `customers`"]);
        let service = |more: &str| format!(r#", "services": {{"provides": [{{"name": "score"{more}}}]}}"#);
        check(&service(""), &service(r#", "visibility": "tenant""#), &[]);
        check(&service(""), "", &["the service `score` for `tenant`"]);
        let guard = |exported: bool| format!(r#", "guards": [{{"name": "hours", "exported": {exported}}}]"#);
        check(&guard(true), &guard(false), &["the guard `hours`"]);
        check(&guard(false), "", &[]);
        let point = |kind: &str| format!(r#", "extension_points": [{{"name": "deal.score", "kind": "{kind}"}}]"#);
        check(&point("filter"), &point("action"), &["the filter hook `deal.score`"]);
        let topic = r#", "events": {"publishes": [{"topic": "crm.deal_won"}]}"#;
        check(topic, "", &["the topic `crm.deal_won`"]);
    }
}
