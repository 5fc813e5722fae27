//! The gate of a cell: kill, drain, breaker, rate, concurrency, asked in this order, each with its own error.
//! It runs no guest and knows no instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bulkhead_model::{Entry, Limits};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::CallError;
use crate::dispatch::breaker::{Breaker, Change, Pass};
use crate::dispatch::ledger::Ledger;
use crate::dispatch::rate::{Bucket, FuelMeter};
use crate::engine::Clock;
use crate::waiting::Waiting;

/// Calls of a cell that may wait for another to end, per call that may run.
const WAITING_PER_RUNNING: u32 = 4;
/// What an overloaded caller is told to wait.
pub(crate) const OVERLOAD_RETRY_MS: u64 = 1_000;

/// The part of a minute's calls that one route may take at once: as many as a cell's own burst is of its rate.
const ROUTE_BURST_PART: u32 = 5;

/// How often a (tenant, plugin) may be called. How much it may burn is among its [`Limits`].
#[derive(Clone, Debug)]
pub struct Rates {
    /// Calls a minute.
    pub calls_per_minute: u32,
    /// Calls at once.
    pub calls_burst: u32,
    /// Calls a minute of each route, in the manifest's order; `None` leaves the route to the cell's rate.
    pub routes_per_minute: Vec<Option<u32>>,
}

/// Decides whether a call of a cell may begin.
#[derive(Debug)]
pub(crate) struct Gate {
    clock: Clock,
    killed: AtomicBool,
    draining: AtomicBool,
    breaker: Mutex<Breaker>,
    bucket: Bucket,
    /// In the manifest's order; `None` where a route names no rate of its own.
    routes: Vec<Option<Bucket>>,
    fuel: FuelMeter,
    ledger: Arc<Ledger>,
    fuel_per_month: u64,
    running: Semaphore,
    running_max: u32,
    waiting: AtomicU32,
    waiting_max: u32,
}

/// A call that was let in. Without [`Ticket::finish`] it says nothing about the plugin.
pub(crate) struct Ticket<'a> {
    gate: &'a Gate,
    pass: Option<Pass>,
    _running: SemaphorePermit<'a>,
}

impl Gate {
    pub(crate) fn new(clock: Clock, rates: &Rates, limits: &Limits, ledger: Arc<Ledger>, concurrency_max: u32) -> Self {
        let concurrency_max = concurrency_max.max(1);
        let route = |per_minute: u32| Bucket::new(per_minute, per_minute / ROUTE_BURST_PART);
        Self {
            clock,
            killed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            breaker: Mutex::default(),
            bucket: Bucket::new(rates.calls_per_minute, rates.calls_burst),
            routes: rates.routes_per_minute.iter().map(|rate| rate.map(route)).collect(),
            fuel: FuelMeter::new(limits.fuel_per_minute),
            ledger,
            fuel_per_month: limits.fuel_per_month,
            running: Semaphore::new(usize::try_from(concurrency_max).unwrap_or(1)),
            running_max: concurrency_max,
            waiting: AtomicU32::new(0),
            waiting_max: concurrency_max.saturating_mul(WAITING_PER_RUNNING),
        }
    }

