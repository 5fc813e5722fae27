//! The log of decisions: appended in the transaction of what it records, chained by hashes.
//! What a hash covers is [`bulkhead_model::audit`]'s to say.

use bulkhead_model::audit::{AuditRecord, GENESIS, chain, first_broken};
use bulkhead_model::{Actor, Digest, PluginId, TenantId};

use crate::db::{Db, Tx, on_engine, parsed, signed, single_reads, unsigned};
use crate::error::Error;

/// Entries that the proof of the chain reads at once.
const PROOF_PAGE: u32 = 1_000;

/// Who does something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Subject of the token, or `bulkhead` for the host itself.
    pub actor: String,
    /// Microseconds since 1970.
    pub at: i64,
}

impl Act {
    /// An act of `actor` at `at`, in microseconds since 1970.
    pub fn new(actor: &Actor, at: i64) -> Self {
        Self { actor: actor.subject.clone(), at }
    }

    /// An act of the host itself.
    pub fn system(at: i64) -> Self {
        Self::new(&Actor::system(), at)
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// What it records.
    pub record: AuditRecord,
    /// Its hash, over the entry before it and all of the record.
    pub hash: Digest,
}

/// What reading the whole chain proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditProof {
    /// Entries that follow from the ones before.
    pub entries: u64,
    /// Position of the first that does not, or that is missing at the end.
    pub first_broken: Option<u64>,
    /// Hash of the last good entry.
    pub head: Digest,
}

type Columns = (i64, i64, String, String, String, String, String, String);

impl Tx {
    /// Appends an entry. Writers take turns from here to the end of their transaction. `detail` is JSON text.
    pub async fn append_audit(
        &mut self,
        act: &Act,
        action: &str,
        plugin: Option<&PluginId>,
        tenant: Option<&TenantId>,
        detail: &str,
    ) -> Result<AuditRow, Error> {
        let (sequence, previous) = self.take_audit_head().await?;
        let record = AuditRecord {
            sequence,
            at: act.at,
            actor: act.actor.clone(),
            action: action.to_owned(),
            plugin: plugin.map(ToString::to_string).unwrap_or_default(),
            tenant: tenant.map(ToString::to_string).unwrap_or_default(),
            detail: detail.to_owned(),
        };
        let hash = chain(&previous, &record);
        self.insert_audit(&record, &previous, &hash).await?;
        self.set_audit_head(&hash).await?;
        Ok(AuditRow { record, hash })
    }

