//! Finds every problem of a manifest at once: schema, then the rules between fields.
//! It reads no file that the manifest names; packing and admission compare those.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{HOST_ROUTES, MANIFEST_BYTES_MAX, Manifest};
use crate::id::{HookName, PluginId, Version, ViewName};
use crate::route::Template;

/// Most problems that one answer lists.
pub const ISSUES_MAX: usize = 100;

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// JSON pointer of the value (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// What is wrong and what was wanted.
    pub message: String,
}

impl Issue {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

pub(super) fn parse_json(bytes: &[u8]) -> Result<Manifest, Vec<Issue>> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(vec![Issue::new("", format!("the manifest is at most {MANIFEST_BYTES_MAX} bytes long"))]);
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| vec![Issue::new("", format!("not JSON: {error}"))])?;
    let issues = issues(&value);
    if !issues.is_empty() {
        return Err(issues);
    }
    // From the bytes, not from `value`: the typed reading alone refuses a field that stands twice.
    serde_json::from_slice(bytes).map_err(|error| vec![Issue::new("", error.to_string())])
}

pub(super) fn parse_toml(text: &str) -> Result<Manifest, Vec<Issue>> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(vec![Issue::new("", format!("the manifest is at most {MANIFEST_BYTES_MAX} bytes long"))]);
    }
    let value: Value = toml::from_str(text).map_err(|error| vec![Issue::new("", format!("not TOML: {error}"))])?;
    let issues = issues(&value);
    if !issues.is_empty() {
        return Err(issues);
    }
    serde_json::from_value(value).map_err(|error| vec![Issue::new("", error.to_string())])
}

/// Every problem of `value`, sorted by pointer, at most [`ISSUES_MAX`].
fn issues(value: &Value) -> Vec<Issue> {
    let mut found: BTreeSet<Issue> =
        VALIDATOR.iter_errors(value).take(ISSUES_MAX).flat_map(|error| named(&error)).collect();
    found.extend(between_fields(value));
    found.into_iter().take(ISSUES_MAX).collect()
}

/// The problem at the field that it is about: a schema blames the object around an unknown or a missing field.
fn named(error: &jsonschema::ValidationError<'_>) -> Vec<Issue> {
    let at = error.instance_path().to_string();
    let field = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| Issue::new(field(name), format!("there is no field `{name}` here"))).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Issue::new(field(name), format!("the field `{name}` is required"))]
        }
        _ => vec![Issue::new(at, error.to_string())],
    }
}

/// Rules that no schema says. They read the loose value, so that a mistake elsewhere hides none of them.
fn between_fields(value: &Value) -> Vec<Issue> {
    let mut issues = Vec::new();
    let permissions = texts(value, "permissions", "name");
    unique(&permissions, "permission", &mut issues);
    unique(&texts(value, "role_templates", "name"), "role template", &mut issues);
    unique(&texts(value, "extension_points", "name"), "extension point", &mut issues);
    unique(&texts(value, "guards", "name"), "guard", &mut issues);
    unique(&texts(value, "jobs", "name"), "job", &mut issues);
    repeated_prefix(value, &permissions, &mut issues);
    hooks_once(value, &mut issues);
    permissions_exist(value, &permissions, &mut issues);
    routes_are_free(value, &mut issues);
    dispatched_hooks_are_declared(value, &mut issues);
    depends_on_itself(value, &mut issues);
    views_once(value, &mut issues);
    no_hidden_characters(value, "", &mut issues);
    issues
}

/// `(pointer, text)` of `key` in each entry of the list `list`.
fn texts<'a>(value: &'a Value, list: &str, key: &str) -> Vec<(String, &'a str)> {
    entries(value, list)
        .filter_map(|(index, entry)| Some((format!("/{list}/{index}/{key}"), entry.get(key)?.as_str()?)))
        .collect()
}

fn entries<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter().enumerate()
}

fn unique(names: &[(String, &str)], noun: &str, issues: &mut Vec<Issue>) {
    let mut seen = BTreeSet::new();
    for (pointer, name) in names {
        if !seen.insert(name) {
            issues.push(Issue::new(pointer.clone(), format!("the {noun} `{name}` is declared twice")));
        }
    }
}

fn repeated_prefix(value: &Value, permissions: &[(String, &str)], issues: &mut Vec<Issue>) {
    let Some(id) = value.pointer("/plugin/id").and_then(Value::as_str) else {
        return;
    };
    for (pointer, name) in permissions {
        if name.strip_prefix(id).is_some_and(|rest| rest.starts_with('.')) {
            issues.push(Issue::new(pointer.clone(), format!("the host puts `{id}.` before the name: leave it out")));
        }
    }
}

