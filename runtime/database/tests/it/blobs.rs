//! The blob store: what is visible when, ranges, order, isolation.

use std::collections::BTreeMap;

use bulkhead_database::tenant::{limit_codes, limits};
use bulkhead_database::{BlobInfo, BlobWriter, PluginStore, StorageError};
use sha2::{Digest as _, Sha256};

use crate::engines::{plugin, tenant};
use crate::stores::{QUOTA_BYTES, Stores, for_each_store, server_config, soon};

/// When a test's calls happen.
pub(crate) const NOW_MS: u64 = 1_000_000_000;
pub(crate) const CHUNK: usize = limits::BLOB_CHUNK_BYTES;
pub(crate) const MAX_LEN: u32 = 1 << 20;

/// Bytes that tell where they come from.
pub(crate) fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|place| u8::try_from((place + usize::from(seed) * 7) % 251).unwrap()).collect()
}

pub(crate) async fn create(store: &PluginStore, name: &str) -> Result<BlobWriter, StorageError> {
    store.blob_create(name, "text/plain", soon()).await
}

pub(crate) async fn put(store: &PluginStore, name: &str, bytes: &[u8]) -> Result<BlobInfo, StorageError> {
    let mut writer = create(store, name).await?;
    for piece in bytes.chunks(300_000) {
        writer.write(piece, NOW_MS, soon()).await?;
    }
    writer.finish(NOW_MS, soon()).await
}

pub(crate) async fn read(store: &PluginStore, name: &str, offset: u64, len: u32) -> Option<Vec<u8>> {
    store.blob_read(name, offset, len, soon()).await.unwrap()
}

pub(crate) async fn whole(store: &PluginStore, name: &str) -> Option<Vec<u8>> {
    let size = store.blob_stat(name, soon()).await.unwrap()?.size_bytes;
    let mut bytes = Vec::new();
    while u64::try_from(bytes.len()).unwrap() < size {
        bytes.extend(read(store, name, bytes.len().try_into().unwrap(), MAX_LEN).await.unwrap());
    }
    Some(bytes)
}

/// Waits until what was dropped is gone: only then are all places free.
pub(crate) async fn settle(store: &PluginStore) {
    let mut places = Vec::new();
    for _ in 0..limits::BLOB_WRITERS_MAX {
        places.push(create(store, "settle").await.unwrap());
    }
}

/// Rows of all blobs, uploads and chunks together, past the wall.
pub(crate) async fn rows(stores: &Stores) -> (i64, i64, i64) {
    const FILE: &str = "SELECT (SELECT count(*) FROM __blobs), (SELECT count(*) FROM __blob_uploads), (SELECT count(*) FROM __blob_chunks)";
    const SERVER: &str = "SELECT (SELECT count(*) FROM storage_blobs), (SELECT count(*) FROM storage_blob_uploads), \
         (SELECT count(*) FROM storage_blob_chunks)";
    if stores.engine == "sqlite" {
        let file = sqlx::sqlite::SqliteConnectOptions::new().filename(file(stores));
        let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
        let row = sqlx::query_as(FILE).fetch_one(&pool).await.unwrap();
        pool.close().await;
        return row;
    }
    let pool = sqlx::PgPool::connect(&stores.url).await.unwrap();
    let row = sqlx::query_as(SERVER).fetch_one(&pool).await.unwrap();
    pool.close().await;
    row
}

pub(crate) fn file(stores: &Stores) -> std::path::PathBuf {
    stores.folder.path().join("tenants/bank/acme__notes.db")
}

pub(crate) fn limit<T: std::fmt::Debug>(result: Result<T, StorageError>, code: &'static str) {
    assert_eq!(result.map(|_| ()), Err(StorageError::Limit(code)));
}

