//! What every request shares: the host and the bounds of the HTTP face.
//! It holds nothing of a single request.

use std::sync::Arc;

use bulkhead_host::Host;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::rate::Rates;

/// Uploads to the registry that are received at once; each holds a piece of its blob in memory.
const REGISTRY_UPLOADS_MAX: usize = 64;
/// Operations that are followed at once; each holds a connection.
const STREAMS_MAX: usize = 64;

/// Clones share it.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) host: Host,
    /// Requests at once.
    pub(crate) requests: Arc<Semaphore>,
    /// Artifacts that are received at once.
    pub(crate) uploads: Semaphore,
    /// Operations that are followed at once.
    pub(crate) streams: Arc<Semaphore>,
    /// Requests of each administrator.
    pub(crate) rates: Rates,
    /// Uploads to the registry that are received at once.
    pub(crate) registry_uploads: Semaphore,
    /// Requests with each token of the registry.
    pub(crate) registry_rates: Rates,
    /// The configuration in force.
    pub(crate) config: Config,
    /// Where clients reach the API, as configured.
    pub(crate) public_url: Option<String>,
    /// Requests that go on when their connection ends.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the server stops: streams end.
    pub(crate) stopping: CancellationToken,
    /// The OpenAPI document, as text.
    pub(crate) openapi: bytes::Bytes,
}

impl Shared {
    pub(crate) fn new(host: Host, config: &Config) -> Self {
        let permits = |count: u32| Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS));
        Self {
            host,
            requests: Arc::new(permits(config.limits.requests_max)),
            uploads: permits(config.limits.uploads_max),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            rates: Rates::new(config.limits.admin_requests_per_minute),
            registry_uploads: Semaphore::new(REGISTRY_UPLOADS_MAX),
            registry_rates: Rates::of_programs(config.registry.requests_per_minute),
            config: config.clone(),
            public_url: config.server.public_url.clone(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            openapi: crate::http::openapi::document(config.server.public_url.as_deref()).to_string().into(),
        }
    }
}
