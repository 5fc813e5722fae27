//! The distribution protocol as one table: each endpoint, each case, what is asked and what must come back.
//! What the registry adds to the protocol, such as tokens and plugins, stands in the other files.

use std::collections::BTreeMap;

use bulkhead_testkit::Client;
use reqwest::Method;
use serde_json::{Value, json};

use super::{IMAGE, INDEX, ask, everything, holder, on_both, sha256, sha512, told};

/// Rows of `request | headers | body | wanted`; `headers` are parted by `;`. In each of them `{name}` is a value that is
/// known: `{one}` the SHA-256 of the text `one`, `{one:512}` its SHA-512, `@name` as a body the bytes of that name.
/// `wanted` is a status, then any of: a code of the protocol; `header=value`, where `*` stands for any value; `header!` for
/// one that must not be there; `body=text`, `bytes=name`, `tags=a,b`; `place`, which keeps the location for later rows.
async fn walk(client: &Client, known: &mut BTreeMap<String, Vec<u8>>, table: &str) {
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with("--")) {
        let cells: Vec<String> = row.split('|').map(|cell| expanded(cell.trim(), known)).collect();
        let [request, headers, body, wanted] = cells.as_slice() else { panic!("four cells: {row}") };
        let (method, path) = request.split_once(' ').unwrap();
        let headers: Vec<(&str, &str)> =
            headers.split(';').filter_map(|header| header.trim().split_once(": ")).collect();
        let body = match body.strip_prefix('@') {
            Some(name) => known[name].clone(),
            None => body.clone().into_bytes(),
        };

        let answer = ask(client, method.parse().unwrap(), path.trim(), &headers, body).await;

        let at = format!("{row}\n{:?}\n{}", answer.headers, answer.text());
        let mut words = wanted.split_whitespace();
        assert_eq!(answer.status.to_string(), words.next().unwrap(), "{at}");
        let is_head = method == "HEAD";
        let code = if is_head { String::new() } else { told(&answer).1 };
        let mut wanted_code = "";
        for word in words {
            match word.split_once('=') {
                Some(("body", text)) => assert_eq!(answer.text(), text, "{at}"),
                Some(("bytes", name)) => assert!(answer.body == known[name], "{at}"),
                Some(("tags", tags)) => assert_eq!(answer.json()["tags"], listed(tags), "{at}"),
                Some((header, "*")) => assert_ne!(answer.header(header), "", "{at}"),
                Some((header, value)) => assert_eq!(answer.header(header), value, "{at}"),
                None if word == "place" => {
                    known.insert("place".to_owned(), answer.header("location").into());
                }
                None if word.ends_with('!') => assert_eq!(answer.header(word.trim_end_matches('!')), "", "{at}"),
                None => wanted_code = word,
            }
        }
        if !is_head {
            assert_eq!(code, wanted_code, "{at}");
        }
    }
}

fn listed(tags: &str) -> Value {
    json!(tags.split(',').filter(|tag| !tag.is_empty()).collect::<Vec<_>>())
}

fn expanded(cell: &str, known: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = String::new();
    let mut rest = cell;
    while let Some((before, name, after)) =
        rest.split_once('{').and_then(|(before, rest)| rest.split_once('}').map(|(name, after)| (before, name, after)))
    {
        text.push_str(before);
        let (name, is_long) = name.strip_suffix(":512").map_or((name, false), |name| (name, true));
        match known.get(name) {
            None if name.is_empty() => text.push_str("{}"),
            Some(place) if name == "place" => text.push_str(&String::from_utf8_lossy(place)),
            found => {
                let bytes = found.map_or(name.as_bytes(), Vec::as_slice);
                text.push_str(&if is_long { sha512(bytes) } else { sha256(bytes) });
            }
        }
        rest = after;
    }
    text + rest
}

/// Runs a table on both engines as somebody who may do everything.
async fn follows(known: &[(&str, Vec<u8>)], table: &str) {
    on_both(async |host| {
        let client = everything(host).await;
        let mut known = known.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        walk(&client, &mut known, table).await;
    })
    .await;
}

#[tokio::test]
async fn the_base_says_that_the_protocol_is_spoken() {
    follows(
        &[],
        "
        GET    /v2/            | | | 200 body={} docker-distribution-api-version=registry/2.0
        GET    /v2             | | | 200
        HEAD   /v2/            | | | 200
        POST   /v2/            | | | 405 UNSUPPORTED allow=*
        GET    /v2/_catalog    | | | 404 NAME_UNKNOWN
        ",
    )
    .await;
}

