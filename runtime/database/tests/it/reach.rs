//! The record of reach, on both engines: what is written begins and ends once, whoever writes, and goes when it is old.

use bulkhead_database::{Act, Db, ReachChange, ReachFilter, ReachPass, TenantPluginRow};
use bulkhead_model::{Digest, Transition};

use crate::engines::{act, create_tenant, for_each_engine, plugin, register, tenant};

const ALL: ReachFilter<'_> = ReachFilter { tenant: None, plugin: None };

fn set(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn change(of: &str, ends: Option<i64>, begins: Option<&str>) -> ReachChange {
    ReachChange {
        tenant_id: tenant(of),
        plugin_id: plugin("acme.crm"),
        ends,
        begins: begins.map(|name| (set(name), 7)),
    }
}

/// Writes for somebody who knows `changes`; whether that was taken.
async fn write(db: &Db, changes: u64, now: i64, all: &[ReachChange]) -> Option<i64> {
    let mut tx = db.begin().await.unwrap();
    let at = tx.take_reach_turn(changes, now).await.unwrap()?;
    for one in all {
        if let Some((id, _)) = &one.begins {
            tx.put_reach_set(id, "{}").await.unwrap();
        }
        tx.write_reach(one, at).await.unwrap();
    }
    tx.commit().await.unwrap();
    Some(at)
}

async fn times(db: &Db) -> Vec<(String, i64, Option<i64>, Digest)> {
    let (first, last) = ((tenant("a"), plugin("acme.crm")), (tenant("z"), plugin("acme.crm")));
    let rows = db.list_reach_history(None, (&first.0, &first.1), (&last.0, &last.1), 100).await.unwrap();
    rows.into_iter().map(|row| (row.tenant_id.to_string(), row.since, row.until, row.set_id)).collect()
}

#[tokio::test]
async fn a_change_is_written_once_whoever_writes_it_and_times_only_rise() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        let opens = [change("bank", None, Some("one")), change("shop", None, Some("one"))];

        assert_eq!(write(db, 1, 100, &opens).await, Some(100));
        // The same again by another host, whose clock is behind.
        assert_eq!(write(db, 1, 50, &opens).await, Some(101));
        assert_eq!(write(db, 2, 60, &[change("bank", Some(100), Some("two"))]).await, Some(102));
        assert_eq!(write(db, 2, 200, &[change("bank", Some(100), Some("two"))]).await, Some(200));

        let of = |name: &str, since, until, id| (name.to_owned(), since, until, set(id));
        let wanted = [of("bank", 100, Some(102), "one"), of("bank", 102, None, "two"), of("shop", 100, None, "one")];
        assert_eq!(times(db).await, wanted);
    })
    .await;
}

#[tokio::test]
async fn who_knows_less_than_the_last_writer_writes_nothing() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        write(db, 5, 100, &[change("bank", None, Some("one"))]).await.unwrap();

        assert_eq!(write(db, 4, 200, &[change("bank", Some(100), None)]).await, None);

        assert_eq!(times(db).await, [("bank".to_owned(), 100, None, set("one"))]);
        let mut tx = db.begin().await.unwrap();
        tx.set_reach_pass(ReachPass { changes: 9, at: 900 }).await.unwrap();
        tx.set_reach_pass(ReachPass { changes: 8, at: 950 }).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(db.reach_pass().await.unwrap(), ReachPass { changes: 9, at: 900 });
    })
    .await;
}

