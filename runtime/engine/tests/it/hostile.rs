//! Each way to misbehave ends its own call with its own code, while others' calls go on.
//! It does not look at what the server makes of a code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bulkhead_engine::Cell;
use bulkhead_model::Code;

use crate::guests::{HOOKS, clock_reader, guest, hooks_core, hostile, loop_in_start, mover};
use crate::host::{Host, code, context, context_of, filter};

/// Every axis, and the code that its guest must end with; `None`: the call succeeds.
const AXES: [(&str, Option<Code>); 14] = [
    ("echo", None),
    ("loop", Some(Code::FuelExhausted)),
    ("memory", Some(Code::MemoryExceeded)),
    ("memory_at_start", Some(Code::MemoryExceeded)),
    ("many_memories", Some(Code::MemoryExceeded)),
    ("table", Some(Code::MemoryExceeded)),
    ("recursion", Some(Code::StackExhausted)),
    ("host_call_flood", Some(Code::HostCallsExceeded)),
    ("handle_flood", Some(Code::HandlesExceeded)),
    ("random_flood", Some(Code::HostCallsExceeded)),
    ("huge_response", Some(Code::ResponseTooLarge)),
    ("log_flood", None),
    ("panic", Some(Code::PluginFailed)),
    ("trap_in_start", Some(Code::PluginFailed)),
];

/// Calls a well-behaved cell of another tenant until told to stop; counts its answers.
async fn work(cell: Arc<Cell>, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let outcome = cell.apply_filter(&context_of("t2"), "order.total", "1", "[]").await;
        assert_eq!(outcome.result, Ok(None));
        answers.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_axis_has_its_own_code_and_others_calls_go_on() {
    let host = Host::new();
    let good = host.cell_with(&hostile("echo"), |config| config.tenant = "t2".parse().unwrap()).await;
    let mut cells = Vec::new();
    for (name, wanted) in AXES {
        cells.push((name, wanted, host.cell(&hostile(name)).await));
    }
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let worker = tokio::spawn(work(Arc::clone(&good), Arc::clone(&stop), Arc::clone(&answers)));

    for (name, wanted, cell) in &cells {
        let before = answers.load(Ordering::Relaxed);
        let calls = futures_of(cell, 8).await;
        for outcome in calls {
            assert_eq!(code(&outcome), *wanted, "{name}: {:?}", outcome.result);
        }
        while answers.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
    }

    stop.store(true, Ordering::Relaxed);
    worker.await.unwrap();
    assert_eq!(good.counters().failures, 0);
    assert_eq!(host.engine.instances_live(), 0);
    assert_eq!(host.engine.memory_bytes_used(), 0);
}

/// `count` calls of a cell at once.
async fn futures_of(cell: &Arc<Cell>, count: usize) -> Vec<bulkhead_engine::Outcome<Option<String>>> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let cell = Arc::clone(cell);
            tokio::spawn(async move { filter(&cell).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn a_loop_with_much_fuel_ends_at_its_deadline() {
    let host = Host::new();
    let cell = host
        .cell_with(&hostile("loop"), |config| {
            config.limits.fuel_units = 1_000_000_000_000;
            config.limits.deadline_ms = Some(50);
        })
        .await;

    let outcome = filter(&cell).await;

    assert_eq!(code(&outcome), Some(Code::DeadlineExceeded));
    assert!(outcome.usage.duration.as_millis() < 1_000, "{:?}", outcome.usage.duration);
    assert!(outcome.usage.fuel_units > 0);
}

#[tokio::test]
async fn a_start_function_is_bounded_like_a_call() {
    let host = Host::new();
    let cell = host.cell(&loop_in_start()).await;

    let outcome = filter(&cell).await;

    assert_eq!(code(&outcome), Some(Code::FuelExhausted));
    assert_eq!(outcome.usage.fuel_units, cell.limits().fuel_units);
}

#[tokio::test]
async fn fuel_is_counted_exactly_and_the_same_for_the_same_work() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;

    let (first, second) = (filter(&cell).await, filter(&cell).await);

    assert!(first.usage.fuel_units > 0);
    assert_eq!(first.usage.fuel_units, second.usage.fuel_units);
    assert_eq!(first.usage.memory_peak_bytes, 32 * 65_536);
}

#[tokio::test]
async fn wasi_calls_count_as_host_calls_to_the_last_one() {
    let host = Host::new();
    let (within, beyond) = (host.cell(&clock_reader(1_000)).await, host.cell(&clock_reader(1_001)).await);

    let (within, beyond) = (filter(&within).await, filter(&beyond).await);

    assert_eq!((within.result.clone(), within.usage.host_calls), (Ok(None), 1_000));
    assert_eq!(code(&beyond), Some(Code::HostCallsExceeded));
}

#[tokio::test]
async fn bytes_between_guest_and_host_are_bounded_in_one_call_and_in_sum() {
    let host = Host::new();
    let check = async |lines, line_bytes, answer_bytes, wanted| {
        let cell = host.cell(&mover(lines, line_bytes, answer_bytes)).await;
        let outcome = filter(&cell).await;
        assert_eq!(code(&outcome), wanted, "{lines} lines of {line_bytes}, answer of {answer_bytes}");
    };

    check(15, 1 << 20, 1 << 20, None).await;
    check(17, 1 << 20, 0, Some(Code::HostCallsExceeded)).await;
    check(1, 17 << 20, 0, Some(Code::HostCallsExceeded)).await;
    check(0, 0, (1 << 20) + 1, Some(Code::ResponseTooLarge)).await;
    check(0, 0, 17 << 20, Some(Code::ResponseTooLarge)).await;
    check(1, 16, 17 << 20, Some(Code::ResponseTooLarge)).await;
}

#[tokio::test]
async fn a_memory_that_the_guest_itself_bounds_refuses_to_grow_as_wasm_says() {
    let host = Host::new();
    let core = hooks_core("", "(call $digit (i32.eq (memory.grow (i32.const 5)) (i32.const -1)))")
        .replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 2 4)"#);
    let cell = host.cell(&guest(HOOKS, &core)).await;

    assert_eq!(filter(&cell).await.result, Ok(Some("1".to_owned())));
}

#[tokio::test]
async fn a_request_beyond_its_limit_never_reaches_the_guest() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;
    let large = "a".repeat(1 << 20);

    let outcome = cell.apply_filter(&context(), "order.total", &large, "[]").await;

    assert_eq!(code(&outcome), Some(Code::BodyTooLarge));
    assert_eq!(outcome.usage.fuel_units, 0);
}

#[tokio::test]
async fn a_call_of_one_tenant_never_enters_a_cell_of_another() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;

    let outcome = cell.apply_filter(&context_of("t2"), "order.total", "1", "[]").await;

    assert_eq!(code(&outcome), Some(Code::Internal));
    assert_eq!(outcome.usage.fuel_units, 0);
}

#[tokio::test]
async fn an_entry_that_the_component_lacks_is_not_found() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;

    let outcome = cell.init(&context()).await;

    assert_eq!(code(&outcome), Some(Code::NotFound));
    assert_eq!(cell.counters().failures, 0);
}

#[tokio::test]
async fn hooks_nest_only_so_deep() {
    let host = Host::new();
    let cell = host.cell(&hostile("echo")).await;
    let mut context = context();
    context.depth = 5;

    let outcome = cell.apply_filter(&context, "order.total", "1", "[]").await;

    assert_eq!(code(&outcome), Some(Code::Conflict));
}
