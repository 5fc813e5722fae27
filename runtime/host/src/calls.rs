//! Who calls, for whom, and under which trace: what every call into a plugin carries.
//! All of it is made by the host; nothing of it can be chosen by a guest.

use std::sync::Arc;

use bulkhead_engine::CallContext;
use bulkhead_model::{Actor, TenantId, TraceId};

use crate::clock;

/// The origin of a call.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Tenant that the call belongs to.
    pub tenant: TenantId,
    /// The verified user.
    pub actor: Arc<Actor>,
    /// W3C trace id.
    pub trace: TraceId,
    /// BCP 47 locale.
    pub locale: Arc<str>,
}

impl Caller {
    /// The host itself, acting in `tenant`: starts, health checks.
    pub(crate) fn system(tenant: TenantId) -> Self {
        Self { tenant, actor: Arc::new(Actor::system()), trace: random_trace(), locale: Arc::from("en") }
    }

    /// The context of a call of this caller, its time clipped to `deadline_ms` where given.
    pub(crate) fn context(&self, deadline_ms: Option<u32>) -> CallContext {
        CallContext {
            tenant: self.tenant.clone(),
            actor: Arc::clone(&self.actor),
            trace: self.trace,
            locale: Arc::clone(&self.locale),
            now_unix_ms: clock::now_ms(),
            deadline_ms,
            depth: 0,
            storage: None,
        }
    }
}

/// A new trace id.
pub fn random_trace() -> TraceId {
    let mut bytes = [0; 16];
    // Without entropy the id is constant, which only makes logs harder to read.
    if getrandom::fill(&mut bytes).is_err() {
        tracing::warn!("no random bytes for a trace id");
    }
    TraceId::from_random(bytes)
}
