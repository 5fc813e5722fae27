//! The key-value store: versions, conditions, expiry, order, bounds.

use bulkhead_database::tenant::{limit_codes, limits};
use bulkhead_database::{KvCondition, KvEntry, KvOutcome, PluginStore, StorageError};

use crate::stores::{for_each_store, soon};

async fn set(store: &PluginStore, key: &str, value: &str, when: KvCondition) -> KvOutcome {
    store.kv_set(key, value.as_bytes().to_vec(), None, when, 1_000, soon()).await.unwrap()
}

async fn get(store: &PluginStore, key: &str, now_ms: u64) -> Option<KvEntry> {
    store.kv_get(key, now_ms, soon()).await.unwrap()
}

fn version(outcome: &KvOutcome) -> u64 {
    match outcome {
        KvOutcome::Done(version) => *version,
        KvOutcome::Stale(entry) => panic!("{entry:?}"),
    }
}

#[tokio::test]
async fn a_value_is_read_back_with_its_version() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        let one = version(&set(&store, "a", "x", KvCondition::Always).await);
        let two = version(&set(&store, "a", "", KvCondition::Always).await);

        assert!(two > one);
        assert_eq!(get(&store, "a", 1_000).await, Some(KvEntry { value: vec![], version: two, ttl_ms: None }));
        assert_eq!(get(&store, "b", 1_000).await, None);
        let many = store.kv_get_many(vec!["b".into(), "a".into(), "a".into()], 1_000, soon()).await.unwrap();
        assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    })
    .await;
}

#[tokio::test]
async fn a_condition_that_does_not_hold_shows_what_is_there() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let first = version(&set(&store, "a", "x", KvCondition::Absent).await);
        let there = Some(KvEntry { value: b"x".to_vec(), version: first, ttl_ms: None });

        assert_eq!(set(&store, "a", "y", KvCondition::Absent).await, KvOutcome::Stale(there.clone()));
        assert_eq!(set(&store, "a", "y", KvCondition::Version(first + 1)).await, KvOutcome::Stale(there.clone()));
        assert_eq!(set(&store, "b", "y", KvCondition::Version(first)).await, KvOutcome::Stale(None));
        assert_eq!(
            store.kv_delete("a", KvCondition::Version(0), 1_000, soon()).await.unwrap(),
            KvOutcome::Stale(there)
        );
        assert!(matches!(set(&store, "a", "y", KvCondition::Version(first)).await, KvOutcome::Done(_)));
    })
    .await;
}

#[tokio::test]
async fn a_version_is_never_used_again_also_after_a_delete() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");

        let one = version(&set(&store, "a", "x", KvCondition::Always).await);
        let gone = version(&store.kv_delete("a", KvCondition::Version(one), 1_000, soon()).await.unwrap());
        let two = version(&set(&store, "a", "x", KvCondition::Absent).await);

        assert!(one < gone && gone < two);
        assert!(matches!(set(&store, "a", "z", KvCondition::Version(one)).await, KvOutcome::Stale(Some(_))));
    })
    .await;
}

#[tokio::test]
async fn an_expired_key_is_absent_for_everything_at_once() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        store.kv_set("a", b"5".to_vec(), Some(100), KvCondition::Always, 1_000, soon()).await.unwrap();
        assert_eq!(get(&store, "a", 1_099).await.unwrap().ttl_ms, Some(1));

        assert_eq!(get(&store, "a", 1_100).await, None);
        assert_eq!(store.kv_get_many(vec!["a".into()], 1_100, soon()).await.unwrap(), [None]);
        assert!(store.kv_scan("", None, 10, 1_100, soon()).await.unwrap().keys.is_empty());
        assert_eq!(store.kv_increment("a", 1, 1_100, soon()).await.unwrap(), 1);
        assert_eq!(get(&store, "a", u64::MAX).await.unwrap().ttl_ms, None);
        store.kv_set("b", vec![], Some(1), KvCondition::Always, 1_000, soon()).await.unwrap();
        assert!(matches!(
            store.kv_set("b", vec![], None, KvCondition::Absent, 1_001, soon()).await.unwrap(),
            KvOutcome::Done(_)
        ));
    })
    .await;
}

#[tokio::test]
async fn a_sweep_removes_what_has_expired_and_nothing_else() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        for place in 0..20 {
            let ttl_ms = (place % 2 == 0).then_some(10);
            store.kv_set(&format!("k{place}"), vec![], ttl_ms, KvCondition::Always, 1_000, soon()).await.unwrap();
        }

        assert_eq!(store.kv_sweep(1_009, soon()).await.unwrap(), 0);
        assert_eq!(store.kv_sweep(1_010, soon()).await.unwrap(), 10);
        assert_eq!(store.kv_sweep(1_010, soon()).await.unwrap(), 0);
        assert_eq!(store.kv_scan("", None, 100, 1_010, soon()).await.unwrap().keys.len(), 10);
    })
    .await;
}

