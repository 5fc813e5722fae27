//! What PostgreSQL's grammar makes of a printed statement, against what the guard says of it.
//! A node that is not listed is a disagreement, whatever the guard saw.

use std::collections::BTreeSet;

use bulkhead_database::tenant::guard::{Checked, Verb};
use serde_json::Value;

/// PostgreSQL does not read a form that the guard knows to be SQLite's.
pub const SQLITE_ALONE: &str = "for SQLite alone";

/// A chain is too long for the library, not for the grammar.
pub const TOO_DEEP: &str = "too deep";

/// Nodes that a statement may be made of.
const NODES: &[&str] = &[
    "AConst",
    "AExpr",
    "AStar",
    "Alias",
    "AlterTableCmd",
    "AlterTableStmt",
    "BoolExpr",
    "Boolean",
    "BooleanTest",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "ColumnDef",
    "ColumnRef",
    "CommonTableExpr",
    "Constraint",
    "CreateStmt",
    "DeleteStmt",
    "DropStmt",
    "Float",
    "FuncCall",
    "IndexElem",
    "IndexStmt",
    "InsertStmt",
    "Integer",
    "JoinExpr",
    "JsonArrayConstructor",
    "JsonFormat",
    "JsonObjectConstructor",
    "JsonParseExpr",
    "JsonValueExpr",
    "List",
    "MinMaxExpr",
    "MultiAssignRef",
    "NullTest",
    "ParamRef",
    "RangeSubselect",
    "RangeVar",
    "RenameStmt",
    "ResTarget",
    "RowExpr",
    "SelectStmt",
    "SetToDefault",
    "SortBy",
    "SqlvalueFunction",
    "String",
    "SubLink",
    "TypeCast",
    "UpdateStmt",
    "WindowDef",
];

/// Keys whose content would have a meaning that the guard never prints.
const NEVER: &[&str] = &[
    "into_clause",
    "locking_clause",
    "use_op",
    "coll_clause",
    "collation",
    "opclass",
    "agg_within_group",
    "func_variadic",
    "search_clause",
    "cycle_clause",
    "partspec",
    "partbound",
    "of_typename",
    "inh_relations",
    "table_space",
    "tablespacename",
    "exclude_op_names",
    "old_conpfeqop",
];

#[derive(Default)]
struct Seen {
    tables: BTreeSet<String>,
    functions: BTreeSet<String>,
    types: BTreeSet<String>,
    wrong: Option<String>,
}

/// Compares; the error says what differs.
pub fn compare(checked: &Checked) -> Result<(), String> {
    let parsed = match pg_query::parse(&checked.text, pg_query::ParserOptions::DEFAULT) {
        Ok(parsed) => parsed,
        // The messages between the library and this program nest a hundred deep at most.
        Err(pg_query::Error::Decode(_)) => return Err(TOO_DEEP.to_owned()),
        Err(_) if is_for_sqlite(checked) => return Err(SQLITE_ALONE.to_owned()),
        Err(error) => return Err(format!("unread: {error}")),
    };
    let [statement] = parsed.protobuf.stmts.as_slice() else {
        return Err(format!("{} statements", parsed.protobuf.stmts.len()));
    };
    let tree = serde_json::to_value(statement.stmt.as_ref().ok_or("empty")?).map_err(|error| error.to_string())?;
    let kind = tree["node"].as_object().and_then(|node| node.keys().next()).cloned().unwrap_or_default();
    if !is_kind(checked.verb, &kind, &tree["node"][&kind]) {
        return Err(format!("{kind} for {:?}", checked.verb));
    }
    let mut seen = Seen::default();
    seen.walk("", &tree);
    if let Some(wrong) = seen.wrong {
        return Err(wrong);
    }
    same("tables", &seen.tables, &checked.tables)?;
    same(
        "functions",
        &seen.functions,
        &checked.functions.iter().filter_map(|name| function(name)).collect::<Vec<_>>(),
    )?;
    same("types", &seen.types, &checked.types.iter().map(|name| type_name(name)).collect::<Vec<_>>())
}

/// Whether a form is there that the guard knows to be SQLite's alone, which PostgreSQL may not read.
fn is_for_sqlite(checked: &Checked) -> bool {
    checked.text.contains(" STRICT")
        || checked.text.contains(" WITHOUT ROWID")
        || checked.functions.iter().any(|name| name == "time")
}

/// Whether PostgreSQL reads a text, if it reads it at all, as what is printed for it.
pub fn keeps_meaning(text: &str, checked: &Checked) -> Result<(), String> {
    // Types and constraints have several spellings; what makes tables is compared by `compare` alone.
    if !matches!(checked.verb, Verb::Select | Verb::Insert | Verb::Update | Verb::Delete) {
        return Ok(());
    }
    let is_written = |word: &str| text.to_ascii_lowercase().contains(word);
    // Printed in another form on purpose: for SQLite a WHERE is added, words of SUBSTRING and TRIM become arguments,
    // LIMIT ALL goes.
    let is_another_form = checked.text.contains(" WHERE TRUE ON CONFLICT")
        || checked
            .functions
            .iter()
            .any(|name| ["ltrim", "rtrim", "substr", "substring", "trim"].contains(&name.as_str()))
        || is_written("limit") && !checked.text.contains(" LIMIT ");
    if is_another_form {
        return Ok(());
    }
    let fingerprint = |text| {
        pg_query::fingerprint(text, pg_query::ParserOptions::DEFAULT, pg_query::FingerprintOptions::FULL_RELNAME)
    };
    match (fingerprint(text), fingerprint(&checked.text)) {
        (Ok(written), Ok(printed)) if written.hex != printed.hex => Err("another meaning".to_owned()),
        _ => Ok(()),
    }
}

