//! Connections: heads that are none, too large or too slow, bodies that never come, room that is full.

use std::time::Duration;

use bulkhead_model::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, TestServer, exchange};

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_next_is_served() {
    let server = TestServer::start().await;
    let many_headers = format!("GET /health HTTP/1.1\r\nHost: t\r\n{}\r\n", "X-A: 1\r\n".repeat(101));
    let long_head = format!("GET /health HTTP/1.1\r\nHost: t\r\nX-A: {}\r\n\r\n", "a".repeat(200 << 10));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(200 << 10));

    for (request, wanted) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (many_headers.as_bytes(), 431),
        (long_head.as_bytes(), 431),
        (long_path.as_bytes(), 414),
    ] {
        let status = exchange(server.addr, request).await.status;
        assert!(
            status == wanted || status == 431,
            "{status} for {:?}",
            String::from_utf8_lossy(&request[..request.len().min(60)])
        );
    }
    assert_eq!(server.get("/health", "").await.status, 200);
}

#[tokio::test]
async fn several_requests_go_over_one_connection() {
    let server = TestServer::start().await;
    let request = "GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(format!("{request}{request}{last}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();

    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[tokio::test]
async fn when_all_room_is_taken_the_next_request_is_told_and_probes_still_answer() {
    let server = TestServer::with(|config| config.limits.requests_max = 1).await;
    let admin = server.token(Role::SuperAdmin, None);
    // A body that does not come holds the only place.
    let mut waiting = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /api/v1/tenants HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {admin}\r\nContent-Type: application/json\r\nContent-Length: 17\r\nConnection: close\r\n\r\n"
    );
    waiting.write_all(head.as_bytes()).await.unwrap();

    let mut refused = server.get("/api/v1/tenants", &admin).await;
    for _ in 0..100 {
        if refused.status == 503 {
            break;
        }
        refused = server.get("/api/v1/tenants", &admin).await;
    }

    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/health", "").await.status, 200);
    assert_eq!(server.get("/ready", "").await.status, 200);
    waiting.write_all(br#"{"id": "globex"} "#).await.unwrap();
    let mut bytes = Vec::new();
    waiting.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Answer::parse(&bytes).status, 201);
    assert_eq!(server.get("/api/v1/tenants", &admin).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let server = TestServer::start().await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();

    let closed = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0; 16])).await;

    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}

#[tokio::test]
async fn the_trace_of_the_caller_is_answered_and_a_broken_one_replaced() {
    let server = TestServer::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = async |header: String| {
        server.ask("GET", "/health", "", &header, "").await.header("x-trace-id").unwrap().to_owned()
    };

    assert_eq!(ask(format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n")).await, trace);
    let made = ask("traceparent: 00-nonsense\r\n".to_owned()).await;
    assert!(made.len() == 32 && made != trace);
    assert_ne!(ask("X-Trace-ID: 1\r\n".to_owned()).await, "1");
}

#[tokio::test]
async fn every_answer_of_the_host_forbids_sniffing_and_storing() {
    let server = TestServer::start().await;

    for path in ["/health", "/api/v1/plugins", "/api/plugins/a.b/c", "/nothing", "/openapi.json"] {
        let answer = server.get(path, "").await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}
