//! `/api/v1/policy/roots`: root keys that replace themselves, with overlap, in one step with the policy, on every host.

use std::time::{Duration, Instant};

use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::keys::{BOB, CAROL, MALLORY, ROOT};
use bulkhead_testkit::policies::{STANDARD, signed_by};
use bulkhead_testkit::{Answer, Client, Key, TestHost, eventually};
use bulkhead_trust::Roots;
use bulkhead_trust::policy::roots;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/policy/roots";
const GREET: &str = "acme.hello.hello.greet";
/// Longest time until another host follows.
const FOLLOW_MAX: Duration = Duration::from_secs(1);

/// A document of root keys with these signatures.
fn document(version: u64, keys: &[Key], threshold: usize, signers: &[Key]) -> String {
    until("2199-01-01T00:00:00Z", version, keys, threshold, signers)
}

fn until(expires: &str, version: u64, keys: &[Key], threshold: usize, signers: &[Key]) -> String {
    let keys = keys.iter().map(|key| key.verifying()).collect();
    let roots = Roots { version, expires: expires.parse().unwrap(), keys, threshold };
    let (first, rest) = signers.split_first().unwrap();
    rest.iter().fold(roots::sign(&roots, &first.signing()), |envelope, signer| {
        roots::add_signature(envelope.as_bytes(), &signer.signing()).unwrap()
    })
}

/// Both in one body.
fn together(roots: &str, policy: &str) -> String {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    json!({ "roots": parsed(roots), "policy": parsed(policy) }).to_string()
}

async fn put(client: &Client, body: &str) -> Answer {
    send(client.request(Method::PUT, PATH).header(CONTENT_TYPE, "application/json").body(body.to_owned())).await
}

async fn version(host: &TestHost) -> Value {
    host.security().get(PATH).await.expect(200).json()["version"].clone()
}

async fn greet(host: &TestHost) -> u16 {
    host.user("acme", &[GREET]).get_route("acme.hello", "/hello").await.status
}

async fn serves(host: &TestHost) {
    eventually("the plugin to serve", || async { (greet(host).await == 200).then_some(()) }).await;
}

#[tokio::test]
async fn root_keys_rotate_with_overlap_and_then_the_old_ones_sign_nothing_more() {
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.tenant("acme").with(HELLO).await;
        let first = host.security().get(PATH).await.expect(200).json();

        put(&host.security(), &document(1, &[ROOT, BOB], 1, &[ROOT])).await.expect(200);
        let overlap = [ROOT, BOB].map(|key| signed_by(&key.signing(), host.next_policy_version(), STANDARD));
        for policy in &overlap {
            host.security().put_policy(policy).await.expect(200);
        }
        put(&host.security(), &document(2, &[BOB], 1, &[BOB])).await.expect(200);
        let old = host.security().put_policy(&signed_by(&ROOT.signing(), 90, STANDARD)).await;
        let served = greet(&host).await;
        let host = host.restart().await;
        serves(&host).await;
        let after = host.security().get(PATH).await.expect(200).json();
        let new = host.security().put_policy(&signed_by(&BOB.signing(), 91, STANDARD)).await;

        assert_eq!((&first["version"], &first["threshold"], &first["expires"]), (&json!(0), &json!(1), &Value::Null));
        assert_eq!(old.outcome(), (422, "policy-invalid".to_owned()));
        assert_eq!((served, new.status), (200, 200));
        assert_eq!(
            (&after["version"], &after["broken"], &after["installed_by"]),
            (&json!(2), &Value::Null, &json!("sec"))
        );
        assert_eq!(
            after["keys"],
            json!([{ "key": BOB.verifying().to_policy_text(), "key_id": BOB.verifying().id().to_string() }])
        );
        let audit = host.security().get("/api/v1/audit?limit=200").await.expect(200).json();
        let rotations = audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "policy.roots");
        assert_eq!(rotations.map(|entry| entry["detail"]["version"].clone()).collect::<Vec<_>>(), [json!(1), json!(2)]);
    }
}

