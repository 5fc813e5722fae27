//! Prints ALTER TABLE: columns, constraints and names, one change a statement.
//! Owners, policies, triggers, storage and everything else of a table stay the host's.

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, ColumnOption, DropBehavior, Expr, ObjectName,
    RenameTableNameKind, TableConstraint,
};

use super::Verb;
use super::denied::{Denied, Reason};
use super::expression::unnested;
use super::print::{Printer, refuse};
use super::warnings::Note;

fn clause(what: &str) -> Denied {
    Denied::new(Reason::Clause, what)
}

impl Printer {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) -> Result<Verb, Denied> {
        let AlterTable { name, if_exists, only, operations, location, on_cluster, table_type, end_token: _ } = alter;
        refuse!(if_exists, only, location, on_cluster, table_type);
        let [operation] = operations.as_slice() else { return Err(clause("more than one change")) };
        self.put("ALTER TABLE ");
        self.table_name(name)?;
        self.put(" ");
        self.alteration(operation)
    }

    fn alteration(&mut self, operation: &AlterTableOperation) -> Result<Verb, Denied> {
        match operation {
            AlterTableOperation::AddColumn { column_keyword: _, if_not_exists, column_def, column_position } => {
                refuse!(column_position);
                self.put("ADD COLUMN ");
                if *if_not_exists {
                    self.note(Note::AlterPostgres);
                    self.put("IF NOT EXISTS ");
                }
                self.note_new_column(column_def);
                self.column_definition(column_def)?;
            }
            AlterTableOperation::DropColumn { has_column_keyword: _, column_names, if_exists, drop_behavior } => {
                let [name] = column_names.as_slice() else { return Err(clause("more than one column")) };
                self.note(Note::Drops);
                self.drop_part("DROP COLUMN ", *if_exists, drop_behavior.as_ref())?;
                self.column(name)?;
            }
            AlterTableOperation::AlterColumn { column_name, op } => {
                self.note(Note::AlterPostgres);
                self.put("ALTER COLUMN ");
                self.column(column_name)?;
                self.alter_column(op)?;
            }
            AlterTableOperation::AddConstraint { constraint, not_valid } => {
                self.note(Note::AlterPostgres);
                self.put("ADD ");
                self.table_constraint(constraint)?;
                self.not_valid(constraint, *not_valid)?;
            }
            AlterTableOperation::ValidateConstraint { name } => {
                self.note(Note::AlterPostgres);
                self.put("VALIDATE CONSTRAINT ");
                self.own_name(name)?;
            }
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                self.note(Note::AlterPostgres);
                self.drop_part("DROP CONSTRAINT ", *if_exists, drop_behavior.as_ref())?;
                self.own_name(name)?;
            }
            AlterTableOperation::RenameColumn { .. }
            | AlterTableOperation::RenameTable { .. }
            | AlterTableOperation::RenameConstraint { .. } => return self.rename(operation),
            _ => return Err(Denied::new(Reason::Statement, "altertable")),
        }
        Ok(Verb::AlterTable)
    }

    fn rename(&mut self, operation: &AlterTableOperation) -> Result<Verb, Denied> {
        match operation {
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.note(Note::Renames);
                self.put("RENAME COLUMN ");
                self.column(old_column_name)?;
                self.put(" TO ");
                self.column(new_column_name)?;
            }
            AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) } => {
                self.note(Note::Renames);
                self.rename_to(name)?;
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.note(Note::AlterPostgres);
                self.put("RENAME CONSTRAINT ");
                self.own_name(old_name)?;
                self.put(" TO ");
                self.own_name(new_name)?;
            }
            _ => return Err(clause("RENAME")),
        }
        Ok(Verb::Rename)
    }

    fn rename_to(&mut self, name: &ObjectName) -> Result<(), Denied> {
        self.put("RENAME TO ");
        self.constraint_name(name)
    }

    fn alter_column(&mut self, operation: &AlterColumnOperation) -> Result<(), Denied> {
        match operation {
            AlterColumnOperation::SetNotNull => {
                self.note(Note::NotNullScans);
                self.put(" SET NOT NULL");
            }
            AlterColumnOperation::DropNotNull => self.put(" DROP NOT NULL"),
            AlterColumnOperation::SetDefault { value } => {
                self.put(" SET ");
                self.default_value(value)?;
            }
            AlterColumnOperation::DropDefault => self.put(" DROP DEFAULT"),
            AlterColumnOperation::SetDataType { data_type, using, had_set: _ } => {
                self.note(Note::TypeRewrites);
                self.put(" SET DATA TYPE ");
                self.data_type(data_type)?;
                self.clause(" USING ", using.as_ref())?;
            }
            AlterColumnOperation::AddGenerated { generated_as: _, sequence_options: _ } => {
                return Err(clause("ADD GENERATED"));
            }
        }
        Ok(())
    }

    fn drop_part(&mut self, words: &str, if_exists: bool, behavior: Option<&DropBehavior>) -> Result<(), Denied> {
        match behavior {
            None | Some(DropBehavior::Restrict) => {}
            Some(DropBehavior::Cascade) => return Err(clause("CASCADE")),
        }
        self.put(words);
        if if_exists {
            self.note(Note::AlterPostgres);
            self.put("IF EXISTS ");
        }
        Ok(())
    }

    fn not_valid(&mut self, constraint: &TableConstraint, not_valid: bool) -> Result<(), Denied> {
        match (constraint, not_valid) {
            (TableConstraint::Check(_) | TableConstraint::ForeignKey(_), true) => self.put(" NOT VALID"),
            (TableConstraint::Check(_) | TableConstraint::ForeignKey(_), false) => self.note(Note::ConstraintScans),
            (_, true) => return Err(clause("NOT VALID")),
            (_, false) => self.note(Note::UniqueLocks),
        }
        Ok(())
    }

    /// What adding a column does to a table that has rows.
    fn note_new_column(&mut self, column: &ColumnDef) {
        let options = || column.options.iter().map(|option| &option.option);
        let default = options().find_map(|option| match option {
            ColumnOption::Default(value) => Some(unnested(value)),
            _ => None,
        });
        if options().any(|option| matches!(option, ColumnOption::Generated { .. }))
            || default.is_some_and(|value| !matches!(value, Expr::Value(_)))
        {
            self.note(Note::ColumnRewrites);
        }
        if default.is_none() && options().any(|option| matches!(option, ColumnOption::NotNull)) {
            self.note(Note::NotNullWithoutDefault);
        }
        if options().any(|option| matches!(option, ColumnOption::Unique(_) | ColumnOption::PrimaryKey(_))) {
            self.note(Note::UniqueLocks);
        }
    }
}
