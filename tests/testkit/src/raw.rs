//! HTTP by hand, for requests that no well-behaved client sends.
//! One request a connection; the answer is read to its end.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::answer::Answer;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Sends `head` (request line and headers, lines ended by `\n`) and `body`; answers what came back.
pub async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let head = head.trim_end().replace('\n', "\r\n");
    let request = [format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(), body].concat();
    let bytes = tokio::time::timeout(ANSWER_MAX, converse(address, &request)).await.expect("an answer in time");
    parse(&bytes)
}

async fn converse(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // A host may answer and close before it has read everything.
    stream.write_all(request).await.unwrap_or_default();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap_or_default();
    bytes
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let body = bytes.get(head.len() + 4..).unwrap_or_default().to_vec();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: HeaderName = name.trim().to_ascii_lowercase().parse().expect("a header's name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("a header's value"));
    }
    Answer { status, headers, body }
}
