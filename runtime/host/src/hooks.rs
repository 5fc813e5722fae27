//! Hooks: filters change a value, actions are told. A chain runs in its fixed order; a failure is attributed and the
//! chain goes on, or closes. It declares no hook; `usecase::hooks` does.

use std::sync::Arc;

use bulkhead_engine::{CallContext, CallError};
use bulkhead_model::manifest::{HookKind, Issue, OnFailure};
use bulkhead_model::{Code, Coded, PluginId};
use serde::de::IgnoredAny;

use crate::calls::Caller;
use crate::error::{Error, call_detail};
use crate::host::Host;
use crate::scope::Writes;
use crate::snapshot::{DeclaredHook, Enabled, Link};

/// Largest value or arguments of a hook in bytes.
const HOOK_BYTES_MAX: usize = 1 << 20;
/// Most problems of a payload that one answer lists.
const ISSUES_MAX: usize = 100;

/// A value after its filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// JSON text.
    pub value: String,
    /// Filters that failed and were passed over.
    pub failures: Vec<Failure>,
}

/// A plugin that failed in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The plugin.
    pub plugin: PluginId,
    /// The hook.
    pub hook: String,
    /// What went wrong.
    pub code: Code,
    /// What of it may be shown.
    pub detail: String,
    /// Trace to look it up by, 32 hex digits.
    pub trace_id: String,
}

impl Host {
    /// Runs `value` (JSON text) through the filters of the hook `name`; `args` is a JSON array. A filter that fails, or
    /// answers what breaks the hook's schema, is passed over and named, unless the hook fails closed.
    pub async fn apply_filter(&self, caller: &Caller, name: &str, value: String, args: &str) -> Result<Applied, Error> {
        self.filter(caller, None, name, value, args).await
    }

    /// Tells the actions of the hook `name`; `args` is a JSON array. Answers those that failed.
    pub async fn dispatch_action(&self, caller: &Caller, name: &str, args: &str) -> Result<Vec<Failure>, Error> {
        self.act(caller, None, name, args).await
    }

    /// Runs a value through the filters, in a scope of the host application or in none.
    pub(crate) async fn filter(
        &self,
        caller: &Caller,
        mut scope: Option<&mut Writes>,
        name: &str,
        value: String,
        args: &str,
    ) -> Result<Applied, Error> {
        let snapshot = self.snapshot();
        let view = snapshot.tenant(&caller.tenant)?;
        let declared = snapshot.hook(view, name, HookKind::Filter)?;
        declared.check(&value)?;
        check_arguments(args)?;

        let mut applied = Applied { value, failures: Vec::new() };
        for link in view.chain(name, HookKind::Filter) {
            let Some(enabled) = &link.enabled else {
                declared.attribute(caller, link, Fault::absent(), &mut applied.failures)?;
                continue;
            };
            let context = context(&mut scope, caller, link, enabled)?;
            let outcome = enabled.cell.apply_filter(&context, name, &applied.value, args).await;
            let answer = outcome.result.map_err(Fault::of_call).and_then(|changed| declared.checked(changed));
            match end_call(&mut scope, declared, link, answer).await {
                Ok(None) => {}
                Ok(Some(changed)) => applied.value = changed,
                Err(fault) => declared.attribute(caller, link, fault, &mut applied.failures)?,
            }
        }
        Ok(applied)
    }

    /// Tells the actions, in a scope of the host application or in none.
    pub(crate) async fn act(
        &self,
        caller: &Caller,
        mut scope: Option<&mut Writes>,
        name: &str,
        args: &str,
    ) -> Result<Vec<Failure>, Error> {
        let snapshot = self.snapshot();
        let view = snapshot.tenant(&caller.tenant)?;
        let declared = snapshot.hook(view, name, HookKind::Action)?;
        check_arguments(args)?;
        declared.check(args)?;

        let mut failures = Vec::new();
        for link in view.chain(name, HookKind::Action) {
            let Some(enabled) = &link.enabled else {
                declared.attribute(caller, link, Fault::absent(), &mut failures)?;
                continue;
            };
            let context = context(&mut scope, caller, link, enabled)?;
            let outcome = enabled.cell.on_action(&context, name, args).await;
            let answer = outcome.result.map_err(Fault::of_call);
            if let Err(fault) = end_call(&mut scope, declared, link, answer).await {
                declared.attribute(caller, link, fault, &mut failures)?;
            }
        }
        Ok(failures)
    }
}

