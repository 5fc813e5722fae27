//! A server of a test, and requests to it: as text on a socket where the form matters, parsed answers.
//! It asserts nothing.

use std::net::SocketAddr;
use std::path::Path;

use bulkhead_host::auth::{self, Claims};
use bulkhead_model::Role;
use bulkhead_server::{Config, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Expiry of tokens: far away, the year 2100.
const EXPIRES_S: u64 = 4_102_444_800;

/// A server that runs until it is dropped or stopped.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) metrics_addr: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), bulkhead_server::Error>>,
}

/// A host with its data in `folder`, whose compile worker is the one that was built with this test.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::default_for(&folder.join("data"));
    let executable = std::env::current_exe().unwrap();
    let built = executable.parent().and_then(Path::parent).unwrap();
    config.engine.compile_worker = built.join("examples/compile_worker");
    config.engine.instances_max = 16;
    config
}

/// A parsed answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration was changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let server = Server::bind(&config).await.unwrap();
        let (addr, metrics_addr) = (server.addr, server.metrics_addr);
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(server.run(async { stopped.await.unwrap_or_default() }));
        Self { addr, metrics_addr, folder, stop: Some(stop), ended }
    }

    /// Asks the server to stop and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        (&mut self.ended).await.unwrap().unwrap();
    }

    pub(crate) fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) fn token(&self, role: Role, tenant: Option<&str>) -> String {
        token(&self.folder.path().join("data/keys/issuer.key.pem"), role, tenant)
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, "", "").await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, json: &str) -> Answer {
        self.ask("POST", path, token, "Content-Type: application/json\r\n", json).await
    }

    /// One request on a connection of its own. `headers` are whole lines; an empty token sends no authorization.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: &str, headers: &str, body: &str) -> Answer {
        let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{authorization}{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        exchange(self.addr, request.as_bytes()).await
    }
}

pub(crate) fn token(issuer_key: &Path, role: Role, tenant: Option<&str>) -> String {
    let key = std::fs::read_to_string(issuer_key).unwrap();
    let tenant = tenant.map(|tenant| tenant.parse().unwrap());
    auth::issue(&key, &Claims::new("anna", tenant, &[role], Vec::new(), 0, EXPIRES_S)).unwrap()
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn exchange(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // A server that refuses early may close before all is sent; its answer is there all the same.
    stream.write_all(request).await.unwrap_or_default();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap_or_default();
    Answer::parse(&bytes)
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), text: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["trace_id"], self.header("x-trace-id").unwrap());
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}
