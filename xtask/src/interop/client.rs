//! Somebody else's program: what it must be able to do, and what it must not.
//!
//! It knows no program's arguments; `walks` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::STEP;
use super::stage::Stage;
use crate::{Error, step, terminal};

/// With whose token a program acts.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// May do everything.
    Owner,
    /// May pull.
    Reader,
}

impl Holder {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Reader => "reader",
        }
    }
}

/// A program in the stage's folder. It finds its token where all of them look for one.
pub(super) struct Client<'a> {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) stage: &'a Stage,
    pub(super) holder: Holder,
}

impl Client<'_> {
    pub(super) fn must(&self, what: &str, arguments: &[&str]) -> Result<(), Error> {
        terminal::progress(&format!("{}: {what}", self.name));
        step::run(self.command(arguments).stdout(Stdio::null()), STEP)
    }

    /// With what it writes in a file of the stage.
    pub(super) fn must_write(&self, what: &str, arguments: &[&str], file: &str) -> Result<(), Error> {
        terminal::progress(&format!("{}: {what}", self.name));
        let path = self.stage.file(file);
        let output = fs::File::create(&path).map_err(Error::file("make", &path))?;
        step::run(self.command(arguments).stdout(output), STEP)
    }

    pub(super) fn must_not(&self, what: &str, arguments: &[&str]) -> Result<(), Error> {
        terminal::progress(&format!("{} must not: {what}", self.name));
        match step::run(self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()), STEP) {
            Err(Error::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Failed { line: format!("`{}` could {what}, and so this check", self.name) }),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.stage.file(self.holder.name());
        let mut command = Command::new(&self.program);
        command.current_dir(self.stage.folder()).args(arguments);
        command.env("REGISTRY_AUTH_FILE", folder.join("config.json")).env("DOCKER_CONFIG", folder);
        command
    }
}

/// Refuses two files that are not the same byte by byte.
pub(super) fn must_be_same(left: &Path, right: &Path) -> Result<(), Error> {
    let read = |path: &Path| fs::read(path).map_err(Error::file("read", path));
    if read(left)? == read(right)? {
        return Ok(());
    }
    Err(Error::Malformed { path: left.to_owned(), reason: format!("it is not `{}`", right.display()) })
}
