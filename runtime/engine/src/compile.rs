//! Compiles a component by running the compile worker: bounds its jobs, wall time and output, and names why
//! it failed. It never compiles in this process, and it does not decide who may be compiled.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::compile_worker::{FLAG_FINGERPRINT, REASON_BYTES_MAX, STATUS_COMPILED, STATUS_REFUSED, SUBCOMMAND};
use crate::error::{CompileFailure, Error};
use crate::settings::Fingerprint;
use crate::waiting::Waiting;

/// Compilations that may wait for a job.
const QUEUE_MAX: u32 = 256;
/// How long the worker may take to say its fingerprint.
const FINGERPRINT_WALL: Duration = Duration::from_secs(10);

/// Bounds of one compilation. Script engines need more than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time in seconds.
    pub cpu_s: u64,
    /// Address space of the worker in bytes.
    pub address_space_bytes: u64,
    /// Wall time in milliseconds.
    pub wall_ms: u64,
    /// Size of the compiled form in bytes.
    pub output_bytes: u64,
}

impl CompileLimits {
    /// What a component gets whose rule says nothing.
    pub const DEFAULT: Self = Self { cpu_s: 10, address_space_bytes: 1 << 30, wall_ms: 30_000, output_bytes: 64 << 20 };
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The program and its job slots.
#[derive(Debug)]
pub(crate) struct Compiler {
    program: PathBuf,
    fingerprint: Fingerprint,
    jobs: Semaphore,
    waiting: AtomicU32,
}

impl Compiler {
    /// A compiler that runs at most `jobs_max` workers at once. Fails if the worker does not compile for `wanted`.
    pub(crate) fn new(program: PathBuf, jobs_max: u32, wanted: Fingerprint) -> Result<Self, Error> {
        check_fingerprint(&program, wanted)?;
        let jobs = Semaphore::new(usize::try_from(jobs_max.max(1)).unwrap_or(1));
        Ok(Self { program, fingerprint: wanted, jobs, waiting: AtomicU32::new(0) })
    }

    /// Whether the worker still starts and compiles for this process. Waits for it: not for an async thread.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_fingerprint(&self.program, self.fingerprint)
    }

    /// The compiled form of `component`. The worker dies with the returned future.
    pub(crate) async fn compile(&self, component: &[u8], limits: &CompileLimits) -> Result<Vec<u8>, Error> {
        let _job = self.job().await?;
        let mut child = self.spawn(limits)?;
        let wall = Duration::from_millis(limits.wall_ms);
        let answer = tokio::time::timeout(wall, converse(&mut child, component, limits)).await;
        let failure = match answer {
            Ok(Ok(compiled)) => return Ok(compiled),
            Ok(Err(Some(failure))) => failure,
            Ok(Err(None)) => match tokio::time::timeout(wall, child.wait()).await {
                Ok(Ok(status)) => cause_of_death(status, limits),
                Ok(Err(error)) => CompileFailure::Crashed(error.to_string()),
                Err(_) => CompileFailure::Wall(limits.wall_ms),
            },
            Err(_) => CompileFailure::Wall(limits.wall_ms),
        };
        // Already dead in most cases; a worker that outlived its welcome must not outlive its job slot.
        if child.kill().await.is_err() {
            tracing::debug!("the compile worker had already ended");
        }
        Err(Error::Compile(failure))
    }

    async fn job(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.jobs.try_acquire() {
            return Ok(permit);
        }
        let place = Waiting::enter(&self.waiting, QUEUE_MAX).ok_or(Error::CompileQueueFull)?;
        let permit = self.jobs.acquire().await.map_err(|_| Error::CompileQueueFull);
        drop(place);
        permit
    }

    fn spawn(&self, limits: &CompileLimits) -> Result<Child, Error> {
        Command::new(&self.program)
            .arg(SUBCOMMAND)
            .arg(limits.cpu_s.to_string())
            .arg(limits.address_space_bytes.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Worker { program: self.program.clone(), source })
    }
}

/// Sends the component and reads the answer. `Err(None)`: the worker ended early, its status says why.
async fn converse(
    child: &mut Child,
    component: &[u8],
    limits: &CompileLimits,
) -> Result<Vec<u8>, Option<CompileFailure>> {
    let mut stdin = child.stdin.take().ok_or(None)?;
    let mut stdout = child.stdout.take().ok_or(None)?;
    let early = |_| None;
    stdin.write_all(&(component.len() as u64).to_le_bytes()).await.map_err(early)?;
    stdin.write_all(component).await.map_err(early)?;
    stdin.shutdown().await.map_err(early)?;
    drop(stdin);

    let status = stdout.read_u8().await.map_err(early)?;
    let length = stdout.read_u64_le().await.map_err(early)?;
    let allowed = if status == STATUS_COMPILED { limits.output_bytes } else { REASON_BYTES_MAX as u64 };
    if length > allowed {
        return Err(Some(CompileFailure::Output(limits.output_bytes)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| None)?);
    stdout.take(length).read_to_end(&mut bytes).await.map_err(early)?;
    match status {
        _ if bytes.len() as u64 != length => Err(None),
        STATUS_COMPILED => Ok(bytes),
        STATUS_REFUSED => Err(Some(CompileFailure::Refused(String::from_utf8_lossy(&bytes).into_owned()))),
        _ => Err(None),
    }
}

fn cause_of_death(status: ExitStatus, limits: &CompileLimits) -> CompileFailure {
    use rustix::process::Signal;
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => CompileFailure::Cpu(limits.cpu_s),
        // An allocation that fails aborts.
        Some(signal) if signal == Signal::ABORT.as_raw() => CompileFailure::Memory(limits.address_space_bytes),
        _ => CompileFailure::Crashed(status.to_string()),
    }
}

/// Asks the program for its fingerprint: code compiled for other settings would be refused at each load.
fn check_fingerprint(program: &Path, wanted: Fingerprint) -> Result<(), Error> {
    let failed = |source| Error::Worker { program: program.to_owned(), source };
    let mismatch = |reason: String| Error::WorkerMismatch { program: program.to_owned(), reason };
    let mut child = std::process::Command::new(program)
        .arg(SUBCOMMAND)
        .arg(FLAG_FINGERPRINT)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::Read as _;
        let mut text = String::new();
        let read = stdout.map(|stdout| stdout.take(256).read_to_string(&mut text));
        // The receiver may have given up: then nobody wants the answer.
        drop(sender.send(read.and_then(Result::ok).map(|_| text)));
    });
    let said = receiver.recv_timeout(FINGERPRINT_WALL);
    // Ended or not, it has no more to say.
    drop(child.kill());
    child.wait().map_err(failed)?;
    match said {
        Ok(Some(text)) if text == wanted.hex() => Ok(()),
        Ok(Some(text)) if text.is_empty() => Err(mismatch("it did not answer as a compile worker".to_owned())),
        Ok(Some(_)) => Err(mismatch("it compiles for other settings or another version".to_owned())),
        Ok(None) | Err(_) => Err(mismatch("it gave no fingerprint in time".to_owned())),
    }
}
