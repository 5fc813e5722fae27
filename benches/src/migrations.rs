//! Migrations over a thousand tenants against the same SQL by a bare parallel runner (P13), on SQLite and on PostgreSQL,
//! by the CPU time of this process and of the database server. The tenants are suspended: a migration is measured, and
//! no start behind it. Each round takes the tenants behind the last.

use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_host::{BATCH_SIZE_DEFAULT, Host, MigrationRequest, Run};
use bulkhead_model::{Reuse, TenantId};
use bulkhead_testkit::postgres::Cluster;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool};

use crate::figures::{Bar, Row};
use crate::measure::{cpu_of_family, median, process_cpu, rounds};
use crate::world::{self, World};
use crate::{Options, Result, guests};

/// Tenants of a whole run, over all of its rounds.
const TENANTS: usize = 1_000;
const TENANTS_QUICK: usize = 200;
const INSTANCES: u32 = 100;
const IDLE_MS: u64 = 60_000;
const PLUGIN: &str = "migrates";
const STEPS: [&str; 5] = [
    "CREATE TABLE notes (id bigint PRIMARY KEY, title text NOT NULL); CREATE TABLE tags (name text PRIMARY KEY);",
    "ALTER TABLE notes ADD COLUMN author text; UPDATE notes SET author = 'nobody' WHERE author IS NULL;",
    "CREATE UNIQUE INDEX notes_by_title ON notes (title);",
    "CREATE TABLE marks (note_id bigint PRIMARY KEY, mark bigint NOT NULL CHECK (mark < 10));",
    "CREATE INDEX marks_by_mark ON marks (mark);",
];
/// A runner without a record of what ran is none.
const LEDGER: &str = "CREATE TABLE ledger (number bigint PRIMARY KEY, applied_at bigint NOT NULL)";
const RECORD: &str = "INSERT INTO ledger (number, applied_at) VALUES ($1, $2)";

/// P13.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let world = World::at(&folder.path().join("sqlite"), INSTANCES, IDLE_MS)?;
    let files = folder.path().join("bare");
    std::fs::create_dir(&files)?;
    let mut rows = Sides::new(&world, Bare::Files(&files), None, options).await?.measured("SQLite", options).await?;

    match world::cluster() {
        Ok(cluster) => {
            let mut world = World::at(&folder.path().join("postgres"), INSTANCES, IDLE_MS)?;
            world.config.database.url = cluster.url();
            let bare = Bare::Schemas(PgPool::connect(&cluster.url()).await?);
            let sides = Sides::new(&world, bare, Some(&cluster), options).await?;
            rows.extend(sides.measured("PostgreSQL", options).await?);
        }
        Err(reason) => rows.push(Row::not_run("P13", "migrations on PostgreSQL", &reason)),
    }
    Ok(rows)
}

/// A host whose tenants wait for their migrations, and what stands beside it.
struct Sides<'a> {
    host: Host,
    tenants: Vec<TenantId>,
    bare: Bare<'a>,
    cluster: Option<&'a Cluster>,
}

impl<'a> Sides<'a> {
    async fn new(world: &World, bare: Bare<'a>, cluster: Option<&'a Cluster>, options: &Options) -> Result<Self> {
        let count = if options.quick { TENANTS_QUICK } else { TENANTS };
        let tenants = world::tenants(u32::try_from(count)?)?;
        let source = guests::tiny(PLUGIN, &guests::hook(PLUGIN), Reuse::Never);
        world.install(vec![guests::migrating(source, &STEPS)?]).await?;
        world.enable(&tenants, &[(world::plugin(PLUGIN)?, "{}")]).await?;
        world.suspend(&tenants).await?;
        Ok(Self { host: world.open().await?, tenants, bare, cluster })
    }

