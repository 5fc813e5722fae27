//! Two tenants with the same plugins, and any sequence of calls: neither ever sees what is the other's. What each sees
//! is compared with a model that knows its own calls alone.

use std::collections::BTreeMap;

use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{BOARD, HELLO, NOTES, ROUTES};
use bulkhead_testkit::{Client, TestHost};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

const TENANTS: [&str; 2] = ["acme", "globex"];
/// Sequences that are tried, and the calls of each.
const SEQUENCES: u32 = 12;
const CALLS_MAX: usize = 20;

/// Something that a user of a tenant does. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Call {
    Write(u8),
    Change(u8),
    Delete(u8),
    /// Reads a note by an id of the other tenant.
    Peek(u8),
    List,
    /// Reads the notes as another plugin sees them.
    Board,
    Stats,
    Visit,
    Fail,
    Look,
}

fn call() -> impl Strategy<Value = (usize, Call)> {
    let call = prop_oneof![
        4 => any::<u8>().prop_map(Call::Write),
        2 => any::<u8>().prop_map(Call::Change),
        2 => any::<u8>().prop_map(Call::Delete),
        3 => any::<u8>().prop_map(Call::Peek),
        2 => Just(Call::List),
        2 => Just(Call::Board),
        1 => Just(Call::Stats),
        2 => Just(Call::Visit),
        1 => Just(Call::Fail),
        2 => Just(Call::Look),
    ];
    (0..TENANTS.len(), call)
}

/// What one tenant must see.
#[derive(Default)]
struct Model {
    /// Titles by id.
    notes: BTreeMap<String, String>,
    written: i64,
    deleted: i64,
    visits: i64,
    failures: usize,
}

struct Tenant {
    name: &'static str,
    user: Client,
    admin: Client,
    model: Model,
}

impl Tenant {
    fn new(host: &TestHost, name: &'static str) -> Self {
        let permissions =
            ["acme.notes.notes.view", "acme.notes.notes.edit", "acme.hello.hello.greet", "acme.board.board.view"];
        Self { name, user: host.user(name, &permissions), admin: host.tenant_admin(name), model: Model::default() }
    }

    fn pick(&self, number: u8) -> Option<String> {
        let count = self.model.notes.len();
        self.model.notes.keys().nth(usize::from(number) % count.max(1)).cloned()
    }

