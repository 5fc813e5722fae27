//! `bulkhead demo`: a host in this process, two tenants, signed plugins, and a walk with real requests.
//! It uses the same API as everybody; nothing of it is arranged behind the host's back.

mod postgres;
mod scene;
mod stage;
mod story;
mod walk;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;

use bulkhead_server::{Config, Server};
use clap::Args;
use data_encoding::HEXLOWER;
use reqwest::Url;
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

use self::postgres::Cluster;
use self::scene::Actor;
use self::stage::Stage;
use self::walk::Walk;
use super::{Context, key, serve};
use crate::error::Error;
use crate::file::{self, Existing, PRIVATE};

const ABOUT: &str = "\
Starts a host on this machine with everything in a temporary folder, tells a story with real requests, \
compares each answer, then keeps running for you to try, until Ctrl-C.

Examples:
  cargo xtask demo                  from the sources: builds the plugins, then runs this
  cargo xtask demo --postgres       the same on a PostgreSQL of its own
  bulkhead demo --plugins plugins --smoke";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Demo {
    /// Do the walk and end; fails when an answer is another than the story's
    #[arg(long)]
    smoke: bool,
    /// Keep all data in a PostgreSQL that is started for the demo, in a temporary folder and without a network
    #[arg(long, conflicts_with = "data_dir")]
    postgres: bool,
    /// Folder with the demo's plugins, beside which `target/guests` holds them compiled
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    plugins: PathBuf,
    /// Address to listen on [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Folder for the host's data, kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let mut interrupted = pin!(told_to_end()?);
        let folder = self.folder()?;
        let cluster = if self.postgres { Some(Cluster::start().await?) } else { None };
        let database = cluster.as_ref().map(Cluster::url).transpose()?;
        let server = self.bind(&folder.path, database.as_ref()).await?;
        let address = server.addr;
        let url = Url::parse(&format!("http://{address}")).map_err(|error| Error::Usage {
            what: format!("`{address}`: {error}"),
            next: "name another address with `--listen`".to_owned(),
        })?;
        let stage = Stage::set(&self.plugins, &folder.path.join("keys"))?;
        let (end, ended) = oneshot::channel::<()>();
        // The end may also come by the sender's drop: both mean the same.
        let host = tokio::spawn(server.run(async move { ended.await.unwrap_or_default() }));
        context.output.plain(&format!("A host runs on {url} with its data in `{}`.", folder.path.display()));
        if let Some(database) = &database {
            context.output.plain(&format!("Its database is a PostgreSQL of its own: psql '{database}'"));
        }

        let walk = Walk { stage: &stage, server: url.clone(), output: context.output };
        let scenes = story::scenes();
        let told = tokio::select! {
            told = walk.tell(&scenes) => told,
            () = interrupted.as_mut() => Err(Error::Step {
                what: "walk through the demo",
                reason: "it was interrupted".to_owned(),
                next: "run it again".to_owned(),
            }),
        };
        if told.is_ok() {
            context.output.plain("\nEvery answer was the story's.");
        }
        if told.is_ok() && !self.smoke {
            context.output.plain(&invitation(&stage, &url, &folder.path)?);
            interrupted.await;
        }
        drop(end);
        let ran = host.await.map_err(|error| Error::Step {
            what: "run the host",
            reason: error.to_string(),
            next: "see its log above".to_owned(),
        })?;
        told?;
        ran.map_err(|error| serve::failed(&error))
    }

    async fn bind(&self, folder: &Path, database: Option<&Url>) -> Result<Server, Error> {
        let mut config = Config::default_for(folder);
        if let Some(url) = database {
            config.database.url = url.to_string();
        }
        // To a person the story tells of each refusal and failure by itself.
        config.telemetry.log = if self.smoke { "warn" } else { "error" }.to_owned();
        bulkhead_server::start_logs(&config.telemetry).map_err(|error| serve::failed(&error))?;
        let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
        // A smoke run takes a free port, so that it disturbs and is disturbed by nobody.
        config.server.listen = self.listen.unwrap_or(if self.smoke { config.server.listen } else { usual });
        match Server::bind(&config).await {
            Err(bulkhead_server::Error::Listen { .. }) if self.listen.is_none() => {
                config.server.listen.set_port(0);
                Server::bind(&config).await
            }
            bound => bound,
        }
        .map_err(|error| serve::failed(&error))
    }

    fn folder(&self) -> Result<Folder, Error> {
        if let Some(path) = &self.data_dir {
            let is_used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
            if is_used {
                return Err(Error::Exists { path: path.clone(), next: "name a new or an empty folder" });
            }
            file::create_private_folder(path)?;
            return Ok(Folder { path: path.clone(), is_temporary: false });
        }
        Folder::temporary("bulkhead-demo")
    }
}

