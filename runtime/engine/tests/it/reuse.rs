//! Kept instances: who gets one, when it is replaced, and that nothing crosses between cells.
//! It measures no time.

use std::time::Duration;

use bulkhead_engine::Cell;
use bulkhead_model::Code;

use crate::guests::{counter, hostile};
use crate::host::{Host, code, context_of, filter, filter_value, reuse};

/// The counts that `calls` calls in a row answer.
async fn counts(cell: &Cell, calls: usize) -> Vec<String> {
    let mut counts = Vec::new();
    for _ in 0..calls {
        counts.push(filter(cell).await.result.unwrap().unwrap());
    }
    counts
}

#[tokio::test]
async fn an_instance_is_fresh_for_each_call_unless_reuse_is_declared() {
    let host = Host::new();
    let (fresh, kept) = (host.cell(&counter()).await, host.cell_with(&counter(), reuse).await);

    assert_eq!(counts(&fresh, 3).await, ["1", "1", "1"]);
    assert_eq!(counts(&kept, 3).await, ["1", "2", "3"]);
    assert_eq!(host.engine.instances_live(), 1);
}

#[tokio::test]
async fn a_kept_instance_is_replaced_after_its_calls() {
    let host = Host::new();
    let cell = host
        .cell_with(&counter(), |config| {
            reuse(config);
            config.limits.reuse_calls = 2;
        })
        .await;

    assert_eq!(counts(&cell, 5).await, ["1", "2", "1", "2", "1"]);
}

#[tokio::test]
async fn a_trapped_instance_is_never_used_again() {
    let host = Host::new();
    let cell = host.cell_with(&counter(), reuse).await;

    let before = counts(&cell, 2).await;
    let trapped = filter_value(&cell, r#""trap""#).await;
    let live = host.engine.instances_live();
    let after = counts(&cell, 2).await;

    assert_eq!(before, ["1", "2"]);
    assert_eq!(code(&trapped), Some(Code::PluginFailed));
    assert_eq!(live, 0);
    assert_eq!(after, ["1", "2"]);
}

#[tokio::test]
async fn each_call_of_a_kept_instance_has_the_full_budgets() {
    let host = Host::new();
    let cell = host.cell_with(&hostile("log_flood"), reuse).await;

    for _ in 0..3 {
        let outcome = filter(&cell).await;

        assert_eq!(outcome.result, Ok(None));
        assert_eq!(outcome.usage.host_calls, 900);
        assert!(outcome.usage.log_dropped > 800);
        assert!(outcome.usage.fuel_units < 1_000_000);
    }
    assert_eq!(host.engine.instances_live(), 1);
}

#[tokio::test]
async fn two_cells_of_one_component_share_no_instance_log_or_error() {
    let host = Host::new();
    let component = host.component(&counter()).await;
    let first = host.cell_of(component.clone(), reuse);
    let second = host.cell_of(component, |config| {
        reuse(config);
        config.tenant = "t2".parse().unwrap();
    });

    let trapped = filter_value(&first, r#""trap""#).await;
    let counted = counts(&first, 2).await;
    let other = second.apply_filter(&context_of("t2"), "order.total", "1", "[]").await;

    assert_eq!(code(&trapped), Some(Code::PluginFailed));
    assert_eq!(counted, ["1", "2"]);
    assert_eq!(other.result, Ok(Some("1".to_owned())));
    assert_eq!((first.errors().len(), second.errors().len()), (1, 0));
    assert!(second.log_tail().is_empty());
}

#[tokio::test]
async fn an_idle_instance_is_dropped_after_its_time() {
    let host = Host::with(|config| config.idle_ms = 40);
    let cell = host.cell_with(&counter(), reuse).await;

    filter(&cell).await;
    let gone = async {
        while host.engine.instances_live() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };

    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(host.engine.memory_bytes_used(), 0);
    assert_eq!(counts(&cell, 1).await, ["1"]);
}

#[tokio::test]
async fn a_cell_that_is_gone_keeps_no_instance() {
    let host = Host::new();
    let cell = host.cell_with(&counter(), reuse).await;
    filter(&cell).await;

    drop(cell);

    assert_eq!(host.engine.instances_live(), 0);
}
