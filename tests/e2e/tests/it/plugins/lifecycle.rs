//! A plugin's way through the fleet: install, enable, disable, uninstall, and every step that a state does not allow.
//! The operations themselves are followed in `operations`.

use bulkhead_testkit::guests::{self, HELLO, NOTES, hostile};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, Client, TestHost, eventually};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

/// A plugin that is quick to compile and needs no storage.
const ECHO: &str = "hostile.echo";

/// A host with [`ECHO`] registered.
async fn registered() -> TestHost {
    let host = TestHost::new().tenant("acme").await;
    host.admin().publish(&hostile("echo").signed_by(ALICE)).await.expect(201);
    host
}

/// What is said of each step but those named.
async fn try_all(admin: &Client, but: &[&str]) -> Vec<String> {
    let mut refusals = Vec::new();
    for step in ["install", "enable", "disable", "uninstall"].into_iter().filter(|step| !but.contains(step)) {
        let answer = take(admin, step).await;
        assert_eq!(answer.outcome(), (409, "refused-transition".to_owned()), "{step}: {}", answer.text());
        refusals.push(answer.problem()["detail"].as_str().unwrap().to_owned());
    }
    refusals
}

async fn take(admin: &Client, step: &str) -> Answer {
    match step {
        "install" => admin.install(ECHO).await,
        "enable" => admin.enable(ECHO).await,
        "disable" => admin.disable(ECHO).await,
        _ => admin.uninstall(ECHO, "").await,
    }
}

#[tokio::test]
async fn a_plugin_walks_from_registered_to_uninstalled_and_back() {
    let host = registered().await;
    let admin = host.admin();
    let mut states = Vec::new();

    for step in ["install", "enable", "disable", "enable", "disable", "uninstall"] {
        let answer = take(&admin, step).await;
        assert_eq!(answer.status, 200, "{step}: {}", answer.text());
        states.push(admin.status_of(ECHO).await);
    }
    admin.publish(&hostile("echo").source().version("0.2.0").signed_by(ALICE)).await.expect(201);
    states.push(admin.status_of(ECHO).await);

    assert_eq!(states, ["installed", "active", "disabled", "active", "disabled", "uninstalled", "registered"]);
}

#[tokio::test]
async fn a_step_that_the_state_does_not_allow_names_those_that_it_does() {
    let host = registered().await;
    let admin = host.admin();

    let mut refusals = try_all(&admin, &["install"]).await;
    take(&admin, "install").await.expect(200);
    refusals.extend(try_all(&admin, &["enable", "uninstall"]).await);
    take(&admin, "enable").await.expect(200);
    refusals.extend(try_all(&admin, &["disable"]).await);
    take(&admin, "disable").await.expect(200);
    refusals.extend(try_all(&admin, &["enable", "uninstall"]).await);
    take(&admin, "uninstall").await.expect(200);
    refusals.extend(try_all(&admin, &[]).await);

    assert_json_snapshot!(refusals, @r#"
    [
      "a plugin that is registered cannot enable; legal from here: install",
      "a plugin that is registered cannot disable; legal from here: install",
      "a plugin that is registered cannot uninstall; legal from here: install",
      "a plugin that is installed cannot install; legal from here: enable, uninstall, update",
      "a plugin that is installed cannot disable; legal from here: enable, uninstall, update",
      "a plugin that is active cannot install; legal from here: disable, update",
      "a plugin that is active cannot enable; legal from here: disable, update",
      "a plugin that is active cannot uninstall; legal from here: disable, update",
      "a plugin that is disabled cannot install; legal from here: enable, uninstall, update",
      "a plugin that is disabled cannot disable; legal from here: enable, uninstall, update",
      "a plugin that is uninstalled cannot install; legal from here: register",
      "a plugin that is uninstalled cannot enable; legal from here: register",
      "a plugin that is uninstalled cannot disable; legal from here: register",
      "a plugin that is uninstalled cannot uninstall; legal from here: register"
    ]
    "#);
    assert_eq!(admin.status_of(ECHO).await, "uninstalled");
}

#[tokio::test]
async fn a_refused_step_is_a_problem_about_the_plugin() {
    let host = registered().await;

    let answer = host.admin().enable(ECHO).await;

    assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "refused-transition",
      "detail": "a plugin that is registered cannot enable; legal from here: install",
      "plugin": "hostile.echo",
      "status": 409,
      "title": "The state does not allow this step",
      "type": "/problems/refused-transition"
    }
    "#);
}