#[tokio::test]
async fn a_counter_counts_keeps_its_expiry_and_refuses_what_is_no_number() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        store.kv_set("a", b"-5".to_vec(), Some(500), KvCondition::Always, 1_000, soon()).await.unwrap();

        assert_eq!(store.kv_increment("a", 7, 1_100, soon()).await.unwrap(), 2);
        assert_eq!(get(&store, "a", 1_100).await.unwrap().ttl_ms, Some(400));

        set(&store, "text", "x", KvCondition::Always).await;
        set(&store, "top", &i64::MAX.to_string(), KvCondition::Always).await;
        for key in ["text", "top"] {
            assert!(matches!(store.kv_increment(key, 1, 1_000, soon()).await, Err(StorageError::Invalid(_))), "{key}");
        }
    })
    .await;
}

#[tokio::test]
async fn counters_lose_no_step_of_many_at_once() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let store = store.clone();
            tasks.spawn(async move { store.kv_increment("n", 1, 1_000, soon()).await.unwrap() });
        }

        let mut seen = Vec::new();
        while let Some(sum) = tasks.join_next().await {
            seen.push(sum.unwrap());
        }

        seen.sort_unstable();
        assert_eq!(seen, (1..=50).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_scan_gives_the_keys_of_a_prefix_in_byte_order_page_by_page() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        for key in
            ["user:b", "user:", "user:a", "user;", "use", "USER:z", "user:ü", "user:\u{10ffff}", "user%", "user:B"]
        {
            set(&store, key, "", KvCondition::Always).await;
        }

        let first = store.kv_scan("user:", None, 3, 1_000, soon()).await.unwrap();
        let second = store.kv_scan("user:", first.next.clone(), 3, 1_000, soon()).await.unwrap();

        assert_eq!(first.keys, ["user:", "user:B", "user:a"]);
        assert_eq!(second.keys, ["user:b", "user:ü", "user:\u{10ffff}"]);
        assert_eq!(second.next, None);
        let strange = store.kv_scan("user:", Some("zzz".into()), 3, 1_000, soon()).await;
        assert!(matches!(strange, Err(StorageError::Invalid(_))), "{strange:?}");
        assert_eq!(store.kv_scan("%", None, 10, 1_000, soon()).await.unwrap().keys.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn keys_values_and_requests_have_bounds() {
    for_each_store(async |stores| {
        let store = stores.empty("bank");
        let put = async |key: &str, bytes: usize| {
            store.kv_set(key, vec![7; bytes], None, KvCondition::Always, 1_000, soon()).await
        };

        put(&"k".repeat(limits::KEY_BYTES_MAX), limits::VALUE_BYTES_MAX).await.unwrap();
        assert_eq!(put(&"k".repeat(limits::KEY_BYTES_MAX + 1), 0).await, Err(StorageError::Limit(limit_codes::BYTES)));
        assert_eq!(put("k", limits::VALUE_BYTES_MAX + 1).await, Err(StorageError::Limit(limit_codes::BYTES)));
        assert!(matches!(put("", 0).await, Err(StorageError::Invalid(_))));
        assert!(matches!(put("a\0b", 0).await, Err(StorageError::Invalid(_))));
        let many = vec!["k".to_owned(); limits::KEYS_PER_REQUEST_MAX + 1];
        assert_eq!(store.kv_get_many(many, 1_000, soon()).await, Err(StorageError::Limit(limit_codes::KEYS)));
        let large = vec!["k".repeat(limits::KEY_BYTES_MAX); 5];
        assert_eq!(store.kv_get_many(large, 1_000, soon()).await, Err(StorageError::Limit(limit_codes::BYTES)));
    })
    .await;
}

#[tokio::test]
async fn the_keys_count_in_the_quota() {
    for_each_store(async |stores| {
        let store =
            stores.storage.store(&crate::engines::tenant("bank"), &crate::engines::plugin("acme.notes"), 1 << 20);

        let mut last = Ok(KvOutcome::Done(0));
        for place in 0..20 {
            last = store.kv_set(&format!("k{place}"), vec![7; 100_000], None, KvCondition::Always, 1_000, soon()).await;
            if last.is_err() {
                break;
            }
        }

        assert_eq!(last, Err(StorageError::Limit(limit_codes::QUOTA)));
        assert!(get(&store, "k0", 1_000).await.is_some());
        assert!(matches!(store.kv_delete("k0", KvCondition::Always, 1_000, soon()).await, Ok(KvOutcome::Done(_))));
    })
    .await;
}
