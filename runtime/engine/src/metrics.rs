//! The engine's metrics: names, labels, and handles held where calls happen, so that a call only counts.
//! It exports nothing; the program installs a recorder before the first cell is made.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bulkhead_model::{Code, Entry, Interface, PluginId, TenantId};
use metrics::{Counter, Gauge, Histogram, Label};
use parking_lot::Mutex;

/// Label of tenants beyond the cap; no tenant can have this name.
const OTHER_TENANTS: &str = "_other";
/// Metrics of a plugin on this node, shared by its cells.
pub(crate) struct PluginMetrics {
    plugin: PluginId,
    duration: [OnceLock<Histogram>; Entry::ALL.len()],
    host_calls: [OnceLock<[Counter; 3]>; Interface::ALL.len()],
    memory_peak: Gauge,
    memory_peak_bytes: AtomicU64,
    pub(crate) live: Gauge,
    pub(crate) idle: Gauge,
    pub(crate) instantiate: Histogram,
}

/// Metrics of a cell.
pub(crate) struct CellMetrics {
    pub(crate) plugin: Arc<PluginMetrics>,
    tenant_label: Arc<str>,
    entries: [OnceLock<EntryMetrics>; Entry::ALL.len()],
    /// Calls that failed, by entry and code; good calls count in their entry, without a lock.
    failed: Mutex<BTreeMap<(Entry, Code), u64>>,
    pub(crate) breaker_open: Gauge,
}

/// Calls of a cell that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// How the guest was entered.
    pub entry: Entry,
    /// `ok`, or the code that the call ended with.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
}

struct EntryMetrics {
    ok: Counter,
    ok_count: AtomicU64,
    fuel: Counter,
}

/// How a host call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCall {
    Ok,
    Denied,
    Failed,
}

impl PluginMetrics {
    fn new(plugin: PluginId) -> Self {
        let label = || vec![Label::new("plugin", plugin.as_str().to_owned())];
        let state = |state: &'static str| {
            let mut labels = label();
            labels.push(Label::new("state", state));
            metrics::gauge!("bulkhead_instances", labels)
        };
        Self {
            duration: Default::default(),
            host_calls: Default::default(),
            memory_peak: metrics::gauge!("bulkhead_memory_peak_bytes", label()),
            memory_peak_bytes: AtomicU64::new(0),
            live: state("live"),
            idle: state("idle"),
            instantiate: metrics::histogram!("bulkhead_instantiate_seconds", label()),
            plugin,
        }
    }

    /// Counts a host call of an interface.
    pub(crate) fn host_call(&self, interface: Interface, outcome: HostCall) {
        let index = Interface::ALL.iter().position(|known| *known == interface);
        let Some(slot) = index.and_then(|index| self.host_calls.get(index)) else {
            return;
        };
        let [ok, denied, failed] = slot.get_or_init(|| {
            ["ok", "denied", "failed"].map(|outcome| {
                metrics::counter!(
                    "bulkhead_host_calls_total",
                    "plugin" => self.plugin.as_str().to_owned(),
                    "interface" => interface.as_str(),
                    "outcome" => outcome,
                )
            })
        });
        match outcome {
            HostCall::Ok => ok.increment(1),
            HostCall::Denied => {
                denied.increment(1);
                metrics::counter!("bulkhead_denied_total", "reason" => "host-call").increment(1);
            }
            HostCall::Failed => failed.increment(1),
        }
    }

    fn duration(&self, entry: Entry) -> Option<&Histogram> {
        let slot = self.duration.get(entry.index())?;
        Some(slot.get_or_init(|| {
            metrics::histogram!(
                "bulkhead_call_duration_seconds",
                "plugin" => self.plugin.as_str().to_owned(),
                "entry" => entry.as_str(),
            )
        }))
    }
}

impl CellMetrics {
    pub(crate) fn new(plugin: Arc<PluginMetrics>, tenant_label: Arc<str>) -> Self {
        let breaker_open = metrics::gauge!(
            "bulkhead_breaker_state",
            "plugin" => plugin.plugin.as_str().to_owned(),
            "tenant" => tenant_label.as_ref().to_owned(),
        );
        Self { plugin, tenant_label, entries: Default::default(), failed: Mutex::default(), breaker_open }
    }

