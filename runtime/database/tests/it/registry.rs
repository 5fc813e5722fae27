//! The registry's tables, on both engines: chunks come in order, bytes are stored once, and what is referred to stays.

use bulkhead_database::registry::{Collected, NewManifest, NewNamespace, NewVersion};
use bulkhead_database::{Db, Error};

use crate::engines::{act, for_each_engine};

const CRM: &str = "acme/crm";
const HOUR: i64 = 3_600_000_000;

async fn repository(db: &Db, name: &str) {
    let mut tx = db.begin().await.unwrap();
    if tx.find_namespace("acme").await.unwrap().is_none() {
        let namespace =
            NewNamespace { namespace: "acme", normal_form: "acme", kind: "plugin", is_public: false, owner: "Acme" };
        tx.insert_namespace(&namespace, &act(1)).await.unwrap();
    }
    tx.put_repository(name, "acme", name, 1).await.unwrap();
    tx.commit().await.unwrap();
}

/// Uploads `text` as the blob `digest`, at a time.
async fn blob(db: &Db, upload: &str, digest: &str, text: &str, at: i64) {
    let mut tx = db.begin().await.unwrap();
    tx.insert_upload(upload, CRM, "token", at + HOUR).await.unwrap();
    assert!(tx.append_chunk(upload, 0, text.as_bytes()).await.unwrap());
    let size = u64::try_from(text.len()).unwrap();
    assert!(tx.end_upload(upload, size).await.unwrap());
    tx.put_blob(CRM, digest, upload, size, at).await.unwrap();
    tx.commit().await.unwrap();
}

async fn manifest(db: &Db, digest: &str, blobs: &[&str], at: i64) {
    let mut tx = db.begin().await.unwrap();
    for blob in blobs {
        assert!(tx.touch_link(CRM, blob, at).await.unwrap());
    }
    let manifest = NewManifest {
        repository: CRM,
        digest,
        media_type: "m/t",
        bytes: b"{}",
        subject: None,
        artifact_type: None,
        descriptor: "{}",
        blobs,
        children: &[],
        artifact_digest: None,
        pushed_by: "anna",
        at,
    };
    tx.put_manifest(&manifest).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn of_two_who_append_at_the_same_place_one_is_told_to_look_again() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        let mut tx = db.begin().await.unwrap();
        tx.insert_upload("u", CRM, "token", HOUR).await.unwrap();
        assert!(tx.append_chunk("u", 0, b"one").await.unwrap());
        tx.commit().await.unwrap();

        let mut tx = db.begin().await.unwrap();
        assert!(!tx.append_chunk("u", 0, b"two").await.unwrap());
        assert!(tx.append_chunk("u", 3, b"two").await.unwrap());
        tx.commit().await.unwrap();

        assert_eq!(db.find_upload("u", 1).await.unwrap().unwrap().size_bytes, 6);
        assert_eq!(db.find_chunk("u", 4).await.unwrap(), Some((3, b"two".to_vec())));
        assert_eq!(db.find_upload("u", HOUR).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_and_held_by_each_repository() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        repository(db, "acme/billing").await;
        blob(db, "u1", "d", "same", 1).await;
        blob(db, "u2", "d", "same", 2).await;

        assert_eq!(db.find_chunk("u1", 0).await.unwrap(), Some((0, b"same".to_vec())));
        assert_eq!(db.find_chunk("u2", 0).await.unwrap(), None);
        assert_eq!(db.find_blob("acme/billing", "d").await.unwrap(), None);
        let mut tx = db.begin().await.unwrap();
        assert!(tx.link_blob("acme/billing", "d", 3).await.unwrap());
        assert!(!tx.link_blob("acme/billing", "unknown", 3).await.unwrap());
        assert!(tx.unlink_blob(CRM, "d").await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(db.find_blob(CRM, "d").await.unwrap(), None);
        assert_eq!(db.find_blob("acme/billing", "d").await.unwrap().unwrap().size_bytes, 4);
    })
    .await;
}

