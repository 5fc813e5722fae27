//! Collecting: what a manifest names stays whatever its age, what nobody names goes when it is old, and no push is disturbed.

use reqwest::Method;
use serde_json::{Value, json};

use super::{IMAGE, INDEX, OPEN, ask, everything, get, image, is, on_both, push, push_blob, sha256};

#[tokio::test]
async fn what_a_manifest_names_stays_and_the_rest_goes_in_time() {
    on_both(async |host| {
        let client = everything(host).await;
        let manifest = image(&client, OPEN, ("a/b", b"{}"), &[("a/c", b"named")]).await;
        push(&client, OPEN, "kept", &manifest).await.expect(201);
        let unnamed = push_blob(&client, OPEN, b"unnamed").await;
        let path = |digest: &str| format!("/v2/{OPEN}/blobs/{digest}");

        // By its own measure of time nothing is old yet.
        let collected = host.admin().post("/api/v1/registry/gc").await.expect(200).json();
        assert_eq!(collected, json!({ "uploads": 0, "manifests": 0, "links": 0, "blobs": 0, "blob_bytes": 0 }));
        get(&client, &path(&unnamed)).await.expect(200);
        let collected = host.library().registry().collect_before(i64::MAX).await.unwrap();

        assert_eq!((collected.links, collected.blobs, collected.blob_bytes), (1, 1, 7));
        is(&get(&client, &path(&unnamed)).await, 404, "BLOB_UNKNOWN");
        assert_eq!(get(&client, &path(&sha256(b"named"))).await.expect(200).body, b"named");
        let tagged = format!("/v2/{OPEN}/manifests/kept");
        let digest = get(&client, &tagged).await.expect(200).header("docker-content-digest").to_owned();
        ask(&client, Method::DELETE, &format!("/v2/{OPEN}/manifests/{digest}"), &[], "").await.expect(202);
        let collected = host.library().registry().collect_before(i64::MAX).await.unwrap();
        assert_eq!((collected.links, collected.blobs), (2, 2));
        is(&get(&client, &path(&sha256(b"named"))).await, 404, "BLOB_UNKNOWN");
        is(&push(&client, OPEN, "kept", &manifest).await, 404, "MANIFEST_BLOB_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_goes_on_is_not_collected() {
    on_both(async |host| {
        let client = everything(host).await;
        let begun = ask(&client, Method::POST, &format!("/v2/{OPEN}/blobs/uploads/"), &[], "").await.expect(202);
        let place = begun.header("location").to_owned();
        ask(&client, Method::PATCH, &place, &[], "half").await.expect(202);

        host.library().registry().collect_before(i64::MAX).await.unwrap();

        let digest = sha256(b"half and half");
        ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], " and half").await.expect(201);
        assert_eq!(get(&client, &format!("/v2/{OPEN}/blobs/{digest}")).await.expect(200).body, b"half and half");
    })
    .await;
}

#[tokio::test]
async fn manifests_that_nothing_leads_to_any_more_go_in_time() {
    on_both(async |host| {
        let client = everything(host).await;
        let of = async |layer: &[u8]| image(&client, OPEN, ("a/b", b"{}"), &[("a/c", layer)]).await;
        let (first, second, pinned) = (of(b"first").await, of(b"second").await, of(b"pinned").await);
        let bytes = |manifest: &Value| sha256(manifest.to_string().as_bytes());
        let mut signature = of(b"signature").await;
        signature["subject"] = json!({ "mediaType": IMAGE, "digest": bytes(&first), "size": 1 });
        let child = of(b"child").await;
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
            { "mediaType": IMAGE, "digest": bytes(&child), "size": child.to_string().len() }
        ]});
        push(&client, OPEN, "moving", &first).await.expect(201);
        push(&client, OPEN, "", &signature).await.expect(201);
        push(&client, OPEN, "", &pinned).await.expect(201);
        push(&client, OPEN, "", &child).await.expect(201);
        push(&client, OPEN, "index", &index).await.expect(201);
        push(&client, OPEN, "kept", &first).await.expect(201);
        let there = async || {
            let mut found = Vec::new();
            for (name, manifest) in [
                ("first", &first),
                ("second", &second),
                ("pinned", &pinned),
                ("signature", &signature),
                ("child", &child),
                ("index", &index),
            ] {
                if get(&client, &format!("/v2/{OPEN}/manifests/{}", bytes(manifest))).await.status == 200 {
                    found.push(name);
                }
            }
            found.join(" ")
        };
        let collect = async || host.library().registry().collect_before(i64::MAX).await.unwrap().manifests;
        let delete = async |reference: &str| {
            let path = format!("/v2/{OPEN}/manifests/{reference}");
            ask(&client, Method::DELETE, &path, &[], "").await.expect(202);
        };

        push(&client, OPEN, "moving", &second).await.expect(201);
        assert_eq!((collect().await, there().await), (0, "first second pinned signature child index".to_owned()));
        delete("kept").await;
        assert_eq!(host.admin().post("/api/v1/registry/gc").await.expect(200).json()["manifests"], 0);
        assert_eq!((collect().await, there().await), (2, "second pinned child index".to_owned()));
        delete("index").await;
        assert_eq!((collect().await, there().await), (2, "second pinned".to_owned()));
        delete("moving").await;
        push(&client, OPEN, "back", &second).await.expect(201);
        assert_eq!((collect().await, there().await), (0, "second pinned".to_owned()));
    })
    .await;
}
