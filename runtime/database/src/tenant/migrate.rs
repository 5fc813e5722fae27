//! Runs a plugin's migrations forward in one tenant: each once, in order, in a transaction together with its
//! ledger row, so that a crash at any point is taken up again by the next run.
//! It never runs plugin code and never goes back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_model::{Code, Coded, Digest};

use super::limits;
use super::store::PluginStore;
use super::value::StorageError;

/// A migration as the artifact carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginMigration {
    /// Its number; numbers rise from file to file.
    pub number: u32,
    /// Its name without the number.
    pub name: String,
    /// SHA-256 of its bytes, covered by the artifact's signature.
    pub checksum: Digest,
    /// The statements.
    pub sql: String,
    /// Asks for a run outside a transaction where the engine needs that. `SQLite` never does and ignores it.
    pub no_transaction: bool,
    /// Whether it adds, fills or removes shape.
    pub phase: Phase,
}

/// What a migration does to a shape that older releases still use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Adds; older releases go on.
    #[default]
    Expand,
    /// Fills what was added; older releases go on.
    Backfill,
    /// Removes what older releases need.
    Contract,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// SHA-256 of the bytes that ran.
    pub checksum: Digest,
    /// When, in microseconds since 1970.
    pub applied_at: i64,
}

/// A migration that failed and was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMigration {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Why, in words that may be shown.
    pub error: String,
    /// When, in microseconds since 1970.
    pub failed_at: i64,
}

/// A difference between what ran in a tenant and what the artifact carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Number of the migration.
    pub number: u32,
    /// What ran, if it ran.
    pub applied: Option<Digest>,
    /// What the artifact carries, if it does.
    pub carried: Option<Digest>,
}

/// Whether a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The migrations stay applied.
    Apply,
    /// All run in one transaction that is undone.
    DryRun,
}

/// Why migrations did not run. What ran before stays.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MigrationError {
    /// The artifact and the tenant disagree about what ran.
    #[error("applied migrations have changed: {}", report(.0))]
    Drift(Vec<Drift>),
    /// The list is too long, or a migration is too large or not in order.
    #[error("the migrations cannot run: {0}")]
    Malformed(&'static str),
    /// A migration failed and was undone.
    #[error("migration {number} `{name}` failed")]
    Failed {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// Why.
        source: StorageError,
    },
    /// The tenant's storage could not be read.
    #[error("the tenant's storage cannot be used")]
    Storage(#[source] StorageError),
}

impl Coded for MigrationError {
    fn code(&self) -> Code {
        match self {
            Self::Drift(_) => Code::MigrationDrift,
            Self::Malformed(_) | Self::Failed { .. } => Code::MigrationFailed,
            Self::Storage(source) => source.code(),
        }
    }
}

/// The migrations among an artifact's files that are for `SQLite`, in order, for who reads files without a host.
pub fn select_migrations<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<PluginMigration>, MigrationError> {
    select_for("sqlite", files)
}

/// The engines that a file can be for.
const ENGINES: [&str; 2] = ["sqlite", "postgres"];

/// The migrations among an artifact's files that are for the engine of this name, in order. A file is `NNNN_name.sql`,
/// or `NNNN_name.<engine>.sql` which takes its place; `.down.sql` is for [`select_downs`]. Folders before the name do not
/// count. Comments at the top hold directives: `-- no-transaction`, `-- phase: expand|backfill|contract`.
pub(crate) fn select_for<'a>(
    engine: &str,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<PluginMigration>, MigrationError> {
    let forward = |name: &FileName<'_>| !name.is_down;
    select(engine, files, forward)
}

/// The files `NNNN_name.down.sql` or `NNNN_name.<engine>.down.sql` that undo a migration each, in order.
/// [`PluginStore::revert`] runs them.
pub(crate) fn select_downs<'a>(
    engine: &str,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<PluginMigration>, MigrationError> {
    select(engine, files, |name| name.is_down)
}

fn select<'a>(
    engine: &str,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    is_wanted: impl Fn(&FileName<'_>) -> bool,
) -> Result<Vec<PluginMigration>, MigrationError> {
    let mut chosen = BTreeMap::<u32, (bool, PluginMigration)>::new();
    for (path, bytes) in files {
        let file = parse_name(path)?;
        if !is_wanted(&file) || file.engine.is_some_and(|of| of != engine) {
            continue;
        }
        let (number, is_special) = (file.number, file.engine.is_some());
        let migration = PluginMigration::new(number, file.name, bytes)?;
        match chosen.entry(number) {
            Entry::Vacant(vacant) => {
                vacant.insert((is_special, migration));
            }
            Entry::Occupied(other) if other.get().1.name != migration.name || other.get().0 == is_special => {
                return Err(MigrationError::Malformed("two migrations have one number"));
            }
            Entry::Occupied(mut other) if is_special => {
                other.insert((is_special, migration));
            }
            Entry::Occupied(_) => {}
        }
    }
    Ok(chosen.into_values().map(|(_, migration)| migration).collect())
}

/// What a file's name says.
struct FileName<'a> {
    number: u32,
    name: &'a str,
    engine: Option<&'a str>,
    is_down: bool,
}

