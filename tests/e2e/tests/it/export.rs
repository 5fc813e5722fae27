//! Archives: of a tenant over HTTP and by the command line, of a plugin that is uninstalled. What goes in comes out, from
//! both engines alike, nothing of anybody else, and no name of a plugin's making is a path.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bulkhead_database::tenant::{PluginStorage, StorageConfig};
use bulkhead_database::{KvCondition, PluginStore};
use bulkhead_model::{Digest, Role};
use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::{HELLO, NOTES};
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Builder, Client, TestHost};
use reqwest::Method;
use serde_json::{Value, json};

const PERMISSIONS: [&str; 3] = ["acme.hello.hello.greet", "acme.notes.notes.view", "acme.notes.notes.edit"];
/// Milliseconds from 1970 to the year 3000.
const YEAR_3000_MS: u64 = 32_503_680_000_000;
const EXPORT: &str = "/api/v1/tenants/acme/export";

/// The files of an archive by path, in order, checked: plain files whose checksums are right and whose paths are plain.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text =
        |field: &[u8]| field.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect::<String>();
    let (mut files, mut at) = (Vec::new(), 0);
    while archive[at] != 0 {
        let header = &archive[at..at + 512];
        assert_eq!((&header[257..263], header[156]), (&b"ustar\0"[..], b'0'));
        let (name, folder) = (text(&header[..100]), text(&header[345..500]));
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let len = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        files.push((path, archive[at + 512..at + 512 + len].to_vec()));
        at += 512 + len.div_ceil(512) * 512;
    }
    assert!(archive.len() == at + 1024 && archive[at..].iter().all(|byte| *byte == 0), "the end");
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    assert!(files.iter().all(|(path, _)| path.chars().all(is_plain) && !path.contains("..") && !path.starts_with('/')));
    let (last, sums) = files.pop().unwrap();
    let wanted: String = files.iter().map(|(path, bytes)| format!("{}  {path}\n", Digest::of(bytes).hex())).collect();
    assert_eq!((last.as_str(), String::from_utf8(sums).unwrap()), ("sha256sums", wanted));
    files
}

fn file<'a>(files: &'a [(String, Vec<u8>)], path: &str) -> &'a [u8] {
    &files.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("no {path}")).1
}

fn lines(files: &[(String, Vec<u8>)], path: &str) -> Vec<Value> {
    let lines = std::str::from_utf8(file(files, path)).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn parsed(files: &[(String, Vec<u8>)], path: &str) -> Value {
    serde_json::from_slice(file(files, path)).unwrap()
}

async fn export(host: &TestHost) -> Vec<(String, Vec<u8>)> {
    let answer = host.admin().post(EXPORT).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-tar");
    let name = answer.header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"acme-20") && name.ends_with("Z.tar\""), "{name}");
    files(&answer.body)
}

fn attachment() -> Vec<u8> {
    (0..700_001_u32).map(|place| u8::try_from(place % 251).unwrap()).collect()
}

async fn write(user: &Client, title: &str) -> String {
    let note = json!({ "title": title, "body": "a\n\"b\" ü", "tags": ["red", "blue"] });
    let note = user.post_json("/api/plugins/acme.notes/notes", &note).await.expect(201).json();
    note["id"].as_str().unwrap().to_owned()
}

/// A host whose tenants have worked with tables, keys and files; and the note with a file.
async fn worked(builder: Builder) -> (TestHost, String) {
    let host = builder.tenant("acme").tenant("globex").with(HELLO).with(NOTES).await;
    let (user, stranger) = (host.user("acme", &PERMISSIONS), host.user("globex", &PERMISSIONS));
    let id = write(&user, "Plan").await;
    let request = user.route(Method::POST, "acme.notes", &format!("/notes/{id}/attachments/plan.svg"));
    send(request.header("content-type", "image/svg+xml").body(attachment())).await.expect(201);
    user.get_route("acme.hello", "/visits").await.expect(200);
    write(&stranger, "globex-secret").await;
    (host, id)
}

