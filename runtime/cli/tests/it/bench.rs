//! A folder to work in, the binary to run in it, and a plugin project whose component is text.
//! It checks nothing by itself.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A manifest that the component of [`Bench::project`] agrees with.
pub(crate) const MANIFEST: &str = r#"
[plugin]
id = "acme.echo"
version = "1.2.0"
name = "Echo"
description = "Leaves each value as it is."
license = "MIT"

[component]
path = "echo.component.wasm"

[[hooks]]
name = "demo.echo"
kind = "filter"
"#;

/// A folder of one test.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with `plugin.toml` and a component: everything but the compiler's work.
    pub(crate) fn project() -> Self {
        let bench = Self::new();
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hostile/echo.wat");
        bench.write("plugin.toml", MANIFEST);
        bench.write("echo.component.wasm", wat::parse_file(text).unwrap());
        bench
    }

    /// A project that is packed and signed by the key `acme`.
    pub(crate) fn signed() -> Self {
        let bench = Self::project();
        bench.ok("pack");
        bench.ok("key generate --out acme");
        bench.ok("sign echo-1.2.0.wasm --key acme.key.pem");
        bench
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names of what lies in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The binary with these arguments, in the folder, without anything of the caller's environment.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("BULKHEAD_SERVER")
            .env_remove("BULKHEAD_TOKEN")
            .env_remove("COLUMNS");
        command
    }

    /// Runs it; it must succeed. Answers standard output.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it with `--json`; it must succeed. Answers the document.
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --json"))).unwrap()
    }

    /// Runs it; it must end with this exit code and change no file of the folder. Answers standard
    /// error, which ends with what to do next.
    pub(crate) fn fails(&self, code: i32, line: &str) -> String {
        let before = self.names();
        let output = self.command(line).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert_eq!(self.names(), before, "{line}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(code == 2 || last.starts_with("next: "), "{line}: {stderr}");
        stderr
    }

    /// The codes of a refusal, in the order in which they are told.
    pub(crate) fn refusal(&self, line: &str) -> Vec<String> {
        let output = self.command(&format!("{line} --json")).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{line}");
        let body: Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes = body["errors"].as_array().unwrap().iter();
        let mut codes: Vec<String> = codes.map(|error| error["code"].as_str().unwrap().to_owned()).collect();
        codes.dedup();
        codes
    }
}
