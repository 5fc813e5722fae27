//! What goes into a call and what comes out: context, plugin error, call error, usage, outcome.
//! It runs nothing; these are the engine's words towards the host application.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_database::tenant::PluginStore;
use bulkhead_model::{Actor, Code, Coded, Role, TenantId, TraceId};

/// Who calls, for whom, and how long there is. Made by the host; no part of it comes from a guest.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Tenant of the call. A cell serves one tenant and refuses a context of another.
    pub tenant: TenantId,
    /// The verified identity behind the call.
    pub actor: Arc<Actor>,
    /// W3C trace id.
    pub trace: TraceId,
    /// BCP 47, for example `pt-BR`.
    pub locale: Arc<str>,
    /// Wall clock at the start of the call, Unix milliseconds.
    pub now_unix_ms: u64,
    /// Wall time that the caller has left, in milliseconds; clips the limit's own.
    pub deadline_ms: Option<u32>,
    /// How many hooks this call is nested in.
    pub depth: u32,
    /// Storage of the cell's own plugin that the call works on in the place of the cell's: its transaction in a scope of the
    /// host application.
    pub storage: Option<PluginStore>,
}

impl CallContext {
    /// The end user, where there is one: neither the host application nor the host itself is one.
    pub(crate) fn user(&self) -> Option<&str> {
        let nobody = self.actor.roles.is_empty() && self.actor.tenant.is_none();
        (!nobody && !self.actor.is(Role::Host)).then_some(self.actor.subject.as_str())
    }
}

/// What a plugin answers when it cannot do what was asked. Texts reach the caller, except `Internal`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The caller sent something wrong.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The caller may not.
    #[error("denied: {0}")]
    Denied(String),
    /// There is no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// The state does not allow it.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Not now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Logged; the caller sees a code and a trace id.
    #[error("internal: {0}")]
    Internal(String),
    /// A code and a text of the plugin's own.
    #[error("{code}: {message}")]
    Other {
        /// The plugin's code.
        code: String,
        /// The plugin's text.
        message: String,
    },
}

/// How a call ended that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin answered with an error.
    #[error(transparent)]
    Plugin(PluginError),
    /// The compute budget was used up.
    #[error("the call used up its {fuel_units} units of fuel")]
    FuelExhausted {
        /// The budget.
        fuel_units: u64,
    },
    /// Memories and tables together passed the limit.
    #[error("the call passed its limit of {memory_bytes} bytes of memory")]
    MemoryExceeded {
        /// The limit.
        memory_bytes: u64,
    },
    /// The time was up.
    #[error("the call passed its deadline of {deadline_ms} ms")]
    DeadlineExceeded {
        /// The deadline that held for this call.
        deadline_ms: u32,
    },
    /// The guest's stack was used up.
    #[error("the call used up its stack")]
    StackExhausted,
    /// Too many host calls, or too many bytes in them.
    #[error("the call passed its limit of {host_calls} host calls or {host_call_bytes} bytes in them")]
    HostCallsExceeded {
        /// Calls allowed.
        host_calls: u32,
        /// Bytes allowed.
        host_call_bytes: u64,
    },
    /// Too many resource handles.
    #[error("the call passed its limit of {handles} handles")]
    HandlesExceeded {
        /// Handles allowed.
        handles: u32,
    },
    /// What was to be passed in is too large.
    #[error("the request is larger than {request_bytes} bytes")]
    RequestTooLarge {
        /// Bytes allowed.
        request_bytes: u64,
    },
    /// The answer is too large.
    #[error("the answer is larger than {response_bytes} bytes")]
    ResponseTooLarge {
        /// Bytes allowed.
        response_bytes: u64,
    },
    /// The answer is no legal HTTP response.
    #[error("the answer is not valid: {0}")]
    ResponseInvalid(&'static str),
    /// The guest trapped. The text names the trap and nothing of the guest's memory.
    #[error("the plugin trapped: {reason}")]
    Trapped {
        /// The trap.
        reason: String,
    },
    /// An operator stopped the plugin.
    #[error("the plugin was stopped by an operator")]
    Killed,
    /// The plugin failed too often and rests.
    #[error("the plugin failed too often; the next try is in {retry_after_ms} ms")]
    BreakerOpen {
        /// When a retry may help.
        retry_after_ms: u64,
    },
    /// Too many calls in a short time.
    #[error("too many calls; the next is served in {retry_after_ms} ms")]
    RateLimited {
        /// When a retry may help.
        retry_after_ms: u64,
    },
    /// Too much fuel burnt in a short time.
    #[error("the plugin has burnt its fuel of this minute; the next call is served in {retry_after_ms} ms")]
    FuelRateLimited {
        /// When a retry may help.
        retry_after_ms: u64,
    },
    /// All fuel of the month burnt.
    #[error("the plugin has burnt its fuel of this month; the next one begins in {retry_after_ms} ms")]
    FuelBudgetSpent {
        /// When a retry may help.
        retry_after_ms: u64,
    },
    /// No room for another call.
    #[error("no room for another call; try again in {retry_after_ms} ms")]
    Overloaded {
        /// When a retry may help.
        retry_after_ms: u64,
    },
    /// The cell takes no new calls.
    #[error("the plugin takes no new calls")]
    Draining,
    /// The component does not have this entry.
    #[error("the plugin does not export `{0}`")]
    NotExported(&'static str),
    /// Hooks are nested too deeply.
    #[error("hooks are nested deeper than {0}")]
    TooDeep(u32),
    /// The host failed. The text is for its log.
    #[error("the host failed: {0}")]
    Host(String),
}

impl CallError {
    /// Whether the plugin is to blame, so that breaker and quarantine count it. What a guest chose to answer
    /// to a caller's mistake is no failure; nor is what the host refused or an operator did.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Plugin(error) => matches!(error, PluginError::Internal(_) | PluginError::Unavailable(_)),
            Self::FuelExhausted { .. }
            | Self::MemoryExceeded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::StackExhausted
            | Self::HostCallsExceeded { .. }
            | Self::HandlesExceeded { .. }
            | Self::ResponseTooLarge { .. }
            | Self::ResponseInvalid(_)
            | Self::Trapped { .. } => true,
            Self::RequestTooLarge { .. }
            | Self::Killed
            | Self::BreakerOpen { .. }
            | Self::RateLimited { .. }
            | Self::FuelRateLimited { .. }
            | Self::FuelBudgetSpent { .. }
            | Self::Overloaded { .. }
            | Self::Draining
            | Self::NotExported(_)
            | Self::TooDeep(_)
            | Self::Host(_) => false,
        }
    }

    /// Milliseconds after which a retry may help.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::BreakerOpen { retry_after_ms }
            | Self::RateLimited { retry_after_ms }
            | Self::FuelRateLimited { retry_after_ms }
            | Self::FuelBudgetSpent { retry_after_ms }
            | Self::Overloaded { retry_after_ms } => Some(*retry_after_ms),
            _ => None,
        }
    }
}

