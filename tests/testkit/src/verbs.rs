//! What people do with a host, as verbs of a client. Each is one request, except those that say that they wait.
//! They expect nothing: the answer is the test's to judge.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::client::{Client, send};
use crate::release::Release;
use crate::wait::{eventually, eventually_within};

/// Longest wait for an operation, which may be about a thousand tenants.
const OPERATION_MAX: Duration = Duration::from_secs(180);

/// For the fleet.
impl Client {
    /// Registers a release with its bundles.
    pub async fn publish(&self, release: &Release) -> Answer {
        self.publish_parts(&release.bytes, release.bundles.iter().map(String::as_bytes)).await
    }

    /// Registers any bytes with any bundles.
    pub async fn publish_parts<'a>(&self, artifact: &[u8], bundles: impl IntoIterator<Item = &'a [u8]>) -> Answer {
        let part = |bytes: &[u8], media_type| {
            Part::bytes(bytes.to_vec()).file_name("part").mime_str(media_type).expect("a media type")
        };
        let form = Form::new().part("artifact", part(artifact, "application/wasm"));
        let form = bundles.into_iter().fold(form, |form, bundle| form.part("bundle", part(bundle, "application/json")));
        send(self.request(Method::POST, "/api/v1/plugins").multipart(form)).await
    }

    /// Registers what a source names.
    pub async fn publish_from(&self, source: &Value) -> Answer {
        self.post_json("/api/v1/plugins", &json!({ "source": source })).await
    }

    /// Registers several releases in one request.
    pub async fn publish_together(&self, releases: &[&Release]) -> Answer {
        let part = |bytes: &[u8]| Part::bytes(bytes.to_vec()).file_name("part");
        let mut form = Form::new();
        for release in releases {
            form = form.part("artifact", part(&release.bytes));
            form = release.bundles.iter().fold(form, |form, bundle| form.part("bundle", part(bundle.as_bytes())));
        }
        send(self.request(Method::POST, "/api/v1/plugins").multipart(form)).await
    }

    /// Registers the releases of an archive.
    pub async fn publish_archive(&self, archive: Vec<u8>) -> Answer {
        let request = self.request(Method::POST, "/api/v1/plugins").header(CONTENT_TYPE, "application/x-tar");
        send(request.body(archive)).await
    }

    /// Installs several plugins together and waits for the end; the answer is the operation, or the refusal to begin.
    pub async fn install_together(&self, plugins: &[&str]) -> Answer {
        let plugins: Vec<Value> = plugins.iter().map(|id| json!({ "id": id })).collect();
        let begun = self.post_json("/api/v1/plugins/install", &json!({ "plugins": plugins })).await;
        self.ended(begun).await
    }

    /// Begins to install the version that was registered last.
    pub async fn begin_install(&self, plugin: &str) -> Answer {
        self.post_json(&format!("/api/v1/plugins/{plugin}/install"), &json!({})).await
    }

    /// Installs and waits for the end; the answer is the operation, or the refusal to begin.
    pub async fn install(&self, plugin: &str) -> Answer {
        let begun = self.begin_install(plugin).await;
        self.ended(begun).await
    }

    /// Registers and installs a release; the test ends if that does not succeed.
    pub async fn install_release(&self, release: &Release) {
        let published = self.publish(release).await;
        assert!(matches!(published.status, 200 | 201), "{}", published.text());
        let operation = self.install(&release.id).await.expect(200).json();
        assert_eq!(operation.get("status"), Some(&json!("succeeded")), "{operation:#}");
    }

    /// Waits for the end of the operation in an answer 202; any other answer is given back.
    pub async fn ended(&self, begun: Answer) -> Answer {
        if begun.status != 202 {
            return begun;
        }
        let path = begun.header("location").to_owned();
        eventually_within(OPERATION_MAX, "the end of an operation", || async {
            let answer = self.get(&path).await;
            let is_running = answer.json().get("status") == Some(&json!("running"));
            (!is_running).then_some(answer)
        })
        .await
    }

    /// Uninstalls and waits for the end; `query` is empty or begins with `?`.
    pub async fn uninstall(&self, plugin: &str, query: &str) -> Answer {
        let begun = self.delete(&format!("/api/v1/plugins/{plugin}{query}")).await;
        self.ended(begun).await
    }

    /// Lets tenants use a plugin.
    pub async fn enable(&self, plugin: &str) -> Answer {
        self.post(&format!("/api/v1/plugins/{plugin}/enable")).await
    }

    /// Stops a plugin for all tenants.
    pub async fn disable(&self, plugin: &str) -> Answer {
        self.post(&format!("/api/v1/plugins/{plugin}/disable")).await
    }

    /// A plugin of the fleet.
    pub async fn plugin(&self, plugin: &str) -> Answer {
        self.get(&format!("/api/v1/plugins/{plugin}")).await
    }

    /// The state of a plugin in the fleet.
    pub async fn status_of(&self, plugin: &str) -> String {
        let plugin = self.plugin(plugin).await.expect(200).json();
        plugin.get("status").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Every plugin of the fleet.
    pub async fn plugins(&self) -> Vec<Value> {
        items(&self.get("/api/v1/plugins").await)
    }

    /// Creates a tenant.
    pub async fn create_tenant(&self, tenant: &str) -> Answer {
        self.post_json("/api/v1/tenants", &json!({ "id": tenant })).await
    }

    /// Stops a plugin in all tenants.
    pub async fn kill(&self, plugin: &str) -> Answer {
        self.post_json(&format!("/api/v1/plugins/{plugin}/kill"), &json!({ "reason": "a test" })).await
    }

    /// Ends that stop.
    pub async fn revive(&self, plugin: &str) -> Answer {
        self.post_json(&format!("/api/v1/plugins/{plugin}/revive"), &json!({})).await
    }

    /// Stops a plugin in one tenant.
    pub async fn kill_in(&self, plugin: &str, tenant: &str) -> Answer {
        self.post_json(&format!("/api/v1/plugins/{plugin}/kill"), &json!({ "tenant": tenant, "reason": "a test" }))
            .await
    }

    /// Ends that stop.
    pub async fn revive_in(&self, plugin: &str, tenant: &str) -> Answer {
        self.post_json(&format!("/api/v1/plugins/{plugin}/revive"), &json!({ "tenant": tenant })).await
    }
}