    /// Entries behind `after` in order.
    pub async fn list_audit(&mut self, after: u64, limit: u32) -> Result<Vec<AuditRow>, Error> {
        const LIST_AUDIT: &str = "SELECT sequence, at, actor, action, plugin_id, tenant_id, detail, hash FROM audit \
             WHERE sequence > $1 ORDER BY sequence LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_AUDIT).bind(signed(after)).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_audit"))?;
        rows.into_iter().map(row).collect()
    }

    /// Entries before `before`, the newest first.
    pub async fn list_audit_before(&mut self, before: u64, limit: u32) -> Result<Vec<AuditRow>, Error> {
        const LIST_AUDIT_BEFORE: &str = "SELECT sequence, at, actor, action, plugin_id, tenant_id, detail, hash FROM audit \
             WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_AUDIT_BEFORE).bind(signed(before)).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_audit_before"))?;
        rows.into_iter().map(row).collect()
    }

    /// Position and hash of the end of the chain.
    pub async fn audit_head(&mut self) -> Result<(u64, Digest), Error> {
        const AUDIT_HEAD: &str = "SELECT sequence, hash FROM audit_head WHERE head_id = 1";
        let (sequence, hash): (i64, String) = on_engine!(self, |conn| sqlx::query_as(AUDIT_HEAD).fetch_one(conn).await)
            .map_err(Error::query("audit_head"))?;
        Ok((unsigned("sequence", sequence)?, hash_of(&hash)))
    }

    /// Takes the row of the chain's end, and with it the right to append.
    async fn take_audit_head(&mut self) -> Result<(u64, Digest), Error> {
        const TAKE_AUDIT_HEAD: &str =
            "UPDATE audit_head SET sequence = sequence + 1 WHERE head_id = 1 RETURNING sequence, hash";
        let (sequence, hash): (i64, String) =
            on_engine!(self, |conn| sqlx::query_as(TAKE_AUDIT_HEAD).fetch_one(conn).await)
                .map_err(Error::query("take_audit_head"))?;
        Ok((unsigned("sequence", sequence)?, parsed("hash", &hash)?))
    }

    async fn set_audit_head(&mut self, hash: &Digest) -> Result<(), Error> {
        const SET_AUDIT_HEAD: &str = "UPDATE audit_head SET hash = $1 WHERE head_id = 1";
        on_engine!(self, |conn| sqlx::query(SET_AUDIT_HEAD).bind(hash.to_string()).execute(conn).await.map(drop))
            .map_err(Error::query("set_audit_head"))
    }

    async fn insert_audit(&mut self, record: &AuditRecord, previous: &Digest, hash: &Digest) -> Result<(), Error> {
        const INSERT_AUDIT: &str = "INSERT INTO audit (sequence, at, actor, action, plugin_id, tenant_id, detail, previous_hash, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_AUDIT)
                .bind(signed(record.sequence))
                .bind(record.at)
                .bind(&record.actor)
                .bind(&record.action)
                .bind(&record.plugin)
                .bind(&record.tenant)
                .bind(&record.detail)
                .bind(previous.to_string())
                .bind(hash.to_string())
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_audit"))
    }

    /// Tells every host that what it serves from has changed.
    pub(crate) async fn count_change(&mut self) -> Result<(), Error> {
        const COUNT_CHANGE: &str = "UPDATE change_counter SET changes = changes + 1 WHERE counter_id = 1";
        on_engine!(self, |conn| sqlx::query(COUNT_CHANGE).execute(conn).await.map(drop))
            .map_err(Error::query("count_change"))
    }

    /// A number that rises with every change of what hosts serve from.
    pub async fn changes(&mut self) -> Result<u64, Error> {
        const CHANGES: &str = "SELECT changes FROM change_counter WHERE counter_id = 1";
        let changes: i64 = on_engine!(self, |conn| sqlx::query_scalar(CHANGES).fetch_one(conn).await)
            .map_err(Error::query("changes"))?;
        unsigned("changes", changes)
    }
}

single_reads! {
    /// Entries behind `after` in order.
    list_audit(after: u64, limit: u32) -> Vec<AuditRow>;
    /// Entries before `before`, the newest first.
    list_audit_before(before: u64, limit: u32) -> Vec<AuditRow>;
    /// Position and hash of the end of the chain.
    audit_head() -> (u64, Digest);
    /// A number that rises with every change of what hosts serve from.
    changes() -> u64;
}

impl Db {
    /// Reads the whole chain in pages and names the first entry that does not follow. An end that was cut off is
    /// noticed by the stored head.
    pub async fn verify_audit(&self) -> Result<AuditProof, Error> {
        // Taken first: entries that are appended meanwhile only lengthen the chain.
        let (last, hash) = self.audit_head().await?;
        let (mut entries, mut head) = (0, GENESIS);
        loop {
            let rows = self.list_audit(entries, PROOF_PAGE).await?;
            let Some(end) = rows.last() else { break };
            let first_broken = first_broken(head, entries, rows.iter().map(|row| (&row.record, &row.hash)));
            if let Some(broken) = first_broken {
                let good = broken.saturating_sub(1);
                let head = rows.iter().rfind(|row| row.record.sequence == good).map_or(head, |row| row.hash);
                return Ok(AuditProof { entries: good, first_broken, head });
            }
            if rows.iter().any(|row| row.record.sequence == last && row.hash != hash) {
                return Ok(AuditProof { entries: last.saturating_sub(1), first_broken: Some(last), head });
            }
            (entries, head) = (end.record.sequence, end.hash);
        }
        let first_broken = (entries < last).then(|| entries.saturating_add(1));
        Ok(AuditProof { entries, first_broken, head })
    }
}

fn row((sequence, at, actor, action, plugin, tenant, detail, hash): Columns) -> Result<AuditRow, Error> {
    let record = AuditRecord { sequence: unsigned("sequence", sequence)?, at, actor, action, plugin, tenant, detail };
    Ok(AuditRow { record, hash: hash_of(&hash) })
}

/// A hash as it is stored. A text that is none was written by somebody else; as zeros it follows from no entry, and the
/// proof names its place.
fn hash_of(text: &str) -> Digest {
    text.parse().unwrap_or(GENESIS)
}
