//! The OpenAPI 3.1 document, made from the table of endpoints and the types that they read and write.
//! Plugins' own routes have documents of their own, at `/api/plugins/{id}/openapi.json`.

use bulkhead_model::Code;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::endpoint::{self, Endpoint, Who};
use super::problem::ProblemDocument;

/// The document. It is the same for every host of this version but for `public_url`.
pub fn document(public_url: Option<&str>) -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = schemas.subschema_for::<ProblemDocument<'_>>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoint::all() {
        let path = paths.entry(endpoint.path).or_insert_with(|| Value::Object(Map::new()));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.to_owned(), operation(endpoint, &mut schemas));
        }
    }
    paths.extend(gateway());
    paths.extend(distribution());
    let definitions = Value::Object(schemas.take_definitions(true));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bulkhead",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Plugins for multi-tenant software: signed WebAssembly components, each call inside its limits, each tenant apart."
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "registry": { "type": "http", "scheme": "basic" }
            },
            "responses": {
                "Problem": { "description": "A problem; `code` says which.", "content": { "application/problem+json": { "schema": problem } } }
            },
            "schemas": definitions
        }
    });
    if let (Some(url), Some(document)) = (public_url, document.as_object_mut()) {
        document.insert("servers".to_owned(), json!([{ "url": url }]));
    }
    document
}

/// The schema of a code: every one there is.
pub(super) fn code_schema(_: &mut SchemaGenerator) -> Schema {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json_schema!({ "type": "string", "enum": codes })
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let mut content = Value::Null;
    if let Some(output) = endpoint.output {
        content = json!({ "application/json": { "schema": output(schemas).to_value() } });
    }
    if let Some(media_type) = endpoint.file {
        content = json!({ media_type: { "schema": { "type": "string", "format": "binary" } } });
    }
    let mut answered = json!({ "description": "Done." });
    put(&mut answered, "content", content);
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "tags": [tag(endpoint.path)],
        "parameters": parameters(endpoint),
        "responses": { endpoint.status.to_string(): answered, "default": { "$ref": "#/components/responses/Problem" } },
    });
    if let Some(input) = endpoint.input {
        let schema = input(schemas).to_value();
        put(&mut operation, "requestBody", json!({ "content": { "application/json": { "schema": schema } } }));
    }
    match role(endpoint.who) {
        None => put(&mut operation, "security", json!([])),
        Some(role) => put(&mut operation, "x-bulkhead-role", json!(role)),
    }
    operation
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let (Some(object), false) = (object.as_object_mut(), value.is_null()) {
        object.insert(key.to_owned(), value);
    }
}

const fn role(who: Who) -> Option<&'static str> {
    match who {
        Who::Anyone => None,
        Who::SuperAdmin => Some("super_admin"),
        Who::Security => Some("security"),
        Who::TenantAdmin => Some("tenant_admin"),
        Who::Host => Some("host"),
        Who::Registry => Some("registry"),
    }
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let in_path =
        names(endpoint.path).map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let in_query = endpoint.query.iter().map(|name| {
        let schema = match *name {
            "month" => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$" }),
            "limit" => json!({ "type": "integer", "minimum": 1 }),
            "order" => json!({ "type": "string", "enum": ["asc", "desc"], "default": "asc" }),
            _ => text.clone(),
        };
        json!({ "name": name, "in": "query", "schema": schema })
    });
    in_path.chain(in_query).collect()
}

/// The names in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// For example `post_plugins_id_install`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/api/v1").replace(['{', '}'], "").replace(['/', '.', '-'], "_");
    format!("{}{path}", endpoint.method)
}

fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1").split('/').nth(1).unwrap_or_default()
}

