//! The audit log: read it, prove it. Whoever acts writes it, in the transaction of the act.

use bulkhead_database::AuditRow;
use bulkhead_model::{Actor, Role};
use bulkhead_trust::log::Exported;

use crate::auth::require;
use crate::error::Error;
use crate::host::Host;
use crate::usecase::fleet::page_of;
use crate::view::{self, Page, PageRequest};

/// Entries of an export that are in memory at once.
const EXPORT_PAGE: u64 = 500;

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

    /// The whole log as lines, to be checked without a host. It says nothing of whether the chain holds.
    pub async fn export_audit(&self, actor: &Actor) -> Result<AuditExport, Error> {
        require(actor, &[Role::Security], "security")?;
        let (last, _) = self.inner.db.audit_head().await?;
        Ok(AuditExport { host: self.clone(), done: 0, last })
    }

    /// Whether every entry follows from the ones before, and the first that does not.
    pub async fn verify_audit(&self, actor: &Actor) -> Result<view::AuditProof, Error> {
        require(actor, &[Role::Security], "security")?;
        let proof = self.inner.db.verify_audit().await?;
        Ok(view::AuditProof { entries: proof.entries, first_broken: proof.first_broken, head: proof.head })
    }
}

/// The audit log on its way out, page by page.
pub struct AuditExport {
    host: Host,
    /// Position of the last entry that was written.
    done: u64,
    /// Position of the last entry when it began: what comes after is left to the next export.
    last: u64,
}

impl AuditExport {
    /// The next lines, each with its line feed; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        if self.done >= self.last {
            return None;
        }
        Some(self.page().await)
    }

    async fn page(&mut self) -> Result<String, Error> {
        let wanted = self.last.saturating_sub(self.done).min(EXPORT_PAGE);
        let rows = self.host.inner.db.list_audit(self.done, u32::try_from(wanted).unwrap_or(u32::MAX)).await?;
        let mut lines = String::new();
        self.done = rows.last().map_or(self.last, |row| row.record.sequence);
        for row in rows {
            lines.push_str(&Exported::of(row.record, row.hash).to_line());
            lines.push('\n');
        }
        Ok(lines)
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
