//! Lays file, environment and flags over each other and fills what depends on other values.
//! What is legal is `check`'s.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ::config::{Environment, FileFormat};
use serde_json::Value;

use super::check::{self, Issue};
use super::{Config, DATA_DIR, FILE_NAME, Mode, Overrides};

/// Largest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys that hold a list, which the environment writes with commas.
const LISTS: [&str; 4] = ["policy.root_keys", "plugins.by_default", "outbound.allow_private", "outbound.allow_http"];

pub(super) fn load(
    file: Option<&Path>,
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, Vec<Issue>> {
    let implied = Path::new(FILE_NAME);
    let file = file.or_else(|| implied.is_file().then_some(implied));
    let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
    // What is no UTF-8 cannot be a value of ours, and what others keep in the environment is not our business.
    let environment: HashMap<String, String> =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    let plugins_disabled =
        environment.get("PLUGINS_DISABLED").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));

    let text = file.map(read).transpose().map_err(|issue| vec![issue])?;
    let merged = merge(text.as_deref().unwrap_or_default(), overrides, environment).map_err(|issue| vec![issue])?;
    let mut config = check::parse(&merged)?;
    config.plugins_disabled = plugins_disabled;
    config.makes_keys = file.is_none() && config.auth.issuers.is_empty();
    place(&mut config, base, overrides);
    let keys = if file.is_some() { base.join("keys") } else { base.join(&config.server.data_dir).join("keys") };
    config.fill(base, &keys);
    let issues = check::issues(&config);
    if issues.is_empty() { Ok(config) } else { Err(issues) }
}

