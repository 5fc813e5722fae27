//! Prints calls of functions, their windows, and the calls that have a grammar of their own.
//! Which functions there are is the list's matter.

use sqlparser::ast::{
    CeilFloorKind, DateTimeField, DuplicateTreatment, Expr, ExtractSyntax, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, TrimWhereField, ValueWithSpan, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::denied::{Denied, Reason};
use super::expression::{unnested, unread_kind};
use super::print::{Printer, refuse};
use super::warnings::Note;
use super::{functions, names};

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    /// Functions with a grammar of their own; those that have a plain form get it.
    pub(super) fn special_call(&mut self, expression: &Expr) -> Result<(), Denied> {
        match expression {
            Expr::Ceil { expr, field } => self.rounded("ceil", expr, field),
            Expr::Floor { expr, field } => self.rounded("floor", expr, field),
            Expr::Extract { field, syntax, expr } => {
                if *syntax != ExtractSyntax::From {
                    return Err(clause("EXTRACT"));
                }
                self.begin_call("extract")?;
                self.put(date_part(field)?);
                self.put(" FROM ");
                self.operand(expr)?;
                self.put(")");
                Ok(())
            }
            Expr::Position { expr, r#in } => {
                self.begin_call("position")?;
                self.operand(expr)?;
                self.put(" IN ");
                self.operand(r#in)?;
                self.put(")");
                Ok(())
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand } => {
                self.begin_call(if *shorthand { "substr" } else { "substring" })?;
                self.expression(expr)?;
                self.put(", ");
                match substring_from {
                    Some(from) => self.expression(from)?,
                    None => self.put("1"),
                }
                self.clause(", ", substring_for.as_deref())?;
                self.put(")");
                Ok(())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let unwanted = match (trim_what, trim_characters.as_deref()) {
                    (what, None) => what.as_deref(),
                    (None, Some([characters])) => Some(characters),
                    _ => return Err(clause("TRIM")),
                };
                self.begin_call(match trim_where {
                    None | Some(TrimWhereField::Both) => "trim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                })?;
                self.expression(expr)?;
                self.clause(", ", unwanted)?;
                self.put(")");
                Ok(())
            }
            other => Err(Denied::new(Reason::Operator, unread_kind(other))),
        }
    }

    fn begin_call(&mut self, name: &str) -> Result<(), Denied> {
        let function = functions::find(name).ok_or_else(|| Denied::new(Reason::Function, name))?;
        if let Some(note) = functions::note(function) {
            self.note(note);
        }
        self.function_name(function.name);
        self.put("(");
        Ok(())
    }

    fn rounded(&mut self, name: &str, value: &Expr, field: &CeilFloorKind) -> Result<(), Denied> {
        if !matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
            return Err(clause("CEIL"));
        }
        self.begin_call(name)?;
        self.expression(value)?;
        self.put(")");
        Ok(())
    }

    pub(super) fn call(&mut self, function: &Function) -> Result<(), Denied> {
        let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } =
            function;
        refuse!(uses_odbc_syntax, within_group, null_treatment);
        if !matches!(parameters, FunctionArguments::None) {
            return Err(clause("parameters of a function"));
        }
        let word = names::function(name)?;
        match args {
            // Words that are calls without parentheses.
            FunctionArguments::None => match word.as_str() {
                "current_timestamp" | "current_date" | "current_time" => {
                    self.note(Note::Clock);
                    self.put(&word.to_ascii_uppercase());
                    Ok(())
                }
                _ => Err(Denied::new(Reason::Function, &word)),
            },
            FunctionArguments::List(arguments) if takes(&word, arguments.args.len()) => {
                self.begin_call(&word)?;
                self.arguments(arguments, word == "count")?;
                self.put(")");
                if let Some(condition) = filter {
                    self.put(" FILTER (");
                    self.clause("WHERE ", Some(condition))?;
                    self.put(")");
                }
                self.over(over.as_ref())
            }
            FunctionArguments::List(_) | FunctionArguments::Subquery(_) => Err(Denied::new(Reason::Function, &word)),
        }
    }

    fn arguments(&mut self, arguments: &FunctionArgumentList, takes_star: bool) -> Result<(), Denied> {
        let FunctionArgumentList { duplicate_treatment, args, clauses } = arguments;
        let is_alone = args.len() == 1 && clauses.is_empty() && duplicate_treatment.is_none();
        if matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct)) {
            self.put("DISTINCT ");
        }
        if !args.is_empty() {
            self.list(args, |printer, argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => printer.expression(value),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if takes_star && is_alone => {
                    printer.put("*");
                    Ok(())
                }
                _ => Err(clause("argument")),
            })?;
        }
        match clauses.as_slice() {
            [] => Ok(()),
            [FunctionArgumentClause::OrderBy(order)] => {
                self.put(" ORDER BY ");
                self.list(order, Self::order_by)
            }
            _ => Err(clause("argument")),
        }
    }

    fn over(&mut self, over: Option<&WindowType>) -> Result<(), Denied> {
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(name)) => {
                self.put(" OVER ");
                self.column(name)
            }
            Some(WindowType::WindowSpec(window)) => {
                self.put(" OVER ");
                self.window(window)
            }
        }
    }

    pub(super) fn window(&mut self, window: &WindowSpec) -> Result<(), Denied> {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = window;
        self.put("(");
        let mut gap = "";
        if let Some(name) = window_name {
            self.column(name)?;
            gap = " ";
        }
        if !partition_by.is_empty() {
            self.put(gap);
            self.put("PARTITION BY ");
            self.list(partition_by, Self::expression)?;
            gap = " ";
        }
        if !order_by.is_empty() {
            self.put(gap);
            self.put("ORDER BY ");
            self.list(order_by, Self::order_by)?;
            gap = " ";
        }
        if let Some(WindowFrame { units, start_bound, end_bound }) = window_frame {
            self.put(gap);
            self.put(match units {
                WindowFrameUnits::Rows => "ROWS ",
                WindowFrameUnits::Range => "RANGE ",
                WindowFrameUnits::Groups => "GROUPS ",
            });
            if let Some(end) = end_bound {
                self.put("BETWEEN ");
                self.bound(start_bound)?;
                self.put(" AND ");
                self.bound(end)?;
            } else {
                self.bound(start_bound)?;
            }
        }
        self.put(")");
        Ok(())
    }

    fn bound(&mut self, bound: &WindowFrameBound) -> Result<(), Denied> {
        let (distance, word) = match bound {
            WindowFrameBound::CurrentRow => {
                self.put("CURRENT ROW");
                return Ok(());
            }
            WindowFrameBound::Preceding(distance) => (distance, " PRECEDING"),
            WindowFrameBound::Following(distance) => (distance, " FOLLOWING"),
        };
        match distance.as_deref().map(unnested) {
            None => self.put("UNBOUNDED"),
            Some(Expr::Value(ValueWithSpan { value, span: _ })) => self.value(value)?,
            Some(_) => return Err(clause("window frame")),
        }
        self.put(word);
        Ok(())
    }
}

/// Whether a function that is a word of PostgreSQL's grammar can be called with so many arguments in a plain form.
fn takes(function: &str, arguments: usize) -> bool {
    match function {
        "current_timestamp" | "current_date" | "current_time" | "extract" | "position" => false,
        "json" => arguments == 1,
        "nullif" => arguments == 2,
        "substring" => arguments > 1,
        "coalesce" | "greatest" | "least" | "trim" => arguments > 0,
        _ => true,
    }
}

fn date_part(field: &DateTimeField) -> Result<&'static str, Denied> {
    Ok(match field {
        DateTimeField::Year => "YEAR",
        DateTimeField::Quarter => "QUARTER",
        DateTimeField::Month => "MONTH",
        DateTimeField::Week(None) => "WEEK",
        DateTimeField::Day => "DAY",
        DateTimeField::Dow => "DOW",
        DateTimeField::Doy => "DOY",
        DateTimeField::Isodow => "ISODOW",
        DateTimeField::Isoyear => "ISOYEAR",
        DateTimeField::Hour => "HOUR",
        DateTimeField::Minute => "MINUTE",
        DateTimeField::Second => "SECOND",
        DateTimeField::Epoch => "EPOCH",
        _ => return Err(clause("EXTRACT")),
    })
}
