//! A plugin's blobs through the product: files beside a note, by names that are no paths, private to their tenant.

use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::NOTES;
use bulkhead_testkit::{Answer, Builder, Client, TestHost};
use reqwest::Method;
use serde_json::json;

const VIEW: &str = "acme.notes.notes.view";
const EDIT: &str = "acme.notes.notes.edit";
/// Most bytes of a request, headers and path included, and of an answer.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Bytes that no text has.
fn picture(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|place| u8::try_from((place + usize::from(seed)) % 251).unwrap()).collect()
}

async fn write_note(user: &Client) -> String {
    let note = user.post_json("/api/plugins/acme.notes/notes", &json!({ "title": "Plan" })).await.expect(201).json();
    note["id"].as_str().unwrap().to_owned()
}

async fn write(user: &Client, note: &str, name: &str, body: Vec<u8>) -> Answer {
    let request = user.route(Method::POST, "acme.notes", &format!("/notes/{note}/attachments/{name}"));
    send(request.header("content-type", "image/svg+xml").body(body)).await
}

async fn read(user: &Client, note: &str, name: &str) -> Answer {
    user.get_route("acme.notes", &format!("/notes/{note}/attachments/{name}")).await
}

async fn delete(user: &Client, path: &str) -> Answer {
    send(user.route(Method::DELETE, "acme.notes", path)).await
}

#[tokio::test]
async fn a_file_comes_back_as_it_went_and_outlives_the_host() {
    comes_back(TestHost::new()).await;
    comes_back(TestHost::on_postgres()).await;
}

async fn comes_back(builder: Builder) {
    let host = builder.tenant("acme").with(NOTES).await;
    let (bytes, largest) = (picture(700_001, 1), picture(REQUEST_BYTES_MAX - 4_096, 2));
    let user = host.user("acme", &[VIEW, EDIT]);
    let note = write_note(&user).await;

    let written = write(&user, &note, "plan.svg", bytes.clone()).await.expect(201).json();
    write(&user, &note, "largest", largest.clone()).await.expect(201);
    assert_eq!(write(&user, &note, "too-large", picture(REQUEST_BYTES_MAX + 1, 3)).await.status, 413);

    assert_eq!((&written["name"], &written["size"]), (&json!("plan.svg"), &json!(700_001)));
    let host = host.restart().await;
    let user = host.user("acme", &[VIEW, EDIT]);
    user.ready("acme.notes").await;
    let file = read(&user, &note, "plan.svg").await.expect(200);
    assert!(file.body == bytes && read(&user, &note, "largest").await.expect(200).body == largest);
    assert_eq!((file.header("content-type"), file.header("content-disposition")), ("image/svg+xml", "attachment"));
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    let listed = user.get_route("acme.notes", &format!("/notes/{note}/attachments")).await.expect(200).json();
    assert_eq!((&listed["items"][0]["name"], &listed["items"][1]), (&json!("largest"), &written));
}

#[tokio::test]
async fn a_file_goes_with_its_note() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    let user = host.user("acme", &[VIEW, EDIT]);
    let note = write_note(&user).await;
    for name in ["a", "b"] {
        write(&user, &note, name, picture(10, 1)).await.expect(201);
    }

    delete(&user, &format!("/notes/{note}/attachments/a")).await.expect(204);

    assert_eq!(read(&user, &note, "a").await.status, 404);
    read(&user, &note, "b").await.expect(200);
    delete(&user, &format!("/notes/{note}")).await.expect(204);
    assert_eq!(read(&user, &note, "b").await.status, 404);
}

#[tokio::test]
async fn a_reader_writes_no_file_and_another_tenant_sees_none() {
    let host = TestHost::new().tenant("acme").tenant("globex").with(NOTES).await;
    let (user, reader) = (host.user("acme", &[VIEW, EDIT]), host.user("acme", &[VIEW]));
    let stranger = host.user("globex", &[VIEW, EDIT]);
    let note = write_note(&user).await;
    write(&user, &note, "a", picture(10, 1)).await.expect(201);

    assert_eq!(write(&reader, &note, "b", picture(10, 1)).await.outcome(), (403, "permission-denied".to_owned()));
    assert_eq!(delete(&reader, &format!("/notes/{note}/attachments/a")).await.status, 403);
    read(&reader, &note, "a").await.expect(200);
    assert_eq!(read(&stranger, &note, "a").await.status, 404);
    assert_eq!(write(&stranger, &note, "a", picture(10, 2)).await.status, 404);
    assert_eq!(delete(&stranger, &format!("/notes/{note}/attachments/a")).await.status, 404);
    assert_eq!(read(&user, &note, "a").await.body, picture(10, 1));
}

#[tokio::test]
async fn a_file_name_is_no_path() {
    let host = TestHost::new().tenant("acme").with(NOTES).await;
    let user = host.user("acme", &[VIEW, EDIT]);
    let (one, two) = (write_note(&user).await, write_note(&user).await);
    write(&user, &two, "secret", picture(10, 9)).await.expect(201);

    for name in ["..%2F..%2Fhost.db", "%2Fetc%2Fpasswd", &format!("..%2F{two}%2Fsecret"), "a%5Cb"] {
        let refused = read(&user, &one, name).await;
        assert!(refused.status >= 400 && refused.body != picture(10, 9), "{name} {}", refused.status);
        let written = write(&user, &one, name, picture(20, 1)).await;
        assert!(matches!(written.status, 201 | 400 | 404 | 422), "{name} {}", written.status);
    }
    for name in ["a%00b", "a%0Ab", &"n".repeat(201)] {
        let refused = write(&user, &one, name, picture(1, 1)).await.status;
        assert!(matches!(refused, 400 | 404 | 422), "{name} {refused}");
    }
    assert_eq!(read(&user, &two, "secret").await.expect(200).body, picture(10, 9));
}
