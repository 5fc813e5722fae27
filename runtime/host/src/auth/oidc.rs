//! An OIDC issuer: what its tokens may say at most, and whether one holds, by the keys that are known of it. A token of one
//! issuer is never verified by another's keys, and never by those of the local one. It fetches no key; a worker does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bulkhead_model::{Actor, Role, TenantId};
use bulkhead_trust::policy::Pattern;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::jwks::{self, Jwks};
use super::{LEEWAY_S, PERMISSIONS_MAX, SUBJECT_BYTES_MAX};

/// Time for which keys serve after they were fetched, in milliseconds, while the issuer does not answer: a day.
pub(crate) const KEYS_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most roles that a token lists, those of other programs included.
const ROLES_MAX: usize = 256;

/// An OIDC issuer, as it is configured. What it may say is at most what stands here.
#[derive(Clone, Debug)]
pub struct OidcIssuer {
    /// The `iss` of its tokens, and where its discovery document is.
    pub issuer: String,
    /// Where its keys are; `None` asks its discovery document.
    pub jwks_url: Option<String>,
    /// The `aud` of its tokens.
    pub audience: String,
    /// Algorithms that it may use.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Claim with the roles: a name, or a JSON pointer such as `/realm_access/roles`.
    pub roles_claim: String,
    /// Claim with the tenant, likewise.
    pub tenant_claim: String,
    /// Claim with permissions in full form, likewise.
    pub permissions_claim: String,
    /// What stands before its subjects, so that they are not taken for another issuer's.
    pub subject_prefix: String,
    /// Roles that it may give. A token with another one of ours is refused.
    pub roles_max: Vec<Role>,
    /// Tenants that it may speak for. Roles for the whole platform need `*`.
    pub tenants: Vec<Pattern>,
}

/// An algorithm of signatures of tokens. There is none without a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAlgorithm(Algorithm);

impl TokenAlgorithm {
    /// Names of all of them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jwks::ALGORITHMS.iter().map(|(name, _)| *name)
    }

    /// The algorithm of this name, such as `RS256`.
    pub fn find(name: &str) -> Option<Self> {
        jwks::find(name).map(Self)
    }
}

/// An issuer with the keys that are known of it.
pub(crate) struct Issuer {
    pub(crate) config: OidcIssuer,
    keys: ArcSwap<Known>,
    generations: AtomicU64,
    /// Told when a token names a key that is not known.
    pub(crate) wanted: Notify,
}

/// Keys, and when they came.
pub(crate) struct Known {
    keys: Jwks,
    fetched_ms: u64,
    /// Differs for every set that was fetched; 0 before the first.
    pub(crate) generation: u64,
}

impl Known {
    /// Whether they still serve at `now_ms`.
    pub(crate) const fn serve(&self, now_ms: u64) -> bool {
        self.generation > 0 && now_ms.saturating_sub(self.fetched_ms) <= KEYS_KEPT_MS
    }

    /// When they came, in milliseconds since 1970; `None` before the first ones did.
    pub(crate) const fn fetched_ms(&self) -> Option<u64> {
        if self.generation > 0 { Some(self.fetched_ms) } else { None }
    }
}

/// Why a token does not hold.
pub(crate) type Reason = &'static str;

impl Issuer {
    pub(crate) fn new(config: OidcIssuer) -> Self {
        Self {
            config,
            keys: ArcSwap::from_pointee(Known { keys: Jwks::default(), fetched_ms: 0, generation: 0 }),
            generations: AtomicU64::new(0),
            wanted: Notify::new(),
        }
    }

