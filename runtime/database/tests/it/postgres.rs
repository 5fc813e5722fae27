//! One PostgreSQL cluster for all tests of this machine, started by the first that needs it, stopped when none is
//! left; each test gets a database of its own. Needs the server's programs and nothing else; as root they run as
//! another user. It knows no table.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The URL of a new, empty database.
pub(crate) fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let cluster = cluster();
    #[expect(clippy::disallowed_methods, reason = "only makes the name unlike that of any earlier process")]
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("t{}_{}_{nanos}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = cluster.folder.display().to_string();
    run(Command::new(program("createdb")).args(["-h", &folder, "-U", "postgres", &name]));
    format!("postgres://postgres@localhost/{name}?host={}", folder.replace('/', "%2F"))
}

struct Cluster {
    folder: PathBuf,
    /// Locked for as long as this process may use the cluster.
    _user: File,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("bulkhead-postgres-{}", id("-u")));
        std::fs::create_dir_all(&folder).unwrap();
        let starting = File::create(folder.join("starting")).unwrap();
        starting.lock().unwrap();
        let user = File::create(folder.join("users")).unwrap();
        user.lock_shared().unwrap();
        if !is_running(&folder) {
            start(&folder);
        }
        Cluster { folder, _user: user }
    })
}

fn is_running(folder: &Path) -> bool {
    let mut status = server("pg_ctl");
    status.arg("status").arg("-D").arg(folder.join("data"));
    status.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn start(folder: &Path) {
    let data = folder.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).unwrap();
    }
    if id("-u") == "0" {
        run(Command::new("chown").arg(server_user()).arg(folder));
    }
    run(server("initdb").arg("-D").arg(&data).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-N",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]));
    let options = format!(
        "-k {} -c listen_addresses='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=300",
        folder.display()
    );
    run(server("pg_ctl")
        .args(["start", "-w", "-t", "60", "-D"])
        .arg(&data)
        .arg("-l")
        .arg(folder.join("log"))
        .args(["-o", &options]));
    stop_when_unused(folder);
}

/// A shell that outlives this process: each few seconds it looks whether any process still holds `users`.
fn stop_when_unused(folder: &Path) {
    const SCRIPT: &str = "while sleep 5; do \
         flock starting flock -n users \"$@\" stop -m immediate -D data >stopped 2>&1 && rm -rf data && exit; done";
    let stop = server("pg_ctl");
    let mut watch = Command::new("setsid");
    watch.args(["sh", "-c", SCRIPT, "watch"]).arg(stop.get_program()).args(stop.get_args()).current_dir(folder);
    #[expect(clippy::zombie_processes, reason = "it outlives this process by design")]
    watch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
}

/// A command that runs a program of the server; PostgreSQL refuses to run as root.
fn server(name: &str) -> Command {
    if id("-u") != "0" {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    let user = server_user();
    command.args(["--reuid", &user, "--regid", &id_of("-g", &user), "--clear-groups"]).arg(program(name));
    command
}

fn server_user() -> String {
    let known = Command::new("id").arg("postgres").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    if known.success() { "postgres".to_owned() } else { "nobody".to_owned() }
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not installed: on Debian `apt-get install postgresql`"))
}

fn id(flag: &str) -> String {
    output(Command::new("id").arg(flag))
}

fn id_of(flag: &str, user: &str) -> String {
    output(Command::new("id").args([flag, user]))
}

fn output(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

fn run(command: &mut Command) {
    let log = std::env::temp_dir().join(format!("bulkhead-postgres-{}.log", std::process::id()));
    let open = || File::create(&log).unwrap();
    let status = command.stdin(Stdio::null()).stdout(open()).stderr(open()).status().unwrap();
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    assert!(status.success(), "{words:?} failed: {}", std::fs::read_to_string(&log).unwrap_or_default());
    std::fs::remove_file(&log).unwrap();
}