impl Coded for CallError {
    fn code(&self) -> Code {
        match self {
            Self::Plugin(error) => error.code(),
            Self::FuelExhausted { .. } => Code::FuelExhausted,
            Self::MemoryExceeded { .. } => Code::MemoryExceeded,
            Self::DeadlineExceeded { .. } => Code::DeadlineExceeded,
            Self::StackExhausted => Code::StackExhausted,
            Self::HostCallsExceeded { .. } => Code::HostCallsExceeded,
            Self::HandlesExceeded { .. } => Code::HandlesExceeded,
            Self::RequestTooLarge { .. } => Code::BodyTooLarge,
            Self::ResponseTooLarge { .. } => Code::ResponseTooLarge,
            Self::ResponseInvalid(_) | Self::Trapped { .. } => Code::PluginFailed,
            Self::Killed => Code::PluginKilled,
            Self::BreakerOpen { .. } => Code::BreakerOpen,
            Self::RateLimited { .. } | Self::FuelRateLimited { .. } | Self::FuelBudgetSpent { .. } => Code::RateLimited,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::Draining => Code::Draining,
            Self::NotExported(_) => Code::NotFound,
            Self::TooDeep(_) => Code::Conflict,
            Self::Host(_) => Code::Internal,
        }
    }
}

impl Coded for PluginError {
    fn code(&self) -> Code {
        match self {
            Self::InvalidInput(_) => Code::InvalidInput,
            Self::Denied(_) => Code::PluginDenied,
            Self::NotFound(_) => Code::NotFound,
            Self::Conflict(_) => Code::Conflict,
            Self::Unavailable(_) => Code::PluginUnavailable,
            Self::Internal(_) => Code::PluginFailed,
            Self::Other { .. } => Code::PluginError,
        }
    }
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel, exact.
    pub fuel_units: u64,
    /// Most bytes that memories and tables had together during the call.
    pub memory_peak_bytes: u64,
    /// Host calls, WASI included.
    pub host_calls: u32,
    /// Log lines that were dropped.
    pub log_dropped: u32,
    /// Wall time from admission to the answer.
    pub duration: Duration,
}

/// The end of a call.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// The answer or why there is none.
    pub result: Result<T, CallError>,
    /// What it used, also when it failed.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_answers_has_a_code_and_only_some_of_it_counts_against_the_plugin() {
        let check = |error: PluginError, code: Code, failure: bool| {
            let error = CallError::Plugin(error);
            assert_eq!((error.code(), error.is_failure()), (code, failure), "{error}");
        };
        let text = || "text".to_owned();

        check(PluginError::InvalidInput(text()), Code::InvalidInput, false);
        check(PluginError::Denied(text()), Code::PluginDenied, false);
        check(PluginError::NotFound(text()), Code::NotFound, false);
        check(PluginError::Conflict(text()), Code::Conflict, false);
        check(PluginError::Unavailable(text()), Code::PluginUnavailable, true);
        check(PluginError::Internal(text()), Code::PluginFailed, true);
        check(PluginError::Other { code: text(), message: text() }, Code::PluginError, false);
    }
}
