//! Migrations over a thousand tenants by two hosts at once: every step once, a failure in its tenant alone, a second run
//! repairs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_database::tenant::{MigrationError, PluginMigration, Run};
use bulkhead_model::{Code, Coded as _};
use tokio::task::JoinSet;

use crate::engines::{plugin, tenant};
use crate::stores::{QUOTA_BYTES, Stores, execute, migration, server_config};

const TENANTS: usize = 1_000;
const SPOILT: [usize; 3] = [7, 500, 999];
/// Tenants that one host migrates at once.
const AT_ONCE: usize = 4;
const STEPS: [&str; 5] = [
    "CREATE TABLE notes (id bigint PRIMARY KEY, title text NOT NULL); CREATE TABLE tags (name text PRIMARY KEY);",
    "ALTER TABLE notes ADD COLUMN author text; UPDATE notes SET author = 'nobody' WHERE author IS NULL;",
    "CREATE UNIQUE INDEX notes_by_title ON notes (title);",
    "CREATE TABLE marks (note_id bigint PRIMARY KEY, mark bigint NOT NULL CHECK (mark < 10));",
    "CREATE INDEX marks_by_mark ON marks (mark);",
];

fn steps(count: usize) -> Vec<PluginMigration> {
    (1..).zip(STEPS).take(count).map(|(number, sql)| migration(number, sql)).collect()
}

/// How each tenant fared: the numbers of the steps that this run did, or the code of its failure.
type Outcomes = BTreeMap<usize, Result<Vec<u32>, Code>>;

/// One host's run over all tenants in this order.
async fn run(stores: &Arc<Stores>, order: impl Iterator<Item = usize>) -> Outcomes {
    let mut running = JoinSet::new();
    let mut outcomes = Outcomes::new();
    for number in order {
        if running.len() >= AT_ONCE {
            outcomes.extend(running.join_next().await.map(Result::unwrap));
        }
        let stores = Arc::clone(stores);
        running.spawn(async move {
            let store = stores.storage.store(&tenant(&format!("tenant-{number}")), &plugin("acme.notes"), QUOTA_BYTES);
            let outcome = store.migrate(steps(5), Run::Apply, 7).await;
            let outcome = outcome.map(|applied| applied.iter().map(|step| step.number).collect());
            (number, outcome.map_err(|error: MigrationError| error.code()))
        });
    }
    while let Some(ended) = running.join_next().await {
        outcomes.extend([ended.unwrap()]);
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_migrate_a_thousand_tenants_at_once_do_no_step_twice() {
    let url = crate::postgres::database();
    let one = Arc::new(Stores::on_database(url.clone(), server_config()).await);
    let two = Arc::new(Stores::on_database(url, server_config()).await);
    for number in SPOILT {
        let store = one.storage.store(&tenant(&format!("tenant-{number}")), &plugin("acme.notes"), QUOTA_BYTES);
        store.migrate(steps(1), Run::Apply, 7).await.unwrap();
        execute(&store, "INSERT INTO notes (id, title) VALUES (1, 'same'), (2, 'same')").await.unwrap();
    }

    let (of_one, of_two) = tokio::join!(run(&one, 0..TENANTS), run(&two, (0..TENANTS).rev()));
    let failed = |outcomes: &Outcomes| -> Vec<usize> {
        outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(number, _)| *number).collect()
    };
    assert_eq!((failed(&of_one), failed(&of_two)), (SPOILT.to_vec(), SPOILT.to_vec()));
    for number in 0..TENANTS {
        let [one, two] = [&of_one, &of_two].map(|outcomes| outcomes.get(&number).unwrap().clone());
        match (one, two) {
            (Ok(mut done), Ok(others)) => {
                done.extend(others);
                done.sort_unstable();
                assert_eq!(done, [1, 2, 3, 4, 5], "tenant {number}");
            }
            failures => {
                assert_eq!(failures, (Err(Code::MigrationFailed), Err(Code::MigrationFailed)), "tenant {number}");
            }
        }
    }

    for number in SPOILT {
        let store = two.storage.store(&tenant(&format!("tenant-{number}")), &plugin("acme.notes"), QUOTA_BYTES);
        let failed = store.failed_migration().await.unwrap().unwrap();
        assert_eq!(failed.number, 3);
        assert!(failed.error.contains("unique"), "{}", failed.error);
        execute(&store, "UPDATE notes SET title = 'other' WHERE id = 2").await.unwrap();
    }
    let again = run(&one, 0..TENANTS).await;

    let repaired: Vec<_> = again.into_iter().filter(|(_, outcome)| *outcome != Ok(Vec::new())).collect();
    assert_eq!(repaired, SPOILT.map(|number| (number, Ok(vec![3, 4, 5]))));
    one.close().await;
    two.close().await;
}
