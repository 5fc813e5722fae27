//! The record of reach: since when, and until when, which set of authority held for a plugin in a tenant.
//! What a set is and what counts are the host's to say.

use bulkhead_model::{Digest, Interface, PluginId, PluginStatus, TenantId, Version};

use crate::db::{Tx, on_engine, parsed, readable, signed, single_reads, unsigned};
use crate::error::Error;
use crate::tenant_plugins::granted;
use crate::tenants::TenantStatus;

/// Sets without a row that one call removes.
const SETS_PER_DELETE: i64 = 1_000;

/// A plugin in a tenant.
pub type Pair<'a> = (&'a TenantId, &'a PluginId);

/// Which rows of the record are meant; `None` means all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReachFilter<'a> {
    /// Of one tenant.
    pub tenant: Option<&'a TenantId>,
    /// Of one plugin.
    pub plugin: Option<&'a PluginId>,
}

/// A plugin that a tenant has enabled, beside what is on record about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachCandidate {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// Version of the fleet.
    pub version: Version,
    /// Whether the fleet serves the plugin and the tenant is active.
    pub serves: bool,
    /// Interfaces that the tenant consented to.
    pub granted: Vec<Interface>,
    /// What is on record as held, and since when.
    pub open: Option<(Digest, i64)>,
}

/// A time during which a set held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachRow {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// From when on, in microseconds since 1970.
    pub since: i64,
    /// Until when, exclusive; `None` while it holds.
    pub until: Option<i64>,
    /// What held.
    pub set_id: Digest,
    /// Version of the policy when it began.
    pub policy_version: u64,
}

/// What is to be written about a plugin in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachChange {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The plugin.
    pub plugin_id: PluginId,
    /// `since` of the row that ends. If it has ended meanwhile, nothing is written.
    pub ends: Option<i64>,
    /// The set that holds from then on, and the version of the policy.
    pub begins: Option<(Digest, u64)>,
}

/// How far the record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachPass {
    /// The change that the last pass over everything knew.
    pub changes: u64,
    /// When it ended, in microseconds since 1970.
    pub at: i64,
}

type CandidateColumns = (String, String, String, String, String, String, Option<String>, Option<i64>);
type Columns = (String, String, i64, Option<i64>, String, i64);

