//! The compile worker as a program of its own, for hosts that embed the engine without the `bulkhead` binary.
//! It decides nothing; see `bulkhead_engine::compile_worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead_engine::compile_worker::main()
}
