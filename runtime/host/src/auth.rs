//! Tokens: who may act. Issues them with the local key and verifies them by the configured keys, or by those of the issuer that
//! they name. It checks no permission of a plugin and no path.

mod jwks;
mod oidc;

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_model::{Actor, Role, TenantId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

pub(crate) use self::jwks::DOCUMENT_BYTES_MAX;
pub(crate) use self::oidc::{Issuer, KEYS_KEPT_MS};
pub use self::oidc::{OidcIssuer, TokenAlgorithm};
use crate::clock;
use crate::error::Error;

/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Most permissions in a token.
const PERMISSIONS_MAX: usize = 1_024;
/// Longest subject in bytes.
const SUBJECT_BYTES_MAX: usize = 256;
/// Verified tokens that are remembered.
const CACHE_TOKENS_MAX: u64 = 10_000;
/// Audience of every token of ours.
const AUDIENCE: &str = "bulkhead";
/// Clock skew in seconds that is forgiven.
const LEEWAY_S: u64 = 5;

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who.
    pub sub: String,
    /// Tenant that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Platform roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Permissions in full form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Issued, seconds since 1970.
    #[serde(default)]
    pub iat: u64,
    /// Expiry, seconds since 1970.
    pub exp: u64,
    /// Always `bulkhead`.
    pub aud: String,
}

impl Claims {
    /// The claims of a token for `subject` that is valid from `now_s` for `ttl_s` seconds.
    pub fn new(
        subject: &str,
        tenant: Option<TenantId>,
        roles: &[Role],
        permissions: Vec<String>,
        now_s: u64,
        ttl_s: u64,
    ) -> Self {
        Self {
            sub: subject.to_owned(),
            tenant,
            roles: roles.iter().map(|role| role.as_str().to_owned()).collect(),
            permissions,
            iat: now_s,
            exp: now_s.saturating_add(ttl_s),
            aud: AUDIENCE.to_owned(),
        }
    }
}

/// Signs `claims` with the issuer's private key (PKCS#8 PEM, Ed25519).
pub fn issue(issuer_key_pem: &str, claims: &Claims) -> Result<String, Error> {
    let unusable = |_| Error::Configuration("the issuer's key is no Ed25519 private key in PKCS#8 PEM".to_owned());
    let key = EncodingKey::from_ed_pem(issuer_key_pem.as_bytes()).map_err(unusable)?;
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key).map_err(unusable)
}

/// Verifies tokens and remembers those that it verified, until they expire or the keys change.
pub(crate) struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
    issuers: Vec<Arc<Issuer>>,
    verified: moka::sync::Cache<String, Arc<Verified>>,
}

struct Verified {
    actor: Arc<Actor>,
    expires_s: u64,
    /// The issuer that it is of, and which keys of it said so: it is looked at anew when those are others, or too old.
    by: Option<(Arc<Issuer>, u64)>,
}

impl Verified {
    fn holds(&self, now_ms: u64) -> bool {
        self.by.as_ref().is_none_or(|(issuer, generation)| {
            let known = issuer.known();
            known.generation == *generation && known.serve(now_ms)
        })
    }
}

