//! Tokens of an OIDC issuer as its own programs, and those who want to be one, make them. Keys here are for tests alone.

use jsonwebtoken::{EncodingKey, Header as JwtHeader};
use serde_json::json;

use super::*;
use crate::auth::Verifier;
use crate::clock;

const RSA_KEY: &str = include_str!("rsa.key.pem");
const EC_KEY: &str = include_str!("ec.key.pem");
const RSA_N: &str = include_str!("rsa.n.txt");
const EC_X: &str = "2W7S5oG3I99Q2lSY2z05SRtbsA03U9-V4qg6a2QVVHk";
const EC_Y: &str = "3OpPjifDp-VivMdUhUa6m_P4sQ8Dx04JCZubMjnPMYs";
// Made by `openssl genpkey -algorithm ed25519`: the local issuer's pair.
const LOCAL_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPsr0iu97FgWddAFkEpseH4Jl4aYScgAx5oLECWymTxa\n-----END PRIVATE KEY-----\n";
const LOCAL_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEArtoo3NeWpZ1s4MurSXzm33hLG8bHp5IbQ06EnzurgFg=\n-----END PUBLIC KEY-----\n";
const BANK: &str = "https://login.bank.example";
const OTHER: &str = "https://login.other.example";

fn config(issuer: &str) -> OidcIssuer {
    OidcIssuer {
        issuer: issuer.to_owned(),
        jwks_url: None,
        audience: "bulkhead".to_owned(),
        algorithms: ["RS256", "ES256"].into_iter().filter_map(TokenAlgorithm::find).collect(),
        roles_claim: "roles".to_owned(),
        tenant_claim: "tenant".to_owned(),
        permissions_claim: "permissions".to_owned(),
        subject_prefix: String::new(),
        roles_max: vec![Role::Member, Role::TenantAdmin, Role::Host],
        tenants: vec![Pattern::parse("bank-*").unwrap()],
    }
}

fn rsa_jwk(kid: &str) -> Value {
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": RSA_N.trim(), "e": "AQAB" })
}

fn ec_jwk(kid: &str) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": EC_X, "y": EC_Y })
}

fn issuer_with(config: OidcIssuer, keys: &[Value]) -> Issuer {
    let issuer = Issuer::new(config);
    issuer.fetched(json!({ "keys": keys }).to_string().as_bytes(), clock::now_ms()).unwrap();
    issuer
}

fn bank() -> Issuer {
    issuer_with(config(BANK), &[rsa_jwk("rsa"), ec_jwk("ec")])
}

fn now_s() -> u64 {
    clock::now_ms() / 1_000
}

fn claims() -> Value {
    json!({ "iss": BANK, "aud": "bulkhead", "sub": "anna", "exp": now_s() + 60, "tenant": "bank-a", "roles": ["member"] })
}