fn same(what: &str, seen: &BTreeSet<String>, told: &[String]) -> Result<(), String> {
    let told: BTreeSet<String> = told.iter().cloned().collect();
    if *seen == told { Ok(()) } else { Err(format!("{what}: PostgreSQL {seen:?}, guard {told:?}")) }
}

fn is_kind(verb: Verb, kind: &str, node: &Value) -> bool {
    let concurrent = node["concurrent"] == Value::Bool(true);
    match verb {
        Verb::Select => kind == "SelectStmt",
        Verb::Insert => kind == "InsertStmt",
        Verb::Update => kind == "UpdateStmt",
        Verb::Delete => kind == "DeleteStmt",
        Verb::CreateTable => kind == "CreateStmt",
        Verb::CreateIndex => kind == "IndexStmt" && !concurrent,
        Verb::CreateIndexConcurrently => kind == "IndexStmt" && concurrent,
        Verb::AlterTable => kind == "AlterTableStmt",
        Verb::Rename => kind == "RenameStmt",
        Verb::DropTable | Verb::DropIndex => kind == "DropStmt" && node["concurrent"] != Value::Bool(true),
    }
}

impl Seen {
    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn walk(&mut self, key: &str, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(key, item)),
            Value::Object(fields) => {
                self.fields(fields);
                if let Some(node) = fields.get("node").and_then(Value::as_object).and_then(|node| node.iter().next())
                    && !matches!(node.1, Value::Null)
                    && node.0 != "node"
                    && !NODES.contains(&node.0.as_str())
                {
                    self.wrong(format!("node {}", node.0));
                }
                fields.iter().for_each(|(key, value)| self.walk(key, value));
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: &serde_json::Map<String, Value>) {
        for key in NEVER {
            if fields.get(*key).is_some_and(is_there) {
                self.wrong(format!("{key} is there"));
            }
        }
        if let Some(name) = text(fields, "relname") {
            self.relation(fields, name);
        }
        if let Some(names) = fields.get("funcname") {
            let names = strings(names);
            match names.as_slice() {
                [name] => drop(self.functions.insert(name.clone())),
                [schema, name] if schema == "pg_catalog" && WORDS.contains(&name.as_str()) => {}
                [schema, name] if schema == "pg_catalog" && GRAMMAR_CALLS.contains(&name.as_str()) => {
                    self.functions.insert(format!("pg_catalog.{name}"));
                }
                _ => self.wrong(format!("function {names:?}")),
            }
        }
        if fields.contains_key("typemod") && fields.contains_key("array_bounds") {
            self.type_name(fields);
        }
        if text(fields, "relpersistence").is_some_and(|kind| kind != "p") {
            self.wrong("not a permanent table".to_owned());
        }
        if fields.contains_key("remove_type") {
            let objects = fields.get("objects").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_table = fields["remove_type"] == serde_json::json!(42);
            for object in objects {
                match strings(&object["node"]["List"]["items"]).as_slice() {
                    [name] if is_table => drop(self.tables.insert(name.clone())),
                    [_] => {}
                    names => self.wrong(format!("dropped {names:?}")),
                }
            }
        }
    }

    fn relation(&mut self, fields: &serde_json::Map<String, Value>, name: &str) {
        if ["schemaname", "catalogname"].iter().any(|part| text(fields, part).is_some_and(|part| !part.is_empty())) {
            self.wrong(format!("qualified {name}"));
        }
        if fields.get("inh") != Some(&Value::Bool(true)) {
            self.wrong(format!("ONLY {name}"));
        }
        self.tables.insert(name.to_owned());
    }

    fn type_name(&mut self, fields: &serde_json::Map<String, Value>) {
        let names = strings(&fields["names"]);
        let is_plain = fields["array_bounds"].as_array().is_some_and(Vec::is_empty)
            && fields["setof"] == Value::Bool(false)
            && fields["pct_type"] == Value::Bool(false);
        match names.as_slice() {
            [name] if is_plain => drop(self.types.insert(name.clone())),
            [schema, name] if is_plain && schema == "pg_catalog" => drop(self.types.insert(name.clone())),
            _ => self.wrong(format!("type {names:?}")),
        }
    }
}

fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Object(_) => true,
    }
}

fn text<'a>(fields: &'a serde_json::Map<String, Value>, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["node"]["String"]["sval"].as_str().unwrap_or("?").to_owned()).collect()
}

/// Functions that the grammar calls for what the guard takes for operators, ESCAPE and AT TIME ZONE, and one that it
/// makes a node of in some forms.
const WORDS: &[&str] = &["json_object", "like_escape", "timezone"];

/// Functions that the grammar calls for functions with a form of their own.
const GRAMMAR_CALLS: &[&str] = &["btrim", "extract", "position"];

/// What a function of the guard's is to the grammar; `None` is a node of its own.
fn function(name: &str) -> Option<String> {
    match name {
        "coalesce" | "nullif" | "greatest" | "least" | "json" | "json_object" | "json_array" => None,
        "trim" => Some("pg_catalog.btrim".to_owned()),
        "extract" | "position" => Some(format!("pg_catalog.{name}")),
        other => Some(other.to_owned()),
    }
}

/// What a type of the guard's is to the grammar.
fn type_name(name: &str) -> String {
    match name {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "real" => "float4",
        "double precision" => "float8",
        "boolean" => "bool",
        "decimal" => "numeric",
        "char" => "bpchar",
        other => other,
    }
    .to_owned()
}
