//! Prints expressions. What binds how is written in parentheses, because the engines do not agree about it.
//! Calls of functions have their own file.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, Expr, Ident, Interval, Query, UnaryOperator, Value, ValueWithSpan,
};

use super::denied::{Denied, Reason};
use super::print::{Printer, refuse};
use super::warnings::Note;

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    /// An expression where nothing stands beside it.
    pub(super) fn expression(&mut self, expression: &Expr) -> Result<(), Denied> {
        match expression {
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(names) => self.compound(names),
            Expr::Value(ValueWithSpan { value, span: _ }) => self.value(value),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::Cast { kind, expr, data_type, format } => {
                refuse!(format);
                if !matches!(kind, CastKind::Cast | CastKind::DoubleColon) {
                    return Err(clause("TRY_CAST"));
                }
                self.note(Note::Cast);
                self.put("CAST(");
                self.expression(expr)?;
                self.put(" AS ");
                self.data_type(data_type)?;
                self.put(")");
                Ok(())
            }
            Expr::Function(function) => self.call(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Exists { subquery, negated } => {
                self.put(if *negated { "(NOT EXISTS " } else { "EXISTS " });
                self.subquery(subquery)?;
                self.put(if *negated { ")" } else { "" });
                Ok(())
            }
            Expr::Subquery(query) => self.subquery(query),
            Expr::Tuple(items) => self.parenthesized(items, Self::expression),
            Expr::Interval(interval) => self.interval(interval),
            _ => self.test(expression),
        }
    }

    /// An expression that says something of a value.
    fn test(&mut self, expression: &Expr) -> Result<(), Denied> {
        match expression {
            Expr::IsNull(value) => self.postfix(value, " IS NULL"),
            Expr::IsNotNull(value) => self.postfix(value, " IS NOT NULL"),
            Expr::IsTrue(value) => self.postfix(value, " IS TRUE"),
            Expr::IsNotTrue(value) => self.postfix(value, " IS NOT TRUE"),
            Expr::IsFalse(value) => self.postfix(value, " IS FALSE"),
            Expr::IsNotFalse(value) => self.postfix(value, " IS NOT FALSE"),
            Expr::IsDistinctFrom(left, right) => self.infix(left, " IS DISTINCT FROM ", right),
            Expr::IsNotDistinctFrom(left, right) => self.infix(left, " IS NOT DISTINCT FROM ", right),
            Expr::Between { expr, negated, low, high } => {
                self.infix(expr, if *negated { " NOT BETWEEN " } else { " BETWEEN " }, low)?;
                self.put(" AND ");
                self.operand(high)
            }
            Expr::InSubquery { expr, subquery, negated } => {
                self.postfix(expr, if *negated { " NOT IN " } else { " IN " })?;
                self.subquery(subquery)
            }
            Expr::InList { expr, list, negated } => {
                self.postfix(expr, if *negated { " NOT IN " } else { " IN " })?;
                match list.as_slice() {
                    // One query in parentheses of its own is a list of rows to PostgreSQL and a value to SQLite.
                    [only] => match unnested(only) {
                        Expr::Subquery(query) => self.subquery(query),
                        _ => self.parenthesized(list, Self::expression),
                    },
                    _ => self.parenthesized(list, Self::expression),
                }
            }
            Expr::Like { negated, any, expr, pattern, escape_char } => {
                refuse!(any);
                self.note(Note::LikeCase);
                self.infix(expr, if *negated { " NOT LIKE " } else { " LIKE " }, pattern)?;
                self.escape(escape_char.as_deref())
            }
            Expr::ILike { negated, any, expr, pattern, escape_char } => {
                refuse!(any);
                self.note(Note::Ilike);
                self.infix(expr, if *negated { " NOT ILIKE " } else { " ILIKE " }, pattern)?;
                self.escape(escape_char.as_deref())
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                self.note(Note::TimeZone);
                self.infix(timestamp, " AT TIME ZONE ", time_zone)
            }
            _ => self.special_call(expression),
        }
    }

    /// An expression beside an operator: in parentheses unless it is one word, one call or in brackets already.
    pub(super) fn operand(&mut self, expression: &Expr) -> Result<(), Denied> {
        let expression = unnested(expression);
        let is_closed = matches!(
            expression,
            Expr::Value(_)
                | Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Function(_)
                | Expr::Cast { .. }
                | Expr::Case { .. }
                | Expr::Exists { .. }
                | Expr::Subquery(_)
                | Expr::Tuple(_)
                | Expr::Ceil { .. }
                | Expr::Floor { .. }
                | Expr::Extract { .. }
                | Expr::Position { .. }
                | Expr::Substring { .. }
                | Expr::Trim { .. }
        );
        if is_closed {
            return self.expression(expression);
        }
        self.put("(");
        self.expression(expression)?;
        self.put(")");
        Ok(())
    }

    fn postfix(&mut self, operand: &Expr, words: &str) -> Result<(), Denied> {
        self.operand(operand)?;
        self.put(words);
        Ok(())
    }

    fn infix(&mut self, left: &Expr, words: &str, right: &Expr) -> Result<(), Denied> {
        self.postfix(left, words)?;
        self.operand(right)
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<(), Denied> {
        let sign = match op {
            BinaryOperator::Plus => " + ",
            BinaryOperator::Minus => " - ",
            BinaryOperator::Multiply => " * ",
            BinaryOperator::Divide => " / ",
            BinaryOperator::Modulo => " % ",
            BinaryOperator::StringConcat => " || ",
            BinaryOperator::Eq => " = ",
            BinaryOperator::NotEq => " <> ",
            BinaryOperator::Lt => " < ",
            BinaryOperator::LtEq => " <= ",
            BinaryOperator::Gt => " > ",
            BinaryOperator::GtEq => " >= ",
            BinaryOperator::And => " AND ",
            BinaryOperator::Or => " OR ",
            BinaryOperator::BitwiseAnd => " & ",
            BinaryOperator::BitwiseOr => " | ",
            BinaryOperator::PGBitwiseShiftLeft => " << ",
            BinaryOperator::PGBitwiseShiftRight => " >> ",
            BinaryOperator::Arrow => " -> ",
            BinaryOperator::LongArrow => " ->> ",
            BinaryOperator::HashArrow => " #> ",
            BinaryOperator::HashLongArrow => " #>> ",
            BinaryOperator::AtArrow => " @> ",
            BinaryOperator::ArrowAt => " <@ ",
            _ => return Err(Denied::new(Reason::Operator, &op.to_string())),
        };
        match op {
            BinaryOperator::Modulo => self.note(Note::DivideModulo),
            BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt => self.note(Note::JsonOperator),
            _ => {}
        }
        match unnested(left) {
            // Every engine reads a chain of one of these from the left.
            Expr::BinaryOp { left: first, op: before, right: second } if is_chain(before, op) => {
                self.binary(first, before, second)?;
            }
            other => self.operand(other)?,
        }
        self.put(sign);
        self.operand(right)
    }

    fn unary(&mut self, op: UnaryOperator, operand: &Expr) -> Result<(), Denied> {
        self.put(match op {
            UnaryOperator::Plus => "+",
            UnaryOperator::Minus => "-",
            UnaryOperator::Not => "NOT ",
            UnaryOperator::BitwiseNot => "~",
            _ => return Err(Denied::new(Reason::Operator, &op.to_string())),
        });
        self.operand(operand)
    }

    fn compound(&mut self, names: &[Ident]) -> Result<(), Denied> {
        let [table, name] = names else {
            return Err(names.first().map_or_else(|| clause("name"), |name| Denied::name(Reason::Schema, name)));
        };
        self.column(table)?;
        self.put(".");
        self.column(name)
    }

    pub(super) fn subquery(&mut self, query: &Query) -> Result<(), Denied> {
        self.put("(");
        self.query(query)?;
        self.put(")");
        Ok(())
    }

    fn escape(&mut self, escape: Option<&Expr>) -> Result<(), Denied> {
        match escape.map(unnested) {
            None => Ok(()),
            Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span: _ }))
                if text.chars().count() == 1 =>
            {
                self.put(" ESCAPE ");
                self.string(text);
                Ok(())
            }
            Some(_) => Err(clause("ESCAPE")),
        }
    }

    fn case(&mut self, operand: Option<&Expr>, conditions: &[CaseWhen], other: Option<&Expr>) -> Result<(), Denied> {
        self.put("CASE");
        self.clause(" ", operand)?;
        for CaseWhen { condition, result } in conditions {
            self.clause(" WHEN ", Some(condition))?;
            self.clause(" THEN ", Some(result))?;
        }
        self.clause(" ELSE ", other)?;
        self.put(" END");
        Ok(())
    }

    fn interval(&mut self, interval: &Interval) -> Result<(), Denied> {
        let Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } = interval;
        refuse!(leading_field, leading_precision, last_field, fractional_seconds_precision);
        let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span: _ }) = &**value else {
            return Err(clause("INTERVAL"));
        };
        self.note(Note::Interval);
        self.type_name("INTERVAL");
        self.put(" ");
        self.string(text);
        Ok(())
    }
}

/// An expression without the parentheses round it.
pub(super) fn unnested(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// Whether every engine reads `a before b op c` as `(a before b) op c`.
fn is_chain(before: &BinaryOperator, op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(
        (before, op),
        (Op::And, Op::And)
            | (Op::Or, Op::Or)
            | (Op::StringConcat, Op::StringConcat)
            | (Op::Plus | Op::Minus, Op::Plus | Op::Minus)
            | (Op::Multiply | Op::Divide | Op::Modulo, Op::Multiply | Op::Divide | Op::Modulo)
    )
}

/// What is said of an expression that is on no list.
pub(super) fn unread_kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::AnyOp { .. } | Expr::AllOp { .. } => "ANY or ALL: use IN",
        Expr::Array(_) => "ARRAY",
        Expr::Collate { .. } => "COLLATE",
        Expr::CompoundFieldAccess { .. } => "[..] or (row).column",
        Expr::SimilarTo { .. } => "SIMILAR TO",
        Expr::TypedString(_) => "type 'text': write CAST('text' AS type)",
        Expr::Prefixed { .. } => "prefix of a constant",
        _ => "expression",
    }
}
