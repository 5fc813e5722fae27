//! Puts the sources of the Rust SDK and the WIT package into the binary, so that `bulkhead new`
//! writes a project that builds anywhere. It changes no source: only the manifests are rewritten to
//! stand alone, outside the workspace that they inherit from here.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Folders of sources, and where a new project has them, below `.bulkhead/`.
const FOLDERS: [(&str, &str); 3] =
    [("sdk/rust/src", "sdk/rust/src"), ("sdk/macros/src", "sdk/macros/src"), ("wit", "wit")];
/// Crates whose manifests are rewritten.
const CRATES: [&str; 2] = ["sdk/rust", "sdk/macros"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    let workspace = read_table(&root.join("Cargo.toml"))?;
    let mut table = String::from("&[\n");
    for name in CRATES {
        let path = root.join(name).join("Cargo.toml");
        let written = out.join(format!("{}.toml", name.replace('/', "-")));
        fs::write(&written, standalone(&read_table(&path)?, &workspace)?)?;
        writeln!(table, "    ({:?}, include_str!({written:?})),", format!("{name}/Cargo.toml"))?;
        watch(&path);
    }
    for (source, target) in FOLDERS {
        let folder = root.join(source);
        watch(&folder);
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        for file in files {
            let name = format!("{target}/{}", file.strip_prefix(&folder)?.display());
            writeln!(table, "    ({name:?}, include_str!({file:?})),")?;
        }
    }
    table.push(']');
    fs::write(out.join("sdk.rs"), table)?;
    watch(&root.join("Cargo.toml"));
    Ok(())
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn read_table(path: &Path) -> Result<Table, Box<dyn Error>> {
    Ok(fs::read_to_string(path)?.parse()?)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The manifest with what it inherits written out; without lints and development dependencies.
fn standalone(manifest: &Table, workspace: &Table) -> Result<String, Box<dyn Error>> {
    let inherited = |section: &str| -> Result<&Table, Box<dyn Error>> {
        let found = workspace.get("workspace").and_then(|table| table.get(section)?.as_table());
        Ok(found.ok_or_else(|| format!("the workspace has no `{section}`"))?)
    };
    let mut alone = Table::new();
    for section in ["package", "lib", "dependencies", "features", "target"] {
        if let Some(value) = manifest.get(section) {
            alone.insert(section.to_owned(), value.clone());
        }
    }
    for (section, source) in [("package", "package"), ("dependencies", "dependencies")] {
        let source = inherited(source)?;
        for (name, value) in alone.get_mut(section).and_then(Value::as_table_mut).into_iter().flatten() {
            if value.get("workspace").and_then(Value::as_bool) == Some(true) {
                let whole = source.get(name).ok_or_else(|| format!("nothing to inherit for `{name}`"))?;
                *value = beside(whole);
            }
        }
    }
    Ok(toml::to_string(&alone)?)
}

/// A dependency that the workspace finds from its root is found from a neighbouring crate's folder.
fn beside(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(Value::String(path)) = value.get_mut("path")
        && let Some(name) = path.strip_prefix("sdk/")
    {
        *path = format!("../{name}");
    }
    value
}
