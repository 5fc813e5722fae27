//! Uploads: every way that the protocol knows, in order, proven by their digest, and resumed where they stopped.

use bulkhead_testkit::{Client, TestHost, eventually};
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;

use super::{OPEN, ask, get, holder, is, on_both, sha256, sha512};

/// Begins an upload; answers its place.
async fn begin(client: &Client, repository: &str) -> String {
    let begun = ask(client, Method::POST, &format!("/v2/{repository}/blobs/uploads/"), &[], "").await.expect(202);
    assert_eq!(begun.header("range"), "0-0");
    begun.header("location").to_owned()
}

async fn all(host: &TestHost) -> Client {
    super::everything(host).await
}

#[tokio::test]
async fn a_blob_is_uploaded_in_every_way_that_the_protocol_knows() {
    on_both(async |host| {
        let client = all(host).await;
        let uploads = format!("/v2/{OPEN}/blobs/uploads/");
        let check = async |bytes: &[u8], digest: &str| {
            let fetched = get(&client, &format!("/v2/{OPEN}/blobs/{digest}")).await.expect(200);
            assert_eq!(fetched.body, bytes, "{digest}");
            assert_eq!(fetched.header("docker-content-digest"), digest);
        };

        for (bytes, digest) in
            [(b"at once".as_slice(), sha256(b"at once")), (b"by sha512", sha512(b"by sha512")), (b"", sha256(b""))]
        {
            let made = ask(&client, Method::POST, &format!("{uploads}?digest={digest}"), &[], bytes).await.expect(201);
            assert_eq!(made.header("location"), format!("/v2/{OPEN}/blobs/{digest}"));
            check(bytes, &digest).await;
        }

        let place = begin(&client, OPEN).await;
        let digest = sha512(b"in one piece");
        ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], "in one piece").await.expect(201);
        check(b"in one piece", &digest).await;

        let place = begin(&client, OPEN).await;
        let first = ask(&client, Method::PATCH, &place, &[("content-range", "0-2")], "one").await.expect(202);
        assert_eq!((first.header("range"), first.header("location")), ("0-2", place.as_str()));
        let second = ask(&client, Method::PATCH, &place, &[("content-range", "3-5")], "two").await.expect(202);
        assert_eq!(second.header("range"), "0-5");
        let status = get(&client, &place).await.expect(204);
        assert_eq!((status.header("range"), status.header("location")), ("0-5", place.as_str()));
        let digest = sha256(b"onetwothree");
        let last = [("content-range", "6-10")];
        ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &last, "three").await.expect(201);
        check(b"onetwothree", &digest).await;
        is(&get(&client, &place).await, 404, "BLOB_UPLOAD_UNKNOWN");

        let large = vec![7_u8; (5 << 20) / 2];
        let place = begin(&client, OPEN).await;
        ask(&client, Method::PATCH, &place, &[], large.clone()).await.expect(202);
        let digest = sha256(&large);
        ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], "").await.expect(201);
        check(&large, &digest).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_digest_is_refused_on_every_way() {
    on_both(async |host| {
        let client = all(host).await;
        let (uploads, wrong) = (format!("/v2/{OPEN}/blobs/uploads/"), sha256(b"something else"));

        let at_once = ask(&client, Method::POST, &format!("{uploads}?digest={wrong}"), &[], "x").await;
        is(&at_once, 400, "DIGEST_INVALID");
        for digest in [wrong.as_str(), &sha512(b"something else"), "sha256:baddigeststring", "md5:00", ""] {
            let place = begin(&client, OPEN).await;
            let refused = ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], "x").await;
            is(&refused, 400, "DIGEST_INVALID");
            let place = begin(&client, OPEN).await;
            ask(&client, Method::PATCH, &place, &[], "x").await.expect(202);
            is(&ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], "").await, 400, "DIGEST_INVALID");
            ask(&client, Method::DELETE, &place, &[], "").await;
        }
        let place = begin(&client, OPEN).await;
        is(&ask(&client, Method::PUT, &place, &[], "x").await, 400, "DIGEST_INVALID");
        is(&get(&client, &format!("/v2/{OPEN}/blobs/{wrong}")).await, 404, "BLOB_UNKNOWN");
        is(&get(&client, &format!("/v2/{OPEN}/blobs/{}", sha256(b"x"))).await, 404, "BLOB_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn a_chunk_out_of_order_is_told_where_the_upload_is() {
    on_both(async |host| {
        let client = all(host).await;
        let place = begin(&client, OPEN).await;
        is(&ask(&client, Method::PATCH, &place, &[("content-range", "3-5")], "two").await, 416, "BLOB_UPLOAD_INVALID");
        ask(&client, Method::PATCH, &place, &[("content-range", "0-2")], "one").await.expect(202);

        let again = ask(&client, Method::PATCH, &place, &[("content-range", "0-2")], "one").await;
        is(&again, 416, "BLOB_UPLOAD_INVALID");
        assert_eq!((again.header("range"), again.header("location")), ("0-2", place.as_str()));
        let ahead = format!("{place}?digest={}", sha256(b"onetwo"));
        is(&ask(&client, Method::PUT, &ahead, &[("content-range", "9-11")], "two").await, 416, "BLOB_UPLOAD_INVALID");
        is(&ask(&client, Method::PATCH, &place, &[("content-range", "3-9")], "two").await, 400, "SIZE_INVALID");
        is(&ask(&client, Method::PATCH, &place, &[("content-range", "x")], "two").await, 400, "BLOB_UPLOAD_INVALID");
        assert_eq!(get(&client, &place).await.expect(204).header("range"), "0-2");

        ask(&client, Method::PUT, &ahead, &[("content-range", "3-5")], "two").await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn an_upload_is_its_tokens_its_repositorys_and_ends() {
    on_both(async |host| {
        let (one, other) = (all(host).await, all(host).await);
        let place = begin(&one, OPEN).await;
        let elsewhere = place.replace(OPEN, "free/other");

        for (client, path) in [(&other, &place), (&one, &elsewhere)] {
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                is(&ask(client, method, path, &[], "").await, 404, "BLOB_UPLOAD_UNKNOWN");
            }
            let finish = format!("{path}?digest={}", sha256(b""));
            is(&ask(client, Method::PUT, &finish, &[], "").await, 404, "BLOB_UPLOAD_UNKNOWN");
        }
        ask(&one, Method::DELETE, &place, &[], "").await.expect(204);
        is(&ask(&one, Method::DELETE, &place, &[], "").await, 404, "BLOB_UPLOAD_UNKNOWN");
        is(&get(&one, &place).await, 404, "BLOB_UPLOAD_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn a_token_has_eight_uploads_at_once_and_the_ninth_waits() {
    on_both(async |host| {
        let (client, other) = (all(host).await, all(host).await);
        let mut places = Vec::new();
        for _ in 0..8 {
            places.push(begin(&client, OPEN).await);
        }

        let ninth = ask(&client, Method::POST, &format!("/v2/{OPEN}/blobs/uploads/"), &[], "").await;

        is(&ninth, 429, "TOOMANYREQUESTS");
        assert!(ninth.header("retry-after").parse::<u64>().unwrap() > 0);
        begin(&other, OPEN).await;
        ask(&client, Method::DELETE, &places[0], &[], "").await.expect(204);
        begin(&client, OPEN).await;
    })
    .await;
}

#[tokio::test]
async fn a_blob_has_a_largest_size_by_the_kind_of_its_namespace() {
    let host = TestHost::new().configured(|config| config.registry.open_blob_bytes_max = 2 << 20).await;
    super::grant(&host, &serde_json::json!({ "namespace": "free", "kind": "open" })).await.expect(201);
    super::grant(&host, &serde_json::json!({ "namespace": "acme" })).await.expect(201);
    let client = all(&host).await;
    let check = async |repository: &str, bytes_max: usize| {
        let (fits, too_large) = (vec![1_u8; bytes_max], vec![2_u8; bytes_max + 1]);
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let at_once = format!("{uploads}?digest={}", sha256(&fits));
        ask(&client, Method::POST, &at_once, &[], fits.clone()).await.expect(201);
        let at_once = format!("{uploads}?digest={}", sha256(&too_large));
        is(&ask(&client, Method::POST, &at_once, &[], too_large).await, 413, "SIZE_INVALID");
        let place = begin(&client, repository).await;
        ask(&client, Method::PATCH, &place, &[], fits).await.expect(202);
        is(&ask(&client, Method::PATCH, &place, &[], "x").await, 413, "SIZE_INVALID");
    };

    check("free/large", 2 << 20).await;
    check("acme/large", 32 << 20).await;
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_where_it_stopped() {
    on_both(async |host| {
        let client = holder(host, &["free"], &["push", "pull"]).await;
        let bytes: Vec<u8> = (0..3_u32 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let place = begin(&client, OPEN).await;
        let head = format!(
            "PATCH {place} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            client.token(),
            bytes.len()
        );
        let mut stream = tokio::net::TcpStream::connect(host.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..2_000_000]).await.unwrap();
        drop(stream);

        let arrived = eventually("what was sent to be stored", || async {
            let range = get(&client, &place).await.expect(204).header("range").to_owned();
            let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
            (last >= 1_000_000).then_some(last + 1)
        })
        .await;

        // More may still have been on its way when it was looked at: then the place is told again.
        let mut from = arrived;
        for _ in 0..3 {
            let range = format!("{from}-{}", bytes.len() - 1);
            let rest = ask(&client, Method::PATCH, &place, &[("content-range", &range)], &bytes[from..]).await;
            if rest.status == 202 {
                break;
            }
            is(&rest, 416, "BLOB_UPLOAD_INVALID");
            from = rest.header("range").strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
        }
        let digest = sha256(&bytes);
        ask(&client, Method::PUT, &format!("{place}?digest={digest}"), &[], "").await.expect(201);
        assert!(get(&client, &format!("/v2/{OPEN}/blobs/{digest}")).await.expect(200).body == bytes);
    })
    .await;
}
