//! The host's tables on both engines: what is written is read back, what must not happen does not.

use bulkhead_database::{
    Act, DatabaseConfig, Db, Error, HookRow, NewRelease, PolicyRow, TenantPluginRow, TenantStatus,
};
use bulkhead_model::manifest::{HookKind, OnFailure};
use bulkhead_model::{Code, Coded, Digest, Interface, PluginStatus, TenantPluginStatus, Transition};

use crate::engines::{Engine, act, create_tenant, for_each_engine, plugin, register, tenant, version};

#[tokio::test]
async fn a_release_is_read_back_with_its_bytes_and_bundles() {
    for_each_engine(async |engine| {
        let digest = register(&engine.db, "acme.crm", "1.0.0", 7).await;

        let mut tx = engine.db.begin().await.unwrap();
        tx.insert_bundles(&digest, &[b"one".to_vec(), b"two".to_vec()], &act(9)).await.unwrap();
        tx.insert_bundles(&digest, &[b"two".to_vec(), b"three".to_vec()], &act(9)).await.unwrap();
        tx.commit().await.unwrap();

        let row = engine.db.get_plugin_version(&plugin("acme.crm"), &version("1.0.0")).await.unwrap();
        assert_eq!((row.digest, row.sequence, row.size_bytes), (digest, 7, 14));
        assert_eq!(engine.db.get_artifact(&digest).await.unwrap(), b"acme.crm@1.0.0");
        assert_eq!(
            engine.db.list_bundles(&digest).await.unwrap(),
            [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
        );
        let fleet = engine.db.get_plugin(&plugin("acme.crm")).await.unwrap();
        assert_eq!((fleet.status, fleet.version), (PluginStatus::Registered, version("1.0.0")));
    })
    .await;
}

#[tokio::test]
async fn a_version_is_never_replaced() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;

        let mut tx = engine.db.begin().await.unwrap();
        let release = NewRelease {
            plugin_id: &plugin("acme.crm"),
            version: &version("1.0.0"),
            digest: &Digest::of(b"other"),
            facts: "{}",
            sequence: 2,
            artifact: b"other",
        };
        let error = tx.insert_release(&release, &act(2)).await.unwrap_err();
        drop(tx);

        assert_eq!(error.code(), Code::Conflict);
        assert!(matches!(engine.db.get_artifact(&Digest::of(b"other")).await, Err(Error::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn the_latest_release_is_that_of_the_highest_sequence() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "2.0.0", 9).await;
        register(&engine.db, "acme.crm", "1.9.9", 8).await;
        register(&engine.db, "acme.bill", "7.0.0", 99).await;

        let latest = engine.db.find_latest_release(&plugin("acme.crm")).await.unwrap().unwrap();
        let all = engine.db.list_plugin_versions(&plugin("acme.crm")).await.unwrap();

        assert_eq!(latest.version, version("2.0.0"));
        assert_eq!(all.into_iter().map(|row| row.version).collect::<Vec<_>>(), [version("2.0.0"), version("1.9.9")]);
        assert!(engine.db.find_latest_release(&plugin("acme.none")).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_step_writes_the_state_and_its_audit_entry_together() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        let before = engine.db.changes().await.unwrap();

        let mut tx = engine.db.begin().await.unwrap();
        tx.advance_plugin(&plugin("acme.crm"), Transition::BeginInstall, &act(5)).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(engine.db.get_plugin(&plugin("acme.crm")).await.unwrap().status, PluginStatus::Installing);
        let last = engine.db.list_audit(0, 100).await.unwrap().pop().unwrap().record;
        assert_eq!((last.action.as_str(), last.plugin.as_str(), last.at), ("plugin.install", "acme.crm", 5));
        assert!(engine.db.changes().await.unwrap() > before);
    })
    .await;
}

#[tokio::test]
async fn a_refused_step_changes_nothing_and_names_the_legal_ones() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        let (before, head) = (engine.db.changes().await.unwrap(), engine.db.audit_head().await.unwrap());

        let mut tx = engine.db.begin().await.unwrap();
        let error = tx.advance_plugin(&plugin("acme.crm"), Transition::Enable, &act(5)).await.unwrap_err();
        tx.commit().await.unwrap();

        assert_eq!(error.code(), Code::RefusedTransition);
        assert!(error.to_string().ends_with("legal from here: install"), "{error}");
        assert_eq!((engine.db.changes().await.unwrap(), engine.db.audit_head().await.unwrap()), (before, head));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;

        let mut tx = engine.db.begin().await.unwrap();
        tx.advance_plugin(&plugin("acme.crm"), Transition::BeginInstall, &act(5)).await.unwrap();
        drop(tx);

        assert_eq!(engine.db.get_plugin(&plugin("acme.crm")).await.unwrap().status, PluginStatus::Registered);
        assert_eq!(engine.db.verify_audit().await.unwrap().first_broken, None);
    })
    .await;
}