fn hooks_once(value: &Value, issues: &mut Vec<Issue>) {
    let mut seen = BTreeSet::new();
    for (index, hook) in entries(value, "hooks") {
        let pair = (hook.get("name").and_then(Value::as_str), hook.get("kind").and_then(Value::as_str));
        if let (Some(name), Some(kind)) = pair
            && !seen.insert((name, kind))
        {
            issues.push(Issue::new(format!("/hooks/{index}/name"), format!("the {kind} `{name}` is declared twice")));
        }
    }
}

fn permissions_exist(value: &Value, permissions: &[(String, &str)], issues: &mut Vec<Issue>) {
    let declared: BTreeSet<&str> = permissions.iter().map(|(_, name)| *name).collect();
    let mut check = |pointer: String, name: &str| {
        if !declared.contains(name) {
            issues.push(Issue::new(pointer, format!("the permission `{name}` is not declared under `permissions`")));
        }
    };
    for list in ["routes", "websockets"] {
        for (pointer, name) in texts(value, list, "permission") {
            check(pointer, name);
        }
    }
    for list in ["pages", "widgets"] {
        for (pointer, name) in value.get("ui").map(|ui| texts(ui, list, "permission")).unwrap_or_default() {
            check(format!("/ui{pointer}"), name);
        }
    }
    for (index, template) in entries(value, "role_templates") {
        for (nth, name) in entries(template, "permissions") {
            if let Some(name) = name.as_str() {
                check(format!("/role_templates/{index}/permissions/{nth}"), name);
            }
        }
    }
}

fn routes_are_free(value: &Value, issues: &mut Vec<Issue>) {
    let mut seen: Vec<(&str, Template)> = Vec::new();
    for (index, route) in entries(value, "routes") {
        let (Some(method), Some(path)) =
            (route.get("method").and_then(Value::as_str), route.get("path").and_then(Value::as_str))
        else {
            continue;
        };
        if HOST_ROUTES.contains(&path) {
            issues.push(Issue::new(format!("/routes/{index}/path"), format!("`{path}` is served by the host")));
        }
        let Ok(template) = Template::parse(path) else {
            continue;
        };
        if let Some((_, other)) = seen.iter().find(|(m, other)| *m == method && other.conflicts_with(&template)) {
            issues.push(Issue::new(
                format!("/routes/{index}/path"),
                format!("`{method} {path}` matches the same paths as `{method} {other}`"),
            ));
        }
        seen.push((method, template));
    }
}

fn dispatched_hooks_are_declared(value: &Value, issues: &mut Vec<Issue>) {
    let declared: BTreeSet<&str> = texts(value, "extension_points", "name").iter().map(|(_, name)| *name).collect();
    let Some(capabilities) = value.get("capabilities") else {
        return;
    };
    for (index, name) in entries(capabilities, "hooks_dispatch") {
        if let Some(name) = name.as_str()
            && !declared.contains(name)
        {
            let message = format!("the hook `{name}` is not declared under `extension_points`");
            issues.push(Issue::new(format!("/capabilities/hooks_dispatch/{index}"), message));
        }
    }
}

fn depends_on_itself(value: &Value, issues: &mut Vec<Issue>) {
    let Some(id) = value.pointer("/plugin/id").and_then(Value::as_str) else {
        return;
    };
    if value.get("dependencies").and_then(|dependencies| dependencies.get(id)).is_some() {
        issues.push(Issue::new(format!("/dependencies/{id}"), "a plugin cannot depend on itself"));
    }
}

/// A view is published once in each version and used in one, and nobody uses what it publishes itself.
fn views_once(value: &Value, issues: &mut Vec<Issue>) {
    let Some(views) = value.get("views") else {
        return;
    };
    let mut seen = BTreeSet::new();
    for (index, view) in entries(views, "provides") {
        let pair = (view.get("name").and_then(Value::as_str), view.get("version").and_then(Value::as_u64));
        if let (Some(name), Some(version)) = pair
            && !seen.insert((name, version))
        {
            let message = format!("the view `{name}` version {version} is declared twice");
            issues.push(Issue::new(format!("/views/provides/{index}/name"), message));
        }
    }
    let own = value.pointer("/plugin/id").and_then(Value::as_str);
    let mut seen = BTreeSet::new();
    for (index, view) in entries(views, "uses") {
        let pair = (view.get("plugin").and_then(Value::as_str), view.get("view").and_then(Value::as_str));
        let (Some(plugin), Some(name)) = pair else {
            continue;
        };
        if own == Some(plugin) {
            let message = "a plugin reads its own tables by `sql`, not by a view";
            issues.push(Issue::new(format!("/views/uses/{index}/plugin"), message));
        }
        if !seen.insert((plugin, name)) {
            let message =
                format!("the view `{name}` of `{plugin}` is named twice: a plugin uses one version of a view");
            issues.push(Issue::new(format!("/views/uses/{index}/view"), message));
        }
    }
}