fn with(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

/// A token over any header, signed by the RSA key.
fn token_of(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_rsa_pem(RSA_KEY.as_bytes()).unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{message}.{signature}")
}

fn token(claims: &Value) -> String {
    token_of(&json!({ "alg": "RS256", "kid": "rsa" }), claims)
}

fn verify(issuer: &Issuer, token: &str) -> Result<Actor, Reason> {
    issuer.verify(token, clock::now_ms()).map(|(actor, _, _)| actor)
}

#[test]
fn a_token_of_the_issuer_says_who_acts_in_which_tenant() {
    let ec = EncodingKey::from_ec_pem(EC_KEY.as_bytes()).unwrap();
    let mut header = JwtHeader::new(Algorithm::ES256);
    header.kid = Some("ec".to_owned());
    let permissions = with(claims(), "permissions", json!(["acme.crm.deals.view"]));

    for token in [token(&permissions), jsonwebtoken::encode(&header, &permissions, &ec).unwrap()] {
        let actor = verify(&bank(), &token).unwrap();

        assert_eq!((actor.subject.as_str(), actor.tenant.as_ref().map(TenantId::as_str)), ("anna", Some("bank-a")));
        assert!(actor.is(Role::Member) && !actor.is(Role::TenantAdmin));
        assert!(actor.has_permission(&"acme.crm".parse().unwrap(), &"deals.view".parse().unwrap()));
    }
}

#[test]
fn a_hostile_token_is_refused_with_its_reason() {
    let issuer = bank();
    let check = |what: &str, token: &str, wanted: &str| {
        let refused = verify(&issuer, token).expect_err(what);
        assert!(refused.contains(wanted), "{what}: {refused}");
    };
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let algorithm = |name: &str| token_of(&with(header.clone(), "alg", json!(name)), &claims());
    for name in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "rs256", "EdDSA", "PS256", "ES512"] {
        check(name, &algorithm(name), "algorithm");
    }
    let public = RSA_N.trim().as_bytes();
    let shared = jsonwebtoken::encode(&JwtHeader::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(public));
    check("the public key as a shared secret", &shared.unwrap(), "algorithm");
    let unsigned = token(&claims());
    check("no signature", unsigned.rsplit_once('.').unwrap().0, "malformed");
    check("an empty signature", &format!("{}.", unsigned.rsplit_once('.').unwrap().0), "");
    check("another key's algorithm", &algorithm("ES256"), "key");

    let kid = |kid: Value| token_of(&with(header.clone(), "kid", kid), &claims());
    check("an unknown key", &kid(json!("other")), "does not publish");
    check("a path as a key", &kid(json!("../../etc/passwd")), "does not publish");
    check("SQL as a key", &kid(json!("x' OR '1'='1")), "does not publish");
    check("a key that is no text", &kid(json!(["rsa"])), "malformed");
    check("critical extensions", &token_of(&with(header.clone(), "crit", json!(["exp"])), &claims()), "critical");
    check("an empty list of them", &token_of(&with(header.clone(), "crit", json!([])), &claims()), "critical");

    check("another issuer", &token(&with(claims(), "iss", json!(OTHER))), "");
    check("no issuer", &token(&without(claims(), "iss")), "");
    check("another audience", &token(&with(claims(), "aud", json!("shop"))), "audience");
    check("no audience", &token(&without(claims(), "aud")), "");
    check("expired", &token(&with(claims(), "exp", json!(now_s() - 60))), "expired");
    check("without an end", &token(&without(claims(), "exp")), "");
    check("an end that is no time", &token(&with(claims(), "exp", json!("never"))), "");
    check("not yet", &token(&with(claims(), "nbf", json!(now_s() + 600))), "not valid yet");
    check("no subject", &token(&without(claims(), "sub")), "");
    check("an empty subject", &token(&with(claims(), "sub", json!(""))), "subject");
    check("the host's own subject", &token(&with(claims(), "sub", json!("bulkhead"))), "subject");
    check("a long subject", &token(&with(claims(), "sub", json!("a".repeat(257)))), "subject");

    check("a tenant that it does not speak for", &token(&with(claims(), "tenant", json!("shop"))), "speak for");
    check("a tenant that is none", &token(&with(claims(), "tenant", json!("../x"))), "tenant id");
    check("a list of tenants", &token(&with(claims(), "tenant", json!(["bank-a"]))), "no text");
    for role in ["super_admin", "security"] {
        check(role, &token(&with(claims(), "roles", json!([role]))), "may not give");
    }
    check("roles that are no texts", &token(&with(claims(), "roles", json!([1]))), "roles");
    check("roles by name", &token(&with(claims(), "roles", json!({ "member": true }))), "roles");
    check("too many roles", &token(&with(claims(), "roles", json!(vec!["x"; 257]))), "roles");
    let host_of_all = with(without(claims(), "tenant"), "roles", json!(["host"]));
    check("a host application of every tenant", &token(&host_of_all), "not for the platform");
    for text in ["", ".", "..", "a.b.c", "....."] {
        check(text, text, "malformed");
    }
}

#[test]
fn what_stands_in_a_header_names_no_key() {
    let jwk = json!({ "kty": "RSA", "n": RSA_N.trim(), "e": "AQAB" });
    let issuer = issuer_with(config(BANK), &[ec_jwk("ec")]);
    for (name, value) in [
        ("jku", json!("https://mallory.example/jwks.json")),
        ("x5u", json!("https://mallory.example/cert.pem")),
        ("jwk", jwk),
    ] {
        let header = with(json!({ "alg": "RS256", "kid": "rsa" }), name, value);
        let token = token_of(&header, &claims());

        assert!(verify(&issuer, &token).is_err(), "{name}");
        assert_eq!(verify(&bank(), &token).unwrap().subject, "anna", "ignored beside a known key: {name}");
    }
}