/// What `acme.notes` keeps in `acme`, past the plugin, which lets no strange name in.
async fn behind(host: &TestHost) -> PluginStore {
    let storage = PluginStorage::open(host.data_dir(), StorageConfig::default()).await.unwrap();
    storage.store(&"acme".parse().unwrap(), &"acme.notes".parse().unwrap(), 256 << 20)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn put(store: &PluginStore, name: &str, bytes: &[u8]) {
    let mut writer = store.blob_create(name, "text/plain", soon()).await.unwrap();
    for piece in bytes.chunks(1 << 20) {
        writer.write(piece, 1_000, soon()).await.unwrap();
    }
    writer.finish(1_000, soon()).await.unwrap();
}

/// The archive with what differs from run to run made the same.
fn comparable(files: &[(String, Vec<u8>)], id: &str) -> BTreeMap<String, String> {
    let is_time = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    fn walk(value: &mut Value, id: &str, is_time: &impl Fn(&str) -> bool) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, id, is_time)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name.ends_with("_at") && field.is_string() {
                        *field = json!("then");
                    }
                    walk(field, id, is_time);
                }
            }
            Value::String(text) if is_time(text) => *text = "then".to_owned(),
            Value::String(text) => *text = text.replace(id, "ID"),
            _ => {}
        }
    }
    let same = |(path, bytes): &(String, Vec<u8>)| {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if path.ends_with("json") => {
                let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
                values
                    .map(|value| {
                        let mut value = value.unwrap();
                        walk(&mut value, id, &is_time);
                        format!("{value}\n")
                    })
                    .collect()
            }
            _ => Digest::of(bytes).hex(),
        };
        (path.clone(), text)
    };
    files.iter().map(same).collect()
}

#[tokio::test]
async fn an_archive_holds_what_a_tenants_plugins_keep_and_nothing_of_anothers() {
    let (host, id) = worked(TestHost::new()).await;

    let found = export(&host).await;

    let manifest = parsed(&found, "manifest.json");
    assert_eq!((&manifest["tenant"], &manifest["format_version"]), (&json!("acme"), &json!(1)));
    let plugins: Vec<&Value> = manifest["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["id"]).collect();
    assert_eq!(plugins, ["acme.hello", "acme.notes"]);
    assert!(manifest["plugins"][1]["digest"].as_str().unwrap().starts_with("sha256:"));
    let notes = lines(&found, "plugins/acme.notes/tables/notes.ndjson");
    assert_eq!(notes[0]["table"], "notes");
    assert_eq!(notes[1]["body"], json!({ "type": "text", "value": "a\n\"b\" ü" }));
    assert_eq!((notes.len(), &notes[1]["id"]["value"]), (2, &json!(id)));
    let keys = lines(&found, "plugins/acme.notes/kv.ndjson");
    assert_eq!((&keys[0]["value"], &keys[0]["ttl_ms"]), (&json!("MQ=="), &Value::Null), "the counter's text `1`");
    let blobs = lines(&found, "plugins/acme.notes/blobs.ndjson");
    assert_eq!((&blobs[0]["name"], &blobs[0]["number"]), (&json!(format!("{id}/plan.svg")), &json!(1)));
    assert_eq!(blobs[0]["media_type"], "image/svg+xml");
    assert!(file(&found, "plugins/acme.notes/blobs/1") == attachment());
    assert_eq!(lines(&found, "plugins/acme.notes/migrations.ndjson").len(), 2);
    assert_eq!(parsed(&found, "plugins/acme.notes/record.json")["enabled"], true);
    assert!(found.iter().all(|(_, bytes)| !String::from_utf8_lossy(bytes).contains("globex")));
}

#[tokio::test]
async fn no_name_of_a_plugins_making_is_a_path() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    let store = behind(&host).await;
    let names = ["../../etc/passwd", "/etc/shadow", "a\nb", "sha256sums", "..", "C:\\x", "\u{202e}gnp"];
    for name in names {
        put(&store, name, name.as_bytes()).await;
        store.kv_set(name, name.into(), Some(YEAR_3000_MS), KvCondition::Always, 0, soon()).await.unwrap();
    }
    put(&store, "empty", b"").await;
    for number in 0..6 {
        let value = vec![number; 1 << 20];
        store.kv_set(&format!("large-{number}"), value, None, KvCondition::Always, 0, soon()).await.unwrap();
    }

    let found = export(&host).await;

    let blobs = lines(&found, "plugins/acme.notes/blobs.ndjson");
    assert_eq!(blobs.len(), names.len() + 1);
    for blob in &blobs {
        let bytes = file(&found, &format!("plugins/acme.notes/blobs/{}", blob["number"]));
        let wanted = blob["name"].as_str().filter(|name| *name != "empty").unwrap_or_default();
        assert_eq!((bytes, &blob["sha256"]), (wanted.as_bytes(), &json!(Digest::of(bytes).hex())));
    }
    let keys = lines(&found, "plugins/acme.notes/kv.ndjson");
    let strange = keys.iter().find(|line| line["key"] == "../../etc/passwd").unwrap();
    assert_eq!(strange["value"], "Li4vLi4vZXRjL3Bhc3N3ZA==");
    assert!((1..YEAR_3000_MS).contains(&strange["ttl_ms"].as_u64().unwrap()), "what is left of it");
    let large = keys.iter().filter(|line| line["value"].as_str().unwrap().len() == (1_usize << 20).div_ceil(3) * 4);
    assert_eq!(large.count(), 6);
}