#[tokio::test]
async fn a_rotation_away_from_the_policys_signers_comes_with_a_policy_or_not_at_all() {
    let next = document(1, &[BOB, CAROL], 2, &[ROOT, BOB, CAROL]);
    for builder in [TestHost::new(), TestHost::on_postgres()] {
        let host = builder.tenant("acme").with(HELLO).await;
        let by_two = |number: u64| {
            let one = signed_by(&BOB.signing(), number, STANDARD);
            bulkhead_trust::policy::add_signature(one.as_bytes(), &CAROL.signing()).unwrap()
        };
        let put = async |body: String| put(&host.security(), &body).await;

        let alone = put(next.clone()).await;
        let by_old = put(together(&next, &signed_by(&ROOT.signing(), 9, STANDARD))).await;
        let by_one = put(together(&next, &signed_by(&BOB.signing(), 9, STANDARD))).await;
        let stale = put(together(&next, &by_two(1))).await;
        let untouched = (version(&host).await, greet(&host).await);
        let policy = host.security().get("/api/v1/policy").await.expect(200).json()["version"].clone();
        let both = put(together(&next, &by_two(9))).await;
        let again = put(next.clone()).await;

        assert_eq!(alone.outcome(), (409, "conflict".to_owned()));
        assert!(alone.text().contains("--policy"), "{}", alone.text());
        assert_eq!(by_old.outcome(), (422, "policy-invalid".to_owned()));
        assert_eq!(by_one.outcome(), (422, "policy-invalid".to_owned()));
        assert_eq!(stale.outcome(), (409, "policy-stale".to_owned()));
        assert_eq!((untouched, policy), ((json!(0), 200), json!(1)));
        assert_eq!(both.status, 200, "{}", both.text());
        assert_eq!(again.outcome(), (409, "policy-stale".to_owned()));
        assert_eq!((version(&host).await, greet(&host).await), (json!(1), 200));
        assert_eq!(host.security().get("/api/v1/policy").await.expect(200).json()["version"], 9);
        let host = host.restart().await;
        serves(&host).await;
    }
}

#[tokio::test]
async fn roots_that_do_not_come_right_behind_those_in_force_are_refused() {
    let host = TestHost::new().await;
    let anyone = [ROOT, MALLORY];
    for (name, body, wanted) in [
        ("nobody old", document(1, &[MALLORY], 1, &[MALLORY]), (422, "policy-invalid")),
        ("nobody new", document(1, &[MALLORY], 1, &[ROOT]), (422, "policy-invalid")),
        ("one of two new", document(1, &[MALLORY, BOB], 2, &[ROOT, MALLORY]), (422, "policy-invalid")),
        ("a version left out", document(2, &[ROOT, MALLORY], 1, &anyone), (422, "policy-invalid")),
        ("expired", until("2020-01-01T00:00:00Z", 1, &[ROOT], 1, &[ROOT]), (422, "policy-invalid")),
        ("a policy", signed_by(&ROOT.signing(), 9, STANDARD), (422, "policy-invalid")),
        ("no envelope", "{}".to_owned(), (422, "policy-invalid")),
        ("no object", "[]".to_owned(), (422, "invalid-input")),
        ("something beside them", json!({ "roots": {}, "polcy": {} }).to_string(), (422, "invalid-input")),
    ] {
        let answer = put(&host.security(), &body).await;
        assert_eq!(answer.outcome(), (wanted.0, wanted.1.to_owned()), "{name}: {}", answer.text());
    }
    let by_admin = put(&host.admin(), &document(1, &[ROOT], 1, &[ROOT])).await;
    assert_eq!(by_admin.outcome(), (403, "role-required".to_owned()));
    assert_eq!(host.admin().get(PATH).await.outcome(), (403, "role-required".to_owned()));
    assert_eq!(version(&host).await, 0);
    put(&host.security(), &document(1, &[ROOT], 1, &[ROOT])).await.expect(200);
}

