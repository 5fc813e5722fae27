//! `/api/v1/hooks`: declared hooks, filter chains and their order, failures that are attributed, chains that close.

use bulkhead_model::Role;
use bulkhead_model::manifest::OnFailure;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{self, HELLO, ROUTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, Source, TestHost};
use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

/// A filter that appends the letter of its name to a string, made of a few instructions.
const APPEND: &str = include_str!("hooks/append.wat");
const HOOK: &str = "order.text";

/// A plugin whose filter appends `letter`.
fn append(id: &str, letter: char) -> Source {
    let module = APPEND.replace("LETTER", &u32::from(letter).to_string()).replace("TRAP", "0");
    of_module(id, HOOK, "filter", &module)
}

/// A plugin with an action that traps, or does not.
fn action(id: &str, traps: bool) -> Source {
    let module = APPEND.replace("LETTER", "65").replace("TRAP", &u8::from(traps).to_string());
    of_module(id, "order.done", "action", &module)
}

fn of_module(id: &str, hook: &str, kind: &str, module: &str) -> Source {
    let text = format!(
        "[plugin]\nid = \"{id}\"\nversion = \"0.1.0\"\nname = \"x\"\n[[hooks]]\nname = \"{hook}\"\nkind = \"{kind}\"\n"
    );
    guests::plain(&text, guests::component(module, &[], &["hooks"]))
}

fn failing(id: &str, guest: &'static str, on_failure: OnFailure) -> Source {
    hostile(guest).source().id(id).edit(|manifest| {
        manifest.hooks[0].name = HOOK.parse().unwrap();
        manifest.hooks[0].on_failure = on_failure;
    })
}

async fn host_with(releases: impl IntoIterator<Item = Source>) -> TestHost {
    let builder = releases
        .into_iter()
        .fold(TestHost::new().tenant("acme"), |builder, source| builder.with_release(source.signed_by(ALICE)));
    let host = builder.await;
    host.app("acme").declare_filter(HOOK).await.expect(200);
    host
}

#[tokio::test]
async fn a_filter_changes_the_value() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    host.app("acme").declare_filter("demo.greeting").await.expect(200);

    let answer = host.app("acme").apply("demo.greeting", &json!("Ada")).await.expect(200);

    assert_json_snapshot!(answer.json(), @r#"
    {
      "failures": [],
      "value": "Hello, Ada!"
    }
    "#);
}

#[tokio::test]
async fn without_filters_a_value_comes_back_as_it_is() {
    let host = TestHost::new().tenant("acme").await;
    host.app("acme").declare_filter(HOOK).await.expect(200);
    let value = json!({ "a": [1, 2.5, null, "é\u{1F600}"], "b": { "deep": true } });

    let answer = host.app("acme").apply(HOOK, &value).await.expect(200);

    assert_eq!(answer.json(), json!({ "value": value, "failures": [] }));
}

#[tokio::test]
async fn a_chain_runs_by_priority_then_load_order_then_id() {
    let prioritised = |id: &str, letter, priority, load_order| {
        append(id, letter).edit(|manifest| {
            manifest.hooks[0].priority = priority;
            manifest.plugin.load_order = load_order;
        })
    };
    // Installed in no order at all.
    let host = host_with([
        prioritised("acme.zz", 'e', 10, 100),
        prioritised("acme.first", 'a', -5, 900),
        prioritised("acme.aa", 'd', 10, 100),
        prioritised("acme.last", 'f', 11, 1),
        prioritised("acme.early", 'c', 10, 1),
        prioritised("acme.second", 'b', 0, 100),
    ])
    .await;

    let value =
        async |host: &TestHost| host.app("acme").apply(HOOK, &json!("")).await.expect(200).json()["value"].clone();

    assert_eq!(value(&host).await, "abcdef");
    let host = host.restart().await;
    assert_eq!(value(&host).await, "abcdef");
}