    async fn notes(&self, method: Method, path: &str, body: Option<Value>) -> bulkhead_testkit::Answer {
        let request = self.user.route(method, "acme.notes", path);
        send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    async fn run(&mut self, call: &Call, others_note: Option<String>) {
        match call {
            Call::Write(number) => {
                let title = format!("{} {number}", self.name);
                let note = self
                    .notes(Method::POST, "/notes", Some(json!({ "title": title, "tags": [self.name] })))
                    .await
                    .expect(201)
                    .json();
                self.model.notes.insert(note["id"].as_str().unwrap().to_owned(), title);
                self.model.written += 1;
            }
            Call::Change(number) => {
                let Some(id) = self.pick(*number) else { return };
                let read = self.notes(Method::GET, &format!("/notes/{id}"), None).await.expect(200).json();
                assert_eq!(read["title"], self.model.notes[&id]);
                let title = format!("{} changed {number}", self.name);
                let change = json!({ "revision": read["revision"], "title": title });
                self.notes(Method::PUT, &format!("/notes/{id}"), Some(change)).await.expect(200);
                self.model.notes.insert(id, title);
            }
            Call::Delete(number) => {
                let Some(id) = self.pick(*number) else { return };
                self.notes(Method::DELETE, &format!("/notes/{id}"), None).await.expect(204);
                self.model.notes.remove(&id);
                self.model.deleted += 1;
            }
            Call::Peek(number) => {
                let Some(id) = others_note else { return };
                for (method, body) in [
                    (Method::GET, None),
                    (Method::DELETE, None),
                    (Method::PUT, Some(json!({ "revision": 1, "title": format!("{number}") }))),
                ] {
                    self.notes(method, &format!("/notes/{id}"), body).await.expect(404);
                }
            }
            Call::List => self.check_list().await,
            Call::Board => self.check_board().await,
            Call::Stats => self.check_stats().await,
            Call::Visit => {
                let visit = self.user.get_route("acme.hello", "/visits").await.expect(200).json();
                self.model.visits += 1;
                assert_eq!(
                    (&visit["count"], &visit["total"]),
                    (&json!(self.model.visits), &json!(self.model.visits)),
                    "{}",
                    self.name
                );
            }
            Call::Fail => {
                self.user.get_route("test.routes", "/trap").await.expect(500);
                self.model.failures += 1;
            }
            Call::Look => self.check_what_the_host_tells().await,
        }
    }

    async fn check_list(&self) {
        let page = self.notes(Method::GET, "/notes?limit=50", None).await.expect(200).json();
        let seen: BTreeMap<String, String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|note| (note["id"].as_str().unwrap().to_owned(), note["title"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(seen, self.model.notes, "{}", self.name);
    }

    async fn check_board(&self) {
        let board = self.user.get_route("acme.board", "/board?limit=100").await.expect(200).json();
        let seen: BTreeMap<String, String> = board
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry["title"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(seen, self.model.notes, "{}", self.name);
    }

    async fn check_stats(&self) {
        let stats = self.notes(Method::GET, "/stats", None).await.expect(200).json();
        let model = &self.model;
        assert_eq!(
            stats,
            json!({ "notes": model.notes.len(), "written": model.written, "deleted": model.deleted }),
            "{}",
            self.name
        );
    }

    /// Errors with their logs, health and metrics are of this tenant alone.
    async fn check_what_the_host_tells(&self) {
        let errors = self.admin.errors_here("test.routes").await;
        assert_eq!(errors.len(), self.model.failures.min(20), "{}: {errors:?}", self.name);
        let mut told = serde_json::to_string(&errors).unwrap();
        // Of the plugin that has no health check, whose calls nobody makes but its users.
        let metrics = self.user.get_route("test.routes", "/metrics").await.expect(200).text();
        let counted: usize = metrics.lines().filter(|line| line.starts_with("bulkhead_calls_total{")).map(count).sum();
        assert_eq!(counted, self.model.failures, "{}: {metrics}", self.name);
        for plugin in ["acme.notes", "acme.hello", "acme.board", "test.routes"] {
            told.push_str(&self.user.get_route(plugin, "/health").await.expect(200).text());
            told.push_str(&self.user.get_route(plugin, "/metrics").await.expect(200).text());
            told.push_str(&serde_json::to_string(&self.admin.errors_here(plugin).await).unwrap());
        }
        told.push_str(&self.admin.get("/api/v1/tenant/plugins").await.expect(200).text());
        let other = TENANTS.into_iter().find(|other| *other != self.name).unwrap();
        // `acme` is also the namespace of the plugins; a tenant's name alone stands between quotes or after an `@`.
        for trace in [format!("\"{other}\""), format!("@{other}"), format!("{other} ")] {
            assert!(!told.contains(&trace), "{} was told of `{trace}`: {told}", self.name);
        }
    }
}

fn count(line: &str) -> usize {
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[test]
fn no_sequence_of_calls_shows_a_tenant_what_is_anothers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: SEQUENCES,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // One host for each sequence: a model begins empty.
    let sequences = proptest::collection::vec(call(), 1..CALLS_MAX);
    let outcome = runner.run(&sequences, |calls| {
        runtime.block_on(run(&calls));
        Ok(())
    });
    outcome.unwrap();
}

async fn run(calls: &[(usize, Call)]) {
    let host = TENANTS
        .iter()
        .fold(TestHost::new(), |builder, tenant| builder.tenant(tenant))
        .with(NOTES)
        .with(HELLO)
        .with(BOARD)
        .with(ROUTES)
        .await;
    let mut tenants = TENANTS.map(|name| Tenant::new(&host, name));
    for (index, call) in calls {
        let others_note = match call {
            Call::Peek(number) => tenants[1 - index].pick(*number),
            _ => None,
        };
        tenants[*index].run(call, others_note).await;
    }
    for tenant in &tenants {
        tenant.check_list().await;
        tenant.check_board().await;
        tenant.check_stats().await;
        tenant.check_what_the_host_tells().await;
    }
}

#[tokio::test]
async fn calls_of_two_tenants_at_once_stay_apart() {
    let host = TENANTS
        .iter()
        .fold(TestHost::new(), |builder, tenant| builder.tenant(tenant))
        .with(NOTES)
        .with(HELLO)
        .with(BOARD)
        .await;

    let work = |tenant: &'static str| {
        let mut tenant = Tenant::new(&host, tenant);
        tokio::spawn(async move {
            for number in 0..25 {
                tenant.run(&Call::Write(number), None).await;
                tenant.run(&Call::Visit, None).await;
                tenant.check_list().await;
                tenant.check_board().await;
            }
            tenant.check_stats().await;
        })
    };
    let (first, second) = (work(TENANTS[0]), work(TENANTS[1]));

    first.await.unwrap();
    second.await.unwrap();
}
