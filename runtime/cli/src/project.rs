//! A plugin project on disk: `plugin.toml`, and the files that it names, as an artifact holds them.
//! It compiles nothing and judges no content; `bulkhead_trust` does.

use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_model::{Issue, Manifest};
use bulkhead_trust::{File, Files, Refusal};

use crate::error::Error;
use crate::file;

/// Most bytes of all files of a project that go into an artifact: those of its sections together.
const FILES_BYTES_MAX: u64 = 9 * 1024 * 1024;
/// Folders below one another that are searched.
const DEPTH_MAX: usize = 8;
/// Where the artifact holds the OpenAPI document and the translations, whatever their local names.
const OPENAPI: &str = "openapi.json";
const LOCALES: &str = "locales";

/// A manifest and the folder that its paths start from.
#[derive(Debug)]
pub(crate) struct Project {
    /// The manifest's file.
    pub(crate) manifest_path: PathBuf,
    /// The manifest, valid in itself.
    pub(crate) manifest: Manifest,
}

/// The files of a project by section.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Of `[migrations]`.
    pub(crate) migrations: Files,
    /// Everything else that the manifest names.
    pub(crate) assets: Files,
}

impl Project {
    /// Reads `plugin.toml`. Every problem of it is in the error.
    pub(crate) fn read(manifest_path: &Path) -> Result<Self, Error> {
        let text = file::read_text(manifest_path)?;
        let manifest = Manifest::parse_toml(&text).map_err(|issues| Error::Invalid {
            path: manifest_path.to_owned(),
            issues,
            next: "correct each field; `docs/reference/manifest.schema.json` describes them all",
        })?;
        Ok(Self { manifest_path: manifest_path.to_owned(), manifest })
    }

    /// The folder of the project; never empty.
    pub(crate) fn folder(&self) -> &Path {
        match self.manifest_path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        }
    }

    /// `<name>-<version>.wasm`.
    pub(crate) fn artifact_name(&self) -> String {
        let plugin = &self.manifest.plugin;
        format!("{}-{}.wasm", plugin.id.name(), plugin.version)
    }

    /// Where the compiled component lies.
    pub(crate) fn component_path(&self) -> Result<PathBuf, Error> {
        match &self.manifest.component {
            Some(component) => Ok(self.folder().join(&component.path)),
            None => Err(Error::Invalid {
                path: self.manifest_path.clone(),
                issues: vec![Issue::new("/component/path", "the path of the compiled component is needed here")],
                next: "add `[component]` with `path = \"target/wasm32-wasip2/release/NAME.wasm\"`",
            }),
        }
    }

    /// Every file that the manifest names. All problems are in the error.
    pub(crate) fn contents(&self) -> Result<Contents, Error> {
        let mut collector = Collector { folder: self.folder().to_owned(), bytes: 0, issues: Vec::new() };
        let mut contents = Contents::default();
        collector.migrations(&self.manifest, &mut contents.migrations);
        collector.assets(&self.manifest, &mut contents.assets);
        if collector.issues.is_empty() {
            return Ok(contents);
        }
        collector.issues.sort();
        Err(Error::Invalid {
            path: self.manifest_path.clone(),
            issues: collector.issues,
            next: "make the files and the manifest agree",
        })
    }
}

/// Reads files and keeps every problem instead of stopping at the first.
struct Collector {
    folder: PathBuf,
    bytes: u64,
    issues: Vec<Issue>,
}

impl Collector {
    fn migrations(&mut self, manifest: &Manifest, files: &mut Files) {
        if let Some(path) = manifest.migrations.as_ref().and_then(|section| section.path.as_deref()) {
            self.folder("/migrations/path", path, "", files);
        }
    }

    fn assets(&mut self, manifest: &Manifest, files: &mut Files) {
        let mut named: Vec<(String, &str)> = Vec::new();
        named.extend(manifest.config.iter().map(|config| ("/config/schema".to_owned(), config.schema.as_str())));
        for (index, point) in manifest.extension_points.iter().enumerate() {
            named.extend(
                point.schema.iter().map(|schema| (format!("/extension_points/{index}/schema"), schema.as_str())),
            );
        }
        for (index, topic) in manifest.events.publishes.iter().enumerate() {
            named.extend(
                topic.schema.iter().map(|schema| (format!("/events/publishes/{index}/schema"), schema.as_str())),
            );
        }
        for (index, view) in manifest.views.provides.iter().enumerate() {
            named.push((format!("/views/provides/{index}/sql"), view.sql.as_str()));
        }
        for (pointer, path) in named {
            // Two fields may name one file.
            if files.find(path).is_none() {
                self.file(&pointer, &self.folder.join(path), path, files);
            }
        }
        if let Some(path) = manifest.openapi.as_ref().and_then(|section| section.path.as_deref()) {
            self.file("/openapi/path", &self.folder.join(path), OPENAPI, files);
        }
        if let Some(path) = manifest.translations.as_ref().and_then(|section| section.path.as_deref()) {
            self.folder("/translations/path", path, LOCALES, files);
        }
        if let Some(path) = manifest.ui.as_ref().and_then(|ui| ui.assets.as_deref()) {
            self.folder("/ui/assets", path, path, files);
        }
    }