/// The context of a call, which in a scope works in the plugin's transaction.
fn context(
    scope: &mut Option<&mut Writes>,
    caller: &Caller,
    link: &Link,
    enabled: &Arc<Enabled>,
) -> Result<CallContext, Error> {
    match scope {
        Some(writes) => writes.context(caller, link, enabled),
        None => Ok(caller.context(link.deadline_ms)),
    }
}

/// Ends a call; in a scope decides what becomes of what it wrote.
async fn end_call<T>(
    scope: &mut Option<&mut Writes>,
    declared: &DeclaredHook,
    link: &Link,
    answer: Result<T, Fault>,
) -> Result<T, Fault> {
    match scope {
        Some(writes) => writes.end_call(&link.plugin, declared.fails_closed(link), answer).await,
        None => answer,
    }
}

/// Why a call in a chain gave no answer that counts.
pub(crate) struct Fault {
    pub(crate) code: Code,
    /// What of it may be shown.
    pub(crate) detail: String,
}

impl Fault {
    /// The tenant has the plugin, and it does not serve: it starts, its start failed, or it is no longer allowed.
    fn absent() -> Self {
        Self { code: Code::PluginUnavailable, detail: "the plugin does not serve at present".to_owned() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it takes the place of the error")]
    fn of_call(error: CallError) -> Self {
        Self { code: error.code(), detail: call_detail(&error) }
    }
}

impl DeclaredHook {
    /// Whether `payload` is JSON that satisfies the hook's schema: the value of a filter, the arguments of an action.
    fn check(&self, payload: &str) -> Result<(), Error> {
        if payload.len() > HOOK_BYTES_MAX {
            return Err(Error::BodyTooLarge { bytes_max: u64::try_from(HOOK_BYTES_MAX).unwrap_or(u64::MAX) });
        }
        let Some(schema) = &self.schema else {
            return serde_json::from_str::<IgnoredAny>(payload).map(|_| ()).map_err(|error| not_json(&error));
        };
        let value = serde_json::from_str(payload).map_err(|error| not_json(&error))?;
        let issues: Vec<Issue> = schema
            .iter_errors(&value)
            .take(ISSUES_MAX)
            .map(|error| Issue::new(error.instance_path().to_string(), error.to_string()))
            .collect();
        if issues.is_empty() { Ok(()) } else { Err(Error::Invalid { code: Code::InvalidInput, issues }) }
    }

    /// What a filter answered, if it satisfies the hook's schema.
    fn checked(&self, changed: Option<String>) -> Result<Option<String>, Fault> {
        let Some(value) = &changed else {
            return Ok(None);
        };
        match self.check(value) {
            Ok(()) => Ok(changed),
            Err(error) => {
                Err(Fault { code: Code::InvalidInput, detail: format!("its answer breaks the hook's schema: {error}") })
            }
        }
    }

    /// Whether the hook's declaration or the plugin says that a failure ends the chain.
    fn fails_closed(&self, link: &Link) -> bool {
        self.on_failure == OnFailure::Closed || link.on_failure == OnFailure::Closed
    }

    /// Records a failure, and ends the chain if the hook fails closed.
    fn attribute(&self, caller: &Caller, link: &Link, fault: Fault, failures: &mut Vec<Failure>) -> Result<(), Error> {
        failures.push(Failure {
            plugin: link.plugin.clone(),
            hook: self.name.to_string(),
            code: fault.code,
            detail: fault.detail,
            trace_id: caller.trace.hex(),
        });
        if self.fails_closed(link) {
            return Err(Error::HookClosed { failures: std::mem::take(failures) });
        }
        Ok(())
    }
}

fn check_arguments(args: &str) -> Result<(), Error> {
    if args.len() > HOOK_BYTES_MAX {
        return Err(Error::BodyTooLarge { bytes_max: u64::try_from(HOOK_BYTES_MAX).unwrap_or(u64::MAX) });
    }
    serde_json::from_str::<Vec<IgnoredAny>>(args).map(|_| ()).map_err(|_| Error::Invalid {
        code: Code::InvalidInput,
        issues: vec![Issue::new("/args", "the arguments are a JSON array")],
    })
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Invalid { code: Code::InvalidInput, issues: vec![Issue::new("", format!("not JSON: {error}"))] }
}
