//! The `bulkhead` binary as a process: commands to their end, and `serve` until it is ended or killed.
//! It knows no command; tests write the arguments.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::client::Client;
use crate::{host, programs};

/// Longest wait for a server to say where it listens.
const START_MAX: Duration = Duration::from_secs(20);
/// What a server says before its address.
const LISTENING: &str = "listening on http://";

/// What a command left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// This end if its exit code is the wanted one; the test ends otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}{}", self.stdout, self.stderr))
    }
}

/// The binary in a working folder, with an environment of its own.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Bulkhead {
    /// The binary in `folder`.
    pub fn at(folder: &Path) -> Self {
        Self { program: programs::bulkhead(), folder: folder.to_owned(), environment: Vec::new() }
    }

    /// With a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        let output = self.command(arguments).output().expect("the binary can be started");
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `serve` with these arguments and waits until it listens.
    pub fn serve<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Served {
        let mut command = self.command([OsStr::new("serve")]);
        command.args(arguments).stderr(Stdio::piped());
        Served::start(command)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("BULKHEAD_TOKEN")
            .env_remove("BULKHEAD_SERVER");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A `bulkhead serve` that runs. It is killed when it is dropped.
pub struct Served {
    child: Child,
    base: String,
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().expect("the binary can be started");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, receiver) = mpsc::channel();
        // Reads to the end, so that the server never waits for somebody to read its log.
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stderr);
            let mut seen = String::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                if let Some((_, rest)) = line.split_once(LISTENING) {
                    drop(sender.send(Ok(rest.split([',', ' ', '\n']).next().unwrap_or_default().to_owned())));
                    std::io::copy(&mut reader.by_ref(), &mut std::io::sink()).unwrap_or_default();
                    return;
                }
                seen.push_str(&line);
                line.clear();
            }
            drop(sender.send(Err(seen)));
        });
        let address = match receiver.recv_timeout(START_MAX) {
            Ok(Ok(address)) => address,
            Ok(Err(log)) => panic!("`bulkhead serve` ended: {log}"),
            Err(_) => panic!("`bulkhead serve` did not listen within {START_MAX:?}"),
        };
        Self { child, base: format!("http://{address}") }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A client with this token.
    pub fn client(&self, token: &str) -> Client {
        Client::new(&self.base, Some(token.to_owned()))
    }

    /// `kill -9`: nothing is told to the process.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server is gone");
    }

    /// SIGTERM, and its exit code.
    pub fn end(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, Signal::TERM).expect("the server can be told");
        self.child.wait().expect("the server ends").code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A folder with keys and a configuration of the test kit's, for hosts that are processes.
pub struct Installation {
    folder: tempfile::TempDir,
    bulkhead: Bulkhead,
}

impl Installation {
    /// An installation that holds no data yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = host::config(folder.path(), false);
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"\n[database]\nurl = \"sqlite:data\"\n\
            [policy]\nroot_keys = [\"keys/root.pub.pem\"]\n\
            [engine]\ninstances_max = {}\ncache_dir = {:?}\ncache_key_file = \"keys/cache.key\"\n\
            [limits]\nadmin_requests_per_minute = 1000000\n",
            config.engine.instances_max, config.engine.cache_dir,
        );
        std::fs::write(folder.path().join("bulkhead.toml"), text).expect("the temporary folder can be written");
        let bulkhead = Bulkhead::at(folder.path());
        Self { folder, bulkhead }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts its host.
    pub fn serve(&self) -> Served {
        self.bulkhead.serve(["--config", "bulkhead.toml"])
    }

    /// Starts its host with the folder `data` on a disk of its own, of `disk_bytes`, which `ballast_bytes` of a file take up.
    /// The disk is memory in a mount namespace of the process: nobody else sees it, and it goes with the process.
    pub fn serve_on_disk(&self, disk_bytes: u64, ballast_bytes: u64) -> OnDisk {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = format!(
            "mkdir data && mount -t tmpfs -o size={disk_bytes} tmpfs data && cd . && \
             head -c {ballast_bytes} /dev/zero > data/{BALLAST} && exec \"$0\" serve --config bulkhead.toml"
        );
        command.args(["--mount", "sh", "-c", &script]).arg(programs::bulkhead());
        command.current_dir(self.folder()).stdin(Stdio::null()).stderr(Stdio::piped());
        let served = Served::start(command);
        // The process's own view of its files, through which its disk can be reached.
        let view = PathBuf::from(format!("/proc/{}/root", served.child.id()));
        let data = self.folder().join("data");
        let ballast = view.join(data.strip_prefix("/").expect("an absolute path")).join(BALLAST);
        OnDisk { served, ballast }
    }
}

/// The file that takes up room on a disk.
const BALLAST: &str = "ballast";

/// A host on a disk of its own.
pub struct OnDisk {
    /// The host.
    pub served: Served,
    ballast: PathBuf,
}

impl OnDisk {
    /// Makes room on the disk.
    pub fn free(&self) {
        std::fs::remove_file(&self.ballast).expect("the ballast can be removed");
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}
