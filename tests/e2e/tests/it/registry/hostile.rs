//! Requests that no client of the registry sends. They are data, `tests/data/hostile/registry.toml`: each is answered by exactly the
//! named status and code in time, on both engines, and what was pushed before is still there.

use std::time::Duration;

use bulkhead_testkit::{Answer, TestHost, raw};
use serde::Deserialize;
use serde_json::json;

use super::{OPEN, everything, get, grant, holder, image, on_both, push, push_blob, sha256};

/// Longest that one request may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Most memory of the host and this test together in bytes.
const PEAK_BYTES_MAX: u64 = 1 << 30;
/// Fewer cases than this would be a suite that somebody cut.
const CASES_MIN: usize = 246;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// Requests one after another; the last is the attack.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

/// A request and its answer. In texts `{blob}`, `{manifest}`, `{secret}` and `{layer}` stand for digests of what is there,
/// `{upload}` for the place that the step before was told, `{token:who}` for a token, `{sha256:x}` for the digest of `x`, and
/// `%%N:piece%%` for the piece N times.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Method and target.
    ask: String,
    /// Whose token it carries; nobody's if it is empty.
    #[serde(default = "pusher")]
    by: String,
    /// Further headers, as they stand.
    #[serde(default)]
    headers: Vec<String>,
    /// The body; its length is announced unless a header says something else.
    #[serde(default)]
    body: String,
    /// The status; several where the protocol leaves it open.
    status: u16,
    /// The protocol's code, or that of the problem; empty where it went well.
    #[serde(default)]
    code: String,
    /// What the answer's body contains.
    #[serde(default)]
    says: String,
}

fn pusher() -> String {
    "pusher".to_owned()
}

/// What stands for what.
struct Names(Vec<(String, String)>);

#[tokio::test]
async fn every_hostile_request_is_answered_by_its_code_and_changes_nothing() {
    let file: File = toml::from_str(include_str!("../../data/hostile/registry.toml")).unwrap();
    assert!(file.case.len() >= CASES_MIN, "{} cases", file.case.len());
    on_both(async |host| {
        let names = prepare(host).await;
        let mut wrong = Vec::new();
        for case in &file.case {
            if let Err(found) = run(host, &names, case).await {
                wrong.push(format!("{}: {found}", case.name));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), file.case.len(), wrong.join("\n"));

        let client = everything(host).await;
        let kept = get(&client, &format!("/v2/{OPEN}/manifests/good")).await.expect(200);
        assert_eq!(sha256(&kept.body), names.find("manifest"));
        let manifest = image(&client, OPEN, ("a/b", b"{}"), &[("a/c", b"afterwards")]).await;
        push(&client, OPEN, "afterwards", &manifest).await.expect(201);
        let proof = host.security().get("/api/v1/audit/verify").await.expect(200).json();
        assert_eq!(proof["first_broken"], json!(null));
    })
    .await;
    let peak = peak_bytes();
    assert!(peak < PEAK_BYTES_MAX, "the cases took {peak} bytes of memory");
}

/// Two repositories with something in them, and a token of each kind.
async fn prepare(host: &TestHost) -> Names {
    grant(host, &json!({ "namespace": "secret", "kind": "open" })).await.expect(201);
    let all = everything(host).await;
    let manifest = image(&all, OPEN, ("a/b", b"{}"), &[("a/c", b"layer")]).await;
    push(&all, OPEN, "good", &manifest).await.expect(201);
    let hidden = push_blob(&all, "secret/box", b"for few").await;
    let mut names = vec![
        ("blob".to_owned(), sha256(b"layer")),
        ("layer".to_owned(), sha256(b"layer")),
        ("manifest".to_owned(), sha256(manifest.to_string().as_bytes())),
        ("secret".to_owned(), hidden),
    ];
    let tokens: [(&str, &[&str], &[&str]); 8] = [
        ("pusher", &["free", "acme"], &["push", "pull"]),
        ("other", &["free", "acme"], &["push", "pull"]),
        ("crowd", &["free"], &["push"]),
        ("elder", &["free"], &["push"]),
        ("puller", &["free"], &["pull"]),
        ("signer", &["free", "acme"], &["sign"]),
        ("elsewhere", &["globex"], &["admin"]),
        ("admin", &["*"], &["admin"]),
    ];
    for (who, repositories, scopes) in tokens {
        names.push((format!("token:{who}"), holder(host, repositories, scopes).await.token().to_owned()));
    }
    names.push(("token:root".to_owned(), host.admin().token().to_owned()));
    names.push(("token:security".to_owned(), host.security().token().to_owned()));
    let body = json!({ "name": "gone", "repositories": ["*"], "scopes": ["admin"], "ttl_s": 600 });
    let made = host.admin().post_json("/api/v1/registry/tokens", &body).await.expect(201).json();
    host.admin().delete(&format!("/api/v1/registry/tokens/{}", made["id"].as_str().unwrap())).await.expect(204);
    names.push(("token:revoked".to_owned(), made["token"].as_str().unwrap().to_owned()));
    Names(names)
}

