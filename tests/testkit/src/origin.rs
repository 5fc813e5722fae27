//! Another server on this machine, with a certificate of its own: an npm registry, a GitHub, an OCI registry or a plain web
//! server, as far as a client sees it. It serves what a test puts at a path, honest or hostile, and keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest time for which a slow answer is held up; a client that goes away ends it sooner.
const SLOW_MAX: Duration = Duration::from_secs(30);

/// What is answered at a path.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers, beside the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A body.
#[derive(Clone, Debug)]
pub enum Body {
    /// These bytes.
    Whole(Vec<u8>),
    /// These bytes, after which more were announced.
    Truncated(Vec<u8>),
    /// Bytes without an end.
    Endless,
    /// One byte, and then nothing for a long time.
    Slow,
}

impl Reply {
    /// 200 with these bytes.
    pub fn ok(bytes: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Whole(bytes.into()) }
    }

    /// 200 with a body that misbehaves.
    pub fn of(body: Body) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    /// Only a status.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::status(302).header("location", to)
    }

    /// With a header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        write!(out, "HTTP/1.1 {} Told\r\nconnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        match &self.body {
            Body::Whole(bytes) => {
                write!(out, "content-length: {}\r\n\r\n", bytes.len())?;
                out.write_all(bytes)
            }
            Body::Truncated(bytes) => {
                write!(out, "content-length: {}\r\n\r\n", bytes.len() + 1_000)?;
                out.write_all(bytes)
            }
            Body::Endless => {
                write!(out, "transfer-encoding: chunked\r\n\r\n")?;
                let piece = [b'x'; 1 << 16];
                loop {
                    write!(out, "{:x}\r\n", piece.len())?;
                    out.write_all(&piece)?;
                    write!(out, "\r\n")?;
                }
            }
            Body::Slow => {
                write!(out, "content-length: 10\r\n\r\nx")?;
                out.flush()?;
                std::thread::park_timeout(SLOW_MAX);
                Ok(())
            }
        }
    }
}

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    /// Asked for of every request, as an `Authorization`.
    authorization: Option<(String, String)>,
    heads: Vec<String>,
}

/// A server. It goes with the process.
pub struct Origin {
    port: u16,
    pem: String,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

impl Origin {
    /// A server that has nothing yet.
    pub fn start() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a certificate and its key");
        let (tls, state) = (Arc::new(tls), Arc::<Mutex<State>>::default());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (tls, state) = (Arc::clone(&tls), Arc::clone(&shared));
                std::thread::spawn(move || answer(tls, socket, &state));
            }
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pem = cert.pem();
        std::fs::write(folder.path().join("ca.pem"), &pem).expect("a file");
        Self { port, pem, state, folder }
    }

    /// `https://localhost:<port><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.place())
    }

    /// `localhost:<port>`.
    pub fn place(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A file with its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Answers a path, query included, so from now on.
    pub fn put(&self, path: &str, reply: Reply) -> &Self {
        self.lock().replies.insert(path.to_owned(), reply);
        self
    }

    /// Wants this `Authorization` of every request from now on, and answers 401 with this challenge without it.
    pub fn wants(&self, authorization: &str, challenge: &str) -> &Self {
        self.lock().authorization = Some((authorization.to_owned(), challenge.to_owned()));
        self
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.lock().heads.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the server")
    }
}

fn answer(tls: Arc<ServerConfig>, socket: TcpStream, state: &Mutex<State>) {
    let Ok(connection) = ServerConnection::new(tls) else { return };
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|length| length > 0) {}
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let reply = {
        let mut state = state.lock().expect("no test panics while it holds the server");
        state.heads.push(head.clone());
        match &state.authorization {
            Some((wanted, challenge)) if !path.starts_with("/token") && !head.contains(wanted.as_str()) => {
                Reply::status(401).header("www-authenticate", challenge)
            }
            _ => state.replies.get(&path).cloned().unwrap_or_else(|| Reply::status(404)),
        }
    };
    // A client that goes away ends the answer.
    drop(reply.write(stream.get_mut()));
    stream.get_mut().conn.send_close_notify();
    drop(stream.get_mut().flush());
}
