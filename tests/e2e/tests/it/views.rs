//! Views: a plugin reads what another publishes in the same tenant, under a grant, and nothing else of it. On both engines,
//! through real components.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bulkhead_testkit::guests::{BOARD, NOTES, component, plain};
use bulkhead_testkit::host::Builder;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Client, Source, TestHost, eventually, policies};
use bulkhead_trust::File;
use serde_json::{Value, json};

const PERMISSIONS: [&str; 4] =
    ["acme.notes.notes.view", "acme.notes.notes.edit", "acme.board.board.view", "acme.board.board.explore"];
const DENIED: &str = "statement denied: `view`";
const NOT_GRANTED: &str = "statement denied: `grant:views`";
const UNAVAILABLE: &str = "storage is not available for the moment";
/// Reads of one of four readers: together fewer than a plugin's burst of calls.
const READS_MAX: usize = 45;
/// Rows from 1 to 9,000.
const MANY: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)";
/// Reads for ever.
const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS total FROM n";
/// A table with a column of every type that is the same on both engines.
const SHELF: &str = "CREATE TABLE shelf (id bigint PRIMARY KEY, b boolean, f double precision, t text, at timestamp, u uuid, \
     n numeric(8, 2), secret text)";

/// Each test runs on both engines.
fn builders() -> [Builder; 2] {
    [TestHost::new(), TestHost::on_postgres()]
}

fn file(text: &str) -> File {
    File { media_type: "application/sql".to_owned(), bytes: text.as_bytes().to_vec() }
}

/// The notes with further views: name, version, SELECT.
fn notes_with(views: &[(&str, u32, &str)]) -> Source {
    let mut source = NOTES.source();
    for (name, version, text) in views {
        let path = format!("views/{name}-{version}.sql");
        source.assets.insert(&path, file(text)).unwrap();
        let view = json!({ "name": name, "version": version, "sql": path });
        source.manifest.views.provides.push(serde_json::from_value(view).unwrap());
    }
    source
}

/// The board with further views of the notes that it uses.
fn board_with(views: &[(&str, u32)]) -> Source {
    let mut source = BOARD.source();
    for (view, version) in views {
        let used = json!({ "plugin": "acme.notes", "view": view, "version": version });
        source.manifest.views.uses.push(serde_json::from_value(used).unwrap());
    }
    source
}

/// A host of two tenants with these notes and this board.
async fn start(builder: Builder, notes: &Source, board: &Source) -> TestHost {
    let releases = [notes.signed_by(ALICE), board.signed_by(ALICE)];
    releases.into_iter().fold(builder.tenant("acme").tenant("globex"), Builder::with_release).await
}

fn user(host: &TestHost, name: &str, tenant: &str) -> Client {
    host.client(name, Some(tenant), &[], &PERMISSIONS)
}

async fn write(user: &Client, title: &str) {
    let note = json!({ "title": title, "body": format!("the text of {title}"), "tags": ["red"] });
    user.post_json("/api/plugins/acme.notes/notes", &note).await.expect(201);
}

/// The rows of a view, or why there are none.
async fn read(user: &Client, view: &str, equals: Value, limit: u32) -> Result<Vec<Value>, String> {
    read_of(user, "acme.notes", view, equals, limit).await
}

async fn read_of(user: &Client, plugin: &str, view: &str, equals: Value, limit: u32) -> Result<Vec<Value>, String> {
    let read = json!({ "plugin": plugin, "view": view, "equals": equals, "limit": limit });
    let answer = user.post_json("/api/plugins/acme.board/read", &read).await;
    let body = answer.json();
    match answer.status {
        200 => Ok(body["rows"].as_array().unwrap().clone()),
        422 => Err(body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()),
        other => panic!("{other}: {body}"),
    }
}

async fn reason(user: &Client, view: &str) -> String {
    reason_at(user, view, json!([]), 10).await
}

async fn reason_at(user: &Client, view: &str, equals: Value, limit: u32) -> String {
    read(user, view, equals, limit).await.unwrap_err()
}

