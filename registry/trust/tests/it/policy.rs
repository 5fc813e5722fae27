//! Policies: every mistake is named at once, the JSON form is the same policy, only root keys install one.
//! What a policy decides is the matter of `admit`.

use bulkhead_model::{Code, Coded as _};
use bulkhead_trust::Policy;
use bulkhead_trust::policy::{self, Error};

use crate::fixtures::{ANNA, AUTHOR, BO, OTHER, POLICY, STRANGER, key, now, policy, policy_text};

fn pointers(text: &str) -> Vec<String> {
    match Policy::from_toml(&policy_text(text)) {
        Err(Error::Invalid(issues)) => issues.into_iter().map(|issue| issue.pointer).collect(),
        other => panic!("{other:?} of {text}"),
    }
}

/// [`POLICY`] with one text replaced has mistakes at exactly these places.
fn check(from: &str, to: &str, wanted: &[&str]) {
    assert!(POLICY.contains(from), "{from}");
    assert_eq!(pointers(&POLICY.replacen(from, to, 1)), wanted, "{to}");
}

#[test]
fn a_policy_is_read_completely() {
    let policy = policy(POLICY);

    let rule = &policy.allow[0];
    assert_eq!((policy.version, policy.principals.len()), (14, 4));
    assert_eq!((rule.id.as_str(), rule.signers[0].threshold), ("crm-prod", 1));
    assert_eq!(rule.limits.storage_bytes, Some(512 << 20));
    assert_eq!(policy.principals[0].valid_until.unwrap().to_string(), "2027-01-01T00:00:00Z");
}

#[test]
fn modes_and_reviews_are_kept_by_the_json_form_and_other_words_are_mistakes() {
    let text = POLICY
        .replace("version = 14", "version = 14\nmode = \"observe\"")
        .replace("id = \"crm-prod\"", "id = \"crm-prod\"\nmode = \"observe\"\nreview_wider = true")
        + "[[deny]]\nplugin = \"acme.crm\"\nmode = \"observe\"\n";
    let read = policy(&text);

    let again = Policy::from_json(&read.to_json()).unwrap();

    assert_eq!(again, read);
    let modes = [read.mode, read.allow[0].mode, read.deny[0].mode];
    assert_eq!(modes, [policy::Mode::Observe; 3]);
    assert!(read.allow[0].review_wider);
    assert!(!String::from_utf8(policy(POLICY).to_json()).unwrap().contains("enforce"));
    check("version = 14", "version = 14\nmode = \"watch\"", &["/mode"]);
    check("id = \"crm-prod\"", "id = \"crm-prod\"\nreview_wider = 1", &["/allow/0/review_wider"]);
}

#[test]
fn a_policy_that_is_only_asked_about_is_read_with_and_without_an_envelope() {
    let wanted = policy(POLICY);

    let plain = Policy::from_unverified(&wanted.to_json()).unwrap();
    let enveloped = Policy::from_unverified(policy::sign(&wanted, &key(STRANGER)).as_bytes()).unwrap();

    assert_eq!((&plain, &enveloped), (&wanted, &wanted));
    assert!(Policy::from_unverified(b"{}").is_err());
    assert!(Policy::from_unverified(b"").is_err());
}

