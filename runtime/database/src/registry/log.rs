//! The registry's log: leaves, and the hashes of complete subtrees, appended in the transaction of what they record.
//! What a leaf is and how it is hashed is [`bulkhead_model::log`]'s; nothing is signed here.

use bulkhead_model::log::tree::{self, Completed, Node, join, leaf_hash, node_hash};
use bulkhead_model::log::{Event, Leaf};
use bulkhead_model::{Digest, PluginId, Version};

use crate::audit::Act;
use crate::db::{Tx, on_engine, parsed, signed, single_reads, unsigned};
use crate::error::Error;

/// Releases of one read while the log begins.
const BEGIN_PAGE: u32 = 500;

/// A leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRow {
    /// Its place, from 0.
    pub index: u64,
    /// The bytes that are hashed, which are text.
    pub leaf: String,
}

/// How far the stored state is, all of it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Leaves of the log.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Epoch of the last revocation.
    pub revocation_epoch: u64,
    /// Version of the newest policy.
    pub policy_version: u64,
    /// Position and hash of the end of the audit log.
    pub audit: (u64, Digest),
}

impl Tx {
    /// Appends a leaf and answers its place. Writers take turns from here to the end of their transaction.
    pub(crate) async fn append_log(&mut self, event: Event, act: &Act) -> Result<u64, Error> {
        const TAKE_LOG_HEAD: &str = "UPDATE registry_log_head SET size = size + 1 WHERE head_id = 1 RETURNING size - 1";
        const INSERT_LEAF: &str = "INSERT INTO registry_log (leaf_index, leaf, event, digest) VALUES ($1, $2, $3, $4)";
        let (name, digest) = (event.name(), event.release_digest().unwrap_or_default().to_owned());
        let leaf = Leaf { at: act.at, event }.to_bytes().map_err(|_| Error::Corrupt { column: "leaf" })?;
        self.hold_audit_head().await?;
        let index: i64 = on_engine!(self, |conn| sqlx::query_scalar(TAKE_LOG_HEAD).fetch_one(conn).await)
            .map_err(Error::query("take_log_head"))?;
        on_engine!(self, |conn| {
            sqlx::query(INSERT_LEAF)
                .bind(index)
                .bind(String::from_utf8_lossy(&leaf))
                .bind(name)
                .bind(digest)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_leaf"))?;
        let index = unsigned("leaf_index", index)?;
        let mut hash = leaf_hash(&leaf);
        self.insert_node(Node { level: 0, index }, &hash).await?;
        for Completed { left, node } in tree::completed_by(index) {
            hash = node_hash(&self.get_node(left).await?, &hash);
            self.insert_node(node, &hash).await?;
        }
        Ok(index)
    }

    /// Takes the row of the audit chain's end without lengthening the chain: every writer of the log has it first, whatever
    /// else it writes, so that none waits for another in a circle.
    async fn hold_audit_head(&mut self) -> Result<(), Error> {
        const HOLD_AUDIT_HEAD: &str = "UPDATE audit_head SET sequence = sequence WHERE head_id = 1";
        on_engine!(self, |conn| sqlx::query(HOLD_AUDIT_HEAD).execute(conn).await.map(drop))
            .map_err(Error::query("hold_audit_head"))
    }

    async fn insert_node(&mut self, node: Node, hash: &Digest) -> Result<(), Error> {
        const INSERT_NODE: &str = "INSERT INTO registry_log_nodes (level, node_index, hash) VALUES ($1, $2, $3)";
        on_engine!(self, |conn| {
            sqlx::query(INSERT_NODE)
                .bind(i64::from(node.level))
                .bind(signed(node.index))
                .bind(hash.to_string())
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("insert_node"))
    }

    async fn get_node(&mut self, node: Node) -> Result<Digest, Error> {
        const GET_NODE: &str = "SELECT hash FROM registry_log_nodes WHERE level = $1 AND node_index = $2";
        let hash: Option<String> = on_engine!(self, |conn| {
            sqlx::query_scalar(GET_NODE).bind(i64::from(node.level)).bind(signed(node.index)).fetch_optional(conn).await
        })
        .map_err(Error::query("get_node"))?;
        // The log never loses one by itself.
        parsed("hash", &hash.ok_or(Error::Corrupt { column: "hash" })?)
    }

    async fn joined(&mut self, nodes: &[Node]) -> Result<Option<Digest>, Error> {
        let mut hashes = Vec::with_capacity(nodes.len());
        for node in nodes {
            hashes.push(self.get_node(*node).await?);
        }
        Ok(join(&hashes))
    }

    /// Leaves of the log.
    pub async fn log_size(&mut self) -> Result<u64, Error> {
        const LOG_SIZE: &str = "SELECT size FROM registry_log_head WHERE head_id = 1";
        let size: i64 = on_engine!(self, |conn| sqlx::query_scalar(LOG_SIZE).fetch_one(conn).await)
            .map_err(Error::query("log_size"))?;
        unsigned("size", size)
    }

    /// The root over the first `size` leaves, which are there.
    pub async fn log_root(&mut self, size: u64) -> Result<Digest, Error> {
        Ok(self.joined(&tree::root_of(size)).await?.unwrap_or_else(tree::empty_root))
    }

    /// The hashes that prove that the leaf at `index` is among the first `size`; `None` where it is not.
    pub async fn prove_inclusion(&mut self, index: u64, size: u64) -> Result<Option<Vec<Digest>>, Error> {
        match tree::inclusion_of(index, size) {
            Some(parts) => self.hashes(&parts).await.map(Some),
            None => Ok(None),
        }
    }

    /// The hashes that prove that the first `from` leaves are the beginning of the first `to`; `None` where `to` is smaller.
    pub async fn prove_consistency(&mut self, from: u64, to: u64) -> Result<Option<Vec<Digest>>, Error> {
        match tree::consistency_of(from, to) {
            Some(parts) => self.hashes(&parts).await.map(Some),
            None => Ok(None),
        }
    }

    async fn hashes(&mut self, parts: &[Vec<Node>]) -> Result<Vec<Digest>, Error> {
        let mut hashes = Vec::with_capacity(parts.len());
        for part in parts {
            hashes.extend(self.joined(part).await?);
        }
        Ok(hashes)
    }

    /// The leaf at `index`, if the log is that long.
    pub async fn find_leaf(&mut self, index: u64) -> Result<Option<LeafRow>, Error> {
        const FIND_LEAF: &str = "SELECT leaf_index, leaf FROM registry_log WHERE leaf_index = $1";
        let found: Option<(i64, String)> =
            on_engine!(self, |conn| sqlx::query_as(FIND_LEAF).bind(signed(index)).fetch_optional(conn).await)
                .map_err(Error::query("find_leaf"))?;
        found.map(row).transpose()
    }

    /// The first leaf with which an artifact came by `event`, of any event if that is empty.
    pub async fn find_release_leaf(&mut self, digest: &str, event: &str) -> Result<Option<LeafRow>, Error> {
        const FIND_RELEASE_LEAF: &str = "SELECT leaf_index, leaf FROM registry_log \
             WHERE digest = $1 AND digest <> '' AND (event = $2 OR $2 = '') ORDER BY leaf_index LIMIT 1";
        let found: Option<(i64, String)> = on_engine!(self, |conn| {
            sqlx::query_as(FIND_RELEASE_LEAF).bind(digest).bind(event).fetch_optional(conn).await
        })
        .map_err(Error::query("find_release_leaf"))?;
        found.map(row).transpose()
    }

    /// Leaves from `first` on, by place.
    pub async fn list_leaves(&mut self, first: u64, limit: u32) -> Result<Vec<LeafRow>, Error> {
        const LIST_LEAVES: &str =
            "SELECT leaf_index, leaf FROM registry_log WHERE leaf_index >= $1 ORDER BY leaf_index LIMIT $2";
        let rows: Vec<(i64, String)> = on_engine!(self, |conn| {
            sqlx::query_as(LIST_LEAVES).bind(signed(first)).bind(i64::from(limit)).fetch_all(conn).await
        })
        .map_err(Error::query("list_leaves"))?;
        rows.into_iter().map(row).collect()
    }

    /// How far log, revocations, policies and audit log are.
    pub async fn log_state(&mut self) -> Result<LogState, Error> {
        let size = self.log_size().await?;
        Ok(LogState {
            size,
            root: self.log_root(size).await?,
            revocation_epoch: self.revocation_epoch().await?,
            policy_version: self.find_latest_policy().await?.map_or(0, |row| row.version),
            audit: self.audit_head().await?,
        })
    }

    /// Gives the releases that were there before the log their leaves, once in the life of a database; later calls do
    /// nothing.
    pub async fn begin_log(&mut self, act: &Act) -> Result<(), Error> {
        const BEGIN_LOG: &str = "UPDATE registry_log_head SET begun_at = $1 WHERE head_id = 1 AND begun_at IS NULL";
        self.hold_audit_head().await?;
        let begun = on_engine!(self, |conn| sqlx::query(BEGIN_LOG)
            .bind(act.at)
            .execute(conn)
            .await
            .map(|it| it.rows_affected()))
        .map_err(Error::query("begin_log"))?;
        if begun == 0 {
            return Ok(());
        }
        let mut after = (String::new(), String::new());
        loop {
            let page = self.list_all_versions((&after.0, &after.1), BEGIN_PAGE).await?;
            let Some((plugin, version)) = page.last() else { return Ok(()) };
            after = (plugin.to_string(), version.to_string());
            for (plugin, version) in page {
                let digest = self.get_plugin_version(&plugin, &version).await?.digest.to_string();
                let event = Event::ReleaseRegister { plugin: plugin.to_string(), version: version.to_string(), digest };
                self.append_log(event, act).await?;
            }
        }
    }

    /// Keeps what proved that the log has a release, in the place of an older proof.
    pub async fn put_install_proof(
        &mut self,
        plugin: &PluginId,
        version: &Version,
        proof: &str,
        at: i64,
    ) -> Result<(), Error> {
        const PUT_INSTALL_PROOF: &str = "INSERT INTO install_proofs (plugin_id, version, proof, proven_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (plugin_id, version) DO UPDATE SET proof = excluded.proof, proven_at = excluded.proven_at";
        on_engine!(self, |conn| {
            sqlx::query(PUT_INSTALL_PROOF)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .bind(proof)
                .bind(at)
                .execute(conn)
                .await
                .map(drop)
        })
        .map_err(Error::query("put_install_proof"))
    }

    /// What proved, when a version was installed last, that the log has its release.
    pub async fn find_install_proof(&mut self, plugin: &PluginId, version: &Version) -> Result<Option<String>, Error> {
        const FIND_INSTALL_PROOF: &str = "SELECT proof FROM install_proofs WHERE plugin_id = $1 AND version = $2";
        on_engine!(self, |conn| {
            sqlx::query_scalar(FIND_INSTALL_PROOF)
                .bind(plugin.as_str())
                .bind(version.to_string())
                .fetch_optional(conn)
                .await
        })
        .map_err(Error::query("find_install_proof"))
    }
}

single_reads! {
    /// How far log, revocations, policies and audit log are.
    log_state() -> LogState;
    /// Leaves from `first` on, by place.
    list_leaves(first: u64, limit: u32) -> Vec<LeafRow>;
    /// What proved, when a version was installed last, that the log has its release.
    find_install_proof(plugin: &PluginId, version: &Version) -> Option<String>;
}

fn row((index, leaf): (i64, String)) -> Result<LeafRow, Error> {
    Ok(LeafRow { index: unsigned("leaf_index", index)?, leaf })
}