    pub(crate) fn set_killed(&self, killed: bool) {
        self.killed.store(killed, Ordering::Release);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the cell is neither killed nor draining.
    pub(crate) fn is_open(&self) -> bool {
        self.standing(true).is_ok()
    }

    /// Waits until no call runs; false if `wait_max` passed first.
    pub(crate) async fn drained(&self, wait_max: Duration) -> bool {
        tokio::time::timeout(wait_max, self.running.acquire_many(self.running_max)).await.is_ok_and(|all| all.is_ok())
    }

    /// How often the breaker opened.
    pub(crate) fn breaker_opened(&self) -> u64 {
        self.breaker.lock().opened()
    }

    /// What can be said before the route is known: kill, drain, breaker. Takes nothing.
    pub(crate) fn peek(&self) -> Result<(), CallError> {
        self.standing(true)?;
        self.breaker
            .lock()
            .peek(self.clock.ms(Instant::now()))
            .map_err(|retry_after_ms| CallError::BreakerOpen { retry_after_ms })
    }

    /// Takes one call of a route off its own rate and the cell's. A route's caller does it before it reads the body.
    pub(crate) fn take_route_rate(&self, route: usize, now: Instant) -> Result<(), CallError> {
        if let Some(bucket) = self.routes.get(route).and_then(Option::as_ref) {
            bucket.take(self.clock.ns(now)).map_err(|retry_after_ms| CallError::RateLimited { retry_after_ms })?;
        }
        self.take_rate(now)
    }

    /// Takes one call off the cell's rate, and refuses it while too much fuel was burnt. Hooks do it as they enter.
    fn take_rate(&self, now: Instant) -> Result<(), CallError> {
        let now_ns = self.clock.ns(now);
        self.ledger
            .check(self.fuel_per_month, now)
            .map_err(|retry_after_ms| CallError::FuelBudgetSpent { retry_after_ms })?;
        self.fuel.check(now_ns).map_err(|retry_after_ms| CallError::FuelRateLimited { retry_after_ms })?;
        self.bucket.take(now_ns).map_err(|retry_after_ms| CallError::RateLimited { retry_after_ms })
    }

    /// Charges what a call burnt that ended `now`.
    pub(crate) fn charge_fuel(&self, entry: Entry, units: u64, now: Instant) {
        self.ledger.charge(entry, units);
        self.fuel.charge(units, self.clock.ns(now));
    }

    /// Lets a call in that came `now`, waiting at most `wait_max` for another to end.
    pub(crate) async fn enter(&self, entry: Entry, now: Instant, wait_max: Duration) -> Result<Ticket<'_>, CallError> {
        self.standing(entry != Entry::Shutdown)?;
        let mut ticket = Unfinished { gate: self, pass: None };
        if is_metered(entry) {
            let pass = self.breaker.lock().pass(self.clock.ms(now));
            ticket.pass = Some(pass.map_err(|retry_after_ms| CallError::BreakerOpen { retry_after_ms })?);
        }
        if matches!(entry, Entry::Filter | Entry::Action) {
            self.take_rate(now)?;
        }
        let running = self.running(wait_max).await?;
        Ok(Ticket { gate: self, pass: ticket.pass.take(), _running: running })
    }

    fn standing(&self, drains: bool) -> Result<(), CallError> {
        if self.is_killed() {
            return Err(CallError::Killed);
        }
        if drains && self.draining.load(Ordering::Acquire) {
            return Err(CallError::Draining);
        }
        Ok(())
    }

    async fn running(&self, wait_max: Duration) -> Result<SemaphorePermit<'_>, CallError> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let overloaded = CallError::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS };
        let Some(_place) = Waiting::enter(&self.waiting, self.waiting_max) else {
            return Err(overloaded);
        };
        match tokio::time::timeout(wait_max, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }

    fn abandon(&self, pass: Option<Pass>) {
        // Only a probe has something to give back; other calls need no lock for it.
        if pass == Some(Pass::Probe) {
            self.breaker.lock().abandon(Pass::Probe, self.clock.ms(Instant::now()));
        }
    }
}

/// Whether breaker and rate are about this entry. The host's own steps are never refused by them.
fn is_metered(entry: Entry) -> bool {
    matches!(entry, Entry::Route | Entry::Filter | Entry::Action)
}

/// Gives the breaker's pass back if the call is refused, or dropped, further on.
struct Unfinished<'a> {
    gate: &'a Gate,
    pass: Option<Pass>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.gate.abandon(self.pass);
    }
}

impl Ticket<'_> {
    /// Tells the breaker how the call ended; `None`: it says nothing about the plugin.
    pub(crate) fn finish(mut self, failed: Option<bool>, now: Instant) -> Option<Change> {
        let pass = self.pass?;
        let failed = failed?;
        self.pass = None;
        self.gate.breaker.lock().record(pass, failed, self.gate.clock.ms(now))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.gate.abandon(self.pass);
    }
}
