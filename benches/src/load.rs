//! The load: so many requests over so many kept connections to one address of this machine, each as soon as the answer
//! before it is there. It understands as much of HTTP as the servers here speak.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Result;

/// Longest that a whole load may take.
const LOAD_MAX: Duration = Duration::from_secs(60);
/// Largest body of an answer in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What a load saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Answers with another status than 200.
    pub(crate) failed: u64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// The time that 99 of 100 answers kept, in microseconds.
    pub(crate) p99_us: f64,
}

impl Sent {
    pub(crate) fn of(value: &Value) -> Result<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_f64).ok_or("a load without its figures");
        let failed = value.get("failed").and_then(Value::as_u64).ok_or("a load without its figures")?;
        Ok(Self { failed, rate: number("rate")?, p99_us: number("p99_us")? })
    }
}

/// Sends `count` requests; the lines of `requests` in turn, each a path and, if wanted, a token.
pub(crate) async fn run(address: &str, requests: &str, count: usize, connections: u32) -> Result<Value> {
    let requests: Arc<Vec<String>> = Arc::new(requests.lines().map(head).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (requests, next, stream) = (Arc::clone(&requests), Arc::clone(&next), TcpStream::connect(address).await?);
        running.spawn(async move { connection(stream, &requests, &next, count).await });
    }
    let mut failed: u64 = 0;
    let mut times_us = Vec::with_capacity(count);
    // Never sleeps: waking a client costs the server that answers, and a faster server's client sleeps less often.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let all = async {
        while let Some(ended) = running.join_next().await {
            let (failures, times) = ended??;
            failed = failed.saturating_add(failures);
            times_us.extend(times);
        }
        Result::Ok(())
    };
    tokio::time::timeout(LOAD_MAX, all).await.map_err(|_| "the load took too long")??;
    awake.abort();
    let wall_s = began.elapsed().as_secs_f64();
    times_us.sort_by(f64::total_cmp);
    let p99_us = times_us.get(times_us.len() * 99 / 100).copied().unwrap_or_default();
    let sent = f64::from(u32::try_from(times_us.len())?);
    Ok(json!({ "failed": failed, "rate": sent / wall_s, "p99_us": p99_us }))
}

fn head(line: &str) -> String {
    let (path, token) = line.split_once(' ').unwrap_or((line, ""));
    let authorization = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n")
}

async fn connection(
    stream: TcpStream,
    requests: &[String],
    next: &AtomicUsize,
    count: usize,
) -> Result<(u64, Vec<f64>)> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut failed, mut times_us) = (0, Vec::new());
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return Ok((failed, times_us));
        }
        let request = requests.get(index % requests.len().max(1)).ok_or("no requests")?;
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes()).await?;
        if answer(&mut stream).await? != 200 {
            failed += 1;
        }
        times_us.push(began.elapsed().as_secs_f64() * 1e6);
    }
}

/// Reads one answer to its end and gives its status.
async fn answer(stream: &mut BufReader<TcpStream>) -> Result<u16> {
    let mut line = String::new();
    let mut status = 0;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err("the server closed a connection".into());
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        match text.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
            Some((name, value)) if name.eq_ignore_ascii_case("transfer-encoding") => is_chunked = value == "chunked",
            Some(_) => {}
            None => status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(),
        }
    }
    if is_chunked {
        chunks(stream).await?;
    } else {
        body(stream, length).await?;
    }
    Ok(status)
}

async fn body(stream: &mut BufReader<TcpStream>, length: usize) -> Result<()> {
    if length > BODY_BYTES_MAX {
        return Err("an answer is too large".into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(())
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16)?;
        body(stream, length + 2).await?;
        if length == 0 {
            return Ok(());
        }
    }
}
