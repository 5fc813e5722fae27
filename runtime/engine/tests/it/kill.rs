//! The kill switch and deadlines reach calls that run and calls that wait.
//! It measures one thing, how fast a kill is, because that is promised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_engine::{CellConfig, Component};
use bulkhead_model::Code;

use crate::guests::{hostile, sleeper};
use crate::host::{Host, code, context, filter};

/// More fuel and time than any test waits for.
fn endless(config: &mut CellConfig) {
    config.limits.fuel_units = u64::MAX / 2;
    config.limits.deadline_ms = Some(5_000);
}

/// Kills are timed this often, and the fastest counts: the machines of tests are busy.
const ROUNDS: usize = 5;

/// A call of this guest ends within 100 ms after its cell was killed.
async fn check_kill(bytes: Vec<u8>) {
    let host = Host::new();
    let component = host.component(&bytes).await;
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        fastest = fastest.min(kill_one(&host, component.clone()).await);
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

/// Kills a cell in whose call the guest is; how long the call went on.
async fn kill_one(host: &Host, component: Component) -> Duration {
    let cell = host.cell_of(component, endless);
    let running = {
        let cell = Arc::clone(&cell);
        tokio::spawn(async move { filter(&cell).await })
    };
    while host.engine.instances_live() == 0 {
        tokio::task::yield_now().await;
    }

    let killed = Instant::now();
    cell.kill();
    let outcome = running.await.unwrap();

    let went_on = killed.elapsed();
    assert_eq!(code(&outcome), Some(Code::PluginKilled));
    assert_eq!(cell.counters().failures, 0);
    assert_eq!(host.engine.instances_live(), 0);
    went_on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_a_running_loop() {
    check_kill(hostile("loop")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_a_call_that_waits_in_the_host() {
    check_kill(sleeper()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revive_does_not_save_a_call_that_was_killed() {
    let host = Host::new();
    let cell = host.cell_with(&hostile("loop"), endless).await;
    let running = {
        let cell = Arc::clone(&cell);
        tokio::spawn(async move { filter(&cell).await })
    };
    while host.engine.instances_live() == 0 {
        tokio::task::yield_now().await;
    }

    cell.kill();
    cell.revive();

    assert_eq!(code(&running.await.unwrap()), Some(Code::PluginKilled));
}

#[tokio::test]
async fn a_killed_cell_refuses_every_entry_until_it_is_revived() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;

    cell.kill();
    let refused = filter(&cell).await;
    let admission = cell.admission();
    cell.revive();
    let served = filter(&cell).await;

    assert_eq!(code(&refused), Some(Code::PluginKilled));
    assert!(admission.is_err());
    assert_eq!(served.result, Ok(None));
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_waits_in_the_host() {
    let host = Host::new();
    let cell = host.cell_with(&sleeper(), |config| config.limits.deadline_ms = Some(60)).await;

    let outcome = filter(&cell).await;

    assert_eq!(code(&outcome), Some(Code::DeadlineExceeded));
    assert!(outcome.usage.duration < Duration::from_secs(2), "{:?}", outcome.usage.duration);
    assert_eq!(outcome.usage.host_calls, 2);
    assert_eq!(cell.counters().failures, 1);
}

#[tokio::test]
async fn a_callers_shorter_deadline_clips_the_call_and_blames_nobody() {
    let host = Host::new();
    let cell = host.cell(&sleeper()).await;
    let mut context = context();
    context.deadline_ms = Some(30);

    let outcome = cell.apply_filter(&context, "order.total", "1", "[]").await;

    assert_eq!(code(&outcome), Some(Code::DeadlineExceeded));
    assert_eq!(cell.counters().failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_nothing_behind() {
    let host = Host::new();
    let cell = host.cell(&sleeper()).await;

    let gone = tokio::time::timeout(Duration::from_millis(50), filter(&cell)).await;

    assert!(gone.is_err());
    assert_eq!(host.engine.instances_live(), 0);
    assert_eq!(host.engine.memory_bytes_used(), 0);
    assert!(cell.drained(Duration::from_millis(1)).await);
}

#[tokio::test]
async fn a_closed_cell_takes_no_new_calls_and_drains() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;

    cell.close();

    assert_eq!(code(&filter(&cell).await), Some(Code::Draining));
    assert!(cell.drained(Duration::from_secs(1)).await);
    // Its own end is still told to it: this guest has no such entry, and that is what it is refused for.
    assert_eq!(code(&cell.shutdown(&context()).await), Some(Code::NotFound));
}