#[test]
fn the_published_sample_is_a_policy() {
    // As it is published: `;` stands for a line break, and the people whom it names have keys.
    let sample = r#"
version = 14            # monotone
expires = "2027-01-31T00:00:00Z"
[[principal]]
name = "acme-release"; keys = ["AUTHOR"]; valid = ["2026-01-01","2027-12-31"]
[[allow]]
id = "crm-prod"
plugin = "acme.crm"                # or "acme.*"
version = ">=1.2.0, <2.0.0"; prerelease = false
signers = [{ role="author", of=["acme-release"], threshold=1 },
           { role="reviewer", of=["sec-anna","sec-bo","sec-cy"], threshold=2 }]
tenants = ["bank-*"]
min_runtime = "48.0.8"
[allow.ceiling]
interfaces = ["bulkhead:plugin/sql", "bulkhead:plugin/http"]
hosts = ["api.acme.example"]; storage_mb = 512; events = ["crm.*"]; secrets = ["crm_api_key"]
expires = "2027-01-01"; reason = "RISK-4711"; approved_by = "anna"
[[deny]]
plugin = "*"; digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"; reason = "CVE"
"#;
    let people = [("sec-anna", "ANNA"), ("sec-bo", "BO"), ("sec-cy", "OTHER")]
        .map(|(name, key)| format!("[[principal]]\nname = \"{name}\"\nkeys = [\"{key}\"]\n"));

    let policy = policy(&(sample.replace("; ", "\n") + &people.concat()));

    let rule = &policy.allow[0];
    assert_eq!((policy.version, rule.id.as_str(), rule.plugin.as_str()), (14, "crm-prod", "acme.crm"));
    assert_eq!((rule.reason.as_str(), rule.approved_by.as_str()), ("RISK-4711", "anna"));
    assert_eq!(rule.expires.unwrap().to_string(), "2027-01-02T00:00:00Z");
    assert_eq!((rule.signers[1].threshold, rule.signers[1].of.len()), (2, 3));
    assert_eq!(rule.limits.storage_bytes, Some(512 << 20));
    assert_eq!(rule.ceiling.hosts[0].as_str(), "api.acme.example");
    assert_eq!((rule.ceiling.events[0].as_str(), rule.ceiling.secrets[0].as_str()), ("crm.*", "crm_api_key"));
    assert_eq!(policy.deny.len(), 1);
    let remarks: Vec<_> = policy.check(now()).into_iter().map(|issue| issue.pointer).collect();
    assert_eq!(remarks, ["/allow/0/author"]);
}

#[test]
fn a_threshold_is_any_all_or_a_number() {
    let check = |threshold: &str, wanted: usize| {
        let text = POLICY.replace(
            "threshold = 1 }",
            &format!("threshold = 1 }}, {{ role = \"reviewer\", of = [\"sec-anna\", \"sec-bo\", \"other-team\"], threshold = {threshold} }}"),
        );
        let read = policy(&text);
        assert_eq!(read.allow[0].signers[1].threshold, wanted, "{threshold}");
        assert_eq!(Policy::from_json(&read.to_json()).unwrap(), read, "{threshold}");
    };

    check("\"any\"", 1);
    check("1", 1);
    check("2", 2);
    check("3", 3);
    check("\"all\"", 3);
    for bad in ["0", "4", "-1", "1.0", "\"2\"", "\"ALL\"", "\"\"", "true", "[1]", "18446744073709551616"] {
        let text = POLICY.replace("threshold = 1", &format!("threshold = {bad}"));
        assert!(Policy::from_toml(&policy_text(&text)).is_err(), "{bad}");
    }
}

#[test]
fn the_json_form_is_the_same_policy() {
    let full = POLICY.replace(
        "tenants = [\"bank-*\"]",
        "tenants = [\"bank-*\", \"test\"]\nprerelease = true\nmin_runtime = \"48.0.8\"\ncategory = \"core\"\ncritical = true\n\
         valid_from = \"2026-01-01\"\nexpires = 2027-01-01\nreason = \"r\"\nauthor = \"a\"\napproved_by = \"b\"\n\
         limits = { fuel_per_call = 5, memory_bytes = 6, deadline_ms = 7, fuel_per_minute = 8, fuel_per_month = 9, function_bytes = 1_000_000, imports = 10 }",
    ) + "[[deny]]\nkey = \"STRANGER\"\nfrom = 2026-01-01T00:00:00Z\n[[deny]]\nplugin = \"acme.*\"\nversion = \"<1.1.0\"\nreason = \"old\"\n";
    for policy in [Policy::deny_all(), policy(POLICY), policy(&full)] {
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap(), policy);
    }
    assert_eq!(policy(&full).allow[0].structure.function_bytes, 1_000_000);
}

