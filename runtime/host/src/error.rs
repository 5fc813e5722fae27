//! What can go wrong in a use case, with its code and what of it may leave the process.
//! It maps nothing to HTTP; `server/http/problem.rs` does.

use bulkhead_database as database;
use bulkhead_engine as engine;
use bulkhead_model::manifest::{Issue, Method};
use bulkhead_model::state::RefusedTransition;
use bulkhead_model::{Code, Coded, Kind, PluginId, TenantId};
use bulkhead_trust::Refusal;

use crate::fetch::FetchError;
use crate::hooks::Failure;
use crate::scope::CommitStopped;

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token is missing, malformed, expired, or signed by an unknown key.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The token's roles do not allow the act.
    #[error("this needs the role {0}")]
    RoleRequired(&'static str),
    /// The user lacks a route's permission.
    #[error("the user needs the permission `{0}`")]
    PermissionDenied(String),
    /// No tenant is named where one is needed.
    #[error("the request names no tenant")]
    TenantRequired,
    /// There is no such thing, or not for this caller.
    #[error("there is no {noun} `{name}`")]
    NotFound {
        /// What was looked for.
        noun: &'static str,
        /// Its name as asked.
        name: String,
    },
    /// No route of the plugin matches the path.
    #[error("the plugin has no route for this path")]
    RouteNotFound,
    /// A route matches the path but not the method.
    #[error("the route does not take this method")]
    MethodNotAllowed(Vec<Method>),
    /// The body is larger than the plugin's limit.
    #[error("the body is larger than {bytes_max} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// The artifact or policy is refused, for all these reasons.
    #[error("refused: {}", refusals(.0))]
    Refused(Vec<Refusal>),
    /// A document breaks its schema.
    #[error("{} problem(s)", issues.len())]
    Invalid {
        /// Which document, as a code.
        code: Code,
        /// Every problem.
        issues: Vec<Issue>,
    },
    /// The state does not allow the step.
    #[error(transparent)]
    Transition(#[from] RefusedTransition),
    /// The act conflicts with what is there.
    #[error("{0}")]
    Conflict(String),
    /// A plugin that this one needs is missing or of a wrong version.
    #[error("needs {0}")]
    DependencyUnmet(String),
    /// A reviewer rejected the version.
    #[error("a reviewer rejected the version: {0}")]
    ReviewRejected(String),
    /// Who wants to approve a version registered it or installs it.
    #[error("`{0}` registered or installs this version and cannot approve it")]
    SelfReview(String),
    /// The registry's log does not prove that a release was registered.
    #[error("the registry's log does not prove {0}")]
    NotInLog(String),
    /// What is stored cannot have come after what this host saw before.
    #[error("the stored state is not what this host saw before: {0}")]
    LogBroken(String),
    /// There is nothing to sign with.
    #[error("this host has no key of the registry: set `registry.signing_key_file`")]
    RegistryKeyMissing,
    /// Something about the registry's log is wrong.
    #[error(transparent)]
    Log(#[from] bulkhead_trust::log::Error),
    /// A name is not valid.
    #[error("{0}")]
    InvalidName(String),
    /// An operator stopped the plugin.
    #[error("an operator stopped this plugin")]
    Killed,
    /// The plugin serves nobody at present: it starts, or its release is no longer allowed.
    #[error("the plugin does not serve: {0}")]
    NotServing(String),
    /// No such hook is declared, or of the other kind.
    #[error("no {kind} `{name}` is declared")]
    UnknownHook {
        /// Name as asked.
        name: String,
        /// `filter` or `action`.
        kind: &'static str,
    },
    /// A hook that fails closed failed.
    #[error("the hook fails closed and `{}` failed", failures.last().map_or("a plugin", |failure| failure.plugin.as_str()))]
    HookClosed {
        /// Every failure of the chain, the closing one last.
        failures: Vec<Failure>,
    },
    /// The time of a scope was up: everything that was written in it is undone.
    #[error("the scope's time is up, and what was written in it is undone")]
    ScopeEnded,
    /// A plugin with a hook that fails closed lost what it wrote in a scope: everything that was written in it is undone.
    #[error("`{0}` lost what it wrote in the scope, and a hook of it fails closed")]
    ScopeLost(PluginId),
    /// A scope is committed in part, or not at all.
    #[error(transparent)]
    ScopeCommit(#[from] Box<CommitStopped>),
    /// A call into a plugin failed.
    #[error(transparent)]
    Call(#[from] engine::CallError),
    /// The engine failed outside a call.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] bulkhead_oci::Error),
    /// Another server was not asked, or gave no usable answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A source took longer than it may, in all.
    #[error("the source did not answer everything within {seconds} s; try again, or send the artifact")]
    SourceLate {
        /// The time that it had, in seconds.
        seconds: u64,
    },
    /// A version that must wait for a reviewer cannot be installed with others.
    #[error("{0} may do more than the version before and waits for a review; install it alone first")]
    ReviewNeeded(String),
    /// Plugins that are installed together were taken back: one of them failed.
    #[error("nothing of it is installed: `{plugin}` failed: {reason}")]
    TakenBack {
        /// The plugin that failed.
        plugin: PluginId,
        /// Its code.
        code: Code,
        /// Why it failed, as far as it may be told.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A plugin's migration failed in a tenant.
    #[error(transparent)]
    Migration(#[from] database::tenant::MigrationError),
    /// A view that a plugin publishes cannot be read in a tenant.
    #[error("a view of `{plugin}` is broken")]
    ViewBroken {
        /// The plugin that publishes it.
        plugin: PluginId,
        /// The view.
        #[source]
        broken: database::tenant::BrokenView,
    },
    /// A run over many tenants failed in some of them.
    #[error("{0}")]
    TenantsFailed(String),
    /// The host cannot start as configured.
    #[error("{0}")]
    Configuration(String),
    /// A file of the host could not be read or written.
    #[error("failed to use the file `{path}`")]
    File {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// As much of this goes on as may.
    #[error("{0}")]
    Busy(&'static str),
    /// The host shuts down.
    #[error("the host is shutting down")]
    Draining,
}

impl Error {
    /// The thing that is not there.
    pub(crate) fn not_found(noun: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound { noun, name: name.to_string() }
    }

    /// Adds where it happened.
    pub(crate) fn at(self, plugin: &PluginId, tenant: Option<&TenantId>) -> Located {
        Located { error: self, plugin: Some(plugin.clone()), tenant: tenant.cloned() }
    }

    /// What may leave the process: the text, unless the failure is the host's own.
    pub fn detail(&self) -> String {
        match self.code().kind() {
            Kind::Failed | Kind::Busy | Kind::BadGateway => match self {
                Self::Call(call) => call_detail(call),
                Self::NotServing(_) | Self::Busy(_) | Self::Draining | Self::Fetch(_) | Self::TakenBack { .. } => {
                    self.to_string()
                }
                // The author learns which trap; the text names nothing else.
                Self::Engine(engine::Error::Trial(call)) if !matches!(call, engine::CallError::Host(_)) => {
                    self.to_string()
                }
                _ => String::new(),
            },
            _ => match self {
                // The cause is in the plugin's own words or the host's, never the engine's.
                Self::Migration(error) => match std::error::Error::source(error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                },
                // Likewise: codes, and names that the plugin wrote itself.
                Self::ViewBroken { broken, .. } => format!("{self}: {broken}: {}", broken.source),
                _ => self.to_string(),
            },
        }
    }

    /// What a record keeps of it for a tenant's or platform's admin: the code, and what may leave the process.
    pub(crate) fn recorded(&self) -> String {
        let detail = self.detail();
        if detail.is_empty() { self.code().to_string() } else { format!("{}: {detail}", self.code()) }
    }

    /// Every problem of the request, with JSON pointers.
    pub fn issues(&self) -> Vec<Issue> {
        match self {
            Self::Invalid { issues, .. } => issues.clone(),
            Self::Refused(refusals) => refusals
                .iter()
                .map(|refusal| {
                    let message = format!("{}: {}", refusal.code, refusal.detail);
                    Issue::new(refusal.pointer.clone().unwrap_or_default(), message)
                })
                .collect(),
            Self::HookClosed { failures } => failures
                .iter()
                .map(|failure| Issue::new(String::new(), format!("{}: {}", failure.plugin, failure.code)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Milliseconds after which a retry makes sense, where it does.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Call(call) => call.retry_after_ms(),
            _ if matches!(self.code().kind(), Kind::Busy | Kind::TooMany) => Some(RETRY_AFTER_MS),
            _ => None,
        }
    }
}

/// Retry time in milliseconds where nothing better is known.
const RETRY_AFTER_MS: u64 = 1_000;

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::RoleRequired(_) => Code::RoleRequired,
            Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::TenantRequired => Code::TenantRequired,
            Self::NotFound { .. } => Code::NotFound,
            Self::RouteNotFound => Code::RouteNotFound,
            Self::MethodNotAllowed(_) => Code::MethodNotAllowed,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::Refused(refusals) => refusals.first().map_or(Code::Malformed, |refusal| refusal.code),
            Self::Invalid { code, .. } => *code,
            Self::Transition(_) => Code::RefusedTransition,
            Self::Conflict(_) => Code::Conflict,
            Self::DependencyUnmet(_) => Code::DependencyUnmet,
            Self::ReviewRejected(_) => Code::ReviewRejected,
            Self::SelfReview(_) => Code::SelfReview,
            Self::NotInLog(_) => Code::NotInLog,
            Self::LogBroken(_) => Code::RegistryLogBroken,
            Self::RegistryKeyMissing => Code::RegistryKeyMissing,
            Self::Log(error) => error.code(),
            Self::InvalidName(_) => Code::InvalidInput,
            Self::Killed => Code::PluginKilled,
            Self::NotServing(_) => Code::PluginUnavailable,
            Self::UnknownHook { .. } => Code::UnknownHook,
            Self::HookClosed { .. } => Code::HookClosed,
            Self::ScopeEnded => Code::DeadlineExceeded,
            Self::ScopeLost(_) => Code::HookClosed,
            Self::ScopeCommit(stopped) => stopped.source.code(),
            Self::Call(error) => error.code(),
            Self::Engine(error) => error.code(),
            Self::Registry(error) => crate::registry::code(error),
            Self::Fetch(error) => error.code(),
            Self::SourceLate { .. } => Code::DeadlineExceeded,
            Self::ReviewNeeded(_) => Code::PendingReview,
            Self::TakenBack { code, .. } => *code,
            Self::Database(error) => error.code(),
            Self::Migration(error) => error.code(),
            // A database that does not answer says nothing of the view.
            Self::ViewBroken { broken, .. } => match broken.source.code() {
                Code::DatabaseUnavailable => Code::DatabaseUnavailable,
                _ => Code::ViewBroken,
            },
            Self::TenantsFailed(_) => Code::MigrationFailed,
            Self::Configuration(_) => Code::InvalidHostConfiguration,
            Self::File { .. } => Code::Internal,
            Self::Busy(_) => Code::Overloaded,
            Self::Draining => Code::Draining,
        }
    }
}

/// An error of a call, with the plugin and the tenant that it concerns.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Located {
    /// What went wrong.
    #[source]
    pub error: Error,
    /// The plugin that was called.
    pub plugin: Option<PluginId>,
    /// The tenant that it was called for.
    pub tenant: Option<TenantId>,
}

impl From<Error> for Located {
    fn from(error: Error) -> Self {
        Self { error, plugin: None, tenant: None }
    }
}

/// What of a failed call may be shown: the limits that it passed and the texts that the plugin meant for its caller,
/// nothing of a trap, nothing of the host.
pub(crate) fn call_detail(error: &engine::CallError) -> String {
    match error {
        engine::CallError::Plugin(engine::PluginError::Internal(_))
        | engine::CallError::Trapped { .. }
        | engine::CallError::Host(_) => String::new(),
        other => other.to_string(),
    }
}

fn refusals(list: &[Refusal]) -> String {
    let texts: Vec<String> = list.iter().map(|refusal| format!("{} ({})", refusal.code, refusal.detail)).collect();
    texts.join("; ")
}
