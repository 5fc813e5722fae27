//! `bulkhead new ID`: a plugin project that builds, with tests, a migration and a configuration schema.
//! The SDK's sources come along, so that nothing but public crates is downloaded.

use std::path::{Path, PathBuf};

use bulkhead_model::PluginId;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::Context;
use crate::error::{Error, count};
use crate::file::{self, Existing, PUBLIC};

/// The Rust SDK, its macros and the WIT package: path below `.bulkhead/`, and text.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The project itself: path, and text with names still open.
const TEMPLATE: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.txt")),
    ("plugin.toml", include_str!("../../templates/rust/plugin.toml")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs")),
    ("src/tests.rs", include_str!("../../templates/rust/src/tests.rs")),
    ("migrations/0001_greetings.sql", include_str!("../../templates/rust/migrations/0001_greetings.sql")),
    ("config.schema.json", include_str!("../../templates/rust/config.schema.json")),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (".gitignore", include_str!("../../templates/rust/gitignore.txt")),
];

/// Where a project carries the SDK.
const SDK_FOLDER: &str = ".bulkhead";

const EXAMPLES: &str = "\
Example:
  bulkhead new acme.crm
  cd crm
  cargo test                 the plugin against a mock host
  bulkhead build             crm-0.1.0.wasm

With a newer binary, the SDK inside a project is replaced by:
  bulkhead new acme.crm --dir . --upgrade";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct New {
    /// Plugin to begin: NAMESPACE.NAME
    #[arg(value_name = "ID")]
    id: PluginId,
    /// Language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Folder to write [default: the name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only replace the SDK's sources, in a project that is there
    #[arg(long)]
    upgrade: bool,
}

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    #[value(hide = true)]
    Typescript,
    #[value(hide = true)]
    Python,
}

impl New {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        if self.lang != Language::Rust {
            return Err(Error::Usage {
                what: "the only template of this version is `rust`".to_owned(),
                next: "use `--lang rust`, or pack a component that you build yourself with `bulkhead pack`".to_owned(),
            });
        }
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(self.id.name()));
        if self.upgrade {
            return upgrade(context, &folder);
        }
        let files = project(&self.id);
        write(&folder, &files)?;
        let body = json!({
            "folder": folder.display().to_string(),
            "files": files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
        });
        let text = format!("{} begins in `{}` ({})", self.id, folder.display(), count(files.len(), "file"));
        context.output.result(&body, &text);
        context.output.note(&format!("next: cd {} && cargo test && bulkhead build", folder.display()));
        Ok(())
    }
}

/// Gives a project the sources of this binary's SDK; the project's own files stay as they are.
fn upgrade(context: &Context, folder: &Path) -> Result<(), Error> {
    let carried = folder.join(SDK_FOLDER);
    if !carried.is_dir() {
        return Err(Error::Unusable {
            path: folder.to_owned(),
            wanted: "a plugin project",
            reason: format!("there is no `{SDK_FOLDER}` in it"),
            next: "name the project with `--dir DIR`, or begin one without `--upgrade`".to_owned(),
        });
    }
    // Written beside, then exchanged: a project is never left with half an SDK.
    let fresh = folder.join(format!("{SDK_FOLDER}.new"));
    file::clear_folder(&fresh, true);
    for (path, text) in SDK {
        let path = fresh.join(path);
        file::create_folder(path.parent().unwrap_or(&fresh))?;
        file::write(&path, text.as_bytes(), PUBLIC, Existing::Replace)?;
    }
    file::exchange_folder(&fresh, &carried)?;
    let text = format!("`{}` has the SDK of this version", carried.display());
    context.output.result(&json!({ "folder": carried.display().to_string() }), &text);
    context.output.note("next: cargo test, then bulkhead build");
    Ok(())
}

/// Writes a folder that was not there or was empty: completely, or not at all.
fn write(folder: &Path, files: &[(String, String)]) -> Result<(), Error> {
    let is_new = !folder.exists();
    let is_free = is_new || std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !is_free {
        return Err(Error::Exists { path: folder.to_owned(), next: "name an empty or a new folder with `--dir DIR`" });
    }
    let written = files.iter().try_for_each(|(path, text)| {
        let path = folder.join(path);
        file::create_folder(path.parent().unwrap_or(folder))?;
        file::write(&path, text.as_bytes(), PUBLIC, Existing::Keep("name another folder with `--dir DIR`"))
    });
    if written.is_err() {
        file::clear_folder(folder, is_new);
    }
    written
}

/// Every file of a new project: path and text.
fn project(id: &PluginId) -> Vec<(String, String)> {
    let own = TEMPLATE.iter().map(|(path, text)| ((*path).to_owned(), filled(text, id)));
    let sdk = SDK.iter().map(|(path, text)| (format!("{SDK_FOLDER}/{path}"), (*text).to_owned()));
    own.chain(sdk).collect()
}

/// A template with its names filled in. `Greeter` and `acme.greeter` stand for the plugin, so that the
/// template itself is Rust.
fn filled(text: &str, id: &PluginId) -> String {
    let package = format!("{}-{}", id.namespace(), id.name());
    text.replace("acme.greeter", id.as_str())
        .replace("acme_greeter", &package.replace('-', "_"))
        .replace("acme-greeter", &package)
        .replace("greeter-0.1.0", &format!("{}-0.1.0", id.name()))
        .replace("Greeter", &type_name(id.name()))
}

/// `my-crm` is `MyCrm`.
fn type_name(name: &str) -> String {
    let capitalized = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(capitalized).collect()
}

#[cfg(test)]
mod tests {
    use bulkhead_model::Manifest;

    use super::*;

    fn text_of(id: &str, path: &str) -> String {
        let files = project(&id.parse().unwrap());
        files.into_iter().find(|(name, _)| name == path).unwrap().1
    }

    #[test]
    fn the_manifest_of_a_new_project_is_valid() {
        for id in ["acme.crm", "my-org.my-crm-2"] {
            let manifest = Manifest::parse_toml(&text_of(id, "plugin.toml")).unwrap();

            assert_eq!(manifest.plugin.id.as_str(), id);
        }
    }

    #[test]
    fn names_follow_from_the_id() {
        let id = "my-org.my-crm";

        assert!(text_of(id, "Cargo.toml").contains("name = \"my-org-my-crm\""));
        assert!(text_of(id, "plugin.toml").contains("release/my_org_my_crm.wasm"));
        assert!(text_of(id, "src/lib.rs").contains("pub struct MyCrm;"));
        assert!(text_of(id, "README.md").contains("my-crm-0.1.0.wasm"));
    }

    #[test]
    fn nothing_of_the_template_is_left() {
        for (path, text) in project(&"zeta.omega".parse().unwrap()) {
            if !path.starts_with(".bulkhead/") {
                assert!(!text.to_lowercase().contains("greeter") && !text.contains("acme"), "{path}");
            }
        }
    }

    #[test]
    fn the_sdk_comes_along_and_stands_alone() {
        let manifest = text_of("acme.crm", ".bulkhead/sdk/rust/Cargo.toml");

        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(manifest.contains("path = \"../macros\""), "{manifest}");
        for file in ["sdk/rust/src/lib.rs", "sdk/macros/src/lib.rs", "wit/worlds.wit"] {
            assert!(!text_of("acme.crm", &format!(".bulkhead/{file}")).is_empty(), "{file}");
        }
    }
}
