//! Signer policies as they were installed; the one of the highest version is in force, those that are only observed apart.
//! It verifies no signature.

use bulkhead_model::Digest;
use bulkhead_model::log::Event;

use crate::audit::Act;
use crate::db::{Tx, on_engine, signed, single_reads, unsigned};
use crate::error::Error;

/// An installed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its version.
    pub version: u64,
    /// The signed envelope, byte for byte.
    pub envelope: Vec<u8>,
    /// The policy as JSON text.
    pub json: String,
    /// Whether it is only observed, beside the one in force.
    pub observed: bool,
    /// Who installed it.
    pub installed_by: String,
    /// When, in microseconds since 1970.
    pub installed_at: i64,
}

type Columns = (i64, Vec<u8>, String, bool, String, i64);

impl Tx {
    /// Puts a policy in force, or beside the one in force. A version that exists is a conflict.
    pub async fn insert_policy(&mut self, policy: &PolicyRow, act: &Act) -> Result<(), Error> {
        const INSERT_POLICY: &str = "INSERT INTO policies (version, envelope, json, observed, installed_by, installed_at) VALUES ($1, $2, $3, $4, $5, $6)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_POLICY)
                .bind(signed(policy.version))
                .bind(policy.envelope.as_slice())
                .bind(&policy.json)
                .bind(policy.observed)
                .bind(&policy.installed_by)
                .bind(policy.installed_at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_policy"))?;
        let detail = serde_json::json!({ "version": policy.version }).to_string();
        let action = if policy.observed { "policy.observe" } else { "policy.install" };
        self.append_audit(act, action, None, None, &detail).await?;
        let digest = Digest::of(&policy.envelope).to_string();
        self.append_log(Event::PolicyInstall { version: policy.version, digest, observed: policy.observed }, act)
            .await?;
        self.count_change().await
    }

    /// The policy in force, if any was installed.
    pub async fn find_policy(&mut self) -> Result<Option<PolicyRow>, Error> {
        const FIND_POLICY: &str = "SELECT version, envelope, json, observed, installed_by, installed_at FROM policies \
             WHERE NOT observed ORDER BY version DESC LIMIT 1";
        let found: Option<Columns> = on_engine!(self, |conn| sqlx::query_as(FIND_POLICY).fetch_optional(conn).await)
            .map_err(Error::query("find_policy"))?;
        found.map(row).transpose()
    }

    /// The policy of the highest version, whether it is in force or only observed.
    pub async fn find_latest_policy(&mut self) -> Result<Option<PolicyRow>, Error> {
        const FIND_LATEST_POLICY: &str = "SELECT version, envelope, json, observed, installed_by, installed_at FROM policies \
             ORDER BY version DESC LIMIT 1";
        let found: Option<Columns> =
            on_engine!(self, |conn| sqlx::query_as(FIND_LATEST_POLICY).fetch_optional(conn).await)
                .map_err(Error::query("find_latest_policy"))?;
        found.map(row).transpose()
    }
}

single_reads! {
    /// The policy of the highest version, whether it is in force or only observed.
    find_latest_policy() -> Option<PolicyRow>;
    /// The policy in force, if any was installed.
    find_policy() -> Option<PolicyRow>;
}

fn row((version, envelope, json, observed, installed_by, installed_at): Columns) -> Result<PolicyRow, Error> {
    Ok(PolicyRow { version: unsigned("version", version)?, envelope, json, observed, installed_by, installed_at })
}
