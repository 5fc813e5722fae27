//! `bulkhead reach`: which signer's code can reach what in which tenant, as a table, JSON or CSV.
//! What is reached is the host's to say; this asks for every page of it.

use bulkhead_model::{PluginId, TenantId};
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::Context;
use crate::error::Error;
use crate::view;

/// Entries of one request.
const PAGE: &str = "200";
/// Most entries that are put together.
const ENTRIES_MAX: usize = 500_000;

const EXAMPLES: &str = "\
Examples:
  bulkhead reach --tenant bank
  bulkhead reach --signer acme-release --csv > acme.csv
  bulkhead reach --at 2026-06-30T00:00:00Z
  bulkhead reach --from 2026-01-01T00:00:00Z --to 2026-06-30T00:00:00Z";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reach {
    /// Within one tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// By one signer: a principal's name, or a key id
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,
    /// Of one plugin
    #[arg(long, value_name = "ID")]
    plugin: Option<PluginId>,
    /// At this time [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    at: Option<Timestamp>,
    /// What was added and removed since this time
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Until this time [default: now]
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Timestamp>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Columns of the CSV form, and where they are in an entry.
const COLUMNS: [(&str, &str); 18] = [
    ("change", "/change"),
    ("signer", "/signer"),
    ("key_id", "/key_id"),
    ("role", "/role"),
    ("plugin_id", "/plugin_id"),
    ("version", "/version"),
    ("digest", "/digest"),
    ("rule", "/rule"),
    ("trust", "/trust"),
    ("policy_version", "/policy_version"),
    ("tenant_id", "/tenant_id"),
    ("kind", "/kind"),
    ("name", "/name"),
    ("access", "/access"),
    ("methods", "/methods"),
    ("ports", "/ports"),
    ("since", "/since"),
    ("until", "/until"),
];

/// Lists of an answer, and what the table and the CSV call their entries.
const LISTS: [(&str, &str); 3] = [("items", ""), ("added", "added"), ("removed", "removed")];

impl Reach {
    pub(crate) async fn run(&self, context: &Context) -> Result<(), Error> {
        let body = self.whole(context).await?;
        if self.csv {
            context.output.plain(&csv(&entries(&body)));
        } else {
            context.output.result(&body, &table(&entries(&body)));
        }
        Ok(())
    }

    /// All pages as one answer.
    async fn whole(&self, context: &Context) -> Result<Value, Error> {
        let client = context.client()?;
        let mut whole: Option<Value> = None;
        let mut cursor: Option<String> = None;
        loop {
            let mut query = self.query();
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut page = client.get("/api/v1/reach", &query).await?.body;
            let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => append(whole, &mut page),
            }
            let many =
                whole.as_ref().map_or(0, |whole| LISTS.iter().map(|(list, _)| length(whole, list)).sum::<usize>());
            match next {
                Some(_) if many > ENTRIES_MAX => {
                    return Err(Error::Step {
                        what: "put the report together",
                        reason: format!("it has more than {ENTRIES_MAX} entries"),
                        next: "ask for one tenant, plugin or signer at a time".to_owned(),
                    });
                }
                Some(next) => cursor = Some(next),
                None => {
                    let mut whole = whole.unwrap_or_default();
                    view::add(&mut whole, "next_cursor", Value::Null);
                    return Ok(whole);
                }
            }
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("tenant", self.tenant.as_ref().map(ToString::to_string)),
            ("signer", self.signer.clone()),
            ("plugin", self.plugin.as_ref().map(ToString::to_string)),
            ("at", self.at.map(|at| at.to_string())),
            ("from", self.from.map(|from| from.to_string())),
            ("to", self.to.map(|to| to.to_string())),
            ("limit", Some(PAGE.to_owned())),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn length(body: &Value, list: &str) -> usize {
    body.get(list).and_then(Value::as_array).map_or(0, Vec::len)
}

/// Moves the entries of a page behind those before.
fn append(whole: &mut Value, page: &mut Value) {
    for (list, _) in LISTS {
        let more = page.get_mut(list).and_then(Value::as_array_mut).map(std::mem::take);
        if let (Some(more), Some(entries)) = (more, whole.get_mut(list).and_then(Value::as_array_mut)) {
            entries.extend(more);
        }
    }
}

/// The entries of an answer, each with what became of it.
fn entries(body: &Value) -> Vec<Value> {
    let of_list = |(list, change): (&str, &str)| -> Vec<Value> {
        let entries = body.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let with_change = |mut entry: Value| {
            view::add(&mut entry, "change", change);
            entry
        };
        entries.into_iter().map(with_change).collect()
    };
    LISTS.into_iter().flat_map(of_list).collect()
}

fn table(entries: &[Value]) -> String {
    if entries.is_empty() {
        return "nothing is reached, or nothing has changed".to_owned();
    }
    let columns = [
        ("change", "/change"),
        ("signer", "/signer"),
        ("plugin", "/plugin_id"),
        ("version", "/version"),
        ("tenant", "/tenant_id"),
        ("kind", "/kind"),
        ("name", "/name"),
        ("access", "/access"),
        ("rule", "/rule"),
        ("trust", "/trust"),
        ("since", "/since"),
        ("until", "/until"),
    ];
    let rows = entries.iter().map(|entry| columns.map(|(_, pointer)| view::field(entry, pointer)));
    view::table(columns.map(|(heading, _)| heading), rows)
}

/// RFC 4180 with a line of headings.
fn csv(entries: &[Value]) -> String {
    let mut text = COLUMNS.map(|(heading, _)| heading).join(",");
    for entry in entries {
        text.push('\n');
        text.push_str(&COLUMNS.map(|(_, pointer)| cell(entry.pointer(pointer))).join(","));
    }
    text
}

/// One cell. Lists are joined by spaces; what a spreadsheet would take for a formula begins with an apostrophe.
fn cell(value: Option<&Value>) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Some(value) => plain(value),
    };
    let text = if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_holds_its_value_and_nothing_else() {
        let check = |value: Value, wanted: &str| assert_eq!(cell(Some(&value)), wanted);
        check(json!("plain"), "plain");
        check(json!(null), "");
        check(json!(7), "7");
        check(json!(["GET", "POST"]), "GET POST");
        check(json!([443, 8443]), "443 8443");
        check(json!("a,b"), "\"a,b\"");
        check(json!("say \"no\""), "\"say \"\"no\"\"\"");
        check(json!("two\nlines"), "\"two\nlines\"");
        check(json!("=HYPERLINK(1,2)"), "\"'=HYPERLINK(1,2)\"");
        check(json!("@x"), "'@x");
    }

    #[test]
    fn a_difference_says_of_each_line_whether_it_came_or_went() {
        let entry = |name: &str| json!({ "signer": "alice", "name": name });
        let body = json!({ "added": [entry("sql")], "removed": [entry("kv")] });

        let lines: Vec<String> = csv(&entries(&body)).lines().map(str::to_owned).collect();

        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("change,signer,key_id,"));
        assert!(lines[1].starts_with("added,alice,") && lines[1].contains(",sql,"));
        assert!(lines[2].starts_with("removed,alice,") && lines[2].contains(",kv,"));
    }
}
