//! What was measured: rows with a figure, a ratio, a bar and a verdict, as a table and as JSON.
//! It measures nothing and hides nothing: what did not run is a row as well.

use serde_json::{Value, json};

/// What a judged number must satisfy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
    /// Shown for comparison alone.
    None,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    id: &'static str,
    what: String,
    measured: Measured,
}

#[derive(Clone, Debug)]
enum Measured {
    /// Ours and the peer's, in one unit; the ratio is judged.
    Ratio { ours: f64, peer: f64, unit: &'static str, bar: Bar },
    /// One number, judged itself.
    Value { value: f64, unit: &'static str, bar: Bar },
    /// Why there is no number.
    NotRun(String),
}

impl Row {
    /// Ours over a peer's.
    pub(crate) fn ratio(
        id: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        [ours, peer]: [f64; 2],
        bar: Bar,
    ) -> Self {
        Self { id, what: what.into(), measured: Measured::Ratio { ours, peer, unit, bar } }
    }

    /// A number by itself.
    pub(crate) fn value(id: &'static str, what: impl Into<String>, unit: &'static str, value: f64, bar: Bar) -> Self {
        Self { id, what: what.into(), measured: Measured::Value { value, unit, bar } }
    }

    /// What could not be measured, and why.
    pub(crate) fn not_run(id: &'static str, what: impl Into<String>, reason: &impl ToString) -> Self {
        Self { id, what: what.into(), measured: Measured::NotRun(reason.to_string()) }
    }

    fn judged(&self) -> Option<(f64, Bar)> {
        match &self.measured {
            Measured::Ratio { ours, peer, bar, .. } => Some((ours / peer, *bar)),
            Measured::Value { value, bar, .. } => Some((*value, *bar)),
            Measured::NotRun(_) => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.judged() {
            Some((judged, Bar::AtMost(most))) if judged <= most => "pass",
            Some((judged, Bar::AtLeast(least))) if judged >= least => "pass",
            Some((_, Bar::None)) => "-",
            Some(_) => "SHORT",
            None => "not run",
        }
    }

    fn line(&self) -> String {
        let bar = match self.judged() {
            Some((_, Bar::AtMost(most))) => format!("<= {most}"),
            Some((_, Bar::AtLeast(least))) => format!(">= {least}"),
            Some((_, Bar::None)) | None => String::new(),
        };
        let (figure, ratio) = match &self.measured {
            Measured::Ratio { ours, peer, unit, .. } => {
                (format!("{ours:.2} {unit} over {peer:.2}"), format!("{:.2}", ours / peer))
            }
            Measured::Value { value, unit, .. } => (format!("{value:.2} {unit}"), String::new()),
            Measured::NotRun(reason) => (reason.clone(), String::new()),
        };
        format!("| {} | {} | {figure} | {ratio} | {bar} | {} |", self.id, self.what, self.verdict())
    }

    fn json(&self) -> Value {
        let (judged, bar) = self.judged().unzip();
        let bar = match bar {
            Some(Bar::AtMost(most)) => json!({ "at_most": most }),
            Some(Bar::AtLeast(least)) => json!({ "at_least": least }),
            Some(Bar::None) | None => Value::Null,
        };
        let mut row =
            json!({ "id": self.id, "what": self.what, "judged": judged, "bar": bar, "verdict": self.verdict() });
        let details = match &self.measured {
            Measured::Ratio { ours, peer, unit, .. } => json!({ "ours": ours, "peer": peer, "unit": unit }),
            Measured::Value { value, unit, .. } => json!({ "ours": value, "unit": unit }),
            Measured::NotRun(reason) => json!({ "reason": reason }),
        };
        if let (Value::Object(row), Value::Object(details)) = (&mut row, details) {
            row.extend(details);
        }
        row
    }
}

/// All rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| bar | work | figure | ratio | wanted | verdict |\n|---|---|---|---|---|---|\n";
    rows.iter().fold(head.to_owned(), |table, row| format!("{table}{}\n", row.line()))
}

/// All rows as one document.
pub(crate) fn document(rows: &[Row], rounds: usize, quick: bool) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "rounds": rounds, "quick": quick, "cores": cores, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_its_ratio_or_its_value() {
        let check = |row: Row, verdict| assert_eq!(row.verdict(), verdict, "{row:?}");
        let ratio = |ours, peer, bar| Row::ratio("P1", "a call", "us", [ours, peer], bar);

        check(ratio(13.0, 10.0, Bar::AtMost(1.3)), "pass");
        check(ratio(13.1, 10.0, Bar::AtMost(1.3)), "SHORT");
        check(ratio(1.6, 1.0, Bar::AtLeast(1.6)), "pass");
        check(ratio(1.0, 0.0, Bar::AtMost(2.0)), "SHORT");
        check(ratio(0.0, 0.0, Bar::AtMost(2.0)), "SHORT");
        check(Row::value("P8", "memory", "KiB", 80.0, Bar::AtMost(80.0)), "pass");
        check(Row::value("P8", "memory", "KiB", 1.0, Bar::None), "-");
        check(Row::not_run("P5", "a peer", &"it is not installed"), "not run");
    }
}