#[tokio::test]
async fn another_host_follows_a_rotation_within_a_second_and_a_fresh_one_walks_the_chain() {
    let one = TestHost::on_postgres().tenant("acme").with(HELLO).await;
    let two = one.another().await;
    serves(&two).await;
    let next = document(1, &[BOB], 1, &[ROOT, BOB]);

    let began = Instant::now();
    put(&one.security(), &together(&next, &signed_by(&BOB.signing(), 9, STANDARD))).await.expect(200);
    eventually("the other host to follow", || async { (version(&two).await == 1).then_some(()) }).await;
    let took = began.elapsed();
    let old = two.security().put_policy(&signed_by(&ROOT.signing(), 10, STANDARD)).await;
    two.security().put_policy(&signed_by(&BOB.signing(), 11, STANDARD)).await.expect(200);
    put(&two.security(), &document(2, &[BOB, CAROL], 1, &[BOB])).await.expect(200);
    let fresh = one.another().await;
    serves(&fresh).await;

    assert!(took < FOLLOW_MAX, "{took:?}");
    assert_eq!(old.outcome(), (422, "policy-invalid".to_owned()));
    assert_eq!((version(&fresh).await, greet(&two).await), (json!(2), 200));
}

#[tokio::test]
async fn who_writes_the_database_puts_no_root_key_in_force_and_takes_none_away() {
    let broken = async |statement: &str| {
        let host = TestHost::on_postgres().tenant("acme").with(HELLO).await;
        put(&host.security(), &document(1, &[ROOT, BOB], 1, &[ROOT])).await.expect(200);
        host.tamper(&[statement]);
        let host = host.restart().await;

        let roots = host.security().get(PATH).await.expect(200).json();
        let policy = host.security().put_policy(&signed_by(&ROOT.signing(), 50, STANDARD)).await;

        assert!(roots["broken"].is_string(), "{statement}: {roots}");
        assert_eq!(policy.outcome(), (422, "policy-invalid".to_owned()), "{statement}");
        assert_ne!(greet(&host).await, 200, "{statement}");
        host
    };
    let forged = Roots {
        version: 2,
        expires: "2199-01-01T00:00:00Z".parse().unwrap(),
        keys: vec![MALLORY.verifying()],
        threshold: 1,
    };
    let forged = roots::sign(&forged, &MALLORY.signing());

    broken(&format!(
        "INSERT INTO policy_roots SELECT anchor, 2, convert_to('{forged}', 'UTF8'), installed_by, installed_at FROM policy_roots"
    ))
    .await;
    broken("UPDATE policy_roots SET version = 2").await;
    let host = broken("DELETE FROM policy_roots").await;

    // An operator who restored an older backup on purpose says so.
    std::fs::remove_file(host.data_dir().join("roots-mark")).unwrap();
    let host = host.restart().await;
    serves(&host).await;
    assert_eq!(version(&host).await, 0);
}

#[tokio::test]
async fn other_configured_root_keys_begin_a_chain_of_their_own() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    put(&host.security(), &document(1, &[ROOT, BOB], 1, &[ROOT])).await.expect(200);
    let other_root = host.data_dir().join("other-root.pem");
    std::fs::write(&other_root, MALLORY.public_pem()).unwrap();

    let host = host.restart_with(|config| config.policy.root_keys = vec![other_root]).await;
    let refused = (version(&host).await, greet(&host).await);
    host.security().put_policy(&signed_by(&MALLORY.signing(), 9, STANDARD)).await.expect(200);
    put(&host.security(), &document(1, &[MALLORY, CAROL], 1, &[MALLORY])).await.expect(200);
    serves(&host).await;

    assert_ne!(refused.1, 200);
    assert_eq!((refused.0, version(&host).await), (json!(0), json!(1)));
}
