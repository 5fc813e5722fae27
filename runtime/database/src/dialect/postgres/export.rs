//! Reads all tables of a pair in one snapshot, in the pair's role, for an archive. Rows are decoded while they come: a
//! slow reader holds up the server, not the memory.
//! Its statements are the host's own; the plugin's names in them are quoted.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnection, PgRow, PgTypeInfo};
use sqlx::{AssertSqlSafe, Executor as _, Row as _, ValueRef as _};
use tokio::sync::mpsc;

use super::answer::Failure;
use super::names::quoted;
use super::session::{Mode, send as send_text, within};
use super::storage::Store;
use super::value::{Kind, decode};
use crate::tenant::export::{TablePiece, Waiting};
use crate::tenant::value::{StorageError, Value};

/// Time between two statements of an export: as long as its pieces may wait to be taken.
const IDLE: Duration = Duration::from_secs(60);

const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT 1 FROM storage_schemas WHERE tenant_id = $1 AND plugin_id = $2)";
const HAS_ANYTHING: &str = "SELECT EXISTS (SELECT 1 FROM storage_schemas WHERE tenant_id = $1 AND plugin_id = $2) \
     OR EXISTS (SELECT 1 FROM storage_key_totals WHERE tenant_id = $1 AND plugin_id = $2) \
     OR EXISTS (SELECT 1 FROM storage_migrations WHERE tenant_id = $1 AND plugin_id = $2)";
const TABLES: &str = "SELECT c.relname::text FROM pg_catalog.pg_class AS c \
     WHERE c.relnamespace = $1::text::regnamespace AND c.relkind = 'r' ORDER BY c.relname::text COLLATE \"C\"";
/// Name, type, and place in the primary key.
const COLUMNS: &str = "SELECT a.attname::text, a.atttypid::int8, \
     pg_catalog.array_position(i.indkey::int2[], a.attnum) FROM pg_catalog.pg_attribute AS a \
     LEFT JOIN pg_catalog.pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary \
     WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

impl Store {
    /// Whether there is a schema, a key or a migration that ran.
    pub(crate) async fn is_there(&self, deadline: Instant) -> Result<bool, StorageError> {
        self.has(HAS_ANYTHING, deadline).await
    }

    /// Sends all tables of one moment.
    pub(crate) async fn export_tables(
        &self,
        pieces: mpsc::Sender<TablePiece>,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        if !self.has(HAS_SCHEMA, deadline).await? {
            return Ok(());
        }
        let mut session = self.session(Mode::Snapshot, deadline).await?;
        let schema = quoted(&self.pair.name);
        let work = async {
            let idle = format!("SET LOCAL idle_in_transaction_session_timeout = {}", IDLE.as_millis());
            send_text(session.lease(), &idle).await?;
            export(session.lease().connection().map_err(Failure::Broken)?, &schema, &pieces).await
        };
        match within(deadline, work).await {
            Ok(()) => {
                session.rollback().await;
                Ok(())
            }
            Err(failure) => Err(session.end_after(failure).await),
        }
    }

    async fn has(&self, query: &'static str, deadline: Instant) -> Result<bool, StorageError> {
        let (tenant, plugin) = (self.pair.tenant.as_str(), self.pair.plugin.as_str());
        self.read(deadline, async |connection| {
            Ok(sqlx::query_scalar(query).bind(tenant).bind(plugin).fetch_one(connection).await?)
        })
        .await
    }
}

async fn export(connection: &mut PgConnection, schema: &str, pieces: &mpsc::Sender<TablePiece>) -> Result<(), Failure> {
    let tables: Vec<String> =
        sqlx::query_scalar(TABLES).persistent(false).bind(schema).fetch_all(&mut *connection).await?;
    for table in tables {
        let place = format!("{schema}.{}", quoted(&table));
        let columns = Column::list(connection, &place).await?;
        let text = select(&place, &columns);
        let kinds: Vec<Kind> = columns.iter().map(|column| column.kind.unwrap_or(Kind::Text)).collect();
        let names = columns.into_iter().map(|column| column.name).collect();
        send(pieces, TablePiece::Begin { table, columns: names }).await?;
        let mut rows = connection.fetch(sqlx::query(AssertSqlSafe(text)).persistent(false));
        let mut waiting = Waiting::default();
        while let Some(row) = rows.try_next().await? {
            if let Some(piece) = waiting.add(cells(&row, &kinds)?) {
                send(pieces, piece).await?;
            }
        }
        if let Some(piece) = waiting.take() {
            send(pieces, piece).await?;
        }
    }
    Ok(())
}

/// Waits until there is room. Nobody to take it leaves the connection in the middle of its rows.
async fn send(pieces: &mpsc::Sender<TablePiece>, piece: TablePiece) -> Result<(), Failure> {
    pieces.send(piece).await.map_err(|_| Failure::Broken(StorageError::Ended))
}

struct Column {
    name: String,
    /// `None` for a type that does not cross: its cells come as text.
    kind: Option<Kind>,
    place_in_key: Option<i32>,
}

impl Column {
    async fn list(connection: &mut PgConnection, table: &str) -> Result<Vec<Self>, Failure> {
        let rows = sqlx::query(COLUMNS).persistent(false).bind(table).fetch_all(connection).await?;
        rows.iter().map(|row| Ok(Self::of(row)?)).collect()
    }

    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let oid = u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
        Ok(Self {
            name: row.try_get(0)?,
            kind: Kind::of(&PgTypeInfo::with_oid(Oid(oid))),
            place_in_key: row.try_get(2)?,
        })
    }
}

fn select(table: &str, columns: &[Column]) -> String {
    let selected: Vec<String> = columns
        .iter()
        .map(|column| match column.kind {
            Some(_) => quoted(&column.name),
            None => format!("{}::text", quoted(&column.name)),
        })
        .collect();
    let mut keys: Vec<&Column> = columns.iter().filter(|column| column.place_in_key.is_some()).collect();
    keys.sort_by_key(|column| column.place_in_key);
    let order: Vec<String> = keys
        .iter()
        .map(|column| {
            // Bytes, whatever the order of the database is.
            let collation = if column.kind == Some(Kind::Text) { " COLLATE pg_catalog.\"C\"" } else { "" };
            format!("{table}.{}{collation}", quoted(&column.name))
        })
        .collect();
    let order = if order.is_empty() { "ctid".to_owned() } else { order.join(", ") };
    format!("SELECT {} FROM {table} ORDER BY {order}", selected.join(", "))
}

fn cells(row: &PgRow, kinds: &[Kind]) -> Result<Vec<Value>, Failure> {
    let cell = |(index, kind): (usize, &Kind)| {
        let cell = row.try_get_raw(index)?;
        if cell.is_null() {
            return Ok(Value::Null);
        }
        let bytes = cell.as_bytes().map_err(|_| Failure::Broken(StorageError::Unavailable))?;
        Ok(decode(bytes, *kind).unwrap_or_else(|| without_end(bytes, *kind)))
    };
    kinds.iter().enumerate().map(cell).collect()
}

/// What no value can hold: infinities, and a number that is none.
fn without_end(bytes: &[u8], kind: Kind) -> Value {
    let is_below = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let text = match kind {
        Kind::Timestamp | Kind::Date if is_below => "-infinity",
        Kind::Timestamp | Kind::Date => "infinity",
        Kind::Numeric => match bytes.get(4) {
            Some(0xC0) => "NaN",
            Some(0xF0) => "-Infinity",
            Some(_) | None => "Infinity",
        },
        _ => return Value::Bytes(bytes.to_vec()),
    };
    Value::Text(text.to_owned())
}
