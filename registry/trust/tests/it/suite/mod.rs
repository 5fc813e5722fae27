//! The attack suite of the trust core: cases are data in `tests/data/hostile`, one file for each thing that is attacked.
//! Each case is made from something good by small changes, is refused by exactly the named codes within its deadline, and
//! the legal work goes on afterwards. What a change can be stands at the `Case` of each runner.

mod artifact;
mod envelope;
mod policy;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longest that one case may take, in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// Most memory of the whole run in bytes.
const PEAK_BYTES_MAX: u64 = 1 << 30;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<C> {
    case: Vec<C>,
}

/// An edit of a text: what stands there, once or more, and what replaces it everywhere.
type Edit = (String, String);

/// Runs every case of a file; the names of those that went wrong, with what was found, end the test together.
fn run<C: DeserializeOwned + Send + Sync + 'static>(
    text: &str,
    cases_min: usize,
    name: fn(&C) -> &str,
    check: fn(&C) -> Result<(), String>,
) {
    let file: File<C> = toml::from_str(text).unwrap_or_else(|error| panic!("the cases cannot be read: {error}"));
    let count = file.case.len();
    assert!(count >= cases_min, "{count} cases, there were {cases_min}");
    let mut names: Vec<&str> = file.case.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");

    let mut wrong = Vec::new();
    for case in file.case {
        let title = name(&case).to_owned();
        let (done, finished) = channel();
        std::thread::spawn(move || done.send(check(&case)));
        match finished.recv_timeout(DEADLINE) {
            Ok(Ok(())) => {}
            Ok(Err(found)) => wrong.push(format!("{title}: {found:.2000}")),
            Err(RecvTimeoutError::Timeout) => wrong.push(format!("{title}: not done after {DEADLINE:?}")),
            Err(RecvTimeoutError::Disconnected) => wrong.push(format!("{title}: it panicked")),
        }
    }

    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    let peak = peak_bytes();
    assert!(peak < PEAK_BYTES_MAX, "the cases took {peak} bytes of memory");
}

/// Most memory that this process ever had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// `%%N:piece%%` is the piece N times, with `{#}` for its number from 0.
fn expanded(text: &str) -> String {
    let mut parts = text.split("%%");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    while let Some(repeated) = parts.next() {
        let (count, piece) = repeated.split_once(':').unwrap_or_else(|| panic!("no count in `{repeated:.40}`"));
        let count: usize = count.parse().unwrap_or_else(|_| panic!("`{count}` is no count"));
        if piece.contains("{#}") {
            (0..count).for_each(|nth| expanded.push_str(&piece.replace("{#}", &nth.to_string())));
        } else {
            expanded.push_str(&piece.repeat(count));
        }
        expanded.push_str(parts.next().unwrap_or_else(|| panic!("`{repeated:.40}` has no end")));
    }
    expanded
}

/// The text with each edit made, which must have something to do.
fn edited(text: &str, edits: &[Edit]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from.as_str()), "there is no `{from}` in {text:.2000}");
        text.replace(from.as_str(), &expanded(to))
    })
}

/// Bytes written in hexadecimal, white space between them.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = expanded(text).split_whitespace().collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap_or_else(|error| panic!("`{text:.40}`: {error}"))
}
