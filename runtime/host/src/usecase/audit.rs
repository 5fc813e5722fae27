//! The audit log: read it, prove it. Whoever acts writes it, in the transaction of the act.

use bulkhead_model::{Actor, Digest, Role, audit};

use crate::auth::require;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

/// Entries that one read of the proof takes.
const PROOF_PAGE: u32 = 1_000;

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
        let (mut head, mut entries): (Digest, u64) = (audit::GENESIS, 0);
        loop {
            let rows = self.inner.db.list_audit(entries, PROOF_PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(view::AuditProof { entries, first_broken: None, head });
            };
            let broken = audit::first_broken(head, entries, rows.iter().map(|row| (&row.record, &row.hash)));
            if broken.is_some() {
                return Ok(view::AuditProof { entries, first_broken: broken, head });
            }
            (head, entries) = (last.hash, last.record.sequence);
        }
    }
}
