//! Clients that leave before they are answered, and clients that still send when they are refused: an act is never left
//! half done, and a refusal is heard.

use std::net::SocketAddr;
use std::path::Path;

use bulkhead_host::view::PageRequest;
use bulkhead_model::{Actor, Role};
use bulkhead_server::Server;
use bulkhead_testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, TestServer, config, exchange, token};

/// More than the buffers of a connection hold: it is sent whole only if somebody reads.
const LARGE_BYTES: usize = 12 << 20;

/// Sends the act that creates a tenant and leaves as soon as it is under way.
async fn create_and_leave(addr: SocketAddr, admin: &str, tenant: &str) {
    let body = format!(r#"{{"id": "{tenant}"}}"#);
    let length = body.len();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /api/v1/tenants HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the act is under way.
    stream.read_exact(&mut [0; 25]).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn an_act_goes_on_to_its_end_when_its_client_leaves() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);

    for index in 0..20 {
        create_and_leave(server.addr, &admin, &format!("t{index}")).await;
    }

    eventually("the tenants of clients that left", async || {
        let tenants = server.get("/api/v1/tenants", &admin).await.json();
        (tenants["items"].as_array().unwrap().len() == 20).then_some(())
    })
    .await;
}

/// Runs a server for as long as `clients` take, with the token of a platform admin, and opens it again: what it began has
/// come to its end.
async fn opened_again(folder: &Path, clients: impl AsyncFnOnce(SocketAddr, String)) -> Server {
    let config = config(folder);
    let server = Server::bind(&config).await.unwrap();
    let addr = server.addr;
    let admin = token(&folder.join("data/keys/issuer.key.pem"), Role::SuperAdmin, None);
    server.run(clients(addr, admin)).await.unwrap();
    Server::bind(&config).await.unwrap()
}

fn actor(role: Role) -> Actor {
    Actor { roles: [role].into(), ..Actor::system() }
}

#[tokio::test]
async fn an_act_whose_client_left_ends_before_the_server_does() {
    let folder = tempfile::tempdir().unwrap();

    let again = opened_again(folder.path(), async |addr, admin| {
        for index in 0..20 {
            create_and_leave(addr, &admin, &format!("t{index}")).await;
        }
    })
    .await;

    for index in 0..20 {
        let tenant = format!("t{index}").parse().unwrap();
        assert!(again.host().get_tenant(&actor(Role::SuperAdmin), &tenant).await.is_ok(), "{tenant}");
    }
}

#[tokio::test]
async fn an_act_whose_arguments_never_came_is_not_done_without_them() {
    let folder = tempfile::tempdir().unwrap();

    let again = opened_again(folder.path(), async |addr, admin| {
        for framing in ["Content-Length: 20", "Transfer-Encoding: chunked"] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let head = format!(
                "POST /api/v1/kill HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // The act is under way, and waits for what it is told to do.
            stream.read_exact(&mut [0; 25]).await.unwrap();
        }
    })
    .await;

    let page = PageRequest { limit: 100, cursor: None };
    let entries = again.host().list_audit(&actor(Role::Security), &page).await.unwrap().items;
    let actions: Vec<String> = entries.into_iter().map(|entry| entry.record.action).collect();
    assert!(actions.iter().all(|action| !action.contains("kill")), "{actions:?}");
}

/// Sends a request with a large body to its last byte, then reads the answer to its end.
async fn answer_to_all_of(server: &TestServer, request: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head =
        format!("{request} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}Content-Length: {LARGE_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; LARGE_BYTES]).await.unwrap_or_else(|error| panic!("{request} {headers}: {error}"));
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap_or_else(|error| panic!("{request} {headers}: {error}"));
    Answer::parse(&bytes)
}

#[tokio::test]
async fn a_refusal_is_heard_by_a_client_that_still_sends() {
    let server = TestServer::start().await;
    let bearer = |role, tenant| format!("Authorization: Bearer {}\r\n", server.token(role, tenant));
    let admin = bearer(Role::SuperAdmin, None);
    let check = async |request: &str, headers: &str, wanted: (u16, &str)| {
        let (status, code) = answer_to_all_of(&server, request, headers).await.problem();
        assert_eq!((status, code.as_str()), wanted, "{request} {headers}");
    };

    check("POST /api/v1/plugins", "", (401, "unauthenticated")).await;
    check("POST /api/v1/plugins", &bearer(Role::Member, Some("globex")), (403, "role-required")).await;
    check("POST /api/v1/plugins", &admin, (415, "unsupported-media-type")).await;
    check("PUT /api/v1/policy", &admin, (415, "unsupported-media-type")).await;
    let json = "Content-Type: application/json\r\n";
    check("POST /api/v1/tenants", &format!("{admin}{json}"), (413, "body-too-large")).await;
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    check("POST /api/v1/plugins", &format!("{admin}{form}"), (422, "invalid-input")).await;
    check("PUT /api/v1/plugins", &admin, (405, "method-not-allowed")).await;
    check("POST /nothing", &admin, (404, "not-found")).await;
    check("POST /api/plugins/acme.none/x", &bearer(Role::Member, Some("globex")), (404, "not-found")).await;
    check("POST /api/plugins/acme.none/health", &bearer(Role::Member, Some("globex")), (404, "not-found")).await;
}

#[tokio::test]
async fn a_client_beyond_its_rate_hears_so_while_it_still_sends() {
    let server = TestServer::with(|config| config.limits.admin_requests_per_minute = 1).await;
    let admin = server.token(Role::SuperAdmin, None);
    server.get("/api/v1/plugins", &admin).await;

    let bearer = format!("Authorization: Bearer {admin}\r\n");
    let refused = answer_to_all_of(&server, "POST /api/v1/plugins", &bearer).await;

    assert_eq!(refused.problem(), (429, "rate-limited".to_owned()));
}

#[tokio::test]
async fn an_act_that_takes_no_body_drops_one_that_comes() {
    let server = TestServer::start().await;
    let admin = server.token(Role::SuperAdmin, None);
    server.post("/api/v1/tenants", &admin, r#"{"id": "globex"}"#).await;

    let bearer = format!("Authorization: Bearer {admin}\r\n");
    let suspended = answer_to_all_of(&server, "POST /api/v1/tenants/globex/suspend", &bearer).await;

    assert_eq!((suspended.status, &suspended.json()["status"]), (200, &"suspended".into()));
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_refused_without_its_body() {
    let server = TestServer::start().await;
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Type: application/wasm\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
    );

    let answer = exchange(server.addr, head.as_bytes()).await;

    assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()));
}
