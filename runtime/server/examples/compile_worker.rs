//! The compile worker of this package's tests: an example is built with them and lies where they find it.
//! It is not shipped; `bulkhead compile-worker` is.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead_testkit::compile_worker::main()
}
