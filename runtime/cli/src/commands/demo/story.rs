//! The story itself: what a person should have seen after ten minutes with the product.
//! Each answer is compared, so that the story cannot promise what the host does not do.

use serde_json::json;

use super::scene::Actor::{AcmeApp, Ada, Eve, GlobexApp, Gus, Operator, Security};
use super::scene::Guest::{Hello, Hostile, Notes};
use super::scene::{Scene, Sent, Step};

/// All scenes in their order.
pub(super) fn scenes() -> Vec<Scene> {
    [admission(), installation(), work(), limits()].into_iter().flatten().collect()
}

fn admission() -> Vec<Scene> {
    vec![
        Scene::new(
            "Two tenants share this host",
            [
                Step::post(Operator, "/api/v1/tenants", json!({ "id": "acme-corp" })).answers(201),
                Step::post(Operator, "/api/v1/tenants", json!({ "id": "globex" })).answers(201),
            ],
        ),
        Scene::new(
            "Nobody has signed this plugin: it is refused",
            [Step::send(Operator, Sent::Unsigned(Hello)).refused(403, "unsigned")],
        ),
        Scene::new(
            "It is signed, but a fresh host trusts nobody",
            [Step::send(Operator, Sent::Signed(Hello)).refused(403, "unknown-signer")],
        ),
        Scene::new(
            "The security officer installs a policy: this author may ship these plugins",
            [
                Step::send(Operator, Sent::Policy).refused(403, "role-required"),
                Step::send(Security, Sent::Policy).with("/version", 1),
            ],
        ),
        Scene::new(
            "The same signed files are taken now; with one bit flipped they are not",
            [
                Step::send(Operator, Sent::Signed(Hello)).answers(201).with("/status", "registered"),
                Step::send(Operator, Sent::Signed(Notes)).answers(201),
                Step::send(Operator, Sent::Flipped(Notes)).answers(403).with("/code", "digest-mismatch"),
            ],
        ),
    ]
}

fn installation() -> Vec<Scene> {
    vec![
        Scene::new(
            "Both are installed: verified again, compiled in a process of its own, tried once",
            [
                Step::post(Operator, "/api/v1/plugins/acme.hello/install", json!({})).followed(),
                Step::post(Operator, "/api/v1/plugins/acme.notes/install", json!({})).followed(),
                Step::post(Operator, "/api/v1/plugins/acme.hello/enable", json!({})).with("/status", "active"),
                Step::post(Operator, "/api/v1/plugins/acme.notes/enable", json!({})).with("/status", "active"),
            ],
        ),
        Scene::new(
            "Each tenant enables them for itself: its own tables are made, then the plugin starts",
            [
                Step::post(Operator, "/api/v1/tenant/plugins/acme.hello/enable?tenant=acme-corp", json!({})),
                Step::post(Operator, "/api/v1/tenant/plugins/acme.hello/enable?tenant=globex", json!({})),
                Step::post(Operator, "/api/v1/tenant/plugins/acme.notes/enable?tenant=acme-corp", json!({})),
                Step::post(Operator, "/api/v1/tenant/plugins/acme.notes/enable?tenant=globex", json!({})),
                Step::put(
                    Operator,
                    "/api/v1/tenant/plugins/acme.hello/config?tenant=globex",
                    json!({ "greeting": "Ciao" }),
                ),
            ],
        ),
    ]
}

fn work() -> Vec<Scene> {
    let hook = "/api/v1/hooks/demo.greeting";
    vec![
        Scene::new(
            "An application passes a value through its hook, and the plugin changes it, for each tenant its way",
            [
                Step::put(AcmeApp, hook, json!({ "kind": "filter" })),
                Step::post(AcmeApp, &format!("{hook}/apply"), json!({ "value": "world", "args": [] }))
                    .with("/value", "Hello, world!"),
                Step::post(GlobexApp, &format!("{hook}/apply"), json!({ "value": "world", "args": [] }))
                    .with("/value", "Ciao, world!"),
            ],
        ),
        Scene::new(
            "A plugin answers requests",
            [
                Step::get(Ada, "/api/plugins/acme.hello/hello").with("/message", "Hello, ada!"),
                Step::get(Gus, "/api/plugins/acme.hello/hello").with("/message", "Ciao, gus!"),
            ],
        ),
        Scene::new(
            "Each tenant has its own data: the same tables, never the same rows",
            [
                Step::post(
                    Ada,
                    "/api/plugins/acme.notes/notes",
                    json!({ "title": "Only for Acme", "body": "secret plans" }),
                )
                .answers(201)
                .with("/title", "Only for Acme"),
                Step::get(Ada, "/api/plugins/acme.notes/stats").with("/notes", 1),
                Step::get(Gus, "/api/plugins/acme.notes/stats").with("/notes", 0),
            ],
        ),
        Scene::new(
            "A user without the permission never reaches the plugin",
            [Step::get(Eve, "/api/plugins/acme.notes/notes").refused(403, "permission-denied")],
        ),
    ]
}

fn limits() -> Vec<Scene> {
    let calm = || Step::get(Gus, "/api/plugins/acme.hello/hello").with("/message", "Ciao, gus!");
    vec![
        Scene::new(
            "A plugin that never returns is stopped by its compute budget, while others work on",
            [
                Step::send(Operator, Sent::Signed(Hostile)).answers(201),
                Step::post(Operator, "/api/v1/plugins/acme.hostile/install", json!({})).followed(),
                Step::post(Operator, "/api/v1/plugins/acme.hostile/enable", json!({})),
                Step::post(Operator, "/api/v1/tenant/plugins/acme.hostile/enable?tenant=acme-corp", json!({})),
                Step::put(AcmeApp, "/api/v1/hooks/demo.forever", json!({ "kind": "filter" })),
                Step::post(AcmeApp, "/api/v1/hooks/demo.forever/apply", json!({ "value": "unharmed", "args": [] }))
                    .with("/value", "unharmed")
                    .with("/failures/0/plugin", "acme.hostile")
                    .with("/failures/0/code", "fuel-exhausted")
                    .while_others(calm()),
            ],
        ),
        Scene::new(
            "An operator stops a plugin for one tenant at once, and lets it go on",
            [
                Step::post(Operator, "/api/v1/plugins/acme.hello/kill", json!({ "tenant": "acme-corp" })),
                Step::get(Ada, "/api/plugins/acme.hello/hello").refused(403, "plugin-killed"),
                calm(),
                Step::post(Operator, "/api/v1/plugins/acme.hello/revive", json!({ "tenant": "acme-corp" })),
                Step::get(Ada, "/api/plugins/acme.hello/hello").with("/message", "Hello, ada!"),
            ],
        ),
        Scene::new(
            "All of it is on record, in a chain that shows any later change",
            [Step::get(Security, "/api/v1/audit/verify").with("/intact", true)],
        ),
    ]
}
