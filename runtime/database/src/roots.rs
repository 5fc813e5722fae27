//! Documents of root keys as they were installed, a chain for each anchor that a host was configured with.
//! It verifies no signature: who reads a chain walks it.

use bulkhead_model::Digest;
use bulkhead_model::log::Event;

use crate::audit::Act;
use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// An installed document of root keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootsRow {
    /// Its place in the chain, from 1.
    pub version: u64,
    /// The signed envelope, byte for byte.
    pub envelope: Vec<u8>,
    /// Who installed it.
    pub installed_by: String,
    /// When, in microseconds since 1970.
    pub installed_at: i64,
}

type Columns = (i64, Vec<u8>, String, i64);

impl Tx {
    /// Adds a document to the chain of `anchor`. A version that exists is a conflict.
    pub async fn insert_roots(&mut self, anchor: &Digest, roots: &RootsRow, act: &Act) -> Result<(), Error> {
        const INSERT_ROOTS: &str = "INSERT INTO policy_roots (anchor, version, envelope, installed_by, installed_at) VALUES ($1, $2, $3, $4, $5)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_ROOTS)
                .bind(anchor.to_string())
                .bind(signed(roots.version))
                .bind(roots.envelope.as_slice())
                .bind(&roots.installed_by)
                .bind(roots.installed_at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_roots"))?;
        let digest = Digest::of(&roots.envelope).to_string();
        let detail = serde_json::json!({ "version": roots.version, "envelope_digest": digest }).to_string();
        self.append_audit(act, "policy.roots", None, None, &detail).await?;
        self.append_log(Event::RootsInstall { version: roots.version, digest }, act).await?;
        self.count_change().await
    }

    /// Documents of the chain of `anchor` behind version `after`, in order.
    pub async fn list_roots(&mut self, anchor: &Digest, after: u64, limit: u32) -> Result<Vec<RootsRow>, Error> {
        const LIST_ROOTS: &str = "SELECT version, envelope, installed_by, installed_at FROM policy_roots \
             WHERE anchor = $1 AND version > $2 ORDER BY version LIMIT $3";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_ROOTS)
                .bind(anchor.to_string())
                .bind(signed(after))
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_roots"))?;
        // One that cannot be read is an error, not left out: the chain would break behind it.
        rows.into_iter().map(row).collect()
    }

    /// Version of the last document of the chain of `anchor`; 0 where there is none.
    pub async fn roots_version(&mut self, anchor: &Digest) -> Result<u64, Error> {
        const ROOTS_VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM policy_roots WHERE anchor = $1";
        let version: i64 =
            on_engine!(self, |conn| sqlx::query_scalar(ROOTS_VERSION).bind(anchor.to_string()).fetch_one(conn).await)
                .map_err(Error::query("roots_version"))?;
        unsigned("version", version)
    }
}

single_reads! {
    /// Documents of the chain of `anchor` behind version `after`, in order.
    list_roots(anchor: &Digest, after: u64, limit: u32) -> Vec<RootsRow>;
    /// Version of the last document of the chain of `anchor`; 0 where there is none.
    roots_version(anchor: &Digest) -> u64;
}

fn row((version, envelope, installed_by, installed_at): Columns) -> Result<RootsRow, Error> {
    Ok(RootsRow { version: unsigned("version", version)?, envelope, installed_by, installed_at })
}