#[tokio::test]
async fn a_tenants_first_enable_makes_an_installed_plugin_active() {
    let host = registered().await;
    host.admin().install(ECHO).await.expect(200);

    let here = host.tenant_admin("acme").enable_here(ECHO).await.expect(200).json();

    assert_eq!((here["status"].clone(), here["enabled"].clone()), (json!("ready"), json!(true)));
    assert_eq!(here["current_version"], "0.1.0");
    let plugin = host.admin().plugin(ECHO).await.json();
    assert_eq!((plugin["status"].clone(), plugin["tenants_enabled"].clone()), (json!("active"), json!(1)));
}

#[tokio::test]
async fn what_the_fleet_disables_serves_nobody_and_serves_again_when_enabled() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(HELLO).await;
    let admin = host.admin();
    let greet = async |tenant: &str| {
        host.user(tenant, &["acme.hello.hello.greet"]).get_route("acme.hello", "/hello").await.outcome()
    };
    assert_eq!(greet("acme").await, (200, String::new()));

    admin.disable("acme.hello").await.expect(200);
    let disabled = (greet("acme").await, greet("globex").await);
    admin.enable("acme.hello").await.expect(200);

    assert_eq!(disabled, ((404, "not-found".to_owned()), (404, "not-found".to_owned())));
    assert_eq!((greet("acme").await.0, greet("globex").await.0), (200, 200));
}

#[tokio::test]
async fn an_uninstall_keeps_data_unless_it_is_told_to_drop_it() {
    let host = TestHost::new().tenant("acme").with(HELLO).await;
    let admin = host.admin();
    let user = host.user("acme", &["acme.hello.hello.greet"]);
    let visit = async || user.get_route("acme.hello", "/visits").await.expect(200).json()["total"].clone();
    let remove_and_come_back = async |query: &str| {
        admin.disable("acme.hello").await.expect(200);
        let operation = admin.uninstall("acme.hello", query).await.expect(200).json();
        assert_eq!(operation["status"], "succeeded");
        assert_eq!(user.get_route("acme.hello", "/visits").await.status, 404);
        admin.publish(&HELLO.signed_by(ALICE)).await;
        admin.install("acme.hello").await.expect(200);
        host.tenant_admin("acme").enable_here("acme.hello").await.expect(200);
        admin.enable("acme.hello").await;
    };
    assert_eq!(visit().await, 1);

    remove_and_come_back("").await;
    assert_eq!(visit().await, 2);
    remove_and_come_back("?data=keep").await;
    assert_eq!(visit().await, 3);
    remove_and_come_back("?data=drop").await;

    assert_eq!(visit().await, 1);
}