impl Tx {
    /// What tenants have enabled, by tenant and plugin, behind `after`.
    pub async fn list_reach_candidates(
        &mut self,
        filter: ReachFilter<'_>,
        after: Option<Pair<'_>>,
        limit: u32,
    ) -> Result<Vec<ReachCandidate>, Error> {
        const LIST_REACH_CANDIDATES: &str = "SELECT e.tenant_id, e.plugin_id, p.version, p.status, t.status, e.granted, r.set_id, r.since_at \
             FROM tenant_plugins e JOIN plugins p ON p.plugin_id = e.plugin_id JOIN tenants t ON t.tenant_id = e.tenant_id \
             LEFT JOIN reach r ON r.tenant_id = e.tenant_id AND r.plugin_id = e.plugin_id AND r.until_at IS NULL \
             WHERE e.enabled AND ($1 = '' OR e.tenant_id = $1) AND ($2 = '' OR e.plugin_id = $2) \
             AND (e.tenant_id, e.plugin_id) > ($3, $4) ORDER BY e.tenant_id, e.plugin_id LIMIT $5";
        let (tenant, plugin) = texts(filter);
        let (after_tenant, after_plugin) =
            after.map_or(("", ""), |(tenant, plugin)| (tenant.as_str(), plugin.as_str()));
        let rows: Vec<CandidateColumns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REACH_CANDIDATES)
                .bind(tenant)
                .bind(plugin)
                .bind(after_tenant)
                .bind(after_plugin)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_reach_candidates"))?;
        rows.into_iter().map(candidate).collect()
    }

    /// What is on record as held by a plugin that the tenant has not enabled.
    pub async fn list_reach_left(&mut self, filter: ReachFilter<'_>, limit: u32) -> Result<Vec<ReachRow>, Error> {
        const LIST_REACH_LEFT: &str = "SELECT tenant_id, plugin_id, since_at, until_at, set_id, policy_version FROM reach \
             WHERE until_at IS NULL AND ($1 = '' OR tenant_id = $1) AND ($2 = '' OR plugin_id = $2) \
             AND NOT EXISTS (SELECT 1 FROM tenant_plugins e WHERE e.tenant_id = reach.tenant_id \
             AND e.plugin_id = reach.plugin_id AND e.enabled) LIMIT $3";
        let (tenant, plugin) = texts(filter);
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REACH_LEFT).bind(tenant).bind(plugin).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_reach_left"))?;
        rows.into_iter().map(row).collect()
    }

    /// Takes the turn to write for somebody who knows everything up to the change `changes`, and answers the time of the
    /// writing: `now`, or later where a clock went back, so that it is behind every time on record. Others wait until the end
    /// of the transaction; `None` means that somebody who knew more was here.
    pub async fn take_reach_turn(&mut self, changes: u64, now: i64) -> Result<Option<i64>, Error> {
        const TAKE_REACH_TURN: &str = "UPDATE reach_turn SET changes = $1, \
             written_at = CASE WHEN written_at >= $2 THEN written_at + 1 ELSE $2 END \
             WHERE turn_id = 1 AND changes <= $1 RETURNING written_at";
        on_engine!(self, |conn| {
            sqlx::query_scalar(TAKE_REACH_TURN).bind(signed(changes)).bind(now).fetch_optional(conn).await
        })
        .map_err(Error::query("take_reach_turn"))
    }

    /// Writes a change down at `at`; see [`Tx::take_reach_turn`]. What somebody else has changed since it was read stays.
    pub async fn write_reach(&mut self, change: &ReachChange, at: i64) -> Result<(), Error> {
        const END_REACH: &str = "UPDATE reach SET until_at = $1 \
             WHERE tenant_id = $2 AND plugin_id = $3 AND since_at = $4 AND until_at IS NULL";
        const BEGIN_REACH: &str = "INSERT INTO reach (tenant_id, plugin_id, since_at, set_id, policy_version) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        let (tenant, plugin) = (change.tenant_id.as_str(), change.plugin_id.as_str());
        if let Some(since) = change.ends {
            let ended = on_engine!(self, |conn| {
                let ended = sqlx::query(END_REACH).bind(at).bind(tenant).bind(plugin).bind(since).execute(conn).await;
                ended.map(|done| done.rows_affected())
            })
            .map_err(Error::query("end_reach"))?;
            if ended == 0 {
                return Ok(());
            }
        }
        let Some((set, policy)) = &change.begins else { return Ok(()) };
        on_engine!(self, |conn| {
            sqlx::query(BEGIN_REACH)
                .bind(tenant)
                .bind(plugin)
                .bind(at)
                .bind(set.to_string())
                .bind(signed(*policy))
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("begin_reach"))
    }

    /// Keeps a set under the digest of its text.
    pub async fn put_reach_set(&mut self, set: &Digest, body: &str) -> Result<(), Error> {
        const PUT_REACH_SET: &str =
            "INSERT INTO reach_sets (set_id, body) VALUES ($1, $2) ON CONFLICT (set_id) DO NOTHING";
        on_engine!(self, |conn| {
            sqlx::query(PUT_REACH_SET).bind(set.to_string()).bind(body).execute(conn).await.map(drop)
        })
        .map_err(Error::query("put_reach_set"))
    }

    /// The text of a set.
    pub async fn get_reach_set(&mut self, set: &Digest) -> Result<String, Error> {
        const GET_REACH_SET: &str = "SELECT body FROM reach_sets WHERE set_id = $1";
        let found: Option<String> =
            on_engine!(self, |conn| sqlx::query_scalar(GET_REACH_SET).bind(set.to_string()).fetch_optional(conn).await)
                .map_err(Error::query("get_reach_set"))?;
        found.ok_or_else(|| Error::NotFound { what: "reach set", name: set.to_string() })
    }

    /// The time of the last writing, in microseconds since 1970.
    pub async fn reach_written_at(&mut self) -> Result<i64, Error> {
        const REACH_WRITTEN_AT: &str = "SELECT written_at FROM reach_turn WHERE turn_id = 1";
        on_engine!(self, |conn| sqlx::query_scalar(REACH_WRITTEN_AT).fetch_one(conn).await)
            .map_err(Error::query("reach_written_at"))
    }

    /// The last pass over everything.
    pub async fn reach_pass(&mut self) -> Result<ReachPass, Error> {
        const REACH_PASS: &str = "SELECT passed_changes, passed_at FROM reach_turn WHERE turn_id = 1";
        let (changes, at): (i64, i64) = on_engine!(self, |conn| sqlx::query_as(REACH_PASS).fetch_one(conn).await)
            .map_err(Error::query("reach_pass"))?;
        Ok(ReachPass { changes: unsigned("passed_changes", changes)?, at })
    }

    /// A pass over everything has ended. An older one changes nothing.
    pub async fn set_reach_pass(&mut self, pass: ReachPass) -> Result<(), Error> {
        const SET_REACH_PASS: &str =
            "UPDATE reach_turn SET passed_changes = $1, passed_at = $2 WHERE turn_id = 1 AND passed_changes <= $1";
        on_engine!(self, |conn| {
            sqlx::query(SET_REACH_PASS).bind(signed(pass.changes)).bind(pass.at).execute(conn).await.map(drop)
        })
        .map_err(Error::query("set_reach_pass"))
    }

    /// The plugins in tenants about which something is on record at one of two times, by tenant and plugin, behind `after`.
    pub async fn list_reach_pairs(
        &mut self,
        filter: ReachFilter<'_>,
        times: (i64, i64),
        after: Option<Pair<'_>>,
        limit: u32,
    ) -> Result<Vec<(TenantId, PluginId)>, Error> {
        const LIST_REACH_PAIRS: &str = "SELECT DISTINCT tenant_id, plugin_id FROM reach \
             WHERE ((since_at <= $1 AND (until_at IS NULL OR until_at > $1)) OR (since_at <= $2 AND (until_at IS NULL OR until_at > $2))) \
             AND ($3 = '' OR tenant_id = $3) AND ($4 = '' OR plugin_id = $4) \
             AND (tenant_id, plugin_id) > ($5, $6) ORDER BY tenant_id, plugin_id LIMIT $7";
        let (tenant, plugin) = texts(filter);
        let (after_tenant, after_plugin) =
            after.map_or(("", ""), |(tenant, plugin)| (tenant.as_str(), plugin.as_str()));
        let rows: Vec<(String, String)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REACH_PAIRS)
                .bind(times.0)
                .bind(times.1)
                .bind(tenant)
                .bind(plugin)
                .bind(after_tenant)
                .bind(after_plugin)
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_reach_pairs"))?;
        rows.iter().map(|(tenant, plugin)| Ok((parsed("tenant_id", tenant)?, parsed("plugin_id", plugin)?))).collect()
    }

    /// All that is on record about the pairs from `first` to `last`, by tenant, plugin and time.
    pub async fn list_reach_history(
        &mut self,
        plugin: Option<&PluginId>,
        first: Pair<'_>,
        last: Pair<'_>,
        limit: u32,
    ) -> Result<Vec<ReachRow>, Error> {
        const LIST_REACH_HISTORY: &str = "SELECT tenant_id, plugin_id, since_at, until_at, set_id, policy_version FROM reach \
             WHERE (tenant_id, plugin_id) >= ($1, $2) AND (tenant_id, plugin_id) <= ($3, $4) AND ($5 = '' OR plugin_id = $5) \
             ORDER BY tenant_id, plugin_id, since_at LIMIT $6";
        let rows: Vec<Columns> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_REACH_HISTORY)
                .bind(first.0.as_str())
                .bind(first.1.as_str())
                .bind(last.0.as_str())
                .bind(last.1.as_str())
                .bind(plugin.map_or("", PluginId::as_str))
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await
        })
        .map_err(Error::query("list_reach_history"))?;
        Ok(readable("list_reach_history", rows, row))
    }

    /// Forgets rows that ended before `before`, at most `limit`, and sets that no row names; answers how many rows went.
    pub async fn delete_reach_before(&mut self, before: i64, limit: u32) -> Result<u64, Error> {
        const DELETE_REACH_BEFORE: &str = "DELETE FROM reach WHERE (tenant_id, plugin_id, since_at) IN \
             (SELECT tenant_id, plugin_id, since_at FROM reach WHERE until_at IS NOT NULL AND until_at < $1 LIMIT $2)";
        const DELETE_REACH_SETS: &str = "DELETE FROM reach_sets WHERE set_id IN (SELECT s.set_id FROM reach_sets s \
             WHERE NOT EXISTS (SELECT 1 FROM reach r WHERE r.set_id = s.set_id) LIMIT $1)";
        const WAIT_FOR_TURN: &str = "UPDATE reach_turn SET written_at = written_at WHERE turn_id = 1";
        // Whoever writes puts sets, and the rows that name them, into one transaction: it is not between the two.
        on_engine!(self, |conn| sqlx::query(WAIT_FOR_TURN).execute(conn).await.map(drop))
            .map_err(Error::query("wait_for_turn"))?;
        let deleted = on_engine!(self, |conn| {
            let deleted = sqlx::query(DELETE_REACH_BEFORE).bind(before).bind(i64::from(limit)).execute(conn).await;
            deleted.map(|done| done.rows_affected())
        })
        .map_err(Error::query("delete_reach_before"))?;
        on_engine!(self, |conn| sqlx::query(DELETE_REACH_SETS).bind(SETS_PER_DELETE).execute(conn).await.map(drop))
            .map_err(Error::query("delete_reach_sets"))?;
        Ok(deleted)
    }
}