impl Verifier {
    /// A verifier of tokens by these issuers' public keys (SPKI PEM, Ed25519), and of those of OIDC issuers.
    pub(crate) fn new(issuer_keys_pem: &[String], issuers: &[OidcIssuer]) -> Result<Self, Error> {
        let keys = issuer_keys_pem
            .iter()
            .map(|pem| DecodingKey::from_ed_pem(pem.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::Configuration("an issuer's key is no Ed25519 public key in PEM".to_owned()))?;
        // EdDSA alone: a token that names another algorithm is refused before its signature is looked at.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        let issuers = issuers.iter().cloned().map(|issuer| Arc::new(Issuer::new(issuer))).collect();
        Ok(Self { keys, validation, issuers, verified: moka::sync::Cache::new(CACHE_TOKENS_MAX) })
    }

    /// The OIDC issuers, whose keys a worker fetches.
    pub(crate) fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// The identity of a token.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Actor>, Error> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::Unauthenticated("the token is too long"));
        }
        let now_ms = clock::now_ms();
        if let Some(known) = self.verified.get(token) {
            if now_ms / 1_000 > known.expires_s {
                self.verified.invalidate(token);
                return Err(Error::Unauthenticated("the token has expired"));
            }
            if known.holds(now_ms) {
                return Ok(Arc::clone(&known.actor));
            }
            self.verified.invalidate(token);
        }
        let verified = Arc::new(self.look(token, now_ms)?);
        self.verified.insert(token.to_owned(), Arc::clone(&verified));
        Ok(Arc::clone(&verified.actor))
    }

    /// Verifies by the keys of the OIDC issuer that the token names, and by those alone; where it names none of them, by the
    /// configured keys.
    fn look(&self, token: &str, now_ms: u64) -> Result<Verified, Error> {
        let named = if self.issuers.is_empty() { None } else { oidc::issuer_of(token) };
        if let Some(issuer) = self.issuers.iter().find(|issuer| named.as_ref() == Some(&issuer.config.issuer)) {
            let (actor, exp, generation) = issuer.verify(token, now_ms).map_err(Error::Unauthenticated)?;
            let by = Some((Arc::clone(issuer), generation));
            return Ok(Verified { actor: Arc::new(actor), expires_s: exp.saturating_add(LEEWAY_S), by });
        }
        let claims = self.claims(token)?;
        let expires_s = claims.exp.saturating_add(LEEWAY_S);
        Ok(Verified { actor: Arc::new(actor(&claims)?), expires_s, by: None })
    }

    fn claims(&self, token: &str) -> Result<Claims, Error> {
        let mut last = Error::Unauthenticated("no issuer is configured");
        for key in &self.keys {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => {
                    last = Error::Unauthenticated(reason(&error));
                }
            }
        }
        Err(last)
    }
}

/// Why a token does not hold, for its bearer.
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;

    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidSignature => "the token's signature is not one of a known issuer",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        _ => "the token is malformed",
    }
}

fn actor(claims: &Claims) -> Result<Actor, Error> {
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
        return Err(Error::Unauthenticated("the token's subject is empty or too long"));
    }
    if claims.permissions.len() > PERMISSIONS_MAX {
        return Err(Error::Unauthenticated("the token carries too many permissions"));
    }
    let roles = claims
        .roles
        .iter()
        .map(|role| role.parse())
        .collect::<Result<BTreeSet<Role>, _>>()
        .map_err(|_| Error::Unauthenticated("the token names an unknown role"))?;
    Ok(Actor {
        subject: claims.sub.clone(),
        tenant: claims.tenant.clone(),
        roles,
        permissions: claims.permissions.iter().cloned().collect(),
    })
}

/// Refuses an actor without one of `roles`; `name` says which were wanted.
pub(crate) fn require(actor: &Actor, roles: &[Role], name: &'static str) -> Result<(), Error> {
    if roles.iter().any(|role| actor.is(*role)) { Ok(()) } else { Err(Error::RoleRequired(name)) }
}

/// Refuses everybody but a platform admin.
pub(crate) fn require_super_admin(actor: &Actor) -> Result<(), Error> {
    require(actor, &[Role::SuperAdmin], "super_admin")
}

