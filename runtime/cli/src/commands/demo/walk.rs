//! Walks through the story: sends each request, shows it with its answer, compares the answer.
//! It judges by what the scene says alone.

use reqwest::{Method, Url};
use serde_json::Value;

use super::scene::{Actor, Scene, Sent, Step};
use super::stage::Stage;
use crate::client::{Answer, Client};
use crate::commands::plugin;
use crate::error::Error;
use crate::output::Output;
use crate::view;

/// Longest answer that is shown as it is, in bytes.
const SHOWN_MAX: usize = 110;
/// How often the calm step is done while another runs.
const MEANWHILE: usize = 20;

/// A walk over one host.
pub(super) struct Walk<'a> {
    /// What lies ready.
    pub(super) stage: &'a Stage,
    /// The host.
    pub(super) server: Url,
    /// Where it is told.
    pub(super) output: Output,
}

impl Walk<'_> {
    /// Tells every scene; stops at the first answer that is another than the story's.
    pub(super) async fn tell(&self, scenes: &[Scene]) -> Result<(), Error> {
        for (number, scene) in (1..).zip(scenes) {
            self.output.title(&format!("\n{number}. {}", scene.title));
            for step in &scene.steps {
                self.show(step).await?;
            }
        }
        Ok(())
    }

    async fn show(&self, step: &Step) -> Result<(), Error> {
        let (answer, undisturbed) = match &step.meanwhile {
            None => (self.take(step).await?, None),
            Some(calm) => {
                let (answer, calm) = tokio::join!(self.take(step), self.repeat(calm));
                (answer?, Some(calm?))
            }
        };
        let sent = described(&step.sent, self.stage);
        self.output.plain(&format!("   {:<12} {sent}", name(step.actor)));
        self.output.plain(&format!("   {:>12} {} {}", "->", answer.status, summary(step, &answer.body)));
        compare(step, &sent, &answer)?;
        if let Some(count) = undisturbed {
            let calm = step.meanwhile.as_ref().map(|calm| name(calm.actor)).unwrap_or_default();
            self.output.plain(&format!("   {calm:<12} {count} calls meanwhile, each answered as before"));
        }
        Ok(())
    }

    /// Does a step and follows it to its end.
    async fn take(&self, step: &Step) -> Result<Answer, Error> {
        let client = Client::of(self.server.clone(), Some(self.stage.token(step.actor)?))?;
        let answer = self.send(&client, &step.sent).await?;
        if step.is_operation && answer.status == step.status {
            let body = plugin::follow(&client, answer.body, |_| {}).await?;
            return Ok(Answer { body, ..answer });
        }
        Ok(answer)
    }

    async fn repeat(&self, step: &Step) -> Result<usize, Error> {
        for _ in 0..MEANWHILE {
            compare(step, &described(&step.sent, self.stage), &self.take(step).await?)?;
        }
        Ok(MEANWHILE)
    }

    async fn send(&self, client: &Client, sent: &Sent) -> Result<Answer, Error> {
        let publish = |bytes, bundles| client.exchange_artifact("/api/v1/plugins", bytes, bundles);
        match sent {
            Sent::Request { method, path, body } => client.exchange(method.clone(), path, body.as_ref()).await,
            Sent::Signed(guest) => {
                let release = self.stage.release(*guest);
                publish(release.bytes.clone(), vec![release.bundle.clone()]).await
            }
            Sent::Unsigned(guest) => publish(self.stage.release(*guest).bytes.clone(), Vec::new()).await,
            Sent::Flipped(guest) => {
                let release = self.stage.release(*guest);
                publish(flipped(&release.bytes), vec![release.bundle.clone()]).await
            }
            Sent::Policy => {
                let envelope = serde_json::from_slice(&self.stage.policy).unwrap_or_default();
                client.exchange(Method::PUT, "/api/v1/policy", Some(&envelope)).await
            }
        }
    }
}

/// The first letter of the manifest's description in the other case: one bit, and still a well-formed
/// artifact, so that nothing but the signature can notice.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = br#""description":""#;
    let found = bytes.windows(BEFORE.len()).position(|window| window == BEFORE);
    let mut bytes = bytes.to_vec();
    if let Some(letter) = found.and_then(|at| bytes.get_mut(at + BEFORE.len())) {
        *letter ^= 0x20;
    }
    bytes
}

/// An error that says what differs.
fn compare(step: &Step, sent: &str, answer: &Answer) -> Result<(), Error> {
    let differs = |what: String| Error::Step {
        what: "walk through the demo",
        reason: format!("`{sent}` by {}: {what}; the answer was {}", name(step.actor), answer.body),
        next: "see the host's log; report it with this output if the sources are unchanged".to_owned(),
    };
    if answer.status != step.status {
        return Err(differs(format!("status {} instead of {}", answer.status, step.status)));
    }
    for (pointer, wanted) in &step.fields {
        let found = answer.body.pointer(pointer).unwrap_or(&Value::Null);
        if found != wanted {
            return Err(differs(format!("`{pointer}` is {found} instead of {wanted}")));
        }
    }
    Ok(())
}

/// Who acts, as the story names them.
pub(super) fn name(actor: Actor) -> &'static str {
    match actor {
        Actor::Operator => "operator",
        Actor::Security => "security",
        Actor::AcmeApp => "acme's app",
        Actor::GlobexApp => "globex's app",
        Actor::Ada => "ada@acme",
        Actor::Gus => "gus@globex",
        Actor::Eve => "eve@acme",
    }
}

fn described(sent: &Sent, stage: &Stage) -> String {
    let artifact = |guest, how: &str| format!("POST /api/v1/plugins  {}, {how}", stage.release(guest).name);
    match sent {
        Sent::Request { method, path, body: None } => format!("{method} {path}"),
        Sent::Request { method, path, body: Some(body) } if body.as_object().is_some_and(serde_json::Map::is_empty) => {
            format!("{method} {path}")
        }
        Sent::Request { method, path, body: Some(body) } => format!("{method} {path}  {body}"),
        Sent::Signed(guest) => artifact(*guest, "signed"),
        Sent::Unsigned(guest) => artifact(*guest, "not signed"),
        Sent::Flipped(guest) => artifact(*guest, "signed, then one bit flipped"),
        Sent::Policy => "PUT /api/v1/policy  signed by the root key".to_owned(),
    }
}

/// The part of an answer that is worth a line: a problem's title, a short answer as it is, of a long one
/// what the story is about.
fn summary(step: &Step, body: &Value) -> String {
    let code = view::field(body, "/code");
    if !code.is_empty() {
        return format!("{code}: {}", view::field(body, "/title"));
    }
    let whole = body.to_string();
    if whole.len() <= SHOWN_MAX {
        return whole;
    }
    let told = step.fields.iter().map(|(pointer, value)| format!("{} {value}", pointer.trim_start_matches('/')));
    let known = ["/plugin_id", "/id", "/tenant_id", "/version", "/status"].map(|pointer| view::field(body, pointer));
    let told: Vec<String> = if step.fields.is_empty() {
        // Ids that no person would compare say nothing here.
        known.into_iter().filter(|text| !text.is_empty() && text.len() < 32).collect()
    } else {
        told.collect()
    };
    told.join(", ")
}