#[tokio::test]
async fn both_engines_make_the_same_archive() {
    let (on_files, files_id) = worked(TestHost::new()).await;
    let (on_server, server_id) = worked(TestHost::on_postgres()).await;

    let (files, server) = (export(&on_files).await, export(&on_server).await);

    assert_eq!(comparable(&files, &files_id), comparable(&server, &server_id));
}

#[tokio::test]
async fn a_tenant_that_is_suspended_is_exported_and_one_that_is_not_there_is_not() {
    let (host, _) = worked(TestHost::new()).await;
    let admin = host.admin();
    admin.post("/api/v1/tenants/acme/suspend").await.expect(200);

    let suspended = export(&host).await;

    assert!(suspended.iter().any(|(path, _)| path == "plugins/acme.notes/tables/notes.ndjson"));
    assert_eq!(admin.post("/api/v1/tenants/nobody/export").await.outcome(), (404, "not-found".to_owned()));
    let others = [host.tenant_admin("acme"), host.security(), host.client("x", Some("acme"), &[Role::Host], &[])];
    for client in others {
        assert_eq!(client.post(EXPORT).await.outcome(), (403, "role-required".to_owned()));
    }
    let entries = host.security().get("/api/v1/audit?order=desc").await.expect(200).json();
    assert_eq!(
        (&entries["items"][0]["action"], &entries["items"][0]["tenant"]),
        (&json!("tenant.export"), &json!("acme"))
    );
}

