//! What differs between the engines of the host's tables, under the same names in each file.
//! It holds no query of the host's tables: those are written once.

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// A failure that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No space left.
    Full,
    /// Somebody else was first.
    Conflict,
}

/// The fault behind an error. The engines' codes do not overlap: one has numbers, the other five characters.
pub(crate) fn fault(error: &sqlx::Error) -> Option<Fault> {
    let code = error.as_database_error()?.code()?;
    sqlite::fault(&code).or_else(|| postgres::fault(&code))
}