    /// The keys that are known.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.keys.load_full()
    }

    /// Puts fetched keys in the place of those before; answers how many of them were left out. A document without a usable
    /// key changes nothing.
    pub(crate) fn fetched(&self, document: &[u8], now_ms: u64) -> Result<usize, Reason> {
        let algorithms: Vec<Algorithm> = self.config.algorithms.iter().map(|algorithm| algorithm.0).collect();
        let keys = Jwks::parse(document, &algorithms)?;
        if keys.is_empty() {
            return Err("the key set has no key that can be used");
        }
        let left_out = keys.left_out;
        let generation = self.generations.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.keys.store(Arc::new(Known { keys, fetched_ms: now_ms, generation }));
        Ok(left_out)
    }

    /// Who acts with a token of this issuer, until when it holds (seconds since 1970), and the generation of the keys that
    /// said so.
    pub(crate) fn verify(&self, token: &str, now_ms: u64) -> Result<(Actor, u64, u64), Reason> {
        let header = Header::of(token)?;
        if !self.config.algorithms.iter().any(|allowed| allowed.0 == header.algorithm) {
            return Err("the token is signed by an algorithm that its issuer may not use");
        }
        let known = self.known();
        if !known.serve(now_ms) {
            self.wanted.notify_one();
            return Err("the keys of the token's issuer are not known at present");
        }
        let Some(key) = known.keys.find(header.kid.as_deref(), header.algorithm) else {
            self.wanted.notify_one();
            return Err("the token names a key that its issuer does not publish");
        };
        let mut validation = Validation::new(header.algorithm);
        validation.set_audience(&[&self.config.audience]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation);
        let claims = claims.map_err(|error| super::reason(&error))?.claims;
        let expires_s = claims.get("exp").and_then(Value::as_u64).ok_or("the token's `exp` is no time")?;
        Ok((self.actor(&claims)?, expires_s, known.generation))
    }

    fn actor(&self, claims: &Map<String, Value>) -> Result<Actor, Reason> {
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = format!("{}{}", self.config.subject_prefix, subject.ok_or("the token has no subject")?);
        if subject.len() > SUBJECT_BYTES_MAX || subject == Actor::system().subject {
            return Err("the token's subject is too long, or the host's own");
        }
        let tenant = self.tenant(claims)?;
        let roles = self.roles(claims)?;
        let is_of_platform = roles.contains(&Role::SuperAdmin)
            || roles.contains(&Role::Security)
            || (roles.contains(&Role::Host) && tenant.is_none());
        if is_of_platform && !self.config.tenants.contains(&Pattern::any()) {
            return Err("the token's issuer speaks for some tenants and not for the platform");
        }
        let permissions = texts(claim(claims, &self.config.permissions_claim), PERMISSIONS_MAX)
            .ok_or("the token's permissions are no list of texts, or too many")?;
        Ok(Actor { subject, tenant, roles, permissions: permissions.into_iter().map(str::to_owned).collect() })
    }

    fn tenant(&self, claims: &Map<String, Value>) -> Result<Option<TenantId>, Reason> {
        let tenant = match claim(claims, &self.config.tenant_claim) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.parse::<TenantId>().map_err(|_| "the token's tenant is no tenant id")?,
            Some(_) => return Err("the token's tenant is no text"),
        };
        let is_ours = self.config.tenants.iter().any(|pattern| pattern.matches(tenant.as_str()));
        if is_ours { Ok(Some(tenant)) } else { Err("the token's issuer does not speak for this tenant") }
    }

    /// Roles of other programs are left out; one of ours that the issuer may not give refuses the token.
    fn roles(&self, claims: &Map<String, Value>) -> Result<BTreeSet<Role>, Reason> {
        let named = texts(claim(claims, &self.config.roles_claim), ROLES_MAX)
            .ok_or("the token's roles are no list of texts, or too many")?;
        let roles: BTreeSet<Role> = named.into_iter().filter_map(|name| name.parse().ok()).collect();
        let is_allowed = roles.iter().all(|role| self.config.roles_max.contains(role));
        if is_allowed { Ok(roles) } else { Err("the token names a role that its issuer may not give") }
    }
}

/// Claims by name, or by JSON pointer.
fn claim<'a>(claims: &'a Map<String, Value>, at: &str) -> Option<&'a Value> {
    let Some(path) = at.strip_prefix('/') else { return claims.get(at) };
    let mut parts = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// A list of texts, or one text with spaces between; nothing where there is none.
fn texts(value: Option<&Value>, most: usize) -> Option<Vec<&str>> {
    let texts: Vec<&str> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    (texts.len() <= most).then_some(texts)
}

/// What counts of a token's header. Keys, and addresses of keys, that stand in it do not.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    fn of(token: &str) -> Result<Self, Reason> {
        let fields = part(token, 0).ok_or("the token is malformed")?;
        if fields.contains_key("crit") {
            return Err("the token has critical extensions");
        }
        let name = fields.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = jwks::find(name).ok_or("the token is signed by an algorithm that its issuer may not use")?;
        let kid = match fields.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("the token is malformed"),
        };
        Ok(Self { algorithm, kid })
    }
}

/// Whose token it says to be; whether it is is another question.
pub(crate) fn issuer_of(token: &str) -> Option<String> {
    part(token, 1)?.get("iss")?.as_str().map(str::to_owned)
}

fn part(token: &str, place: usize) -> Option<Map<String, Value>> {
    let text = token.split('.').nth(place)?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests;
