//! The trial of a component: one instance, every exported interface looked up, nothing called. A changed
//! record type passes every earlier check and fails here.
//! It reaches no tenant: it has no grant, no storage and no configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::id::InvalidName;
use bulkhead_model::manifest::LogLevel;
use bulkhead_model::{Actor, Entry, Grants, Limits, TraceId};
use tokio::sync::OwnedSemaphorePermit;

use crate::call::CallError;
use crate::cell::{CellConfig, Configuration, Shared};
use crate::component::Component;
use crate::dispatch::admission::{OVERLOAD_RETRY_MS, Rates};
use crate::dispatch::ledger::Ledger;
use crate::engine::Engine;
use crate::error::Error;
use crate::imports::ViewSource;
use crate::instance::{Instance, within};
use crate::state::Call;
use crate::trap;

/// The names that a trial runs under.
const TENANT: &str = "trial";
const PLUGIN: &str = "bulkhead.trial";
const VERSION: &str = "0.0.0";

impl Engine {
    /// Starts one instance of `component` within `limits` and checks the types of everything that it exports.
    ///
    /// # Errors
    /// [`Error::IncompatibleContract`] if a type differs, [`Error::Trial`] if the component does not start.
    pub async fn trial(&self, component: &Component, limits: Limits) -> Result<(), Error> {
        let failed = |error| Error::Trial(error);
        let shared =
            Arc::new(self.nobody(component, limits).map_err(|error| failed(CallError::Host(error.to_string())))?);
        let deadline_ms = limits.deadline_ms(Entry::Init);
        let started = Instant::now();
        let deadline = started + Duration::from_millis(u64::from(deadline_ms));
        let call = Call {
            actor: Arc::new(Actor::system()),
            trace: TraceId::from_random([0; 16]),
            started,
            deadline,
            now_unix_ms: 0,
            kills: 0,
            storage: None,
        };
        let slots = self.trial_slots(component, deadline).await.map_err(failed)?;
        let new = Instance::new(self, &component.inner, &shared, call, slots);
        let mut instance = match within(&shared, deadline, 0, new).await {
            Ok(Ok(instance)) => instance,
            Ok(Err(not_made)) => {
                return Err(failed(trap::classify_start(&not_made.error, &limits, deadline_ms)));
            }
            Err(stop) => return Err(failed(trap::stopped(stop, &limits, deadline_ms))),
        };
        instance.load_all().map_err(|error| Error::IncompatibleContract(format!("{error:#}")))
    }

    async fn trial_slots(&self, component: &Component, deadline: Instant) -> Result<OwnedSemaphorePermit, CallError> {
        let acquire = Arc::clone(&self.inner.slots).acquire_many_owned(component.inner.slots);
        let permit = tokio::time::timeout_at(deadline.into(), acquire).await;
        permit.ok().and_then(Result::ok).ok_or(CallError::Overloaded { retry_after_ms: OVERLOAD_RETRY_MS })
    }

    /// A cell's side of a store that belongs to nobody.
    fn nobody(&self, component: &Component, limits: Limits) -> Result<Shared, InvalidName> {
        let config = CellConfig {
            tenant: TENANT.parse()?,
            plugin: PLUGIN.parse()?,
            version: VERSION.parse()?,
            component: component.clone(),
            grants: Grants::default(),
            limits,
            storage: None,
            views: ViewSource::default(),
            configuration: Configuration { json: "{}".into(), version: 0 },
            rates: Rates { calls_per_minute: 1, calls_burst: 1, routes_per_minute: Vec::new() },
            ledger: Arc::new(Ledger::new(Instant::now())),
            concurrency_max: 1,
            log_level: LogLevel::Error,
        };
        Ok(Shared::new(self.inner.labels.cell(&config.tenant, &config.plugin), &config))
    }
}
