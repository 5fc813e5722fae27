//! `cargo xtask interop`: other people's clients against the registry of a real host.
//!
//! The project's own tests prove the protocol; this shows that what others make of it works here. It is no part of
//! `cargo xtask test`, since those clients are not on every machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::{self, Arguments};
use crate::{Error, demo, guests, project, step, terminal, tools};

const HELP: &str = "\
Builds the product, starts a host on loopback, publishes a plugin to its registry, and lets skopeo
list, fetch, copy, push again and delete there. Ends at the first step that goes otherwise than it
must. Needs `skopeo`, on Debian by `apt-get install skopeo`.

Usage: cargo xtask interop [--allow-rustup-download]
";

/// Bound of compiling the product from nothing.
const BUILD: Duration = Duration::from_secs(60 * 60);
/// Bound of one step.
const STEP: Duration = Duration::from_secs(60);
/// Pause between two looks at a host that starts.
const POLL: Duration = Duration::from_millis(50);

/// `cargo xtask interop`.
///
/// # Errors
/// [`Error::Missing`] without the client; the first step that failed, or did not where it must.
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    let skopeo = tools::find("skopeo").ok_or_else(|| Error::Missing {
        what: "`skopeo`",
        remedy: "install it, on Debian with `apt-get install skopeo`".to_owned(),
    })?;
    guests::build(arguments.take("--allow-rustup-download"))?;
    step::run(&mut demo::build_product(), BUILD)?;
    let stage = Stage::start()?;
    let token = stage.prepare()?;
    walk(&Skopeo { program: skopeo, stage: &stage, token })
}

/// What the client does, and what it must not be able to do.
fn walk(skopeo: &Skopeo<'_>) -> Result<(), Error> {
    let (plugin, mirror) = (skopeo.stage.image("acme/hello:0.1.0"), skopeo.stage.image("mirror/hello:0.1.0"));
    let layout = "oci:layout:0.1.0".to_owned();
    skopeo.must("list the versions", &["list-tags", TLS, &skopeo.stage.image("acme/hello")])?;
    skopeo.must("fetch a release", &["copy", SOURCE_TLS, &plugin, &layout])?;
    skopeo.must("push it to an open namespace", &["copy", DESTINATION_TLS, &layout, &mirror])?;
    skopeo.must("push a release again", &["copy", DESTINATION_TLS, &layout, &plugin])?;
    let renamed = skopeo.stage.image("acme/hello:0.2.0");
    skopeo.must_not("push a release as another version", &["copy", DESTINATION_TLS, &layout, &renamed])?;
    let deep = skopeo.stage.image("mirror/other/place:x");
    skopeo.must("copy between repositories", &["copy", "--all", SOURCE_TLS, DESTINATION_TLS, &mirror, &deep])?;
    skopeo.must("delete from an open namespace", &["delete", TLS, &mirror])?;
    skopeo.must_not("fetch what was deleted", &["inspect", "--raw", TLS, &mirror])?;
    skopeo.must_not("delete a release", &["delete", TLS, &plugin])
}

const TLS: &str = "--tls-verify=false";
const SOURCE_TLS: &str = "--src-tls-verify=false";
const DESTINATION_TLS: &str = "--dest-tls-verify=false";

struct Skopeo<'a> {
    program: PathBuf,
    stage: &'a Stage,
    token: String,
}

impl Skopeo<'_> {
    fn must(&self, what: &str, arguments: &[&str]) -> Result<(), Error> {
        terminal::progress(&format!("skopeo: {what}"));
        step::run(&mut self.command(arguments), STEP)
    }

    fn must_not(&self, what: &str, arguments: &[&str]) -> Result<(), Error> {
        terminal::progress(&format!("skopeo must not: {what}"));
        match step::run(self.command(arguments).stderr(Stdio::null()), STEP) {
            Err(Error::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Failed { line: format!("`skopeo` could {what}, and so this check") }),
        }
    }

    /// With the token as the password of anybody, for whatever the registry is in this command.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.stage.folder).arg("--insecure-policy").args(arguments);
        for argument in arguments {
            let credentials = match *argument {
                TLS => "--creds",
                SOURCE_TLS => "--src-creds",
                DESTINATION_TLS => "--dest-creds",
                _ => continue,
            };
            command.arg(format!("{credentials}=any:{}", self.token));
        }
        command
    }
}

