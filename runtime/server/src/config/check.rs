//! Says what of a configuration is wrong, all of it at once: schema first, then what two values say together.
//! It changes nothing.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use bulkhead_host::fetch::Place;
use bulkhead_model::PluginId;
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::{Config, Mode, Sources};

/// A problem of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The key, with dots; empty for the whole file.
    pub key: String,
    /// What is wrong and what was wanted.
    pub problem: String,
    /// What to do.
    pub action: String,
}

impl Issue {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>, action: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), action: action.into() }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.action)
    }
}

/// Forms of text, and how a person is told of each.
const FORMATS: [(&str, &str); 6] = [
    ("socket-address", "an IP address and port such as `127.0.0.1:8080`"),
    ("http-url", "an address such as `https://plugins.example.com`"),
    ("database-url", "`sqlite:<folder>` or `postgres://user:password@host/database`"),
    ("log-filter", "a level such as `info`, or levels per module such as `warn,bulkhead_host=debug`"),
    ("host-and-port", "a host and a port such as `registry.corp.example:5000`, `*.corp.example:443` or `10.1.2.3:*`"),
    ("plugin-id", "a plugin id such as `acme.crm`"),
];

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), Value::from("Bulkhead configuration"));
    }
    schema
});

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_format("socket-address", |text| text.parse::<std::net::SocketAddr>().is_ok())
        .with_format("http-url", is_http_url)
        .with_format("database-url", is_database_url)
        .with_format("log-filter", |text| tracing_subscriber::EnvFilter::try_new(text).is_ok())
        .with_format("host-and-port", |text| text.parse::<Place>().is_ok())
        .with_format("plugin-id", |text| text.parse::<PluginId>().is_ok())
        .should_validate_formats(true)
        .build(&SCHEMA)
        .unwrap_or_else(|error| unreachable!("the configuration's own schema is valid, a test builds it: {error}"))
});

pub(super) fn schema() -> &'static Value {
    &SCHEMA
}

/// The configuration in `merged`, whose paths are still as written.
pub(super) fn parse(merged: &Value) -> Result<Config, Vec<Issue>> {
    let issues: Vec<Issue> = VALIDATOR.iter_errors(merged).flat_map(|error| told(&error)).collect();
    if !issues.is_empty() {
        return Err(issues);
    }
    serde_json::from_value(merged.clone()).map_err(|error| vec![Issue::new("", error.to_string(), CORRECT)])
}

const CORRECT: &str = "correct it in the file or the environment";

fn told(error: &ValidationError<'_>) -> Vec<Issue> {
    let path = error.instance_path().to_string();
    let key = |name: &str| format!("{path}/{name}").trim_matches('/').replace('/', ".");
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(&path);
            unexpected
                .iter()
                .map(|name| {
                    Issue::new(key(name), "there is no such key", format!("remove it; the keys here are {known}"))
                })
                .collect()
        }
        ValidationErrorKind::Format { format } => {
            let wanted = FORMATS.iter().find(|(name, _)| name == format).map_or(format.as_str(), |(_, wanted)| wanted);
            vec![Issue::new(key(""), format!("this must be {wanted}"), CORRECT)]
        }
        // The value may be a password in a wrong place: it is not repeated.
        _ => vec![Issue::new(key(""), error.masked_with("the value").to_string(), CORRECT)],
    }
}

fn known_keys(pointer: &str) -> String {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let keys = defaults
        .pointer(pointer)
        .and_then(Value::as_object)
        .map(|object| object.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>());
    keys.unwrap_or_else(|| vec!["in the reference".to_owned()]).join(", ")
}

/// What is wrong between values, and with the files that they name.
pub(super) fn issues(config: &Config) -> Vec<Issue> {
    let mut issues = Vec::new();
    let server = &config.server;
    for (key, address) in [("server.listen", server.listen), ("server.metrics_listen", server.metrics_listen)] {
        if server.mode == Mode::Dev && !address.ip().is_loopback() {
            issues.push(Issue::new(
                key,
                format!("dev mode admits unsigned plugins and never listens on `{address}`"),
                "listen on 127.0.0.1, or set server.mode = \"production\"",
            ));
        }
    }
    if server.listen == server.metrics_listen && server.listen.port() != 0 {
        issues.push(Issue::new("server.metrics_listen", "this is the address of the API", "choose another port"));
    }
    let mut file = |key: String, path: &Path, action: &str| {
        if !path.is_file() {
            issues.push(Issue::new(key, format!("there is no file `{}`", path.display()), action));
        }
    };
    if !config.makes_keys {
        for (index, issuer) in config.auth.issuers.iter().enumerate() {
            if let Some(public_key) = &issuer.public_key {
                file(
                    format!("auth.issuers.{index}.public_key"),
                    public_key,
                    "make keys with `bulkhead init`, or name the issuer's public key",
                );
            }
        }
        for (index, key) in config.policy.root_keys.iter().enumerate() {
            file(
                format!("policy.root_keys.{index}"),
                key,
                "make keys with `bulkhead init`, or name the root's public key",
            );
        }
    }
    if !config.makes_cache_key {
        file(
            "engine.cache_key_file".to_owned(),
            &config.engine.cache_key_file,
            "write 64 random hex digits to it, or leave the key out",
        );
    }
    if let Some(key) = config.registry.signing_key_file.as_deref().filter(|_| !config.makes_keys) {
        file(
            "registry.signing_key_file".to_owned(),
            key,
            "make one with `bulkhead key generate`, or leave the key out",
        );
    }
    if let Some(path) = &config.outbound.ca_file {
        file("outbound.ca_file".to_owned(), path, "write the authorities' certificates to it, or leave the key out");
    }
    file("engine.compile_worker".to_owned(), &config.engine.compile_worker, "name the `bulkhead` program");
    issues.extend(of_sources(&config.sources));
    let roots = u32::try_from(config.policy.root_keys.len()).unwrap_or(u32::MAX);
    if roots > 0 && config.policy.threshold > roots {
        issues.push(Issue::new(
            "policy.threshold",
            format!("{roots} root key(s) cannot give {} signatures", config.policy.threshold),
            "add root keys or lower the threshold",
        ));
    }
    issues.extend(super::issuers::issues(&config.auth));
    issues
}

/// What is wrong with folders and credentials of sources.
fn of_sources(sources: &Sources) -> Vec<Issue> {
    let mut issues = Vec::new();
    for (name, credential) in &sources.credentials {
        let key = format!("sources.credentials.{name}");
        match (&credential.env, &credential.file) {
            (Some(_), None) => {}
            (None, Some(path)) if path.is_file() => {}
            (None, Some(path)) => {
                let problem = format!("there is no file `{}`", path.display());
                issues.push(Issue::new(format!("{key}.file"), problem, "write the secret to it"));
            }
            (Some(_), Some(_)) | (None, None) => {
                issues.push(Issue::new(key, "one of `env` and `file` says where the secret is", CORRECT));
            }
        }
    }
    for (index, folder) in sources.directories.iter().enumerate() {
        if !folder.is_dir() {
            let problem = format!("there is no folder `{}`", folder.display());
            issues.push(Issue::new(
                format!("sources.directories.{index}"),
                problem,
                "make it, or take it off the list",
            ));
        }
    }
    issues
}

fn is_http_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    })
}

fn is_database_url(text: &str) -> bool {
    let folder = text.strip_prefix("sqlite:").is_some_and(|folder| !folder.is_empty() && !folder.starts_with("//"));
    folder
        || ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}
