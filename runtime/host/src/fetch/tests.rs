//! The client against real servers on this machine: TLS, redirects, and bodies that are too long, too slow or broken.

use std::io::{BufRead as _, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A server with a certificate for `localhost`. It answers each connection with what `answer` writes to it, told the
/// request's head.
struct Origin {
    port: u16,
    pem: String,
}

type Answer = dyn Fn(&str, &mut dyn Write) -> std::io::Result<()> + Send + Sync;

impl Origin {
    fn start(answer: impl Fn(&str, &mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let (tls, answer): (_, Arc<Answer>) = (Arc::new(tls), Arc::new(answer));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (tls, answer) = (Arc::clone(&tls), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(tls).unwrap();
                    let mut stream = BufReader::new(StreamOwned::new(connection, socket.unwrap()));
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|length| length > 0) {}
                    // A client that goes away ends the answer.
                    drop(answer(&head, stream.get_mut()));
                    stream.get_mut().conn.send_close_notify();
                    drop(stream.get_mut().flush());
                });
            }
        });
        Self { port, pem: cert.pem() }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("https://localhost:{}{path}", self.port)).unwrap()
    }

    /// A client that trusts it and may speak to this machine.
    fn client(&self) -> Outbound {
        let allow_private = vec!["localhost:*".parse().unwrap()];
        Outbound::new(OutboundConfig {
            allow_private,
            ca_pem: Some(self.pem.clone().into()),
            ..OutboundConfig::default()
        })
        .unwrap()
    }

    async fn fetch(&self, path: &str) -> Result<Vec<u8>, FetchError> {
        self.client().send(get(self.url(path))).await?.bytes().await
    }
}

fn get(url: Url) -> Request {
    Request::get(url, 1_000, Duration::from_secs(5))
}

fn ok(out: &mut dyn Write, body: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn redirect(out: &mut dyn Write, to: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn an_address_that_is_not_public_https_is_not_asked() {
    let outbound = Outbound::new(OutboundConfig::default()).unwrap();
    let check = async |url: &str, wanted: Code| {
        let error = outbound.send(get(Url::parse(url).unwrap())).await.unwrap_err();
        assert_eq!(error.code(), wanted, "{url}: {error}");
    };

    for url in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://192.168.0.1:8443/",
        "https://169.254.169.254/latest",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://①②⑦.0.0.1/",
        "http://1.1.1.1/",
        "http://example.com/",
    ] {
        check(url, Code::OutboundRefused).await;
    }
    for url in [
        "file:///etc/passwd",
        "ftp://example.com/",
        "data:text/plain,x",
        "https://user:secret@example.com/",
        "https://a.example:0/",
    ] {
        check(url, Code::InvalidInput).await;
    }
    check(&format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX)), Code::InvalidInput).await;
    check("https://nowhere.invalid/", Code::OutboundFailed).await;
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_name_the_host() {
    let (origin, other) = (Origin::start(|_, out| ok(out, "hello")), Origin::start(|_, out| ok(out, "hello")));

    assert_eq!(origin.fetch("/").await.unwrap(), b"hello");
    let untrusted = other.client().send(get(origin.url("/"))).await.unwrap_err();
    assert_eq!(untrusted.code(), Code::OutboundFailed);
    assert!(untrusted.to_string().contains("certificate"), "{untrusted}");
    assert!(Outbound::new(OutboundConfig { ca_pem: Some(b"no pem".to_vec()), ..OutboundConfig::default() }).is_err());
}

#[tokio::test]
async fn a_redirect_is_checked_again_and_takes_no_credential_along() {
    let elsewhere = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&elsewhere);
    let other = Origin::start(move |head, out| {
        seen.lock().unwrap().push_str(head);
        ok(out, "other")
    });
    let to_other = format!("https://127.0.0.1:{}/taken", other.port);
    let target = to_other.clone();
    let origin = Origin::start(move |head, out| match path(head) {
        "/here" => redirect(out, "/final"),
        "/final" if head.contains("authorization: Bearer secret") => ok(out, "final"),
        "/other" => redirect(out, &target),
        "/metadata" => redirect(out, "https://169.254.169.254/latest/meta-data/"),
        "/file" => redirect(out, "file:///etc/passwd"),
        "/plain" => redirect(out, "http://localhost/"),
        "/nowhere" => write!(out, "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"),
        "/round" => redirect(out, "/round"),
        _ => ok(out, "no"),
    });
    let pems = format!("{}{}", origin.pem, other.pem);
    let config = OutboundConfig {
        allow_private: vec!["localhost:*".parse().unwrap(), "127.0.0.1:*".parse().unwrap()],
        ca_pem: Some(pems.into()),
        ..OutboundConfig::default()
    };
    let outbound = Outbound::new(config).unwrap();
    let ask = async |path: &str| {
        let request = get(origin.url(path)).accepting("a/b").authorized(Some("Bearer secret"));
        outbound.send(request).await?.bytes().await
    };

    assert_eq!(ask("/here").await.unwrap(), b"final");
    assert_eq!(ask("/other").await.unwrap(), b"other");
    let head = elsewhere.lock().unwrap().clone();
    assert!(head.contains("accept: a/b") && !head.contains("secret") && !head.contains("authorization"), "{head}");
    assert_eq!(ask("/metadata").await.unwrap_err().code(), Code::OutboundRefused);
    for path in ["/file", "/plain", "/nowhere", "/round"] {
        let error = ask(path).await.unwrap_err();
        assert_eq!(error.code(), Code::OutboundFailed, "{path}: {error}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_in_size_and_time_and_is_whole_or_an_error() {
    let origin = Origin::start(|head, out| match path(head) {
        "/announced" => write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"),
        "/endless" => {
            write!(out, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            loop {
                write!(out, "100\r\n{}\r\n", "x".repeat(256))?;
            }
        }
        "/short" => write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"),
        "/gzip" => write!(out, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"),
        "/headers" => write!(out, "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(1_000)),
        "/huge" => write!(out, "HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(1 << 20)),
        "/nonsense" => write!(out, "220 smtp ready\r\n"),
        "/whole" => ok(out, &"x".repeat(1_000)),
        // Until the client goes away.
        _ => {
            write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx")?;
            out.flush()?;
            std::thread::park_timeout(Duration::from_secs(30));
            Ok(())
        }
    });
    let check = async |path: &str, wanted: Code| {
        let error = origin.fetch(path).await.unwrap_err();
        assert_eq!(error.code(), wanted, "{path}: {error}");
    };

    assert_eq!(origin.fetch("/whole").await.unwrap().len(), 1_000);
    check("/announced", Code::TooLarge).await;
    check("/endless", Code::TooLarge).await;
    for path in ["/short", "/gzip", "/headers", "/huge", "/nonsense"] {
        check(path, Code::OutboundFailed).await;
    }
    let request = Request { deadline: Duration::from_millis(300), ..get(origin.url("/slow")) };
    let late = origin.client().send(request).await.unwrap().bytes().await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[test]
fn what_an_error_tells_holds_no_path_and_no_query() {
    let url = Url::parse("https://store.example:8443/bucket?signature=secret").unwrap();

    assert_eq!(told(&url), "store.example:8443");
    let request = get(url).authorized(Some("Bearer secret"));
    assert!(!format!("{request:?}").contains("Bearer"), "{request:?}");
}
