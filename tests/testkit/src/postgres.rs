//! A PostgreSQL cluster of the test's own: on a socket in a temporary folder, gone at the end.
//! It holds nothing that a crash may not lose, so it is started without durability.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Longest wait for the cluster to answer.
const START_MAX: Duration = Duration::from_secs(30);
/// The user under whom the server runs where the tests are root's, whom it refuses.
const SERVER_USER: &str = "postgres";
/// Where Debian keeps the programs.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";

/// A running cluster.
pub struct Cluster {
    folder: tempfile::TempDir,
    server: Child,
}

impl Cluster {
    /// Makes and starts a cluster.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("bulkhead-postgres-").tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let owner = (rustix::process::geteuid().is_root()).then(owner);
        std::fs::create_dir(&data).expect("the cluster's folder");
        if let Some((user, group)) = owner {
            for path in [folder.path(), &data] {
                std::os::unix::fs::chown(path, Some(user), Some(group))
                    .expect("the cluster's folder can be given away");
            }
        }
        std::fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("the cluster's folder");
        let mut initdb = command("initdb", owner);
        initdb
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data);
        let made = initdb.output().expect("initdb can be started");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        let mut postgres = command("postgres", owner);
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in
            ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=64"]
        {
            postgres.args(["-c", setting]);
        }
        let server = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres can be started");
        let mut cluster = Self { folder, server };
        cluster.wait();
        cluster
    }

    /// The address of its one database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Runs statements as the cluster's owner, each in a transaction of its own.
    pub fn run(&self, statements: &[&str]) {
        let mut psql = Command::new(find("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--username=postgres", "--host"]);
        psql.arg(self.folder.path()).arg("postgres");
        for statement in statements {
            psql.args(["--command", statement]);
        }
        let output = psql.output().expect("psql can be started");
        assert!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn wait(&mut self) {
        let until = Instant::now() + START_MAX;
        let ready = self.folder.path().join("data/postmaster.pid");
        // The last line of that file says `ready` as soon as connections are accepted.
        while !std::fs::read_to_string(&ready).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready")) {
            let ended = self.server.try_wait().expect("the server can be asked");
            assert!(ended.is_none(), "postgres ended: {ended:?}");
            assert!(Instant::now() < until, "postgres did not start within {START_MAX:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Immediate shutdown: the folder goes with it.
        if let Some(pid) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::QUIT).unwrap_or_default();
        }
        drop(self.server.wait());
    }
}

fn command(program: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(find(program));
    // The server must be able to enter its working folder.
    command.current_dir("/").stdin(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

fn owner() -> (u32, u32) {
    let number = |flag: &str| {
        let output = Command::new("id").args([flag, SERVER_USER]).output().expect("`id` can be started");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().unwrap_or_else(|_| panic!("root's tests need a user `{SERVER_USER}` for the server"))
    };
    (number("-u"), number("-g"))
}

/// Debian's newest version, or the one on the path.
fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir(DEBIAN_FOLDER).into_iter().flatten();
    let mut folders: Vec<PathBuf> = versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
    folders.sort();
    let found = folders.iter().rev().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| Path::new(program).to_owned())
}
