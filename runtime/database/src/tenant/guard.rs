//! The statement guard: reads a plugin's SQL before any engine does, refuses what is not on its lists, and prints what
//! is allowed again, every identifier quoted and every meaning in parentheses. The engine is sent the printed text alone.
//! It knows no tables and runs nothing; the engines' own rules hold without it.

mod account;
mod alter;
mod call;
mod denied;
mod expression;
mod functions;
mod names;
mod print;
mod query;
mod schema;
mod tokens;
mod types;
mod warnings;
mod write;

use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

pub use denied::{Denied, Reason};
pub use functions::{Engines, FUNCTIONS, Function};
pub use warnings::{Aspect, Warning};

use super::limits;
use print::Printer;
use tokens::Bounds;
use warnings::Note;

/// Levels of the parser's own recursion. Each takes up to 64 KiB of stack in an unoptimized build.
const RECURSION_MAX: usize = 320;
/// Stack that reading, printing and dropping a statement may take, in bytes; reserved for the time of a check and
/// touched only as deep as a statement is nested.
const STACK_BYTES: usize = 32 << 20;
/// Statements of one migration.
const SCRIPT_STATEMENTS_MAX: usize = 1_000;
/// Bytes of statements and verdicts that a [`Guard`] remembers.
const CACHE_BYTES_MAX: u64 = 8 << 20;
/// Bytes that an entry of the cache takes beside its texts, about; it bounds the number of entries as well.
const ENTRY_BYTES: usize = 512;

/// What a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Read rows.
    Query,
    /// Read or write rows.
    Execute,
}

/// What a checked statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads rows.
    Select,
    /// Adds rows.
    Insert,
    /// Changes rows.
    Update,
    /// Removes rows.
    Delete,
    /// Makes a table.
    CreateTable,
    /// Makes an index in the transaction of its migration.
    CreateIndex,
    /// Makes an index outside of any transaction.
    CreateIndexConcurrently,
    /// Changes the shape of a table.
    AlterTable,
    /// Gives a table, column or constraint another name.
    Rename,
    /// Removes a table.
    DropTable,
    /// Removes an index.
    DropIndex,
}

/// A statement that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What to send to the engine, and nothing else.
    pub text: String,
    /// Number of parameters, `$1` to `$n`, each used at least once.
    pub parameters: u16,
    /// What it does.
    pub verb: Verb,
    /// Tables and common table expressions that it names, as the engine will read them, sorted.
    pub tables: Vec<String>,
    /// Functions that it calls, sorted.
    pub functions: Vec<String>,
    /// Types that it names, sorted.
    pub types: Vec<String>,
}

impl Checked {
    /// Whether it changes no row and no table.
    pub fn reads_only(&self) -> bool {
        self.verb == Verb::Select
    }
}

/// A guard that remembers what it has checked, up to 8 MiB of it, so that a plugin's usual statements are read once.
#[derive(Clone, Debug)]
pub struct Guard {
    verdicts: moka::sync::Cache<(Kind, Box<str>), Arc<Checked>>,
}