#[tokio::test]
async fn two_who_take_the_same_step_at_once_take_it_once() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        let step = async || {
            let mut tx = engine.db.begin().await?;
            tx.advance_plugin(&plugin("acme.crm"), Transition::BeginInstall, &act(5)).await?;
            tx.commit().await
        };

        let (one, two) = tokio::join!(step(), step());

        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let audit = engine.db.list_audit(0, 100).await.unwrap();
        assert_eq!(audit.iter().filter(|row| row.record.action == "plugin.install").count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_plugin_is_read_back_whole() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        create_tenant(&engine.db, "bank").await;
        let mut row = TenantPluginRow::new(tenant("bank"), plugin("acme.crm"), r#"{"a":"ü"}"#.into(), 3);
        row.enabled = true;
        row.status = TenantPluginStatus::Failed;
        row.desired_version = Some(version("1.0.0"));
        row.last_error = Some("broke".into());
        row.last_health_at = Some(4);
        row.configured_at = Some(2);
        row.granted = vec![Interface::Sql, Interface::Kv];

        let mut tx = engine.db.begin().await.unwrap();
        tx.put_tenant_plugin(&row, "tenant.enable", &act(10)).await.unwrap();
        tx.put_tenant_plugin(&row, "tenant.enable", &act(11)).await.unwrap();
        tx.commit().await.unwrap();

        let found = engine.db.find_tenant_plugin(&tenant("bank"), &plugin("acme.crm")).await.unwrap().unwrap();
        assert_eq!(found, TenantPluginRow { created_at: 10, updated_at: 11, ..row });
    })
    .await;
}