#[test]
fn roles_and_tenants_are_read_where_the_issuer_has_them() {
    let check = |roles: Value, wanted: &[Role]| {
        let actor = verify(&bank(), &token(&with(claims(), "roles", roles.clone()))).unwrap();
        assert_eq!(actor.roles, wanted.iter().copied().collect(), "{roles}");
    };
    check(json!("member"), &[Role::Member]);
    check(json!("member tenant_admin offline_access"), &[Role::Member, Role::TenantAdmin]);
    check(json!(["uma_authorization", "tenant_admin"]), &[Role::TenantAdmin]);
    check(json!([]), &[]);
    check(Value::Null, &[]);

    let mut nested = config(BANK);
    nested.roles_claim = "/realm_access/roles".to_owned();
    nested.tenant_claim = "https://bank.example/tenant".to_owned();
    nested.subject_prefix = "bank:".to_owned();
    let issuer = issuer_with(nested, &[rsa_jwk("rsa")]);
    let mut said = with(claims(), "realm_access", json!({ "roles": ["tenant_admin"] }));
    said["https://bank.example/tenant"] = json!("bank-b");

    let actor = verify(&issuer, &token(&said)).unwrap();

    assert_eq!((actor.subject.as_str(), actor.tenant.as_ref().map(TenantId::as_str)), ("bank:anna", Some("bank-b")));
    assert!(actor.is(Role::TenantAdmin) && !actor.is(Role::Member));
}

#[test]
fn roles_for_the_platform_need_an_issuer_of_the_platform() {
    let mut wide = config(BANK);
    wide.roles_max = Role::ALL.to_vec();
    let narrow = issuer_with(wide.clone(), &[rsa_jwk("rsa")]);
    wide.tenants = vec![Pattern::any()];
    let wide = issuer_with(wide, &[rsa_jwk("rsa")]);

    for role in ["super_admin", "security", "host"] {
        let token = token(&with(without(claims(), "tenant"), "roles", json!([role])));
        assert!(verify(&narrow, &token).is_err(), "{role}");
        assert!(verify(&wide, &token).is_ok(), "{role}");
    }
}

#[test]
fn no_issuer_verifies_the_tokens_of_another_or_of_the_local_one() {
    let verifier = Verifier::new(&[LOCAL_PUBLIC.to_owned()], &[config(BANK), config(OTHER)]).unwrap();
    let fetched = |place: usize, keys: &[Value]| {
        let document = json!({ "keys": keys }).to_string();
        verifier.issuers()[place].fetched(document.as_bytes(), clock::now_ms()).unwrap()
    };
    fetched(0, &[rsa_jwk("rsa")]);
    fetched(1, &[ec_jwk("rsa")]);
    let local = |claims: &Value| {
        let key = EncodingKey::from_ed_pem(LOCAL_KEY.as_bytes()).unwrap();
        jsonwebtoken::encode(&JwtHeader::new(Algorithm::EdDSA), claims, &key).unwrap()
    };
    let of_bank = token(&claims());

    assert_eq!(verifier.verify(&of_bank).unwrap().subject, "anna");
    assert!(verifier.verify(&token(&with(claims(), "iss", json!(OTHER)))).is_err(), "signed by the first issuer's key");
    assert!(verifier.verify(&token(&with(claims(), "iss", json!("https://nobody.example")))).is_err());
    assert!(verifier.verify(&token(&without(claims(), "iss"))).is_err(), "not a local token");
    assert_eq!(verifier.verify(&local(&without(claims(), "iss"))).unwrap().subject, "anna");
    assert!(verifier.verify(&local(&claims())).is_err(), "a local key signs for no issuer");
}

#[test]
fn keys_that_were_replaced_end_what_they_signed_and_old_keys_serve_for_a_day() {
    let verifier = Verifier::new(&[], &[config(BANK)]).unwrap();
    let issuer = Arc::clone(&verifier.issuers()[0]);
    let fetched = |keys: &[Value], at| issuer.fetched(json!({ "keys": keys }).to_string().as_bytes(), at);
    let token = token(&claims());
    let now = clock::now_ms();

    assert!(verifier.verify(&token).is_err(), "no key is known yet");
    fetched(&[rsa_jwk("rsa")], now).unwrap();
    assert!(verifier.verify(&token).is_ok());
    assert!(fetched(&[], now).is_err(), "a set without keys changes nothing");
    assert!(verifier.verify(&token).is_ok());
    fetched(&[ec_jwk("ec")], now).unwrap();
    assert!(verifier.verify(&token).is_err(), "remembered, and its key is gone");

    fetched(&[rsa_jwk("rsa")], now - KEYS_KEPT_MS + 60_000).unwrap();
    assert!(verifier.verify(&token).is_ok());
    assert!(issuer.verify(&token, now + 61_000).is_err(), "a day without the issuer");
    fetched(&[rsa_jwk("rsa")], now - KEYS_KEPT_MS - 1).unwrap();
    assert!(verifier.verify(&token).is_err(), "remembered, and its keys are too old");
}
