//! The bounds of the blob store: sizes, numbers, quota, writers at once, and what dead or hostile writers leave behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginStorage, StorageConfig, limit_codes, limits};
use bulkhead_database::{DatabaseConfig, Db, Isolation, KvCondition, StorageError};

use crate::blobs::{CHUNK, MAX_LEN, NOW_MS, create, file, limit, pattern, put, read, rows, settle, whole};
use crate::engines::{plugin, tenant};
use crate::stores::{Stores, for_each_store, server_config, soon};

const HOUR_MS: u64 = 60 * 60 * 1_000;

#[tokio::test]
async fn a_plugin_has_two_writers_at_once_in_a_tenant() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let one = create(&store, "a").await.unwrap();
        let two = create(&store, "a").await.unwrap();

        for name in ["a", "b", "c"] {
            limit(create(&store, name).await, limit_codes::OPEN_WRITERS);
        }
        create(&stores.empty("shop"), "a").await.unwrap();
        one.finish(NOW_MS, soon()).await.unwrap();
        create(&store, "b").await.unwrap();
        drop(two);
        settle(&store).await;
    })
    .await;
}

#[tokio::test]
async fn names_media_types_and_pieces_have_bounds() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        for name in ["", "a\0b", "\0"] {
            let refused = create(&store, name).await.map(|_| ());
            assert!(matches!(refused, Err(StorageError::Invalid(_))), "{name:?} {refused:?}");
            assert!(matches!(store.blob_stat(name, soon()).await, Err(StorageError::Invalid(_))), "{name:?}");
            assert!(matches!(store.blob_read(name, 0, 1, soon()).await, Err(StorageError::Invalid(_))), "{name:?}");
            assert!(matches!(store.blob_delete(name, soon()).await, Err(StorageError::Invalid(_))), "{name:?}");
        }
        for bytes in [limits::BLOB_NAME_BYTES_MAX + 1, 10 << 20] {
            let name = "n".repeat(bytes);
            limit(create(&store, &name).await, limit_codes::BYTES);
            limit(store.blob_stat(&name, soon()).await, limit_codes::BYTES);
            limit(store.blob_delete(&name, soon()).await, limit_codes::BYTES);
            limit(store.blob_scan(&name, None, 1, soon()).await, limit_codes::BYTES);
        }
        for media_type in ["", "text/plain\r\nset-cookie: a=b", "text/plain\0", "tëxt", "a\tb"] {
            let refused = store.blob_create("a", media_type, soon()).await.map(|_| ());
            assert!(matches!(refused, Err(StorageError::Invalid(_))), "{media_type:?} {refused:?}");
        }
        limit(store.blob_create("a", &"t".repeat(256), soon()).await, limit_codes::BYTES);
        let longest = "n".repeat(limits::BLOB_NAME_BYTES_MAX);
        store.blob_create(&longest, &"t".repeat(255), soon()).await.unwrap().finish(NOW_MS, soon()).await.unwrap();
        assert_eq!(whole(&store, &longest).await, Some(vec![]));
    })
    .await;
}

