//! The compile worker of test hosts: a binary of this package is built with its tests and lies where they find it.
//! It is the engine's own worker and nothing else; the tests stand in `tests/it`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead_testkit::compile_worker::main()
}
