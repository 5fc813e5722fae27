//! The audit chain on both engines: never forked, and every way to change it behind the host's back is named.

use bulkhead_database::{AuditProof, DatabaseConfig, Db};
use bulkhead_model::audit::GENESIS;
use bulkhead_model::{Code, Coded as _};
use serde::Deserialize;

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

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// What somebody with the database's password does to five entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// One statement that both engines take.
    sql: String,
    /// The first entry that the proof names; none: the chain is whole.
    broken: Option<u64>,
}

/// Fewer cases than this would be a suite that somebody cut.
const CASES_MIN: usize = 28;

#[tokio::test]
async fn an_edited_entry_is_named() {
    let file: File = toml::from_str(include_str!("../data/hostile/audit.toml")).unwrap();
    assert!(file.case.len() >= CASES_MIN, "{} cases", file.case.len());
    for_each_engine(async |engine: &Engine| {
        append(&engine.db, 5).await;
        for Case { name, sql, broken } in &file.case {
            for saved in [
                "CREATE TABLE saved_audit AS SELECT * FROM audit",
                "CREATE TABLE saved_audit_head AS SELECT * FROM audit_head",
                sql,
            ] {
                engine.tamper(saved).await;
            }

            let proof = engine.db.verify_audit().await.unwrap_or_else(|error| panic!("{name}: {error}"));

            assert_eq!(proof.first_broken, *broken, "{name}");
            assert_eq!(proof.entries, broken.map_or(5, |broken| broken - 1), "{name}");
            for restored in [
                "DELETE FROM audit",
                "INSERT INTO audit SELECT * FROM saved_audit",
                "DELETE FROM audit_head",
                "INSERT INTO audit_head SELECT * FROM saved_audit_head",
                "DROP TABLE saved_audit",
                "DROP TABLE saved_audit_head",
            ] {
                engine.tamper(restored).await;
            }
        }
        append(&engine.db, 1).await;
        let proof = engine.db.verify_audit().await.unwrap();
        assert_eq!((proof.entries, proof.first_broken), (6, None), "the chain goes on afterwards");
    })
    .await;
}

#[tokio::test]
async fn a_text_that_an_engine_does_not_keep_is_its_writers_mistake() {
    for_each_engine(async |engine: &Engine| {
        let mut tx = engine.db.begin().await.unwrap();
        let appended = tx.append_audit(&act(1), "test.a\0b", None, None, "{}").await;

        assert!(appended.is_ok() || appended.is_err_and(|error| error.code() == Code::InvalidInput));
    })
    .await;
}
