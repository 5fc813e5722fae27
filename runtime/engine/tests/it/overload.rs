//! More work than room: it is shed with a code and a time to come back, and idle instances make room.
//! It measures no throughput.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_engine::{CallError, Cell, Ledger, Spent};
use bulkhead_model::{Code, Entry};

use crate::guests::{counter, hostile, sleeper};
use crate::host::{Host, code, filter, filter_value, reuse};

/// Starts a call that waits until it is killed.
fn occupy(cell: &Arc<Cell>) -> tokio::task::JoinHandle<()> {
    let cell = Arc::clone(cell);
    tokio::spawn(async move { drop(filter(&cell).await) })
}

async fn until(mut reached: impl FnMut() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_without_room_waits_a_little_and_is_shed() {
    let host = Host::with(|config| {
        config.instances_max = 2;
        config.wait_ms = 20;
    });
    let (busy, other) = (host.cell(&sleeper()).await, host.cell(&hostile("echo")).await);
    let waiting = [occupy(&busy), occupy(&busy)];
    until(|| host.engine.instances_live() == 2).await;

    let shed = filter(&other).await;
    busy.kill();
    for task in waiting {
        task.await.unwrap();
    }
    let served = filter(&other).await;

    assert_eq!(code(&shed), Some(Code::Overloaded));
    assert!(shed.result.unwrap_err().retry_after_ms().is_some());
    assert_eq!(served.result, Ok(None));
    assert_eq!(other.counters().failures, 0);
}

#[tokio::test]
async fn idle_instances_of_others_make_room() {
    let host = Host::with(|config| config.instances_max = 2);
    let component = host.component(&counter()).await;
    let cells: Vec<_> = (0..6).map(|_| host.cell_of(component.clone(), reuse)).collect();

    for cell in cells.iter().cycle().take(30) {
        assert!(filter(cell).await.result.is_ok());
        assert!(host.engine.instances_live() <= 2);
    }
}

#[tokio::test]
async fn a_cell_runs_only_so_many_calls_at_once() {
    let host = Host::with(|config| config.wait_ms = 20);
    let cell = host.cell_with(&sleeper(), |config| config.concurrency_max = 1).await;
    let running = occupy(&cell);
    until(|| host.engine.instances_live() == 1).await;

    let shed = filter(&cell).await;
    cell.kill();
    running.await.unwrap();

    assert_eq!(code(&shed), Some(Code::Overloaded));
}

#[tokio::test]
async fn calls_beyond_the_rate_are_told_when_to_come_back() {
    let host = Host::new();
    let cell = host
        .cell_with(&hostile("echo"), |config| {
            (config.rates.calls_per_minute, config.rates.calls_burst) = (60, 2);
        })
        .await;

    let outcomes = [filter(&cell).await, filter(&cell).await, filter(&cell).await];

    let [first, second, third] = outcomes.map(|outcome| outcome.result);
    assert_eq!((first, second), (Ok(None), Ok(None)));
    assert!(matches!(third, Err(CallError::RateLimited { retry_after_ms: 1..=1_000 })), "{third:?}");
}

#[tokio::test]
async fn what_a_plugin_burns_in_a_minute_is_bounded_over_all_its_calls() {
    let host = Host::new();
    let cell = host
        .cell_with(&hostile("loop"), |config| {
            config.limits.fuel_units = 1_000_000;
            config.limits.fuel_per_minute = 1_500_000;
        })
        .await;

    let outcomes = [filter(&cell).await, filter(&cell).await, filter(&cell).await];

    let codes = outcomes.map(|outcome| code(&outcome));
    assert_eq!(codes, [Some(Code::FuelExhausted), Some(Code::FuelExhausted), Some(Code::RateLimited)]);
}

#[tokio::test]
async fn what_a_plugin_burns_in_a_month_is_bounded_over_all_its_cells() {
    let host = Host::new();
    let component = host.component(&hostile("loop")).await;
    let ledger = Arc::new(Ledger::new(Instant::now() + Duration::from_secs(86_400)));
    let cell = || {
        host.cell_of(component.clone(), |config| {
            config.limits.fuel_units = 1_000_000;
            config.limits.fuel_per_month = 1_500_000;
            config.ledger = Arc::clone(&ledger);
        })
    };
    let (old, new) = (cell(), cell());

    let outcomes = [filter(&old).await, filter(&new).await, filter(&new).await];

    let codes = outcomes.each_ref().map(code);
    assert_eq!(codes, [Some(Code::FuelExhausted), Some(Code::FuelExhausted), Some(Code::RateLimited)]);
    let [.., refused] = outcomes;
    assert!(
        matches!(refused.result, Err(CallError::FuelBudgetSpent { retry_after_ms: 86_000_000..=86_400_000 })),
        "{:?}",
        refused.result
    );
    assert_eq!(ledger.take(), [Spent { entry: Entry::Filter, calls: 2, fuel_units: 2_000_000 }]);
}

#[tokio::test]
async fn a_route_with_a_rate_of_its_own_leaves_the_others_theirs() {
    let host = Host::new();
    let cell = host.cell_with(&hostile("echo"), |config| config.rates.routes_per_minute = vec![None, Some(5)]).await;

    let narrow = [cell.take_rate(1), cell.take_rate(1)];
    let wide: Vec<_> = (0..50).map(|_| cell.take_rate(0)).collect();

    assert_eq!(narrow[0], Ok(()));
    assert!(matches!(narrow[1], Err(CallError::RateLimited { retry_after_ms: 11_000..=12_000 })), "{narrow:?}");
    assert!(wide.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_rests_and_others_do_not() {
    let host = Host::new();
    let (bad, good) = (host.cell(&hostile("panic")).await, host.cell(&hostile("echo")).await);

    for _ in 0..20 {
        assert_eq!(code(&filter(&bad).await), Some(Code::PluginFailed));
    }
    let resting = filter(&bad).await;

    assert!(
        matches!(resting.result, Err(CallError::BreakerOpen { retry_after_ms: 1..=5_000 })),
        "{:?}",
        resting.result
    );
    assert!(matches!(bad.admission(), Err(CallError::BreakerOpen { .. })));
    assert_eq!(bad.counters().breaker_opened, 1);
    assert_eq!(filter(&good).await.result, Ok(None));
    assert_eq!(good.admission(), Ok(()));
}

#[tokio::test]
async fn good_answers_keep_the_breaker_closed() {
    let host = Host::new();
    let cell = host.cell(&counter()).await;

    for call in 0..60 {
        let value = if call % 3 == 0 { r#""trap""# } else { "1" };
        let outcome = filter_value(&cell, value).await;
        assert_ne!(code(&outcome), Some(Code::BreakerOpen));
    }

    assert_eq!(cell.counters().breaker_opened, 0);
    assert_eq!(cell.counters().failures, 20);
}

#[tokio::test]
async fn guests_together_have_only_so_much_memory() {
    let host = Host::with(|config| config.memory_bytes_max_total = 3 << 20);
    let cell = host.cell_with(&hostile("echo"), reuse).await;
    let other = host.cell_with(&hostile("echo"), |config| config.plugin = "acme.other".parse().unwrap()).await;

    let first = filter(&cell).await;
    let refused = filter(&other).await;

    assert_eq!(first.result, Ok(None));
    assert_eq!(code(&refused), Some(Code::Overloaded));
    assert_eq!(other.counters().failures, 0);
}
