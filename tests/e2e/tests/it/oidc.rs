//! Tokens of an OIDC issuer: a real server with discovery and keys, whose keys change and which goes away.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bulkhead_testkit::guests::ROUTES;
use bulkhead_testkit::host::{Config, HostAndPort, Issuer, IssuerKind};
use bulkhead_testkit::keys::{BOB, CAROL};
use bulkhead_testkit::{Answer, Key, TestHost, eventually};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

const PLUGIN: &str = "test.routes";

/// A server that says where its keys are, and which they are.
struct Idp {
    address: SocketAddr,
    keys: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
}

impl Idp {
    fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let idp = Self {
            address: listener.local_addr().unwrap(),
            keys: Arc::new(Mutex::new(jwks(keys))),
            asked: Arc::default(),
            is_down: Arc::default(),
        };
        let (address, keys, asked, is_down) =
            (idp.address, Arc::clone(&idp.keys), Arc::clone(&idp.asked), Arc::clone(&idp.is_down));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if !is_down.load(Ordering::SeqCst) {
                    asked.fetch_add(1, Ordering::SeqCst);
                    answer(stream, address, &keys.lock().unwrap().clone());
                }
            }
        });
        idp
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn publishes(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = jwks(keys);
    }

    /// A token of it, or of whoever else has a key.
    fn token(&self, key: Key, kid: &str, change: impl FnOnce(&mut Value)) -> String {
        let exp = jiff_now() + 600;
        let mut claims = json!({
            "iss": self.issuer(), "aud": "bulkhead", "sub": "anna", "exp": exp, "org": "bank-a", "groups": ["tenant_admin"]
        });
        change(&mut claims);
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": kid })), part(&claims));
        let signature = BASE64URL_NOPAD.encode(&key.signing().sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn configure(&self) -> impl FnOnce(&mut Config) + Send + 'static {
        let (issuer, place) = (self.issuer(), self.address.to_string());
        move |config| {
            let mut entry = Issuer::local("unused".into());
            entry.kind = IssuerKind::Oidc;
            entry.public_key = None;
            entry.issuer = Some(issuer);
            entry.roles_claim = Some("groups".to_owned());
            entry.tenant_claim = Some("org".to_owned());
            entry.roles_max = vec!["member".to_owned(), "tenant_admin".to_owned()];
            entry.tenants = vec!["bank-*".to_owned()];
            config.auth.issuers.push(entry);
            config.outbound.allow_private.push(HostAndPort(place.clone()));
            config.outbound.allow_http.push(HostAndPort(place));
        }
    }
}

fn jiff_now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn jwk(key: Key, kid: &str) -> Value {
    let text = key.verifying().to_policy_text();
    let bytes = BASE64.decode(text.trim_start_matches("ed25519:").as_bytes()).unwrap();
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": BASE64URL_NOPAD.encode(&bytes) })
}

fn answer(mut stream: TcpStream, address: SocketAddr, keys: &[u8]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let path = lines.next().and_then(Result::ok).unwrap_or_default();
    while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
    let body = if path.contains("/.well-known/openid-configuration") {
        let issuer = format!("http://{address}");
        json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }).to_string().into_bytes()
    } else {
        keys.to_vec()
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A client that refuses a large body goes away in the middle of it.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap_or_default();
}

async fn plugins(host: &TestHost, token: &str) -> Answer {
    host.anyone().with_token(token.to_owned()).get("/api/v1/tenant/plugins").await
}

#[tokio::test]
async fn a_token_of_the_issuer_acts_in_its_tenant_and_within_its_ceiling() {
    let idp = Idp::start(&[jwk(BOB, "k1")]);
    let host = TestHost::new().configured(idp.configure()).tenant("bank-a").tenant("shop").with(ROUTES).await;
    let token = idp.token(BOB, "k1", |_| {});
    eventually("the issuer's keys", || async { (plugins(&host, &token).await.status == 200).then_some(()) }).await;
    let check = async |status: u16, change: fn(&mut Value)| {
        let answer = plugins(&host, &idp.token(BOB, "k1", change)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    };

    assert_eq!(plugins(&host, &token).await.expect(200).json()["items"][0]["plugin_id"], PLUGIN);
    host.anyone().with_token(token).get_route(PLUGIN, "/").await.expect(200);
    check(200, |claims| claims["groups"] = json!("tenant_admin")).await;
    check(403, |claims| claims["groups"] = json!(["member", "staff"])).await;
    check(401, |claims| claims["groups"] = json!(["super_admin"])).await;
    check(401, |claims| claims["org"] = json!("shop")).await;
    check(401, |claims| claims["aud"] = json!("shop")).await;
    check(401, |claims| claims["exp"] = json!(1)).await;
    check(401, |claims| claims["iss"] = json!("https://elsewhere.example")).await;
    assert_eq!(plugins(&host, &idp.token(CAROL, "k1", |_| {})).await.status, 401, "another's key");
    host.tenant_admin("shop").get("/api/v1/tenant/plugins").await.expect(200);
}

#[tokio::test]
async fn keys_change_without_a_restart_and_strangers_do_not_make_the_host_ask() {
    let idp = Idp::start(&[jwk(BOB, "k1")]);
    let host = TestHost::new().configured(idp.configure()).tenant("bank-a").await;
    let (old, new) = (idp.token(BOB, "k1", |_| {}), idp.token(CAROL, "k2", |_| {}));
    eventually("the first keys", || async { (plugins(&host, &old).await.status == 200).then_some(()) }).await;

    idp.publishes(&[jwk(CAROL, "k2")]);
    eventually("the next keys", || async { (plugins(&host, &new).await.status == 200).then_some(()) }).await;

    assert_eq!(plugins(&host, &old).await.status, 401, "its key is gone");
    let asked = idp.asked.load(Ordering::SeqCst);
    for number in 0..50 {
        assert_eq!(plugins(&host, &idp.token(BOB, &format!("x{number}"), |_| {})).await.status, 401);
    }
    assert_eq!(idp.asked.load(Ordering::SeqCst), asked, "at most once a minute");
}

#[tokio::test]
async fn known_keys_serve_while_the_issuer_is_away_and_bad_sets_change_nothing() {
    let idp = Idp::start(&[]);
    let host = TestHost::new().configured(idp.configure()).tenant("bank-a").await;
    let token = idp.token(BOB, "k1", |_| {});
    assert_eq!(plugins(&host, &token).await.status, 401, "no key is known");
    host.admin().get("/api/v1/plugins").await.expect(200);

    // Too large, then right: the pause after a failure is short at first.
    *idp.keys.lock().unwrap() = vec![b' '; 1 << 20];
    let asked = idp.asked.load(Ordering::SeqCst);
    eventually("another try", || async { (idp.asked.load(Ordering::SeqCst) > asked + 1).then_some(()) }).await;
    assert_eq!(plugins(&host, &token).await.status, 401);
    idp.publishes(&[jwk(BOB, "k1")]);
    eventually("the keys", || async { (plugins(&host, &token).await.status == 200).then_some(()) }).await;
    idp.is_down.store(true, Ordering::SeqCst);

    assert_eq!(plugins(&host, &idp.token(CAROL, "k2", |_| {})).await.status, 401);
    assert_eq!(plugins(&host, &idp.token(BOB, "k1", |claims| claims["sub"] = json!("ben"))).await.status, 200);
}
