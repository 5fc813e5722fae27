//! `bulkhead init` and `token issue`: what a host and its first people need.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::bench::Bench;

#[test]
fn a_fresh_folder_gets_everything_that_a_host_needs() {
    let bench = Bench::new();

    let text = bench.ok("init --dir host");

    assert!(text.contains("bulkhead serve"), "{text}");
    bench.ok("config check --config host/bulkhead.toml");
    bench.ok("policy check host/policy.toml");
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("host/keys"), 0o700);
    assert_eq!(mode("host/keys/root.key.pem"), 0o600);
    assert_eq!(mode("host/keys/cache.key"), 0o400);
    assert_eq!(mode("host/tokens/super_admin.token"), 0o600);
    assert_eq!(bench.read("host/keys/cache.key").len(), 32);
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let bench = Bench::new();
    bench.ok("init");
    let before = bench.read("keys/root.key.pem");

    bench.fails(1, "init");
    assert_eq!(bench.read("keys/root.key.pem"), before);

    fs::remove_file(bench.path("bulkhead.toml")).unwrap();
    bench.fails(1, "init");
    assert_eq!(bench.read("keys/root.key.pem"), before);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_nothing() {
    let bench = Bench::new();
    bench.write("tokens", "a file where a folder must be");

    bench.fails(1, "init --dir .");

    assert!(!bench.path("bulkhead.toml").exists());
    assert!(!bench.path("keys/root.key.pem").exists());
}

#[test]
fn a_token_is_printed_alone_and_carries_what_was_asked_for() {
    let bench = Bench::new();
    bench.ok("init");

    let line = "token issue --sub anna --role member tenant_admin --tenant acme --permission acme.crm.view --ttl 30m";
    let token = bench.ok(line);

    let mut parts = token.trim_end().split('.');
    let body = parts.nth(1).unwrap();
    let claims = data_encoding::BASE64URL_NOPAD.decode(body.as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "anna");
    assert_eq!(claims["tenant"], "acme");
    assert_eq!(claims["aud"], "bulkhead");
    assert_eq!(claims["roles"], serde_json::json!(["member", "tenant_admin"]));
    assert_eq!(claims["permissions"], serde_json::json!(["acme.crm.view"]));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 1_800);
}

#[test]
fn without_an_issuer_there_is_no_token() {
    let bench = Bench::new();

    bench.fails(4, "token issue --sub anna --role member");
    bench.write("key.pem", "no key");
    let stderr = bench.fails(1, "token issue --sub anna --role member --key key.pem");
    assert!(stderr.contains("is not the key of an issuer"), "{stderr}");
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let bench = Bench::new();
    bench.ok("init");
    bench.write("bulkhead.toml", "[server]\nlissen = 1\n[engine]\ninstances_max = 0\n");

    for command in ["config check", "config show", "serve"] {
        let stderr = bench.fails(1, command);
        assert!(stderr.contains("server.lissen") && stderr.contains("engine.instances_max"), "{stderr}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let bench = Bench::new();
    bench.ok("init");

    let mut command = bench.command("config show");
    let output = command.env("BULKHEAD__DATABASE__URL", "postgres://b:s3cret@db/b").output().unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("postgres://b:***@db/b") && !text.contains("s3cret"), "{text}");
}

#[test]
fn the_issuers_key_is_found_through_the_configuration() {
    let bench = Bench::new();
    bench.ok("init --dir host");
    fs::create_dir(bench.path("elsewhere")).unwrap();
    for half in ["key", "pub"] {
        let name = format!("issuer.{half}.pem");
        fs::rename(bench.path("host/keys").join(&name), bench.path("elsewhere").join(&name)).unwrap();
    }
    let text = String::from_utf8(bench.read("host/bulkhead.toml")).unwrap();
    bench.write("host/bulkhead.toml", text.replace("keys/issuer.pub.pem", "../elsewhere/issuer.pub.pem"));

    bench.ok("token issue --sub anna --role member --config host/bulkhead.toml");
    bench.ok("token issue --sub anna --role member --key elsewhere/issuer.key.pem");
}