#[tokio::test]
async fn candidates_are_what_is_enabled_beside_what_is_on_record() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        register(db, "acme.crm", "1.0.0", 1).await;
        for name in ["bank", "shop", "gone"] {
            create_tenant(db, name).await;
        }
        let mut tx = db.begin().await.unwrap();
        tx.advance_plugin(&plugin("acme.crm"), Transition::BeginInstall, &act(1)).await.unwrap();
        tx.advance_plugin(&plugin("acme.crm"), Transition::FinishInstall, &act(1)).await.unwrap();
        for (name, enabled) in [("bank", true), ("shop", true), ("gone", false)] {
            let mut row = TenantPluginRow::new(tenant(name), plugin("acme.crm"), "{}".to_owned(), 1);
            row.enabled = enabled;
            tx.put_tenant_plugin(&row, "tenant.enable", &Act::system(1)).await.unwrap();
        }
        tx.commit().await.unwrap();
        write(db, 1, 100, &[change("bank", None, Some("one")), change("gone", None, Some("one"))]).await.unwrap();

        let found = db.list_reach_candidates(ALL, None, 10).await.unwrap();
        let left = db.list_reach_left(ALL, 10).await.unwrap();

        let said: Vec<_> = found.iter().map(|one| (one.tenant_id.as_str(), one.serves, one.open)).collect();
        assert_eq!(said, [("bank", true, Some((set("one"), 100))), ("shop", true, None)]);
        assert_eq!(left.iter().map(|row| row.tenant_id.as_str()).collect::<Vec<_>>(), ["gone"]);
        let (bank, crm) = (tenant("bank"), plugin("acme.crm"));
        let behind = db.list_reach_candidates(ALL, Some((&bank, &crm)), 10).await.unwrap();
        assert_eq!(behind.len(), 1);
        let of_bank = ReachFilter { tenant: Some(&bank), plugin: Some(&crm) };
        assert_eq!(db.list_reach_candidates(of_bank, None, 10).await.unwrap().len(), 1);
        assert_eq!(db.list_reach_left(of_bank, 10).await.unwrap().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn pairs_are_those_on_record_at_one_of_the_two_times() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        write(db, 1, 100, &[change("bank", None, Some("one")), change("cafe", None, Some("one"))]).await.unwrap();
        write(db, 2, 200, &[change("bank", Some(100), None), change("shop", None, Some("two"))]).await.unwrap();
        let at = async |from: i64, to: i64| {
            let pairs = db.list_reach_pairs(ALL, (from, to), None, 10).await.unwrap();
            pairs.into_iter().map(|(tenant, _)| tenant.to_string()).collect::<Vec<_>>()
        };

        assert_eq!(at(99, 99).await, [""; 0]);
        assert_eq!(at(100, 100).await, ["bank", "cafe"]);
        assert_eq!(at(199, 200).await, ["bank", "cafe", "shop"]);
        assert_eq!(at(200, 200).await, ["cafe", "shop"]);
        let (cafe, crm) = (tenant("cafe"), plugin("acme.crm"));
        let behind = db.list_reach_pairs(ALL, (200, 200), Some((&cafe, &crm)), 10).await.unwrap();
        assert_eq!(behind, [(tenant("shop"), plugin("acme.crm"))]);
        let of_cafe = ReachFilter { tenant: Some(&cafe), plugin: None };
        assert_eq!(db.list_reach_pairs(of_cafe, (200, 200), None, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_ended_long_ago_goes_with_its_set_and_what_holds_stays() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        write(db, 1, 100, &[change("bank", None, Some("old")), change("shop", None, Some("kept"))]).await.unwrap();
        write(db, 2, 200, &[change("bank", Some(100), None)]).await.unwrap();

        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.delete_reach_before(200, 10).await.unwrap(), 0);
        assert_eq!(tx.delete_reach_before(201, 10).await.unwrap(), 1);
        tx.commit().await.unwrap();

        assert_eq!(times(db).await, [("shop".to_owned(), 100, None, set("kept"))]);
        assert!(db.get_reach_set(&set("old")).await.is_err());
        assert_eq!(db.get_reach_set(&set("kept")).await.unwrap(), "{}");
        // Removing is no writing: who writes next needs to know no more than before.
        assert!(write(db, 2, 300, &[]).await.is_some());
    })
    .await;
}