#[tokio::test]
async fn blobs_are_pushed_in_every_way_by_either_digest() {
    follows(
        &[("empty", Vec::new())],
        "
        -- at once, by one request
        POST   /v2/free/a/blobs/uploads/?digest={one}     | | one | 201 location=/v2/free/a/blobs/{one} docker-content-digest={one}
        POST   /v2/free/a/blobs/uploads/?digest={one:512} | | one | 201 location=/v2/free/a/blobs/{one:512}
        POST   /v2/free/a/blobs/uploads/?digest={empty}   | content-length: 0 | | 201
        POST   /v2/free/a/blobs/uploads/?digest={empty:512} | | | 201
        GET    /v2/free/a/blobs/{empty}                   | | | 200 bytes=empty content-length=0
        POST   /v2/free/a/blobs/uploads?digest={one}      | | one | 201
        -- by two requests
        POST   /v2/free/a/blobs/uploads/                  | content-length: 0 | | 202 location=* range=0-0 place
        PUT    {place}?digest={two}                       | content-type: application/octet-stream | two | 201 location=/v2/free/a/blobs/{two}
        POST   /v2/free/a/blobs/uploads/?digest-algorithm=sha512 | | | 202 place
        PUT    {place}?digest={two:512}                   | | two | 201 docker-content-digest={two:512}
        POST   /v2/free/a/blobs/uploads/?digest-algorithm=sha256 | | | 202 place
        DELETE {place}                                    | | | 204
        POST   /v2/free/a/blobs/uploads/?digest-algorithm=md5 | | | 400 DIGEST_INVALID
        -- as a stream
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PATCH  {place}                                    | content-type: application/octet-stream | three | 202 range=0-4 place
        PUT    {place}?digest={three}                     | | | 201
        -- in chunks, the last in a request of its own, or in the one that ends it
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PATCH  {place}                                    | content-range: 0-3 | four | 202 range=0-3 place
        PATCH  {place}                                    | content-range: 4-7 | five | 202 range=0-7 place
        PUT    {place}?digest={fourfive:512}              | content-length: 0 | | 201
        GET    {place}                                    | | | 404 BLOB_UPLOAD_UNKNOWN
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PATCH  {place}                                    | content-range: 0-3 | four | 202 place
        PUT    {place}?digest={foursix}                   | content-range: 4-6 | six | 201 location=/v2/free/a/blobs/{foursix}
        GET    /v2/free/a/blobs/{fourfive:512}            | | | 200 body=fourfive
        GET    /v2/free/a/blobs/{foursix}                 | | | 200 body=foursix
        GET    /v2/free/a/blobs/{two}                     | | | 200 body=two docker-content-digest={two} content-length=3
        ",
    )
    .await;
}

