//! The audit log: read it, prove it. Whoever acts writes it, in the transaction of the act.

use bulkhead_database::AuditRow;
use bulkhead_model::{Actor, Role};

use crate::auth::require;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

impl Host {
    /// Entries in order.
    pub async fn list_audit(&self, actor: &Actor, page: &PageRequest) -> Result<Page<view::AuditEntry>, Error> {
        require(actor, &[Role::Security], "security")?;
        let after = sequence_of(page)?.unwrap_or(0);
        let rows = self.inner.db.list_audit(after, page.limit.saturating_add(1)).await?;
        Ok(entries(rows, page.limit))
    }

    /// Entries from the newest back to the first.
    pub async fn list_audit_newest(&self, actor: &Actor, page: &PageRequest) -> Result<Page<view::AuditEntry>, Error> {
        require(actor, &[Role::Security], "security")?;
        let before = sequence_of(page)?.unwrap_or(u64::MAX);
        let rows = self.inner.db.list_audit_before(before, page.limit.saturating_add(1)).await?;
        Ok(entries(rows, page.limit))
    }

    /// Whether every entry follows from the ones before, and the first that does not.
    pub async fn verify_audit(&self, actor: &Actor) -> Result<view::AuditProof, Error> {
        require(actor, &[Role::Security], "security")?;
        let proof = self.inner.db.verify_audit().await?;
        Ok(view::AuditProof { entries: proof.entries, first_broken: proof.first_broken, head: proof.head })
    }
}

/// The entry that the page before ended with.
fn sequence_of(page: &PageRequest) -> Result<Option<u64>, Error> {
    let cursor = page.cursor.as_deref().map(str::parse).transpose();
    cursor.map_err(|_| Error::InvalidName("the cursor is not one of this list".to_owned()))
}

fn entries(rows: Vec<AuditRow>, limit: u32) -> Page<view::AuditEntry> {
    let page = page_of(rows, limit, |row| row.record.sequence.to_string());
    let items = page.items.into_iter().map(|row| view::AuditEntry { record: row.record, hash: row.hash }).collect();
    Page { items, next_cursor: page.next_cursor }
}
