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
    /// The step: `NNNN_name.sql`, `NNNN_name.sqlite.sql`, `NNNN_name.postgres.sql`.
    pub up: Texts,
    /// The way back, where there is one: the same with `.down.sql` at the end.
    pub down: Texts,
}

/// SQL for both engines, or for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// For both.
    pub portable: Option<String>,
    /// For SQLite; wins over the portable one.
    pub sqlite: Option<String>,
    /// For PostgreSQL; wins over the portable one.
    pub postgres: Option<String>,
}

impl Texts {
    /// Whether either engine has one.
    fn serve_both(&self) -> bool {
        self.portable.is_some() || (self.sqlite.is_some() && self.postgres.is_some())
    }
}

/// The steps that `files` hold, in order, or every reason why they are no sequence.
pub fn read(files: &Files) -> Result<Vec<Migration>, Vec<Refusal>> {
    let mut steps: BTreeMap<u32, Migration> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (path, file) in files.iter() {
        let refuse = |why: &str| Refusal::malformed(format!("migration `{}`: {why}", shown(path)));
        let Some(FileName { number, name, engine, is_down }) = parse(path) else {
            refusals.push(refuse(
                "a migration is named `NNNN_name`, then `.sqlite` or `.postgres` where it is for one engine, `.down` where it is the way back, and `.sql`",
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
        let texts = if is_down { &mut step.down } else { &mut step.up };
        *match engine {
            None => &mut texts.portable,
            Some(Engine::Sqlite) => &mut texts.sqlite,
            Some(Engine::Postgres) => &mut texts.postgres,
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
        if !step.up.serve_both() {
            let (number, name) = (step.number, &step.name);
            refusals.push(Refusal::malformed(format!(
                "migration {number:04}_{name} has no step for both engines: a `.sql`, or a `.sqlite.sql` and a `.postgres.sql`"
            )));
        }
    }
    if refusals.is_empty() { Ok(steps.into_values().collect()) } else { Err(refusals) }
}

#[derive(Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
}

struct FileName<'a> {
    number: u32,
    name: &'a str,
    engine: Option<Engine>,
    is_down: bool,
}

fn parse(path: &str) -> Option<FileName<'_>> {
    let stem = path.strip_suffix(".sql")?;
    let (stem, is_down) = stem.strip_suffix(".down").map_or((stem, false), |stem| (stem, true));
    let (stem, engine) = match stem.split_once('.') {
        None => (stem, None),
        Some((stem, "sqlite")) => (stem, Some(Engine::Sqlite)),
        Some((stem, "postgres")) => (stem, Some(Engine::Postgres)),
        Some(_) => return None,
    };
    let (number, name) = stem.split_once('_')?;
    let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let named = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(legal);
    let number = number.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number))?;
    (digits && named).then_some(FileName { number, name, engine, is_down })
}
