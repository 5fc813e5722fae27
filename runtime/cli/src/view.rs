//! Shows JSON of the host to people: lists as tables, objects as lines.
//! It knows no resource; a command names the fields.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// A table of rows under headings.
pub(crate) fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    // The first cell's own margin goes; an empty one keeps its place.
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The `items` of a list answer as a table; a column is a heading and the JSON pointer of its field.
pub(crate) fn list<const COLUMNS: usize>(body: &Value, columns: [(&str, &str); COLUMNS], none: &str) -> String {
    let items = body.get("items").unwrap_or(body).as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return none.to_owned();
    }
    let rows = items.iter().map(|item| columns.map(|(_, pointer)| field(item, pointer)));
    let mut text = table(columns.map(|(heading, _)| heading), rows);
    if let Some(cursor) = body.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("\n(more: --cursor {cursor})"));
    }
    text
}

/// Fields of an object, one a line; those that are not there are left out.
pub(crate) fn object(body: &Value, fields: &[(&str, &str)]) -> String {
    let present: Vec<(&str, String)> = fields
        .iter()
        .map(|(label, pointer)| (*label, field(body, pointer)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let width = present.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<String> = present.iter().map(|(label, text)| format!("{label:width$}  {text}")).collect();
    lines.join("\n")
}

/// Adds a field to an object.
pub(crate) fn add(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// The field at `pointer` as one line; empty when it is not there.
pub(crate) fn field(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Object(fields)) => {
            let pairs: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={}", field(value, ""))).collect();
            pairs.join(" ")
        }
        Some(other) => other.to_string(),
    }
}