#[tokio::test]
async fn after_a_piece_that_was_refused_a_writer_has_ended() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let mut writer = create(&store, "a").await.unwrap();
        writer.write(b"begin", NOW_MS, soon()).await.unwrap();

        limit(writer.write(&vec![0; limits::BLOB_PIECE_BYTES_MAX + 1], NOW_MS, soon()).await, limit_codes::BYTES);

        assert_eq!(writer.write(b"end", NOW_MS, soon()).await, Err(StorageError::Ended));
        assert_eq!(writer.finish(NOW_MS, soon()).await, Err(StorageError::Ended));
        assert_eq!(whole(&store, "a").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_blob_has_a_largest_size_and_is_replaced_and_removed_in_time() {
    for_each_store(async |stores| {
        let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 256 << 20);
        let piece = pattern(limits::BLOB_PIECE_BYTES_MAX, 1);
        let count = limits::BLOB_BYTES_MAX / u64::from(MAX_LEN);
        for _ in 0..2 {
            let mut writer = create(&store, "a").await.unwrap();
            for _ in 0..count {
                writer.write(&piece, NOW_MS, soon()).await.unwrap();
            }
            assert_eq!(writer.finish(NOW_MS, soon()).await.unwrap().size_bytes, limits::BLOB_BYTES_MAX);
        }
        let mut writer = create(&store, "b").await.unwrap();
        for _ in 0..count {
            writer.write(&piece, NOW_MS, soon()).await.unwrap();
        }
        limit(writer.write(b"x", NOW_MS, soon()).await, limit_codes::BYTES);
        drop(writer);

        assert_eq!(read(&store, "a", limits::BLOB_BYTES_MAX - 5, 10).await.as_deref(), piece.get(piece.len() - 5..));
        let began = Instant::now();
        assert!(store.blob_delete("a", soon()).await.unwrap());
        eprintln!("{} removed in {:?}", stores.engine, began.elapsed());
        settle(&store).await;
        assert_eq!(rows(stores).await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn over_the_quota_writes_are_refused_and_reads_and_deletes_go_on() {
    for_each_store(async |stores| {
        let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 3 << 20);
        let bytes = pattern(700_000, 1);
        let mut stored = 0;
        let refused = loop {
            match put(&store, &format!("b{stored}"), &bytes).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
        };

        assert_eq!(refused, StorageError::Limit(limit_codes::QUOTA));
        assert!((2..=4).contains(&stored), "{stored}");
        settle(&store).await;
        assert_eq!(whole(&store, "b0").await, Some(bytes.clone()));
        assert_eq!(whole(&store, &format!("b{stored}")).await, None);
        // A smaller one in the place of a larger one has room, and so has another when one is gone.
        put(&store, "b1", b"small").await.unwrap();
        assert!(store.blob_delete("b0", soon()).await.unwrap());
        put(&store, "again", &bytes).await.unwrap();
        let kept = i64::from(stored);
        assert_eq!(rows(stores).await, (kept, 0, 3 * (kept - 1) + 1));
    })
    .await;
}

#[tokio::test]
async fn keys_and_blobs_share_one_quota() {
    for_each_store(async |stores| {
        let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 3 << 20);
        let value = || vec![7; 900_000];
        let set = async |key: &str| store.kv_set(key, value(), None, KvCondition::Always, NOW_MS, soon()).await;
        put(&store, "a", &pattern(2_000_000, 1)).await.unwrap();

        set("k").await.unwrap();
        limit(set("l").await, limit_codes::QUOTA);
        limit(put(&store, "b", &pattern(900_000, 1)).await, limit_codes::QUOTA);
        let used = stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap();
        assert!(used > 2_900_000, "{used}");
        store.blob_delete("a", soon()).await.unwrap();
        set("l").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_with_the_call_and_the_writer_with_it() {
    let stores = Stores::new().await;
    let store = stores.with_schema("bank", "CREATE TABLE notes (id BIGINT PRIMARY KEY)").await;
    let mut tx = store.begin(Isolation::Serializable, soon()).await.unwrap();
    tx.execute("INSERT INTO notes (id) VALUES (1)", vec![], soon()).await.unwrap();
    let mut writer = create(&store, "a").await.unwrap();
    let began = Instant::now();

    let late = writer.write(&pattern(CHUNK, 1), NOW_MS, began + Duration::from_millis(50)).await;

    limit(late, limit_codes::LOCK_WAIT);
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(writer.finish(NOW_MS, soon()).await, Err(StorageError::Ended));
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_sweep_ends_uploads_of_dead_processes_and_no_young_one() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        put(&store, "kept", &pattern(CHUNK, 1)).await.unwrap();
        let mut writer = create(&store, "a").await.unwrap();
        writer.write(&pattern(2 * CHUNK, 1), NOW_MS, soon()).await.unwrap();

        assert_eq!(store.blob_sweep(NOW_MS + HOUR_MS - 1, soon()).await.unwrap(), 0);
        assert_eq!(rows(stores).await, (1, 1, 3));
        assert_eq!(store.blob_sweep(NOW_MS + HOUR_MS, soon()).await.unwrap(), 1);
        assert_eq!(store.blob_sweep(NOW_MS + HOUR_MS, soon()).await.unwrap(), 0);
        assert_eq!(rows(stores).await, (1, 0, 1));

        let late = writer.write(&pattern(2 * CHUNK, 1), NOW_MS, soon()).await;
        assert_eq!(late, Err(StorageError::Ended));
        assert_eq!(writer.finish(NOW_MS, soon()).await, Err(StorageError::Ended));
        settle(&store).await;
        assert_eq!(rows(stores).await, (1, 0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_finish_after_the_sweep_makes_no_blob_without_its_beginning() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let mut writer = create(&store, "a").await.unwrap();
        writer.write(&pattern(CHUNK + 5, 1), NOW_MS, soon()).await.unwrap();
        store.blob_sweep(u64::MAX, soon()).await.unwrap();

        assert_eq!(writer.finish(NOW_MS, soon()).await, Err(StorageError::Ended));
        assert_eq!(store.blob_stat("a", soon()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_plugin_has_a_largest_number_of_blobs() {
    const FILE: &str = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) \
         INSERT INTO __blobs SELECT 'n' || n, n, 0, zeroblob(32), 'a/b', 0 FROM c";
    const SERVER: &str = "INSERT INTO storage_blobs SELECT 'bank', 'acme.notes', 'n' || n, n, 0, \
         decode(repeat('00', 32), 'hex'), 'a/b', 0, 0 FROM generate_series(1, $1) AS n";
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        put(&store, "one", b"1").await.unwrap();
        let others = i64::try_from(limits::BLOBS_MAX).unwrap() - 1;
        if stores.engine == "sqlite" {
            let file = sqlx::sqlite::SqliteConnectOptions::new().filename(file(stores));
            let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
            sqlx::query(FILE).bind(others).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&stores.url).await.unwrap();
            sqlx::query(SERVER).bind(others).execute(&pool).await.unwrap();
            pool.close().await;
        }

        limit(put(&store, "two", b"2").await, limit_codes::BLOBS);
        put(&store, "one", b"another").await.unwrap();
        assert!(store.blob_delete("n1", soon()).await.unwrap());
        put(&store, "two", b"2").await.unwrap();
        assert_eq!(store.blob_scan("", None, u32::MAX, soon()).await.unwrap().items.len(), limits::BLOBS_PER_PAGE_MAX);
    })
    .await;
}

#[tokio::test]
async fn a_full_file_of_an_older_version_gets_its_tables() {
    let stores = Stores::new().await;
    let store = stores.storage.store(&tenant("bank"), &plugin("acme.notes"), 1 << 20);
    let set = async |key: &str| store.kv_set(key, vec![7; 100_000], None, KvCondition::Always, NOW_MS, soon()).await;
    let mut stored = 0;
    while set(&format!("k{stored}")).await.is_ok() {
        stored += 1;
    }
    stores.storage.close().await.unwrap();
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(file(&stores)));
    let pool = pool.await.unwrap();
    for statement in [
        "DROP TABLE __blobs",
        "DROP TABLE __blob_uploads",
        "DROP TABLE __blob_chunks",
        "PRAGMA user_version = 2",
        "VACUUM",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;

    let again = PluginStorage::open(stores.folder.path(), StorageConfig::default()).await.unwrap();
    let store = again.store(&tenant("bank"), &plugin("acme.notes"), 1 << 19);

    assert!(store.kv_get("k0", NOW_MS, soon()).await.unwrap().is_some());
    limit(put(&store, "a", &pattern(200_000, 1)).await, limit_codes::QUOTA);
    store.kv_delete("k0", KvCondition::Always, NOW_MS, soon()).await.unwrap();
    put(&store, "a", &pattern(50_000, 1)).await.unwrap();
}

/// Folder of the child's storage, or URL of its database; set for the child alone.
const PLACE: &str = "BULKHEAD_TEST_BLOBS_PLACE";

#[tokio::test]
async fn a_process_killed_in_an_upload_leaves_nothing_to_see_and_little_to_sweep() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        put(&store, "a", b"kept").await.unwrap();
        let folder = stores.folder.path().display().to_string();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blob_limits::an_upload_goes_on_until_it_is_killed", "--nocapture"])
            .env(PLACE, stores.either(folder, stores.url.clone()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.filter(|line| line.starts_with("written ")).nth(2).as_deref(), Some("written 3"));
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!(whole(&store, "a").await, Some(b"kept".to_vec()));
        let (blobs, uploads, chunks) = rows(stores).await;
        assert!((blobs, uploads) == (1, 1) && chunks >= 4, "{blobs} {uploads} {chunks}");
        // Without any clean-up the next writer works, and the sweep finds the rest.
        put(&store, "b", &pattern(CHUNK, 1)).await.unwrap();
        assert_eq!(store.blob_sweep(NOW_MS + HOUR_MS, soon()).await.unwrap(), 1);
        assert_eq!(rows(stores).await, (2, 0, 2));
    })
    .await;
}

/// The child of the test above; by itself it has nothing to do.
#[tokio::test]
async fn an_upload_goes_on_until_it_is_killed() {
    let Some(place) = std::env::var_os(PLACE).map(|place| place.into_string().unwrap()) else {
        return;
    };
    let storage = if place.starts_with("postgres:") {
        let db = Db::open(&DatabaseConfig::new(&place)).await.unwrap();
        PluginStorage::beside(&db, std::path::Path::new("unused"), &server_config()).await.unwrap()
    } else {
        PluginStorage::open(place.as_ref(), StorageConfig::default()).await.unwrap()
    };
    let store = storage.store(&tenant("bank"), &plugin("acme.notes"), 64 << 20);
    let mut writer = create(&store, "a").await.unwrap();
    for piece in 1.. {
        writer.write(&pattern(CHUNK, 9), NOW_MS, soon()).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nwritten {piece}").unwrap();
        out.flush().unwrap();
    }
}