fn parse_name(path: &str) -> Result<FileName<'_>, MigrationError> {
    const WANTED: MigrationError = MigrationError::Malformed("a migration is named `NNNN_name.sql`");
    let file = path.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".sql").ok_or(WANTED)?;
    let (stem, marks) = stem.split_once('.').unwrap_or((stem, ""));
    let (mut engine, mut is_down) = (None, false);
    for mark in marks.split('.').filter(|_| !marks.is_empty()) {
        match mark {
            "down" if !is_down => is_down = true,
            mark if ENGINES.contains(&mark) && engine.is_none() => engine = Some(mark),
            _ => return Err(WANTED),
        }
    }
    let (digits, name) = stem.split_once('_').ok_or(WANTED)?;
    let number = digits
        .parse()
        .ok()
        .filter(|_| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))
        .ok_or(WANTED)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(WANTED);
    }
    Ok(FileName { number, name, engine, is_down })
}

impl PluginMigration {
    /// The migration of these bytes, which are UTF-8.
    pub fn new(number: u32, name: &str, bytes: &[u8]) -> Result<Self, MigrationError> {
        let sql = std::str::from_utf8(bytes).map_err(|_| MigrationError::Malformed("a migration is not UTF-8"))?;
        let (no_transaction, phase) = directives(sql)?;
        let (checksum, sql) = (Digest::of(bytes), sql.to_owned());
        Ok(Self { number, name: name.to_owned(), checksum, sql, no_transaction, phase })
    }
}

/// What the comments at the top of a file ask for.
fn directives(sql: &str) -> Result<(bool, Phase), MigrationError> {
    let (mut no_transaction, mut phase) = (false, Phase::default());
    let comments = sql.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("--"));
    for comment in comments.filter_map(|line| line.strip_prefix("--")).map(str::trim) {
        if comment == "no-transaction" {
            no_transaction = true;
        } else if let Some(named) = comment.strip_prefix("phase:") {
            phase = match named.trim() {
                "expand" => Phase::Expand,
                "backfill" => Phase::Backfill,
                "contract" => Phase::Contract,
                _ => return Err(MigrationError::Malformed("a phase is expand, backfill or contract")),
            };
        }
    }
    Ok((no_transaction, phase))
}

impl PluginStore {
    /// Applies the migrations that have not run, and answers those. `now` is in microseconds since 1970.
    /// Runs for one plugin in one tenant queue one behind the other, over all hosts.
    pub async fn migrate(
        &self,
        migrations: Vec<PluginMigration>,
        run: Run,
        now: i64,
    ) -> Result<Vec<Applied>, MigrationError> {
        check_list(&migrations)?;
        self.store.migrate(migrations, Arc::clone(&self.admission), run, now).await
    }

    /// Undoes the migrations behind number `to`, the last one first, each by its down file in a transaction of its own.
    /// Answers the numbers. Without a down file for each of them nothing is undone.
    pub async fn revert(&self, downs: Vec<PluginMigration>, to: u32, now: i64) -> Result<Vec<u32>, MigrationError> {
        let applied = self.applied_migrations().await.map_err(MigrationError::Storage)?;
        let behind: Vec<u32> = applied.iter().rev().map(|ran| ran.number).filter(|number| *number > to).collect();
        let mut chosen = Vec::with_capacity(behind.len());
        for number in &behind {
            let down = downs.iter().find(|down| down.number == *number);
            chosen.push(down.cloned().ok_or(MigrationError::Malformed("a migration to undo has no down file"))?);
        }
        for down in chosen {
            self.store.revert(down, Arc::clone(&self.admission), now).await?;
        }
        Ok(behind)
    }