#[tokio::test]
async fn an_upload_is_looked_at_put_right_and_cancelled() {
    follows(
        &[],
        "
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        GET    {place}                                    | | | 204 range=0-0 location=*
        PATCH  {place}                                    | content-range: 4-7 | five | 416 BLOB_UPLOAD_INVALID
        PATCH  {place}                                    | content-range: 0-3 | four | 202 range=0-3
        PATCH  {place}                                    | content-range: 0-3 | four | 416 BLOB_UPLOAD_INVALID range=0-3
        PUT    {place}?digest={fourfive}                  | content-range: 9-12 | five | 416 BLOB_UPLOAD_INVALID
        GET    {place}                                    | | | 204 range=0-3 location=*
        PATCH  {place}                                    | content-range: 4-9 | five | 400 SIZE_INVALID
        PATCH  {place}                                    | content-range: ? | five | 400 BLOB_UPLOAD_INVALID
        PATCH  {place}                                    | content-range: 4-7 | five | 202 range=0-7
        PUT    {place}                                    | | | 400 DIGEST_INVALID
        PUT    {place}?digest=sha256:baddigeststring      | | | 400 DIGEST_INVALID
        PUT    {place}?digest={fourfive}                  | | | 201
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        DELETE {place}                                    | | | 204
        GET    {place}                                    | | | 404 BLOB_UPLOAD_UNKNOWN
        PATCH  {place}                                    | | x | 404 BLOB_UPLOAD_UNKNOWN
        PUT    {place}?digest={x}                         | | x | 404 BLOB_UPLOAD_UNKNOWN
        DELETE {place}                                    | | | 404 BLOB_UPLOAD_UNKNOWN
        POST   {place}                                    | | | 405 UNSUPPORTED allow=*
        GET    /v2/free/a/blobs/uploads/                  | | | 405 UNSUPPORTED allow=POST
        -- a digest that is not that of the bytes, on every way
        POST   /v2/free/a/blobs/uploads/?digest={y}       | | x | 400 DIGEST_INVALID
        POST   /v2/free/a/blobs/uploads/?digest={y:512}   | | x | 400 DIGEST_INVALID
        POST   /v2/free/a/blobs/uploads/?digest=sha256:0  | | x | 400 DIGEST_INVALID
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PUT    {place}?digest={y}                         | | x | 400 DIGEST_INVALID
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PATCH  {place}                                    | | x | 202
        PUT    {place}?digest={y:512}                     | | | 400 DIGEST_INVALID
        POST   /v2/free/a/blobs/uploads/                  | | | 202 place
        PATCH  {place}                                    | content-range: 0-0 | x | 202
        PUT    {place}?digest={y}                         | content-range: 1-1 | x | 400 DIGEST_INVALID
        GET    /v2/free/a/blobs/{x}                       | | | 404 BLOB_UNKNOWN
        GET    /v2/free/a/blobs/{y}                       | | | 404 BLOB_UNKNOWN
        ",
    )
    .await;
}

#[tokio::test]
async fn blobs_are_read_in_part_mounted_and_given_up() {
    follows(
        &[],
        "
        POST   /v2/free/a/blobs/uploads/?digest={0123456789} | | 0123456789 | 201
        HEAD   /v2/free/a/blobs/{0123456789}              | | | 200 content-length=10 docker-content-digest={0123456789} accept-ranges=bytes
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=2-4 | | 206 body=234 content-range=*
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=7- | | 206 body=789
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=-2 | | 206 body=89
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=-99 | | 206 body=0123456789
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=8-99 | | 206 body=89
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=0-0 | | 206 body=0 content-length=1
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=5-0 | | 416 SIZE_INVALID
        GET    /v2/free/a/blobs/{0123456789}              | range: bytes=10- | | 416 SIZE_INVALID content-range=*
        GET    /v2/free/a/blobs/{0123456789}              | range: lines=1-2 | | 200 body=0123456789
        -- from another repository, which may or may not be named
        POST   /v2/free/b/blobs/uploads/?mount={0123456789}&from=free/a | | | 201 location=/v2/free/b/blobs/{0123456789} docker-content-digest={0123456789}
        POST   /v2/free/c/blobs/uploads/?mount={0123456789} | | | 201 location=/v2/free/c/blobs/{0123456789}
        GET    /v2/free/c/blobs/{0123456789}              | | | 200 body=0123456789
        POST   /v2/free/d/blobs/uploads/?mount={absent}&from=free/a | | | 202 place
        PUT    {place}?digest={absent}                    | | absent | 201
        POST   /v2/free/d/blobs/uploads/?mount={0123456789}&from=free/none | | | 202 place
        DELETE {place}                                    | | | 204
        POST   /v2/free/d/blobs/uploads/?mount=sha256:baddigeststring | | | 400 DIGEST_INVALID
        POST   /v2/free/d/blobs/uploads/?mount={0123456789}&from=NO | | | 400 NAME_INVALID
        -- gone at once, and there alone
        DELETE /v2/free/a/blobs/{0123456789}              | | | 202
        HEAD   /v2/free/a/blobs/{0123456789}              | | | 404
        GET    /v2/free/a/blobs/{0123456789}              | | | 404 BLOB_UNKNOWN
        DELETE /v2/free/a/blobs/{0123456789}              | | | 404 BLOB_UNKNOWN
        GET    /v2/free/b/blobs/{0123456789}              | | | 200 body=0123456789
        GET    /v2/free/b/blobs/sha256:baddigeststring    | | | 400 DIGEST_INVALID
        PUT    /v2/free/b/blobs/{0123456789}              | | | 405 UNSUPPORTED allow=*
        GET    /v2/FREE/b/blobs/{0123456789}              | | | 400 NAME_INVALID
        GET    /v2/nobody/b/blobs/{0123456789}            | | | 404 NAME_UNKNOWN
        ",
    )
    .await;
}