async fn enable(engine: &Engine, name: &str, id: &str, enabled: bool) {
    let mut row = TenantPluginRow::new(tenant(name), plugin(id), "{}".into(), 1);
    row.enabled = enabled;
    let mut tx = engine.db.begin().await.unwrap();
    tx.put_tenant_plugin(&row, "tenant.enable", &act(1)).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_is_enabled_is_listed_in_pages_by_tenant_and_plugin() {
    for_each_engine(async |engine| {
        for id in ["acme.a1", "acme.b2"] {
            register(&engine.db, id, "1.0.0", 1).await;
        }
        for name in ["t-1", "t1", "t2"] {
            create_tenant(&engine.db, name).await;
            enable(engine, name, "acme.a1", true).await;
            enable(engine, name, "acme.b2", name != "t1").await;
        }

        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let rows = engine.db.list_enabled(after.as_ref().map(|(t, p)| (t, p)), 2).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some((last.tenant_id.clone(), last.plugin_id.clone()));
            seen.extend(rows.iter().map(|row| format!("{}/{}", row.tenant_id, row.plugin_id)));
        }

        assert_eq!(seen, ["t-1/acme.a1", "t-1/acme.b2", "t1/acme.a1", "t2/acme.a1", "t2/acme.b2"]);
        assert_eq!(engine.db.count_enabled_tenants(&plugin("acme.b2")).await.unwrap(), 2);
        assert_eq!(engine.db.list_plugin_tenants(&plugin("acme.b2")).await.unwrap().len(), 2);
        assert_eq!(engine.db.list_tenants_with_record(&plugin("acme.b2")).await.unwrap().len(), 3);
        assert_eq!(engine.db.list_tenant_plugins(&tenant("t1")).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_with_its_records() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        for name in ["bank", "shop"] {
            create_tenant(&engine.db, name).await;
            enable(engine, name, "acme.crm", true).await;
        }

        let mut tx = engine.db.begin().await.unwrap();
        tx.insert_kill(None, Some(&tenant("bank")), "x", &act(2)).await.unwrap();
        tx.delete_tenant(&tenant("bank"), &act(3)).await.unwrap();
        tx.commit().await.unwrap();

        assert!(engine.db.find_tenant(&tenant("bank")).await.unwrap().is_none());
        assert!(engine.db.find_tenant_plugin(&tenant("bank"), &plugin("acme.crm")).await.unwrap().is_none());
        assert!(engine.db.list_kills().await.unwrap().is_empty());
        assert!(engine.db.find_tenant_plugin(&tenant("shop"), &plugin("acme.crm")).await.unwrap().is_some());
        let mut tx = engine.db.begin().await.unwrap();
        assert_eq!(tx.delete_tenant(&tenant("bank"), &act(4)).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_created_once_suspended_and_resumed() {
    for_each_engine(async |engine| {
        create_tenant(&engine.db, "bank").await;

        let mut tx = engine.db.begin().await.unwrap();
        let suspended = tx.set_tenant_status(&tenant("bank"), TenantStatus::Suspended, &act(2)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = engine.db.begin().await.unwrap();
        let twice = tx.insert_tenant(&tenant("bank"), &act(3)).await.unwrap_err();
        drop(tx);

        assert_eq!(suspended.status, TenantStatus::Suspended);
        assert_eq!(engine.db.find_tenant(&tenant("bank")).await.unwrap(), Some(suspended));
        assert_eq!(twice.code(), Code::Conflict);
        assert_eq!(engine.db.list_tenants("", 10).await.unwrap().len(), 1);
        assert!(engine.db.list_tenants("bank", 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_tenant_whose_data_is_being_deleted_does_not_come_back() {
    for_each_engine(async |engine| {
        create_tenant(&engine.db, "bank").await;
        let mut tx = engine.db.begin().await.unwrap();
        tx.set_tenant_status(&tenant("bank"), TenantStatus::Deleting, &act(2)).await.unwrap();

        let back = tx.set_tenant_status(&tenant("bank"), TenantStatus::Active, &act(3)).await.unwrap_err();

        assert_eq!(back.code(), Code::Conflict);
        assert_eq!(tx.find_tenant(&tenant("bank")).await.unwrap().unwrap().status, TenantStatus::Deleting);
        tx.delete_tenant(&tenant("bank"), &act(4)).await.unwrap();
        assert_eq!(tx.find_tenant(&tenant("bank")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn what_tenants_have_enabled_is_read_with_its_bundles_in_pages() {
    for_each_engine(async |engine| {
        for (name, sequence) in [("acme.crm", 1), ("acme.mail", 2), ("acme.unused", 3)] {
            register(&engine.db, name, "1.0.0", sequence).await;
        }
        create_tenant(&engine.db, "bank").await;
        let digest = engine.db.get_plugin_version(&plugin("acme.mail"), &version("1.0.0")).await.unwrap().digest;
        let mut tx = engine.db.begin().await.unwrap();
        assert_eq!(tx.insert_bundles(&digest, &[b"one".to_vec(), b"two".to_vec()], &act(9)).await.unwrap(), 2);
        assert_eq!(tx.insert_bundles(&digest, &[b"two".to_vec()], &act(9)).await.unwrap(), 0);
        for name in ["acme.crm", "acme.mail"] {
            tx.advance_plugin(&plugin(name), Transition::BeginInstall, &act(1)).await.unwrap();
            tx.advance_plugin(&plugin(name), Transition::FinishInstall, &act(1)).await.unwrap();
            let mut row = TenantPluginRow::new(tenant("bank"), plugin(name), "{}".into(), 1);
            row.enabled = true;
            tx.put_tenant_plugin(&row, "tenant.enable", &act(1)).await.unwrap();
        }
        tx.commit().await.unwrap();

        let first = engine.db.list_enabled_releases("", 1).await.unwrap();
        let rest = engine.db.list_enabled_releases("acme.crm", 10).await.unwrap();

        assert_eq!(first.iter().map(|stored| stored.row.plugin_id.as_str()).collect::<Vec<_>>(), ["acme.crm"]);
        assert!(first.iter().all(|stored| stored.bundles.is_empty()));
        assert_eq!(rest.iter().map(|stored| stored.row.plugin_id.as_str()).collect::<Vec<_>>(), ["acme.mail"]);
        assert_eq!(rest.first().unwrap().bundles, [b"one".to_vec(), b"two".to_vec()]);
        let alone = engine.db.get_stored_release(&plugin("acme.mail"), &version("1.0.0")).await.unwrap();
        assert_eq!(rest, [alone]);
    })
    .await;
}

#[tokio::test]
async fn configurations_are_kept_as_numbered_revisions() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        create_tenant(&engine.db, "bank").await;
        let mut row = TenantPluginRow::new(tenant("bank"), plugin("acme.crm"), "{}".into(), 1);

        let mut tx = engine.db.begin().await.unwrap();
        for (revision, data) in (1..).zip(["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]) {
            row.configuration = data.to_owned();
            assert_eq!(tx.insert_configuration(&row, &act(1)).await.unwrap(), revision);
        }
        tx.commit().await.unwrap();

        let rows = engine.db.list_configurations(&tenant("bank"), &plugin("acme.crm"), 2).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.revision, row.data.as_str())).collect::<Vec<_>>(),
            [(3, "{\"a\":3}"), (2, "{\"a\":2}")]
        );
    })
    .await;
}

#[tokio::test]
async fn the_policy_of_the_highest_version_is_in_force() {
    for_each_engine(async |engine| {
        let policy = |version| PolicyRow {
            observed: false,
            version,
            envelope: vec![0, 1, 255],
            json: "{}".into(),
            installed_by: "anna".into(),
            installed_at: 5,
        };
        assert!(engine.db.find_policy().await.unwrap().is_none());

        let mut tx = engine.db.begin().await.unwrap();
        tx.insert_policy(&policy(2), &act(5)).await.unwrap();
        tx.insert_policy(&policy(10), &act(6)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = engine.db.begin().await.unwrap();
        let again = tx.insert_policy(&policy(10), &act(7)).await.unwrap_err();
        drop(tx);

        assert_eq!(engine.db.find_policy().await.unwrap(), Some(policy(10)));
        assert_eq!(again.code(), Code::Conflict);
    })
    .await;
}

#[tokio::test]
async fn hooks_and_stops_come_and_go() {
    for_each_engine(async |engine| {
        let hook = HookRow {
            name: "order.validate".parse().unwrap(),
            kind: HookKind::Filter,
            schema: Some("{}".into()),
            on_failure: OnFailure::Closed,
            updated_at: 3,
        };
        let crm = plugin("acme.crm");

        let mut tx = engine.db.begin().await.unwrap();
        tx.put_hook(&hook, &act(3)).await.unwrap();
        tx.put_hook(&hook, &act(3)).await.unwrap();
        tx.insert_kill(Some(&crm), None, "broken", &act(4)).await.unwrap();
        tx.insert_kill(None, None, "all", &act(5)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(engine.db.list_hooks().await.unwrap(), std::slice::from_ref(&hook));
        let kills = engine.db.list_kills().await.unwrap();
        assert_eq!(
            kills.iter().map(|kill| (kill.plugin_id.clone(), kill.reason.as_str())).collect::<Vec<_>>(),
            [(None, "all"), (Some(crm.clone()), "broken")]
        );

        let mut tx = engine.db.begin().await.unwrap();
        assert!(tx.delete_hook(&hook.name, &act(6)).await.unwrap());
        assert!(!tx.delete_hook(&hook.name, &act(6)).await.unwrap());
        assert!(tx.delete_kill(Some(&crm), None, &act(6)).await.unwrap());
        assert!(!tx.delete_kill(Some(&crm), Some(&tenant("bank")), &act(6)).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!((engine.db.list_hooks().await.unwrap().len(), engine.db.list_kills().await.unwrap().len()), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_held_version_says_why_until_it_is_released() {
    for_each_engine(async |engine| {
        register(&engine.db, "acme.crm", "1.0.0", 1).await;
        let (crm, one) = (plugin("acme.crm"), version("1.0.0"));

        let mut tx = engine.db.begin().await.unwrap();
        tx.set_held(&crm, &one, Some("failed in bank"), &act(2)).await.unwrap();
        assert_eq!(tx.get_plugin_version(&crm, &one).await.unwrap().held_reason.as_deref(), Some("failed in bank"));
        tx.set_held(&crm, &one, None, &act(3)).await.unwrap();

        assert_eq!(tx.get_plugin_version(&crm, &one).await.unwrap().held_reason, None);
        assert_eq!(tx.set_held(&crm, &version("9.9.9"), None, &act(3)).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_changed_migration_refuses_to_start() {
    for_each_engine(async |engine| {
        engine.tamper("UPDATE _sqlx_migrations SET checksum = substr(checksum, 2) WHERE version = 2").await;

        let error = Db::open(&DatabaseConfig::new(&engine.url)).await.unwrap_err();

        assert!(matches!(error, Error::Drift { number: 2 }), "{error:?}");
        assert_eq!(error.code(), Code::MigrationDrift);
    })
    .await;
}

#[tokio::test]
async fn hosts_that_start_together_migrate_once() {
    let folder = tempfile::TempDir::new().unwrap();
    for url in [format!("sqlite:{}", folder.path().display()), crate::postgres::database()] {
        let config = DatabaseConfig::new(url);

        let opened = tokio::join!(Db::open(&config), Db::open(&config), Db::open(&config), Db::open(&config));

        let all = [opened.0, opened.1, opened.2, opened.3].map(Result::unwrap);
        assert_eq!(all[3].changes().await.unwrap(), 0);
        for db in all {
            db.close().await;
        }
    }
}

#[tokio::test]
async fn an_unknown_url_is_refused() {
    for url in ["", "mysql://x", "postgres:", "/tmp/x"] {
        assert!(matches!(Db::open(&DatabaseConfig::new(url)).await, Err(Error::Url)), "{url}");
    }
}

#[tokio::test]
async fn the_hosts_own_acts_are_told_from_peoples() {
    assert_eq!(Act::system(3), Act { actor: "bulkhead".into(), at: 3 });
}
