//! Names and order of a plugin's migration files.
//! It does not read the SQL; the database does, when it runs it.

use std::collections::BTreeMap;

use crate::files::Files;
use crate::refusal::{Refusal, shown};

/// Highest number of a migration.
pub const NUMBER_MAX: u32 = 9_999;
/// Longest name of a migration in bytes.
pub const NAME_BYTES_MAX: usize = 80;

/// One numbered step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// From 1, without a gap.
    pub number: u32,
    /// The part of the file name after the number.
    pub name: String,
    /// SQL for both engines, `NNNN_name.sql`.
    pub portable: Option<String>,
    /// SQL for SQLite, `NNNN_name.sqlite.sql`; wins over the portable one.
    pub sqlite: Option<String>,
    /// SQL for PostgreSQL, `NNNN_name.postgres.sql`; wins over the portable one.
    pub postgres: Option<String>,
    /// SQL that takes the step back, `NNNN_name.down.sql`.
    pub down: Option<String>,
}

/// The steps that `files` hold, in order, or every reason why they are no sequence.
pub fn read(files: &Files) -> Result<Vec<Migration>, Vec<Refusal>> {
    let mut steps: BTreeMap<u32, Migration> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (path, file) in files.iter() {
        let refuse = |why: &str| Refusal::malformed(format!("migration `{}`: {why}", shown(path)));
        let Some((number, name, kind)) = parse(path) else {
            refusals.push(refuse(
                "a migration is named `NNNN_name` and `.sql`, `.sqlite.sql`, `.postgres.sql` or `.down.sql`",
            ));
            continue;
        };
        let Ok(sql) = String::from_utf8(file.bytes.clone()) else {
            refusals.push(refuse("it is not UTF-8"));
            continue;
        };
        let step =
            steps.entry(number).or_insert_with(|| Migration { number, name: name.to_owned(), ..Migration::default() });
        if step.name != name {
            refusals.push(refuse(&format!("number {number} is `{}` already", step.name)));
            continue;
        }
        *match kind {
            Kind::Portable => &mut step.portable,
            Kind::Sqlite => &mut step.sqlite,
            Kind::Postgres => &mut step.postgres,
            Kind::Down => &mut step.down,
        } = Some(sql);
    }
    for (wanted, step) in (1..).zip(steps.values()) {
        if step.number != wanted {
            refusals
                .push(Refusal::malformed(format!("migration {wanted} is missing: numbers run from 1 without a gap")));
            break;
        }
    }
    for step in steps.values() {
        if step.portable.is_none() && (step.sqlite.is_none() || step.postgres.is_none()) {
            let (number, name) = (step.number, &step.name);
            refusals.push(Refusal::malformed(format!(
                "migration {number:04}_{name} has no step for both engines: a `.sql`, or a `.sqlite.sql` and a `.postgres.sql`"
            )));
        }
    }
    if refusals.is_empty() { Ok(steps.into_values().collect()) } else { Err(refusals) }
}

#[derive(Clone, Copy)]
enum Kind {
    Portable,
    Sqlite,
    Postgres,
    Down,
}

fn parse(path: &str) -> Option<(u32, &str, Kind)> {
    let stem = path.strip_suffix(".sql")?;
    let (stem, kind) = match stem.rsplit_once('.') {
        None => (stem, Kind::Portable),
        Some((stem, "sqlite")) => (stem, Kind::Sqlite),
        Some((stem, "postgres")) => (stem, Kind::Postgres),
        Some((stem, "down")) => (stem, Kind::Down),
        Some(_) => return None,
    };
    let (number, name) = stem.split_once('_')?;
    let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let named = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(legal);
    let number = number.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number))?;
    (digits && named).then_some((number, name, kind))
}
