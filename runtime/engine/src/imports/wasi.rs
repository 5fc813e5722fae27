//! The inert WASI that every guest gets: clocks that tell the time, random bytes, an empty environment, no
//! files, and standard output that ends in the cell's log. Nothing of the machine is behind it.
//! It links no sockets; `linker.rs` lists what it links.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::state::CallState;
use bulkhead_model::manifest::LogLevel;

/// Bytes that one write to standard output or error takes.
const WRITE_BYTES_MAX: usize = 4_096;

/// WASI's side of a store.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    stdout: Output,
    stderr: Output,
}

impl Wasi {
    fn new(handles_max: u32, output_bytes_max: u64) -> Self {
        let output_bytes_max = usize::try_from(output_bytes_max).unwrap_or(usize::MAX);
        let (stdout, stderr) = (Output::new(output_bytes_max), Output::new(output_bytes_max));
        // The builder's own defaults: no arguments, no environment, no preopened directory, no network.
        let mut builder = WasiCtx::builder();
        builder.stdin(MemoryInputPipe::new(Bytes::new())).stdout(stdout.clone()).stderr(stderr.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(handles_max).unwrap_or(usize::MAX));
        Self { context: builder.build(), table, stdout, stderr }
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // The linker's functions come here once per call of theirs, so this is where they are counted.
        self.budget.note_call();
        let limits = &self.shared.limits;
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(limits.handles, limits.log_bytes)));
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

impl CallState {
    /// Moves what the guest wrote to standard output and error into the log, line by line. A panic's text is
    /// among it.
    pub(crate) fn flush_output(&mut self) {
        let Some(wasi) = &self.wasi else { return };
        let (stdout, stderr) = (wasi.stdout.take(), wasi.stderr.take());
        for (level, written) in [(LogLevel::Info, stdout), (LogLevel::Error, stderr)] {
            let text = String::from_utf8_lossy(&written.bytes);
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                self.log_line(level, line.to_owned(), Vec::new());
            }
            self.log.dropped = self.log.dropped.saturating_add(written.dropped);
        }
    }

    fn random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.budget.count_call()?;
        self.budget.charge_random(length)?;
        let mut bytes = vec![0; usize::try_from(length)?];
        getrandom::fill(&mut bytes)?;
        Ok(bytes)
    }

    fn random_u64(&mut self) -> wasmtime::Result<u64> {
        self.budget.count_call()?;
        self.budget.charge_random(8)?;
        Ok(getrandom::u64()?)
    }
}

impl random::Host for CallState {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}

impl insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_u64()
    }
}

impl insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.random_u64()?, self.random_u64()?))
    }
}

/// A bounded buffer behind standard output or error; all streams that a guest opens share it.
#[derive(Clone)]
struct Output {
    written: Arc<Mutex<Written>>,
    bytes_max: usize,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// Writes that found no room.
    dropped: u32,
}

impl Output {
    fn new(bytes_max: usize) -> Self {
        Self { written: Arc::default(), bytes_max }
    }

    fn take(&self) -> Written {
        std::mem::take(&mut *self.written.lock())
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Used by WASI 0.3 alone, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut written = self.written.lock();
        let room = self.bytes_max.saturating_sub(written.bytes.len());
        if bytes.len() > room {
            written.dropped = written.dropped.saturating_add(1);
        }
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        written.bytes.extend_from_slice(kept);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
