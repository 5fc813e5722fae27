//! Guests: the Rust plugins as `cargo xtask guests` builds them, the hostile ones as text, and small ones of the tests'
//! own. It signs none; see `release`.

use std::path::{Path, PathBuf};

use bulkhead_model::Manifest;
use bulkhead_trust::{File, Files};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::keys::Key;
use crate::programs;
use crate::release::{Release, Source};

/// A guest by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// A Rust plugin of `plugins/<name>`.
    Built(&'static str),
    /// A component of `plugins/hostile/<name>.wat`, behind the filter `demo.value`.
    Hostile(&'static str),
    /// The tests' own guest with routes: see `guests/routes.wat`.
    Routes,
}

/// `acme.hello`: routes, a filter, configuration, a table, health.
pub const HELLO: Guest = Guest::Built("hello");
/// `acme.notes`: a small application with sql and kv.
pub const NOTES: Guest = Guest::Built("notes");
/// `acme.board`: reads the view that [`NOTES`] publishes, and any other that its manifest uses.
pub const BOARD: Guest = Guest::Built("board");
/// `test.routes`: tells everything that it was told, or misbehaves, as its path says.
pub const ROUTES: Guest = Guest::Routes;
/// The hook behind which hostile guests stand.
pub const HOSTILE_HOOK: &str = "demo.value";

/// A hostile guest: `hostile.<name>`, with hyphens for underscores.
pub const fn hostile(name: &'static str) -> Guest {
    Guest::Hostile(name)
}

impl Guest {
    /// Its plugin id.
    pub fn id(self) -> String {
        match self {
            Self::Built(name) => format!("acme.{name}"),
            Self::Hostile(name) => format!("hostile.{}", name.replace('_', "-")),
            Self::Routes => "test.routes".to_owned(),
        }
    }

    /// What its author has before packing, to be changed by a test.
    pub fn source(self) -> Source {
        match self {
            Self::Built(name) => built(name),
            Self::Hostile(name) => hostile_source(name),
            Self::Routes => routes_source(),
        }
    }

    /// Its artifact with an author's signature.
    pub fn signed_by(self, author: Key) -> Release {
        self.source().signed_by(author)
    }
}

fn built(name: &str) -> Source {
    let folder = programs::root().join("plugins").join(name);
    let component = programs::root().join("target/guests").join(format!("{name}.wasm"));
    let mut assets = Files::new();
    let schema = folder.join("config.schema.json");
    if schema.is_file() {
        insert(&mut assets, "config.schema.json", "application/schema+json", read(&schema));
    }
    for path in entries(&folder.join("views")) {
        let name = format!("views/{}", path.file_name().unwrap_or_default().to_string_lossy());
        insert(&mut assets, &name, "application/sql", read(&path));
    }
    let mut migrations = Files::new();
    for path in entries(&folder.join("migrations")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        insert(&mut migrations, &name, "application/sql", read(&path));
    }
    Source {
        manifest: manifest(&String::from_utf8_lossy(&read(&folder.join("plugin.toml")))),
        component: std::fs::read(&component).unwrap_or_else(|error| {
            panic!("`{}` cannot be read ({error}): run `cargo xtask guests` first", component.display())
        }),
        migrations,
        assets,
    }
}

fn hostile_source(name: &str) -> Source {
    let path = programs::root().join("plugins/hostile").join(format!("{name}.wat"));
    let component = wat::parse_file(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    let id = Guest::Hostile("").id() + &name.replace('_', "-");
    plain(
        &format!(
            "[plugin]\nid = \"{id}\"\nversion = \"0.1.0\"\nname = \"{name}\"\n[[hooks]]\nname = \"{HOSTILE_HOOK}\"\nkind = \"filter\"\n"
        ),
        component,
    )
}

fn routes_source() -> Source {
    const MANIFEST: &str = r#"
        [plugin]
        id = "test.routes"
        version = "0.1.0"
        name = "Routes"
        [[permissions]]
        name = "secret.see"
        title = "See the secret"
    "#;
    const ROUTES: [(&str, &str); 12] = [
        ("GET", "/"),
        ("POST", "/"),
        ("GET", "/echo/{one}"),
        ("GET", "/echo/{one}/{two}"),
        ("GET", "/echo/special"),
        ("GET", "/loop"),
        ("GET", "/trap"),
        ("GET", "/recurse"),
        ("GET", "/memory"),
        ("GET", "/big"),
        ("GET", "/denied"),
        ("GET", "/status"),
    ];
    let mut text = MANIFEST.to_owned();
    for (method, path) in ROUTES {
        text.push_str(&format!("[[routes]]\nmethod = \"{method}\"\npath = \"{path}\"\n"));
    }
    text.push_str("[[routes]]\nmethod = \"GET\"\npath = \"/guarded\"\npermission = \"secret.see\"\n");
    plain(&text, component(include_str!("../guests/routes.wat"), &[], &["routes"]))
}

/// A guest without migrations and assets.
pub fn plain(manifest_toml: &str, component: Vec<u8>) -> Source {
    Source { manifest: manifest(manifest_toml), component, migrations: Files::new(), assets: Files::new() }
}

/// A component in text form, as bytes.
pub fn text(component_text: &str) -> Vec<u8> {
    wat::parse_str(component_text).unwrap_or_else(|error| panic!("the guest's text: {error}"))
}

/// A component of a core module in text form that imports and exports these interfaces of the contract.
pub fn component(module_text: &str, imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut resolve = Resolve::new();
    resolve.push_dir(programs::root().join("wit")).expect("the project's WIT");
    let line = |verb: &str, name: &&str| format!("{verb} bulkhead:plugin/{name}@0.1.0;\n");
    let lines: String = imports
        .iter()
        .map(|name| line("import", name))
        .chain(exports.iter().map(|name| line("export", name)))
        .collect();
    let package =
        resolve.push_str("guest.wit", &format!("package test:guest;\nworld guest {{\n{lines}}}")).expect("a world");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    let mut module = text(module_text);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata");
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .unwrap_or_else(|error| panic!("the guest's component: {error:#}"))
}

fn manifest(text: &str) -> Manifest {
    Manifest::parse_toml(text).unwrap_or_else(|issues| panic!("a guest's manifest: {issues:#?}"))
}

fn insert(files: &mut Files, path: &str, media_type: &str, bytes: Vec<u8>) {
    files.insert(path, File { media_type: media_type.to_owned(), bytes }).expect("a file that may be in an artifact");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("a folder's entry").path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}