    /// The migration that failed last, if it has not run since.
    pub async fn failed_migration(&self) -> Result<Option<FailedMigration>, StorageError> {
        self.store.failed_migration(Instant::now() + limits::STATEMENT).await
    }

    /// The migrations that ran, in order.
    pub async fn applied_migrations(&self) -> Result<Vec<Applied>, StorageError> {
        self.store.applied_migrations(Instant::now() + limits::STATEMENT).await
    }
}

/// What is to run: those behind the applied ones. Any other difference is drift.
pub(crate) fn pending<'a>(
    applied: &[Applied],
    carried: &'a [PluginMigration],
) -> Result<&'a [PluginMigration], MigrationError> {
    let mut drift = Vec::new();
    for ran in applied {
        let same = carried.iter().find(|migration| migration.number == ran.number).map(|migration| migration.checksum);
        if same != Some(ran.checksum) {
            drift.push(Drift { number: ran.number, applied: Some(ran.checksum), carried: same });
        }
    }
    let last = applied.last().map_or(0, |ran| ran.number);
    for migration in carried.iter().filter(|migration| migration.number <= last) {
        if !applied.iter().any(|ran| ran.number == migration.number) {
            drift.push(Drift { number: migration.number, applied: None, carried: Some(migration.checksum) });
        }
    }
    if !drift.is_empty() {
        return Err(MigrationError::Drift(drift));
    }
    Ok(carried.get(applied.len()..).unwrap_or_default())
}

/// Only what ran last can be undone.
pub(crate) fn check_last(applied: &[Applied], down: &PluginMigration) -> Result<(), MigrationError> {
    match applied.last() {
        Some(last) if last.number == down.number => Ok(()),
        Some(_) | None => Err(MigrationError::Malformed("only the migration that ran last can be undone")),
    }
}

fn check_list(migrations: &[PluginMigration]) -> Result<(), MigrationError> {
    if migrations.len() > limits::MIGRATIONS_MAX {
        return Err(MigrationError::Malformed("too many migrations"));
    }
    let mut last = 0;
    for migration in migrations {
        if migration.number <= last {
            return Err(MigrationError::Malformed("numbers must rise from 1"));
        }
        if migration.sql.len() > limits::MIGRATION_BYTES_MAX || migration.sql.contains('\0') {
            return Err(MigrationError::Malformed("a migration is at most 1 MiB without NUL"));
        }
        if Digest::of(migration.sql.as_bytes()) != migration.checksum {
            return Err(MigrationError::Malformed("a checksum is not that of its bytes"));
        }
        last = migration.number;
    }
    Ok(())
}

fn report(drift: &[Drift]) -> String {
    let hex = |digest: Option<Digest>| digest.map_or_else(|| "absent".to_owned(), |digest| digest.to_string());
    let lines: Vec<String> = drift
        .iter()
        .map(|d| format!("{:04} applied {}, carried {}", d.number, hex(d.applied), hex(d.carried)))
        .collect();
    lines.join("; ")
}

