//! One call from admission to outcome, on one screen: gate, instance, guest, verdict.
//! It knows no interface; `exports/` has one value per kind of call.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bulkhead_model::{Coded as _, Entry, Reuse};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

use crate::call::{CallContext, CallError, Outcome, Usage};
use crate::cell::Cell;
use crate::dispatch::admission::{OVERLOAD_RETRY_MS, Ticket};
use crate::dispatch::breaker::Change;
use crate::exports::{Export, plugin_error};
use crate::failures::{Failure, LOG_LINES_MAX};
use crate::instance::{Failed, Instance, within};
use crate::state::{Call, CallState, guest_context};
use crate::trap::{self, Frame};
use crate::waiting::Waiting;

/// Idle instances of others that one call may end to find room for itself.
const RECLAIMS_MAX: u32 = 64;

/// How a call ended, before anybody is told.
struct Ended<T> {
    result: Result<T, CallError>,
    usage: Usage,
    frames: Vec<Frame>,
}

/// What is fixed when a call begins.
#[derive(Clone, Copy)]
struct Bounds {
    started: Instant,
    deadline: Instant,
    deadline_ms: u32,
    kills: u64,
}

impl Cell {
    /// Runs one call.
    pub(crate) async fn run<E: Export>(&self, context: &CallContext, export: E) -> Outcome<E::Answer> {
        let entry = export.entry();
        let started = Instant::now();
        // Before the gate: a kill between the two is seen by one of them.
        let kills = self.shared.kills();
        if let Err(refusal) = self.check_request(context, &export) {
            return self.refused(entry, refusal, started);
        }
        let deadline_ms = self.deadline_ms(entry, context);
        let own_time = Duration::from_millis(u64::from(deadline_ms));
        let wait_max = self.engine.inner.wait_max.min(own_time);
        let ticket = match self.gate.enter(entry, started, wait_max).await {
            Ok(ticket) => ticket,
            Err(refusal) => return self.refused(entry, refusal, started),
        };
        let bounds = Bounds { started, deadline: started + own_time, deadline_ms, kills };

        let ended = self.execute(context, export, bounds).await;

        self.conclude(context, entry, bounds, ticket, ended)
    }

    fn check_request<E: Export>(&self, context: &CallContext, export: &E) -> Result<(), CallError> {
        let limits = &self.shared.limits;
        if context.tenant != self.shared.tenant {
            return Err(CallError::Host(format!("a call of tenant `{}` reached a cell of another", context.tenant)));
        }
        let own = self.shared.storage.as_ref();
        if context.storage.as_ref().is_some_and(|other| !own.is_some_and(|own| own.is_of_same_plugin(other))) {
            return Err(CallError::Host("the storage of another plugin reached a cell".to_owned()));
        }
        if let Some(missing) = export.missing(&self.component.inner.exports) {
            return Err(CallError::NotExported(missing));
        }
        if exceeds(export.request_bytes(), limits.request_bytes) {
            return Err(CallError::RequestTooLarge { request_bytes: limits.request_bytes });
        }
        Ok(())
    }

    /// Finds an instance and enters it.
    async fn execute<E: Export>(&self, context: &CallContext, export: E, bounds: Bounds) -> Ended<E::Answer> {
        let mut instance = match self.instance(context, bounds).await {
            Ok(instance) => instance,
            Err(ended) => return ended.cast(),
        };
        let trace = context.trace.hex();
        let guest_context = guest_context(context, &trace, bounds.deadline_ms);

        let answer =
            within(&self.shared, bounds.deadline, bounds.kills, export.call(&mut instance, guest_context)).await;

        instance.state_mut().end();
        instance.state_mut().flush_output();
        let usage = usage(instance.store(), bounds.started);
        let limits = &self.shared.limits;
        let (result, frames, sound) = match answer {
            Ok(Ok(Ok(answer))) => {
                let result = self.check_answer::<E>(answer);
                let sound = result.is_ok();
                (result, Vec::new(), sound)
            }
            Ok(Ok(Err(error))) => {
                let (error, bytes) = plugin_error(error);
                let too_large = self.check_size(bytes).err();
                let sound = too_large.is_none();
                (Err(too_large.unwrap_or(CallError::Plugin(error))), Vec::new(), sound)
            }
            Ok(Err(error)) => (Err(trap::classify(&error, limits, bounds.deadline_ms)), trap::frames(&error), false),
            Err(stop) => (Err(trap::stopped(stop, limits, bounds.deadline_ms)), Vec::new(), false),
        };
        self.put_away(instance, sound, bounds.started + usage.duration);
        Ended { result, usage, frames }
    }

