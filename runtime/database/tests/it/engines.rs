//! Runs one test of the host's tables on both engines.
//! It holds no assertion of its own.

use bulkhead_database::{Act, DatabaseConfig, Db, NewRelease};
use bulkhead_model::{Digest, PluginId, TenantId, Version};
use tempfile::TempDir;

use crate::postgres;

/// An empty, migrated database on one of the engines.
pub(crate) struct Engine {
    pub(crate) url: String,
    pub(crate) db: Db,
    _folder: Option<TempDir>,
}

/// Runs `test` on `SQLite`, then on PostgreSQL.
pub(crate) async fn for_each_engine(test: impl AsyncFn(&Engine)) {
    for name in ["sqlite", "postgres"] {
        let engine = Engine::new(name).await;
        eprintln!("on {name}");
        test(&engine).await;
        engine.db.close().await;
    }
}

impl Engine {
    pub(crate) async fn new(name: &'static str) -> Self {
        let (url, folder) = match name {
            "sqlite" => {
                let folder = TempDir::new().unwrap();
                (format!("sqlite:{}", folder.path().display()), Some(folder))
            }
            _ => (postgres::database(), None),
        };
        let db = Db::open(&DatabaseConfig::new(&url)).await.unwrap();
        Self { url, db, _folder: folder }
    }

    /// Runs SQL behind the crate's back, as somebody with access to the database could.
    pub(crate) async fn tamper(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self._folder {
            Some(folder) => {
                let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("host.db"));
                let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
                sqlx::query(sql).execute(&pool).await.unwrap();
                pool.close().await;
            }
            None => {
                let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&pool).await.unwrap();
                pool.close().await;
            }
        }
    }
}

pub(crate) fn plugin(text: &str) -> PluginId {
    text.parse().unwrap()
}

pub(crate) fn tenant(text: &str) -> TenantId {
    text.parse().unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn act(at: i64) -> Act {
    Act { actor: "anna".to_owned(), at }
}

/// Registers a release whose artifact is the text `<plugin>@<version>`.
pub(crate) async fn register(db: &Db, name: &str, number: &str, sequence: u64) -> Digest {
    let artifact = format!("{name}@{number}").into_bytes();
    let digest = Digest::of(&artifact);
    let (plugin_id, version) = (&plugin(name), &version(number));
    let mut tx = db.begin().await.unwrap();
    let release = NewRelease { plugin_id, version, digest: &digest, facts: "{}", sequence, artifact: &artifact };
    tx.insert_release(&release, &act(i64::try_from(sequence).unwrap())).await.unwrap();
    tx.commit().await.unwrap();
    digest
}

/// Creates a tenant.
pub(crate) async fn create_tenant(db: &Db, name: &str) {
    let mut tx = db.begin().await.unwrap();
    tx.insert_tenant(&tenant(name), &act(1)).await.unwrap();
    tx.commit().await.unwrap();
}
