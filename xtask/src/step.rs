//! Runs a program with its output shown, under a deadline, and takes the time.
//!
//! It judges nothing but the exit status; what the output means is the caller's.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, terminal};

/// Pause between two looks at a running program.
const POLL: Duration = Duration::from_millis(50);

/// Time since a step began, shown in seconds.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.elapsed().as_secs_f64())
    }
}

/// Runs `command` with this terminal.
///
/// # Errors
/// [`Error::Start`], [`Error::Failed`], [`Error::Deadline`].
pub(crate) fn run(command: &mut Command, deadline: Duration) -> Result<(), Error> {
    let mut child = spawn(command)?;
    let status = wait(&mut child, command, deadline)?;
    check(command, status)
}

/// Runs a command that ends at once; what it wrote.
///
/// # Errors
/// [`Error::Start`], [`Error::Failed`].
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let failed = |source| Error::Start { program: command.get_program().display().to_string(), source };
    let output = output.map_err(failed)?;
    check(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command`, shows each line that it writes and gives it to `watch` as well.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_watched(
    command: &mut Command,
    deadline: Duration,
    watch: fn(&str) -> Counts,
) -> (Counts, Result<(), Error>) {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return (Counts::default(), Err(error)),
    };
    let streams = [
        child.stdout.take().map(|stream| follow(stream, terminal::line, watch)),
        child.stderr.take().map(|stream| follow(stream, terminal::progress, watch)),
    ];
    let status = wait(&mut child, command, deadline);
    let mut counts = Counts::default();
    if status.is_ok() {
        // After a deadline, grandchildren may keep the streams open: they are not waited for.
        for stream in streams.into_iter().flatten() {
            counts += stream.join().unwrap_or_default();
        }
    }
    (counts, status.and_then(|status| check(command, status)))
}

/// Tests counted in a program's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

fn follow(stream: impl Read + Send + 'static, show: fn(&str), watch: fn(&str) -> Counts) -> JoinHandle<Counts> {
    thread::spawn(move || {
        let mut counts = Counts::default();
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            show(&line);
            counts += watch(&line);
        }
        counts
    })
}

fn spawn(command: &mut Command) -> Result<Child, Error> {
    let child = command.stdin(Stdio::null()).spawn();
    child.map_err(|source| Error::Start { program: command.get_program().display().to_string(), source })
}

fn wait(child: &mut Child, command: &Command, deadline: Duration) -> Result<ExitStatus, Error> {
    let failed = |source| Error::Start { program: command.get_program().display().to_string(), source };
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if start.elapsed() >= deadline {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(Error::Deadline { line: line(command), seconds: deadline.as_secs() });
        }
        thread::sleep(POLL);
    }
}

fn check(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() { Ok(()) } else { Err(Error::Failed { line: line(command) }) }
}

fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().display().to_string()];
    words.extend(command.get_args().map(|word| word.display().to_string()));
    words.join(" ")
}