/// People decide by what they read: a text has no control characters, a description line breaks alone, and nothing that
/// turns the direction of writing.
fn no_hidden_characters(value: &Value, at: &str, issues: &mut Vec<Issue>) {
    let is_description = at.ends_with("/description");
    let hides = |c: char| {
        let breaks_a_line = is_description && matches!(c, '\n' | '\t');
        (c.is_control() && !breaks_a_line) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match value {
        Value::String(text) if text.contains(hides) => {
            let message = "a text has no control characters and none that turn the direction of writing";
            issues.push(Issue::new(at, message));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                no_hidden_characters(item, &format!("{at}/{index}"), issues);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                no_hidden_characters(field, &format!("{at}/{name}"), issues);
            }
        }
        _ => {}
    }
}

/// Whether `path` may name a file of an artifact: `[A-Za-z0-9][A-Za-z0-9._-]*` joined by `/`, at most 8 parts and
/// 200 bytes.
pub fn is_asset_path(path: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    path.len() <= 200
        && path.split('/').count() <= 8
        && path.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(legal))
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from("Bulkhead plugin manifest"));
    }
    schema
});

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_format("plugin-id", |text| text.parse::<PluginId>().is_ok())
        .with_format("version", |text| text.parse::<Version>().is_ok())
        .with_format("version-range", |text| text.len() <= 256 && semver::VersionReq::parse(text).is_ok())
        .with_format("dotted-name", |text| text.parse::<HookName>().is_ok())
        .with_format("view-name", |text| text.parse::<ViewName>().is_ok())
        .with_format("route-template", |text| Template::parse(text).is_ok())
        .with_format("asset-path", is_asset_path)
        .should_validate_formats(true)
        .build(&SCHEMA)
        .unwrap_or_else(|error| unreachable!("the manifest's own schema is valid, a test builds it: {error}"))
});

pub(super) fn schema() -> &'static Value {
    &SCHEMA
}