    /// Every file below `path`, named from `prefix`.
    fn folder(&mut self, pointer: &str, path: &str, prefix: &str, files: &mut Files) {
        let root = self.folder.join(path);
        let mut open = vec![(root, prefix.to_owned(), 0)];
        while let Some((folder, prefix, depth)) = open.pop() {
            let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => {
                    self.issue(pointer, &folder, &error.to_string());
                    continue;
                }
            };
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => open.push((entry.path(), name, depth + 1)),
                    Ok(kind) if kind.is_file() => self.file(pointer, &entry.path(), &name, files),
                    Ok(kind) if kind.is_dir() => self.issue(pointer, &entry.path(), "folders are nested too deeply"),
                    // A link could bring in a file from anywhere.
                    Ok(_) => self.issue(pointer, &entry.path(), "neither a file nor a folder"),
                    Err(error) => self.issue(pointer, &entry.path(), &error.to_string()),
                }
            }
        }
    }

    fn file(&mut self, pointer: &str, path: &Path, name: &str, files: &mut Files) {
        let bytes = match file::read(path, FILES_BYTES_MAX.saturating_sub(self.bytes)) {
            Ok(bytes) => bytes,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                return self.issue(pointer, path, &cause.unwrap_or_else(|| error.to_string()));
            }
        };
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let file = File { media_type: media_type(name).to_owned(), bytes };
        if let Err(Refusal { detail, .. }) = files.insert(name, file) {
            self.issue(pointer, path, &detail);
        }
    }

    fn issue(&mut self, pointer: &str, path: &Path, reason: &str) {
        self.issues.push(Issue::new(pointer, format!("`{}`: {reason}", path.display())));
    }
}

/// Media type by the ending of a name.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("sql") => "application/sql",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt" | "md" | "wit" | "ftl") => "text/plain; charset=utf-8",
        Some("yaml" | "yml") => "application/yaml",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [plugin]
        id = "acme.crm"
        version = "1.2.0"
        name = "CRM"
        [config]
        schema = "config.schema.json"
        [migrations]
        path = "migrations"
        [ui]
        assets = "ui"
    "#;

    fn project(folder: &Path, manifest: &str) -> Result<Project, Error> {
        fs::write(folder.join("plugin.toml"), manifest).unwrap();
        Project::read(&folder.join("plugin.toml"))
    }

    #[test]
    fn the_files_that_a_manifest_names_are_collected_with_their_media_types() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("config.schema.json", "{}"),
            ("migrations/0001_a.sql", "x"),
            ("ui/index.html", "y"),
            ("ui/js/a.js", "z"),
            ("other.txt", "not named"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        let project = project(folder.path(), MANIFEST).unwrap();
        let contents = project.contents().unwrap();

        assert_eq!(project.artifact_name(), "crm-1.2.0.wasm");
        assert_eq!(contents.migrations.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["0001_a.sql"]);
        let assets: Vec<_> = contents.assets.iter().map(|(path, file)| (path, file.media_type.as_str())).collect();
        assert_eq!(
            assets,
            [
                ("config.schema.json", "application/json"),
                ("ui/index.html", "text/html; charset=utf-8"),
                ("ui/js/a.js", "text/javascript; charset=utf-8"),
            ]
        );
    }

    #[test]
    fn every_file_that_is_missing_or_not_plain_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("ui")).unwrap();
        fs::write(folder.path().join("ui/.secret"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("ui/link")).unwrap();

        let error = project(folder.path(), MANIFEST).unwrap().contents().unwrap_err();

        let Error::Invalid { issues, .. } = error else { panic!("{error}") };
        let pointers: Vec<_> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
        assert_eq!(pointers, ["/config/schema", "/migrations/path", "/ui/assets", "/ui/assets"]);
    }

    #[test]
    fn every_problem_of_a_manifest_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();

        let error = project(folder.path(), "[plugin]\nid = \"Acme\"\nversion = \"1\"\nunknown = 1").unwrap_err();

        let Error::Invalid { issues, .. } = error else { panic!("{error}") };
        let pointers: Vec<_> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
        assert_eq!(pointers, ["/plugin/id", "/plugin/name", "/plugin/unknown", "/plugin/version"]);
    }
}