/// A manifest of one config and one layer, as the table of names knows them.
fn image(more: &Value) -> Vec<u8> {
    let part =
        |bytes: &str| json!({ "mediaType": "application/x", "digest": sha256(bytes.as_bytes()), "size": bytes.len() });
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": part("config"), "layers": [part("layer")] });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::to_vec_pretty(&manifest).unwrap()
}

const PUSH_BLOBS: &str = "
    POST   /v2/free/a/blobs/uploads/?digest={config} | | config | 201
    POST   /v2/free/a/blobs/uploads/?digest={layer}  | | layer  | 201
    ";

async fn of_manifests(known: &[(&str, Vec<u8>)], table: &str) {
    let typed =
        table.replace("IMAGE", &format!("content-type: {IMAGE}")).replace("INDEX", &format!("content-type: {INDEX}"));
    follows(known, &format!("{PUSH_BLOBS}{typed}")).await;
}

const MANIFESTS: &str = "
    PUT    /v2/free/a/manifests/one          | IMAGE | @image | 201 location=/v2/free/a/manifests/{image} docker-content-digest={image} oci-subject!
    PUT    /v2/free/a/manifests/{image}      | IMAGE | @image | 201 location=/v2/free/a/manifests/{image}
    PUT    /v2/free/a/manifests/{image:512}  | IMAGE | @image | 201 docker-content-digest={image:512}
    GET    /v2/free/a/manifests/one          | | | 200 bytes=image content-type=application/vnd.oci.image.manifest.v1+json docker-content-digest={image}
    GET    /v2/free/a/manifests/{image}      | accept: application/vnd.oci.image.manifest.v1+json | | 200 bytes=image
    GET    /v2/free/a/manifests/{image:512}  | | | 200 bytes=image docker-content-digest={image:512}
    HEAD   /v2/free/a/manifests/one          | | | 200 content-length=* docker-content-digest={image}
    -- whatever the format of content allows
    PUT    /v2/free/a/manifests/odd          | IMAGE | @odd | 201
    GET    /v2/free/a/manifests/odd          | | | 200 bytes=odd
    PUT    /v2/free/a/manifests/bare         | IMAGE | @bare | 201
    PUT    /v2/free/a/manifests/far          | IMAGE | @far | 201
    PUT    /v2/free/a/manifests/index        | INDEX | @index | 201
    PUT    /v2/free/a/manifests/nested       | INDEX | @nested | 201
    PUT    /v2/free/a/manifests/none         | INDEX | @none | 201
    GET    /v2/free/a/manifests/none         | | | 200 bytes=none content-type=application/vnd.oci.image.index.v1+json
    PUT    /v2/free/a/manifests/large        | IMAGE | @large | 201
    GET    /v2/free/a/manifests/large        | | | 200 bytes=large
    -- several tags at once
    PUT    /v2/free/a/manifests/{other}?tag=x&tag=y         | IMAGE | @other | 201 oci-tag=x
    PUT    /v2/free/a/manifests/{other:512}?tag=long        | IMAGE | @other | 201 oci-tag=long docker-content-digest={other:512}
    GET    /v2/free/a/manifests/y            | | | 200 bytes=other docker-content-digest={other}
    GET    /v2/free/a/manifests/long         | | | 200 bytes=other docker-content-digest={other:512}
    PUT    /v2/free/a/manifests/{other}?tag=.bad            | IMAGE | @other | 400 MANIFEST_INVALID
    -- what is none
    PUT    /v2/free/a/manifests/sparse       | IMAGE | @sparse | 404 MANIFEST_BLOB_UNKNOWN
    PUT    /v2/free/a/manifests/bad          | IMAGE | no json | 400 MANIFEST_INVALID
    PUT    /v2/free/a/manifests/bad          | INDEX | @image | 400 MANIFEST_INVALID
    PUT    /v2/free/a/manifests/bad          | content-type: text/plain | @image | 400 MANIFEST_INVALID
    PUT    /v2/free/a/manifests/bad          | IMAGE | @huge | 413 SIZE_INVALID
    PUT    /v2/free/a/manifests/.bad         | IMAGE | @image | 400 MANIFEST_INVALID
    PUT    /v2/free/a/manifests/{other}      | IMAGE | @image | 400 DIGEST_INVALID
    PUT    /v2/free/a/manifests/sha256:baddigeststring | IMAGE | @image | 400 DIGEST_INVALID
    POST   /v2/free/a/manifests/one          | IMAGE | @image | 405 UNSUPPORTED allow=*
    GET    /v2/free/a/manifests/bad          | | | 404 MANIFEST_UNKNOWN
    GET    /v2/free/a/manifests/{absent}     | | | 404 MANIFEST_UNKNOWN
    GET    /v2/free/a/manifests/sha256:baddigeststring | | | 400 DIGEST_INVALID
    -- a tag goes alone, a manifest with its tags
    DELETE /v2/free/a/manifests/x            | | | 202
    GET    /v2/free/a/manifests/x            | | | 404 MANIFEST_UNKNOWN
    HEAD   /v2/free/a/manifests/x            | | | 404
    DELETE /v2/free/a/manifests/x            | | | 404 MANIFEST_UNKNOWN
    GET    /v2/free/a/manifests/{other}      | | | 200 bytes=other
    DELETE /v2/free/a/manifests/{other}      | | | 202
    GET    /v2/free/a/manifests/{other}      | | | 404 MANIFEST_UNKNOWN
    GET    /v2/free/a/manifests/y            | | | 404 MANIFEST_UNKNOWN
    DELETE /v2/free/a/manifests/{other}      | | | 404 MANIFEST_UNKNOWN
    GET    /v2/free/a/manifests/long         | | | 200 bytes=other
    PUT    /v2/free/a/manifests/one          | IMAGE | @odd | 201 docker-content-digest={odd}
    GET    /v2/free/a/manifests/one          | | | 200 bytes=odd
    GET    /v2/free/a/manifests/{image}      | | | 200 bytes=image
    ";

