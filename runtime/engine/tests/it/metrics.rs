//! The series that calls leave behind, by name and label.
//! It reads them through a real recorder of its own.

use std::sync::Arc;

use bulkhead_engine::Cell;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::guests::hostile;
use crate::host::{Host, context_of, filter, reuse};

/// What an exporter shows after `work`.
fn exported<F: Future<Output = Host>>(work: impl FnOnce() -> F) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let host = runtime.block_on(work());
        let text = handle.render();
        drop(host);
        text
    })
}

async fn tenant_cell(host: &Host, tenant: &str) -> Arc<Cell> {
    host.cell_with(&hostile("echo"), |config| config.tenant = tenant.parse().unwrap()).await
}

#[test]
fn every_call_leaves_its_series() {
    let text = exported(|| async {
        let host = Host::new();
        let (good, bad) = (host.cell_with(&hostile("log_flood"), reuse).await, host.cell(&hostile("panic")).await);
        for _ in 0..3 {
            filter(&good).await;
        }
        for _ in 0..20 {
            filter(&bad).await;
        }
        host
    });

    for wanted in [
        r#"bulkhead_calls_total{plugin="acme.test",tenant="t1",entry="filter",outcome="ok"} 3"#,
        r#"bulkhead_calls_total{plugin="acme.test",tenant="t1",entry="filter",outcome="plugin-failed"} 20"#,
        r#"bulkhead_call_duration_seconds_count{plugin="acme.test",entry="filter"} 23"#,
        r#"bulkhead_host_calls_total{plugin="acme.test",interface="log",outcome="ok"} 2700"#,
        r#"bulkhead_memory_peak_bytes{plugin="acme.test"} 2097152"#,
        r#"bulkhead_instances{plugin="acme.test",state="live"} 0"#,
        r#"bulkhead_breaker_state{plugin="acme.test",tenant="t1"} 1"#,
        r#"bulkhead_instantiate_seconds_count{plugin="acme.test"} 21"#,
        "bulkhead_compile_seconds_count 2",
        r#"bulkhead_fuel_total{plugin="acme.test",tenant="t1",entry="filter"}"#,
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

#[test]
fn tenants_beyond_the_cap_share_a_series() {
    let text = exported(|| async {
        let host = Host::with(|config| config.tenant_labels_max = 1);
        for tenant in ["a", "b", "c"] {
            let cell = tenant_cell(&host, tenant).await;
            cell.apply_filter(&context_of(tenant), "order.total", "1", "[]").await;
        }
        host
    });

    assert!(text.contains(r#"tenant="a",entry="filter",outcome="ok"} 1"#), "{text}");
    assert!(text.contains(r#"tenant="_other",entry="filter",outcome="ok"} 2"#), "{text}");
    assert!(!text.contains(r#"tenant="b""#), "{text}");
}
