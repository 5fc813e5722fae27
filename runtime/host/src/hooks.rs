//! Hooks: filters change a value, actions are told. A chain runs in its fixed order; a failure is attributed and the
//! chain goes on, or closes. It declares no hook; `usecase::hooks` does.

use bulkhead_engine::CallError;
use bulkhead_model::manifest::{HookKind, Issue, OnFailure};
use bulkhead_model::{Code, Coded, PluginId};
use serde::de::IgnoredAny;

use crate::calls::Caller;
use crate::error::{Error, call_detail};
use crate::host::Host;
use crate::snapshot::{DeclaredHook, Link};

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
        let snapshot = self.snapshot();
        let view = snapshot.tenant(&caller.tenant)?;
        let declared = snapshot.hook(view, name, HookKind::Filter)?;
        declared.check(&value)?;
        check_arguments(args)?;

        let mut applied = Applied { value, failures: Vec::new() };
        for link in view.chain(name, HookKind::Filter) {
            let Some(enabled) = &link.enabled else {
                declared.attribute_absent(caller, link, &mut applied.failures)?;
                continue;
            };
            let outcome =
                enabled.cell.apply_filter(&caller.context(link.deadline_ms), name, &applied.value, args).await;
            match outcome.result {
                Ok(None) => {}
                Ok(Some(changed)) => match declared.check(&changed) {
                    Ok(()) => applied.value = changed,
                    Err(error) => {
                        let detail = format!("its answer breaks the hook's schema: {error}");
                        declared.attribute(caller, link, Code::InvalidInput, detail, &mut applied.failures)?;
                    }
                },
                Err(error) => declared.attribute_call(caller, link, &error, &mut applied.failures)?,
            }
        }
        Ok(applied)
    }

    /// Tells the actions of the hook `name`; `args` is a JSON array. Answers those that failed.
    pub async fn dispatch_action(&self, caller: &Caller, name: &str, args: &str) -> Result<Vec<Failure>, Error> {
        let snapshot = self.snapshot();
        let view = snapshot.tenant(&caller.tenant)?;
        let declared = snapshot.hook(view, name, HookKind::Action)?;
        check_arguments(args)?;
        declared.check(args)?;

        let mut failures = Vec::new();
        for link in view.chain(name, HookKind::Action) {
            let Some(enabled) = &link.enabled else {
                declared.attribute_absent(caller, link, &mut failures)?;
                continue;
            };
            let outcome = enabled.cell.on_action(&caller.context(link.deadline_ms), name, args).await;
            if let Err(error) = outcome.result {
                declared.attribute_call(caller, link, &error, &mut failures)?;
            }
        }
        Ok(failures)
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

    /// The tenant has the plugin, and it does not serve: it starts, its start failed, or it is no longer allowed.
    fn attribute_absent(&self, caller: &Caller, link: &Link, failures: &mut Vec<Failure>) -> Result<(), Error> {
        let detail = "the plugin does not serve at present".to_owned();
        self.attribute(caller, link, Code::PluginUnavailable, detail, failures)
    }

    fn attribute_call(
        &self,
        caller: &Caller,
        link: &Link,
        error: &CallError,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Error> {
        self.attribute(caller, link, error.code(), call_detail(error), failures)
    }

    /// Records a failure, and ends the chain if the hook's declaration or the plugin says that it fails closed.
    fn attribute(
        &self,
        caller: &Caller,
        link: &Link,
        code: Code,
        detail: String,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Error> {
        failures.push(Failure {
            plugin: link.plugin.clone(),
            hook: self.name.to_string(),
            code,
            detail,
            trace_id: caller.trace.hex(),
        });
        if self.on_failure == OnFailure::Closed || link.on_failure == OnFailure::Closed {
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
