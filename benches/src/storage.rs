//! Mediated reads of a plugin's keys against the bare query on a file of the same shape (P20), by the process's CPU
//! time: both do their work on threads of their own. It writes no plugin data but one key.

use std::time::Duration;

use bulkhead_host::Host;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::calls::call;
use crate::figures::{Bar, Row};
use crate::measure::{each_us, process_cpu, rounds};
use crate::world::Rotations;
use crate::{Options, Result, guests};

/// Calls of a guest in one round, each with many reads.
const CALLS: u32 = 3;
const HOOK: &str = "bench.kv";
/// As the product asks for a key.
const GET: &str =
    "SELECT value, version, expires_at FROM kv WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)";
const TABLE: &str = "CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID";
const PUT: &str = "INSERT INTO kv VALUES ('calls', x'31', 1, NULL)";

/// P20.
pub(crate) async fn kv_get(host: &Host, rotations: &Rotations, options: &Options) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let pool = bare(&folder.path().join("bare.db")).await?;
    let reads = CALLS * guests::KV_READS;
    let [theirs, ours] = rounds(options.rounds, async |index| {
        let callers = rotations.take(HOOK, 1, CALLS + 1).await;
        let began = if index == 0 {
            let began = process_cpu();
            for _ in 0..reads {
                let row: (Vec<u8>, i64, Option<i64>) =
                    sqlx::query_as(GET).bind("calls").bind(1_i64).fetch_one(&pool).await?;
                std::hint::black_box(row);
            }
            began
        } else {
            for caller in &callers {
                // A short value makes the guest write the key.
                host.apply_filter(caller, HOOK, "1".to_owned(), "[]").await?;
            }
            let began = process_cpu();
            for caller in &callers {
                for _ in 0..CALLS {
                    call(host, caller, HOOK).await?;
                }
            }
            began
        };
        let passed: Duration = process_cpu() - began;
        Ok(each_us(passed, reads))
    })
    .await?;
    pool.close().await;
    Ok(Row::ratio("P20", "kv.get by a guest over the bare sqlx query", "us", [ours, theirs], Bar::AtMost(1.3)))
}

async fn bare(path: &std::path::Path) -> Result<SqlitePool> {
    let options =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    sqlx::query(PUT).execute(&pool).await?;
    Ok(pool)
}
