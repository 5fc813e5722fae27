//! Reviews, revocations and observed policies on both engines: written, read back in order, never taken back.

use bulkhead_database::{NewOperation, NewReview, OperationEnd, PolicyRow, RevocationRow};
use bulkhead_model::Digest;

use crate::engines::{Engine, act, for_each_engine, plugin, register, version};

fn revocation(plugin: &str) -> RevocationRow {
    RevocationRow {
        epoch: 99,
        key: None,
        digest: Some(Digest::of(b"one")),
        plugin: Some(plugin.to_owned()),
        version: Some("<2".to_owned()),
        from_at: Some(5),
        reason: "CVE".to_owned(),
        revoked_by: "sec".to_owned(),
        revoked_at: 7,
    }
}

/// Lets `acme.crm@2.0.0` wait behind an operation; answers the operation.
async fn wait(engine: &Engine) -> String {
    let (crm, new) = (plugin("acme.crm"), version("2.0.0"));
    let mut tx = engine.db.begin().await.unwrap();
    let begun = NewOperation { kind: "install", plugin_id: &crm, version: &new, request: "{}", actor: "root" };
    let operation = tx.insert_operation(&begun, 3).await.unwrap().operation_id;
    let review = NewReview {
        plugin_id: &crm,
        version: &new,
        digest: &Digest::of(b"acme.crm@2.0.0"),
        base_version: &version("1.0.0"),
        base_digest: &Digest::of(b"acme.crm@1.0.0"),
        diff_digest: &Digest::of(b"diff"),
        wider: "[]",
        registered_by: "ci",
        installed_by: "root",
        operation_id: &operation,
    };
    tx.put_review(&review, &act(4)).await.unwrap();
    let end = OperationEnd::PendingReview { code: "pending-review", detail: "waits".to_owned() };
    tx.finish_operation(&operation, "[]", &end, 4).await.unwrap();
    tx.commit().await.unwrap();
    operation
}

#[tokio::test]
async fn a_review_is_decided_once_and_its_operation_goes_on() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        register(&engine.db, "acme.crm", "2.0.0", 2).await;
        let operation = wait(engine).await;
        let waiting = engine.db.list_reviews("pending", (i64::MIN, ""), 10).await.unwrap();

        let mut tx = engine.db.begin().await.unwrap();
        let decided = tx.decide_review(&waiting[0], "approved", "fine", &act(9)).await.unwrap();
        let twice = tx.decide_review(&waiting[0], "rejected", "no", &act(9)).await.unwrap();
        let resumed = tx.resume_operation(&operation, 9).await.unwrap();
        let resumed_twice = tx.resume_operation(&operation, 9).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!((decided, twice, resumed, resumed_twice), (true, false, true, false));
        let row = engine.db.find_review(&waiting[0].review_id).await.unwrap().unwrap();
        assert_eq!(
            (row.status.as_str(), row.decided_by.as_deref(), row.decided_at),
            ("approved", Some("anna"), Some(9))
        );
        let operation = engine.db.find_operation(&operation).await.unwrap().unwrap();
        assert_eq!((operation.status.as_str(), operation.error_code), ("running", None));
        assert!(engine.db.list_reviews("pending", (i64::MIN, ""), 10).await.unwrap().is_empty());
        let last = engine.db.list_audit(0, 100).await.unwrap().pop().unwrap().record;
        assert!(last.action == "review.approved" && last.detail.contains(&row.diff_digest.to_string()), "{last:?}");
    })
    .await;
}

#[tokio::test]
async fn a_version_that_waits_again_waits_anew_under_the_same_id() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        register(&engine.db, "acme.crm", "2.0.0", 2).await;
        wait(engine).await;
        let first = engine.db.list_reviews("", (i64::MIN, ""), 10).await.unwrap().remove(0);
        let mut tx = engine.db.begin().await.unwrap();
        tx.decide_review(&first, "rejected", "no", &act(9)).await.unwrap();
        tx.commit().await.unwrap();

        let operation = wait(engine).await;
        let of = engine.db.find_review_of(&first.digest, &first.base_digest).await.unwrap().unwrap();
        let behind = engine.db.list_reviews("", (of.created_at, &of.review_id), 10).await.unwrap();

        assert_eq!((of.review_id, of.status.as_str()), (first.review_id, "pending"));
        assert_eq!((of.operation_id, of.decided_by, of.reason), (operation, None, None));
        assert!(behind.is_empty());
    })
    .await;
}

#[tokio::test]
async fn revocations_get_rising_epochs_and_come_back_as_they_were() {
    for_each_engine(async |engine| {
        let before = engine.db.changes().await.unwrap();
        assert_eq!(engine.db.revocation_epoch().await.unwrap(), 0);
        for (epoch, name) in [(1, "acme.crm"), (2, "acme.bill")] {
            let mut tx = engine.db.begin().await.unwrap();
            assert_eq!(tx.insert_revocation(&revocation(name), &act(7)).await.unwrap(), epoch);
            tx.commit().await.unwrap();
        }

        let all = engine.db.list_revocations(0, 10).await.unwrap();
        let later = engine.db.list_revocations(1, 10).await.unwrap();

        let wanted = RevocationRow { epoch: 1, revoked_by: "anna".to_owned(), ..revocation("acme.crm") };
        assert_eq!((&all[0], all.len()), (&wanted, 2));
        assert_eq!(later.iter().map(|row| row.epoch).collect::<Vec<_>>(), [2]);
        assert_eq!(engine.db.revocation_epoch().await.unwrap(), 2);
        assert!(engine.db.changes().await.unwrap() > before);
    })
    .await;
}

#[tokio::test]
async fn the_version_that_was_installed_last_is_known_also_after_others_were_registered() {
    for_each_engine(async |engine| {
        for (text, sequence) in [("1.0.0", 1), ("2.0.0", 2), ("3.0.0", 3)] {
            register(&engine.db, "acme.crm", text, sequence).await;
        }
        let crm = plugin("acme.crm");
        assert!(engine.db.find_installed_version(&crm).await.unwrap().is_none());

        let mut tx = engine.db.begin().await.unwrap();
        tx.set_version_installed(&crm, &version("2.0.0"), 5).await.unwrap();
        tx.set_version_installed(&crm, &version("1.0.0"), 6).await.unwrap();
        tx.commit().await.unwrap();

        let last = engine.db.find_installed_version(&crm).await.unwrap().unwrap();
        assert_eq!(last.version, version("1.0.0"));
        let behind = engine.db.list_all_versions(("acme.crm", "1.0.0"), 1).await.unwrap();
        assert_eq!(behind, [(crm, version("2.0.0"))]);
    })
    .await;
}

#[tokio::test]
async fn an_observed_policy_is_the_latest_and_not_the_one_in_force() {
    for_each_engine(async |engine| {
        for (number, observed) in [(1, false), (2, true)] {
            let row = PolicyRow {
                version: number,
                envelope: vec![1],
                json: "{}".to_owned(),
                observed,
                installed_by: "sec".to_owned(),
                installed_at: 3,
            };
            let mut tx = engine.db.begin().await.unwrap();
            tx.insert_policy(&row, &act(3)).await.unwrap();
            tx.commit().await.unwrap();
        }

        let (in_force, latest) =
            (engine.db.find_policy().await.unwrap(), engine.db.find_latest_policy().await.unwrap());

        assert_eq!(in_force.map(|row| (row.version, row.observed)), Some((1, false)));
        assert_eq!(latest.map(|row| (row.version, row.observed)), Some((2, true)));
    })
    .await;
}
