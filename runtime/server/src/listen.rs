//! Listens, bounds connections, and ends them in order.
//! What a request gets is decided in `http`.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bulkhead_host::Host;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::{App, Shared};
use crate::bootstrap;
use crate::config::{Config, Mode};
use crate::error::Error;
use crate::http::front::Front;
use crate::http::health;
use crate::stall::Unstalled;

/// Time that a new connection has for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Time that a connection may be idle, or take for the head of a request.
const IDLE: Duration = Duration::from_secs(100);
/// Largest head of a request in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Connections at once that read metrics.
const METRICS_CONNECTIONS_MAX: usize = 64;
/// Wait after the system refuses to accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A host that is open and listens, but does not answer before [`Server::run`].
pub struct Server {
    /// Address of the API, with the port that port 0 became.
    pub addr: SocketAddr,
    /// Address of the metrics.
    pub metrics_addr: SocketAddr,
    listener: TcpListener,
    metrics_listener: TcpListener,
    connections: Arc<Semaphore>,
    front: Arc<Front>,
    drain: Duration,
}

impl Server {
    /// Listens as configured, then opens the host.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let (listener, addr) = listen(config.server.listen).await?;
        let (metrics_listener, metrics_addr) = listen(config.server.metrics_listen).await?;
        bootstrap::run(config)?;
        let host = Host::open(config.to_host_config()?).await.map_err(Error::Host)?;
        announce(config.server.mode, addr, metrics_addr);
        let app: App = Arc::new(Shared::new(host, config));
        Ok(Self {
            addr,
            metrics_addr,
            listener,
            metrics_listener,
            connections: Arc::new(Semaphore::new(
                usize::try_from(config.limits.connections_max).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            front: Arc::new(Front::new(app)),
            drain: Duration::from_millis(config.limits.drain_ms),
        })
    }

    /// The host behind the server.
    pub fn host(&self) -> &Host {
        &self.front.app.host
    }

    /// Serves until `shutdown` is ready. Then nothing is accepted any more, requests in flight end within the drain time,
    /// and the host closes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { listener, metrics_listener, connections, front, drain, .. } = self;
        let app = Arc::clone(&front.app);
        let graceful = GracefulShutdown::new();

        let api = accept(listener, connections, &graceful, move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        });
        let metrics_app = Arc::clone(&app);
        let metrics =
            accept(metrics_listener, Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX)), &graceful, move |request| {
                let app = Arc::clone(&metrics_app);
                async move { health::operator(&app, &request) }
            });
        tokio::select! {
            () = shutdown => {}
            () = api => {}
            () = metrics => {}
        }

        tracing::info!("shutting down: requests in flight have {} ms", drain.as_millis());
        let until = Instant::now() + drain;
        app.stopping.cancel();
        let drained = async {
            graceful.shutdown().await;
            app.tasks.close();
            app.tasks.wait().await;
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::warn!("requests were still in flight at the end of the drain time");
        }
        app.host.shutdown(until.saturating_duration_since(Instant::now())).await;
        Ok(())
    }
}

fn announce(mode: Mode, addr: SocketAddr, metrics_addr: SocketAddr) {
    tracing::info!("listening on http://{addr}, metrics on http://{metrics_addr}/metrics");
    if mode == Mode::Dev {
        tracing::warn!("dev mode: unsigned plugins are admitted");
    }
    if !addr.ip().is_loopback() {
        tracing::warn!("the API on {addr} speaks no TLS: put a proxy that does before it");
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Accepts for ever, at most as many connections at once as there are permits.
async fn accept<S, F>(listener: TcpListener, permits: Arc<Semaphore>, graceful: &GracefulShutdown, answer: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, permit, graceful.watcher(), answer.clone()));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<S, F>(stream: TcpStream, _permit: OwnedSemaphorePermit, watcher: Watcher, answer: S)
where
    S: Fn(Request<Incoming>) -> F + Sync,
    F: Future<Output = Response<Body>> + Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "failed to set up a connection");
        return;
    }
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Unstalled::new(stream)), service);
    let mut connection = pin!(watcher.watch(connection));
    let mut ended = tokio::time::timeout(FIRST_REQUEST, &mut connection).await.ok();
    if ended.is_none() && asked.load(Ordering::Relaxed) {
        ended = Some(connection.await);
    }
    if let Some(Err(error)) = ended {
        // A peer that goes away or sends what is no HTTP is its own affair.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}
