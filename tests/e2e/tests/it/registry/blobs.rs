//! Blobs: looked at, read in ranges, mounted from where the caller may read, given up.

use reqwest::Method;

use super::{OPEN, ask, everything, get, holder, is, on_both, push_blob, sha256};

#[tokio::test]
async fn a_blob_is_read_whole_or_in_a_range() {
    on_both(async |host| {
        let client = everything(host).await;
        // Over more than one stored piece.
        let bytes: Vec<u8> = (0..(1_u32 << 20) + 1_000).map(|at| u8::try_from(at % 249).unwrap()).collect();
        let digest = push_blob(&client, OPEN, &bytes).await;
        let (path, size) = (format!("/v2/{OPEN}/blobs/{digest}"), bytes.len());
        let check = async |range: &str, first: usize, last: usize| {
            let part = ask(&client, Method::GET, &path, &[("range", range)], "").await.expect(206);
            assert!(part.body == bytes[first..=last], "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/{size}"));
            assert_eq!(part.header("content-length"), (last - first + 1).to_string());
        };

        check("bytes=0-9", 0, 9).await;
        check("bytes=1048570-1048590", 1_048_570, 1_048_590).await;
        check("bytes=1048576-", 1_048_576, size - 1).await;
        check("bytes=-5", size - 5, size - 1).await;
        check("bytes=5-99999999", 5, size - 1).await;
        for range in ["bytes=500-0", &format!("bytes={size}-"), "bytes=99999999-"] {
            let refused = ask(&client, Method::GET, &path, &[("range", range)], "").await;
            is(&refused, 416, "SIZE_INVALID");
            assert_eq!(refused.header("content-range"), format!("bytes */{size}"));
        }
        assert!(get(&client, &path).await.expect(200).body == bytes);
        let head = ask(&client, Method::HEAD, &path, &[], "").await.expect(200);
        assert_eq!(
            (head.header("content-length"), head.header("docker-content-digest")),
            (&*size.to_string(), &*digest)
        );
        assert_eq!(head.body, b"");
        assert_eq!(ask(&client, Method::HEAD, &path.replace("free", "acme"), &[], "").await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_told_by_its_own_code() {
    on_both(async |host| {
        let client = everything(host).await;
        push_blob(&client, OPEN, b"x").await;
        let none = sha256(b"nothing");
        let check = async |method: Method, path: &str, status: u16, code: &str| {
            let answer = ask(&client, method.clone(), path, &[], "").await;
            assert_eq!(super::told(&answer), (status, code.to_owned()), "{method} {path}");
            assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        };

        check(Method::GET, &format!("/v2/{OPEN}/blobs/{none}"), 404, "BLOB_UNKNOWN").await;
        check(Method::DELETE, &format!("/v2/{OPEN}/blobs/{none}"), 404, "BLOB_UNKNOWN").await;
        check(Method::GET, &format!("/v2/{OPEN}/blobs/sha256:baddigeststring"), 400, "DIGEST_INVALID").await;
        check(Method::GET, &format!("/v2/{OPEN}/manifests/none"), 404, "MANIFEST_UNKNOWN").await;
        check(Method::GET, &format!("/v2/{OPEN}/manifests/{none}"), 404, "MANIFEST_UNKNOWN").await;
        check(Method::DELETE, &format!("/v2/{OPEN}/manifests/{none}"), 404, "MANIFEST_UNKNOWN").await;
        check(Method::DELETE, &format!("/v2/{OPEN}/manifests/none"), 404, "MANIFEST_UNKNOWN").await;
        check(Method::GET, "/v2/free/nothing/tags/list", 404, "NAME_UNKNOWN").await;
        check(Method::GET, "/v2/nobody/nothing/tags/list", 404, "NAME_UNKNOWN").await;
        check(Method::GET, "/v2/FREE/x/tags/list", 400, "NAME_INVALID").await;
        check(Method::GET, "/v2/acme/not/a-plugin/tags/list", 400, "NAME_INVALID").await;
        check(Method::GET, "/v2/_catalog", 404, "NAME_UNKNOWN").await;
        check(Method::GET, &format!("/v2/{OPEN}/tags/list?n=x"), 400, "SIZE_INVALID").await;
        for path in ["/v2/", &format!("/v2/{OPEN}/tags/list"), &format!("/v2/{OPEN}/blobs/{none}")] {
            check(Method::POST, path, 405, "UNSUPPORTED").await;
        }
        check(Method::PUT, &format!("/v2/{OPEN}/blobs/uploads/"), 405, "UNSUPPORTED").await;
        check(Method::POST, &format!("/v2/{OPEN}/manifests/x"), 405, "UNSUPPORTED").await;
        check(Method::DELETE, &format!("/v2/{OPEN}/referrers/{none}"), 405, "UNSUPPORTED").await;
    })
    .await;
}

#[tokio::test]
async fn a_blob_is_mounted_only_from_where_the_caller_may_read() {
    on_both(async |host| {
        let all = everything(host).await;
        super::grant(host, &serde_json::json!({ "namespace": "secret", "kind": "open" })).await.expect(201);
        let digest = push_blob(&all, "secret/a", b"secret bytes").await;
        let mount = |from: &str| format!("/v2/free/mounted/blobs/uploads/?mount={digest}&from={from}");
        let outsider = holder(host, &["free"], &["push", "pull"]).await;

        for (client, from) in [(&outsider, "secret/a"), (&all, "secret/none"), (&all, "nobody/none")] {
            let begun = ask(client, Method::POST, &mount(from), &[], "").await.expect(202);
            assert!(begun.header("location").starts_with("/v2/free/mounted/blobs/uploads/"));
        }
        let unnamed = format!("/v2/free/mounted/blobs/uploads/?mount={digest}");
        ask(&outsider, Method::POST, &unnamed, &[], "").await.expect(202);
        is(&get(&all, &format!("/v2/free/mounted/blobs/{digest}")).await, 404, "BLOB_UNKNOWN");

        let mounted = ask(&all, Method::POST, &mount("secret/a"), &[], "").await.expect(201);
        assert_eq!(mounted.header("location"), format!("/v2/free/mounted/blobs/{digest}"));
        let fetched = get(&outsider, mounted.header("location")).await.expect(200);
        assert_eq!(fetched.body, b"secret bytes");
        let found = ask(&all, Method::POST, &unnamed.replace("mounted/", "found/"), &[], "").await.expect(201);
        assert_eq!(get(&outsider, found.header("location")).await.expect(200).body, b"secret bytes");
        is(
            &ask(&all, Method::POST, &mount("secret/a").replace("sha256:", "sha256:0"), &[], "").await,
            400,
            "DIGEST_INVALID",
        );
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_was_given_up_is_gone_at_once_and_only_there() {
    on_both(async |host| {
        let client = everything(host).await;
        let digest = push_blob(&client, OPEN, b"given up").await;
        push_blob(&client, "free/other", b"given up").await;
        let path = format!("/v2/{OPEN}/blobs/{digest}");

        ask(&client, Method::DELETE, &path, &[], "").await.expect(202);

        is(&get(&client, &path).await, 404, "BLOB_UNKNOWN");
        is(&ask(&client, Method::DELETE, &path, &[], "").await, 404, "BLOB_UNKNOWN");
        get(&client, &path.replace(OPEN, "free/other")).await.expect(200);
        push_blob(&client, OPEN, b"given up").await;
        get(&client, &path).await.expect(200);
    })
    .await;
}