#[tokio::test]
async fn a_third_archive_waits_for_one_of_two_and_a_client_that_leaves_makes_room() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    // Larger than what waits for a client that takes nothing.
    put(&behind(&host).await, "large", &vec![7; 48 << 20]).await;
    let begun = async || host.admin().request(Method::POST, EXPORT).send().await.unwrap();
    let (one, two) = (begun().await, begun().await);

    let third = host.admin().post(EXPORT).await;

    assert_eq!(third.outcome(), (503, "overloaded".to_owned()));
    drop(one);
    bulkhead_testkit::eventually("room for an archive", || async {
        (host.admin().post(EXPORT).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(two.status().as_u16(), 200);
}

#[tokio::test]
async fn an_uninstall_with_archive_drops_only_what_the_archive_holds() {
    let (host, id) = worked(TestHost::new()).await;
    let admin = host.admin();
    admin.disable("acme.notes").await.expect(200);

    let operation = admin.uninstall("acme.notes", "?data=archive").await.expect(200).json();

    assert_eq!(
        (&operation["status"], &operation["kind"]),
        (&json!("succeeded"), &json!("uninstall-archive")),
        "{operation:#}"
    );
    let folder = host.data_dir().join("archives");
    let path = folder.join(format!("acme.notes-{}.tar", operation["id"].as_str().unwrap()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let found = files(&std::fs::read(&path).unwrap());
    assert_eq!(parsed(&found, "manifest.json")["tenants"], 2);
    assert_eq!(lines(&found, "tenants/acme/plugins/acme.notes/tables/notes.ndjson")[1]["id"]["value"], json!(id));
    assert!(file(&found, "tenants/acme/plugins/acme.notes/blobs/1") == attachment());
    let theirs = lines(&found, "tenants/globex/plugins/acme.notes/tables/notes.ndjson");
    assert_eq!(theirs[1]["title"]["value"], "globex-secret");
    // The data is gone: an install begins anew, and another archive is of what is there then.
    admin.publish(&NOTES.signed_by(ALICE)).await;
    admin.install("acme.notes").await.expect(200);
    host.tenant_admin("acme").enable_here("acme.notes").await.expect(200);
    let stats = host.user("acme", &PERMISSIONS).get_route("acme.notes", "/stats").await;
    admin.disable("acme.notes").await;
    let again = admin.uninstall("acme.notes", "?data=archive").await.expect(200).json();
    assert_eq!((stats.status, &again["status"]), (200, &json!("succeeded")));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "two archives and nothing half written");
    let second = folder.join(format!("acme.notes-{}.tar", again["id"].as_str().unwrap()));
    let second = files(&std::fs::read(second).unwrap());
    assert_eq!(lines(&second, "tenants/acme/plugins/acme.notes/tables/notes.ndjson").len(), 1, "the columns alone");
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_keeps_the_data() {
    let (host, _) = worked(TestHost::new()).await;
    let admin = host.admin();
    admin.disable("acme.notes").await.expect(200);
    // A file stands where the folder would be.
    std::fs::write(host.data_dir().join("archives"), b"").unwrap();

    let begun = admin.delete("/api/v1/plugins/acme.notes?data=archive").await.expect(202);

    assert_eq!(begun.json()["status"], "running");
    assert_eq!(admin.status_of("acme.notes").await, "uninstalling");
    let host = host.restart_after(|host| std::fs::remove_file(host.data_dir().join("archives")).unwrap()).await;
    let ended = host.admin().ended(begun).await.json();
    assert_eq!(ended["status"], "succeeded");
    let path = host.data_dir().join("archives").join(format!("acme.notes-{}.tar", ended["id"].as_str().unwrap()));
    let found = files(&std::fs::read(path).unwrap());
    assert_eq!(
        lines(&found, "tenants/globex/plugins/acme.notes/tables/notes.ndjson")[1]["title"]["value"],
        "globex-secret"
    );
}

#[tokio::test]
async fn an_archive_that_is_whole_is_not_written_again_from_what_is_left() {
    let (host, _) = worked(TestHost::new()).await;
    let admin = host.admin();
    admin.disable("acme.notes").await.expect(200);
    std::fs::write(host.data_dir().join("archives"), b"").unwrap();
    let begun = admin.delete("/api/v1/plugins/acme.notes?data=archive").await.expect(202);
    let name = format!("acme.notes-{}.tar", begun.json()["id"].as_str().unwrap());

    // As a host leaves it that died while it dropped the data.
    let host = host
        .restart_after(|host| {
            let folder = host.data_dir().join("archives");
            std::fs::remove_file(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(&name), b"whole").unwrap();
            std::fs::remove_dir_all(host.data_dir().join("tenants").join("acme")).unwrap();
        })
        .await;
    let ended = host.admin().ended(begun).await.json();

    assert_eq!(ended["status"], "succeeded");
    assert_eq!(std::fs::read(host.data_dir().join("archives").join(&name)).unwrap(), b"whole");
}

#[tokio::test]
async fn an_archive_that_ends_early_is_no_whole_answer() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    let spoil = |host: &TestHost| {
        for entry in std::fs::read_dir(host.data_dir().join("tenants").join("acme")).unwrap() {
            std::fs::write(entry.unwrap().path(), [7; 10_000]).unwrap();
        }
    };
    let host = host.restart_after(spoil).await;

    let begun = host.admin().request(Method::POST, EXPORT).send().await.unwrap();

    assert_eq!(begun.status().as_u16(), 200);
    assert!(begun.bytes().await.is_err());
    host.admin().get("/api/v1/tenants/acme").await.expect(200);
}

#[tokio::test]
async fn the_command_line_writes_an_archive_whole_or_not_at_all() {
    let (host, _) = worked(TestHost::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let bulkhead = Bulkhead::at(folder.path())
        .env("BULKHEAD_SERVER", &format!("http://{}", host.address()))
        .env("BULKHEAD_TOKEN", host.admin().token());
    let path = folder.path().join("acme.tar");
    let arguments = ["tenant", "export", "acme", "--out", "acme.tar", "--json"];

    let told = bulkhead.run(arguments).expect(0).json();
    let first = std::fs::read(&path).unwrap();
    let kept = bulkhead.run(arguments);
    bulkhead.run(["tenant", "export", "nobody", "--out", "other.tar"]).expect(4);

    assert_eq!(told["size_bytes"], json!(first.len()));
    assert!(files(&first).len() > 10);
    assert!(kept.code != 0 && std::fs::read(&path).unwrap() == first);
    bulkhead.run(arguments.into_iter().chain(["--force"])).expect(0);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["acme.tar"]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
