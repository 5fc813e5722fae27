//! What a guest says and how it fails, as an operator sees it.
//! It looks at no exporter.

use bulkhead_engine::LogLevel;
use bulkhead_model::{Code, Entry};

use crate::guests::{hostile, named_trap, panicking};
use crate::host::{Host, code, context, filter};

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_counted() {
    let host = Host::new();
    let cell = host.cell(&hostile("log_flood")).await;

    let outcome = filter(&cell).await;

    let kept = cell.log_tail();
    assert_eq!(outcome.result, Ok(None));
    assert_eq!(kept.len() + usize::try_from(outcome.usage.log_dropped).unwrap(), 900);
    assert!(kept.iter().map(|line| line.message.len()).sum::<usize>() <= 64 << 10);
    assert!(kept.len() > 60);
    assert_eq!(cell.counters().log_dropped, u64::from(outcome.usage.log_dropped));
}

#[tokio::test]
async fn a_panics_text_is_in_the_log_and_nowhere_in_the_answer() {
    let host = Host::new();
    let cell = host.cell(&panicking("the secret is 42")).await;

    let outcome = filter(&cell).await;

    let tail = cell.log_tail();
    assert_eq!(code(&outcome), Some(Code::PluginFailed));
    assert!(!outcome.result.unwrap_err().to_string().contains("42"));
    assert_eq!((tail.len(), tail[0].level, tail[0].message.as_str()), (1, LogLevel::Error, "the secret is 42"));
    assert_eq!(tail[0].trace, context().trace);
}

#[tokio::test]
async fn a_failure_is_remembered_with_frames_lines_and_fuel() {
    let host = Host::new();
    let cell = host.cell(&named_trap()).await;

    let outcome = filter(&cell).await;

    let errors = cell.errors();
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!((error.code, error.entry), (Code::PluginFailed, Entry::Filter));
    assert_eq!(error.fuel_units, outcome.usage.fuel_units);
    assert!(error.fuel_units > 0);
    assert_eq!(error.trace, context().trace);
    assert_eq!(error.log_tail[0].message, "about to fail");
    let functions: Vec<_> = error.frames.iter().map(|frame| frame.split(' ').next().unwrap()).collect();
    assert_eq!(functions[..2], ["innermost", "middle"], "{:?}", error.frames);
}

#[tokio::test]
async fn only_the_last_twenty_failures_are_remembered_newest_first() {
    let host = Host::new();
    let cell = host.cell(&hostile("panic")).await;

    for number in 0..19 {
        let mut context = context();
        context.now_unix_ms = number;
        cell.apply_filter(&context, "order.total", "1", "[]").await;
    }

    let errors = cell.errors();
    assert_eq!(errors.len(), 19);
    assert!(errors.first().unwrap().at_unix_ms > errors.last().unwrap().at_unix_ms);
}

#[tokio::test]
async fn the_level_of_a_cell_changes_live() {
    let host = Host::new();
    let cell = host.cell(&named_trap()).await;

    cell.set_log_level(LogLevel::Warn);
    filter(&cell).await;
    let quiet = cell.log_tail().len();
    cell.set_log_level(LogLevel::Info);
    filter(&cell).await;

    assert_eq!((quiet, cell.log_tail().len()), (0, 1));
}
