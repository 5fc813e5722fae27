//! Measures the host against its bars: each a ratio within one run, in turn with its peer, medians of rounds. Prints a
//! table and writes one JSON document. It tests nothing: a short bar is a figure, not a failure.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bombs;
mod calls;
mod figures;
mod guests;
mod http;
mod load;
mod measure;
mod migrations;
mod parts;
mod peers;
mod raw;
mod scale;
mod sql;
mod storage;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use figures::Row;

const HELP: &str = "\
Measures the host and prints each figure, its ratio, its bar, and pass or short.

Usage: cargo run --release -p bulkhead-benches -- [--only P1,P2] [--rounds 7] [--json FILE] [--quick]

  --only P1,P2   these bars alone: P1 to P9, P13, P14, P17 to P21
  --rounds 7     rounds of each measurement; the median counts
  --json FILE    writes all rows there
  --quick        smaller sizes: 200 plugins instead of 1,000, 1,000 tenants instead of 10,000,
                 migrations in 200 tenants instead of 1,000
";
/// Every bar that this program knows.
const BARS: [&str; 16] =
    ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P13", "P14", "P17", "P18", "P19", "P20", "P21"];

/// Whatever goes wrong ends a group of measurements, and is its row.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a run measures.
#[derive(Clone, Debug)]
struct Options {
    only: Vec<String>,
    rounds: usize,
    json: Option<PathBuf>,
    quick: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self { only: Vec::new(), rounds: 7, json: None, quick: false };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = value()?.parse()?,
                "--json" => options.json = Some(value()?.into()),
                "--quick" => options.quick = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument `{other}`").into()),
            }
        }
        match options.only.iter().find(|bar| !BARS.contains(&bar.as_str())) {
            Some(unknown) => Err(format!("`{unknown}` is no bar: {}", BARS.join(", ")).into()),
            None => Ok(Some(options)),
        }
    }

    fn wants(&self, bar: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == bar)
    }

    fn wants_any(&self, bars: &[&str]) -> bool {
        bars.iter().any(|bar| self.wants(bar))
    }

    /// So many calls, or fewer in a quick run.
    const fn calls(&self, count: u32) -> u32 {
        if self.quick { count / 2 } else { count }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        // The host compiles in a process of its own; here that is this program.
        Some((first, _)) if first == bulkhead_engine::compile_worker::SUBCOMMAND => {
            bulkhead_engine::compile_worker::main()
        }
        Some((first, rest)) if first == parts::SUBCOMMAND => ended(on_this_thread(parts::run(rest))),
        _ => ended(measured(arguments)),
    }
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread for everything that is timed by the thread's clock.
fn on_this_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn measured(arguments: Vec<String>) -> Result<()> {
    let Some(options) = Options::parse(arguments.into_iter())? else {
        print!("{HELP}");
        return Ok(());
    };
    // The log works as in production, and ends nowhere.
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(std::io::sink)
        .init();
    let mut rows = Vec::new();
    if options.wants_any(&["P1", "P2", "P3", "P6", "P17", "P18", "P19", "P20"]) {
        rows.extend(group("calls in process", &options, calls::run));
    }
    if options.wants_any(&["P4", "P5"]) {
        rows.extend(group("calls over HTTP", &options, http::run));
    }
    if options.wants_any(&["P7", "P8", "P14"]) {
        rows.extend(group("size", &options, scale::run));
    }
    if options.wants("P9") {
        rows.extend(group("plugin SQL", &options, sql::run));
    }
    if options.wants("P13") {
        rows.extend(group("migrations", &options, migrations::run));
    }
    if options.wants("P21") {
        rows.extend(group("calls beside a compile bomb", &options, bombs::run));
    }
    println!("{}", figures::table(&rows));
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", figures::document(&rows, options.rounds, options.quick)))?;
    }
    Ok(())
}

fn group(name: &'static str, options: &Options, work: impl AsyncFnOnce(&Options) -> Result<Vec<Row>>) -> Vec<Row> {
    eprintln!("measuring {name} ...");
    let rows = on_this_thread(work(options));
    rows.unwrap_or_else(|error| vec![Row::not_run("-", name, &error)])
}