#[tokio::test]
async fn a_blob_is_read_back_whole_and_in_ranges() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1_500_001] {
            let bytes = pattern(size, 1);

            let info = put(&store, "report.pdf", &bytes).await.unwrap();

            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            assert_eq!((info.size_bytes, info.sha256), (u64::try_from(size).unwrap(), sha256));
            assert_eq!((info.media_type.as_str(), info.modified_at), ("text/plain", 1_000_000_000_000));
            assert_eq!(store.blob_stat("report.pdf", soon()).await.unwrap(), Some(info));
            assert_eq!(whole(&store, "report.pdf").await, Some(bytes.clone()), "{size}");
            let middle = bytes.get(1..1 + 300_000.min(size.saturating_sub(1))).unwrap_or_default();
            assert_eq!(read(&store, "report.pdf", 1, 300_000).await.as_deref(), Some(middle), "{size}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_read_behind_the_end_is_empty_and_of_no_blob_is_none() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        put(&store, "a", &pattern(CHUNK + 10, 1)).await.unwrap();
        let end = u64::try_from(CHUNK + 10).unwrap();

        assert_eq!(read(&store, "a", end - 4, 100).await.unwrap().len(), 4);
        for offset in [end, end + 1, 3 * end, limits::BLOB_BYTES_MAX, u64::MAX - 1, u64::MAX] {
            assert_eq!(read(&store, "a", offset, MAX_LEN).await, Some(vec![]), "{offset}");
            assert_eq!(read(&store, "b", offset, MAX_LEN).await, None, "{offset}");
        }
        assert_eq!(read(&store, "a", 0, 0).await, Some(vec![]));
        for len in [MAX_LEN + 1, u32::MAX] {
            limit(store.blob_read("a", 0, len, soon()).await, limit_codes::BYTES);
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_visible_before_finish_and_then_all_at_once() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let (old, new) = (pattern(CHUNK * 2, 1), pattern(CHUNK * 3 + 7, 2));
        let mut first = create(&store, "a").await.unwrap();
        first.write(&old, NOW_MS, soon()).await.unwrap();

        assert_eq!(store.blob_stat("a", soon()).await.unwrap(), None);
        assert_eq!(read(&store, "a", 0, 10).await, None);
        assert!(store.blob_scan("", None, 10, soon()).await.unwrap().items.is_empty());
        assert!(!store.blob_delete("a", soon()).await.unwrap());
        first.finish(NOW_MS, soon()).await.unwrap();

        let mut second = create(&store, "a").await.unwrap();
        second.write(&new, NOW_MS, soon()).await.unwrap();
        assert_eq!(whole(&store, "a").await, Some(old));
        second.finish(NOW_MS, soon()).await.unwrap();
        assert_eq!(whole(&store, "a").await, Some(new));
        assert_eq!(rows(stores).await, (1, 0, 4));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_finished_leaves_nothing_however_often() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        put(&store, "a", b"kept").await.unwrap();
        // Far more than the quota, one after the other.
        for _ in 0..20 {
            let mut writer = create(&store, "a").await.unwrap();
            writer.write(&pattern(1 << 20, 3), NOW_MS, soon()).await.unwrap();
            drop(writer);
        }

        settle(&store).await;

        assert_eq!(whole(&store, "a").await, Some(b"kept".to_vec()));
        assert_eq!(rows(stores).await, (1, 0, 1));
        assert_eq!(store.blob_sweep(u64::MAX, soon()).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn of_two_writers_of_one_name_the_last_to_finish_stays_and_the_other_leaves_nothing() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let (one, two) = (pattern(2 * CHUNK, 1), pattern(CHUNK + 1, 2));
        let (mut first, mut second) = (create(&store, "a").await.unwrap(), create(&store, "a").await.unwrap());
        first.write(&one, NOW_MS, soon()).await.unwrap();
        second.write(&two, NOW_MS, soon()).await.unwrap();

        second.finish(NOW_MS, soon()).await.unwrap();
        first.finish(NOW_MS, soon()).await.unwrap();

        assert_eq!(whole(&store, "a").await, Some(one));
        assert_eq!(rows(stores).await, (1, 0, 2));
    })
    .await;
}

#[tokio::test]
async fn a_name_is_no_path() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let names = ["../../host.db", "/etc/passwd", "..", "a/../b", "C:\\x", "a'; DROP TABLE t; --", "%2e%2e/", "~"];

        for (seed, name) in (1..).zip(names) {
            put(&store, name, &[seed]).await.unwrap();
        }

        for (seed, name) in (1..).zip(names) {
            assert_eq!(whole(&store, name).await, Some(vec![seed]), "{name}");
        }
        assert_eq!(whole(&store, "b").await, None);
        let mut files: Vec<_> =
            std::fs::read_dir(stores.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, stores.either(vec!["tenants"], vec![]));
    })
    .await;
}