    /// A kept instance, or a new one.
    async fn instance(&self, context: &CallContext, bounds: Bounds) -> Result<Box<Instance>, Ended<Infallible>> {
        let call = Call {
            actor: Arc::clone(&context.actor),
            trace: context.trace,
            started: bounds.started,
            deadline: bounds.deadline,
            now_unix_ms: context.now_unix_ms,
            kills: bounds.kills,
            storage: context.storage.clone(),
        };
        if let Some(mut instance) = self.idle.take() {
            return match instance.begin(call) {
                Ok(()) => Ok(instance),
                Err(error) => Err(Ended::refused(CallError::Host(error.to_string()), bounds)),
            };
        }
        let slots = self.slots(bounds.deadline).await.map_err(|error| Ended::refused(error, bounds))?;
        let begun = Instant::now();
        let new = Instance::new(&self.engine, &self.component.inner, &self.shared, call, slots);
        match within(&self.shared, bounds.deadline, bounds.kills, new).await {
            Ok(Ok(instance)) => {
                self.shared.metrics.plugin.instantiate.record(begun.elapsed().as_secs_f64());
                Ok(Box::new(instance))
            }
            Ok(Err(failed)) => Err(not_made(*failed, bounds)),
            Err(stop) => Err(Ended::refused(trap::stopped(stop, &self.shared.limits, bounds.deadline_ms), bounds)),
        }
    }

