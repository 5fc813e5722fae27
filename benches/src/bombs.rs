//! Route calls beside a compile bomb: how long 99 of 100 answers take while the worker compiles it, over the same calls with the
//! worker idle, in turn (P21). That the bomb ends, and how, is a test's matter.

use std::time::{Duration, Instant};

use bulkhead_testkit::bombs::BOMBS;
use bulkhead_testkit::guests::{ROUTES, plain, text};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Client, Release, TestHost, policies};

use crate::figures::{Bar, Row};
use crate::measure::median;
use crate::{Options, Result};

/// Tenants in turn, so that none passes its rate.
const TENANTS: usize = 40;
/// Calls of a round, and the time from one to the next: shorter than the bomb takes.
const CALLS: usize = 600;
const PACE: Duration = Duration::from_millis(8);
/// Most rounds: each waits for a bomb to end.
const ROUNDS_MAX: usize = 3;
/// From the bomb's publication until its compilation is under way.
const LEAD: Duration = Duration::from_millis(500);
/// Lets the bomb past the structural limits.
const RAISED: &str = "[allow.limits]\nfunction_bytes = 2_097_152\nlocals = 20_000\n";

/// Runs P21.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let program = std::env::current_exe()?;
    let policy = policies::STANDARD.replace("[allow.limits]\n", RAISED);
    let mut builder =
        TestHost::new().configured(move |config| config.engine.compile_worker = program).own_cache().policy(&policy);
    let names: Vec<String> = (0..TENANTS).map(|tenant| format!("t{tenant}")).collect();
    for name in &names {
        builder = builder.tenant(name);
    }
    let host = builder.with(ROUTES).await;
    let users: Vec<Client> = names.iter().map(|name| host.user(name, &[])).collect();
    let (name, component) = BOMBS.first().copied().ok_or("there is no bomb")?;
    let bomb = plain("[plugin]\nid = \"bench.bomb\"\nversion = \"1.0.0\"\nname = \"Bomb\"\n", text(&component()));
    let bomb = bomb.signed_by(ALICE);

    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=options.rounds.min(ROUNDS_MAX) {
        let quiet = p99_us(&users).await?;
        let busy = beside_bomb(&host, &users, &bomb).await?;
        if round > 0 {
            alone.push(quiet);
            beside.push(busy);
        }
    }
    let what = format!("p99 of a route call while `{name}` compiles, over none compiling");
    Ok(vec![Row::ratio("P21", what, "us", [median(&mut beside), median(&mut alone)], Bar::AtMost(3.0))])
}

async fn beside_bomb(host: &TestHost, users: &[Client], bomb: &Release) -> Result<f64> {
    let (admin, bomb) = (host.admin(), bomb.clone());
    let bombing = tokio::spawn(async move { admin.publish(&bomb).await });
    tokio::time::sleep(LEAD).await;
    let p99 = p99_us(users).await?;
    let answer = bombing.await?;
    if answer.code() != "compile-failed" {
        return Err(format!("the bomb ended otherwise: {}", answer.text()).into());
    }
    Ok(p99)
}

/// The time that 99 of 100 calls keep, one after another at an even pace.
async fn p99_us(users: &[Client]) -> Result<f64> {
    let mut pace = tokio::time::interval(PACE);
    let mut times_us = Vec::with_capacity(CALLS);
    for user in users.iter().cycle().take(CALLS) {
        pace.tick().await;
        let began = Instant::now();
        let answer = user.get_route("test.routes", "/").await;
        times_us.push(began.elapsed().as_secs_f64() * 1e6);
        if answer.status != 200 {
            return Err(format!("a call failed: {}", answer.text()).into());
        }
    }
    times_us.sort_by(f64::total_cmp);
    Ok(times_us.get(times_us.len() * 99 / 100).copied().unwrap_or_default())
}