async fn titles(user: &Client, query: &str) -> Vec<String> {
    let board = user.get_route("acme.board", &format!("/board{query}")).await.expect(200).json();
    board.as_array().unwrap().iter().map(|entry| entry["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_plugin_reads_what_another_publishes_and_nothing_else_of_it() {
    for builder in builders() {
        let host = start(builder, &NOTES.source(), &BOARD.source()).await;
        let (ada, bo) = (user(&host, "ada", "acme"), user(&host, "bo", "acme"));
        write(&ada, "first").await;
        write(&bo, "second").await;
        write(&ada, "third").await;

        assert_eq!(titles(&ada, "").await, ["third", "second", "first"]);
        assert_eq!(titles(&bo, "?author=ada").await, ["third", "first"]);
        assert_eq!(titles(&bo, "?author=ada&limit=1").await, ["third"]);
        assert_eq!(titles(&bo, "?author=x'%20OR%20'1'='1").await, [""; 0]);
        let rows = read(&ada, "notes", json!([["title", "second"], ["revision", 1]]), 10).await.unwrap();
        assert_eq!((rows.len(), rows[0][2].as_str(), rows[0].as_array().unwrap().len()), (1, Some("bo"), 6));
        assert!(!rows[0].to_string().contains("the text of"), "a note's text is not published");

        for view in
            ["note_tags", "Notes", "notes ", "notes\"", "", "sqlite_master", "pg_class", "../notes", "notes\u{0}"]
        {
            assert_eq!(reason(&ada, view).await, DENIED, "{view:?}");
        }
        for plugin in ["acme.board", "acme.note", "ACME.NOTES", "acme.notes ", "", "acme__notes", "globex"] {
            assert_eq!(read_of(&ada, plugin, "notes", json!([]), 10).await.unwrap_err(), DENIED, "{plugin:?}");
        }
        for column in
            ["body", "rowid", "ctid", "tableoid", "VIEW", "count", "row_to_json", "id\" = id OR \"id", "Title", ""]
        {
            let refused = read(&ada, "notes", json!([["id", "x"], [column, null]]), 10).await.unwrap_err();
            assert_eq!(refused, "parameter $2 does not fit: wanted a column of the view", "{column:?}");
        }
    }
}

#[tokio::test]
async fn a_column_of_any_type_is_asked_for_and_comes_back_through_a_view() {
    for (builder, at, engine) in
        [(TestHost::new(), "7", "sqlite"), (TestHost::on_postgres(), "'1970-01-01 00:00:00.000007'", "postgres")]
    {
        let shelf = "SELECT id, b, f, t, at, u, n FROM shelf";
        let backwards = "SELECT id FROM shelf ORDER BY id DESC -- the last first\n;";
        let mut notes = notes_with(&[("shelf", 1, shelf), ("backwards", 1, backwards)]);
        let row = format!(
            "INSERT INTO shelf (id, b, f, t, at, u, n, secret) VALUES \
             (1, true, 0.5, 'one', {at}, '00000000-0000-0001-0000-000000000002', 12.5, 'hunter2'), \
             (2, NULL, NULL, NULL, NULL, NULL, NULL, 'hunter3')"
        );
        notes.migrations.insert("0003_shelf.sql", file(&format!("{SHELF};\n{row}"))).unwrap();
        let host = start(builder, &notes, &board_with(&[("shelf", 1), ("backwards", 1)])).await;
        let user = user(&host, "ada", "acme");

        let digits = if engine == "sqlite" { "12.5" } else { "12.50" };
        let one = json!([1, true, 0.5, "one", { "timestamp": 7 }, { "uuid": [1, 2] }, { "decimal": digits }]);
        assert_eq!(read(&user, "shelf", json!([]), 1).await.unwrap(), std::slice::from_ref(&one), "{engine}");
        for (name, value) in ["id", "b", "f", "t", "at", "u", "n"].iter().zip(one.as_array().unwrap()) {
            let found = read(&user, "shelf", json!([[name, value]]), 10).await;
            assert_eq!(found, Ok(vec![one.clone()]), "{engine}: {name}");
            let without = read(&user, "shelf", json!([[name, null]]), 10).await.unwrap();
            let wanted: &[Value] = if *name == "id" { &[] } else { &[json!(2)] };
            let found: Vec<Value> = without.iter().map(|row| row[0].clone()).collect();
            assert_eq!(found, wanted, "{engine}: {name}");
        }
        assert_eq!(read(&user, "backwards", json!([]), 10).await.unwrap(), [json!([2]), json!([1])], "{engine}");
        let json = read(&user, "shelf", json!([["t", { "json": "1" }]]), 10).await.unwrap_err();
        assert_eq!(json, "parameter $1 does not fit: wanted a value that is no JSON");
    }
}

#[tokio::test]
async fn a_read_has_bounds_whatever_is_asked() {
    for builder in builders() {
        let wide = format!("{MANY} SELECT i, '{}' AS wide FROM n", "x".repeat(1_000));
        let notes = notes_with(&[("wide", 1, &wide), ("endless", 1, ENDLESS)]);
        let host = start(builder, &notes, &board_with(&[("wide", 1), ("endless", 1)])).await;
        let user = user(&host, "ada", "acme");

        assert_eq!(read(&user, "wide", json!([]), 100).await.unwrap().len(), 100);
        assert_eq!(reason_at(&user, "wide", json!([]), 10_000).await, "storage limit `bytes` reached");
        assert_eq!(reason(&user, "endless").await, "storage limit `deadline` reached");
        for limit in [0, 10_001, u32::MAX] {
            let refused = reason_at(&user, "notes", json!([]), limit).await;
            assert_eq!(refused, "statement or key not understood: a limit of 1 to 10000 rows", "{limit}");
        }
        let many = vec![json!(["id", "x"]); 65];
        assert_eq!(reason_at(&user, "notes", json!(many), 1).await, "storage limit `parameters` reached");
        assert_eq!(read(&user, "notes", json!(many[..64]), 1).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_view_is_read_only_while_its_plugin_serves_the_tenant() {
    for builder in builders() {
        let host =
            start(builder, &NOTES.source(), &BOARD.source().edit(|manifest| manifest.dependencies.clear())).await;
        let (here, there) = (user(&host, "ada", "acme"), user(&host, "ada", "globex"));
        let (admin, tenant_admin) = (host.admin(), host.tenant_admin("acme"));
        let check = async |wanted: Result<usize, &str>, elsewhere: Result<usize, &str>| {
            for (user, wanted) in [(&here, wanted), (&there, elsewhere)] {
                let found = read(user, "notes", json!([]), 10).await.map(|rows| rows.len());
                assert_eq!(found, wanted.map_err(str::to_owned));
            }
        };
        write(&here, "note").await;
        check(Ok(1), Ok(0)).await;

        tenant_admin.disable_here("acme.notes").await.expect(200);
        check(Err(UNAVAILABLE), Ok(0)).await;
        tenant_admin.enable_here("acme.notes").await.expect(200);
        check(Ok(1), Ok(0)).await;

        admin.kill_in("acme.notes", "acme").await.expect(200);
        check(Err(UNAVAILABLE), Ok(0)).await;
        admin.revive_in("acme.notes", "acme").await.expect(200);
        check(Ok(1), Ok(0)).await;
        admin.kill("acme.notes").await.expect(200);
        check(Err(UNAVAILABLE), Err(UNAVAILABLE)).await;
        admin.revive("acme.notes").await.expect(200);
        check(Ok(1), Ok(0)).await;

        admin.disable("acme.notes").await.expect(200);
        check(Err(UNAVAILABLE), Err(UNAVAILABLE)).await;
        admin.enable("acme.notes").await.expect(200);
        check(Ok(1), Ok(0)).await;

        // A plugin that was stopped when its host started publishes as soon as the stop ends.
        admin.kill_in("acme.notes", "acme").await.expect(200);
        let host = host.restart().await;
        let here = user(&host, "ada", "acme");
        here.ready("acme.board").await;
        assert_eq!(read(&here, "notes", json!([]), 10).await, Err(UNAVAILABLE.to_owned()));
        host.admin().revive_in("acme.notes", "acme").await.expect(200);
        here.ready("acme.notes").await;
        assert_eq!(titles(&here, "").await, ["note"]);
    }
}

#[tokio::test]
async fn a_view_needs_the_use_the_grant_and_the_version() {
    for builder in builders() {
        let titles_alone = "SELECT id, title FROM notes";
        let notes = notes_with(&[("notes", 3, titles_alone), ("unused", 1, titles_alone)]);
        let board = board_with(&[("absent", 1)]);
        let host = start(builder, &notes, &board).await;
        let user = user(&host, "ada", "acme");
        let tenant_admin = host.tenant_admin("acme");
        let consent = async |plugin: &str, interfaces: &[&str]| {
            let path = format!("/api/v1/tenant/plugins/{plugin}/consent");
            tenant_admin.post_json(&path, &json!({ "interfaces": interfaces })).await.expect(200)
        };
        write(&user, "note").await;
        let width = async || read(&user, "notes", json!([]), 10).await.map(|rows| rows[0].as_array().unwrap().len());

        // The version that the manifest names, though there is a later one.
        assert_eq!(width().await, Ok(6));
        assert_eq!(reason(&user, "unused").await, DENIED);
        assert_eq!(reason(&user, "absent").await, DENIED);
        assert_eq!(consent("acme.board", &[]).await.json()["requested"], json!(["bulkhead:plugin/views"]));
        assert_eq!(reason(&user, "notes").await, NOT_GRANTED);
        consent("acme.board", &["sql", "kv", "blob"]).await;
        assert_eq!(reason(&user, "notes").await, NOT_GRANTED);
        consent("acme.board", &["views"]).await;
        assert_eq!(width().await, Ok(6));

        for (release, version, wanted) in [("0.2.0", 3, Ok(2)), ("0.3.0", 2, Err(DENIED.to_owned()))] {
            let newer = BOARD.source().version(release).edit(|manifest| manifest.views.uses[0].version = version);
            update(&host, &newer).await;
            assert_eq!(width().await, wanted, "version {version}");
        }
    }
}

/// Another version of a plugin takes the place of the one that is there, in all tenants.
async fn update(host: &TestHost, newer: &Source) {
    let (admin, release) = (host.admin(), newer.signed_by(ALICE));
    admin.disable(&release.id).await.expect(200);
    admin.uninstall(&release.id, "?data=keep").await.expect(200);
    admin.install_release(&release).await;
    admin.enable(&release.id).await.expect(200);
}

#[tokio::test]
async fn a_plugin_that_changes_its_tables_keeps_its_views_or_withdraws_them() {
    for builder in builders() {
        let board = BOARD.source().edit(|manifest| manifest.dependencies.clear());
        let host = start(builder, &NOTES.source(), &board).await;
        let user = user(&host, "ada", "acme");
        write(&user, "note").await;
        let rows = read(&user, "notes", json!([]), 10).await.unwrap();

        let mut changed = NOTES.source().version("0.2.0");
        changed.migrations.insert("0003_a.sql", file("ALTER TABLE notes ADD COLUMN color text")).unwrap();
        update(&host, &changed).await;
        assert_eq!(read(&user, "notes", json!([]), 10).await, Ok(rows));

        update(&host, &changed.version("0.3.0").edit(|manifest| manifest.views.provides.clear())).await;
        assert_eq!(reason(&user, "notes").await, DENIED);
    }
}

#[tokio::test]
async fn who_may_not_read_its_own_tables_publishes_none() {
    const IDLE: &str = r#"(module
        (import "bulkhead:plugin/sql@0.1.0" "query" (func (param i32 i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable))"#;
    for builder in builders() {
        let manifest = "[plugin]\nid = \"test.idle\"\nversion = \"0.1.0\"\nname = \"Idle\"\n\
             [[views.provides]]\nname = \"one\"\nversion = 1\nsql = \"one.sql\"\n[capabilities]\nsql = true\n";
        let mut idle = plain(manifest, component(IDLE, &["sql"], &[]));
        idle.assets.insert("one.sql", file("SELECT 1 AS one")).unwrap();
        let board = BOARD.source().edit(|manifest| {
            manifest.dependencies.clear();
            manifest.views.uses[0].plugin = "test.idle".parse().unwrap();
            manifest.views.uses[0].view = "one".parse().unwrap();
        });
        let host = start(builder, &idle, &board).await;
        let user = user(&host, "ada", "acme");
        let one = async || read_of(&user, "test.idle", "one", json!([["one", 1]]), 5).await;

        assert_eq!(one().await, Ok(vec![json!([1])]));
        let path = "/api/v1/tenant/plugins/test.idle/consent";
        host.tenant_admin("acme").post_json(path, &json!({ "interfaces": [] })).await.expect(200);
        assert_eq!(one().await, Err(DENIED.to_owned()));
    }
}

#[tokio::test]
async fn a_ceiling_without_views_lets_no_reader_in() {
    let ceiling =
        policies::STANDARD.replace("\"bulkhead:plugin/*\"", "\"bulkhead:plugin/sql\", \"bulkhead:plugin/kv\"");
    let host = TestHost::new().tenant("acme").policy(&ceiling).await;

    let refused = host.admin().publish(&BOARD.signed_by(ALICE)).await;

    assert_eq!(refused.outcome(), (403, "capability-over-ceiling".to_owned()));
    assert!(refused.text().contains("bulkhead:plugin/views"), "{}", refused.text());
}

#[tokio::test]
async fn what_is_no_select_is_refused_before_anybody_has_the_plugin() {
    let host = TestHost::new().await;
    let check = async |text: &str, wanted: &str| {
        let refused = host.admin().publish(&notes_with(&[("more", 1, text)]).signed_by(ALICE)).await;
        let problem = refused.problem();
        assert_eq!((refused.status, &problem["code"]), (422, &json!("malformed")), "{text}: {problem}");
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], "/views/provides/1/sql", "{text}: {problem}");
        assert!(error["message"].as_str().unwrap().starts_with(wanted), "{text}: {problem}");
    };

    check("DELETE FROM notes", "malformed: statement:write").await;
    check("SELECT 1 AS one; DELETE FROM notes", "malformed: multiple-statements").await;
    check("SELECT 1 AS one) UNION (SELECT 2", "malformed: syntax").await;
    check("SELECT id FROM notes WHERE id = $1", "malformed: parameter").await;
    check("SELECT tablename FROM pg_tables", "malformed: name").await;
    check("SELECT id FROM other.notes", "malformed: schema").await;
    check("SELECT pg_sleep(1) AS slept", "malformed: function").await;
    check("", "malformed: syntax").await;
    assert_eq!(host.admin().plugins().await.len(), 0);
}

#[tokio::test]
async fn a_view_that_cannot_be_read_fails_the_enable_and_says_which() {
    for builder in builders() {
        let host = builder.tenant("acme").await;
        host.admin().install_release(&notes_with(&[("broken", 4, "SELECT nothing FROM notes")]).signed_by(ALICE)).await;

        let failed = host.tenant_admin("acme").enable_here("acme.notes").await;

        let (problem, here) = (failed.problem(), host.tenant_admin("acme").get("/api/v1/tenant/plugins").await.json());
        assert_eq!(failed.outcome(), (409, "view-broken".to_owned()));
        let wanted =
            "a view of `acme.notes` is broken: the view `broken` version 4 cannot be read: invalid: no such column";
        assert!(problem["detail"].as_str().unwrap().starts_with(wanted), "{problem}");
        assert_eq!(here["items"][0]["status"], "failed");
        assert!(here["items"][0]["last_error"].as_str().unwrap().starts_with("view-broken: a view of"), "{here}");
    }
}

/// Reads one note again and again, at most [`READS_MAX`] times.
async fn read_on(user: Client, is_over: Arc<AtomicBool>) {
    for _ in 0..READS_MAX {
        match read(&user, "notes", json!([]), 10).await {
            Ok(rows) => assert_eq!(rows.len(), 1),
            Err(reason) => assert_eq!(reason, UNAVAILABLE),
        }
        if is_over.load(Ordering::SeqCst) {
            return;
        }
    }
}

#[tokio::test]
async fn nobody_reads_what_a_plugin_leaves_behind_while_it_goes() {
    for builder in builders() {
        let board = BOARD.source().edit(|manifest| manifest.dependencies.clear());
        let host = start(builder, &NOTES.source(), &board).await;
        let user = user(&host, "ada", "acme");
        write(&user, "note").await;
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4).map(|_| tokio::spawn(read_on(user.clone(), Arc::clone(&is_over)))).collect();

        host.admin().disable("acme.notes").await.expect(200);
        host.admin().uninstall("acme.notes", "?data=drop").await.expect(200);

        is_over.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(reason(&user, "notes").await, UNAVAILABLE);
        let left: Vec<_> = std::fs::read_dir(host.data_dir().join("tenants/acme")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        host.admin().install_release(&NOTES.source().version("0.2.0").signed_by(ALICE)).await;
        host.tenant_admin("acme").enable_here("acme.notes").await.expect(200);
        assert_eq!(read(&user, "notes", json!([]), 10).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn a_host_beside_reads_the_same_views() {
    let host = start(TestHost::on_postgres(), &NOTES.source(), &BOARD.source()).await;
    let beside = host.another().await;
    let (first, second) = (user(&host, "ada", "acme"), user(&beside, "ada", "acme"));
    second.ready("acme.board").await;
    second.ready("acme.notes").await;

    write(&first, "note").await;
    assert_eq!(titles(&second, "").await, ["note"]);

    host.admin().kill_in("acme.notes", "acme").await.expect(200);
    eventually("a stop that holds on the host beside", || async {
        (read(&second, "notes", json!([]), 10).await == Err(UNAVAILABLE.to_owned())).then_some(())
    })
    .await;
}
