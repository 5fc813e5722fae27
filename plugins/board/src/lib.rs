//! A board of what is written in a tenant: it reads the views that other plugins publish, and keeps nothing itself.
//! What it may read is its manifest's and the tenant's to say.

use bulkhead_sdk::sql::{FromValue, Value};
use bulkhead_sdk::{Context, FromRow, PluginError, Request, Response, Routes, StorageError, equals, views};
use serde::{Deserialize, Serialize};

/// The plugin whose notes are on the board.
const NOTES: &str = "acme.notes";
/// Notes on the board, where the request does not say.
const LIMIT: u32 = 20;
/// Most notes on the board.
const LIMIT_MAX: u32 = 100;

/// The plugin.
pub struct Board;

bulkhead_sdk::plugin!(Board: routes);

impl Routes for Board {
    fn handle(_ctx: &Context, request: &Request) -> Result<Response, PluginError> {
        match request.route.as_str() {
            "/board" => board(request),
            "/read" => explore(&request.json()?),
            _ => Err(PluginError::not_found("no such route")),
        }
    }
}

/// A note as the view `notes` of `acme.notes` shows it, in version 1.
#[derive(Debug, FromRow, Serialize)]
struct Entry {
    id: String,
    title: String,
    author: String,
    /// Microseconds since 1970, UTC.
    updated_at: i64,
}

/// What was written last, by anybody or by one author.
fn board(request: &Request) -> Result<Response, PluginError> {
    let limit = request.query_as("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let entries: Vec<Entry> = match request.query_value("author") {
        Some(author) => views::read(NOTES, "notes", equals!["author" => author], limit)?,
        None => views::read(NOTES, "notes", equals![], limit)?,
    }
    .all()?;
    Response::json(&entries)
}

/// A read of any view, as a developer asks who wants to know what is in it.
#[derive(Deserialize)]
struct Read {
    plugin: String,
    view: String,
    #[serde(default)]
    equals: Vec<(String, Cell)>,
    limit: u32,
}

/// A value as JSON has it. Types that JSON does not know go under their name.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Cell {
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    Text(String),
    Other(Typed),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Typed {
    Bytes(Vec<u8>),
    Json(String),
    Timestamp(i64),
    Uuid(u64, u64),
    Decimal(String),
}

#[derive(Serialize)]
struct Found {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Serialize)]
struct Refused {
    error: String,
}

fn explore(read: &Read) -> Result<Response, PluginError> {
    let equals: Vec<_> = read.equals.iter().map(|(column, cell)| (column.as_str(), Value::from(cell))).collect();
    let rows = match views::read(&read.plugin, &read.view, &equals, read.limit) {
        Ok(rows) => rows,
        // Told as it is: whoever explores wants to know why.
        Err(error) => return Ok(Response::json(&Refused { error: error.to_string() })?.status(422)),
    };
    let columns = rows.columns().to_vec();
    let cells = rows.iter().map(|row| columns.iter().map(|name| row.get(name)).collect());
    let rows = cells.collect::<Result<_, StorageError>>()?;
    Response::json(&Found { columns, rows })
}

impl From<&Cell> for Value {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Boolean(value) => Self::Boolean(*value),
            Cell::Int64(value) => Self::Int64(*value),
            Cell::Float64(value) => Self::Float64(*value),
            Cell::Text(text) => Self::Text(text.clone()),
            Cell::Other(Typed::Bytes(bytes)) => Self::Bytes(bytes.clone()),
            Cell::Other(Typed::Json(text)) => Self::Json(text.clone()),
            Cell::Other(Typed::Timestamp(micros)) => Self::Timestamp(*micros),
            Cell::Other(Typed::Uuid(high, low)) => Self::Uuid((*high, *low)),
            Cell::Other(Typed::Decimal(digits)) => Self::Decimal(digits.clone()),
        }
    }
}

impl FromValue for Cell {
    const WANTED: &'static str = "any value";

    fn from_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Int64(value) => Self::Int64(*value),
            Value::Float64(value) => Self::Float64(*value),
            Value::Text(text) => Self::Text(text.clone()),
            Value::Bytes(bytes) => Self::Other(Typed::Bytes(bytes.clone())),
            Value::Json(text) => Self::Other(Typed::Json(text.clone())),
            Value::Timestamp(micros) => Self::Other(Typed::Timestamp(*micros)),
            Value::Uuid((high, low)) => Self::Other(Typed::Uuid(*high, *low)),
            Value::Decimal(digits) => Self::Other(Typed::Decimal(digits.clone())),
        })
    }
}

#[cfg(test)]
mod tests;