#[tokio::test]
async fn two_tenants_and_two_plugins_have_the_same_names_and_no_blob_in_common() {
    for_each_store(async |stores| {
        let store = |of: &str, who: &str| stores.storage.store(&tenant(of), &plugin(who), QUOTA_BYTES);
        let pairs = [("bank", "acme.notes"), ("shop", "acme.notes"), ("bank", "acme.other")];

        for (seed, (of, who)) in (1..).zip(pairs) {
            put(&store(of, who), "a", &pattern(CHUNK + 1, seed)).await.unwrap();
        }
        assert!(store("shop", "acme.notes").blob_delete("a", soon()).await.unwrap());

        assert_eq!(whole(&store("bank", "acme.notes"), "a").await, Some(pattern(CHUNK + 1, 1)));
        assert_eq!(whole(&store("shop", "acme.notes"), "a").await, None);
        assert_eq!(whole(&store("bank", "acme.other"), "a").await, Some(pattern(CHUNK + 1, 3)));
        assert_eq!(store("shop", "acme.notes").blob_scan("", None, 10, soon()).await.unwrap().items, []);
    })
    .await;
}

#[tokio::test]
async fn no_login_or_role_that_runs_plugin_sql_has_a_right_on_blobs() {
    const RIGHTS: &str = "SELECT count(*), count(*) FILTER (WHERE has_table_privilege(r.name, t.name, 'SELECT, INSERT, UPDATE, DELETE')) \
         FROM (SELECT login AS name FROM storage_logins UNION SELECT name FROM storage_schemas) AS r, \
         (SELECT relname::text AS name FROM pg_class WHERE relkind = 'r' AND relname LIKE 'storage\\_blob%') AS t";
    let stores = Stores::on_server(server_config()).await;
    stores.with_schema("bank", "CREATE TABLE notes (id BIGINT PRIMARY KEY)").await;

    let pool = sqlx::PgPool::connect(&stores.url).await.unwrap();
    let (asked, granted): (i64, i64) = sqlx::query_as(RIGHTS).fetch_one(&pool).await.unwrap();
    pool.close().await;

    // Three tables, and at least two logins and a role.
    assert!(asked >= 9, "{asked}");
    assert_eq!(granted, 0);
    stores.close().await;
}

#[tokio::test]
async fn random_acts_of_two_tenants_leave_what_two_maps_would_have() {
    for_each_store(async |stores| {
        let tenants = [stores.empty("bank"), stores.empty("shop")];
        let mut maps = [BTreeMap::new(), BTreeMap::new()];
        let mut open: [Option<(String, Vec<u8>, BlobWriter)>; 2] = [None, None];
        let mut random = 1_u32;
        for step in 0..150_u8 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let who = usize::from(random >> 31 == 1);
            let (store, map) = (&tenants[who], &mut maps[who]);
            let name = format!("n{}", (random >> 16) % 4);
            let bytes = pattern(usize::try_from((random >> 8) % 600_000).unwrap(), step);
            match (random >> 24) % 6 {
                0 | 1 => {
                    put(store, &name, &bytes).await.unwrap();
                    map.insert(name, bytes);
                }
                2 => assert_eq!(store.blob_delete(&name, soon()).await.unwrap(), map.remove(&name).is_some()),
                3 => {
                    let mut writer = create(store, &name).await.unwrap();
                    writer.write(&bytes, NOW_MS, soon()).await.unwrap();
                    open[who] = Some((name, bytes, writer));
                }
                4 => {
                    if let Some((name, bytes, writer)) = open[who].take() {
                        writer.finish(NOW_MS, soon()).await.unwrap();
                        map.insert(name, bytes);
                    }
                }
                _ => assert_eq!(whole(store, &name).await, map.get(&name).cloned()),
            }
        }
        drop(open);

        for (store, map) in tenants.iter().zip(&maps) {
            settle(store).await;
            let listed = store.blob_scan("", None, 100, soon()).await.unwrap().items;
            assert!(listed.iter().map(|info| &info.name).eq(map.keys()));
            for (name, bytes) in map {
                assert_eq!(whole(store, name).await.as_ref(), Some(bytes), "{name}");
            }
        }
        let (blobs, uploads, chunks) = rows(stores).await;
        // The file is of one tenant, the server of both.
        let all: Vec<_> = maps.iter().take(stores.either(1, 2)).flat_map(BTreeMap::values).collect();
        let all_chunks: usize = all.iter().map(|bytes| bytes.len().div_ceil(CHUNK)).sum();
        assert_eq!((usize::try_from(blobs).unwrap(), uploads), (all.len(), 0));
        assert_eq!(usize::try_from(chunks).unwrap(), all_chunks);
    })
    .await;
}

