//! Prints queries: SELECT, VALUES, compounds of them, and what they read from.
//! Expressions have their own file.

use sqlparser::ast::{
    Cte, CteAsMaterialized, Distinct, Expr, Fetch, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause,
    NamedWindowDefinition, NamedWindowExpr, ObjectNamePart, Offset, OrderBy, OrderByExpr, OrderByKind, OrderByOptions,
    OrderBySort, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
    SetQuantifier, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Values, WildcardAdditionalOptions,
    With,
};

use super::Verb;
use super::denied::{Denied, Reason};
use super::print::{Printer, refuse};
use super::warnings::Note;

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    /// A whole statement that begins with SELECT, VALUES or WITH; the latter may end in one that writes.
    pub(super) fn top_query(&mut self, query: &Query) -> Result<Verb, Denied> {
        if !matches!(&*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_)) {
            self.query(query)?;
            return Ok(Verb::Select);
        }
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        refuse!(order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators);
        if let Some(with) = with {
            self.with(with)?;
        }
        match &**body {
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                self.statement(statement)
            }
            _ => Err(clause("with")),
        }
    }

    pub(super) fn query(&mut self, query: &Query) -> Result<(), Denied> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        refuse!(locks, for_clause, settings, format_clause, pipe_operators);
        if let Some(with) = with {
            self.with(with)?;
        }
        match (&**body, order_by, limit_clause, fetch) {
            // Parentheses around a whole query mean nothing.
            (SetExpr::Query(inner), None, None, None) if with.is_none() => return self.query(inner),
            (body, _, _, _) => self.set_expression(body)?,
        }
        if let Some(OrderBy { kind, interpolate }) = order_by {
            refuse!(interpolate);
            let OrderByKind::Expressions(expressions) = kind else { return Err(clause("ORDER BY ALL")) };
            self.put(" ORDER BY ");
            self.list(expressions, Self::order_by)?;
        }
        self.limit(limit_clause.as_ref(), fetch.as_ref())
    }

    fn with(&mut self, with: &With) -> Result<(), Denied> {
        let With { with_token: _, recursive, cte_tables } = with;
        self.put(if *recursive { "WITH RECURSIVE " } else { "WITH " });
        self.list(cte_tables, Self::common_table)?;
        self.put(" ");
        Ok(())
    }

    fn common_table(&mut self, cte: &Cte) -> Result<(), Denied> {
        let Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
        refuse!(from);
        let TableAlias { explicit: _, name, columns, at } = alias;
        refuse!(at);
        self.own_name(name)?;
        if !columns.is_empty() {
            self.parenthesized(columns, Self::alias_column)?;
        }
        self.put(match materialized {
            None => " AS (",
            Some(CteAsMaterialized::Materialized) => " AS MATERIALIZED (",
            Some(CteAsMaterialized::NotMaterialized) => " AS NOT MATERIALIZED (",
        });
        self.query(query)?;
        self.put(")");
        Ok(())
    }

    fn set_expression(&mut self, expression: &SetExpr) -> Result<(), Denied> {
        match expression {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Values(values) => self.values(values),
            SetExpr::Query(query) => match bare(query) {
                Some(inner) => self.set_expression(inner),
                None => {
                    self.note(Note::NestedCompound);
                    self.put("(");
                    self.query(query)?;
                    self.put(")");
                    Ok(())
                }
            },
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let (left, right) = (unwrapped(left), unwrapped(right));
                let binds_less = |other: &SetExpr| {
                    *op == SetOperator::Intersect
                        && matches!(other, SetExpr::SetOperation { op, .. } if *op != SetOperator::Intersect)
                };
                self.set_operand(left, binds_less(left))?;
                self.put(match op {
                    SetOperator::Union => " UNION ",
                    SetOperator::Except => " EXCEPT ",
                    SetOperator::Intersect => " INTERSECT ",
                    SetOperator::Minus => return Err(clause("MINUS")),
                });
                match set_quantifier {
                    SetQuantifier::None | SetQuantifier::Distinct => {}
                    SetQuantifier::All => self.put("ALL "),
                    SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                        return Err(clause("BY NAME"));
                    }
                }
                self.set_operand(right, matches!(right, SetExpr::SetOperation { .. }))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Denied::new(Reason::Statement, "a query that writes"))
            }
            SetExpr::Table(_) => Err(clause("TABLE")),
        }
    }

    fn set_operand(&mut self, operand: &SetExpr, parentheses: bool) -> Result<(), Denied> {
        if !parentheses {
            return self.set_expression(operand);
        }
        self.note(Note::NestedCompound);
        self.put("(");
        self.set_expression(operand)?;
        self.put(")");
        Ok(())
    }

    fn values(&mut self, values: &Values) -> Result<(), Denied> {
        let Values { explicit_row, value_keyword, rows } = values;
        refuse!(explicit_row, value_keyword);
        self.put("VALUES ");
        self.list(rows, |printer, row| printer.parenthesized(&row.content, Self::expression))
    }

    fn select(&mut self, select: &Select) -> Result<(), Denied> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        refuse!(optimizer_hints, select_modifiers, top, top_before_distinct, exclude, into, lateral_views, prewhere);
        refuse!(connect_by, cluster_by, distribute_by, sort_by, qualify, value_table_mode);
        if *flavor != SelectFlavor::Standard {
            return Err(clause("FROM first"));
        }
        self.put("SELECT ");
        match distinct {
            None | Some(Distinct::All) => {}
            Some(Distinct::Distinct) => self.put("DISTINCT "),
            Some(Distinct::On(expressions)) => {
                self.note(Note::DistinctOn);
                self.put("DISTINCT ON ");
                self.parenthesized(expressions, Self::expression)?;
                self.put(" ");
            }
        }
        self.list(projection, Self::select_item)?;
        if !from.is_empty() {
            self.put(" FROM ");
            self.list(from, Self::table_with_joins)?;
        }
        self.clause(" WHERE ", selection.as_ref())?;
        self.group_by(group_by)?;
        self.clause(" HAVING ", having.as_ref())?;
        if !named_window.is_empty() {
            self.put(" WINDOW ");
            self.list(named_window, Self::named_window)?;
        }
        Ok(())
    }

    pub(super) fn clause(&mut self, word: &str, expression: Option<&Expr>) -> Result<(), Denied> {
        if let Some(expression) = expression {
            self.put(word);
            self.expression(expression)?;
        }
        Ok(())
    }

    fn named_window(&mut self, window: &NamedWindowDefinition) -> Result<(), Denied> {
        let NamedWindowDefinition(name, definition) = window;
        let NamedWindowExpr::WindowSpec(specification) = definition else { return Err(clause("WINDOW")) };
        self.column(name)?;
        self.put(" AS ");
        self.window(specification)
    }

    fn group_by(&mut self, group_by: &GroupByExpr) -> Result<(), Denied> {
        match group_by {
            GroupByExpr::Expressions(expressions, modifiers) => {
                refuse!(modifiers);
                if expressions.is_empty() {
                    return Ok(());
                }
                self.put(" GROUP BY ");
                self.list(expressions, Self::expression)
            }
            GroupByExpr::All(_) => Err(clause("GROUP BY ALL")),
        }
    }

    pub(super) fn select_item(&mut self, item: &SelectItem) -> Result<(), Denied> {
        match item {
            SelectItem::UnnamedExpr(expression) => self.expression(expression),
            SelectItem::ExprWithAlias { expr, alias } => {
                self.expression(expr)?;
                self.alias(alias)
            }
            SelectItem::Wildcard(options) => {
                plain_wildcard(options)?;
                self.put("*");
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                plain_wildcard(options)?;
                let [ObjectNamePart::Identifier(table)] = name.0.as_slice() else {
                    return Err(Denied::new(Reason::Schema, &name.to_string()));
                };
                self.column(table)?;
                self.put(".*");
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => Err(clause("(row).*")),
            SelectItem::ExprWithAliases { expr: _, aliases: _ } => Err(clause("aliases")),
        }
    }

    fn alias(&mut self, alias: &Ident) -> Result<(), Denied> {
        self.put(" AS ");
        self.column(alias)
    }

    pub(super) fn table_with_joins(&mut self, table: &TableWithJoins) -> Result<(), Denied> {
        let TableWithJoins { relation, joins } = table;
        self.table_factor(relation)?;
        joins.iter().try_for_each(|join| self.join(join))
    }

    pub(super) fn table_factor(&mut self, factor: &TableFactor) -> Result<(), Denied> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if args.is_some() {
                    return Err(Denied::new(Reason::Clause, "a function in FROM"));
                }
                refuse!(with_hints, version, with_ordinality, partitions, json_path, sample, index_hints);
                self.table_name(name)?;
                self.table_alias(alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                refuse!(lateral, sample);
                self.put("(");
                self.query(subquery)?;
                self.put(")");
                self.table_alias(alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                refuse!(alias);
                self.put("(");
                self.table_with_joins(table_with_joins)?;
                self.put(")");
                Ok(())
            }
            _ => Err(clause("FROM")),
        }
    }

    fn table_alias(&mut self, alias: Option<&TableAlias>) -> Result<(), Denied> {
        let Some(TableAlias { explicit: _, name, columns, at }) = alias else { return Ok(()) };
        refuse!(at);
        self.put(" AS ");
        self.own_name(name)?;
        if !columns.is_empty() {
            self.note(Note::AliasColumns);
            self.parenthesized(columns, Self::alias_column)?;
        }
        Ok(())
    }

    fn alias_column(&mut self, column: &TableAliasColumnDef) -> Result<(), Denied> {
        let TableAliasColumnDef { name, data_type } = column;
        refuse!(data_type);
        self.column(name)
    }

    fn join(&mut self, join: &Join) -> Result<(), Denied> {
        let Join { relation, global, join_operator } = join;
        refuse!(global);
        let (word, constraint) = match join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN ", constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ("LEFT JOIN ", constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => ("RIGHT JOIN ", constraint),
            JoinOperator::FullOuter(constraint) => ("FULL JOIN ", constraint),
            JoinOperator::CrossJoin(constraint) => ("CROSS JOIN ", constraint),
            _ => return Err(clause("JOIN")),
        };
        let is_cross = matches!(join_operator, JoinOperator::CrossJoin(_));
        if is_cross != matches!(constraint, JoinConstraint::None) {
            return Err(clause("a JOIN without ON, or a CROSS JOIN with one"));
        }
        self.put(if matches!(constraint, JoinConstraint::Natural) { " NATURAL " } else { " " });
        self.put(word);
        self.table_factor(relation)?;
        match constraint {
            JoinConstraint::On(expression) => self.clause(" ON ", Some(expression)),
            JoinConstraint::Using(columns) => {
                self.put(" USING ");
                self.parenthesized(columns, Self::single_column)
            }
            JoinConstraint::Natural | JoinConstraint::None => Ok(()),
        }
    }

    pub(super) fn order_by(&mut self, order: &OrderByExpr) -> Result<(), Denied> {
        let OrderByExpr { expr, options, with_fill } = order;
        refuse!(with_fill);
        let OrderByOptions { sort, nulls_first } = options;
        self.expression(expr)?;
        match sort {
            None => {}
            Some(OrderBySort::Asc) => self.put(" ASC"),
            Some(OrderBySort::Desc) => self.put(" DESC"),
            Some(OrderBySort::Using(_)) => return Err(clause("ORDER BY .. USING")),
        }
        match nulls_first {
            None => self.note(Note::NullOrder),
            Some(true) => self.put(" NULLS FIRST"),
            Some(false) => self.put(" NULLS LAST"),
        }
        Ok(())
    }

    /// `FETCH FIRST n ROWS ONLY` is written as LIMIT, which both engines have.
    fn limit(&mut self, clause_: Option<&LimitClause>, fetch: Option<&Fetch>) -> Result<(), Denied> {
        let (mut limit, mut offset) = (None, None);
        match clause_ {
            None => {}
            Some(LimitClause::LimitOffset { limit: rows, offset: skipped, limit_by }) => {
                refuse!(limit_by);
                limit = rows.as_ref();
                offset = skipped.as_ref().map(|Offset { value, rows: _ }| value);
            }
            Some(LimitClause::OffsetCommaLimit { offset: _, limit: _ }) => return Err(clause("LIMIT n, m")),
        }
        let mut one_row = false;
        if let Some(Fetch { with_ties, percent, quantity }) = fetch {
            refuse!(with_ties, percent);
            if limit.is_some() {
                return Err(clause("LIMIT and FETCH"));
            }
            limit = quantity.as_ref();
            one_row = quantity.is_none();
        }
        if one_row {
            self.put(" LIMIT 1");
        }
        self.clause(" LIMIT ", limit)?;
        if offset.is_some() && limit.is_none() && !one_row {
            self.note(Note::OffsetAlone);
        }
        self.clause(" OFFSET ", offset)
    }
}