/// What the gateway serves below each plugin.
fn gateway() -> Map<String, Value> {
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    let path = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let page = |summary: &str, media: &str| {
        json!({ "get": {
            "summary": summary,
            "tags": ["gateway"],
            "parameters": [path("id")],
            "responses": { "200": { "description": "Done.", "content": { media: {} } }, "default": problem }
        } })
    };
    let call = |method: &str| {
        json!({
            "summary": format!("Call a route of a plugin with {}", method.to_uppercase()),
            "description": "By the route's permission. The plugin's own document names its routes.",
            "tags": ["gateway"],
            "parameters": [path("id"), path("path")],
            "responses": { "2XX": { "description": "The plugin's answer." }, "default": problem }
        })
    };
    let methods = ["get", "head", "post", "put", "patch", "delete"].map(|method| (method.to_owned(), call(method)));
    Map::from_iter([
        (
            "/api/plugins/{id}/health".to_owned(),
            page("Health of a plugin in the caller's tenant; 503 when unhealthy", "application/json"),
        ),
        (
            "/api/plugins/{id}/ready".to_owned(),
            page("Whether a plugin takes calls in the caller's tenant; 503 when not", "application/json"),
        ),
        ("/api/plugins/{id}/openapi.json".to_owned(), page("The plugin's OpenAPI document", "application/json")),
        ("/api/plugins/{id}/metrics".to_owned(), page("The plugin's series in the caller's tenant", "text/plain")),
        ("/api/plugins/{id}/{path}".to_owned(), Value::Object(Map::from_iter(methods))),
    ])
}

/// The OCI distribution protocol, whose own specification says the rest.
fn distribution() -> Map<String, Value> {
    let name = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let path = |path: &str, methods: &[(&str, u16, &str)]| {
        let names: Vec<Value> = names(path).map(name).collect();
        let operations = methods.iter().map(|(method, status, summary)| {
            let done = json!({ "description": "Done." });
            let refused = json!({ "description": "`{errors: [{code, message, detail}]}` of the protocol." });
            let security =
                if path.starts_with("/v2/") { json!([{ "bearer": [] }, { "registry": [] }]) } else { json!([]) };
            let operation = json!({
                "summary": summary,
                "tags": ["distribution"],
                "security": security,
                "parameters": names,
                "responses": { status.to_string(): done, "4XX": refused }
            });
            ((*method).to_owned(), operation)
        });
        (path.to_owned(), Value::Object(operations.collect()))
    };
    Map::from_iter([
        path("/v2/", &[("get", 200, "Whether the protocol is spoken and the token is good")]),
        path(
            "/v2/{name}/blobs/{digest}",
            &[
                ("get", 200, "Fetch a blob, or a range of it"),
                ("head", 200, "Look at a blob"),
                ("delete", 202, "Give up a blob; in a namespace of plugins 405"),
            ],
        ),
        path("/v2/{name}/blobs/uploads/", &[("post", 202, "Begin an upload, mount a blob, or push one at once")]),
        path(
            "/v2/{name}/blobs/uploads/{id}",
            &[
                ("get", 204, "How far an upload is"),
                ("patch", 202, "Continue an upload"),
                ("put", 201, "Finish an upload under its digest"),
                ("delete", 204, "Cancel an upload"),
            ],
        ),
        path(
            "/v2/{name}/manifests/{reference}",
            &[
                ("get", 200, "Fetch a manifest by tag or digest"),
                ("head", 200, "Look at a manifest"),
                ("put", 201, "Push a manifest; in a namespace of plugins a release or a signature"),
                ("delete", 202, "Delete a tag or a manifest; in a namespace of plugins 405"),
            ],
        ),
        path("/v2/{name}/tags/list", &[("get", 200, "List tags, in pages of `n` behind `last`")]),
        path("/v2/{name}/referrers/{digest}", &[("get", 200, "List what refers to a manifest, by `artifactType`")]),
        path("/.well-known/wasm-pkg/registry.json", &[("get", 200, "Where wasm's own clients find the registry")]),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = document(None);
        let text = document.to_string();
        let references: BTreeSet<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();

        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let ids: Vec<String> = endpoint::all().map(operation_id).collect();
        let unique: BTreeSet<&String> = ids.iter().collect();

        assert_eq!(ids.len(), unique.len(), "{ids:?}");
    }

    #[test]
    fn the_document_is_the_same_each_time_and_lists_every_code() {
        let first = document(None).to_string();

        assert_eq!(first, document(None).to_string());
        for code in Code::ALL {
            assert!(first.contains(&format!("\"{code}\"")), "{code}");
        }
        assert!(document(Some("https://p.example")).pointer("/servers/0/url").is_some());
    }
}