#[tokio::test]
async fn a_failure_is_attributed_and_the_value_before_it_goes_on() {
    let host =
        host_with([append("acme.aa", 'a'), failing("acme.bb", "panic", OnFailure::Open), append("acme.cc", 'c')]).await;

    let answer = host.app("acme").apply(HOOK, &json!("")).await.expect(200);

    let mut body = answer.json();
    assert_eq!(body["failures"][0]["trace_id"], answer.header("x-trace-id"));
    body["failures"][0].as_object_mut().unwrap().remove("trace_id");
    assert_json_snapshot!(body, @r#"
    {
      "failures": [
        {
          "code": "plugin-failed",
          "detail": "",
          "hook": "order.text",
          "plugin": "acme.bb"
        }
      ],
      "value": "ac"
    }
    "#);
}

#[tokio::test]
async fn a_hook_that_fails_closed_ends_the_chain() {
    let by_plugin = host_with([append("acme.aa", 'a'), failing("acme.bb", "panic", OnFailure::Closed)]).await;
    let by_host = host_with([failing("acme.bb", "panic", OnFailure::Open)]).await;
    by_host.app("acme").declare(HOOK, &json!({ "kind": "filter", "on_failure": "closed" })).await.expect(200);

    let refused = by_plugin.app("acme").apply(HOOK, &json!("")).await;

    assert_json_snapshot!(refused.problem(), @r#"
    {
      "code": "hook-closed",
      "detail": "the hook fails closed and `acme.bb` failed",
      "errors": [
        {
          "message": "acme.bb: plugin-failed",
          "pointer": ""
        }
      ],
      "status": 403,
      "title": "A hook that fails closed failed",
      "type": "/problems/hook-closed"
    }
    "#);
    assert_eq!(by_host.app("acme").apply(HOOK, &json!("")).await.outcome(), (403, "hook-closed".to_owned()));
}

#[tokio::test]
async fn a_payload_against_the_schema_is_refused_with_pointers() {
    let host = host_with([append("acme.aa", 'a')]).await;
    let schema = json!({ "type": "object", "required": ["id"], "properties": { "id": { "type": "integer" }, "lines": { "type": "array", "items": { "type": "string" } } } });
    host.app("acme").declare("order.checked", &json!({ "kind": "filter", "schema": schema })).await.expect(200);

    let refused = host.app("acme").apply("order.checked", &json!({ "id": "x", "lines": ["a", 2] })).await;

    assert_json_snapshot!(refused.problem(), @r#"
    {
      "code": "invalid-input",
      "detail": "2 problem(s)",
      "errors": [
        {
          "message": "\"x\" is not of type \"integer\"",
          "pointer": "/id"
        },
        {
          "message": "2 is not of type \"string\"",
          "pointer": "/lines/1"
        }
      ],
      "status": 422,
      "title": "The input is not valid",
      "type": "/problems/invalid-input"
    }
    "#);
    host.app("acme").apply("order.checked", &json!({ "id": 1 })).await.expect(200);
}

#[tokio::test]
async fn an_answer_against_the_schema_counts_as_a_failure() {
    let host = host_with([append("acme.aa", 'a')]).await;
    host.app("acme")
        .declare(HOOK, &json!({ "kind": "filter", "schema": { "type": "string", "maxLength": 3 } }))
        .await
        .expect(200);

    let short = host.app("acme").apply(HOOK, &json!("xy")).await.expect(200).json();
    let long = host.app("acme").apply(HOOK, &json!("xyz")).await.expect(200).json();

    assert_eq!((&short["value"], &short["failures"]), (&json!("xya"), &json!([])));
    assert_eq!(long["value"], "xyz");
    assert_eq!(
        (&long["failures"][0]["plugin"], &long["failures"][0]["code"]),
        (&json!("acme.aa"), &json!("invalid-input"))
    );
}

#[tokio::test]
async fn a_hook_that_nobody_declared_is_unknown() {
    let host = host_with([append("acme.aa", 'a')]).await;
    let app = host.app("acme");

    let undeclared = app.apply("order.nowhere", &json!("")).await;
    let other_kind = app.dispatch(HOOK, &json!([])).await;
    app.delete(&format!("/api/v1/hooks/{HOOK}")).await.expect(204);
    let removed = app.apply(HOOK, &json!("")).await;

    assert_json_snapshot!(undeclared.problem(), @r#"
    {
      "code": "unknown-hook",
      "detail": "no filter `order.nowhere` is declared",
      "status": 404,
      "title": "No such hook is declared",
      "type": "/problems/unknown-hook"
    }
    "#);
    assert_eq!(other_kind.outcome(), (404, "unknown-hook".to_owned()));
    assert_eq!(removed.outcome(), (404, "unknown-hook".to_owned()));
    assert_eq!(app.delete(&format!("/api/v1/hooks/{HOOK}")).await.outcome(), (404, "unknown-hook".to_owned()));
    for name in ["UPPER", "a", "a..b", "%00", "a%2Fb"] {
        assert_eq!(app.apply(name, &json!("")).await.outcome(), (404, "unknown-hook".to_owned()), "{name}");
    }
}

#[tokio::test]
async fn actions_are_told_and_failures_listed() {
    let host = host_with([action("acme.aa", false), action("acme.bb", true)]).await;
    host.app("acme").declare("order.done", &json!({ "kind": "action", "schema": { "maxItems": 2 } })).await.expect(200);

    let told = host.app("acme").dispatch("order.done", &json!([1, "two"])).await.expect(200).json();
    let refused = host.app("acme").dispatch("order.done", &json!([1, 2, 3])).await;

    let failures: Vec<_> =
        told["failures"].as_array().unwrap().iter().map(|failure| (&failure["plugin"], &failure["code"])).collect();
    assert_eq!(failures, [(&json!("acme.bb"), &json!("plugin-failed"))]);
    assert_eq!(refused.outcome(), (422, "invalid-input".to_owned()));
}

#[tokio::test]
async fn a_deadline_stops_a_filter_that_runs() {
    let slow = failing("acme.slow", "loop", OnFailure::Open).edit(|manifest| {
        manifest.limits.fuel_per_call = Some(10_000_000_000);
        manifest.hooks[0].deadline_ms = Some(300);
    });
    let host = host_with([slow, append("acme.zz", 'z')]).await;

    let began = std::time::Instant::now();
    let answer = host.app("acme").apply(HOOK, &json!("")).await.expect(200).json();
    let took_ms = began.elapsed().as_millis();

    assert_eq!(answer["value"], "z");
    assert_eq!(answer["failures"][0]["code"], "deadline-exceeded");
    assert!((250..2_000).contains(&took_ms), "{took_ms} ms");
}

#[tokio::test]
async fn declarations_are_listed_kept_and_for_the_host_application_alone() {
    let host = TestHost::new().tenant("acme").await;
    let schema = json!({ "type": "string" });
    let declared = host
        .app("acme")
        .declare(HOOK, &json!({ "kind": "filter", "schema": schema, "on_failure": "closed" }))
        .await
        .expect(200);
    host.app("acme").declare("order.done", &json!({ "kind": "action" })).await.expect(200);

    let host = host.restart().await;

    assert_eq!(
        declared.json(),
        json!({ "name": HOOK, "kind": "filter", "schema": schema, "on_failure": "closed", "declared_by": "host" })
    );
    let listed = host.app("acme").get("/api/v1/hooks").await.expect(200).json();
    let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|hook| &hook["name"]).collect();
    assert_eq!(names, ["order.done", HOOK]);
    for client in [host.user("acme", &[]), host.tenant_admin("acme"), host.security()] {
        assert_eq!(client.declare_filter("order.other").await.outcome(), (403, "role-required".to_owned()));
        let applied = client.apply(HOOK, &json!("x")).await.outcome();
        assert!(
            matches!((applied.0, applied.1.as_str()), (403, "role-required") | (422, "tenant-required")),
            "{applied:?}"
        );
    }
}

#[tokio::test]
async fn a_declaration_that_is_none_is_refused() {
    let host = TestHost::new().tenant("acme").await;
    let check = async |name: &str, body: Value, pointer: &str| {
        let answer = host.app("acme").declare(name, &body).await;
        assert_eq!(answer.outcome(), (422, "invalid-input".to_owned()), "{name} {body}: {}", answer.text());
        if !pointer.is_empty() {
            assert_eq!(answer.problem()["errors"][0]["pointer"], pointer, "{}", answer.text());
        }
    };

    check("UPPER", json!({ "kind": "filter" }), "").await;
    check(HOOK, json!({ "kind": "wish" }), "/kind").await;
    check(HOOK, json!({}), "").await;
    check(HOOK, json!({ "kind": "filter", "colour": 1 }), "/colour").await;
    check(HOOK, json!({ "kind": "filter", "schema": { "type": "nonsense" } }), "/schema").await;
    check(HOOK, json!({ "kind": "filter", "schema": { "$ref": "https://example.com/schema.json" } }), "/schema").await;
    check(HOOK, json!({ "kind": "filter", "schema": { "$ref": "file:///etc/passwd" } }), "/schema").await;
    check(HOOK, json!({ "kind": "filter", "on_failure": "maybe" }), "/on_failure").await;
}

#[tokio::test]
async fn an_application_without_a_tenant_names_one_and_gets_that_one() {
    let host = TestHost::new().tenant("acme").tenant("globex").await;
    let release: Release = append("acme.aa", 'a').signed_by(ALICE);
    host.admin().install_release(&release).await;
    host.tenant_admin("acme").enable_here("acme.aa").await.expect(200);
    let app = host.client("app", None, &[Role::Host], &[]);
    app.declare_filter(HOOK).await.expect(200);
    let value = async |tenant: &str| {
        let request = app.request(Method::POST, &format!("/api/v1/hooks/{HOOK}/apply")).header("x-tenant-id", tenant);
        send(request.json(&json!({ "value": "" }))).await
    };

    assert_eq!(value("acme").await.json()["value"], "a");
    assert_eq!(value("globex").await.json()["value"], "");
    assert_eq!(value("nowhere").await.outcome(), (404, "not-found".to_owned()));
    assert_eq!(app.apply(HOOK, &json!("")).await.outcome(), (422, "tenant-required".to_owned()));
}

#[tokio::test]
async fn a_plugin_without_the_hook_is_left_alone() {
    let host = TestHost::new().tenant("acme").with(ROUTES).await;
    host.app("acme").declare_filter(HOOK).await.expect(200);

    let answer = host.app("acme").apply(HOOK, &json!("x")).await.expect(200);

    assert_eq!(answer.json(), json!({ "value": "x", "failures": [] }));
}

#[tokio::test]
async fn a_hook_that_fails_closed_does_so_while_a_plugin_of_its_chain_does_not_serve() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let app = host.app("acme");
    app.declare("demo.greeting", &json!({ "kind": "filter", "on_failure": "closed" })).await.expect(200);
    app.apply("demo.greeting", &json!("ada")).await.expect(200);

    // Without its table the plugin is not healthy, and a plugin that is not healthy does not serve.
    let consent = json!({ "interfaces": [] });
    host.tenant_admin("acme").post_json("/api/v1/tenant/plugins/acme.hello/consent", &consent).await;
    let closed = app.apply("demo.greeting", &json!("ada")).await;
    let elsewhere = host.app("globex").apply("demo.greeting", &json!("ada")).await;
    let host = host.restart().await;
    let after_restart = host.app("acme").apply("demo.greeting", &json!("ada")).await;
    host.app("acme").declare("demo.greeting", &json!({ "kind": "filter", "on_failure": "open" })).await.expect(200);
    let open = host.app("acme").apply("demo.greeting", &json!("ada")).await.expect(200).json();
    host.tenant_admin("acme").disable_here("acme.hello").await.expect(200);
    let disabled = host.app("acme").apply("demo.greeting", &json!("ada")).await.expect(200).json();

    assert_eq!(closed.outcome(), (403, "hook-closed".to_owned()));
    assert_eq!(after_restart.outcome(), (403, "hook-closed".to_owned()));
    elsewhere.expect(200);
    assert_eq!(open["value"], "ada");
    assert_eq!(open["failures"][0]["code"], "plugin-unavailable");
    assert_eq!(disabled, json!({ "value": "ada", "failures": [] }));
}
