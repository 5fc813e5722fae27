//! Kept instances: each cell has a bounded queue of its own, one sweeper recycles what rests too long, and a
//! call that finds no free slot takes one from an idle instance of any cell.
//! It holds no lock while a guest runs, and it never makes an instance.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use metrics::Gauge;
use parking_lot::Mutex;

use crate::instance::Instance;

/// Shortest time between two sweeps.
const SWEEP_MIN: Duration = Duration::from_millis(20);

/// The idle instances of one cell.
pub(crate) struct Idle {
    queue: ArrayQueue<Resting>,
    /// Used since the last look of a reclaim: such a cell is passed over once.
    touched: AtomicBool,
    gauge: Gauge,
}

struct Resting {
    instance: Box<Instance>,
    since: Instant,
}

impl Idle {
    pub(crate) fn new(instances_max: u32, gauge: Gauge) -> Self {
        let instances_max = usize::try_from(instances_max.max(1)).unwrap_or(1);
        Self { queue: ArrayQueue::new(instances_max), touched: AtomicBool::new(false), gauge }
    }

    /// An idle instance for a call.
    pub(crate) fn take(&self) -> Option<Box<Instance>> {
        let instance = self.pop()?;
        self.touched.store(true, Ordering::Relaxed);
        Some(instance)
    }

    fn pop(&self) -> Option<Box<Instance>> {
        let resting = self.queue.pop()?;
        self.gauge.decrement(1.0);
        Some(resting.instance)
    }

    /// Keeps an instance. Drops it if there are enough.
    pub(crate) fn keep(&self, instance: Box<Instance>, now: Instant) {
        self.gauge.increment(1.0);
        if self.queue.push(Resting { instance, since: now }).is_err() {
            self.gauge.decrement(1.0);
        }
    }

    /// Drops every idle instance.
    pub(crate) fn clear(&self) {
        while self.pop().is_some() {}
    }

    /// Drops the instances that rested longer than `idle_max`.
    fn sweep(&self, now: Instant, idle_max: Duration) {
        for _ in 0..self.queue.len() {
            let Some(resting) = self.queue.pop() else {
                return;
            };
            if now.saturating_duration_since(resting.since) < idle_max {
                if self.queue.push(resting).is_err() {
                    self.gauge.decrement(1.0);
                }
            } else {
                self.gauge.decrement(1.0);
            }
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Every cell's idle instances, for the sweeper and for calls that find no slot.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Cells>);

#[derive(Default)]
struct Cells {
    idle: Vec<Weak<Idle>>,
    next: usize,
}

impl Registry {
    pub(crate) fn add(&self, idle: &Arc<Idle>) {
        self.0.lock().idle.push(Arc::downgrade(idle));
    }

    /// Drops one idle instance of some cell, preferably of one that was not used lately. False if there is none.
    pub(crate) fn reclaim(&self) -> bool {
        self.candidates().iter().any(|idle| idle.pop().is_some())
    }

    /// Cells with idle instances, in the order in which they should give one up: round and round, a cell that
    /// was used since the last round later.
    fn candidates(&self) -> Vec<Arc<Idle>> {
        let mut cells = self.0.lock();
        let count = cells.idle.len();
        let start = cells.next.checked_rem(count).unwrap_or(0);
        let (mut rested, mut used) = (Vec::new(), Vec::new());
        for offset in 0..count {
            let index = start.saturating_add(offset) % count;
            let Some(idle) = cells.idle.get(index).and_then(Weak::upgrade) else {
                continue;
            };
            if idle.queue.is_empty() {
                continue;
            }
            if idle.touched.swap(false, Ordering::Relaxed) {
                used.push(idle);
            } else {
                cells.next = index.saturating_add(1);
                rested.push(idle);
                break;
            }
        }
        rested.append(&mut used);
        rested
    }

    /// Drops what rested too long, everywhere, and forgets cells that are gone.
    fn sweep(&self, idle_max: Duration) {
        let cells: Vec<_> = {
            let mut cells = self.0.lock();
            cells.idle.retain(|idle| idle.strong_count() > 0);
            cells.idle.iter().filter_map(Weak::upgrade).collect()
        };
        let now = Instant::now();
        for idle in cells {
            idle.sweep(now, idle_max);
        }
    }
}

/// Starts the sweeper. It ends when the registry is gone.
pub(crate) fn start_sweeper(registry: &Arc<Registry>, idle_max: Duration) -> std::io::Result<()> {
    let registry = Arc::downgrade(registry);
    let pause = (idle_max / 4).max(SWEEP_MIN);
    thread::Builder::new().name("bulkhead-sweeper".to_owned()).spawn(move || {
        loop {
            thread::sleep(pause);
            let Some(registry) = registry.upgrade() else {
                return;
            };
            registry.sweep(idle_max);
        }
    })?;
    Ok(())
}
