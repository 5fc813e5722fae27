//! A host that the clients work with: started, with namespaces, tokens, a policy and a plugin that is packed and signed.
//!
//! It publishes nothing; the clients do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::STEP;
use super::client::Holder;
use crate::{Error, demo, project, step, terminal};

/// The packed plugin.
pub(super) const ARTIFACT: &str = "hello-0.1.0.wasm";
/// Its author's signature.
pub(super) const BUNDLE: &str = "hello-0.1.0.1.sigstore.json";
/// Its author's key.
pub(super) const PUBLIC_KEY: &str = "author.pub.pem";
/// Another key.
pub(super) const OTHER_KEY: &str = "other.pub.pem";
/// Pause between two looks at a host that starts.
const POLL: Duration = Duration::from_millis(50);

/// A host in a folder of its own, with a signed plugin beside it. It ends with the value.
pub(super) struct Stage {
    folder: PathBuf,
    address: String,
    artifact_hex: String,
    host: Child,
}

impl Stage {
    pub(super) fn start() -> Result<Self, Error> {
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
        let mut stage = Self { folder, address: String::new(), artifact_hex: String::new(), host };
        let started = Instant::now();
        while started.elapsed() < STEP {
            let log = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
            if let Some((_, rest)) = log.split_once("listening on http://")
                && let Some((address, _)) = rest.split_once(',')
            {
                stage.address = address.to_owned();
                stage.prepare()?;
                return Ok(stage);
            }
            std::thread::sleep(POLL);
        }
        Err(Error::Deadline { line: "bulkhead serve".to_owned(), seconds: STEP.as_secs() })
    }

    /// Grants namespaces, makes tokens, packs and signs a plugin, and lets the policy release what its author signs.
    fn prepare(&mut self) -> Result<(), Error> {
        self.run(&["registry", "namespace", "grant", "acme"])?;
        self.run(&["registry", "namespace", "grant", "mirror", "--kind", "open"])?;
        self.keep_token(Holder::Owner, &["--scope", "admin"])?;
        self.keep_token(Holder::Reader, &["--scope", "pull"])?;
        let source = self.file("hello");
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
        self.run(&["pack", "--manifest", "hello/plugin.toml", "--out", ARTIFACT])?;
        self.run(&["key", "generate", "--out", "author"])?;
        self.run(&["key", "generate", "--out", "other"])?;
        self.run(&["sign", ARTIFACT, "--key", "author.key.pem"])?;
        let digest = step::output(Command::new("sha256sum").arg(self.file(ARTIFACT)))?;
        self.artifact_hex = digest.split_whitespace().next().unwrap_or_default().to_owned();
        self.allow_author()
    }

    fn allow_author(&self) -> Result<(), Error> {
        let shown = step::output(self.command(&["key", "show", PUBLIC_KEY])?.stderr(Stdio::null()))?;
        let key = shown.split_whitespace().find(|word| word.starts_with("ed25519:")).unwrap_or_default();
        let policy = format!(
            "version = 1\nexpires = \"2199-01-01\"\n\
             [[principal]]\nname = \"author\"\nkeys = [\"{key}\"]\n\
             [[allow]]\nid = \"author\"\nplugin = \"acme.*\"\nversion = \"*\"\n\
             signers = [{{ role = \"author\", of = [\"author\"], threshold = 1 }}]\ntenants = [\"*\"]\n\
             [allow.ceiling]\ninterfaces = [\"bulkhead:plugin/*\"]\n"
        );
        let path = self.file("allow.toml");
        fs::write(&path, policy).map_err(Error::file("write", &path))?;
        let mut install = self.command(&["policy", "install", "allow.toml", "--key", "keys/root.key.pem"])?;
        step::run(install.env("BULKHEAD_TOKEN", self.token("security")?), STEP)
    }

    /// Makes a token and writes it where clients look for one.
    fn keep_token(&self, holder: Holder, scopes: &[&str]) -> Result<(), Error> {
        let mut create =
            self.command(&["registry", "token", "create", "--name", holder.name(), "--repository", "*"])?;
        let token = step::output(create.args(scopes).stderr(Stdio::null()))?;
        let secret = data_encoding::BASE64.encode(format!("any:{}", token.trim()).as_bytes());
        let folder = self.file(holder.name());
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        let path = folder.join("config.json");
        let text = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{secret}\"}}}}}}", self.address);
        fs::write(&path, text).map_err(Error::file("write", &path))
    }

    fn run(&self, arguments: &[&str]) -> Result<(), Error> {
        step::run(&mut self.command(arguments)?, STEP)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, Error> {
        let mut command = bulkhead(&self.folder);
        command.args(arguments).env("BULKHEAD_SERVER", format!("http://{}", self.address));
        command.env("BULKHEAD_TOKEN", self.token("super_admin")?);
        Ok(command)
    }

    fn token(&self, role: &str) -> Result<String, Error> {
        let path = self.file(&format!("tokens/{role}.token"));
        let token = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        Ok(token.trim().to_owned())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A name in the registry.
    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// SHA-256 of the artifact, in hex.
    pub(super) fn artifact_hex(&self) -> &str {
        &self.artifact_hex
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