#[tokio::test]
async fn manifests_are_pushed_fetched_and_deleted() {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": IMAGE, "digest": sha256(&image(&json!({}))), "size": image(&json!({})).len() }
    ]});
    let nested = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": INDEX, "digest": sha256(index.to_string().as_bytes()), "size": 1 }
    ]});
    let elsewhere = json!({ "layers": [{
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": sha256(b"elsewhere"), "size": 9, "urls": ["https://example.com/layer"]
    }]});
    let known = [
        ("image", image(&json!({}))),
        ("other", image(&json!({ "annotations": { "is": "another" } }))),
        (
            "odd",
            image(&json!({ "unknown": { "field": [1] }, "config": {
                "mediaType": "application/x", "digest": sha256(b"config"), "size": 6, "data": "Y29uZmln", "more": true
            }})),
        ),
        ("bare", image(&json!({ "layers": [] }))),
        ("far", image(&elsewhere)),
        ("sparse", image(&json!({ "layers": [{ "mediaType": "a/b", "digest": sha256(b"never pushed"), "size": 1 }] }))),
        ("index", index.to_string().into_bytes()),
        ("nested", nested.to_string().into_bytes()),
        ("none", br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()),
        ("large", image(&json!({ "annotations": { "filler": "x".repeat(3 << 20) } }))),
        ("huge", vec![b' '; (4 << 20) + 1]),
    ];
    of_manifests(&known, MANIFESTS).await;
}