pub(super) fn dependencies_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "propertyNames": { "type": "string", "format": "plugin-id" },
        "additionalProperties": { "type": "string", "format": "version-range" }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [plugin]
        id = "acme.crm"
        version = "1.2.0"
        name = "CRM"
        contract = "^0.1"
        [component]
        path = "target/crm.wasm"
        [limits]
        fuel_per_call = 50_000_000
        reuse = "tenant"
        [dependencies]
        "acme.billing" = ">=2, <3"
        [[permissions]]
        name = "deals.view"
        [[role_templates]]
        name = "sales"
        permissions = ["deals.view"]
        [[routes]]
        method = "GET"
        path = "/deals/{id}"
        permission = "deals.view"
        [[hooks]]
        name = "order.validate"
        kind = "filter"
        [capabilities]
        sql = true
        http = [{ host = "api.acme.example", methods = ["GET"], ports = [443] }]
        [config]
        schema = "config.schema.json"
        [migrations]
        path = "migrations"
    "#;

    fn pointers(text: &str) -> Vec<String> {
        parse_toml(text).unwrap_err().into_iter().map(|issue| issue.pointer).collect()
    }

    #[test]
    fn the_authors_form_and_the_artifacts_form_are_one_tree() {
        let manifest = parse_toml(GOOD).unwrap();

        let packed = manifest.for_artifact();

        assert_eq!(parse_json(&packed.to_json()).unwrap(), packed);
        assert_eq!(packed.component, None);
        assert_eq!(packed.migrations, Some(super::super::LocalPath { path: None }));
        assert_eq!(packed.hooks[0].priority, 10);
        assert_eq!(packed.plugin.load_order, 100);
    }

    #[test]
    fn every_mistake_is_named_at_once_and_none_hides_another() {
        let text = GOOD
            .replace("acme.crm", "Acme")
            .replace("1.2.0", "1.2")
            .replace("kind = \"filter\"", "kind = \"filtre\"")
            .replace(">=2, <3", "two")
            .replace("permission = \"deals.view\"", "permission = \"deals.edit\"")
            .replace("sql = true", "sql = true\nsqll = true");

        assert_eq!(
            pointers(&text),
            [
                "/capabilities/sqll",
                "/dependencies/acme.billing",
                "/hooks/0/kind",
                "/plugin/id",
                "/plugin/version",
                "/routes/0/permission"
            ]
        );
    }

    #[test]
    fn rules_between_fields_hold() {
        let check = |from: &str, to: &str, wanted: &[&str]| {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(pointers(&GOOD.replace(from, to)), wanted, "{to}");
        };

        check("/deals/{id}", "/health", &["/routes/0/path"]);
        check("acme.billing", "acme.crm", &["/dependencies/acme.crm"]);
        check("[[hooks]]", "[[routes]]\nmethod = \"GET\"\npath = \"/deals/{other}\"\n[[hooks]]", &["/routes/1/path"]);
        check("[[hooks]]", "[[hooks]]\nname = \"order.validate\"\nkind = \"filter\"\n[[hooks]]", &["/hooks/1/name"]);
        check(
            "[[role_templates]]",
            "[[permissions]]\nname = \"deals.view\"\n[[role_templates]]",
            &["/permissions/1/name"],
        );
        check(
            "name = \"deals.view\"\n",
            "name = \"deals.view\"\n[[permissions]]\nname = \"acme.crm.x\"\n",
            &["/permissions/1/name"],
        );
        check("permissions = [\"deals.view\"]", "permissions = [\"deals.gone\"]", &["/role_templates/0/permissions/0"]);
        let views = |text: &str| format!("{text}\n[[hooks]]");
        let provided = "[[views.provides]]\nname = \"a\"\nversion = 1\nsql = \"a.sql\"\n";
        let newer = provided.replace("version = 1", "version = 2");
        assert!(parse_toml(&GOOD.replace("[[hooks]]", &views(&[provided, &newer].concat()))).is_ok());
        check("[[hooks]]", &views(&provided.repeat(2)), &["/views/provides/1/name"]);
        check("[[hooks]]", &views(&provided.replace("\"a\"", "\"A\"")), &["/views/provides/0/name"]);
        check("[[hooks]]", &views(&provided.replace("= 1", "= 0")), &["/views/provides/0/version"]);
        check("[[hooks]]", &views(&provided.replace("a.sql", "../a.sql")), &["/views/provides/0/sql"]);
        let used = "[[views.uses]]\nplugin = \"acme.billing\"\nview = \"a\"\nversion = 1\n";
        check("[[hooks]]", &views(&[used, &used.replace("= 1", "= 2")].concat()), &["/views/uses/1/view"]);
        check("[[hooks]]", &views(&used.replace("acme.billing", "acme.crm")), &["/views/uses/0/plugin"]);
        check("[[hooks]]", &views(&used.replace("\"a\"", "\"a b\"")), &["/views/uses/0/view"]);
        check("sql = true", "hooks_dispatch = [\"deal.score\"]", &["/capabilities/hooks_dispatch/0"]);
        check("config.schema.json", "../config.json", &["/config/schema"]);
        check("fuel_per_call = 50_000_000", "fuel_per_call = 0", &["/limits/fuel_per_call"]);
    }

    #[test]
    fn bytes_that_are_no_manifest_are_refused() {
        for bad in ["", "{", "[]", "null", "{}", "\u{0}", "{\"plugin\":{}}"] {
            assert!(parse_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse_json(&vec![b' '; MANIFEST_BYTES_MAX + 1]).is_err());
        assert!(parse_json("[".repeat(60_000).as_bytes()).is_err());

        let twice = r#"{"plugin":{"id":"acme.crm","id":"acme.crm","version":"1.0.0","name":"x"}}"#;
        assert!(parse_json(twice.as_bytes()).unwrap_err()[0].message.starts_with("duplicate field `id`"));
    }

    #[test]
    fn asset_paths_cannot_leave_their_folder() {
        for good in ["a", "a/b.css", "ui/index.html", "0001_x.sql"] {
            assert!(is_asset_path(good), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a\\b", "a b", "-a", &"a/".repeat(9), &"a".repeat(201)]
        {
            assert!(!is_asset_path(bad), "{bad}");
        }
    }
}