async fn run(host: &TestHost, names: &Names, case: &Case) -> Result<(), String> {
    let mut upload = String::new();
    for (number, step) in case.steps.iter().enumerate() {
        let answer = tokio::time::timeout(DEADLINE, ask(host, names, step, &upload));
        let answer = answer.await.map_err(|_| format!("step {number}: no answer after {DEADLINE:?}"))?;
        let found = (answer.status, code(&answer));
        if found != (step.status, step.code.clone()) || !answer.text().contains(&step.says) {
            return Err(format!(
                "step {number}: wanted {} {}, found {found:?} {:.300}",
                step.status,
                step.code,
                answer.text()
            ));
        }
        upload = answer.header("location").to_owned();
    }
    Ok(())
}

async fn ask(host: &TestHost, names: &Names, step: &Step, upload: &str) -> Answer {
    let fill = |text: &str| names.fill(text).replace("{upload}", upload);
    let body = fill(&step.body);
    let mut head = format!("{} HTTP/1.1", fill(&step.ask));
    if !step.by.is_empty() {
        head.push_str(&format!("\nauthorization: Bearer {}", names.find(&format!("token:{}", step.by))));
    }
    let named = |name: &str| step.headers.iter().any(|header| header.to_ascii_lowercase().starts_with(name));
    if !named("content-length") && !named("transfer-encoding") && !step.ask.starts_with("GET") {
        head.push_str(&format!("\ncontent-length: {}", body.len()));
    }
    for header in &step.headers {
        head.push_str(&format!("\n{}", fill(header)));
    }
    raw::exchange(host.address(), &head, body.as_bytes()).await
}

/// The code of a refusal, in the protocol's form or in the host's.
fn code(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = [&body["errors"][0]["code"], &body["code"]].into_iter().find_map(|code| code.as_str());
    if answer.status < 400 { String::new() } else { code.unwrap_or_default().to_owned() }
}

impl Names {
    fn find(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("nothing is called `{name}`"))
    }

    fn fill(&self, text: &str) -> String {
        let mut filled =
            self.0.iter().fold(expanded(text), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
        while let Some(start) = filled.find("{sha256:") {
            let end = start + filled[start..].find('}').unwrap();
            let digest = sha256(&filled.as_bytes()[start + 8..end]);
            filled.replace_range(start..=end, &digest);
        }
        filled
    }
}

fn expanded(text: &str) -> String {
    let mut parts = text.split("%%");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    while let Some(repeated) = parts.next() {
        let (count, piece) = repeated.split_once(':').unwrap_or_else(|| panic!("no count in `{repeated:.40}`"));
        let count = count.parse().unwrap();
        if piece.contains("{#}") {
            (0..count).for_each(|nth: usize| expanded.push_str(&piece.replace("{#}", &nth.to_string())));
        } else {
            expanded.push_str(&piece.repeat(count));
        }
        expanded.push_str(parts.next().unwrap_or_else(|| panic!("`{repeated:.40}` has no end")));
    }
    expanded
}

/// Most memory that this process ever had; the host runs in it.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