/// A host in a folder of its own. It ends with the value.
struct Stage {
    folder: PathBuf,
    address: String,
    host: Child,
}

impl Stage {
    fn start() -> Result<Self, Error> {
        let folder = project::target().join("interop");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        step::run(bulkhead(&folder).arg("init"), STEP)?;
        let path = folder.join("serve.log");
        let log = fs::File::create(&path).map_err(Error::file("make", &path))?;
        let mut serve = bulkhead(&folder);
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0");
        let host = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let host = host.map_err(|source| Error::Start { program: "bulkhead serve".to_owned(), source })?;
        let mut stage = Self { folder, address: String::new(), host };
        let started = Instant::now();
        while started.elapsed() < STEP {
            let log = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
            if let Some((_, rest)) = log.split_once("listening on http://")
                && let Some((address, _)) = rest.split_once(',')
            {
                stage.address = address.to_owned();
                return Ok(stage);
            }
            std::thread::sleep(POLL);
        }
        Err(Error::Deadline { line: "bulkhead serve".to_owned(), seconds: STEP.as_secs() })
    }

    /// Grants namespaces, publishes a plugin, and answers a token for everything.
    fn prepare(&self) -> Result<String, Error> {
        self.run(&["registry", "namespace", "grant", "acme"])?;
        self.run(&["registry", "namespace", "grant", "mirror", "--kind", "open"])?;
        let mut create = self.command(&["registry", "token", "create", "--name", "all", "--repository", "*"])?;
        let made = create.args(["--scope", "admin"]).output();
        let made = made.map_err(|source| Error::Start { program: "bulkhead".to_owned(), source })?;
        let token = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let source = self.folder.join("hello");
        step::run(Command::new("cp").arg("-r").arg(project::root().join("plugins/hello")).arg(&source), STEP)?;
        let manifest = source.join("plugin.toml");
        let text = fs::read_to_string(&manifest).map_err(Error::file("read", &manifest))?;
        let component = project::guests().join("hello.wasm").display().to_string();
        let lines = text.lines().map(|line| {
            if line.starts_with("path = ") && line.contains(".wasm") {
                format!("path = \"{component}\"")
            } else {
                line.to_owned()
            }
        });
        fs::write(&manifest, lines.collect::<Vec<_>>().join("\n")).map_err(Error::file("write", &manifest))?;
        self.run(&["pack", "--manifest", "hello/plugin.toml", "--out", "hello-0.1.0.wasm"])?;
        self.run(&["key", "generate", "--out", "author"])?;
        self.run(&["sign", "hello-0.1.0.wasm", "--key", "author.key.pem"])?;
        let mut publish = self.command(&["publish", "hello-0.1.0.wasm", "--registry-only"])?;
        step::run(publish.env("BULKHEAD_REGISTRY_TOKEN", &token), STEP)?;
        Ok(token)
    }

    fn run(&self, arguments: &[&str]) -> Result<(), Error> {
        step::run(&mut self.command(arguments)?, STEP)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, Error> {
        let path = self.folder.join("tokens/super_admin.token");
        let token = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let mut command = bulkhead(&self.folder);
        command.args(arguments).env("BULKHEAD_SERVER", format!("http://{}", self.address));
        command.env("BULKHEAD_TOKEN", token.trim());
        Ok(command)
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.host.kill().and_then(|()| self.host.wait()).is_err() {
            terminal::progress("the host could not be ended");
        }
    }
}

fn bulkhead(folder: &Path) -> Command {
    let mut command = Command::new(demo::product());
    command.current_dir(folder);
    command
}