/// What stands in parentheses, if they hold nothing but it.
fn bare(query: &Query) -> Option<&SetExpr> {
    let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
        query;
    let is_bare = with.is_none()
        && order_by.is_none()
        && limit_clause.is_none()
        && fetch.is_none()
        && locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty();
    is_bare.then_some(body)
}

/// An operand without the parentheses that hold nothing but it.
fn unwrapped(mut expression: &SetExpr) -> &SetExpr {
    while let SetExpr::Query(query) = expression {
        match bare(query) {
            Some(inner) => expression = inner,
            None => break,
        }
    }
    expression
}

fn plain_wildcard(options: &WildcardAdditionalOptions) -> Result<(), Denied> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    refuse!(opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias);
    Ok(())
}

/// Whether a query is one SELECT that reads a table without a WHERE.
pub(super) fn lacks_where(query: &Query) -> bool {
    let is_plain = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    match unwrapped(&query.body) {
        SetExpr::Select(select) => {
            let has_groups = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
            is_plain && !select.from.is_empty() && select.selection.is_none() && !has_groups && select.having.is_none()
        }
        _ => false,
    }
}

/// Whether an expression is that word, unquoted.
pub(super) fn is_word(expression: &Expr, word: &str) -> bool {
    matches!(expression, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case(word))
}
