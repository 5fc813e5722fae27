//! The account of fuel, on both engines: it adds up over writers, and goes with its tenant.

use bulkhead_database::{Act, Db, FuelRow};

use crate::engines::{for_each_engine, plugin, tenant};

fn row(of: &str, within: &str, entry: &str, calls: u64, fuel_units: u64) -> FuelRow {
    FuelRow { plugin_id: plugin(of), tenant_id: tenant(within), entry: entry.to_owned(), calls, fuel_units }
}

async fn add(db: &Db, month: &str, rows: &[FuelRow]) {
    let mut tx = db.begin().await.unwrap();
    for row in rows {
        tx.add_fuel(month, row, 1).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn tenants(db: &Db, names: &[&str]) {
    let mut tx = db.begin().await.unwrap();
    for name in names {
        tx.insert_tenant(&tenant(name), &Act::system(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_is_burnt_adds_up_by_month_plugin_tenant_and_entry() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        tenants(db, &["bank", "globex"]).await;
        add(db, "2026-10", &[row("acme.crm", "bank", "route", 9, 900)]).await;
        add(db, "2026-11", &[row("acme.crm", "bank", "route", 1, 10), row("acme.crm", "bank", "filter", 2, 20)]).await;
        add(db, "2026-11", &[row("acme.crm", "bank", "route", 3, 30), row("acme.crm", "globex", "route", 4, 40)]).await;

        let (crm, bank) = (plugin("acme.crm"), tenant("bank"));
        let of_bank = [row("acme.crm", "bank", "filter", 2, 20), row("acme.crm", "bank", "route", 4, 40)];
        assert_eq!(db.find_fuel("2026-11", &crm, &bank).await.unwrap(), of_bank);
        assert_eq!(db.list_plugin_fuel("2026-11", &crm, "", 1).await.unwrap(), of_bank);
        assert_eq!(
            db.list_plugin_fuel("2026-11", &crm, "bank", 1).await.unwrap(),
            [row("acme.crm", "globex", "route", 4, 40)]
        );
        let sums = db.list_month_fuel("2026-11", None, 1).await.unwrap();
        assert_eq!(sums, [(crm.clone(), bank.clone(), 60)]);
        let rest = db.list_month_fuel("2026-11", Some((&crm, &bank)), 10).await.unwrap();
        assert_eq!(rest, [(crm.clone(), tenant("globex"), 40)]);
    })
    .await;
}

#[tokio::test]
async fn an_account_ends_with_its_tenant_and_with_its_time() {
    for_each_engine(async |engine| {
        let db = &engine.db;
        tenants(db, &["bank", "globex"]).await;
        let rows = [row("acme.crm", "bank", "route", 1, 1), row("acme.crm", "globex", "route", 1, 1)];
        add(db, "2024-11", &rows).await;
        add(db, "2026-11", &rows).await;

        let mut tx = db.begin().await.unwrap();
        tx.delete_tenant(&tenant("bank"), &Act::system(2)).await.unwrap();
        tx.delete_fuel_before("2026-11").await.unwrap();
        tx.commit().await.unwrap();
        // A host that has not heard of it yet writes on.
        add(db, "2026-11", &rows).await;

        let left = async |month| db.list_month_fuel(month, None, 10).await.unwrap();
        assert_eq!(left("2024-11").await, []);
        assert_eq!(left("2026-11").await, [(plugin("acme.crm"), tenant("globex"), 2)]);
    })
    .await;
}
