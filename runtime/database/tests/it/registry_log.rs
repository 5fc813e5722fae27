//! The registry's log on both engines: one leaf for each event, never forked, and roots that are those of its leaves.
//! What proofs prove is the trust crate's to test.

use bulkhead_database::registry::NewNamespace;
use bulkhead_database::{Act, DatabaseConfig, Db, PolicyRow, RevocationRow};
use bulkhead_model::Digest;
use bulkhead_model::log::tree::{empty_root, leaf_hash, node_hash};
use bulkhead_model::log::{Event, Leaf};

use crate::engines::{act, for_each_engine, plugin, register, version};

/// The root as the definition says, over what is stored.
fn naive(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive(left), &naive(right))
        }
    }
}

async fn hashes(db: &Db) -> Vec<Digest> {
    let rows = db.list_leaves(0, 1_000).await.unwrap();
    for (place, row) in (0..).zip(&rows) {
        assert_eq!(row.index, place);
    }
    rows.iter().map(|row| leaf_hash(row.leaf.as_bytes())).collect()
}

async fn events(db: &Db) -> Vec<&'static str> {
    let rows = db.list_leaves(0, 1_000).await.unwrap();
    rows.iter().map(|row| Leaf::from_bytes(row.leaf.as_bytes()).unwrap().event.name()).collect()
}

async fn grant(db: &Db, name: &str, act: &Act) {
    let namespace = NewNamespace { namespace: name, normal_form: name, kind: "open", is_public: false, owner: "Acme" };
    let mut tx = db.begin().await.unwrap();
    tx.insert_namespace(&namespace, act).await.unwrap();
    tx.commit().await.unwrap();
}

fn revocation(reason: &str) -> RevocationRow {
    RevocationRow {
        epoch: 0,
        key: None,
        digest: None,
        plugin: Some("acme.crm".to_owned()),
        version: None,
        from_at: None,
        reason: reason.to_owned(),
        revoked_by: "anna".to_owned(),
        revoked_at: 3,
    }
}

fn policy(version: u64) -> PolicyRow {
    PolicyRow {
        version,
        envelope: b"signed".to_vec(),
        json: "{}".to_owned(),
        observed: false,
        installed_by: "anna".to_owned(),
        installed_at: 4,
    }
}

#[tokio::test]
async fn each_event_is_a_leaf_and_one_that_is_undone_is_none() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        assert_eq!(db.log_state().await.unwrap().root, empty_root());

        grant(db, "acme", &act(1)).await;
        let digest = register(db, "acme.crm", "1.0.0", 1).await;
        let mut tx = db.begin().await.unwrap();
        tx.insert_bundles(&digest, &[b"one".to_vec()], &act(2)).await.unwrap();
        tx.insert_bundles(&digest, &[b"one".to_vec()], &act(2)).await.unwrap();
        tx.insert_revocation(&revocation("stolen"), &act(3)).await.unwrap();
        tx.insert_policy(&policy(7), &act(4)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.insert_policy(&policy(8), &act(5)).await.unwrap();
        drop(tx);

        let state = db.log_state().await.unwrap();
        assert_eq!(
            events(db).await,
            ["namespace.grant", "release.register", "bundle.add", "revocation.add", "policy.install"]
        );
        assert_eq!((state.size, state.revocation_epoch, state.policy_version), (5, 1, 7));
        assert_eq!((state.root, state.audit), (naive(&hashes(db).await), db.audit_head().await.unwrap()));
        let mut tx = db.begin_read().await.unwrap();
        let leaf = tx.find_release_leaf(&digest.to_string(), "release.register").await.unwrap().unwrap();
        assert_eq!(leaf.index, 1);
        assert!(tx.find_release_leaf("", "").await.unwrap().is_none());
        assert!(tx.find_leaf(5).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_hosts_that_append_at_once_never_fork_the_log_and_never_wait_in_a_circle() {
    for_each_engine(async |engine| {
        let other = Db::open(&DatabaseConfig::new(&engine.url)).await.unwrap();

        let mut writers = tokio::task::JoinSet::new();
        for (writer, db) in [engine.db.clone(), other.clone(), engine.db.clone(), other.clone()].into_iter().enumerate()
        {
            writers.spawn(async move {
                for number in 0..10 {
                    let name = format!("n{writer}-{number}");
                    grant(&db, &name, &act(number)).await;
                    let mut tx = db.begin().await.unwrap();
                    tx.append_audit(&act(number), "test.act", None, None, "{}").await.unwrap();
                    tx.insert_revocation(&revocation(&name), &act(number)).await.unwrap();
                    tx.commit().await.unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }

        let state = engine.db.log_state().await.unwrap();
        assert_eq!((state.size, state.revocation_epoch), (80, 40));
        assert_eq!(state.root, naive(&hashes(&engine.db).await));
        assert_eq!(engine.db.verify_audit().await.unwrap().first_broken, None);
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn roots_of_every_older_size_stay_what_they_were() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        let mut roots = vec![empty_root()];
        for number in 0..20 {
            grant(db, &format!("n{number}"), &act(number)).await;
            roots.push(db.log_state().await.unwrap().root);
        }

        let mut tx = db.begin_read().await.unwrap();

        let leaves = hashes(db).await;
        for (size, root) in (0_u64..).zip(&roots) {
            assert_eq!(tx.log_root(size).await.unwrap(), *root, "{size}");
            assert_eq!(*root, naive(&leaves[..usize::try_from(size).unwrap()]), "{size}");
        }
        assert_eq!(tx.prove_inclusion(20, 20).await.unwrap(), None);
        assert_eq!(tx.prove_consistency(21, 20).await.unwrap(), None);
        assert_eq!(tx.prove_inclusion(19, 20).await.unwrap().unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn releases_that_were_there_before_the_log_have_their_leaves_once() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        register(db, "acme.crm", "1.0.0", 1).await;
        register(db, "acme.crm", "1.1.0", 2).await;
        for table in
            ["DELETE FROM registry_log", "DELETE FROM registry_log_nodes", "UPDATE registry_log_head SET size = 0"]
        {
            engine.tamper(table).await;
        }

        for at in [9, 10] {
            let mut tx = db.begin().await.unwrap();
            tx.begin_log(&act(at)).await.unwrap();
            tx.commit().await.unwrap();
        }

        let rows = db.list_leaves(0, 10).await.unwrap();
        let leaves: Vec<Leaf> = rows.iter().map(|row| Leaf::from_bytes(row.leaf.as_bytes()).unwrap()).collect();
        let versions: Vec<(i64, String)> = leaves
            .into_iter()
            .map(|leaf| match leaf.event {
                Event::ReleaseRegister { version, .. } => (leaf.at, version),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(versions, [(9, "1.0.0".to_owned()), (9, "1.1.0".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn a_proof_of_an_install_is_kept_and_replaced() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        let (crm, one) = (plugin("acme.crm"), version("1.0.0"));
        for proof in ["{\"a\":1}", "{\"a\":2}"] {
            let mut tx = db.begin().await.unwrap();
            tx.put_install_proof(&crm, &one, proof, 1).await.unwrap();
            tx.commit().await.unwrap();
        }

        assert_eq!(db.find_install_proof(&crm, &one).await.unwrap().as_deref(), Some("{\"a\":2}"));
        assert_eq!(db.find_install_proof(&crm, &version("2.0.0")).await.unwrap(), None);
    })
    .await;
}
