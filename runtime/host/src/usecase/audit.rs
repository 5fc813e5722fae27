//! The audit log: read it, prove it. Whoever acts writes it, in the transaction of the act.

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
        let after = match &page.cursor {
            None => 0,
            Some(cursor) => {
                cursor.parse().map_err(|_| Error::InvalidName("the cursor is not one of this list".to_owned()))?
            }
        };
        let rows = self.inner.db.list_audit(after, page.limit.saturating_add(1)).await?;
        let page = page_of(rows, page.limit, |row| row.record.sequence.to_string());
        let items = page.items.into_iter().map(|row| view::AuditEntry { record: row.record, hash: row.hash }).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Whether every entry follows from the ones before, and the first that does not.
    pub async fn verify_audit(&self, actor: &Actor) -> Result<view::AuditProof, Error> {
        require(actor, &[Role::Security], "security")?;
        let proof = self.inner.db.verify_audit().await?;
        Ok(view::AuditProof { entries: proof.entries, first_broken: proof.first_broken, head: proof.head })
    }
}
