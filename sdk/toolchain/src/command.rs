//! Runs a program to its end under a deadline and returns what it wrote.
//!
//! It does not stream: a step's own output is shown when it fails, and only its end.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// Largest kept part of one output stream, in bytes; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Part of standard error that an error message carries, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_000;
/// Pause between two looks at a running child.
const POLL: Duration = Duration::from_millis(20);
/// How long the streams of an ended child may stay open through its own children.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs `command` and returns its standard output.
///
/// # Errors
/// [`Error::Start`], [`Error::Failed`] on a status other than 0, [`Error::Deadline`].
pub(crate) fn run(command: &mut Command, deadline: Duration) -> Result<String, Error> {
    let (status, stdout, stderr) = finish(command.stdout(Stdio::piped()), deadline)?;
    check(command, status, &stderr)?;
    Ok(stdout)
}

/// Runs `command`, whose standard output the caller has directed elsewhere.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_redirected(command: &mut Command, deadline: Duration) -> Result<(), Error> {
    let (status, _, stderr) = finish(command, deadline)?;
    check(command, status, &stderr)
}

fn check(command: &Command, status: ExitStatus, stderr: &str) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { line: line(command), stderr: tail(stderr) })
}

fn finish(command: &mut Command, deadline: Duration) -> Result<(ExitStatus, String, String), Error> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start { program: command.get_program().display().to_string(), source })?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);

    let status = wait(&mut child, command, deadline)?;
    let text = |stream: Option<Receiver<String>>| stream.and_then(|s| s.recv_timeout(DRAIN).ok()).unwrap_or_default();
    Ok((status, text(stdout), text(stderr)))
}

/// Waits, and ends the child at the deadline. The child stays in this process group, so that an
/// interrupt from the terminal reaches it too.
fn wait(child: &mut Child, command: &Command, deadline: Duration) -> Result<ExitStatus, Error> {
    let program = || command.get_program().display().to_string();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|source| Error::Start { program: program(), source })? {
            return Ok(status);
        }
        if start.elapsed() >= deadline {
            child.kill().map_err(|source| Error::Start { program: program(), source })?;
            child.wait().map_err(|source| Error::Start { program: program(), source })?;
            return Err(Error::Deadline { line: line(command), seconds: deadline.as_secs() });
        }
        thread::sleep(POLL);
    }
}

/// Reads a stream to its end on a thread of its own: a full pipe would stop the child.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            let room = OUTPUT_BYTES_MAX - kept.len();
            kept.extend(chunk.iter().take(count.min(room)));
        }
        // The receiver is gone when its deadline has passed: nobody wants the text.
        drop(sender.send(String::from_utf8_lossy(&kept).into_owned()));
    });
    receiver
}

fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().display().to_string()];
    words.extend(command.get_args().map(|word| word.display().to_string()));
    words.join(" ")
}

fn tail(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_comes_back_whole_even_when_it_is_larger_than_a_pipe() {
        let text = run(&mut shell("head -c 300000 /dev/zero | tr '\\0' x"), Duration::from_secs(20)).unwrap();

        assert_eq!(text.len(), 300_000);
    }

    #[test]
    fn a_failure_carries_the_command_and_the_end_of_its_errors() {
        let error = run(&mut shell("echo the reason >&2; exit 3"), Duration::from_secs(20)).unwrap_err();

        assert_eq!(error.to_string(), "`sh -c echo the reason >&2; exit 3` failed: the reason");
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_its_deadline() {
        let start = Instant::now();

        let error = run(&mut shell("exec sleep 60"), Duration::from_millis(200)).unwrap_err();

        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program"), Duration::from_secs(1)).unwrap_err();

        assert_eq!(error.to_string(), "failed to start `no-such-program`");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert_eq!(tail(&"é".repeat(3_000)).chars().count(), MESSAGE_BYTES_MAX / 2);
    }
}