fn read(path: &Path) -> Result<String, Issue> {
    let unreadable = |reason: String| {
        Issue::new(
            "",
            format!("`{}` cannot be read: {reason}", path.display()),
            "name a configuration file with `--config FILE`, or make one with `bulkhead init`",
        )
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    let length =
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if u64::try_from(length).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(unreadable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn merge(text: &str, overrides: &Overrides, environment: HashMap<String, String>) -> Result<Value, Issue> {
    let mut variables = Environment::with_prefix("BULKHEAD")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .source(Some(environment));
    for key in LISTS {
        variables = variables.with_list_parse_key(key);
    }
    let flags = [
        ("server.listen", overrides.listen.clone()),
        ("server.data_dir", overrides.data_dir.as_ref().map(|path| path.display().to_string())),
        ("server.mode", overrides.mode.map(|mode| mode.as_str().to_owned())),
    ];
    let unusable = |error: ::config::ConfigError| {
        Issue::new("", error.to_string(), "correct the file or the variable that it names")
    };
    let mut layers =
        ::config::Config::builder().add_source(::config::File::from_str(text, FileFormat::Toml)).add_source(variables);
    for (key, value) in flags {
        layers = layers.set_override_option(key, value).map_err(unusable)?;
    }
    layers.build().and_then(::config::Config::try_deserialize).map_err(unusable)
}

/// Data folder and SQLite folder are one unless both are named. A flag's path is relative to the working folder, a
/// file's path to the file.
fn place(config: &mut Config, base: &Path, overrides: &Overrides) {
    if let Some(data_dir) = &overrides.data_dir {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.clone());
        if config.database.url.starts_with("sqlite:") {
            config.database.url = format!("sqlite:{}", data_dir.display());
        }
        config.server.data_dir = data_dir;
        return;
    }
    let data_dir_is_named = !config.server.data_dir.as_os_str().is_empty();
    let is_default_url = config.database.url == format!("sqlite:{DATA_DIR}");
    match config.database.url.strip_prefix("sqlite:").map(PathBuf::from) {
        Some(_) if data_dir_is_named && is_default_url => {
            config.database.url = format!("sqlite:{}", base.join(&config.server.data_dir).display());
        }
        Some(folder) => {
            config.database.url = format!("sqlite:{}", base.join(&folder).display());
            if !data_dir_is_named {
                config.server.data_dir = folder;
            }
        }
        None if !data_dir_is_named => config.server.data_dir = PathBuf::from(DATA_DIR),
        None => {}
    }
}

impl Mode {
    /// The mode as the file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Dev => "dev",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Issue>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("keys/issuer.pub.pem"), "").unwrap();
        let file = folder.path().join("bulkhead.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), &Overrides::default(), pairs(variables)).map(|mut config| {
            config.server.data_dir = config.server.data_dir.strip_prefix(folder.path()).unwrap().to_owned();
            config.database.url = config.database.url.replace(&format!("{}/", folder.path().display()), "");
            config
        })
    }

    fn pairs(variables: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)))
    }

    fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
        config(text, variables).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_configured_is_a_host_on_loopback_with_its_data_in_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("d");

        let overrides = Overrides { data_dir: Some(data_dir.clone()), ..Overrides::default() };
        let config = load(None, &overrides, pairs(&[])).unwrap();

        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.server.metrics_listen.to_string(), "127.0.0.1:9090");
        assert_eq!(config.server.data_dir, data_dir);
        assert_eq!(config.database.url, format!("sqlite:{}", data_dir.display()));
        assert_eq!(config.auth.issuers[0].public_key, Some(data_dir.join("keys/issuer.pub.pem")));
        assert_eq!(config.policy.root_keys, [data_dir.join("keys/root.pub.pem")]);
        assert_eq!(config.engine.cache_dir, data_dir.join("cache"));
        assert!(config.makes_keys);
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_win_over_both() {
        let text = "[server]\nlisten = \"127.0.0.1:1\"\n[engine]\ninstances_max = 5\n";
        let variables = [
            ("BULKHEAD__SERVER__LISTEN", "127.0.0.1:2"),
            ("BULKHEAD__ENGINE__INSTANCES_MAX", "7"),
            ("BULKHEAD__PLUGINS__BY_DEFAULT", "acme.crm,acme.billing"),
            ("BULKHEAD_TOKEN", "not a key"),
            ("PLUGINS_DISABLED", "1"),
        ];

        let read = config(text, &variables).unwrap();

        assert_eq!(read.server.listen.port(), 2);
        assert_eq!(read.engine.instances_max, 7);
        assert_eq!(read.plugins.by_default.len(), 2);
        assert!(read.plugins_disabled);
        let flags = Overrides { listen: Some("127.0.0.1:3".to_owned()), ..Overrides::default() };
        assert_eq!(load(None, &flags, pairs(&variables)).unwrap().server.listen.port(), 3);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let read = |text| {
            let config = config(text, &[]).unwrap();
            (config.database.url, config.server.data_dir.display().to_string())
        };
        let both = |path: &str| (format!("sqlite:{path}"), path.to_owned());

        assert_eq!(read(""), both("bulkhead-data"));
        assert_eq!(read("[database]\nurl = \"sqlite:d\""), both("d"));
        assert_eq!(read("[server]\ndata_dir = \"d\""), both("d"));
        assert_eq!(
            read("[server]\ndata_dir = \"d\"\n[database]\nurl = \"sqlite:e\""),
            ("sqlite:e".to_owned(), "d".to_owned())
        );
        assert_eq!(
            read("[database]\nurl = \"postgres://h/d\""),
            ("postgres://h/d".to_owned(), "bulkhead-data".to_owned())
        );
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_key() {
        let text = "colour = 1\n[server]\nlisten = \"8080\"\nlissen = 1\nmode = \"fast\"\n[database]\nurl = \"mysql://x\"\n[engine]\ninstances_max = 0\n[plugins]\nby_default = [\"x\"]";

        let problems = problems(text, &[("BULKHEAD__SERVER__TLS", "1"), ("BULKHEAD__LIMITS__DRAIN_MS", "soon")]);

        for key in [
            "colour",
            "server.listen",
            "server.lissen",
            "server.mode",
            "database.url",
            "engine.instances_max",
            "plugins.by_default.0",
            "server.tls",
            "limits.drain_ms",
        ] {
            let about = problems.iter().filter(|problem| problem.starts_with(&format!("`{key}`"))).count();
            assert_eq!(about, 1, "{key}: {problems:#?}");
        }
        assert!(problems.iter().any(|problem| problem.contains("production")), "{problems:#?}");
        assert_eq!(problems.len(), 9, "{problems:#?}");
    }

    #[test]
    fn what_is_legal_alone_may_be_wrong_together() {
        let check = |text: &str, key: &str| {
            let problems = problems(text, &[]);
            assert!(problems.len() == 1 && problems[0].starts_with(&format!("`{key}`")), "{problems:#?}");
        };

        check("[server]\nmode = \"dev\"\nlisten = \"0.0.0.0:8080\"", "server.listen");
        check("[server]\nmode = \"dev\"\nmetrics_listen = \"[::]:9090\"", "server.metrics_listen");
        check("[server]\nlisten = \"127.0.0.1:9090\"", "server.metrics_listen");
        check("[[auth.issuers]]\nkind = \"local\"\npublic_key = \"none.pem\"", "auth.issuers.0.public_key");
        check("[policy]\nroot_keys = [\"keys/issuer.pub.pem\"]\nthreshold = 2", "policy.threshold");
        check("[policy]\nroot_keys = [\"none.pem\"]", "policy.root_keys.0");
        check("[engine]\ncache_key_file = \"none.key\"", "engine.cache_key_file");
        check("[outbound]\nca_file = \"none.pem\"", "outbound.ca_file");
        check("[outbound]\nallow_private = [\"*:443\"]", "outbound.allow_private.0");
        check("[sources]\ndirectories = [\"none\"]", "sources.directories.0");
        check("[sources.credentials.npm]\nhosts = [\"a.example:443\"]", "sources.credentials.npm");
        check("[sources.credentials.npm]\nfile = \"none\"", "sources.credentials.npm.file");
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_the_place() {
        let problem = problems("[server\nlisten = 1", &[]).remove(0);

        assert!(problem.contains("line 1"), "{problem}");
        assert!(load(Some(Path::new("/none/x.toml")), &Overrides::default(), pairs(&[])).is_err());
    }
}