#[tokio::test]
async fn a_plugin_that_others_need_is_uninstalled_by_force_alone() {
    let host = registered().await;
    let admin = host.admin();
    let needs_echo = guests::hostile("panic").source().id("acme.needs").edit(|manifest| {
        manifest.dependencies.insert(ECHO.parse().unwrap(), "^0.1".parse().unwrap());
    });
    admin.publish(&needs_echo.signed_by(ALICE)).await.expect(201);

    let too_early = admin.install("acme.needs").await.expect(200).json();
    admin.install(ECHO).await.expect(200);
    admin.install("acme.needs").await.expect(200);
    let held = admin.uninstall(ECHO, "").await;

    assert_eq!(too_early["status"], "failed");
    assert_json_snapshot!(too_early["error"], @r#"
    {
      "code": "dependency-unmet",
      "detail": "needs `hostile.echo` ^0.1, found registered 0.1.0",
      "title": "A plugin that this one needs is missing"
    }
    "#);
    assert_json_snapshot!(held.problem(), @r#"
    {
      "code": "conflict",
      "detail": "these plugins need `hostile.echo`: acme.needs; uninstall them first, or force, which disables them",
      "plugin": "hostile.echo",
      "status": 409,
      "title": "The request conflicts with what is there",
      "type": "/problems/conflict"
    }
    "#);
    host.tenant_admin("acme").enable_here("acme.needs").await.expect(200);
    admin.uninstall(ECHO, "?force=true").await.expect(200);

    assert_eq!(admin.status_of(ECHO).await, "uninstalled");
    let dependant = admin.plugin("acme.needs").await.json();
    assert_eq!(dependant["status"], "disabled");
    assert_eq!(dependant["last_error"], "it needs `hostile.echo`, which was uninstalled");
}

#[tokio::test]
async fn plugins_that_need_each_other_are_told_so() {
    let host = registered().await;
    let admin = host.admin();
    for (id, needs) in [("acme.one", "acme.two"), ("acme.two", "acme.three"), ("acme.three", "acme.one")] {
        let release = guests::hostile("panic").source().id(id).edit(|manifest| {
            manifest.dependencies.insert(needs.parse().unwrap(), "^0.1".parse().unwrap());
        });
        admin.publish(&release.signed_by(ALICE)).await.expect(201);
    }

    let operation = admin.install("acme.one").await.expect(200).json();

    assert_eq!(operation["error"]["code"], "dependency-unmet");
    assert_eq!(
        operation["error"]["detail"],
        "needs `acme.two` ^0.1, found registered 0.1.0; they need each other: acme.one needs acme.two needs acme.three needs acme.one"
    );
}

#[tokio::test]
async fn an_install_under_a_policy_that_changed_fails_and_leaves_it_registered() {
    let host = registered().await;
    host.install_policy("[[principal]]\nname = \"bob\"\nkeys = [\"bob\"]\n[[allow]]\nid = \"bob\"\nplugin = \"bob.*\"\nsigners = [{ role = \"author\", of = [\"bob\"], threshold = 1 }]\ntenants = [\"*\"]\n").await;

    let operation = host.admin().install(ECHO).await.expect(200).json();

    assert_eq!(operation["status"], "failed");
    assert_eq!(operation["error"]["code"], "unknown-signer");
    let plugin = host.admin().plugin(ECHO).await.json();
    assert_eq!(plugin["status"], "registered");
    assert!(plugin["last_error"].as_str().unwrap().starts_with("unknown-signer"), "{plugin}");
}

#[tokio::test]
async fn an_older_version_can_be_installed_by_name() {
    let host = TestHost::new().await;
    let admin = host.admin();
    for version in ["0.1.0", "0.2.0"] {
        admin.publish(&hostile("echo").source().version(version).signed_by(ALICE)).await.expect(201);
    }

    let begun =
        admin.post_json(&format!("/api/v1/plugins/{ECHO}/install"), &json!({ "version": "0.1.0" })).await.expect(202);
    admin.ended(begun).await;

    assert_eq!(admin.plugin(ECHO).await.json()["version"], "0.1.0");
    let unknown = admin.post_json(&format!("/api/v1/plugins/{ECHO}/install"), &json!({ "version": "7.0.0" })).await;
    assert_eq!(unknown.outcome(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn every_plugin_survives_a_restart_in_its_state() {
    let host = TestHost::new().tenant("acme").with(HELLO).with(NOTES).await;
    host.admin().publish(&hostile("echo").signed_by(ALICE)).await.expect(201);
    host.admin().disable("acme.notes").await.expect(200);
    let states = async |host: &TestHost| -> Vec<(Value, Value)> {
        host.admin().plugins().await.iter().map(|plugin| (plugin["id"].clone(), plugin["status"].clone())).collect()
    };
    let before = states(&host).await;

    let host = host.restart().await;

    assert_eq!(states(&host).await, before);
    let user = host.user("acme", &["acme.hello.hello.greet"]);
    user.ready("acme.hello").await;
    user.get_route("acme.hello", "/hello").await.expect(200);
    assert_eq!(user.get_route("acme.notes", "/notes").await.status, 404);
}

#[tokio::test]
async fn a_plugin_is_told_that_it_ends_when_its_calls_have_ended() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    let metrics = Client::new(&format!("http://{}", host.metrics_address()), None);
    let ended = async || {
        let text = metrics.get("/metrics").await.text();
        let series =
            text.lines().find(|line| line.starts_with("bulkhead_calls_total{") && line.contains("\"shutdown\""));
        series.filter(|line| line.contains("acme.notes") && line.contains("\"ok\"") && line.ends_with(" 1")).map(|_| ())
    };
    assert!(ended().await.is_none());

    host.tenant_admin("acme").disable_here("acme.notes").await.expect(200);

    eventually("the plugin's end", ended).await;
}
