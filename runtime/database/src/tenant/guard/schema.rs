//! Prints what makes and drops tables and indexes.
//! ALTER TABLE has its own file.

use sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ColumnOptionDef, ConstraintCharacteristics, CreateIndex, CreateTable,
    CreateTableOptions, DeferrableInitial, Expr, ForeignKeyConstraint, GeneratedAs, GeneratedExpressionMode,
    HiveDistributionStyle, Ident, IndexColumn, IndexType, KeyOrIndexDisplay, NullsDistinctOption, ObjectName,
    ObjectType, OrderByExpr, OrderByOptions, OrderBySort, PrimaryKeyConstraint, ReferentialAction, TableConstraint,
    UniqueConstraint,
};

use super::Verb;
use super::denied::{Denied, Reason};
use super::expression::unnested;
use super::names;
use super::print::{Printer, refuse};
use super::warnings::Note;

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    #[expect(
        clippy::too_many_lines,
        reason = "each of the parts of other dialects is named, so that no new one passes"
    )]
    pub(super) fn create_table(&mut self, create: &CreateTable) -> Result<Verb, Denied> {
        let CreateTable {
            or_replace,
            temporary,
            unlogged,
            external,
            dynamic,
            global,
            if_not_exists,
            transient,
            volatile,
            iceberg,
            snapshot,
            name,
            columns,
            constraints,
            hive_distribution,
            hive_formats,
            table_options,
            file_format,
            location,
            query,
            without_rowid,
            like,
            clone,
            version,
            comment,
            on_commit,
            on_cluster,
            primary_key,
            order_by,
            partition_by,
            cluster_by,
            clustered_by,
            inherits,
            partition_of,
            for_values,
            strict,
            copy_grants,
            enable_schema_evolution,
            change_tracking,
            data_retention_time_in_days,
            max_data_extension_time_in_days,
            default_ddl_collation,
            with_aggregation_policy,
            with_row_access_policy,
            with_storage_lifecycle_policy,
            with_tags,
            external_volume,
            with_connection,
            base_location,
            catalog,
            catalog_sync,
            storage_serialization_policy,
            target_lag,
            warehouse,
            refresh_mode,
            initialize,
            require_user,
            diststyle,
            distkey,
            sortkey,
            backup,
            multiset,
            fallback,
            with_data,
        } = create;
        refuse!(or_replace, temporary, unlogged, external, dynamic, global, transient, volatile, iceberg, snapshot);
        refuse!(hive_formats, file_format, location, query, like, clone, version, comment, on_commit, on_cluster);
        refuse!(primary_key, order_by, partition_by, cluster_by, clustered_by, inherits, partition_of, for_values);
        refuse!(copy_grants, enable_schema_evolution, change_tracking, data_retention_time_in_days);
        refuse!(max_data_extension_time_in_days, default_ddl_collation, with_aggregation_policy);
        refuse!(with_row_access_policy, with_storage_lifecycle_policy, with_tags, external_volume, with_connection);
        refuse!(base_location, catalog, catalog_sync, storage_serialization_policy, target_lag, warehouse);
        refuse!(refresh_mode, initialize, require_user, diststyle, distkey, sortkey, backup, multiset, fallback);
        refuse!(with_data);
        if *hive_distribution != HiveDistributionStyle::NONE || *table_options != CreateTableOptions::None {
            return Err(clause("options of a table"));
        }
        self.put(if *if_not_exists { "CREATE TABLE IF NOT EXISTS " } else { "CREATE TABLE " });
        self.table_name(name)?;
        self.put(" (");
        self.list(columns, Self::column_definition)?;
        for constraint in constraints {
            self.put(", ");
            self.table_constraint(constraint)?;
        }
        self.put(")");
        if *strict || *without_rowid {
            self.note(Note::SqliteTable);
        }
        self.put(match (strict, without_rowid) {
            (false, false) => "",
            (true, false) => " STRICT",
            (false, true) => " WITHOUT ROWID",
            (true, true) => " STRICT, WITHOUT ROWID",
        });
        Ok(Verb::CreateTable)
    }

    pub(super) fn column_definition(&mut self, column: &ColumnDef) -> Result<(), Denied> {
        let ColumnDef { name, data_type, options } = column;
        self.column(name)?;
        self.put(" ");
        self.data_type(data_type)?;
        options.iter().try_for_each(|option| self.column_option(option))
    }

    fn column_option(&mut self, option: &ColumnOptionDef) -> Result<(), Denied> {
        let ColumnOptionDef { name, option } = option;
        self.put(" ");
        self.constraint_prefix(name.as_ref())?;
        match option {
            ColumnOption::Null => self.put("NULL"),
            ColumnOption::NotNull => self.put("NOT NULL"),
            ColumnOption::Default(value) => self.default_value(value)?,
            ColumnOption::PrimaryKey(PrimaryKeyConstraint {
                name: None,
                index_name: None,
                index_type: None,
                columns,
                include,
                index_options,
                characteristics: None,
            }) => {
                refuse!(columns, include, index_options);
                self.put("PRIMARY KEY");
            }
            ColumnOption::Unique(UniqueConstraint {
                name: None,
                index_name: None,
                index_type_display: KeyOrIndexDisplay::None,
                index_type: None,
                columns,
                include,
                index_options,
                characteristics: None,
                nulls_distinct: NullsDistinctOption::None,
            }) => {
                refuse!(columns, include, index_options);
                self.put("UNIQUE");
            }
            ColumnOption::ForeignKey(foreign_key) => {
                let ForeignKeyConstraint { name, index_name, columns, .. } = foreign_key;
                refuse!(name, index_name, columns);
                self.references(foreign_key)?;
            }
            ColumnOption::Check(check) => self.check(check)?,
            ColumnOption::Generated {
                generated_as,
                sequence_options,
                generation_expr,
                generation_expr_mode,
                generated_keyword,
            } => {
                if !generated_keyword {
                    return Err(clause("AS without GENERATED"));
                }
                let no_options = sequence_options.as_ref().is_none_or(Vec::is_empty);
                if !no_options {
                    return Err(clause("options of a sequence"));
                }
                self.generated(*generated_as, generation_expr.as_ref(), generation_expr_mode.as_ref())?;
            }
            _ => return Err(clause("option of a column")),
        }
        Ok(())
    }

    /// A constant as it is, anything else in the parentheses that SQLite wants.
    pub(super) fn default_value(&mut self, value: &Expr) -> Result<(), Denied> {
        self.put("DEFAULT ");
        match unnested(value) {
            Expr::Value(_) => self.expression(value),
            _ => {
                self.put("(");
                self.expression(value)?;
                self.put(")");
                Ok(())
            }
        }
    }

    fn generated(
        &mut self,
        kind: GeneratedAs,
        value: Option<&Expr>,
        mode: Option<&GeneratedExpressionMode>,
    ) -> Result<(), Denied> {
        match (kind, value, mode) {
            (GeneratedAs::Always, None, None) => {
                self.note(Note::Identity);
                self.put("GENERATED ALWAYS AS IDENTITY");
                Ok(())
            }
            (GeneratedAs::ByDefault, None, None) => {
                self.note(Note::Identity);
                self.put("GENERATED BY DEFAULT AS IDENTITY");
                Ok(())
            }
            (GeneratedAs::Always | GeneratedAs::ExpStored, Some(value), Some(GeneratedExpressionMode::Stored)) => {
                self.put("GENERATED ALWAYS AS (");
                self.expression(value)?;
                self.put(") STORED");
                Ok(())
            }
            _ => Err(clause("GENERATED")),
        }
    }

    pub(super) fn constraint_name(&mut self, name: &ObjectName) -> Result<(), Denied> {
        let name = names::table(name)?;
        self.quoted(&name);
        Ok(())
    }

    fn constraint_prefix(&mut self, name: Option<&Ident>) -> Result<(), Denied> {
        if let Some(name) = name {
            self.put("CONSTRAINT ");
            self.own_name(name)?;
            self.put(" ");
        }
        Ok(())
    }

    pub(super) fn table_constraint(&mut self, constraint: &TableConstraint) -> Result<(), Denied> {
        match constraint {
            TableConstraint::PrimaryKey(PrimaryKeyConstraint {
                name,
                index_name,
                index_type,
                columns,
                include,
                index_options,
                characteristics,
            }) => {
                refuse!(index_name, index_type, include, index_options, characteristics);
                self.constraint_prefix(name.as_ref())?;
                self.put("PRIMARY KEY ");
                self.parenthesized(columns, Self::plain_index_column)
            }
            TableConstraint::Unique(UniqueConstraint {
                name,
                index_name,
                index_type_display,
                index_type,
                columns,
                include,
                index_options,
                characteristics,
                nulls_distinct,
            }) => {
                refuse!(index_name, index_type, include, index_options, characteristics);
                if *index_type_display != KeyOrIndexDisplay::None || *nulls_distinct != NullsDistinctOption::None {
                    return Err(clause("UNIQUE"));
                }
                self.constraint_prefix(name.as_ref())?;
                self.put("UNIQUE ");
                self.parenthesized(columns, Self::plain_index_column)
            }
            TableConstraint::ForeignKey(foreign_key) => {
                let ForeignKeyConstraint { name, index_name, columns, .. } = foreign_key;
                refuse!(index_name);
                self.constraint_prefix(name.as_ref())?;
                self.put("FOREIGN KEY ");
                self.parenthesized(columns, Self::column)?;
                self.put(" ");
                self.references(foreign_key)
            }
            TableConstraint::Check(check) => {
                self.constraint_prefix(check.name.as_ref())?;
                self.check(check)
            }
            _ => Err(clause("constraint")),
        }
    }

    fn check(&mut self, check: &CheckConstraint) -> Result<(), Denied> {
        let CheckConstraint { name: _, expr, no_inherit, enforced } = check;
        refuse!(no_inherit, enforced);
        self.put("CHECK (");
        self.expression(expr)?;
        self.put(")");
        Ok(())
    }

    fn references(&mut self, foreign_key: &ForeignKeyConstraint) -> Result<(), Denied> {
        let ForeignKeyConstraint {
            name: _,
            index_name: _,
            columns: _,
            foreign_table,
            referred_columns,
            on_delete,
            on_update,
            match_kind,
            characteristics,
        } = foreign_key;
        refuse!(match_kind);
        self.put("REFERENCES ");
        self.table_name(foreign_table)?;
        if !referred_columns.is_empty() {
            self.put(" ");
            self.parenthesized(referred_columns, Self::column)?;
        }
        for (word, action) in [(" ON DELETE ", on_delete), (" ON UPDATE ", on_update)] {
            if let Some(action) = action {
                self.put(word);
                self.put(action_words(*action));
            }
        }
        let Some(ConstraintCharacteristics { deferrable, initially, enforced }) = characteristics else {
            return Ok(());
        };
        refuse!(enforced);
        self.put(match (deferrable, initially) {
            (Some(true), Some(DeferrableInitial::Deferred)) => " DEFERRABLE INITIALLY DEFERRED",
            (Some(true), _) => " DEFERRABLE INITIALLY IMMEDIATE",
            _ => return Err(clause("INITIALLY")),
        });
        Ok(())
    }

    pub(super) fn create_index(&mut self, create: &CreateIndex) -> Result<Verb, Denied> {
        let CreateIndex {
            name,
            table_name,
            using,
            columns,
            unique,
            concurrently,
            r#async,
            if_not_exists,
            include,
            nulls_distinct,
            with,
            predicate,
            index_options,
            alter_options,
        } = create;
        refuse!(r#async, nulls_distinct, with, index_options, alter_options);
        let Some(name) = name else { return Err(clause("an index without a name")) };
        self.put(if *unique { "CREATE UNIQUE INDEX " } else { "CREATE INDEX " });
        self.put(if *concurrently { "CONCURRENTLY " } else { "" });
        self.put(if *if_not_exists { "IF NOT EXISTS " } else { "" });
        self.constraint_name(name)?;
        self.put(" ON ");
        self.table_name(table_name)?;
        if let Some(using) = using {
            self.put(index_method(using)?);
        }
        self.put(" ");
        self.parenthesized(columns, Self::index_column)?;
        if !include.is_empty() {
            self.put(" INCLUDE ");
            self.parenthesized(include, Self::column)?;
        }
        self.clause(" WHERE ", predicate.as_ref())?;
        if using.is_some() || !include.is_empty() || *concurrently {
            self.note(Note::IndexMethod);
        }
        if *concurrently {
            return Ok(Verb::CreateIndexConcurrently);
        }
        self.note(Note::IndexLocks);
        Ok(Verb::CreateIndex)
    }

    fn index_column(&mut self, column: &IndexColumn) -> Result<(), Denied> {
        let IndexColumn { column, operator_class } = column;
        refuse!(operator_class);
        let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first }, with_fill } = column;
        refuse!(with_fill);
        match unnested(expr) {
            name @ Expr::Identifier(_) => self.expression(name)?,
            other => {
                self.put("(");
                self.expression(other)?;
                self.put(")");
            }
        }
        match sort {
            None => {}
            Some(OrderBySort::Asc) => self.put(" ASC"),
            Some(OrderBySort::Desc) => self.put(" DESC"),
            Some(OrderBySort::Using(_)) => return Err(clause("ORDER BY .. USING")),
        }
        // SQLite has no such words in an index, PostgreSQL needs none.
        refuse!(nulls_first);
        Ok(())
    }

    /// A column of a key: a name and nothing else.
    fn plain_index_column(&mut self, column: &IndexColumn) -> Result<(), Denied> {
        let IndexColumn { column, operator_class } = column;
        let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first }, with_fill } = column;
        refuse!(operator_class, with_fill, sort, nulls_first);
        match unnested(expr) {
            Expr::Identifier(name) => self.column(name),
            _ => Err(clause("a key of expressions")),
        }
    }

    pub(super) fn drop(&mut self, kind: ObjectType, if_exists: bool, names: &[ObjectName]) -> Result<Verb, Denied> {
        let (words, verb) = match kind {
            ObjectType::Table => ("DROP TABLE ", Verb::DropTable),
            ObjectType::Index => ("DROP INDEX ", Verb::DropIndex),
            _ => return Err(Denied::new(Reason::Statement, "drop")),
        };
        let [name] = names else { return Err(clause("DROP of many")) };
        self.put(words);
        self.put(if if_exists { "IF EXISTS " } else { "" });
        if verb == Verb::DropTable {
            self.note(Note::Drops);
            self.table_name(name)?;
        } else {
            self.constraint_name(name)?;
        }
        Ok(verb)
    }
}

fn index_method(method: &IndexType) -> Result<&'static str, Denied> {
    Ok(match method {
        IndexType::BTree => " USING btree",
        IndexType::Hash => " USING hash",
        IndexType::GIN => " USING gin",
        IndexType::GiST => " USING gist",
        IndexType::BRIN => " USING brin",
        _ => return Err(clause("USING")),
    })
}

fn action_words(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}
