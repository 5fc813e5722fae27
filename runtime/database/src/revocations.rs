//! What was revoked: keys, releases, plugins. Entries are added and never removed; their epochs rise.
//! What a revocation stops is the host's to say.

use bulkhead_model::Digest;
use bulkhead_model::log::Event;

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, signed, single_reads, unsigned};
use crate::error::Error;

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    /// Its place; rises with each.
    pub epoch: u64,
    /// Everything that this key signed, in the form that policies use.
    pub key: Option<String>,
    /// One release.
    pub digest: Option<Digest>,
    /// Plugins: an id, `namespace.*` or `*`.
    pub plugin: Option<String>,
    /// Range of versions.
    pub version: Option<String>,
    /// From when it holds, in microseconds since 1970; `None` is at once.
    pub from_at: Option<i64>,
    /// Why.
    pub reason: String,
    /// Who.
    pub revoked_by: String,
    /// When, in microseconds since 1970.
    pub revoked_at: i64,
}

type Columns = (i64, Option<String>, Option<String>, Option<String>, Option<String>, Option<i64>, String, String, i64);

impl Tx {
    /// Adds a revocation and answers its epoch; the one in `new` is not looked at.
    pub async fn insert_revocation(&mut self, new: &RevocationRow, act: &Act) -> Result<u64, Error> {
        const INSERT_REVOCATION: &str = "INSERT INTO revocations (epoch, key, digest, plugin, version, from_at, reason, revoked_by, revoked_at) \
             SELECT COALESCE(MAX(epoch), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8 FROM revocations RETURNING epoch";
        let detail = serde_json::json!({
            "key": new.key,
            "digest": new.digest.map(|digest| digest.to_string()),
            "plugin": new.plugin,
            "version": new.version,
            "from_at": new.from_at,
            "reason": new.reason,
        });
        // First: who appends to the log has the turn, so that no two revocations take one epoch.
        self.append_audit(act, "revocation.add", None, None, &detail.to_string()).await?;
        let epoch: i64 = on_engine!(self, |conn| {
            sqlx::query_scalar(INSERT_REVOCATION)
                .bind(&new.key)
                .bind(new.digest.map(|digest| digest.to_string()))
                .bind(&new.plugin)
                .bind(&new.version)
                .bind(new.from_at)
                .bind(&new.reason)
                .bind(&act.actor)
                .bind(act.at)
                .fetch_one(conn)
                .await
        })
        .map_err(Error::query("insert_revocation"))?;
        let epoch = unsigned("epoch", epoch)?;
        let event = Event::RevocationAdd {
            epoch,
            key: new.key.clone(),
            digest: new.digest.map(|digest| digest.to_string()),
            plugin: new.plugin.clone(),
            version: new.version.clone(),
            from_at: new.from_at,
        };
        self.append_log(event, act).await?;
        self.count_change().await?;
        Ok(epoch)
    }

    /// Revocations behind `after`, by epoch.
    pub async fn list_revocations(&mut self, after: u64, limit: u32) -> Result<Vec<RevocationRow>, Error> {
        const LIST_REVOCATIONS: &str = "SELECT epoch, key, digest, plugin, version, from_at, reason, revoked_by, revoked_at \
             FROM revocations WHERE epoch > $1 ORDER BY epoch LIMIT $2";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REVOCATIONS).bind(signed(after)).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_revocations"))?;
        // One that cannot be read is an error, not left out: what it revokes would run.
        rows.into_iter().map(row).collect()
    }

    /// Epoch of the last revocation; 0 where there is none.
    pub async fn revocation_epoch(&mut self) -> Result<u64, Error> {
        const REVOCATION_EPOCH: &str = "SELECT COALESCE(MAX(epoch), 0) FROM revocations";
        let epoch: i64 = on_engine!(self, |conn| sqlx::query_scalar(REVOCATION_EPOCH).fetch_one(conn).await)
            .map_err(Error::query("revocation_epoch"))?;
        unsigned("epoch", epoch)
    }
}

single_reads! {
    /// Revocations behind `after`, by epoch.
    list_revocations(after: u64, limit: u32) -> Vec<RevocationRow>;
    /// Epoch of the last revocation; 0 where there is none.
    revocation_epoch() -> u64;
}

fn row(row: Columns) -> Result<RevocationRow, Error> {
    Ok(RevocationRow {
        epoch: unsigned("epoch", row.0)?,
        key: row.1,
        digest: row.2.map(|digest| parsed("digest", &digest)).transpose()?,
        plugin: row.3,
        version: row.4,
        from_at: row.5,
        reason: row.6,
        revoked_by: row.7,
        revoked_at: row.8,
    })
}