#[test]
fn every_mistake_is_named_at_once() {
    let text = POLICY
        .replace("version = 14", "version = -1\nverison = 1")
        .replace("role = \"author\"", "role = \"boss\"")
        .replace("\"AUTHOR\"", "\"ed25519:AAAA\"")
        .replace("2027-01-31T00:00:00Z", "tomorrow")
        .replace("plugin = \"acme.crm\"", "plugin = \"acme*\"")
        .replace("bulkhead:plugin/sql", "bulkhead:plugin/sqll")
        .replace("storage_mb", "storage_gb");

    assert_eq!(
        pointers(&text),
        [
            "/version",
            "/expires",
            "/principal/0/keys/0",
            "/principal/0/keys",
            "/allow/0/plugin",
            "/allow/0/signers/0/role",
            "/allow/0/ceiling/interfaces/0",
            "/allow/0/ceiling/storage_gb",
            "/verison",
        ]
    );
}

#[test]
fn each_mistake_has_its_place() {
    check("version = 14", "", &["/version"]);
    check("version = 14", "version = \"14\"", &["/version"]);
    check("expires = ", "expiry = ", &["/expires", "/expiry"]);
    check("name = \"sec-bo\"", "name = \"sec-anna\"", &["/principal/2/name"]);
    check("keys = [\"BO\"]", "keys = [\"ANNA\"]", &["/principal/2/keys/0"]);
    check("keys = [\"BO\"]", "keys = []", &["/principal/2/keys"]);
    check("[\"2026-01-01\", \"2026-12-31\"]", "[\"2026-12-31\", \"2026-01-01\"]", &["/principal/0/valid"]);
    check("[\"2026-01-01\", \"2026-12-31\"]", "\"2026-01-01\"", &["/principal/0/valid"]);
    check("of = [\"acme-release\"]", "of = [\"acme\"]", &["/allow/0/signers/0/of"]);
    check("threshold = 1", "threshold = 0", &["/allow/0/signers/0/threshold"]);
    check("threshold = 1", "threshold = 2", &["/allow/0/signers/0/threshold"]);
    check("threshold = 1", "threshold = \"most\"", &["/allow/0/signers/0/threshold"]);
    check("of = [\"acme-release\"]", "of = [\"acme-release\", \"acme-release\"]", &["/allow/0/signers/0/of"]);
    check(
        "signers = [{ role = \"author\", of = [\"acme-release\"], threshold = 1 }]",
        "signers = []",
        &["/allow/0/signers"],
    );
    check("tenants = [\"bank-*\"]", "", &["/allow/0/tenants"]);
    check("tenants = [\"bank-*\"]", "tenants = [\"*-bank\"]", &["/allow/0/tenants/0", "/allow/0/tenants"]);
    check(">=1.2.0, <2.0.0", "latest", &["/allow/0/version"]);
    check("plugin = \"acme.crm\"", "plugin = \"ac*e.crm\"", &["/allow/0/plugin"]);
    check("plugin = \"acme.crm\"", "", &["/allow/0/plugin"]);
    check("bulkhead:plugin/sql", "bulkhead:plugin/sql@0.1.0", &["/allow/0/ceiling/interfaces/0"]);
    check("storage_mb = 512", "storage_mb = 512\nhosts = [\"api.acme.*\"]", &["/allow/0/ceiling/hosts/0"]);
    check(
        "[allow.ceiling]",
        "expires = \"2027-01-01\"\n[allow.ceiling]\nexpires = \"2027-01-01\"",
        &["/allow/0/ceiling/expires"],
    );
    check(
        "[allow.ceiling]",
        "limits = { function_bytes = 100_000_000 }\n[allow.ceiling]",
        &["/allow/0/limits/function_bytes"],
    );
    check("[allow.ceiling]", "category = \"vital\"\n[allow.ceiling]", &["/allow/0/category"]);
    check("[[allow]]", "[[deny]]\nreason = \"everything?\"\n[[allow]]", &["/deny/0"]);
    check("[[allow]]", "[[deny]]\nkey = \"x\"\ndigest = \"y\"\n[[allow]]", &["/deny/0/digest", "/deny/0/key"]);
    let twice = format!("{POLICY}{}", &POLICY[POLICY.find("[[allow]]").unwrap()..]);
    assert_eq!(pointers(&twice), ["/allow/1/id"]);
}

#[test]
fn weak_keys_do_not_enter_a_policy() {
    check(
        "\"BO\"",
        "\"ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
        &["/principal/2/keys/0", "/principal/2/keys"],
    );
}

