//! Tokens by the test's own issuer.
//! It knows no client.

pub use bulkhead_host::auth::Claims;
use bulkhead_host::auth::issue;
use bulkhead_model::Role;

use crate::keys::{ISSUER, Key};

/// Seconds that a token is good for.
const TTL_S: u64 = 3_600;

/// A token of `subject`, good for an hour.
pub fn token(subject: &str, tenant: Option<&str>, roles: &[Role], permissions: &[&str]) -> String {
    sign(&claims(subject, tenant, roles, permissions))
}

/// What [`token`] signs, for a test to change.
pub fn claims(subject: &str, tenant: Option<&str>, roles: &[Role], permissions: &[&str]) -> Claims {
    let tenant = tenant.map(|tenant| tenant.parse().expect("a tenant id"));
    let permissions = permissions.iter().map(|name| (*name).to_owned()).collect();
    let now_s = u64::try_from(jiff::Timestamp::now().as_second()).expect("a time after 1970");
    Claims::new(subject, tenant, roles, permissions, now_s, TTL_S)
}

/// Signs any claims with the issuer's key.
pub fn sign(claims: &Claims) -> String {
    sign_with(ISSUER, claims)
}

/// Signs any claims with any key.
pub fn sign_with(key: Key, claims: &Claims) -> String {
    issue(&key.private_pem(), claims).expect("claims can be signed")
}
