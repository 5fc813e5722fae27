//! The compile worker: a process of its own that compiles one component and ends. It bounds itself before
//! it reads a byte, because compiling is where hostile code costs most. It runs nothing, and it never
//! reads the text form of a component.
//!
//! Protocol. In: the length as u64, little-endian, and the component. Out: one status byte, the length as
//! u64, and the compiled form or the reason for refusal. `--fingerprint` prints the compile settings' identity.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::settings::{self, Fingerprint};

/// The hidden subcommand that an embedding program routes to [`main`].
pub const SUBCOMMAND: &str = "compile-worker";
/// The compiled form follows.
pub(crate) const STATUS_COMPILED: u8 = 0;
/// A reason follows.
pub(crate) const STATUS_REFUSED: u8 = 1;
/// Asks for the fingerprint instead of a compilation.
pub(crate) const FLAG_FINGERPRINT: &str = "--fingerprint";
/// Bytes of a reason.
pub(crate) const REASON_BYTES_MAX: usize = 4 << 10;
/// Bytes of a component that any worker accepts.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Runs the worker with the process's own arguments after the subcommand: CPU seconds and address space
/// in bytes, or `--fingerprint`. The CLI calls it for `bulkhead compile-worker`.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip_while(|argument| argument != SUBCOMMAND).skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    match arguments {
        [flag] if flag == FLAG_FINGERPRINT => {
            let engine = settings::compiling_engine().map_err(io::Error::other)?;
            io::stdout().write_all(Fingerprint::of(&engine).hex().as_bytes())
        }
        [cpu_s, address_space_bytes] => {
            let number = |text: &String| text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
            confine(number(cpu_s)?, number(address_space_bytes)?)?;
            let answer = compile(&read_component()?);
            write_answer(&answer)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Takes from this process whatever compiling does not need, before hostile bytes are read.
fn confine(cpu_s: u64, address_space_bytes: u64) -> io::Result<()> {
    let exactly = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    // One second between the signals lets the parent tell CPU time from another's kill.
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: Some(cpu_s.saturating_add(1)) })?;
    setrlimit(Resource::As, exactly(address_space_bytes))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(0))?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn read_component() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > INPUT_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut component = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    stdin.take(length).read_to_end(&mut component)?;
    if component.len() as u64 == length { Ok(component) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn compile(component: &[u8]) -> Result<Vec<u8>, String> {
    let engine = settings::compiling_engine().map_err(|error| error.to_string())?;
    engine.precompile_component(component).map_err(|error| {
        let mut reason = format!("{error:#}");
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason
    })
}

fn write_answer(answer: &Result<Vec<u8>, String>) -> io::Result<()> {
    let (status, bytes) = match answer {
        Ok(compiled) => (STATUS_COMPILED, compiled.as_slice()),
        Err(reason) => (STATUS_REFUSED, reason.as_bytes()),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[status])?;
    stdout.write_all(&(bytes.len() as u64).to_le_bytes())?;
    stdout.write_all(bytes)?;
    stdout.flush()
}