#[test]
fn documents_that_are_no_policy_are_refused() {
    for bad in ["", "version", "[[allow]", "version = 1\nversion = 2"] {
        assert!(Policy::from_toml(bad).is_err(), "{bad}");
    }
    for bad in [
        &b""[..],
        b"[]",
        b"null",
        b"{}",
        b"{\"version\":1,\"version\":2,\"expires\":\"2027-01-31T00:00:00Z\"}",
        b"{\"version\":1,\"expires\":\"2027-01-31T00:00:00Z\",\"principal\":{}}",
        b"{\"version\":1,\"expires\":\"2027-01-31T00:00:00Z\",\"allow\":[1]}",
        b"{\"version\":1,\"expires\":\"2027-01-31T00:00:00Z\"} {}",
        "[".repeat(100_000).as_bytes(),
        &vec![b' '; 256 * 1024 + 1],
    ] {
        assert_eq!(Policy::from_json(bad).unwrap_err().code(), Code::PolicyInvalid);
    }
    let many = format!("version = 1\nexpires = \"2027-01-31\"\n{}", "[[deny]]\nplugin = \"*\"\n".repeat(4_097));
    assert_eq!(pointers(&many), ["/deny"]);
}

#[test]
fn what_is_odd_about_a_policy_is_said() {
    // Who accounts for a rule is looked at elsewhere.
    let accounted =
        POLICY.replace("[allow.ceiling]", "reason = \"r\"\nauthor = \"a\"\napproved_by = \"b\"\n[allow.ceiling]");
    let odd = |addition: &str| -> Vec<String> {
        policy(&format!("{accounted}{addition}")).check(now()).into_iter().map(|issue| issue.pointer).collect()
    };
    let rule = |plugin: &str, version: &str, tenant: &str| {
        format!(
            "[[allow]]\nid = \"b\"\nplugin = \"{plugin}\"\nversion = \"{version}\"\ntenants = [\"{tenant}\"]\nreason = \"r\"\nauthor = \"a\"\napproved_by = \"b\"\n\
             signers = [{{ role = \"reviewer\", of = [\"sec-anna\", \"sec-bo\", \"other-team\"], threshold = \"any\" }}]\n"
        )
    };
    let unused = ["/principal/1", "/principal/2", "/principal/3"];

    assert_eq!(odd(""), unused);
    assert_eq!(odd(&rule("acme.*", "*", "bank-1")), ["/allow/1"]);
    assert_eq!(odd(&rule("*", "^1.5", "*")), ["/allow/1"]);
    assert_eq!(odd(&rule("acme.crm", "<1.2.0", "*")), [] as [&str; 0]);
    assert_eq!(odd(&rule("acme.crm", ">=2.0.0", "*")), [] as [&str; 0]);
    assert_eq!(odd(&rule("acme.crm", ">1.9.9", "*")), ["/allow/1"]);
    assert_eq!(odd(&rule("acme.crm", "*", "shop-*")), [] as [&str; 0]);
    assert_eq!(odd(&rule("acme.billing", "*", "*")), [] as [&str; 0]);
    let over = policy(
        &accounted
            .replace("2027-01-31T00:00:00Z", "2026-01-01")
            .replace("[allow.ceiling]", "expires = \"2026-01-01\"\n[allow.ceiling]"),
    );
    let pointers: Vec<_> = over.check(now()).into_iter().map(|issue| issue.pointer).collect();
    assert_eq!(pointers, ["/expires", "/principal/1", "/principal/2", "/principal/3", "/allow/0/expires"]);
}