single_reads! {
    /// What tenants have enabled, by tenant and plugin, behind `after`.
    list_reach_candidates(filter: ReachFilter<'_>, after: Option<Pair<'_>>, limit: u32) -> Vec<ReachCandidate>;
    /// What is on record as held by a plugin that the tenant has not enabled.
    list_reach_left(filter: ReachFilter<'_>, limit: u32) -> Vec<ReachRow>;
    /// The text of a set.
    get_reach_set(set: &Digest) -> String;
    /// The time of the last writing, in microseconds since 1970.
    reach_written_at() -> i64;
    /// The last pass over everything.
    reach_pass() -> ReachPass;
    /// The plugins in tenants about which something is on record at one of two times, by tenant and plugin, behind `after`.
    list_reach_pairs(filter: ReachFilter<'_>, times: (i64, i64), after: Option<Pair<'_>>, limit: u32) -> Vec<(TenantId, PluginId)>;
    /// All that is on record about the pairs from `first` to `last`, by tenant, plugin and time.
    list_reach_history(plugin: Option<&PluginId>, first: Pair<'_>, last: Pair<'_>, limit: u32) -> Vec<ReachRow>;
}

fn texts(filter: ReachFilter<'_>) -> (&str, &str) {
    (filter.tenant.map_or("", TenantId::as_str), filter.plugin.map_or("", PluginId::as_str))
}

fn candidate(columns: CandidateColumns) -> Result<ReachCandidate, Error> {
    let (tenant_id, plugin_id, version, plugin_status, tenant_status, consent, set, since) = columns;
    let plugin_status: PluginStatus = parsed("status", &plugin_status)?;
    let open = match (set, since) {
        (Some(set), Some(since)) => Some((parsed("set_id", &set)?, since)),
        (_, _) => None,
    };
    Ok(ReachCandidate {
        tenant_id: parsed("tenant_id", &tenant_id)?,
        plugin_id: parsed("plugin_id", &plugin_id)?,
        version: parsed("version", &version)?,
        serves: plugin_status.serves() && tenant_status == TenantStatus::Active.as_str(),
        granted: granted(&consent)?,
        open,
    })
}

fn row((tenant_id, plugin_id, since, until, set_id, policy_version): Columns) -> Result<ReachRow, Error> {
    Ok(ReachRow {
        tenant_id: parsed("tenant_id", &tenant_id)?,
        plugin_id: parsed("plugin_id", &plugin_id)?,
        since,
        until,
        set_id: parsed("set_id", &set_id)?,
        policy_version: unsigned("policy_version", policy_version)?,
    })
}
