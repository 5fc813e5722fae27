//! Extism beside Bulkhead: the CPU time of one call in a new plugin and in a reused one, one line of JSON a round.
//! It compares nothing; `bulkhead-benches` does, within its own run.

use std::error::Error;
use std::io::{BufRead as _, Write as _};

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use rustix::time::{ClockId, clock_gettime};

/// Echoes its input, as the smallest filter of Bulkhead leaves its value.
const GUEST: &str = r#"(module
    (import "extism:host/env" "input_offset" (func $offset (result i64)))
    (import "extism:host/env" "input_length" (func $length (result i64)))
    (import "extism:host/env" "output_set" (func $set (param i64 i64)))
    (memory (export "memory") 2)
    (func (export "run") (result i32)
        (call $set (call $offset) (call $length))
        (i32.const 0)))"#;
/// As many bytes as the filters get.
const INPUT: [u8; 64] = [b'x'; 64];
/// Calls of one round in new plugins and in a reused one.
const NEW: u32 = 200;
const REUSED: u32 = 2_000;

/// One round for each line on standard input; ends with it.
fn main() -> Result<(), Box<dyn Error>> {
    let manifest = Manifest::new([Wasm::data(wat::parse_str(GUEST)?)]);
    let compiled = CompiledPlugin::new(PluginBuilder::new(manifest).with_fuel_limit(100_000_000))?;
    let mut kept = Plugin::new_from_compiled(&compiled)?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let new = each_us(NEW, || call(&mut Plugin::new_from_compiled(&compiled)?))?;
        let reused = each_us(REUSED, || call(&mut kept))?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{{\"new_us\": {new}, \"reused_us\": {reused}}}")?;
        stdout.flush()?;
    }
    Ok(())
}

fn call(plugin: &mut Plugin) -> Result<(), Box<dyn Error>> {
    let output: Vec<u8> = plugin.call("run", INPUT.as_slice())?;
    if output == INPUT { Ok(()) } else { Err("the guest answered something else".into()) }
}

/// Microseconds of the thread's CPU time for each of `count` calls.
fn each_us(count: u32, mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let began = cpu_s();
    for _ in 0..count {
        work()?;
    }
    Ok((cpu_s() - began) * 1e6 / f64::from(count))
}

fn cpu_s() -> f64 {
    std::time::Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).map_or(0.0, |time| time.as_secs_f64())
}
