//! `/api/v1/operations/{id}`: long work, its steps, and the stream that follows it.

use bulkhead_testkit::TestHost;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::ALICE;
use insta::assert_json_snapshot;
use serde_json::Value;

#[tokio::test]
async fn an_install_tells_its_steps() {
    let host = TestHost::new().await;
    host.admin().publish(&hostile("echo").signed_by(ALICE)).await.expect(201);

    let begun = host.admin().begin_install("hostile.echo").await.expect(202);
    let ended = host.admin().ended(begun.clone()).await.json();

    assert_eq!(begun.header("location"), format!("/api/v1/operations/{}", begun.json()["id"].as_str().unwrap()));
    assert_eq!(begun.json()["status"], "running");
    assert_eq!(
        (&ended["status"], &ended["kind"], &ended["plugin_id"]),
        (&Value::from("succeeded"), &Value::from("install"), &Value::from("hostile.echo"))
    );
    assert_json_snapshot!(ended["steps"], @r#"
    [
      {
        "done": 1,
        "name": "verify",
        "total": 1
      },
      {
        "done": 1,
        "name": "compile",
        "total": 1
      },
      {
        "done": 0,
        "name": "start",
        "total": 0
      }
    ]
    "#);
    assert_eq!(ended["error"], Value::Null);
}

#[tokio::test]
async fn an_operation_is_followed_to_its_end() {
    let host = TestHost::new().await;
    host.admin().publish(&hostile("echo").signed_by(ALICE)).await.expect(201);
    let begun = host.admin().begin_install("hostile.echo").await.expect(202);

    let stream = host.admin().get(&format!("{}/events", begun.header("location"))).await.expect(200);

    assert_eq!(stream.header("content-type"), "text/event-stream");
    let events: Vec<&str> =
        std::str::from_utf8(&stream.body).unwrap().lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events.last(), Some(&"end"));
    assert_eq!(events.iter().filter(|event| **event == "end").count(), 1);
    let last = stream.text().lines().rev().find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["status"], "succeeded");
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_not_found_and_others_may_not_look() {
    let host = TestHost::new().tenant("acme").await;

    for id in ["nothing", "0", "%00", "..%2f..", &"a".repeat(500)] {
        let answer = host.admin().get(&format!("/api/v1/operations/{id}")).await;
        assert_eq!(answer.outcome(), (404, "not-found".to_owned()), "{id}");
    }
    let other = host.tenant_admin("acme").get("/api/v1/operations/nothing").await;
    assert_eq!(other.outcome(), (403, "role-required".to_owned()));
}
