//! Compile bombs at a serving host: refused for their structure before anything compiles, or, where a rule lets them in, stopped
//! in the worker by its own limits. Calls go on meanwhile, and nothing stays behind.

use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_testkit::bombs::{BOMBS, many_loops};
use bulkhead_testkit::guests::{ROUTES, plain, text};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Release, TestHost, policies};

/// The worker's own bound on wall time, and time to say so on a busy machine.
const BOMB_MAX: Duration = Duration::from_secs(45);
/// Time from one call to the next: within the tenant's rate.
const PACE: Duration = Duration::from_millis(70);
/// The structural limits of every bomb, by a rule for one plugin.
const RAISED: &str = "\
file_bytes = 67_108_864\ncode_bytes = 50_331_648\nfunction_bytes = 2_097_152\nfunctions = 100_000\nlocals = 20_000\nnesting = 2_000\n";

fn bomb(component: &str) -> Release {
    plain("[plugin]\nid = \"hostile.bomb\"\nversion = \"1.0.0\"\nname = \"Bomb\"\n", text(component)).signed_by(ALICE)
}

fn raised() -> String {
    policies::STANDARD.replace("[allow.limits]\n", &format!("[allow.limits]\n{RAISED}"))
}

#[tokio::test]
async fn a_compile_bomb_is_refused_for_its_structure_before_anything_compiles() {
    let host = TestHost::new().own_cache().await;

    for (name, component) in BOMBS {
        let answer = host.admin().publish(&bomb(&component())).await;
        assert_eq!(answer.code(), "too-large", "{name}: {}", answer.text());
    }
    // The same in 30 KB: small as a file, not as a function.
    let small = bomb(&many_loops(12_000, 2_000));
    assert!(small.bytes.len() < 34_000, "{} bytes", small.bytes.len());
    assert_eq!(host.admin().publish(&small).await.code(), "too-large");

    nothing_is_left(&host).await;
    assert_eq!(workers(), 0);
}

#[tokio::test]
async fn calls_go_on_while_a_compile_bomb_ends_in_its_worker() {
    let host = TestHost::new().own_cache().policy(&raised()).tenant("acme").with(ROUTES).await;
    let before = files(host.cache_dir());
    let (name, component) = BOMBS[0];
    let (release, admin, user) = (bomb(&component()), host.admin(), host.user("acme", &[]));

    let started = Instant::now();
    let bombing = tokio::spawn(async move { admin.publish(&release).await });
    let (mut calls, mut pace) = (0, tokio::time::interval(PACE));
    while !bombing.is_finished() {
        pace.tick().await;
        user.get_route("test.routes", "/").await.expect(200);
        calls += 1;
    }
    let answer = bombing.await.unwrap();

    assert_eq!(answer.code(), "compile-failed", "{name}: {}", answer.text());
    assert!(started.elapsed() < BOMB_MAX, "{name}: {:?}", started.elapsed());
    assert!(calls > 0);
    assert_eq!(files(host.cache_dir()), before, "the cache is as it was");
    nothing_is_left(&host).await;
    assert_eq!(workers(), 0);
    user.get_route("test.routes", "/").await.expect(200);
}

/// The bomb is known to nobody, and an ordinary plugin is registered as before.
async fn nothing_is_left(host: &TestHost) {
    assert_eq!(host.admin().plugin("hostile.bomb").await.status, 404);
    host.admin().publish(&bulkhead_testkit::guests::hostile("echo").signed_by(ALICE)).await.expect(201);
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Processes that this one started and that are still there, dead ones that nobody waited for among them.
fn workers() -> usize {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_child =
        |stat: &String| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&own);
    processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok()).filter(is_child).count()
}
