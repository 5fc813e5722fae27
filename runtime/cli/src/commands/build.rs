//! `bulkhead build`: compiles a Rust plugin project for `wasm32-wasip2` and packs the artifact.
//! Finding or making a toolchain is the business of `bulkhead_toolchain`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use bulkhead_toolchain::{Request, TARGET, cache_dir_below, find_or_make};
use clap::Args;

use super::Context;
use super::pack::Options;
use crate::error::Error;
use crate::project::Project;

const EXAMPLES: &str = "\
The first build on a machine may have to make a toolchain: about two minutes and 140 MB, once. It is kept \
in ~/.cache/bulkhead. A compiler of your own is used when BULKHEAD_WASM_RUSTC names it.

Examples:
  bulkhead build
  bulkhead build --manifest crm/plugin.toml --out crm.wasm";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    #[command(flatten)]
    options: Options,
    /// Compiler to use, with a standard library for wasm32-wasip2
    #[arg(long, env = "BULKHEAD_WASM_RUSTC", value_name = "RUSTC")]
    rustc: Option<PathBuf>,
    /// Let rustup download the target
    #[arg(long)]
    allow_rustup_download: bool,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true, default_value = ".")]
    home: PathBuf,
}

impl Build {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Error> {
        let project = Project::read(&self.options.manifest)?;
        let component = project.component_path()?;
        self.compile(context, &project, &component)?;
        self.options.pack(context, &project)
    }

    fn compile(&self, context: &Context, project: &Project, component: &Path) -> Result<(), Error> {
        if !project.folder().join("Cargo.toml").is_file() {
            return Err(Error::Step {
                what: "compile the plugin",
                reason: format!("there is no `Cargo.toml` in `{}`", project.folder().display()),
                next: "`bulkhead new` begins a project; `bulkhead pack` packs a component that something else built"
                    .to_owned(),
            });
        }
        let target_dir = target_dir(project, component)?;
        let progress = context.output.progress("looking for a toolchain");
        let toolchain =
            find_or_make(&self.request(), &mut |step| progress.step(step)).map_err(|error| Error::Step {
                what: "find a toolchain",
                reason: error.to_string(),
                next: "make one of these ways possible and run it again".to_owned(),
            })?;
        drop(progress);
        let mut cargo = toolchain.build_command(project.folder(), &target_dir);
        if context.output.is_quiet {
            cargo.arg("--quiet");
        }
        // Cargo writes its progress to standard error, which is where progress belongs.
        let status = cargo.status().map_err(|error| Error::Step {
            what: "start `cargo`",
            reason: error.to_string(),
            next: "install Rust from your system's packages or from https://rustup.rs".to_owned(),
        })?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Step {
            what: "compile the plugin",
            reason: format!("`cargo build` ended with {status}"),
            next: "correct what the compiler says above".to_owned(),
        })
    }

    fn request(&self) -> Request {
        let cache = self.cache_home.clone().unwrap_or_else(|| self.home.join(".cache"));
        Request {
            rustc_override: self.rustc.clone(),
            cache_dir: cache_dir_below(&cache),
            allow_rustup_download: self.allow_rustup_download,
            jobs: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// The target folder in which Cargo leaves the component where the manifest expects it.
fn target_dir(project: &Project, component: &Path) -> Result<PathBuf, Error> {
    let folder = component.parent().filter(|folder| folder.ends_with(Path::new(TARGET).join("release")));
    let above = folder.and_then(|folder| folder.parent()?.parent());
    let above = above.ok_or_else(|| Error::Unusable {
        path: component.to_owned(),
        wanted: "a place where Cargo leaves a component",
        reason: format!("it does not lie in `{TARGET}/release`"),
        next: format!(
            "set `[component]` `path` in `{}` to `target/{TARGET}/release/NAME.wasm`",
            project.manifest_path.display()
        ),
    })?;
    std::path::absolute(above).map_err(|source| Error::Read { path: above.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn target_of(component: &str) -> Result<PathBuf, Error> {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("plugin.toml");
        fs::write(&manifest, "[plugin]\nid = \"acme.crm\"\nversion = \"1.0.0\"\nname = \"CRM\"").unwrap();
        target_dir(&Project::read(&manifest).unwrap(), Path::new(component))
    }

    #[test]
    fn the_target_folder_follows_from_the_components_path() {
        assert_eq!(target_of("/p/target/wasm32-wasip2/release/crm.wasm").unwrap(), Path::new("/p/target"));
        assert!(target_of("/p/crm.wasm").is_err());
        assert!(target_of("/p/target/wasm32-wasip2/debug/crm.wasm").is_err());
    }
}
