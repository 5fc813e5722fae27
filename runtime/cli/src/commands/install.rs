//! `bulkhead plugin install ...`: registers what is named, then installs it, following the operation to its end. What it is
//! and whether it may is decided by the host.

use std::path::{Path, PathBuf};

use bulkhead_model::{Code, PluginId, Version};
use bulkhead_oci::layout::ARCHIVE_BYTES_MAX;
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::plugin::{follow, path, release_named};
use crate::client::{Answer, Client};
use crate::commands::publish;
use crate::error::Error;
use crate::{file, source};

const EXAMPLES: &str = "\
Examples:
  bulkhead plugin install crm-1.2.0.wasm           publish with the bundles beside it, then install
  bulkhead plugin install acme.crm@1.2.0           install a registered release, or one of the host's registry
  bulkhead plugin install billing.wasm crm.wasm    several, in the order of their dependencies, all or none
  bulkhead plugin install set.tar                  the releases of an archive, likewise
  bulkhead plugin install oci://registry.example/acme/crm:1.2.0
  bulkhead plugin install npm:@acme/crm@1.2.0 --credential npm
  bulkhead plugin install github:acme/crm@v1.2.0#crm-1.2.0.wasm
  bulkhead plugin install https://plugins.example/crm-1.2.0.wasm#sha256:...
  bulkhead plugin install --source '{\"kind\": \"directory\", \"path\": \"crm-1.2.0.wasm\"}'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Install {
    /// Artifacts to publish and install, registered releases such as `acme.crm@1.2.0`, an archive `.tar`, or a source
    #[arg(value_name = "FILE|ID@VERSION|SOURCE", required_unless_present = "source", num_args = 1..)]
    targets: Vec<String>,
    /// Where to fetch it from, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "targets")]
    source: Option<String>,
    /// Credential of the host's configuration to fetch with
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
    /// Mean it that the version is older than the one installed last
    #[arg(long, requires = "reason")]
    rollback: bool,
    /// Why one goes back, for the audit log
    #[arg(long, value_name = "TEXT", requires = "rollback")]
    reason: Option<String>,
}

/// What is installed: a plugin and its version.
type Chosen = Vec<(PluginId, Version)>;

impl Install {
    pub(crate) async fn run(&self, context: &Context, client: &Client) -> Result<(), Error> {
        let named = self.targets.join(", ");
        let progress = context.output.progress(&format!("installing `{named}`"));
        let chosen = self.register(client, |step| progress.step(step)).await?;
        let text = chosen.iter().map(|(id, version)| format!("{id} {version}")).collect::<Vec<_>>().join(", ");
        let answer = self.begin(client, &chosen).await?;
        let verb = if chosen.len() == 1 { "is" } else { "are" };
        if self.detach || answer.status != 202 {
            drop(progress);
            context.output.result(&answer.body, &format!("{text} {verb} being installed"));
            return Ok(());
        }
        let operation = follow(client, answer.body, |step| progress.step(&format!("{text}: {step}"))).await?;
        drop(progress);
        let first = chosen.first().map_or_else(|| "ID".to_owned(), |(id, _)| id.to_string());
        let next = format!(
            "{text} {verb} installed\nnext: bulkhead plugin enable {first}, then for a tenant bulkhead tenant-plugin enable {first} --tenant TENANT"
        );
        context.output.result(&operation, &next);
        Ok(())
    }

    /// Registers what is not registered, and says what it is.
    async fn register(&self, client: &Client, step: impl Fn(&str)) -> Result<Chosen, Error> {
        if let Some(source) = &self.source {
            step("fetching");
            return self.fetch(client, source::parse_json(source)?).await;
        }
        if let [target] = self.targets.as_slice() {
            if let Some(source) = source::parse(target)? {
                step(&format!("fetching `{target}`"));
                return self.fetch(client, source).await;
            }
            if target.ends_with(".tar") {
                step(&format!("publishing `{target}`"));
                let archive = file::read(Path::new(target), u64::try_from(ARCHIVE_BYTES_MAX).unwrap_or(u64::MAX))?;
                return registered(client, &client.post_archive("/api/v1/plugins", archive).await?);
            }
            return match release_named(target)? {
                Some(release) => Ok(vec![release]),
                None => {
                    step(&format!("publishing `{target}`"));
                    publish::register(client, Path::new(target)).await.map(|release| vec![release])
                }
            };
        }
        self.register_several(client, step).await
    }

    /// Files are sent in one request, so that all of them are admitted or none.
    async fn register_several(&self, client: &Client, step: impl Fn(&str)) -> Result<Chosen, Error> {
        let (mut chosen, mut files): (Chosen, Vec<PathBuf>) = (Vec::new(), Vec::new());
        for target in &self.targets {
            if target.ends_with(".tar") || source::parse(target)?.is_some() {
                return Err(Error::Usage {
                    what: format!("`{target}` is not installed together with others"),
                    next: "name several files or registered releases, or one archive or source".to_owned(),
                });
            }
            match release_named(target)? {
                Some(release) => chosen.push(release),
                None => files.push(PathBuf::from(target)),
            }
        }
        if !files.is_empty() {
            step("publishing");
            chosen.extend(registered(client, &publish::send_several(client, &files).await?)?);
        }
        Ok(chosen)
    }

    async fn fetch(&self, client: &Client, mut source: Value) -> Result<Chosen, Error> {
        if let (Some(credential), Some(fields)) = (&self.credential, source.as_object_mut()) {
            fields.insert("credential".to_owned(), json!(credential));
        }
        registered(client, &client.post_slow("/api/v1/plugins", &json!({ "source": source })).await?)
    }

    /// One plugin by itself, several as one. A release that is not registered may be one that the host's registry offers.
    async fn begin(&self, client: &Client, chosen: &Chosen) -> Result<Answer, Error> {
        let [(id, version)] = chosen.as_slice() else {
            if self.rollback {
                return Err(Error::Usage {
                    what: "several plugins do not go back together".to_owned(),
                    next: "install each older version by itself".to_owned(),
                });
            }
            let member =
                |(id, version): &(PluginId, Version)| json!({ "id": id.as_str(), "version": version.to_string() });
            let plugins: Vec<Value> = chosen.iter().map(member).collect();
            return client.post("/api/v1/plugins/install", &[], &json!({ "plugins": plugins })).await;
        };
        let body = match &self.reason {
            Some(reason) => json!({ "version": version.to_string(), "rollback": self.rollback, "reason": reason }),
            None => json!({ "version": version.to_string() }),
        };
        match client.post(&path(id, "/install"), &[], &body).await {
            Err(Error::Problem(problem)) if problem.code() == Some(Code::NotFound) => {
                let source = json!({ "kind": "registry", "plugin": id.as_str(), "version": version.to_string() });
                if client.post_slow("/api/v1/plugins", &json!({ "source": source })).await.is_err() {
                    return Err(Error::Problem(problem));
                }
                client.post(&path(id, "/install"), &[], &body).await
            }
            answer => answer,
        }
    }
}

/// What the host says that it registered: one plugin, or a list.
fn registered(client: &Client, answer: &Answer) -> Result<Chosen, Error> {
    let one = |plugin: &Value| {
        let text = |name: &str| plugin.get(name).and_then(Value::as_str);
        Some((text("id")?.parse().ok()?, text("version")?.parse().ok()?))
    };
    let found: Option<Chosen> = match answer.body.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(one).collect(),
        None => one(&answer.body).map(|plugin| vec![plugin]),
    };
    found.filter(|found| !found.is_empty()).ok_or_else(|| client.answer("no registered plugin".to_owned()))
}