#[tokio::test]
async fn tags_and_referrers_are_listed() {
    let to = |subject: &[u8], more: Value| {
        let mut fields = json!({ "subject": { "mediaType": IMAGE, "digest": sha256(subject), "size": subject.len() } });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        image(&fields)
    };
    let plain = image(&json!({}));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "subject": { "mediaType": IMAGE, "digest": sha256(&plain), "size": plain.len() } });
    let known = [
        ("by_config", to(&plain, json!({}))),
        ("by_type", to(&plain, json!({ "artifactType": "a/type", "annotations": { "k": "v" } }))),
        ("by_index", index.to_string().into_bytes()),
        ("early", to(b"comes later", json!({}))),
        ("image", plain),
    ];
    of_manifests(
        &known,
        "
        GET    /v2/free/a/tags/list              | | | 200 tags=
        PUT    /v2/free/a/manifests/b            | IMAGE | @image | 201
        PUT    /v2/free/a/manifests/a            | IMAGE | @image | 201
        PUT    /v2/free/a/manifests/1.0          | IMAGE | @image | 201
        GET    /v2/free/a/tags/list              | | | 200 tags=1.0,a,b link! content-type=application/json
        GET    /v2/free/a/tags/list?n=2          | | | 200 tags=1.0,a link=*
        GET    /v2/free/a/tags/list?n=2&last=a   | | | 200 tags=b link!
        GET    /v2/free/a/tags/list?last=a       | | | 200 tags=b
        GET    /v2/free/a/tags/list?n=0          | | | 200 tags=
        GET    /v2/free/a/tags/list?n=9999       | | | 200 tags=1.0,a,b
        GET    /v2/free/a/tags/list?n=x          | | | 400 SIZE_INVALID
        GET    /v2/free/none/tags/list           | | | 404 NAME_UNKNOWN
        DELETE /v2/free/a/tags/list              | | | 405 UNSUPPORTED allow=*
        -- to what is there, to what is not, to what never was
        PUT    /v2/free/a/manifests/{by_config}  | IMAGE | @by_config | 201 oci-subject={image}
        PUT    /v2/free/a/manifests/tagged       | IMAGE | @by_type | 201 oci-subject={image}
        PUT    /v2/free/a/manifests/{by_index}   | INDEX | @by_index | 201 oci-subject={image}
        PUT    /v2/free/a/manifests/{early}      | IMAGE | @early | 201 oci-subject={comes later}
        GET    /v2/free/a/referrers/{image}      | | | 200 content-type=application/vnd.oci.image.index.v1+json oci-filters-applied!
        GET    /v2/free/a/referrers/{image}?artifactType=a/type | | | 200 oci-filters-applied=artifactType
        GET    /v2/free/a/referrers/{comes later} | | | 200
        GET    /v2/free/a/referrers/{absent:512} | | | 200
        GET    /v2/free/a/referrers/sha256:baddigeststring | | | 400 DIGEST_INVALID
        PUT    /v2/free/a/referrers/{image}      | | | 405 UNSUPPORTED allow=*
        ",
    )
    .await;
}

#[tokio::test]
async fn each_of_the_fourteen_codes_is_told() {
    on_both(async |host| {
        let all = everything(host).await;
        let mut known = BTreeMap::from([("image".to_owned(), image(&json!({})))]);
        let typed = format!("content-type: {IMAGE}");
        let table = "
            GET    /v2/free/a/blobs/{absent}                | | | 404 BLOB_UNKNOWN
            POST   /v2/free/a/blobs/uploads/                | | | 202 place
            PATCH  {place}                                  | content-range: 3-5 | two | 416 BLOB_UPLOAD_INVALID
            GET    /v2/free/a/blobs/uploads/none            | | | 404 BLOB_UPLOAD_UNKNOWN
            PUT    {place}?digest=none                      | | | 400 DIGEST_INVALID
            PUT    /v2/free/a/manifests/t                   | TYPED | @image | 404 MANIFEST_BLOB_UNKNOWN
            PUT    /v2/free/a/manifests/t                   | TYPED | {} | 400 MANIFEST_INVALID
            GET    /v2/free/a/manifests/t                   | | | 404 MANIFEST_UNKNOWN
            GET    /v2/free/A/manifests/t                   | | | 400 NAME_INVALID
            GET    /v2/nobody/a/manifests/t                 | | | 404 NAME_UNKNOWN
            PATCH  {place}                                  | content-range: 0-9 | two | 400 SIZE_INVALID
            PUT    /v2/free/a/tags/list                     | | | 405 UNSUPPORTED
            ";
        walk(&all, &mut known, &table.replace("TYPED", &typed)).await;
        walk(&host.anyone(), &mut known, "GET /v2/ | | | 401 UNAUTHORIZED www-authenticate=*").await;
        let reader = holder(host, &["free"], &["pull"]).await;
        walk(&reader, &mut known, "POST /v2/free/a/blobs/uploads/ | | | 403 DENIED").await;
        for _ in 0..7 {
            ask(&all, Method::POST, "/v2/free/a/blobs/uploads/", &[], "").await.expect(202);
        }
        walk(&all, &mut known, "POST /v2/free/a/blobs/uploads/ | | | 429 TOOMANYREQUESTS retry-after=*").await;
    })
    .await;
}
