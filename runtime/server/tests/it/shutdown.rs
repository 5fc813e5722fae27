//! Start and end of a server: ports that are taken, requests in flight, what is kept.

use bulkhead_model::{Coded as _, Role};
use bulkhead_server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, TestServer, config};

#[tokio::test]
async fn a_request_in_flight_ends_before_the_server_does() {
    let mut server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /api/v1/tenants HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\nContent-Length: 16\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is in flight.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked, *b"HTTP/1.1 100 Continue\r\n\r\n");

    server.begin_stop();
    stream.write_all(br#"{"id": "globex"}"#).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();

    assert_eq!(Answer::parse(&bytes).status, 201);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_end_up() {
    let server = TestServer::start().await;
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    let addr = server.addr;

    let started = std::time::Instant::now();
    server.stop().await;

    assert!(started.elapsed() < std::time::Duration::from_secs(8));
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_is_made() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.server.listen = taken.local_addr().unwrap();

    let error = Server::bind(&config).await.err().unwrap();

    assert_eq!(error.code().as_str(), "invalid-host-configuration");
    assert!(error.to_string().contains(&config.server.listen.to_string()), "{error}");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn what_was_made_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let first = Server::bind(&config).await.unwrap();
    let tenant = "globex".parse().unwrap();
    let admin = bulkhead_model::Actor { roles: [Role::SuperAdmin].into(), ..bulkhead_model::Actor::system() };
    first.host().create_tenant(&admin, &tenant).await.unwrap();
    first.run(async {}).await.unwrap();

    let second = Server::bind(&config).await.unwrap();

    assert_eq!(second.host().get_tenant(&admin, &tenant).await.unwrap().id, tenant);
}