/// For security.
impl Client {
    /// Installs a signed policy.
    pub async fn put_policy(&self, envelope: &str) -> Answer {
        let request = self.request(Method::PUT, "/api/v1/policy").header(CONTENT_TYPE, "application/json");
        send(request.body(envelope.to_owned())).await
    }
}

/// For a tenant's admin.
impl Client {
    /// Enables a plugin in the token's tenant.
    pub async fn enable_here(&self, plugin: &str) -> Answer {
        self.post(&format!("/api/v1/tenant/plugins/{plugin}/enable")).await
    }

    /// Disables a plugin in the token's tenant.
    pub async fn disable_here(&self, plugin: &str) -> Answer {
        self.post(&format!("/api/v1/tenant/plugins/{plugin}/disable")).await
    }

    /// Replaces a plugin's configuration.
    pub async fn configure(&self, plugin: &str, configuration: &Value) -> Answer {
        self.put_json(&format!("/api/v1/tenant/plugins/{plugin}/config"), configuration).await
    }

    /// A plugin's configuration.
    pub async fn configuration(&self, plugin: &str) -> Answer {
        self.get(&format!("/api/v1/tenant/plugins/{plugin}/config")).await
    }

    /// The last failed calls of a plugin in the tenant.
    pub async fn errors_here(&self, plugin: &str) -> Vec<Value> {
        items(&self.get(&format!("/api/v1/tenant/plugins/{plugin}/errors")).await)
    }
}

/// For users and the host application.
impl Client {
    /// `GET` of a plugin's route; `path` begins with `/`.
    pub async fn get_route(&self, plugin: &str, path: &str) -> Answer {
        self.get(&format!("/api/plugins/{plugin}{path}")).await
    }

    /// A request to a plugin's route, to be changed and sent.
    pub fn route(&self, method: Method, plugin: &str, path: &str) -> reqwest::RequestBuilder {
        self.request(method, &format!("/api/plugins/{plugin}{path}"))
    }

    /// Runs a value through a hook's filters.
    pub async fn apply(&self, hook: &str, value: &Value) -> Answer {
        self.post_json(&format!("/api/v1/hooks/{hook}/apply"), &json!({ "value": value, "args": [] })).await
    }

    /// Tells a hook's actions.
    pub async fn dispatch(&self, hook: &str, args: &Value) -> Answer {
        self.post_json(&format!("/api/v1/hooks/{hook}/dispatch"), &json!({ "args": args })).await
    }

    /// Declares a filter without a schema that fails open.
    pub async fn declare_filter(&self, hook: &str) -> Answer {
        self.declare(hook, &json!({ "kind": "filter" })).await
    }

    /// Declares a hook.
    pub async fn declare(&self, hook: &str, declaration: &Value) -> Answer {
        self.put_json(&format!("/api/v1/hooks/{hook}"), declaration).await
    }

    /// Waits until a plugin takes calls again, for example after a restart.
    pub async fn ready(&self, plugin: &str) {
        eventually("a plugin that serves", || async {
            let answer = self.get_route(plugin, "/ready").await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

/// The items of a list.
pub(crate) fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
        .json()
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_else(|| panic!("no list: {}", answer.text()))
}
