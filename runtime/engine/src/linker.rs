//! Everything that a guest can reach, in one file. What is not listed here does not link.
//! It decides no grant; the functions behind the names do.

use bulkhead_bindings::bulkhead::plugin as ours;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings as wasi;
use wasmtime_wasi_io::bindings::wasi::io;

use crate::error::Error;
use crate::state::CallState;

/// The linker of every component.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker<CallState>, Error> {
    let mut linker = Linker::new(engine);
    link(&mut linker).map_err(|error| Error::Start(format!("{error:#}")))?;
    Ok(linker)
}

fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    // Ours. An interface whose host side is not built is absent, never a stub.
    ours::types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::storage_types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::log::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::sql::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::kv::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::blob::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::views::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::config::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    ours::authz::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;

    // Inert WASI: a compiled language's runtime imports it whether it needs it or not.
    io::error::add_to_linker::<_, Table>(linker, |state| state.ctx().table)?;
    io::poll::add_to_linker::<_, Table>(linker, |state| state.ctx().table)?;
    io::streams::add_to_linker::<_, Table>(linker, |state| state.ctx().table)?;
    wasi::clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, CallState::clocks)?;
    wasi::clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, CallState::clocks)?;
    wasi::random::random::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    wasi::random::insecure::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    wasi::random::insecure_seed::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    wasi::cli::environment::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::exit::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::stdin::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::stdout::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::stderr::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::terminal_input::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::terminal_output::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    wasi::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)?;
    wasi::filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)
}

/// WASI's streams and pollables live in a table.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}
