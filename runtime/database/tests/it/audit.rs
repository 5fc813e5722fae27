//! The audit chain on both engines: never forked, and every way to change it behind the host's back is named.

use bulkhead_database::{AuditProof, DatabaseConfig, Db};
use bulkhead_model::audit::GENESIS;

use crate::engines::{Engine, act, for_each_engine, plugin};

async fn append(db: &Db, count: i64) {
    for at in 0..count {
        let mut tx = db.begin().await.unwrap();
        tx.append_audit(&act(at), "test.act", Some(&plugin("acme.crm")), None, "{}").await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_and_a_grown_chain_prove_themselves() {
    for_each_engine(async |engine| {
        let empty = engine.db.verify_audit().await.unwrap();
        assert_eq!(empty, AuditProof { entries: 0, first_broken: None, head: GENESIS });

        append(&engine.db, 5).await;

        let proof = engine.db.verify_audit().await.unwrap();
        assert_eq!((proof.entries, proof.first_broken), (5, None));
        assert_eq!(engine.db.audit_head().await.unwrap(), (5, proof.head));
        assert_eq!(engine.db.list_audit(3, 10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_hosts_that_append_at_once_never_fork_the_chain() {
    for_each_engine(async |engine| {
        let other = Db::open(&DatabaseConfig::new(&engine.url)).await.unwrap();

        let mut writers = tokio::task::JoinSet::new();
        for db in [engine.db.clone(), other.clone(), engine.db.clone(), other.clone()] {
            writers.spawn(async move { append(&db, 10).await });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }

        let proof = engine.db.verify_audit().await.unwrap();
        assert_eq!((proof.entries, proof.first_broken), (40, None));
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_edited_entry_is_named() {
    check("UPDATE audit SET actor = 'eve' WHERE sequence = 3", Some(3)).await;
}

#[tokio::test]
async fn a_removed_entry_is_named() {
    check("DELETE FROM audit WHERE sequence = 2", Some(2)).await;
}

#[tokio::test]
async fn a_cut_end_is_named() {
    check("DELETE FROM audit WHERE sequence >= 4", Some(4)).await;
}

#[tokio::test]
async fn a_moved_entry_is_named() {
    check("UPDATE audit SET at = 999 WHERE sequence = 5", Some(5)).await;
}

#[tokio::test]
async fn an_untouched_chain_is_whole() {
    check("UPDATE host_hooks SET kind = 'filter'", None).await;
}

async fn check(tampering: &'static str, first_broken: Option<u64>) {
    for_each_engine(async |engine: &Engine| {
        append(&engine.db, 5).await;

        engine.tamper(tampering).await;

        let proof = engine.db.verify_audit().await.unwrap();
        assert_eq!(proof.first_broken, first_broken);
        assert_eq!(proof.entries, first_broken.map_or(5, |broken| broken - 1));
    })
    .await;
}