/// The tenant whose admin acts: the token's own, or for a platform admin the one that the request names.
pub(crate) fn require_tenant_admin(actor: &Actor, named: Option<&TenantId>) -> Result<TenantId, Error> {
    if actor.is(Role::SuperAdmin) {
        return named.or(actor.tenant.as_ref()).cloned().ok_or(Error::TenantRequired);
    }
    require(actor, &[Role::TenantAdmin], "tenant_admin")?;
    let own = actor.tenant.clone().ok_or(Error::TenantRequired)?;
    match named {
        Some(other) if *other != own => Err(Error::RoleRequired("tenant_admin of that tenant")),
        Some(_) | None => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two key pairs made by `openssl genpkey -algorithm ed25519`, for tests alone.
    const PRIVATE_A: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPsr0iu97FgWddAFkEpseH4Jl4aYScgAx5oLECWymTxa\n-----END PRIVATE KEY-----\n";
    const PUBLIC_A: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEArtoo3NeWpZ1s4MurSXzm33hLG8bHp5IbQ06EnzurgFg=\n-----END PUBLIC KEY-----\n";
    const PUBLIC_B: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAv3zNDgxmErgnDEYFpmUITpO6wWLMlgbzLJ8JGlEKFI4=\n-----END PUBLIC KEY-----\n";

    fn claims() -> Claims {
        let permissions = vec!["acme.crm.deals.view".to_owned()];
        Claims::new("anna", "globex".parse().ok(), &[Role::Member], permissions, clock::now_ms() / 1_000, 60)
    }

    fn verifier(keys: &[&str]) -> Verifier {
        Verifier::new(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), &[]).unwrap()
    }

    fn refusal(token: &str) -> &'static str {
        match verifier(&[PUBLIC_A]).verify(token) {
            Err(Error::Unauthenticated(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_says_who_acts() {
        let token = issue(PRIVATE_A, &claims()).unwrap();
        let verifier = verifier(&[PUBLIC_B, PUBLIC_A]);

        for _ in 0..2 {
            let actor = verifier.verify(&token).unwrap();

            assert_eq!(actor.subject, "anna");
            assert_eq!(actor.tenant.as_ref().map(TenantId::as_str), Some("globex"));
            assert!(actor.is(Role::Member) && !actor.is(Role::SuperAdmin));
            assert!(actor.has_permission(&"acme.crm".parse().unwrap(), &"deals.view".parse().unwrap()));
            assert!(!actor.has_permission(&"acme.other".parse().unwrap(), &"deals.view".parse().unwrap()));
        }
    }

    #[test]
    fn a_token_that_is_not_good_is_refused_with_its_reason() {
        let good = issue(PRIVATE_A, &claims()).unwrap();
        let with = |change: fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            issue(PRIVATE_A, &claims).unwrap()
        };

        assert_eq!(refusal(""), "the token is malformed");
        assert_eq!(refusal("a.b.c"), "the token is malformed");
        assert_eq!(refusal(&"a".repeat(TOKEN_BYTES_MAX + 1)), "the token is too long");
        assert_eq!(refusal(&with(|claims| claims.exp = 1)), "the token has expired");
        assert_eq!(refusal(&with(|claims| claims.aud = "other".to_owned())), "the token is for another audience");
        assert_eq!(refusal(&with(|claims| claims.roles = vec!["root".to_owned()])), "the token names an unknown role");
        assert_eq!(refusal(&with(|claims| claims.sub.clear())), "the token's subject is empty or too long");
        assert!(verifier(&[PUBLIC_B]).verify(&good).is_err());
        assert!(verifier(&[]).verify(&good).is_err());
    }

    #[test]
    fn a_token_without_or_with_another_algorithm_is_refused() {
        use data_encoding::BASE64URL_NOPAD;
        let body = BASE64URL_NOPAD.encode(&serde_json::to_vec(&claims()).unwrap());
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let hmac = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims(),
            &EncodingKey::from_secret(PUBLIC_A.as_bytes()),
        );

        refusal(&format!("{none}.{body}."));
        refusal(&hmac.unwrap());
    }

    #[test]
    fn one_changed_byte_of_a_token_is_refused() {
        let token = issue(PRIVATE_A, &claims()).unwrap();
        let verifier = verifier(&[PUBLIC_A]);
        verifier.verify(&token).unwrap();

        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last digit of a base64 group may hold unused bits; the library refuses those as well.
            assert!(verifier.verify(&String::from_utf8(changed).unwrap()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_tenant_admin_acts_for_its_own_tenant_alone() {
        let tenant: TenantId = "globex".parse().unwrap();
        let other: TenantId = "acme".parse().unwrap();
        let admin = |role, tenant: Option<&TenantId>| Actor {
            tenant: tenant.cloned(),
            roles: [role].into(),
            ..Actor::system()
        };

        assert_eq!(require_tenant_admin(&admin(Role::TenantAdmin, Some(&tenant)), None).unwrap(), tenant);
        assert!(require_tenant_admin(&admin(Role::TenantAdmin, Some(&tenant)), Some(&other)).is_err());
        assert!(require_tenant_admin(&admin(Role::TenantAdmin, None), Some(&other)).is_err());
        assert!(require_tenant_admin(&admin(Role::Member, Some(&tenant)), None).is_err());
        assert_eq!(require_tenant_admin(&admin(Role::SuperAdmin, None), Some(&other)).unwrap(), other);
        assert!(matches!(require_tenant_admin(&admin(Role::SuperAdmin, None), None), Err(Error::TenantRequired)));
    }
}