    async fn measured(self, engine: &str, options: &Options) -> Result<Vec<Row>> {
        let each = (self.tenants.len() / (options.rounds + 1)).max(1);
        let mut chunks = [self.tenants.chunks(each), self.tenants.chunks(each)];
        let mut walls = [const { Vec::new() }; 2];
        let [bare, ours] = rounds(options.rounds, async |index| {
            let tenants = chunks.get_mut(index).and_then(Iterator::next).ok_or("more rounds than tenants")?;
            let (began, server, wall) = (process_cpu(), self.server_cpu()?, Instant::now());
            if index == 0 {
                self.bare.migrate(tenants).await?;
            } else {
                self.migrate(tenants).await?;
            }
            if let Some(walls) = walls.get_mut(index) {
                walls.push(each_ms(wall.elapsed(), tenants));
            }
            let passed = (process_cpu() - began).saturating_add(self.server_cpu()?.saturating_sub(server));
            Ok(each_ms(passed, tenants))
        })
        .await?;
        self.host.shutdown(Duration::from_secs(2)).await;
        let what = format!("{} migrations in a tenant of {}, {engine}", STEPS.len(), self.tenants.len());
        let [bare_wall, wall] = walls.map(|mut walls| median(&mut walls));
        Ok(vec![
            Row::ratio("P13", format!("{what}, over a bare runner"), "ms CPU", [ours, bare], Bar::AtMost(1.3)),
            Row::ratio("P13", format!("{what}, by the clock on the wall"), "ms", [wall, bare_wall], Bar::None),
        ])
    }

    /// As an administrator does it, and follows it.
    async fn migrate(&self, tenants: &[TenantId]) -> Result<()> {
        let request = MigrationRequest { tenants: tenants.to_vec(), ..MigrationRequest::default() };
        let operation = self.host.migrate(&world::admin(), &world::plugin(PLUGIN)?, &request, Run::Apply).await?;
        world::ended(&self.host, operation).await
    }

    fn server_cpu(&self) -> Result<Duration> {
        self.cluster.map_or(Ok(Duration::ZERO), |cluster| cpu_of_family(cluster.process().ok_or("no process id")?))
    }
}

fn each_ms(passed: Duration, tenants: &[TenantId]) -> f64 {
    let count = u32::try_from(tenants.len()).unwrap_or(u32::MAX);
    passed.as_secs_f64() * 1e3 / f64::from(count.max(1))
}

/// Where the bare runner has a place for each tenant.
enum Bare<'a> {
    /// A file each.
    Files(&'a Path),
    /// A schema each.
    Schemas(PgPool),
}

/// The steps that follow each other on one connection, each in a transaction with its record.
macro_rules! steps {
    ($connection:expr, $enter:expr) => {
        for (number, step) in (1_i64..).zip(STEPS) {
            let mut transaction = $connection.begin().await?;
            sqlx::raw_sql(AssertSqlSafe(format!("{}{step}", $enter))).execute(&mut *transaction).await?;
            sqlx::query(RECORD).bind(number).bind(0_i64).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
    };
}

impl Bare<'_> {
    /// As many tenants at once as the host takes.
    async fn migrate(&self, tenants: &[TenantId]) -> Result<()> {
        let at_once = usize::try_from(BATCH_SIZE_DEFAULT)?;
        stream::iter(tenants).map(|tenant| self.migrate_one(tenant)).buffer_unordered(at_once).try_collect().await
    }

    async fn migrate_one(&self, tenant: &TenantId) -> Result<()> {
        match self {
            Self::Files(folder) => {
                let options = SqliteConnectOptions::new().filename(folder.join(format!("{tenant}.db")));
                let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
                let mut connection = options.connect().await?;
                sqlx::raw_sql(LEDGER).execute(&mut connection).await?;
                steps!(connection, "");
                connection.close().await?;
            }
            Self::Schemas(pool) => {
                let mut connection = pool.acquire().await?;
                let made = format!(
                    "BEGIN; CREATE SCHEMA \"{tenant}\"; SET LOCAL search_path = \"{tenant}\"; {LEDGER}; COMMIT"
                );
                sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut *connection).await?;
                steps!(connection, format_args!("SET LOCAL search_path = \"{tenant}\"; "));
            }
        }
        Ok(())
    }
}
