//! A PostgreSQL of the demo's own: a cluster in a temporary folder, reached through a socket in it and by no network.
//! It keeps nothing: server and folder go with the demo, so it runs without the settings that survive a crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Url;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::time::{sleep, timeout};

use super::Folder;
use crate::error::Error;
use crate::file;

/// Longest time to make the cluster.
const MAKE_MAX: Duration = Duration::from_secs(120);
/// Longest wait for the server to take connections.
const START_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at a server that starts.
const POLL: Duration = Duration::from_millis(20);
/// The user under whom the server runs where the demo is root's, whom it refuses.
const SERVER_USER: &str = "postgres";
/// Where Debian keeps the programs, in a folder for each version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// Lines of the server's log that an error shows.
const LOG_LINES: usize = 3;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    server: Child,
    /// Below it `data`, the log and the socket. Dropped after the server has ended.
    folder: Folder,
}

impl Cluster {
    /// Makes and starts a cluster. It takes no part in a terminal's Ctrl-C: the host must end first.
    pub(super) async fn start() -> Result<Self, Error> {
        let owner = geteuid().is_root().then(owner).transpose()?;
        let folder = Folder::temporary("bulkhead-demo-postgres")?;
        let data = folder.path.join("data");
        file::create_private_folder(&data)?;
        for path in [&folder.path, &data] {
            let given = owner.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)));
            given.map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        make(&data, owner).await?;

        let log = folder.path.join("log");
        let written = File::create(&log).map_err(|source| Error::Write { path: log.clone(), source })?;
        let mut server = command("postgres", owner);
        server.arg("-D").arg(&data).arg("-k").arg(&folder.path).stderr(written);
        for setting in ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"] {
            server.args(["-c", setting]);
        }
        let server = server.spawn().map_err(|error| not_started(&error))?;
        let mut cluster = Self { server, folder };
        match timeout(START_MAX, cluster.ready()).await {
            Ok(ready) => ready.map(|()| cluster),
            Err(_) => Err(failed(format!("it took no connection within {} s", START_MAX.as_secs()))),
        }
    }

    /// The address of its one database.
    pub(super) fn url(&self) -> Result<Url, Error> {
        let mut url =
            Url::parse("postgres://postgres@localhost/postgres").map_err(|error| failed(error.to_string()))?;
        url.query_pairs_mut().append_pair("host", &self.folder.path.to_string_lossy());
        Ok(url)
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let state = self.folder.path.join("data/postmaster.pid");
        // A line of that file says `ready` as soon as connections are taken.
        while !file::read_text(&state).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready")) {
            if let Some(status) = self.server.try_wait().map_err(|error| failed(error.to_string()))? {
                let log = file::read_text(&self.folder.path.join("log")).unwrap_or_default();
                return Err(failed(format!("it ended with {status}: {}", last_lines(&log))));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // An immediate end: nothing has to be written that goes at once.
        if let Some(pid) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::QUIT).unwrap_or_default();
        }
        self.server.wait().map(drop).unwrap_or_default();
    }
}

async fn make(data: &Path, owner: Option<(u32, u32)>) -> Result<(), Error> {
    let mut initdb = command("initdb", owner);
    initdb
        .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"])
        .arg(data);
    let made = tokio::process::Command::from(initdb).kill_on_drop(true).output();
    let made = timeout(MAKE_MAX, made)
        .await
        .map_err(|_| failed(format!("`initdb` took longer than {} s", MAKE_MAX.as_secs())))?
        .map_err(|error| not_started(&error))?;
    if made.status.success() {
        return Ok(());
    }
    Err(failed(format!("`initdb` ended with {}: {}", made.status, last_lines(&String::from_utf8_lossy(&made.stderr)))))
}

fn command(program: &str, owner: Option<(u32, u32)>) -> Command {
    let folder = newest(Path::new(DEBIAN_FOLDER)).unwrap_or_default();
    let mut command = Command::new(folder.join(program));
    // The server must be able to enter its working folder.
    command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// The programs of the newest version below `folder`; without one, those on the path serve.
fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let whole = numbered.map(|(number, path)| (number, path.join("bin")));
    let whole = whole.filter(|(_, bin)| ["initdb", "postgres"].iter().all(|program| bin.join(program).is_file()));
    whole.max().map(|(_, bin)| bin)
}

/// User and group of [`SERVER_USER`].
fn owner() -> Result<(u32, u32), Error> {
    let number = |flag: &str| {
        let answer = Command::new("id").args([flag, SERVER_USER]).output().ok()?;
        String::from_utf8_lossy(&answer.stdout).trim().parse().ok()
    };
    number("-u").zip(number("-g")).ok_or_else(|| Error::Step {
        what: "start PostgreSQL",
        reason: format!("it refuses to run as root, and there is no user `{SERVER_USER}`"),
        next: format!("run the demo as another user, or make one with `useradd --system {SERVER_USER}`"),
    })
}

fn not_started(error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return failed(error.to_string());
    }
    Error::Step {
        what: "start PostgreSQL",
        reason: format!("`initdb` and `postgres` are neither on the path nor in `{DEBIAN_FOLDER}/*/bin`"),
        next: "install the server's programs, on Debian with `apt-get install postgresql`; no cluster has to run, and none \
               of yours is touched"
            .to_owned(),
    }
}

fn failed(reason: String) -> Error {
    Error::Step {
        what: "start PostgreSQL",
        reason,
        next: "correct what it says, or run the demo without `--postgres`".to_owned(),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_answers_on_its_socket_and_goes_without_a_trace() {
        let cluster = Cluster::start().await.unwrap();
        let folder = cluster.folder.path.clone();
        let (socket, pid) = (folder.join(".s.PGSQL.5432"), cluster.server.id());

        let state = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
        assert!(UnixStream::connect(&socket).is_ok());
        assert!(state.starts_with(&format!("{pid}\n")) && !state.contains("localhost"), "{state}");
        assert!(cluster.url().unwrap().as_str().contains("bulkhead-demo-postgres-"));
        drop(cluster);

        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn the_newest_version_with_all_programs_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for (version, programs) in
            [("9", "initdb postgres"), ("15", "initdb postgres"), ("17", "psql"), ("x", "initdb")]
        {
            let bin = folder.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in programs.split(' ') {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }

        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin")));
        assert_eq!(newest(&folder.path().join("none")), None);
    }

    #[test]
    fn missing_programs_are_told_with_what_to_install() {
        let error = not_started(&io::ErrorKind::NotFound.into());

        assert!(error.text().contains("`initdb`") && error.next().contains("apt-get install postgresql"), "{error}");
    }
}