/// The failure of one migration.
pub(crate) fn failed(migration: &PluginMigration, source: StorageError) -> MigrationError {
    MigrationError::Failed { number: migration.number, name: migration.name.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(number: u32, sql: &str) -> PluginMigration {
        PluginMigration {
            number,
            name: "m".into(),
            checksum: Digest::of(sql.as_bytes()),
            sql: sql.into(),
            no_transaction: false,
            phase: Phase::Expand,
        }
    }

    fn applied(number: u32, sql: &str) -> Applied {
        Applied { number, name: "m".into(), checksum: Digest::of(sql.as_bytes()), applied_at: 0 }
    }

    #[test]
    fn only_what_comes_behind_the_applied_ones_is_pending() {
        let check = |ran: &[Applied], carried: &[PluginMigration], wanted: Result<&[u32], &[u32]>| {
            let found =
                pending(ran, carried).map(|list| list.iter().map(|m| m.number).collect::<Vec<_>>()).map_err(|error| {
                    match error {
                        MigrationError::Drift(drift) => drift.iter().map(|d| d.number).collect::<Vec<_>>(),
                        other => panic!("{other}"),
                    }
                });
            assert_eq!(found, wanted.map(<[u32]>::to_vec).map_err(<[u32]>::to_vec));
        };
        let carried = [migration(1, "a"), migration(2, "b"), migration(5, "c")];

        check(&[], &carried, Ok(&[1, 2, 5]));
        check(&[applied(1, "a")], &carried, Ok(&[2, 5]));
        check(&[applied(1, "a"), applied(2, "b"), applied(5, "c")], &carried, Ok(&[]));
        check(&[applied(1, "changed")], &carried, Err(&[1]));
        check(&[applied(1, "a"), applied(5, "c")], &carried, Err(&[2]));
        check(&[applied(1, "a"), applied(9, "gone")], &carried, Err(&[9, 2, 5]));
    }

    #[test]
    fn the_file_for_this_engine_takes_the_place_of_the_plain_one() {
        let files = [
            ("migrations/0001_init.sql", "a"),
            ("migrations/0002_index.postgres.sql", "pg"),
            ("migrations/0002_index.sql", "plain"),
            ("migrations/0002_index.sqlite.sql", "-- no-transaction\nlite"),
            ("migrations/0002_index.down.sql", "down"),
        ];

        let chosen = select_migrations(files.iter().map(|(path, sql)| (*path, sql.as_bytes()))).unwrap();

        let shown: Vec<_> =
            chosen.iter().map(|m| (m.number, m.name.as_str(), m.sql.as_str(), m.no_transaction)).collect();
        assert_eq!(shown, [(1, "init", "a", false), (2, "index", "-- no-transaction\nlite", true)]);
    }

    #[test]
    fn each_engine_and_each_direction_gets_its_own_files() {
        let files = [
            ("0001_init.sql", "a"),
            ("0001_init.down.sql", "-a"),
            ("0002_index.sqlite.sql", "lite"),
            ("0002_index.postgres.sql", "-- why\n\n-- no-transaction\n-- phase: contract\npg"),
            ("0002_index.postgres.down.sql", "-pg"),
        ];
        let files = || files.iter().map(|(path, sql)| (*path, sql.as_bytes()));
        let shown = |list: Vec<PluginMigration>| list.into_iter().map(|m| (m.number, m.sql)).collect::<Vec<_>>();

        let postgres = select_for("postgres", files()).unwrap();

        assert_eq!((postgres[1].no_transaction, postgres[1].phase), (true, Phase::Contract));
        assert_eq!(shown(select_for("sqlite", files()).unwrap()), [(1, "a".into()), (2, "lite".into())]);
        assert_eq!(shown(select_downs("sqlite", files()).unwrap()), [(1, "-a".into())]);
        assert_eq!(shown(select_downs("postgres", files()).unwrap()), [(1, "-a".into()), (2, "-pg".into())]);
        assert!(PluginMigration::new(1, "m", b"-- phase: destroy\nx").is_err());
    }

    #[test]
    fn a_misnamed_or_doubled_file_is_refused() {
        let check = |paths: &[&str]| {
            assert!(select_migrations(paths.iter().map(|path| (*path, &b"x"[..]))).is_err(), "{paths:?}")
        };
        check(&["1_init.sql"]);
        check(&["0001-init.sql"]);
        check(&["0001_.sql"]);
        check(&["0001_in it.sql"]);
        check(&["0001_init.txt"]);
        check(&["0001_init.mysql.sql"]);
        check(&["+001_init.sql"]);
        check(&["0001_init.sql", "0001_other.sql"]);
        assert!(select_migrations([("0001_init.sql", &[0xff][..])]).is_err());
    }

    #[test]
    fn a_list_out_of_order_or_with_a_false_checksum_is_refused() {
        assert!(check_list(&[migration(2, "a"), migration(1, "b")]).is_err());
        assert!(check_list(&[migration(1, "a"), migration(1, "b")]).is_err());
        assert!(check_list(&[PluginMigration { sql: "b".into(), ..migration(1, "a") }]).is_err());
        assert!(check_list(&[migration(1, "a\0")]).is_err());
        assert!(check_list(&[migration(1, "a"), migration(3, "b")]).is_ok());
    }
}