#[test]
fn who_accounts_for_a_rule_keys_without_a_use_and_what_is_above_its_level_are_said() {
    let pointers = |rule: &str, more: &str| -> Vec<String> {
        let text = format!("{}{more}", POLICY.replace("[allow.ceiling]", &format!("{rule}\n[allow.ceiling]")));
        let said = policy(&text).check(now()).into_iter().map(|issue| issue.pointer);
        // Principals whom no rule names are looked at elsewhere.
        said.filter(|pointer| !["/principal/1", "/principal/2", "/principal/3"].contains(&pointer.as_str())).collect()
    };
    let full = "reason = \"r\"\nauthor = \"a\"\napproved_by = \"b\"";

    assert_eq!(pointers("", ""), ["/allow/0/reason", "/allow/0/author", "/allow/0/approved_by"]);
    assert_eq!(pointers(full, ""), [] as [&str; 0]);
    assert_eq!(pointers("reason = \"r\"\nauthor = \"a\"\napproved_by = \"a\"", ""), ["/allow/0/approved_by"]);
    assert_eq!(pointers("reason = \" \"\nauthor = \"a\"\napproved_by = \"b\"", ""), ["/allow/0/reason"]);
    assert_eq!(pointers(full, "[[deny]]\nkey = \"AUTHOR\"\n"), ["/principal/0/keys/0"]);
    assert_eq!(pointers(full, "[[deny]]\nkey = \"AUTHOR\"\nplugin = \"acme.old\"\n"), [] as [&str; 0]);
    assert_eq!(pointers(&format!("{full}\ntrust = \"verified\""), ""), [] as [&str; 0]);
    assert_eq!(pointers(&format!("{full}\ntrust = \"community\""), ""), ["/allow/0/ceiling/storage_mb"]);
    assert_eq!(
        pointers(&format!("{full}\ntrust = \"untrusted\"\nlimits = {{ memory_bytes = 70_000_000 }}"), ""),
        ["/allow/0/ceiling/interfaces", "/allow/0/limits/memory_bytes", "/allow/0/ceiling/storage_mb"]
    );
    let both = policy(&POLICY.replace(
        "threshold = 1 }",
        "threshold = 1 }, { role = \"reviewer\", of = [\"acme-release\"], threshold = 1 }",
    ));
    assert!(both.check(now()).iter().any(|issue| issue.pointer == "/allow/0/signers"));
}

fn roots() -> Vec<bulkhead_trust::VerifyingKey> {
    [AUTHOR, ANNA, BO].map(|seed| key(seed).verifying_key()).to_vec()
}

#[test]
fn a_policy_is_installed_by_enough_root_keys() {
    let policy = policy(POLICY);
    let one = policy::sign(&policy, &key(AUTHOR));
    let two = policy::add_signature(one.as_bytes(), &key(BO)).unwrap();

    assert_eq!(policy::verify(one.as_bytes(), &roots(), 1).unwrap(), policy);
    assert_eq!(policy::verify(two.as_bytes(), &roots(), 2).unwrap(), policy);
    assert_eq!(policy::verify(one.as_bytes(), &roots(), 0).unwrap(), policy);
}

#[test]
fn a_policy_without_enough_root_keys_is_refused() {
    let good = policy::sign(&policy(POLICY), &key(AUTHOR));
    let twice = policy::add_signature(good.as_bytes(), &key(AUTHOR)).unwrap();
    let stranger = policy::add_signature(good.as_bytes(), &key(STRANGER)).unwrap();
    let other = policy::sign(&policy(&POLICY.replace("version = 14", "version = 15")), &key(OTHER));
    let payload =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["payload"].as_str().unwrap().to_owned();
    let swapped = good.replace(&payload(&good), &payload(&other));
    for (name, envelope, threshold, code) in [
        ("one of two", good.clone(), 2, Code::ThresholdNotMet),
        ("one key twice", twice, 2, Code::ThresholdNotMet),
        ("a stranger beside it", stranger, 2, Code::ThresholdNotMet),
        ("a stranger alone", other, 1, Code::UnknownSigner),
        ("another policy under the signature", swapped, 1, Code::UnknownSigner),
        (
            "no signature",
            serde_json::json!({ "payload": payload(&good), "payloadType": policy::PAYLOAD_TYPE, "signatures": [] })
                .to_string(),
            1,
            Code::Malformed,
        ),
        ("another type", good.replace("policy.v1", "policy.v2"), 1, Code::Malformed),
        ("an unknown field", good.replacen('{', "{\"extra\":1,", 1), 1, Code::Malformed),
        ("no JSON", "policy".to_owned(), 1, Code::Malformed),
        ("a large one", " ".repeat(policy::ENVELOPE_BYTES_MAX + 1), 1, Code::TooLarge),
    ] {
        assert_eq!(policy::verify(envelope.as_bytes(), &roots(), threshold).unwrap_err().code(), code, "{name}");
    }
    assert!(policy::verify(good.as_bytes(), &[], 1).is_err());
}