/// Ready when a person is done: Ctrl-C, SIGTERM, or a terminal that was closed. All of it is cleared away then.
fn told_to_end() -> Result<impl Future<Output = ()>, Error> {
    let (ended, mut hung_up) = (serve::ended()?, serve::listen(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            () = ended => {}
            _ = hung_up.recv() => {}
        }
    })
}

/// The demo's folder; a temporary one goes with it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// A new folder that only its owner enters, named from `prefix`.
    fn temporary(prefix: &str) -> Result<Self, Error> {
        let name = format!("{prefix}-{}", HEXLOWER.encode(key::random()?.get(..8).unwrap_or_default()));
        let path = std::env::temp_dir().join(name);
        file::create_private_folder(&path)?;
        Ok(Self { path, is_temporary: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            file::clear_folder(&self.path, true);
        }
    }
}

/// What to try next, with tokens in files and lines to paste.
fn invitation(stage: &Stage, url: &Url, folder: &Path) -> Result<String, Error> {
    let tokens = folder.join("tokens");
    file::create_private_folder(&tokens)?;
    for (name, actor) in
        [("operator", Actor::Operator), ("ada", Actor::Ada), ("gus", Actor::Gus), ("app", Actor::AcmeApp)]
    {
        let path = tokens.join(format!("{name}.token"));
        file::write(&path, stage.token(actor)?.as_bytes(), PRIVATE, Existing::Replace)?;
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bulkhead"));
    let program = program.display();
    let (url, tokens) = (url.as_str().trim_end_matches('/'), tokens.display());
    Ok(format!(
        r#"
The host keeps running. In another terminal, as ada of acme-corp:

  curl -H "Authorization: Bearer $(cat {tokens}/ada.token)" {url}/api/plugins/acme.hello/visits
  curl -H "Authorization: Bearer $(cat {tokens}/ada.token)" {url}/api/plugins/acme.notes/notes
  curl -H "Authorization: Bearer $(cat {tokens}/gus.token)" {url}/api/plugins/acme.notes/notes

as acme-corp's application:

  curl -X POST -H "Authorization: Bearer $(cat {tokens}/app.token)" -H "Content-Type: application/json" \
    -d '{{"value": "you", "args": []}}' {url}/api/v1/hooks/demo.greeting/apply

and as the operator:

  export BULKHEAD_SERVER={url} BULKHEAD_TOKEN=$(cat {tokens}/operator.token)
  {program} plugin list
  {program} plugin errors acme.hostile
  {program} plugin kill acme.notes --tenant globex

Ctrl-C ends it."#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_the_demo() {
        let demo = Demo { smoke: true, postgres: false, plugins: PathBuf::new(), listen: None, data_dir: None };

        let folder = demo.folder().unwrap();
        let path = folder.path.clone();
        std::fs::write(path.join("x"), "x").unwrap();
        drop(folder);

        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_used_is_left_alone() {
        let used = tempfile::tempdir().unwrap();
        std::fs::write(used.path().join("x"), "x").unwrap();
        let data_dir = Some(used.path().to_owned());
        let demo = Demo { smoke: true, postgres: false, plugins: PathBuf::new(), listen: None, data_dir };

        assert!(matches!(demo.folder(), Err(Error::Exists { .. })));
        assert!(used.path().join("x").exists());
    }
}
