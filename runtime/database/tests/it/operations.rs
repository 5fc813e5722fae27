//! Long work as it is stored, on both engines: found after a restart, one host's at a time, with a result for each tenant.

use bulkhead_database::{DatabaseConfig, Db, NewOperation, OperationEnd, OperationResult};

use crate::engines::{for_each_engine, plugin, tenant, version};

#[tokio::test]
async fn a_running_operation_is_found_after_a_restart_and_ends_once() {
    for_each_engine(async |engine| {
        let new = NewOperation {
            kind: "install",
            plugin_id: &plugin("acme.crm"),
            version: &version("1.0.0"),
            request: "{}",
            actor: "anna",
        };
        let mut tx = engine.db.begin().await.unwrap();
        let operation = tx.insert_operation(&new, 1).await.unwrap();
        tx.commit().await.unwrap();
        engine.db.set_operation_steps(&operation.operation_id, "[1]", 2).await.unwrap();

        let restarted = Db::open(&DatabaseConfig::new(&engine.url)).await.unwrap();
        let running = restarted.list_running_operations().await.unwrap();
        assert_eq!(running.iter().map(|row| row.steps.as_str()).collect::<Vec<_>>(), ["[1]"]);

        let mut tx = restarted.begin().await.unwrap();
        let failed = OperationEnd::Failed { code: "conflict", detail: "why".into() };
        tx.finish_operation(&operation.operation_id, "[2]", &failed, 3).await.unwrap();
        tx.finish_operation(&operation.operation_id, "[3]", &OperationEnd::Succeeded, 4).await.unwrap();
        tx.commit().await.unwrap();
        let ended = restarted.find_operation(&operation.operation_id).await.unwrap().unwrap();
        assert_eq!(
            (ended.status.as_str(), ended.steps.as_str(), ended.error_code.as_deref()),
            ("failed", "[2]", Some("conflict"))
        );
        assert!(restarted.list_running_operations().await.unwrap().is_empty());
        restarted.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_operation_is_one_hosts_at_a_time_and_another_takes_up_what_a_dead_one_left() {
    for_each_engine(async |engine| {
        let (crm, one) = (plugin("acme.crm"), version("1.0.0"));
        let new = NewOperation { kind: "migrate", plugin_id: &crm, version: &one, request: "{\"a\":1}", actor: "anna" };
        let mut tx = engine.db.begin().await.unwrap();
        let id = tx.insert_operation(&new, 1).await.unwrap().operation_id;

        let mut held = Vec::new();
        for (holder, now, until) in
            [("one", 10, 20), ("two", 15, 25), ("one", 18, 30), ("two", 31, 40), ("one", 32, 50)]
        {
            held.push(tx.hold_operation(&id, holder, now, until).await.unwrap());
        }
        let result = |outcome: &str| OperationResult {
            tenant_id: tenant("bank"),
            outcome: outcome.to_owned(),
            detail: "{}".to_owned(),
            at: 5,
        };
        tx.put_operation_result(&id, &result("failed")).await.unwrap();
        tx.put_operation_result(&id, &result("done")).await.unwrap();
        tx.finish_operation(&id, "[]", &OperationEnd::Succeeded, 41).await.unwrap();
        let after_its_end = tx.hold_operation(&id, "two", 60, 70).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(held, [true, false, true, true, false]);
        assert!(!after_its_end);
        assert_eq!(engine.db.find_operation(&id).await.unwrap().unwrap().request, "{\"a\":1}");
        assert_eq!(engine.db.list_operation_results(&id, "", 10).await.unwrap(), [result("done")]);
        assert!(engine.db.list_operation_results(&id, "bank", 10).await.unwrap().is_empty());
    })
    .await;
}
