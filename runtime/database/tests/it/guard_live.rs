//! What the guard prints, run on the engines: all that it says both read, both do.
//! Hostile cases are the matter of the attack suites.

use bulkhead_database::tenant::guard::{self, Kind};

use crate::guard_cases::{self, Case};
use crate::stores::{Stores, execute, for_each_store, migrate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_run_what_the_guard_prints() {
    for_each_store(async |stores| {
        let store = stores.with_schema("live", &script(&guard_cases::setup())).await;
        let of_engine = stores.either(
            [guard_cases::functions_sqlite(), Vec::new()],
            [guard_cases::functions_postgres(), guard_cases::benign_postgres()],
        );

        let mut wrong = Vec::new();
        let cases = [guard_cases::benign(), guard_cases::functions()].into_iter().chain(of_engine).flatten();
        for case in cases {
            for text in &case.statements {
                let checked = guard::check(text, Kind::Execute).unwrap();
                if checked.parameters > 0 {
                    continue;
                }
                if let Err(error) = execute(&store, &checked.text).await {
                    wrong.push(format!("{case}: {error}: {}", checked.text));
                }
            }
        }

        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_run_the_migrations_that_the_guard_prints() {
    for_each_store(async |stores: &Stores| {
        let store = stores.empty("live");
        let of_engine = stores.either(guard_cases::migrations_good_sqlite(), guard_cases::migrations_good_postgres());
        let scripts: Vec<_> = [guard_cases::setup(), guard_cases::migrations_good(), of_engine]
            .iter()
            .flatten()
            .map(|case| script(std::slice::from_ref(case)))
            .collect();
        let scripts: Vec<_> = scripts.iter().map(String::as_str).collect();

        migrate(&store, &scripts).await.unwrap();
    })
    .await;
}

/// The printed statements of these cases as one script.
fn script(cases: &[Case]) -> String {
    let statements = cases.iter().flat_map(|case| guard::check_script(&case.script()).unwrap());
    statements.map(|checked| checked.text + ";\n").collect()
}
