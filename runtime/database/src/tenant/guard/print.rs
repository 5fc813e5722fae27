//! The printer: what it does not write does not reach an engine. It keeps count of what a statement names.
//! Each kind of node has its own file beside this one.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use sqlparser::ast::{DataType, Ident, ObjectName, Statement, Value};

use super::denied::{Denied, Reason};
use super::warnings::Note;
use super::{Checked, Verb, names, tokens, types};

/// Largest exponent of a number: what a double takes, and far from what a `numeric` would fill memory with.
const EXPONENT_MAX: u32 = 308;
/// Longest name of a kind of statement, in bytes.
const KIND_NAME_BYTES_MAX: usize = 64;

/// Writes a statement from its parsed form, or refuses it.
#[derive(Debug, Default)]
pub(super) struct Printer {
    pub(super) out: String,
    tables: BTreeSet<String>,
    functions: BTreeSet<String>,
    types: BTreeSet<String>,
    parameters: BTreeSet<u16>,
    notes: BTreeSet<Note>,
}

/// A part of a statement that may be there or not.
pub(super) trait Absent {
    /// Whether it is not there.
    fn is_absent(&self) -> bool;
}

impl Absent for bool {
    fn is_absent(&self) -> bool {
        !*self
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// Refuses a statement in which one of the named parts is there.
macro_rules! refuse {
    ($($part:ident),+ $(,)?) => {
        $(if !$crate::tenant::guard::print::Absent::is_absent($part) {
            return Err($crate::tenant::guard::denied::Denied::new(
                $crate::tenant::guard::denied::Reason::Clause,
                stringify!($part),
            ));
        })+
    };
}
pub(super) use refuse;

impl Printer {
    /// Writes a whole statement and says what it does.
    pub(super) fn statement(&mut self, statement: &Statement) -> Result<Verb, Denied> {
        match statement {
            Statement::Query(query) => self.top_query(query),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::AlterTable(alter) => self.alter_table(alter),
            // RESTRICT is what happens without it.
            Statement::Drop { object_type, if_exists, names, cascade, restrict: _, purge, temporary, table } => {
                refuse!(cascade, purge, temporary, table);
                self.drop(*object_type, *if_exists, names)
            }
            other => Err(Denied::new(Reason::Statement, &kind_name(other))),
        }
    }

    /// What was written, and what was noted on the way.
    pub(super) fn finish(self, verb: Verb) -> Result<(Checked, Vec<Note>), Denied> {
        let parameters = u16::try_from(self.parameters.len()).unwrap_or(u16::MAX);
        if self.parameters.last().is_some_and(|last| *last != parameters) {
            return Err(Denied::new(Reason::Parameter, "not each of $1 to $n is used"));
        }
        let checked = Checked {
            text: self.out,
            parameters,
            verb,
            tables: self.tables.into_iter().collect(),
            functions: self.functions.into_iter().collect(),
            types: self.types.into_iter().collect(),
        };
        Ok((checked, self.notes.into_iter().collect()))
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.insert(note);
    }

    pub(super) fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Writes `items` between commas.
    pub(super) fn list<T>(
        &mut self,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), Denied>,
    ) -> Result<(), Denied> {
        if items.is_empty() {
            return Err(Denied::new(Reason::Clause, "empty list"));
        }
        for (place, each) in items.iter().enumerate() {
            if place > 0 {
                self.put(", ");
            }
            item(self, each)?;
        }
        Ok(())
    }

    /// Writes `items` between commas and parentheses.
    pub(super) fn parenthesized<T>(
        &mut self,
        items: &[T],
        item: impl FnMut(&mut Self, &T) -> Result<(), Denied>,
    ) -> Result<(), Denied> {
        self.put("(");
        self.list(items, item)?;
        self.put(")");
        Ok(())
    }

    /// The name of a table that the statement reads, writes or makes.
    pub(super) fn table_name(&mut self, name: &ObjectName) -> Result<(), Denied> {
        let name = names::table(name)?;
        self.quoted(&name);
        self.tables.insert(name);
        Ok(())
    }

    /// The name of an index, constraint or common table expression.
    pub(super) fn own_name(&mut self, name: &Ident) -> Result<(), Denied> {
        let name = names::table_ident(name)?;
        self.quoted(&name);
        Ok(())
    }

    /// The name of a column or an alias.
    pub(super) fn column(&mut self, name: &Ident) -> Result<(), Denied> {
        let name = names::column(name)?;
        self.quoted(&name);
        Ok(())
    }

    /// The name of a column that has no table in front.
    pub(super) fn single_column(&mut self, name: &ObjectName) -> Result<(), Denied> {
        let name = names::single_column(name)?;
        self.quoted(&name);
        Ok(())
    }

    /// A name that `names` has passed, so that it holds no quote.
    pub(super) fn quoted(&mut self, name: &str) {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.note(Note::CaseOfName);
        }
        self.put("\"");
        self.put(name);
        self.put("\"");
    }

    pub(super) fn function_name(&mut self, name: &str) {
        self.put(name);
        self.functions.insert(name.to_owned());
    }

    pub(super) fn type_name(&mut self, name: &'static str) {
        self.put(name);
        self.types.insert(name.to_ascii_lowercase());
    }

    pub(super) fn data_type(&mut self, data_type: &DataType) -> Result<(), Denied> {
        let (name, arguments) = types::check(data_type)?;
        if let Some(note) = types::note(name) {
            self.note(note);
        }
        self.type_name(name);
        self.put(&arguments);
        Ok(())
    }

    pub(super) fn value(&mut self, value: &Value) -> Result<(), Denied> {
        match value {
            Value::Number(digits, is_long) => {
                if *is_long || !is_number(digits) {
                    return Err(Denied::new(Reason::Literal, digits));
                }
                if digits.contains(['.', 'e', 'E']) {
                    self.note(Note::Decimal);
                } else if digits.parse::<i64>().is_err() {
                    self.note(Note::BigNumber);
                }
                self.put(digits);
            }
            Value::SingleQuotedString(text) => self.string(text),
            Value::Boolean(true) => self.put("TRUE"),
            Value::Boolean(false) => self.put("FALSE"),
            Value::Null => self.put("NULL"),
            Value::Placeholder(name) => {
                self.parameters.insert(tokens::parameter_number(name)?);
                self.put(name);
            }
            _ => return Err(Denied::new(Reason::Literal, "write it as a plain 'text'")),
        }
        Ok(())
    }

    /// A text, which both engines read alike: the quote is doubled and nothing else has a meaning.
    pub(super) fn string(&mut self, text: &str) {
        self.put("'");
        self.put(&text.replace('\'', "''"));
        self.put("'");
    }
}

/// Digits, at most one point, and an exponent that a double can have.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    is_digits(whole)
        && is_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && is_digits(exponent)
        && exponent.parse::<u32>().is_ok_and(|exponent| exponent <= EXPONENT_MAX)
}

/// The name of a kind of statement, in lower case: all that is said of what is refused whole.
fn kind_name(statement: &Statement) -> String {
    let mut name = KindName(String::new());
    // Stops at the first sign that is no letter, long before it could recurse into the statement.
    if write!(name, "{statement:?}").is_ok() {
        name.0.truncate(KIND_NAME_BYTES_MAX);
    }
    name.0
}

struct KindName(String);

impl fmt::Write for KindName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let word = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
        self.0.push_str(&text.get(..word).unwrap_or_default().to_ascii_lowercase());
        if word < text.len() || self.0.len() > KIND_NAME_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}
