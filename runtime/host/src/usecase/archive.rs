//! What an archive holds of a plugin in a tenant: its record, its history, and everything that it keeps there.
//! The guide for platform admins documents the layout; [`crate::archive`] writes the file.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use bulkhead_database::tenant::{PluginStore, StorageError, TablePiece, limit_codes, limits};
use bulkhead_database::{self as database, BlobInfo, KvEntry, TenantPluginRow, Value};
use bulkhead_model::{Limits, PluginId, Version};
use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use serde_json::json;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

use crate::archive::{Archive, Part, Spool};
use crate::clock;
use crate::error::Error;
use crate::host::Host;

/// Version of the layout.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Past configurations of a plugin in a tenant that an archive holds, the newest.
const CONFIGURATIONS_MAX: u32 = 10_000;
/// Pieces of tables that wait to be written.
const PIECES_MAX: usize = 4;
/// Keys that are read at once, as long as their values fit.
const KEYS_AT_ONCE: usize = 64;
/// Times that a blob is read which somebody replaces meanwhile.
const BLOB_TRIES: u32 = 5;

impl Host {
    /// The folder of archives and of what is spooled for them, which the host's user alone enters.
    pub(super) async fn archives(&self) -> Result<PathBuf, Error> {
        let folder = self.inner.config.data_dir.join("archives");
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).await.map_err(failed)?;
        Ok(folder)
    }

    /// What the manifest says of a plugin.
    pub(super) async fn manifest_entry(
        &self,
        plugin: &PluginId,
        version: Option<&Version>,
    ) -> Result<serde_json::Value, Error> {
        let known = self.inner.db.list_plugin_versions(plugin).await?;
        let digest = known.iter().find(|row| Some(&row.version) == version).map(|row| row.digest.to_string());
        Ok(json!({ "id": plugin.as_str(), "version": version.map(ToString::to_string), "digest": digest }))
    }

    /// Puts a plugin in a tenant under `<root>plugins/<id>/`.
    pub(super) async fn put_plugin<W: AsyncWrite + Unpin + Send>(
        &self,
        archive: &mut Archive<W>,
        root: &str,
        row: &TenantPluginRow,
    ) -> Result<(), Error> {
        let (tenant, plugin) = (&row.tenant_id, &row.plugin_id);
        let store = self.inner.storage.store(tenant, plugin, Limits::DEFAULT.storage_bytes);
        let mut contents = Contents {
            store: store.is_there().await.map_err(|source| unread("is_there", source))?.then_some(store),
            spool: Spool::open(&self.archives().await?).await.map_err(failed)?,
            root: format!("{root}plugins/{plugin}/"),
            archive,
        };
        contents.put("record.json", record(row)?.as_bytes()).await?;
        for past in self.inner.db.list_configurations(tenant, plugin, CONFIGURATIONS_MAX).await? {
            let line = json!({
                "revision": past.revision,
                "configuration": parsed(&past.data)?,
                "schema_version": past.schema_version,
                "original_version": past.original_version,
                "changed_by": past.changed_by,
                "changed_at": time(past.changed_at),
            });
            contents.line(&line).await?;
        }
        contents.put_lines("configurations.ndjson").await?;
        contents.put_migrations().await?;
        contents.put_tables().await?;
        contents.put_keys().await?;
        contents.put_blobs(Spool::open(&self.archives().await?).await.map_err(failed)?).await
    }
}

/// A plugin's part of an archive while it is written.
struct Contents<'a, W> {
    archive: &'a mut Archive<W>,
    /// `None` where the plugin never kept anything.
    store: Option<PluginStore>,
    /// Lines of the file that comes next.
    spool: Spool,
    root: String,
}