#[tokio::test]
async fn collecting_takes_what_nobody_names_and_spares_the_rest() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        blob(db, "u1", "named", "named", 1).await;
        blob(db, "u2", "unnamed", "unnamed", 1).await;
        blob(db, "u3", "young", "young", 100).await;
        manifest(db, "m", &["named"], 2).await;
        let mut tx = db.begin().await.unwrap();
        tx.insert_upload("u4", CRM, "token", 150).await.unwrap();
        tx.append_chunk("u4", 0, b"left").await.unwrap();
        tx.commit().await.unwrap();

        let collected = db.collect_registry(200, 100, 0).await.unwrap();

        assert_eq!(collected, Collected { uploads: 1, manifests: 0, links: 1, blobs: 1, blob_bytes: 7, tokens: 0 });
        for (digest, is_there) in [("named", true), ("unnamed", false), ("young", true)] {
            assert_eq!(db.find_blob(CRM, digest).await.unwrap().is_some(), is_there, "{digest}");
        }
        assert_eq!(db.find_chunk("u1", 0).await.unwrap(), Some((0, b"named".to_vec())));
        for gone in ["u2", "u4"] {
            assert_eq!(db.find_chunk(gone, 0).await.unwrap(), None, "{gone}");
        }
        assert_eq!(db.collect_registry(200, 100, 0).await.unwrap(), Collected::default());
        // However old: a manifest names it.
        db.collect_registry(i64::MAX, i64::MAX, 0).await.unwrap();
        assert!(db.find_blob(CRM, "named").await.unwrap().is_some());
        assert!(db.find_blob(CRM, "young").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn collecting_beside_pushes_never_takes_what_a_manifest_names() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        let collecting = async {
            for _ in 0..40 {
                // All are older than this: only a touch and a name protect.
                db.collect_registry(50, 50, 0).await.unwrap();
            }
        };
        let pushing = async {
            let mut named = Vec::new();
            for number in 0..40 {
                let (upload, digest) = (format!("u{number}"), format!("d{number}"));
                blob(db, &upload, &digest, "x", 1).await;
                let mut tx = db.begin().await.unwrap();
                if !tx.touch_link(CRM, &digest, 60).await.unwrap() {
                    continue;
                }
                tx.put_manifest(&NewManifest {
                    repository: CRM,
                    digest: &format!("m{number}"),
                    media_type: "m/t",
                    bytes: b"{}",
                    subject: None,
                    artifact_type: None,
                    descriptor: "{}",
                    blobs: &[&digest],
                    children: &[],
                    artifact_digest: None,
                    pushed_by: "anna",
                    at: 60,
                })
                .await
                .unwrap();
                tx.commit().await.unwrap();
                named.push((upload, digest));
            }
            named
        };

        let ((), named) = tokio::join!(collecting, pushing);

        assert!(!named.is_empty());
        db.collect_registry(i64::MAX, i64::MAX, 0).await.unwrap();
        for (upload, digest) in named {
            assert!(db.find_blob(CRM, &digest).await.unwrap().is_some(), "{digest}");
            assert_eq!(db.find_chunk(&upload, 0).await.unwrap(), Some((0, b"x".to_vec())), "{digest}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_version_is_stored_once_withdrawn_and_offered_again() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        let version = NewVersion {
            repository: CRM,
            version: "1.0.0",
            manifest_digest: "m",
            artifact_digest: "a",
            size_bytes: 7,
            facts: r#"{"name": "100% CRM"}"#,
            judged_by: "",
            state: "released",
            reasons: "[]",
            is_released: true,
        };
        let mut tx = db.begin().await.unwrap();
        tx.insert_version(&version, &act(5)).await.unwrap();
        tx.put_tag(CRM, "1.0.0", "m", 5).await.unwrap();
        tx.count_download(CRM, "a").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert!(matches!(tx.insert_version(&version, &act(6)).await, Err(Error::Conflict { .. })));
        drop(tx);

        let row = db.find_version(CRM, "1.0.0").await.unwrap().unwrap();
        assert_eq!((row.downloads, row.size_bytes, row.yanked_at), (1, 7, None));
        let mut tx = db.begin().await.unwrap();
        tx.set_yanked(&row, Some("broken"), true, &act(7)).await.unwrap();
        tx.commit().await.unwrap();
        let yanked = db.find_version(CRM, "1.0.0").await.unwrap().unwrap();
        assert_eq!((yanked.yanked_at, yanked.yank_reason.as_deref()), (Some(7), Some("broken")));
        assert_eq!(db.list_tags(CRM, "", 10).await.unwrap(), Vec::<String>::new());
        let mut tx = db.begin().await.unwrap();
        tx.set_yanked(&row, None, true, &act(8)).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(db.find_tag(CRM, "1.0.0").await.unwrap().as_deref(), Some("m"));
        let actions: Vec<String> =
            db.list_audit(0, 10).await.unwrap().into_iter().map(|row| row.record.action).collect();
        assert_eq!(actions, ["registry.namespace.grant", "registry.publish", "registry.yank", "registry.unyank"]);
    })
    .await;
}

#[tokio::test]
async fn two_namespaces_never_have_one_normal_form() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        repository(db, CRM).await;
        let lookalike =
            NewNamespace { namespace: "acrne", normal_form: "acme", kind: "open", is_public: true, owner: "Eve" };

        let mut tx = db.begin().await.unwrap();
        let refused = tx.insert_namespace(&lookalike, &act(2)).await;

        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        assert!(matches!(tx.put_repository("acme/crrn", "acme", CRM, 2).await, Err(Error::Conflict { .. })));
    })
    .await;
}