    /// Room in the pool: free, or freed by an idle instance of any cell, or waited for.
    async fn slots(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, CallError> {
        let (engine, needed) = (&self.engine.inner, self.component.inner.slots);
        for _ in 0..RECLAIMS_MAX {
            if let Ok(permit) = Arc::clone(&engine.slots).try_acquire_many_owned(needed) {
                return Ok(permit);
            }
            if !engine.idle.reclaim() {
                break;
            }
        }
        let overloaded = CallError::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS };
        let Some(_place) = Waiting::enter(&engine.waiting, engine.waiting_max) else {
            return Err(overloaded);
        };
        // An instance that went to rest before this call was seen waiting would not wake it.
        engine.idle.reclaim();
        let wait_max = engine.wait_max.min(deadline.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(wait_max, Arc::clone(&engine.slots).acquire_many_owned(needed)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }

    /// Keeps a sound instance for the next call, if the plugin asked for it and nobody needs its room more.
    fn put_away(&self, mut instance: Box<Instance>, sound: bool, now: Instant) {
        instance.calls = instance.calls.saturating_add(1);
        let limits = &self.shared.limits;
        let wanted = limits.reuse == Reuse::Tenant && instance.calls < limits.reuse_calls;
        let needed_elsewhere = self.engine.inner.waiting.load(Ordering::Relaxed) > 0;
        if sound && wanted && !needed_elsewhere && self.gate.is_open() {
            self.idle.keep(instance, now);
        }
    }

    fn check_answer<E: Export>(&self, answer: E::Answer) -> Result<E::Answer, CallError> {
        self.check_size(E::response_bytes(&answer))?;
        E::check(&answer)?;
        Ok(answer)
    }

    fn check_size(&self, bytes: usize) -> Result<(), CallError> {
        let response_bytes = self.shared.limits.response_bytes;
        if exceeds(bytes, response_bytes) { Err(CallError::ResponseTooLarge { response_bytes }) } else { Ok(()) }
    }

    /// Tells breaker, metrics, failures and log how a call ended.
    fn conclude<T>(
        &self,
        context: &CallContext,
        entry: Entry,
        bounds: Bounds,
        ticket: Ticket<'_>,
        ended: Ended<T>,
    ) -> Outcome<T> {
        let Ended { result, usage, frames } = ended;
        let error = result.as_ref().err();
        // A caller's shorter time says nothing about the plugin.
        let own_time = bounds.deadline_ms == self.shared.limits.deadline_ms(entry);
        let verdict = match error {
            None | Some(CallError::Plugin(_)) => Some(error.is_some_and(CallError::is_failure)),
            Some(CallError::DeadlineExceeded { .. }) if !own_time => None,
            Some(error) => error.is_failure().then_some(true),
        };
        let now = bounds.started + usage.duration;
        self.gate.charge_fuel(entry, usage.fuel_units, now);
        if let Some(change) = ticket.finish(verdict, now) {
            self.breaker_changed(change);
        }
        self.count(entry, error.map(CallError::code), &usage);
        if let Some(error) = error.filter(|_| verdict == Some(true)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.remember(context, entry, error, &usage, frames);
        }
        Outcome { result, usage }
    }

    fn remember(&self, context: &CallContext, entry: Entry, error: &CallError, usage: &Usage, frames: Vec<Frame>) {
        let shared = &self.shared;
        tracing::warn!(
            tenant.id = %shared.tenant,
            plugin.id = %shared.plugin,
            plugin.version = %shared.version,
            trace.id = %context.trace,
            entry = entry.as_str(),
            code = error.code().as_str(),
            fuel_units = usage.fuel_units,
            "a plugin call failed: {error}",
        );
        let passed_ms = u64::try_from(usage.duration.as_millis()).unwrap_or(u64::MAX);
        self.failures.push(Failure {
            error: error.clone(),
            entry,
            frames,
            log_tail: shared.log.tail_of(context.trace, LOG_LINES_MAX),
            fuel_units: usage.fuel_units,
            trace: context.trace,
            at_unix_ms: context.now_unix_ms.saturating_add(passed_ms),
        });
    }

    fn breaker_changed(&self, change: Change) {
        let shared = &self.shared;
        match change {
            Change::Opened(rest_ms) => {
                shared.metrics.breaker_open.set(1.0);
                tracing::warn!(tenant.id = %shared.tenant, plugin.id = %shared.plugin, rest_ms, "a plugin's breaker opened");
            }
            Change::Closed => {
                shared.metrics.breaker_open.set(0.0);
                tracing::info!(tenant.id = %shared.tenant, plugin.id = %shared.plugin, "a plugin's breaker closed");
            }
        }
    }

    /// A call that never reached the guest.
    pub(crate) fn refused<T>(&self, entry: Entry, error: CallError, started: Instant) -> Outcome<T> {
        let usage = Usage { duration: started.elapsed(), ..Usage::default() };
        self.count(entry, Some(error.code()), &usage);
        Outcome { result: Err(error), usage }
    }
}

impl<T> Ended<T> {
    fn refused(error: CallError, bounds: Bounds) -> Self {
        let usage = Usage { duration: bounds.started.elapsed(), ..Usage::default() };
        Self { result: Err(error), usage, frames: Vec::new() }
    }
}

impl Ended<Infallible> {
    fn cast<T>(self) -> Ended<T> {
        Ended { result: self.result.map(|never| match never {}), usage: self.usage, frames: self.frames }
    }
}

/// An instance that failed to start: its start function trapped or passed a limit.
fn not_made(failed: Failed, bounds: Bounds) -> Ended<Infallible> {
    let Failed { mut store, error } = failed;
    store.data_mut().flush_output();
    Ended {
        result: Err(trap::classify_start(&error, &store.data().shared.limits, bounds.deadline_ms)),
        usage: usage(&store, bounds.started),
        frames: trap::frames(&error),
    }
}

fn usage(store: &Store<CallState>, started: Instant) -> Usage {
    let state = store.data();
    let left = store.get_fuel().unwrap_or(0);
    Usage {
        fuel_units: state.shared.limits.fuel_units.saturating_sub(left),
        memory_peak_bytes: state.memory.peak_bytes(),
        host_calls: state.budget.calls_made(),
        log_dropped: state.log.dropped,
        duration: started.elapsed(),
    }
}

fn exceeds(bytes: usize, max: u64) -> bool {
    u64::try_from(bytes).map_or(true, |bytes| bytes > max)
}