impl<W: AsyncWrite + Unpin + Send> Contents<'_, W> {
    async fn put_migrations(&mut self) -> Result<(), Error> {
        if let Some(store) = self.store.clone() {
            for applied in store.applied_migrations().await.map_err(|source| unread("applied_migrations", source))? {
                let line = json!({
                    "number": applied.number,
                    "name": applied.name,
                    "checksum": applied.checksum.to_string(),
                    "applied_at": time(applied.applied_at),
                });
                self.line(&line).await?;
            }
        }
        self.put_lines("migrations.ndjson").await
    }

    async fn put_tables(&mut self) -> Result<(), Error> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        // A moment's read is held no longer than a disk takes, however slow whoever takes the archive is.
        let read = store.export_tables(sender, Instant::now() + limits::EXPORT);
        let (read, tables) = tokio::join!(read, spool_tables(&mut self.spool, receiver));
        let tables = tables?;
        read.map_err(|source| unread("export_tables", source))?;
        for (number, (table, part)) in (1_u64..).zip(tables) {
            let path = format!("{}tables/{}.ndjson", self.root, file_name(&table, number));
            self.archive.put_spooled(&path, &mut self.spool, &part).await.map_err(failed)?;
        }
        self.spool.clear().await.map_err(failed)
    }

    async fn put_keys(&mut self) -> Result<(), Error> {
        if let Some(store) = self.store.clone() {
            let mut after = None;
            loop {
                let max = u32::try_from(limits::KEYS_PER_REQUEST_MAX).unwrap_or(u32::MAX);
                let page = store.kv_scan("", after, max, clock::now_ms(), soon()).await;
                let page = page.map_err(|source| unread("kv_scan", source))?;
                for keys in page.keys.chunks(KEYS_AT_ONCE) {
                    for (key, entry) in entries(&store, keys).await? {
                        let line = json!({
                            "key": key,
                            "value": BASE64.encode(&entry.value),
                            "version": entry.version,
                            "ttl_ms": entry.ttl_ms,
                        });
                        self.line(&line).await?;
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        self.put_lines("kv.ndjson").await
    }

    /// Names are texts and no paths: a blob's file is named by its number.
    async fn put_blobs(&mut self, mut bytes: Spool) -> Result<(), Error> {
        if let Some(store) = self.store.clone() {
            let (mut after, mut number) = (None, 0_u64);
            loop {
                let max = u32::try_from(limits::BLOBS_PER_PAGE_MAX).unwrap_or(u32::MAX);
                let page = store.blob_scan("", after, max, soon()).await;
                let page = page.map_err(|source| unread("blob_scan", source))?;
                for found in page.items {
                    let Some((info, part)) = spool_blob(&store, found, &mut bytes).await? else { continue };
                    number += 1;
                    let path = format!("{}blobs/{number}", self.root);
                    self.archive.put_spooled(&path, &mut bytes, &part).await.map_err(failed)?;
                    let line = json!({
                        "number": number,
                        "name": info.name,
                        "media_type": info.media_type,
                        "size_bytes": info.size_bytes,
                        "sha256": HEXLOWER.encode(&info.sha256),
                        "modified_at": time(info.modified_at),
                    });
                    self.line(&line).await?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        self.put_lines("blobs.ndjson").await
    }

    async fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.archive.put(&format!("{}{name}", self.root), bytes).await.map_err(failed)
    }

    async fn line(&mut self, line: &serde_json::Value) -> Result<(), Error> {
        self.spool.write(format!("{line}\n").as_bytes()).await.map_err(failed)
    }

    /// Puts the lines that were written.
    async fn put_lines(&mut self, name: &str) -> Result<(), Error> {
        let part = self.spool.end_part();
        let path = format!("{}{name}", self.root);
        self.archive.put_spooled(&path, &mut self.spool, &part).await.map_err(failed)?;
        self.spool.clear().await.map_err(failed)
    }
}

/// Each table with its lines: one with its name and columns, then one for each row.
async fn spool_tables(spool: &mut Spool, mut pieces: mpsc::Receiver<TablePiece>) -> Result<Vec<(String, Part)>, Error> {
    let (mut tables, mut begun, mut names) = (Vec::new(), None::<String>, Vec::new());
    while let Some(piece) = pieces.recv().await {
        let text = match piece {
            TablePiece::Begin { table, columns } => {
                if let Some(before) = begun.replace(table.clone()) {
                    tables.push((before, spool.end_part()));
                }
                names = columns.iter().map(|column| json!(column).to_string()).collect();
                format!("{}\n", json!({ "table": table, "columns": columns }))
            }
            TablePiece::Rows(rows) => rows.iter().map(|row| row_line(&names, row)).collect(),
        };
        spool.write(text.as_bytes()).await.map_err(failed)?;
    }
    if let Some(last) = begun {
        tables.push((last, spool.end_part()));
    }
    Ok(tables)
}

/// A row with its columns in their order; `names` are JSON texts already.
fn row_line(names: &[String], row: &[Value]) -> String {
    let cells: Vec<String> = names.iter().zip(row).map(|(name, value)| format!("{name}:{}", cell(value))).collect();
    format!("{{{}}}\n", cells.join(","))
}

/// A cell with its type. Numbers that JSON's readers may round are texts.
fn cell(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => json!({ "type": "null" }),
        Value::Boolean(value) => json!({ "type": "boolean", "value": value }),
        Value::Int64(value) => json!({ "type": "int64", "value": value.to_string() }),
        Value::Float64(value) => json!({ "type": "float64", "value": value.to_string() }),
        Value::Text(text) => json!({ "type": "text", "value": text }),
        Value::Bytes(bytes) => json!({ "type": "bytes", "value": BASE64.encode(bytes) }),
        Value::Json(text) => json!({ "type": "json", "value": text }),
        Value::Timestamp(micros) => json!({ "type": "timestamp", "value": micros.to_string() }),
        Value::Uuid(high, low) => json!({ "type": "uuid", "value": uuid(*high, *low) }),
        Value::Decimal(digits) => json!({ "type": "decimal", "value": digits }),
    }
}

fn uuid(high: u64, low: u64) -> String {
    let hex = format!("{high:016x}{low:016x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// A table's name where it is one that cannot be mistaken in any file system, and else its number.
fn file_name(table: &str, number: u64) -> String {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !table.is_empty() && table.len() <= 63 && table.bytes().all(is_plain) {
        table.to_owned()
    } else {
        format!("table-{number}")
    }
}

/// The entries of `keys` that are still there: all at once, or one by one where that is too much.
async fn entries(store: &PluginStore, keys: &[String]) -> Result<Vec<(String, KvEntry)>, Error> {
    let failed = |source| unread("kv_get", source);
    let found = match store.kv_get_many(keys.to_vec(), clock::now_ms(), soon()).await {
        Ok(found) => found,
        Err(StorageError::Limit(limit_codes::BYTES)) => {
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                found.push(store.kv_get(key, clock::now_ms(), soon()).await.map_err(failed)?);
            }
            found
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(keys.iter().cloned().zip(found).filter_map(|(key, entry)| entry.map(|entry| (key, entry))).collect())
}

/// A blob's bytes, which are those that its record names. `None` once it is gone.
async fn spool_blob(
    store: &PluginStore,
    mut info: BlobInfo,
    spool: &mut Spool,
) -> Result<Option<(BlobInfo, Part)>, Error> {
    for _ in 0..BLOB_TRIES {
        spool.clear().await.map_err(failed)?;
        let mut offset = 0;
        while offset < info.size_bytes {
            let len = u32::try_from(limits::BLOB_PIECE_BYTES_MAX).unwrap_or(u32::MAX);
            let piece = store.blob_read(&info.name, offset, len, soon()).await;
            let piece = piece.map_err(|source| unread("blob_read", source))?.unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            spool.write(&piece).await.map_err(failed)?;
        }
        let part = spool.end_part();
        if *part.sha256() == info.sha256 {
            return Ok(Some((info, part)));
        }
        // Somebody replaced it meanwhile: once more, what is there instead.
        match store.blob_stat(&info.name, soon()).await.map_err(|source| unread("blob_stat", source))? {
            Some(found) => info = found,
            None => return Ok(None),
        }
    }
    Err(Error::Conflict("a file is replaced again and again while it is read; try again".to_owned()))
}

fn record(row: &TenantPluginRow) -> Result<String, Error> {
    let record = json!({
        "plugin": row.plugin_id.as_str(),
        "enabled": row.enabled,
        "status": row.status.as_str(),
        "configuration": parsed(&row.configuration)?,
        "configuration_version": row.configuration_version,
        "original_version": row.original_version,
        "configured_at": row.configured_at.map(time),
        "desired_version": row.desired_version.as_ref().map(ToString::to_string),
        "current_version": row.current_version.as_ref().map(ToString::to_string),
        "granted": row.granted.iter().map(|interface| interface.as_str()).collect::<Vec<_>>(),
        "last_error": row.last_error,
        "last_health_at": row.last_health_at.map(time),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    });
    Ok(format!("{record:#}\n"))
}

fn parsed(text: &str) -> Result<serde_json::Value, Error> {
    let corrupt = |_| Error::Database(database::Error::Corrupt { column: "tenant_plugins.configuration" });
    serde_json::from_str(text).map_err(corrupt)
}

/// RFC 3339 of microseconds since 1970.
pub(super) fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// The end of one short read.
fn soon() -> Instant {
    Instant::now() + limits::STATEMENT
}

fn unread(query: &'static str, source: StorageError) -> Error {
    Error::Database(database::Error::Storage { query, source })
}

/// The archive itself, or what is spooled for it, could not be written.
pub(super) fn failed(source: io::Error) -> Error {
    Error::File { path: "archives".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_its_type_and_loses_nothing() {
        let check = |value: Value, wanted: &str| assert_eq!(cell(&value).to_string(), wanted);
        check(Value::Null, r#"{"type":"null"}"#);
        check(Value::Boolean(true), r#"{"type":"boolean","value":true}"#);
        check(Value::Int64(i64::MIN), r#"{"type":"int64","value":"-9223372036854775808"}"#);
        check(Value::Float64(f64::NEG_INFINITY), r#"{"type":"float64","value":"-inf"}"#);
        check(Value::Float64(0.1), r#"{"type":"float64","value":"0.1"}"#);
        check(Value::Text("a\n\"ü".into()), r#"{"type":"text","value":"a\n\"ü"}"#);
        check(Value::Bytes(vec![0, 255]), r#"{"type":"bytes","value":"AP8="}"#);
        check(Value::Json("{ }".into()), r#"{"type":"json","value":"{ }"}"#);
        check(Value::Timestamp(-1), r#"{"type":"timestamp","value":"-1"}"#);
        check(Value::Uuid(1, 2), r#"{"type":"uuid","value":"00000000-0000-0001-0000-000000000002"}"#);
        check(Value::Decimal("1.10".into()), r#"{"type":"decimal","value":"1.10"}"#);
    }

    #[test]
    fn a_tables_name_is_a_files_name_only_where_it_is_plain() {
        assert_eq!(file_name("notes_2", 1), "notes_2");
        for name in ["", "..", "a/b", "Notes", "ü", "a\nb", &"n".repeat(64)] {
            assert_eq!(file_name(name, 7), "table-7", "{name}");
        }
    }
}