#[tokio::test]
async fn a_scan_gives_the_blobs_of_a_prefix_in_byte_order_page_by_page() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        for name in ["img/b", "img/", "img/a", "img0", "im", "IMG/z", "img/ü", "img/\u{10ffff}", "img%", "img/B"] {
            put(&store, name, name.as_bytes()).await.unwrap();
        }
        let names = |page: &[BlobInfo]| page.iter().map(|info| info.name.clone()).collect::<Vec<_>>();

        let first = store.blob_scan("img/", None, 3, soon()).await.unwrap();
        let second = store.blob_scan("img/", first.next.clone(), 3, soon()).await.unwrap();

        assert_eq!(names(&first.items), ["img/", "img/B", "img/a"]);
        assert_eq!(names(&second.items), ["img/b", "img/ü", "img/\u{10ffff}"]);
        assert_eq!((first.items[1].size_bytes, second.next), (5, None));
        for token in ["zzz", "", "img", "a\0"] {
            let strange = store.blob_scan("img/", Some(token.to_owned()), 3, soon()).await;
            assert!(matches!(strange, Err(StorageError::Invalid(_))), "{token:?} {strange:?}");
        }
        assert_eq!(store.blob_scan("img/", None, 0, soon()).await.unwrap().items.len(), 1);
        assert_eq!(store.blob_scan("%", None, u32::MAX, soon()).await.unwrap().items, []);
    })
    .await;
}

#[tokio::test]
async fn what_a_plugin_or_tenant_had_is_deleted_with_its_blobs() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let other = stores.storage.store(&tenant("bank"), &plugin("acme.other"), QUOTA_BYTES);
        for store in [&store, &other, &stores.empty("shop")] {
            put(store, "a", &pattern(3 * CHUNK, 1)).await.unwrap();
        }

        stores.storage.delete(&tenant("bank"), &plugin("acme.notes")).await.unwrap();

        assert_eq!(store.blob_stat("a", soon()).await.unwrap(), None);
        assert!(whole(&other, "a").await.is_some());
        stores.storage.delete_tenant(&tenant("bank")).await.unwrap();
        assert_eq!(whole(&other, "a").await, None);
        assert!(whole(&stores.empty("shop"), "a").await.is_some());
        put(&store, "a", b"new").await.unwrap();
        let used = stores.storage.usage_bytes(&tenant("bank"), &plugin("acme.notes")).await.unwrap();
        assert!(used < 500_000, "{used}");
    })
    .await;
}

#[tokio::test]
async fn a_plugins_sql_names_no_table_of_blobs() {
    for_each_store(async |stores| {
        let store = stores.with_schema("bank", "CREATE TABLE notes (id BIGINT PRIMARY KEY)").await;
        put(&store, "a", b"secret").await.unwrap();

        for table in ["__blobs", "__blob_uploads", "__blob_chunks", "storage_blobs", "storage_blob_chunks"] {
            for text in [format!("SELECT * FROM {table}"), format!("DELETE FROM {table}")] {
                let refused = store.execute(&text, vec![], soon()).await;
                assert!(
                    matches!(refused, Err(StorageError::Denied(_) | StorageError::Invalid(_))),
                    "{text}: {refused:?}"
                );
            }
        }
        assert_eq!(whole(&store, "a").await, Some(b"secret".to_vec()));
    })
    .await;
}