    /// Counts a call that ran or was refused.
    pub(crate) fn call(&self, entry: Entry, failed: Option<Code>, usage: &crate::call::Usage) {
        let Some(slot) = self.entries.get(entry.index()) else {
            return;
        };
        let handles = slot.get_or_init(|| EntryMetrics {
            ok: self.calls_total(entry, "ok"),
            ok_count: AtomicU64::new(0),
            fuel: metrics::counter!(
                "bulkhead_fuel_total",
                "plugin" => self.plugin.plugin.as_str().to_owned(),
                "tenant" => self.tenant_label.as_ref().to_owned(),
                "entry" => entry.as_str(),
            ),
        });
        match failed {
            None => {
                handles.ok.increment(1);
                handles.ok_count.fetch_add(1, Ordering::Relaxed);
            }
            Some(code) => {
                self.calls_total(entry, code.as_str()).increment(1);
                let mut failed = self.failed.lock();
                let count = failed.entry((entry, code)).or_default();
                *count = count.saturating_add(1);
            }
        }
        handles.fuel.increment(usage.fuel_units);
        if let Some(duration) = self.plugin.duration(entry) {
            duration.record(usage.duration.as_secs_f64());
        }
        let peak = usage.memory_peak_bytes;
        if peak > self.plugin.memory_peak_bytes.load(Ordering::Relaxed)
            && peak > self.plugin.memory_peak_bytes.fetch_max(peak, Ordering::Relaxed)
        {
            self.plugin.memory_peak.set(approximate(peak));
        }
    }

    /// Calls so far, by entry and outcome.
    pub(crate) fn calls(&self) -> Vec<CallCount> {
        let good = Entry::ALL.into_iter().zip(&self.entries).filter_map(|(entry, slot)| {
            let count = slot.get()?.ok_count.load(Ordering::Relaxed);
            (count > 0).then_some(CallCount { entry, outcome: "ok", count })
        });
        let failed = self.failed.lock();
        let bad = failed.iter().map(|((entry, code), count)| CallCount {
            entry: *entry,
            outcome: code.as_str(),
            count: *count,
        });
        good.chain(bad).collect()
    }

    fn calls_total(&self, entry: Entry, outcome: &'static str) -> Counter {
        metrics::counter!(
            "bulkhead_calls_total",
            "plugin" => self.plugin.plugin.as_str().to_owned(),
            "tenant" => self.tenant_label.as_ref().to_owned(),
            "entry" => entry.as_str(),
            "outcome" => outcome,
        )
    }
}

/// The label sets in use: one per plugin, and tenants up to a cap.
pub(crate) struct Labels {
    plugins: Mutex<HashMap<PluginId, Weak<PluginMetrics>>>,
    tenants: Mutex<HashMap<TenantId, Arc<str>>>,
    tenants_max: usize,
}

impl Labels {
    pub(crate) fn new(tenants_max: u32) -> Self {
        let tenants_max = usize::try_from(tenants_max).unwrap_or(usize::MAX);
        Self { plugins: Mutex::default(), tenants: Mutex::default(), tenants_max }
    }

    pub(crate) fn cell(&self, tenant: &TenantId, plugin: &PluginId) -> CellMetrics {
        CellMetrics::new(self.plugin(plugin), self.tenant(tenant))
    }

    fn plugin(&self, plugin: &PluginId) -> Arc<PluginMetrics> {
        let mut plugins = self.plugins.lock();
        if let Some(metrics) = plugins.get(plugin).and_then(Weak::upgrade) {
            return metrics;
        }
        plugins.retain(|_, metrics| metrics.strong_count() > 0);
        let metrics = Arc::new(PluginMetrics::new(plugin.clone()));
        plugins.insert(plugin.clone(), Arc::downgrade(&metrics));
        metrics
    }

    /// The tenant's own name for the first tenants, one name for all others: series must not grow with tenants.
    fn tenant(&self, tenant: &TenantId) -> Arc<str> {
        let mut tenants = self.tenants.lock();
        if let Some(label) = tenants.get(tenant) {
            return Arc::clone(label);
        }
        if tenants.len() >= self.tenants_max {
            return OTHER_TENANTS.into();
        }
        let label: Arc<str> = tenant.as_str().into();
        tenants.insert(tenant.clone(), Arc::clone(&label));
        label
    }
}

/// A byte count as a gauge shows it.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^53 bytes are more than a machine has")]
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_beyond_the_cap_share_one_label() {
        let labels = Labels::new(2);
        let label = |tenant: &str| labels.tenant(&tenant.parse().unwrap()).to_string();

        let found = ["a", "b", "c", "a", "d"].map(label);

        assert_eq!(found, ["a", "b", "_other", "a", "_other"]);
    }
}
