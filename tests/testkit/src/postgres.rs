//! A PostgreSQL cluster of the test's own: on a socket in a temporary folder, gone at the end. Everybody needs a password, as in
//! production: what the host gives its own logins must let them in.
//! It holds nothing that a crash may not lose, so it is started without durability.

use std::fs::Permissions;
use std::net::TcpListener;
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

/// The password of the cluster's owner.
const PASSWORD: &str = "owner-of-the-tests-cluster";

/// A running cluster.
pub struct Cluster {
    folder: tempfile::TempDir,
    server: Child,
    /// Where it also listens on the loopback, if it does.
    port: Option<u16>,
}

impl Cluster {
    /// Makes and starts a cluster.
    pub fn start() -> Self {
        Self::begin(None)
    }

    /// Makes and starts a cluster that is reached through TLS alone, on the loopback.
    pub fn start_with_tls() -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        Self::begin(Some(free.expect("a free port").port()))
    }

    fn begin(port: Option<u16>) -> Self {
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
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("the password's file");
        let mut initdb = command("initdb", owner);
        initdb
            .args(["--auth=scram-sha-256", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(&data);
        let made = initdb.output().expect("initdb can be started");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        let mut postgres = command("postgres", owner);
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=64"] {
            postgres.args(["-c", setting]);
        }
        match port {
            None => postgres.args(["-c", "listen_addresses="]),
            Some(port) => {
                place_certificate(folder.path(), owner);
                postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-p"]).arg(port.to_string())
            }
        };
        let server = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres can be started");
        let mut cluster = Self { folder, server, port };
        cluster.wait();
        cluster
    }

    /// The address of its one database.
    pub fn url(&self) -> String {
        if let Some(port) = self.port {
            let authority = self.folder.path().join("authority.pem").display().to_string();
            let query = format!("sslmode=verify-full&sslrootcert={authority}");
            return format!("postgres://postgres:{PASSWORD}@localhost:{port}/postgres?{query}");
        }
        format!("postgres://postgres:{PASSWORD}@localhost/postgres?host={}", self.folder.path().display())
    }

    /// The process whose children serve its connections.
    pub fn process(&self) -> Option<Pid> {
        i32::try_from(self.server.id()).ok().and_then(Pid::from_raw)
    }

    /// Runs statements as the cluster's owner, each in a transaction of its own.
    pub fn run(&self, statements: &[&str]) {
        let mut psql = Command::new(find("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--username=postgres", "--host"]);
        psql.arg(self.folder.path()).arg("postgres").env("PGPASSWORD", PASSWORD);
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
        if let Some(pid) = self.process() {
            rustix::process::kill_process(pid, Signal::QUIT).unwrap_or_default();
        }
        drop(self.server.wait());
    }
}

/// A certificate for `localhost` in the data folder, its authority beside it, and the rule that nobody comes in without it.
fn place_certificate(folder: &Path, owner: Option<(u32, u32)>) {
    const FAILED: &str = "the cluster's certificate";
    let (data, certified) = (folder.join("data"), rcgen::generate_simple_self_signed(["localhost".to_owned()]));
    let rcgen::CertifiedKey { cert, signing_key } = certified.expect(FAILED);
    let key = data.join("server.key");
    std::fs::write(folder.join("authority.pem"), cert.pem()).expect(FAILED);
    std::fs::write(data.join("server.crt"), cert.pem()).expect(FAILED);
    std::fs::write(&key, signing_key.serialize_pem()).expect(FAILED);
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect(FAILED);
    std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n").expect(FAILED);
    if let Some((user, group)) = owner {
        for path in [data.join("server.crt"), key] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect(FAILED);
        }
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
