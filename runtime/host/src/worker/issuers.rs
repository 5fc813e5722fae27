//! Fetches the keys of OIDC issuers: at the start, every few minutes, and when a token names one that is not known, at most once
//! a minute. Requests never wait for it. While an issuer does not answer, its last keys serve for a day.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::auth::{DOCUMENT_BYTES_MAX, Issuer};
use crate::clock;
use crate::fetch::{FetchError, Outbound, Request, Url};
use crate::host::Host;

/// Time between two fetches.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Least time between two fetches that tokens ask for: nobody makes the host ask more often.
const ASKED_MIN: Duration = Duration::from_secs(60);
/// First pause after a fetch that failed; it doubles up to [`REFRESH`].
const PAUSE: Duration = Duration::from_secs(1);
/// Time of one fetch.
const DEADLINE: Duration = Duration::from_secs(10);
/// Where an issuer says where its keys are.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Runs until the host stops.
pub(crate) fn start(host: &Host) {
    for issuer in host.inner.verifier.issuers() {
        let (host, issuer) = (host.clone(), Arc::clone(issuer));
        host.clone().inner.tasks.spawn(async move {
            host.inner.stopping.run_until_cancelled(keep(&host, &issuer)).await;
        });
    }
}

async fn keep(host: &Host, issuer: &Issuer) {
    let (mut pause, mut asked) = (PAUSE, None::<Instant>);
    loop {
        let next = match Box::pin(fetch(&host.inner.outbound, issuer)).await {
            Ok(left_out) => {
                if left_out > 0 {
                    tracing::debug!(issuer = issuer.config.issuer, left_out, "some keys of an issuer are not usable");
                }
                pause = PAUSE;
                REFRESH
            }
            Err(error) => {
                tracing::warn!(issuer = issuer.config.issuer, %error, "the keys of an issuer were not fetched; it is tried again");
                let next = pause;
                pause = pause.saturating_mul(2).min(REFRESH);
                next
            }
        };
        wait(issuer, Instant::now() + next, &mut asked).await;
    }
}

/// Until the time has come, or a token asks for keys and none did within the last minute.
async fn wait(issuer: &Issuer, until: Instant, asked: &mut Option<Instant>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return,
            () = issuer.wanted.notified() => {
                if asked.is_none_or(|last| last.elapsed() >= ASKED_MIN) {
                    *asked = Some(Instant::now());
                    return;
                }
            }
        }
    }
}

/// Why keys were not fetched.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// The server was not asked, or did not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What it answered is of no use.
    #[error("{0}")]
    Unusable(&'static str),
}

/// Fetches the keys and puts them in force; answers how many are not usable.
async fn fetch(outbound: &Outbound, issuer: &Issuer) -> Result<usize, Failed> {
    let url = match &issuer.config.jwks_url {
        Some(url) => Url::parse(url).map_err(|_| Failed::Unusable("`jwks_url` is no address"))?,
        None => discovered(outbound, &issuer.config.issuer).await?,
    };
    let document = get(outbound, url).await?;
    issuer.fetched(&document, clock::now_ms()).map_err(Failed::Unusable)
}

/// Where the issuer says that its keys are. It may say so of its own host alone; another one is the operator's to name.
async fn discovered(outbound: &Outbound, issuer: &str) -> Result<Url, Failed> {
    let own = Url::parse(&format!("{}{DISCOVERY}", issuer.trim_end_matches('/')));
    let own = own.map_err(|_| Failed::Unusable("the issuer is no address"))?;
    let document = get(outbound, own.clone()).await?;
    let document: Value =
        serde_json::from_slice(&document).map_err(|_| Failed::Unusable("the discovery document is not JSON"))?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(Failed::Unusable("the discovery document is of another issuer"));
    }
    let named = document.get("jwks_uri").and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
    let named = named.ok_or(Failed::Unusable("the discovery document names no `jwks_uri`"))?;
    if named.origin() != own.origin() {
        return Err(Failed::Unusable(
            "the discovery document names keys of another host: set `jwks_url` if that is meant",
        ));
    }
    Ok(named)
}

async fn get(outbound: &Outbound, url: Url) -> Result<Vec<u8>, Failed> {
    let request = Request::get(url, DOCUMENT_BYTES_MAX, DEADLINE).accepting("application/json");
    let answer = outbound.send(request).await?;
    if answer.status.as_u16() != 200 {
        return Err(Failed::Unusable("the issuer answers with another status than 200"));
    }
    Ok(answer.bytes().await?)
}
