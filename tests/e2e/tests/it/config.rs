//! `/api/v1/tenant/plugins/{id}/config`: checked as a whole, defaults filled in, kept, and seen by the plugin.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{HELLO, NOTES, hostile};
use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

const HELLO_ID: &str = "acme.hello";

async fn greeting(host: &TestHost, tenant: &str) -> Value {
    host.user(tenant, &["acme.hello.hello.greet"]).get_route(HELLO_ID, "/hello").await.expect(200).json()["message"]
        .clone()
}

#[tokio::test]
async fn a_plugin_sees_its_tenants_configuration_and_no_other() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    assert_eq!(greeting(&host, "acme").await, "Hello, user@acme!");

    host.tenant_admin("acme").configure(HELLO_ID, &json!({ "greeting": "Ciao" })).await.expect(200);

    assert_eq!(greeting(&host, "acme").await, "Ciao, user@acme!");
    assert_eq!(greeting(&host, "globex").await, "Hello, user@globex!");
    let host = host.restart().await;
    host.user("acme", &[]).ready(HELLO_ID).await;
    assert_eq!(greeting(&host, "acme").await, "Ciao, user@acme!");
}

#[tokio::test]
async fn defaults_are_filled_in_and_shown() {
    let host = TestHost::new().tenant("acme").with(HELLO).with(NOTES).await;
    let admin = host.tenant_admin("acme");

    let at_first = admin.configuration(HELLO_ID).await.expect(200).json();
    let emptied = admin.configure(HELLO_ID, &json!({})).await.expect(200).json();

    assert_eq!((&at_first["data"], &at_first["version"]), (&json!({ "greeting": "Hello" }), &json!(1)));
    assert_eq!(emptied["data"], json!({ "greeting": "Hello" }));
    assert_eq!(admin.configuration("acme.notes").await.json()["data"], json!({ "page_size": 20 }));
}

#[tokio::test]
async fn every_problem_is_told_at_once_and_nothing_changes() {
    let host = TestHost::new().tenant("acme").with(NOTES).with(HELLO).await;
    let admin = host.tenant_admin("acme");
    admin.configure("acme.notes", &json!({ "page_size": 7 })).await.expect(200);

    let refused = admin.configure("acme.notes", &json!({ "page_size": 51, "colour": "blue" })).await;
    let empty_greeting = admin.configure(HELLO_ID, &json!({ "greeting": "" })).await;

    assert_json_snapshot!(refused.problem(), @r#"
    {
      "code": "invalid-configuration",
      "detail": "2 problem(s)",
      "errors": [
        {
          "message": "51 is greater than the maximum of 50",
          "pointer": "/page_size"
        },
        {
          "message": "Additional properties are not allowed ('colour' was unexpected)",
          "pointer": ""
        }
      ],
      "plugin": "acme.notes",
      "status": 422,
      "tenant": "acme",
      "title": "The configuration does not satisfy its schema",
      "type": "/problems/invalid-configuration"
    }
    "#);
    assert_eq!(empty_greeting.problem()["errors"][0]["pointer"], "/greeting");
    assert_eq!(admin.configuration("acme.notes").await.json()["data"], json!({ "page_size": 7 }));
    assert_eq!(greeting(&host, "acme").await, "Hello, user@acme!");
}

#[tokio::test]
async fn what_is_no_configuration_is_refused() {
    let host = TestHost::new().tenant("acme").with(HELLO).with(hostile("echo")).await;
    let admin = host.tenant_admin("acme");
    let put = async |body: &'static str| {
        let request = admin
            .request(Method::PUT, "/api/v1/tenant/plugins/acme.hello/config")
            .header("content-type", "application/json");
        send(request.body(body)).await.outcome()
    };

    for body in ["[]", "1", "\"x\"", "null", "{", "{\"greeting\": \"a\"} x"] {
        let (status, code) = put(body).await;
        assert!(
            status == 422 && ["invalid-configuration", "invalid-input"].contains(&code.as_str()),
            "{body}: {status} {code}"
        );
    }
    let takes_none = admin.configure("hostile.echo", &json!({ "a": 1 })).await;
    assert_eq!(takes_none.outcome(), (422, "invalid-configuration".to_owned()));
    assert_eq!(admin.configure("acme.nothing", &json!({})).await.outcome(), (404, "not-found".to_owned()));
    let huge = admin.configure(HELLO_ID, &json!({ "greeting": "x".repeat(300_000) })).await;
    assert_eq!(huge.status, 413, "{}", huge.text());
}

#[tokio::test]
async fn every_version_is_kept_newest_first() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    let admin = host.tenant_admin("acme");
    for greeting in ["Ciao", "Hej", "Ahoj"] {
        admin.configure(HELLO_ID, &json!({ "greeting": greeting })).await.expect(200);
    }

    let history = admin.get("/api/v1/tenant/plugins/acme.hello/config/history").await.expect(200).json();

    let kept: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["revision"].clone(), item["data"]["greeting"].clone(), item["changed_by"].clone()))
        .collect();
    assert_eq!(
        kept,
        [
            (json!(3), json!("Ahoj"), json!("admin@acme")),
            (json!(2), json!("Hej"), json!("admin@acme")),
            (json!(1), json!("Ciao"), json!("admin@acme"))
        ]
    );
}