impl Default for Guard {
    fn default() -> Self {
        let weigh = |key: &(Kind, Box<str>), checked: &Arc<Checked>| {
            u32::try_from(key.1.len() + checked.text.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self { verdicts: moka::sync::Cache::builder().max_capacity(CACHE_BYTES_MAX).weigher(weigh).build() }
    }
}

impl Guard {
    /// [`check`] with a memory. Only what passed is remembered: refusals are not worth keeping for an attacker.
    pub fn check(&self, text: &str, kind: Kind) -> Result<Arc<Checked>, Denied> {
        if text.len() > limits::STATEMENT_BYTES_MAX {
            return Err(Denied::new(Reason::Size, ""));
        }
        let key = (kind, Box::from(text));
        if let Some(checked) = self.verdicts.get(&key) {
            return Ok(checked);
        }
        let checked = Arc::new(check(text, kind)?);
        self.verdicts.insert(key, Arc::clone(&checked));
        Ok(checked)
    }
}

/// Checks one statement of at most 64 KiB.
pub fn check(text: &str, kind: Kind) -> Result<Checked, Denied> {
    on_own_stack(|| {
        let mut statements = print_all(text, &tokens::STATEMENT)?;
        let checked = match (statements.pop(), statements.is_empty()) {
            (Some((checked, _)), true) => checked,
            (None, _) => return Err(Denied::new(Reason::Syntax, "no statement")),
            (Some(_), false) => return Err(Denied::new(Reason::Statements, "")),
        };
        match (kind, checked.verb) {
            (_, Verb::Select) | (Kind::Execute, Verb::Insert | Verb::Update | Verb::Delete) => Ok(checked),
            (Kind::Query, Verb::Insert | Verb::Update | Verb::Delete) => Err(Denied::new(Reason::Statement, "write")),
            (_, _) => Err(Denied::new(Reason::Statement, "schema")),
        }
    })
}

/// Checks the SELECT of a view: one statement that reads and takes no parameters, and that can stand in parentheses in the
/// place of a table.
pub fn check_view(text: &str) -> Result<Checked, Denied> {
    let checked = check(text, Kind::Query)?;
    if checked.parameters > 0 {
        return Err(Denied::new(Reason::Parameter, "a view takes none"));
    }
    if checked.text.len() > limits::STATEMENT_BYTES_MAX - limits::VIEW_FRAME_BYTES_MAX {
        return Err(Denied::new(Reason::Size, ""));
    }
    // Read as one table it prints as it stands, or what is around it would not be what it seems.
    let table = view_as_table(&checked.text);
    match check(&table, Kind::Query) {
        Ok(again) if again.text == table => Ok(checked),
        Ok(_) => Err(Denied::new(Reason::Syntax, "it is no table within parentheses")),
        Err(denied) => Err(denied),
    }
}

/// All rows of a view, from its SELECT as it was printed. A reader's conditions follow.
pub(super) fn view_as_table(printed: &str) -> String {
    format!("SELECT * FROM ({printed}) AS \"VIEW\"")
}

/// Checks a migration of at most 1 MiB and 1,000 statements, which may change the shape of tables and take no parameters.
pub fn check_script(text: &str) -> Result<Vec<Checked>, Denied> {
    on_own_stack(|| Ok(print_all(text, &tokens::SCRIPT)?.into_iter().map(|(checked, _)| checked).collect()))
}

/// What works otherwise, or not at all, on one of the two engines. `text` is a statement or a migration.
pub fn portability(text: &str) -> Result<Vec<Warning>, Denied> {
    warnings(text, Aspect::Portability)
}

/// What locks, rewrites or destroys in a migration.
pub fn lint(text: &str) -> Result<Vec<Warning>, Denied> {
    warnings(text, Aspect::Migration)
}

fn warnings(text: &str, aspect: Aspect) -> Result<Vec<Warning>, Denied> {
    on_own_stack(|| {
        let statements = print_all(text, &tokens::SCRIPT)?;
        let is_alone = statements.len() == 1;
        let mut warnings = Vec::new();
        for (statement, (checked, notes)) in statements.into_iter().enumerate() {
            let mixed = checked.verb == Verb::CreateIndexConcurrently && !is_alone;
            let mixed = mixed.then_some(Note::ConcurrentlyNotAlone);
            let notes = notes.into_iter().chain(mixed).filter(|note| note.aspect() == aspect);
            warnings.extend(notes.map(|note| Warning { statement, code: note.code(), text: note.text() }));
        }
        Ok(warnings)
    })
}

/// Reads a text and prints its statements. What is printed keeps the same bounds as what was written.
fn print_all(text: &str, bounds: &Bounds) -> Result<Vec<(Checked, Vec<Note>)>, Denied> {
    let tokens = tokens::read(text, bounds)?;
    let statements = parse(tokens.clone())?;
    if bounds.is_one_statement && statements.len() > 1 || statements.len() > SCRIPT_STATEMENTS_MAX {
        return Err(Denied::new(Reason::Statements, ""));
    }
    let mut written = tokens.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.is_empty());
    let print = |statement| {
        let mut printer = Printer::default();
        let verb = printer.statement(statement)?;
        let (checked, notes) = printer.finish(verb)?;
        let printed = tokens::read(&checked.text, bounds)?;
        account::check(written.next().unwrap_or_default().iter(), &printed)?;
        Ok((checked, notes))
    };
    let printed = statements.iter().map(print).collect::<Result<Vec<_>, Denied>>()?;
    // The parser stops at some words as if the text ended there.
    if written.next().is_some() { Err(Denied::new(Reason::Syntax, "text behind a statement")) } else { Ok(printed) }
}

fn parse(tokens: Vec<TokenWithSpan>) -> Result<Vec<Statement>, Denied> {
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(RECURSION_MAX);
    parser.with_tokens_with_locations(tokens).parse_statements().map_err(|error| match error {
        ParserError::RecursionLimitExceeded => Denied::new(Reason::Depth, ""),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => Denied::new(Reason::Syntax, &text),
    })
}

/// Runs `work` on a stack that holds the deepest statement, however small the caller's is. What `work` parses it must
/// also drop.
fn on_own_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let guard = Guard::default();

        for number in 0..300 {
            guard.check(&format!("SELECT {number}, '{}'", "x".repeat(60_000)), Kind::Query).unwrap();
        }

        guard.verdicts.run_pending_tasks();
        assert!(guard.verdicts.entry_count() > 0 && guard.verdicts.weighted_size() <= CACHE_BYTES_MAX);
    }
}
