//! A plugin's reads by key against the bare cached query on a database of the same kind (P9): in transactions of their
//! own and in an open one, on SQLite and on PostgreSQL. By the process's CPU time: both do their work on threads of
//! their own. What PostgreSQL itself needs stands beside it.

use bulkhead_host::Host;
use bulkhead_testkit::postgres::Cluster;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{PgPool, SqlitePool};

use crate::calls::call;
use crate::figures::{Bar, Row};
use crate::guests::{GET_ITEM, ITEMS, Reads, SQL_READS};
use crate::measure::{cpu_of_family, each_us, median, process_cpu, rounds};
use crate::world::{self, Rotations, World};
use crate::{Options, Result, guests};

/// Calls of a guest in one round, each with many reads.
const CALLS: u32 = 3;
const TENANTS: u32 = 8;
const INSTANCES: u32 = 100;
const IDLE_MS: u64 = 60_000;
const ALONE: &str = "sql-alone";
const WITHIN: &str = "sql-within";

/// P9.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let bare = Bare::on_sqlite(&folder.path().join("bare.db")).await?;
    let world = World::at(&folder.path().join("sqlite"), INSTANCES, IDLE_MS)?;
    let [alone, within] = Sides::new(&world, bare, None).await?.measured(options).await?;
    let mut rows = vec![alone.row("on SQLite", Bar::AtMost(2.0)), within.row("on SQLite in a transaction", Bar::None)];

    match world::cluster() {
        Ok(cluster) => {
            let bare = Bare::on_postgres(&cluster.url()).await?;
            let mut world = World::at(&folder.path().join("postgres"), INSTANCES, IDLE_MS)?;
            world.config.database.url = cluster.url();
            let [alone, within] = Sides::new(&world, bare, Some(&cluster)).await?.measured(options).await?;
            rows.push(alone.row("on PostgreSQL", Bar::AtMost(3.3)));
            rows.push(alone.server_row("on PostgreSQL"));
            rows.push(within.row("on PostgreSQL in a transaction", Bar::AtMost(1.5)));
            rows.push(within.server_row("on PostgreSQL in a transaction"));
        }
        Err(reason) => rows.push(Row::not_run("P9", "a plugin's get by key on PostgreSQL", &reason)),
    }
    Ok(rows)
}

/// A host, and what stands beside it.
struct Sides<'a> {
    host: Host,
    rotations: Rotations,
    bare: Bare,
    cluster: Option<&'a Cluster>,
}

/// Microseconds of CPU time of one read, ours and the bare one's.
struct Reading {
    here: [f64; 2],
    /// The database server's.
    server: [f64; 2],
}

impl Reading {
    fn row(&self, place: &str, bar: Bar) -> Row {
        Row::ratio("P9", format!("a plugin's get by key {place}, over the bare query"), "us", self.here, bar)
    }

    fn server_row(&self, place: &str) -> Row {
        let what = format!("the server's own time for it, {place}");
        Row::ratio("P9", what, "us", self.server, Bar::None)
    }
}

impl<'a> Sides<'a> {
    async fn new(world: &World, bare: Bare, cluster: Option<&'a Cluster>) -> Result<Self> {
        let tenants = world::tenants(TENANTS)?;
        let plugins = [(world::plugin(ALONE)?, "{}"), (world::plugin(WITHIN)?, "{}")];
        world.install(vec![guests::sql(ALONE, Reads::Alone)?, guests::sql(WITHIN, Reads::Within)?]).await?;
        world.enable(&tenants, &plugins).await?;
        let host = world.open().await?;
        for (plugin, _) in &plugins {
            world::serves(&host, &tenants, plugin).await?;
        }
        Ok(Self { host, rotations: Rotations::of(&tenants), bare, cluster })
    }

    /// Reads in transactions of their own, and in one.
    async fn measured(self, options: &Options) -> Result<[Reading; 2]> {
        let reads = options.calls(CALLS * 2) * SQL_READS;
        let mut server = [const { Vec::new() }; 4];
        let here: [f64; 4] = rounds(options.rounds, async |index| {
            let callers = self.rotations.take(&guests::hook(ours(index)), 1, CALLS * 2 + 1).await;
            let caller = callers.first().ok_or("no tenant")?;
            // Opens what is kept between calls.
            if index % 2 == 1 {
                call(&self.host, caller, &guests::hook(ours(index))).await?;
            }
            let (began, server_began) = (process_cpu(), self.server_cpu()?);
            match index {
                0 => self.bare.read_alone(reads).await?,
                2 => self.bare.read_within(reads / SQL_READS).await?,
                _ => {
                    for _ in 0..reads / SQL_READS {
                        call(&self.host, caller, &guests::hook(ours(index))).await?;
                    }
                }
            }
            let passed = process_cpu() - began;
            if let Some(server) = server.get_mut(index) {
                server.push(each_us(self.server_cpu()?.saturating_sub(server_began), reads));
            }
            Ok(each_us(passed, reads))
        })
        .await?;
        self.bare.close().await;
        self.host.shutdown(std::time::Duration::from_secs(2)).await;
        let [bare_alone, alone, bare_within, within] = here;
        let [server_bare_alone, server_alone, server_bare_within, server_within] =
            server.map(|mut samples| median(&mut samples));
        Ok([
            Reading { here: [alone, bare_alone], server: [server_alone, server_bare_alone] },
            Reading { here: [within, bare_within], server: [server_within, server_bare_within] },
        ])
    }

    fn server_cpu(&self) -> Result<std::time::Duration> {
        match self.cluster {
            Some(cluster) => cpu_of_family(cluster.process().ok_or("no process id")?),
            None => Ok(std::time::Duration::ZERO),
        }
    }
}

/// The plugin of a lane.
const fn ours(index: usize) -> &'static str {
    if index < 2 { ALONE } else { WITHIN }
}

/// The bare pool.
enum Bare {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The same work on both pools.
macro_rules! on_pool {
    ($bare:expr, |$pool:ident| $work:expr) => {
        match $bare {
            Bare::Sqlite($pool) => $work,
            Bare::Postgres($pool) => $work,
        }
    };
}

impl Bare {
    async fn on_sqlite(path: &std::path::Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await?;
        sqlx::raw_sql(ITEMS).execute(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    async fn on_postgres(url: &str) -> Result<Self> {
        let pool = PgPool::connect(url).await?;
        sqlx::raw_sql(ITEMS).execute(&pool).await?;
        Ok(Self::Postgres(pool))
    }

    async fn read_alone(&self, count: u32) -> Result<()> {
        on_pool!(self, |pool| for _ in 0..count {
            let row: (String,) = sqlx::query_as(GET_ITEM).bind(1_i64).fetch_one(pool).await?;
            std::hint::black_box(row);
        });
        Ok(())
    }

    /// As many reads in each of `count` transactions as a call of the guest does.
    async fn read_within(&self, count: u32) -> Result<()> {
        on_pool!(self, |pool| for _ in 0..count {
            let mut transaction = pool.begin().await?;
            for _ in 0..SQL_READS {
                let row: (String,) = sqlx::query_as(GET_ITEM).bind(1_i64).fetch_one(&mut *transaction).await?;
                std::hint::black_box(row);
            }
            transaction.rollback().await?;
        });
        Ok(())
    }

    async fn close(&self) {
        on_pool!(self, |pool| pool.close().await);
    }
}
