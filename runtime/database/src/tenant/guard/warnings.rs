//! What the guard notices in SQL that it lets pass: differences between the engines, and what a migration locks,
//! rewrites or destroys. It refuses nothing.

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The engines differ.
    Portability,
    /// A migration locks, rewrites or destroys.
    Migration,
}

/// A warning about one statement of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Index of the statement, from 0.
    pub statement: usize,
    /// Stable name of the warning.
    pub code: &'static str,
    /// What happens, and what to do instead.
    pub text: &'static str,
}

macro_rules! notes {
    ($($note:ident, $aspect:ident, $code:literal, $text:literal;)+) => {
        /// Something that was noticed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Note { $($note),+ }

        impl Note {
            pub(super) fn aspect(self) -> Aspect {
                match self { $(Self::$note => Aspect::$aspect),+ }
            }

            pub(super) fn code(self) -> &'static str {
                match self { $(Self::$note => $code),+ }
            }

            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$note => $text),+ }
            }
        }
    };
}

notes! {
    LikeCase, Portability, "like-case",
        "SQLite's LIKE takes no notice of the case of ASCII letters, PostgreSQL's does: compare lower(..) with a pattern in lower case";
    Ilike, Portability, "ilike", "SQLite has no ILIKE: compare lower(..) with a pattern in lower case";
    AsciiCase, Portability, "ascii-case", "upper() and lower() change ASCII letters alone on SQLite";
    Clock, Portability, "clock",
        "the clock gives timestamps on PostgreSQL, and text or microseconds on SQLite: pass the time as a parameter";
    PostgresFunction, Portability, "postgres-function", "SQLite has no such function";
    SqliteFunction, Portability, "sqlite-function", "PostgreSQL has no such function";
    FunctionDiffers, Portability, "function-differs",
        "a function that answers with another type or form on each engine: cast its answer";
    Decimal, Portability, "decimal",
        "0.1 is a decimal on PostgreSQL and a binary fraction on SQLite: count in whole units, or cast to double precision";
    BigNumber, Portability, "big-number",
        "a whole number beyond 64 bits is a decimal on PostgreSQL and a binary fraction on SQLite";
    Interval, Portability, "interval", "SQLite has no intervals: count in microseconds";
    TimeZone, Portability, "time-zone", "SQLite has no AT TIME ZONE: keep times in UTC";
    JsonbText, Portability, "jsonb-text", "the text of a jsonb value has other blanks and another order on SQLite";
    JsonOperator, Portability, "json-operator", "SQLite has -> and ->> alone of the operators on JSON";
    Cast, Portability, "cast",
        "a cast of what does not fit is an error on PostgreSQL and a number or the same text on SQLite";
    DivideModulo, Portability, "numeric-modulo", "% takes whole numbers alone on SQLite";
    NullOrder, Portability, "null-order",
        "NULL is sorted last on PostgreSQL and first on SQLite: write NULLS FIRST or NULLS LAST";
    DistinctOn, Portability, "distinct-on", "SQLite has no DISTINCT ON";
    DeleteUsing, Portability, "delete-using", "SQLite has no DELETE .. USING: use WHERE EXISTS (..)";
    OffsetAlone, Portability, "offset-alone", "SQLite has no OFFSET without LIMIT";
    NestedCompound, Portability, "nested-compound", "SQLite has no parentheses around the parts of a UNION";
    AliasColumns, Portability, "alias-columns", "SQLite has no column names behind the alias of a table";
    DefaultValue, Portability, "default-value", "SQLite has no DEFAULT as a value: leave the column out";
    OnConstraint, Portability, "on-constraint", "SQLite has no ON CONFLICT ON CONSTRAINT: name the columns";
    Identity, Portability, "identity", "SQLite has no identity columns: let the host make the ids";
    PostgresType, Portability, "postgres-type", "SQLite keeps the word, but stores by what is put in";
    SqliteType, Portability, "sqlite-type", "PostgreSQL has no such type";
    SqliteTable, Portability, "sqlite-table", "PostgreSQL has neither STRICT nor WITHOUT ROWID";
    IndexMethod, Portability, "index-method", "SQLite has no USING, INCLUDE or CONCURRENTLY for an index";
    AlterPostgres, Portability, "alter-postgres",
        "SQLite can only add, drop and rename a column and rename a table: use a migration file per engine";
    CaseOfName, Portability, "name-case", "a quoted name with capitals is another one on PostgreSQL, the same on SQLite";

    IndexLocks, Migration, "index-locks",
        "building an index holds up writes to its table: use CONCURRENTLY in a file of its own with `-- no-transaction`";
    ConcurrentlyNotAlone, Migration, "concurrently-alone",
        "CREATE INDEX CONCURRENTLY must be alone in its file, with `-- no-transaction`";
    ColumnRewrites, Migration, "column-rewrites",
        "a new column with a default that is not constant, or a generated one, rewrites its table under a lock: add it \
         empty and fill it afterwards";
    NotNullWithoutDefault, Migration, "not-null-without-default",
        "a new NOT NULL column without a default fails where the table has rows";
    TypeRewrites, Migration, "type-rewrites",
        "another type rewrites the table under a lock: add a new column, fill it, drop the old one in a later release";
    NotNullScans, Migration, "not-null-scans",
        "SET NOT NULL reads the whole table under a lock: add a CHECK .. NOT VALID, validate it, then set it";
    ConstraintScans, Migration, "constraint-scans",
        "a new constraint reads the whole table under a lock: add it NOT VALID and validate it in a later migration";
    UniqueLocks, Migration, "unique-locks",
        "a new UNIQUE or PRIMARY KEY builds its index under a lock: build a unique index CONCURRENTLY instead";
    Drops, Migration, "drops",
        "what is dropped is gone, and an older version of the plugin may still read it: drop in a contract phase";
    Renames, Migration, "renames",
        "an older version of the plugin still uses the old name: add the new one, fill it, drop the old one later";
    TouchesAllRows, Migration, "touches-all-rows",
        "UPDATE or DELETE without WHERE touches every row in one transaction: fill in batches";
}
