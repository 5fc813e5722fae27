//! Prints INSERT, UPDATE and DELETE.
//! Each has the form that both engines share, and PostgreSQL's where SQLite has none.

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, DoUpdate, Expr, FromTable, Insert, OnConflict,
    OnConflictAction, OnInsert, Query, SelectItem, SetExpr, TableAliasWithoutColumns, TableFactor, TableObject,
    TableWithJoins, Update, UpdateTableFromKind, Values,
};

use super::Verb;
use super::denied::{Denied, Reason};
use super::expression::unnested;
use super::print::{Printer, refuse};
use super::query::{is_word, lacks_where};
use super::warnings::Note;

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<Verb, Denied> {
        let Insert {
            insert_token: _,
            optimizer_hints,
            or,
            ignore,
            into,
            table,
            table_alias,
            columns,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        refuse!(optimizer_hints, or, ignore, overwrite, assignments, partitioned, after_columns, has_table_keyword);
        refuse!(output, replace_into, priority, insert_alias, settings, format_clause, multi_table_insert_type);
        refuse!(multi_table_into_clauses, multi_table_when_clauses, multi_table_else_clause);
        let TableObject::TableName(table) = table else { return Err(clause("INSERT")) };
        if !into {
            return Err(clause("INSERT without INTO"));
        }
        self.put("INSERT INTO ");
        self.table_name(table)?;
        if let Some(TableAliasWithoutColumns { explicit: _, alias }) = table_alias {
            self.put(" AS ");
            self.own_name(alias)?;
        }
        if !columns.is_empty() {
            self.put(" ");
            self.parenthesized(columns, Self::single_column)?;
        }
        self.put(" ");
        match source {
            None => self.put("DEFAULT VALUES"),
            Some(query) => self.source(query, on.is_some())?,
        }
        match on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => self.on_conflict(conflict)?,
            Some(_) => return Err(clause("ON DUPLICATE KEY")),
        }
        self.returning(returning.as_deref())?;
        Ok(Verb::Insert)
    }

    /// The rows to insert.
    fn source(&mut self, query: &Query, has_conflict: bool) -> Result<(), Denied> {
        if let Query {
            with: None,
            body,
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = query
            && let SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows }) = &**body
            && locks.is_empty()
            && pipe_operators.is_empty()
        {
            self.put("VALUES ");
            return self.list(rows, |printer, row| printer.parenthesized(&row.content, Self::value_or_default));
        }
        self.query(query)?;
        if has_conflict && lacks_where(query) {
            // SQLite would take ON for the beginning of a join's condition.
            self.put(" WHERE TRUE");
        }
        Ok(())
    }

    /// DEFAULT stands for a value in few places; elsewhere it is no name.
    fn value_or_default(&mut self, value: &Expr) -> Result<(), Denied> {
        if !is_word(unnested(value), "default") {
            return self.expression(value);
        }
        self.note(Note::DefaultValue);
        self.put("DEFAULT");
        Ok(())
    }

    fn on_conflict(&mut self, conflict: &OnConflict) -> Result<(), Denied> {
        let OnConflict { conflict_target, action } = conflict;
        self.put(" ON CONFLICT");
        match conflict_target {
            None => {}
            Some(ConflictTarget::Columns(columns)) => {
                self.put(" ");
                self.parenthesized(columns, Self::column)?;
            }
            Some(ConflictTarget::OnConstraint(name)) => {
                self.note(Note::OnConstraint);
                self.put(" ON CONSTRAINT ");
                self.constraint_name(name)?;
            }
        }
        match action {
            OnConflictAction::DoNothing => self.put(" DO NOTHING"),
            OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) => {
                if conflict_target.is_none() {
                    return Err(clause("ON CONFLICT DO UPDATE without columns"));
                }
                self.put(" DO UPDATE SET ");
                self.list(assignments, Self::assignment)?;
                self.clause(" WHERE ", selection.as_ref())?;
            }
        }
        Ok(())
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<Verb, Denied> {
        let Update {
            update_token: _,
            optimizer_hints,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        refuse!(optimizer_hints, output, or, order_by, limit);
        self.put("UPDATE ");
        self.target(table)?;
        self.put(" SET ");
        self.list(assignments, Self::assignment)?;
        match from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => {
                self.put(" FROM ");
                self.list(tables, Self::table_with_joins)?;
            }
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(clause("FROM")),
        }
        self.condition(selection.as_ref())?;
        self.returning(returning.as_deref())?;
        Ok(Verb::Update)
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<Verb, Denied> {
        let Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        refuse!(optimizer_hints, tables, output, order_by, limit);
        let FromTable::WithFromKeyword(from) = from else { return Err(clause("DELETE without FROM")) };
        let [table] = from.as_slice() else { return Err(clause("DELETE from many")) };
        self.put("DELETE FROM ");
        self.target(table)?;
        if let Some(tables) = using {
            self.note(Note::DeleteUsing);
            self.put(" USING ");
            self.list(tables, Self::table_with_joins)?;
        }
        self.condition(selection.as_ref())?;
        self.returning(returning.as_deref())?;
        Ok(Verb::Delete)
    }

    /// The one table that an UPDATE or DELETE changes.
    fn target(&mut self, table: &TableWithJoins) -> Result<(), Denied> {
        let TableWithJoins { relation, joins } = table;
        refuse!(joins);
        match relation {
            TableFactor::Table { alias, .. } if alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) => {
                self.table_factor(relation)
            }
            _ => Err(clause("a table is wanted")),
        }
    }

    fn condition(&mut self, selection: Option<&Expr>) -> Result<(), Denied> {
        if selection.is_none() {
            self.note(Note::TouchesAllRows);
        }
        self.clause(" WHERE ", selection)
    }

    fn assignment(&mut self, assignment: &Assignment) -> Result<(), Denied> {
        let Assignment { target, value } = assignment;
        match target {
            AssignmentTarget::ColumnName(name) => self.single_column(name)?,
            AssignmentTarget::Tuple(names) => self.parenthesized(names, Self::single_column)?,
        }
        self.put(" = ");
        self.value_or_default(value)
    }

    fn returning(&mut self, items: Option<&[SelectItem]>) -> Result<(), Denied> {
        let Some(items) = items else { return Ok(()) };
        self.put(" RETURNING ");
        self.list(items, Self::select_item)
    }
}
