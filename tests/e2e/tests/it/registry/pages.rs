//! The catalogue's pages: what they show to whom, that strangers' text stays text, and that a browser loads nothing else.

use bulkhead_testkit::client::send;
use bulkhead_testkit::guests::hostile;
use bulkhead_testkit::keys::ALICE;
use bulkhead_testkit::{Answer, Client, TestHost};
use reqwest::Method;
use serde_json::json;

use super::plugins::{CATALOGUE, offer, publish, release};
use super::{everything, holder, on_both};

/// As a browser does: any name, the token as the password.
async fn look(host: &TestHost, token: &Client, path: &str) -> Answer {
    send(host.anyone().request(Method::GET, path).basic_auth("anybody", Some(token.token()))).await
}

#[tokio::test]
async fn people_search_plugins_and_see_who_signed_what() {
    on_both(async |host| {
        let client = everything(host).await;
        for version in ["1.0.0", "1.1.0"] {
            offer(&client, &release("acme.crm", version)).await;
        }
        publish(&client, &release("acme.crm", "1.2.0")).await.expect(201);
        let yanked = json!({ "version": "1.1.0", "reason": "loses data" });
        host.admin().post_json(&format!("{CATALOGUE}/acme.crm/yank"), &yanked).await.expect(200);
        let reader = holder(host, &["acme"], &["pull"]).await;

        let list = look(host, &reader, "/registry").await.expect(200).text();
        let plugin = look(host, &reader, "/registry/acme.crm").await.expect(200).text();

        for text in ["href=\"/registry/acme.crm\"", "1.0.0", "alice (author)", "<label for=\"q\">", "lang=\"en\""] {
            assert!(list.contains(text), "{text}: {list}");
        }
        for text in ["1.1.0", "yanked", "loses data", "sha256:", "alice (author)", "scope=\"col\""] {
            assert!(plugin.contains(text), "{text}: {plugin}");
        }
        assert!(!plugin.contains("1.2.0"), "{plugin}");
        let owners = look(host, &client, "/registry/acme.crm").await.expect(200).text();
        assert!(owners.contains("1.2.0") && owners.contains("pending-signatures"), "{owners}");
        let none = look(host, &reader, "/registry?q=nothing+like+it").await.expect(200).text();
        assert!(none.contains("nothing like it") && !none.contains("acme.crm"), "{none}");
        assert!(look(host, &reader, "/registry?q=acme").await.expect(200).text().contains("acme.crm"));
        assert_eq!(look(host, &reader, "/registry/acme.none").await.status, 404);
        assert_eq!(look(host, &reader, "/registry/NO").await.status, 404);
        let elsewhere = holder(host, &["free"], &["pull"]).await;
        assert!(!look(host, &elsewhere, "/registry").await.expect(200).text().contains("acme.crm"));
    })
    .await;
}

#[tokio::test]
async fn a_page_wants_a_sign_in_and_lets_nothing_else_load() {
    let host = TestHost::new().await;
    let token = everything(&host).await;
    for path in ["/registry", "/registry/acme.crm"] {
        for client in [host.anyone(), host.anyone().with_token("bkr_0000"), host.admin()] {
            let refused = client.get(path).await;
            assert_eq!(refused.status, 401, "{path}");
            assert!(refused.header("www-authenticate").starts_with("Basic "), "{path}");
        }
    }

    let page = look(&host, &token, "/registry").await.expect(200);

    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for part in ["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "private, no-store");
    assert!(!page.text().contains("<script"), "{}", page.text());
}

#[tokio::test]
async fn a_hostile_name_is_shown_as_the_text_that_it_is() {
    let host = TestHost::new().await;
    super::grant(&host, &json!({ "namespace": "acme" })).await.expect(201);
    let client = everything(&host).await;
    let text = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let source = hostile("echo").source().id("acme.crm").version("1.0.0").edit(move |manifest| {
        manifest.plugin.name = text.to_owned();
        manifest.plugin.description = text.to_owned();
        manifest.plugin.license = text.to_owned();
    });
    publish(&client, &source.signed_by(ALICE)).await.expect(201);

    for path in ["/registry", "/registry/acme.crm", "/registry?q=%3Cscript%3E%22%27"] {
        let page = look(&host, &client, path).await.expect(200).text();
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
}
