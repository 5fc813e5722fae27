//! Manifests: pushed and fetched byte by byte, deleted, listed by tag and by what they refer to.

use bulkhead_testkit::Client;
use reqwest::Method;
use serde_json::{Value, json};

use super::{IMAGE, INDEX, OPEN, ask, everything, get, image, is, on_both, push, sha256, sha512};

const CONFIG: (&str, &[u8]) = ("application/vnd.example.config", b"{}");

async fn plain(client: &Client) -> Value {
    image(client, OPEN, CONFIG, &[("application/octet-stream", b"layer")]).await
}

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_pushed() {
    on_both(async |host| {
        let client = everything(host).await;
        let manifest = plain(&client).await;
        // White space is part of what was pushed.
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        let (digest, long) = (sha256(&bytes), sha512(&bytes));
        let headers = [("content-type", IMAGE)];
        let path = |reference: &str| format!("/v2/{OPEN}/manifests/{reference}");

        let by_tag = ask(&client, Method::PUT, &path("latest"), &headers, bytes.clone()).await.expect(201);
        assert_eq!(by_tag.header("docker-content-digest"), digest);
        assert_eq!(by_tag.header("location"), path(&digest));
        ask(&client, Method::PUT, &path(&digest), &headers, bytes.clone()).await.expect(201);
        let tags = format!("{}?tag=one&tag=two", path(&long));
        let tagged = ask(&client, Method::PUT, &tags, &headers, bytes.clone()).await.expect(201);
        let listed: Vec<&str> = tagged.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
        assert_eq!(listed, ["one", "two"]);

        for (reference, wanted) in [("latest", &digest), (&*digest, &digest), (&*long, &long), ("two", &long)] {
            let fetched = get(&client, &path(reference)).await.expect(200);
            assert_eq!(fetched.body, bytes, "{reference}");
            assert_eq!(fetched.header("content-type"), IMAGE);
            assert_eq!(fetched.header("docker-content-digest"), wanted);
            let head = ask(&client, Method::HEAD, &path(reference), &[], "").await.expect(200);
            assert_eq!(head.header("content-length"), bytes.len().to_string());
            assert_eq!(head.body, b"");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    on_both(async |host| {
        let client = everything(host).await;
        let good = plain(&client).await;
        let check = async |reference: &str, media_type: &str, body: Vec<u8>, status: u16, code: &str| {
            let path = format!("/v2/{OPEN}/manifests/{reference}");
            is(&ask(&client, Method::PUT, &path, &[("content-type", media_type)], body).await, status, code);
        };
        let bytes = good.to_string().into_bytes();

        check("t", IMAGE, b"no json".to_vec(), 400, "MANIFEST_INVALID").await;
        check("t", "text/plain", bytes.clone(), 400, "MANIFEST_INVALID").await;
        check("t", INDEX, bytes.clone(), 400, "MANIFEST_INVALID").await;
        check("-t", IMAGE, bytes.clone(), 400, "MANIFEST_INVALID").await;
        check(&sha256(b"other"), IMAGE, bytes.clone(), 400, "DIGEST_INVALID").await;
        check("sha256:baddigeststring", IMAGE, bytes.clone(), 400, "DIGEST_INVALID").await;
        check(&format!("{}?tag=-t", sha256(&bytes)), IMAGE, bytes.clone(), 400, "MANIFEST_INVALID").await;
        let mut missing = good.clone();
        missing["layers"][0]["digest"] = json!(sha256(b"never pushed"));
        check("t", IMAGE, missing.to_string().into_bytes(), 404, "MANIFEST_BLOB_UNKNOWN").await;
        check("t", IMAGE, vec![b' '; (4 << 20) + 1], 413, "SIZE_INVALID").await;
        is(&get(&client, &format!("/v2/{OPEN}/manifests/t")).await, 404, "MANIFEST_UNKNOWN");

        let mut largest = good.clone();
        largest["annotations"] = json!({ "filler": "" });
        let room = (4 << 20) - largest.to_string().len();
        largest["annotations"]["filler"] = json!("x".repeat(room));
        check("large", IMAGE, largest.to_string().into_bytes(), 201, "").await;
    })
    .await;
}

#[tokio::test]
async fn tags_and_manifests_go_when_they_are_deleted() {
    on_both(async |host| {
        let client = everything(host).await;
        let manifest = plain(&client).await;
        for tag in ["a", "b", "c"] {
            push(&client, OPEN, tag, &manifest).await.expect(201);
        }
        let digest = sha256(manifest.to_string().as_bytes());
        let path = |reference: &str| format!("/v2/{OPEN}/manifests/{reference}");

        ask(&client, Method::DELETE, &path("a"), &[], "").await.expect(202);
        is(&get(&client, &path("a")).await, 404, "MANIFEST_UNKNOWN");
        get(&client, &path(&digest)).await.expect(200);
        ask(&client, Method::DELETE, &path(&digest), &[], "").await.expect(202);
        for reference in [&*digest, "b", "c"] {
            is(&get(&client, &path(reference)).await, 404, "MANIFEST_UNKNOWN");
        }
        assert_eq!(get(&client, &format!("/v2/{OPEN}/tags/list")).await.expect(200).json()["tags"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn tags_are_listed_in_order_and_in_pages() {
    on_both(async |host| {
        let client = everything(host).await;
        let manifest = plain(&client).await;
        for tag in ["b", "a", "C", "1.0.0", "_x"] {
            push(&client, OPEN, tag, &manifest).await.expect(201);
        }
        let list = async |query: &str| {
            let page = get(&client, &format!("/v2/{OPEN}/tags/list{query}")).await.expect(200);
            assert_eq!(page.json()["name"], OPEN);
            (page.json()["tags"].clone(), page.header("link").to_owned())
        };

        assert_eq!(list("").await, (json!(["1.0.0", "C", "_x", "a", "b"]), String::new()));
        let (first, link) = list("?n=2").await;
        assert_eq!(first, json!(["1.0.0", "C"]));
        assert_eq!(link, format!("</v2/{OPEN}/tags/list?n=2&last=C>; rel=\"next\""));
        assert_eq!(list("?n=2&last=C").await.0, json!(["_x", "a"]));
        assert_eq!(list("?n=2&last=a").await, (json!(["b"]), String::new()));
        assert_eq!(list("?n=0").await, (json!([]), String::new()));
        assert_eq!(list("?last=zzz").await, (json!([]), String::new()));
    })
    .await;
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_listed_by_kind() {
    on_both(async |host| {
        let client = everything(host).await;
        let subject = plain(&client).await;
        let subject_bytes = subject.to_string().into_bytes();
        let list = async |digest: &str, query: &str| {
            let answer = get(&client, &format!("/v2/{OPEN}/referrers/{digest}{query}")).await.expect(200);
            assert_eq!(answer.header("content-type"), INDEX);
            assert_eq!((&answer.json()["schemaVersion"], &answer.json()["mediaType"]), (&json!(2), &json!(INDEX)));
            let kinds: Vec<String> = answer.json()["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|found| found["artifactType"].as_str().unwrap_or_default().to_owned())
                .collect();
            (answer, kinds)
        };
        let digest = sha256(&subject_bytes);
        assert_eq!(list(&digest, "").await.1, Vec::<String>::new());

        let mut referrer = subject.clone();
        referrer["subject"] = json!({ "mediaType": IMAGE, "digest": digest, "size": subject_bytes.len() });
        // The subject is not there yet.
        let pushed = push(&client, OPEN, "", &referrer).await.expect(201);
        assert_eq!(pushed.header("oci-subject"), digest);
        referrer["artifactType"] = json!("application/vnd.example+json");
        referrer["annotations"] = json!({ "who": "anna" });
        push(&client, OPEN, "", &referrer).await.expect(201);
        push(&client, OPEN, "subject", &subject).await.expect(201);

        let (_, mut kinds) = list(&digest, "").await;
        kinds.sort();
        assert_eq!(kinds, ["application/vnd.example+json", CONFIG.0]);
        for query in ["?artifactType=application/vnd.example%2Bjson", "?artifactType=application/vnd.example+json"] {
            let (answer, kinds) = list(&digest, query).await;
            assert_eq!(kinds, ["application/vnd.example+json"]);
            assert_eq!(answer.header("oci-filters-applied"), "artifactType");
            let found = &answer.json()["manifests"][0];
            assert_eq!(found["annotations"]["who"], "anna");
            assert_eq!(
                (&found["mediaType"], found["size"].as_u64()),
                (&json!(IMAGE), Some(referrer.to_string().len() as u64))
            );
            assert_eq!(found["digest"], sha256(referrer.to_string().as_bytes()));
        }
        assert_eq!(list(&digest, "?artifactType=none/such").await.1, Vec::<String>::new());
        assert_eq!(list(&sha512(b"anything"), "").await.1, Vec::<String>::new());
        let gone = format!("/v2/{OPEN}/manifests/{}", sha256(referrer.to_string().as_bytes()));
        ask(&client, Method::DELETE, &gone, &[], "").await.expect(202);
        assert_eq!(list(&digest, "").await.1, [CONFIG.0]);
    })
    .await;
}

#[tokio::test]
async fn many_referrers_come_in_pages() {
    on_both(async |host| {
        let client = everything(host).await;
        let subject = sha256(b"some manifest");
        let mut manifest = plain(&client).await;
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
        for number in 0..5 {
            manifest["annotations"] = json!({ "number": number.to_string(), "filler": "x".repeat(1_500_000) });
            push(&client, OPEN, "", &manifest).await.expect(201);
        }

        let (mut path, mut found, mut pages) = (format!("/v2/{OPEN}/referrers/{subject}"), Vec::new(), 0);
        loop {
            let page = get(&client, &path).await.expect(200);
            found.extend(page.json()["manifests"].as_array().unwrap().iter().map(|one| one["digest"].to_string()));
            pages += 1;
            let Some(next) = page.header("link").strip_prefix('<').and_then(|link| link.split_once('>')) else { break };
            path = next.0.to_owned();
        }

        assert_eq!((found.len(), pages), (5, 3));
        found.dedup();
        assert_eq!(found.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn an_index_needs_none_of_the_manifests_that_it_names() {
    on_both(async |host| {
        let client = everything(host).await;
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{ "mediaType": IMAGE, "digest": sha256(b"elsewhere"), "size": 1 }]
        });

        push(&client, OPEN, "index", &index).await.expect(201);

        let fetched = get(&client, &format!("/v2/{OPEN}/manifests/index")).await.expect(200);
        assert_eq!((fetched.header("content-type"), fetched.json()), (INDEX, index));
    })
    .await;
}
