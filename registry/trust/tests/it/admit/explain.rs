//! All reasons, the rule that explains best, edited facts, dev mode. Each rule's own reasons stand in `admit`.

use super::*;

#[test]
fn every_reason_is_given_not_the_first() {
    let text = format!(
        "{}[[deny]]\nplugin = \"acme.crm\"\n",
        replaced("[\"bulkhead:plugin/sql\"]", "[]").replace(">=1.2.0", ">=1.3.0")
    );
    let case = Case { bundles: Vec::new(), ..good().under(&text).known("1.3.0", 9) };

    check(
        "all at once",
        &case,
        &[Code::Revoked, Code::Unsigned, Code::VersionOutOfRange, Code::Downgrade, Code::CapabilityOverCeiling],
    );
}

#[test]
fn the_closest_rule_explains_and_the_others_are_listed() {
    let text = format!(
        "{}[[allow]]\nid = \"far\"\nplugin = \"acme.*\"\nversion = \"^3\"\ntenants = [\"*\"]\n\
         signers = [{{ role = \"author\", of = [\"other-team\"], threshold = 1 }}]\n",
        replaced(">=1.2.0", ">=1.3.0")
    );
    let case = good().under(&text);
    let artifact = read(&case.bytes).unwrap();
    let bundles: Vec<&[u8]> = case.bundles.iter().map(String::as_bytes).collect();

    let explanation = explain(&Facts::of(&artifact), &artifact.digest, &bundles, &case.policy, &case.state, case.now);

    assert_eq!(codes(&explanation.decision.unwrap_err()), [Code::VersionOutOfRange]);
    let rules: Vec<_> = explanation.rules.iter().map(|(id, reasons)| (id.as_str(), codes(reasons))).collect();
    assert_eq!(
        rules,
        [
            ("crm-prod", vec![Code::VersionOutOfRange]),
            (
                "far",
                vec![Code::UnknownSigner, Code::ThresholdNotMet, Code::VersionOutOfRange, Code::CapabilityOverCeiling]
            ),
        ]
    );
    assert_eq!(explanation.signers.len(), 1);
}

#[test]
fn facts_that_were_edited_are_refused() {
    let artifact = read(&artifact()).unwrap();
    let facts = Facts::of(&artifact);
    let bundle = signed(&crate::fixtures::artifact(), AUTHOR);
    let judge = |facts: &Facts| {
        let verdict =
            evaluate(facts, &artifact.digest, &[bundle.as_bytes()], &policy(POLICY), &State::default(), now());
        verdict.map_err(|refusals| codes(&refusals))
    };
    let kv = "bulkhead:plugin/kv@0.1.0".to_owned();
    let more = Facts { imports: [facts.imports.clone(), vec![kv]].concat(), ..facts.clone() };
    let digest = bulkhead_trust::imports::Imports::of(more.imports.iter().map(String::as_str)).0.digest();

    assert!(judge(&facts).is_ok());
    assert_eq!(judge(&more), Err(vec![Code::ManifestMismatch]));
    assert_eq!(judge(&Facts { imports_digest: digest, ..more }).unwrap_err()[0], Code::ManifestMismatch);
    assert_eq!(
        judge(&Facts { imports: vec!["wasi:sockets/tcp@0.2.0".to_owned()], ..facts.clone() }),
        Err(vec![Code::ForbiddenImport])
    );
    assert_eq!(
        judge(&Facts { manifest: facts.manifest.replace("1.2.0", "1.4.0"), ..facts.clone() }),
        Err(vec![Code::ManifestMismatch])
    );
    assert_eq!(judge(&Facts { manifest: "{}".to_owned(), ..facts.clone() }).unwrap_err()[0], Code::Malformed);
    assert_ne!(facts.digest(), Facts { size_bytes: 1, ..facts.clone() }.digest());
    assert_eq!(serde_json::from_slice::<Facts>(&facts.to_json()).unwrap(), facts);
}

#[test]
fn what_is_only_observed_decides_nothing_and_is_told() {
    let strict = "[[allow]]\nid = \"strict\"\nmode = \"observe\"\nplugin = \"acme.*\"\nversion = \"^3\"\ntenants = [\"*\"]\n\
         signers = [{ role = \"author\", of = [\"acme-release\"], threshold = 1 }]\n\
         [allow.ceiling]\ninterfaces = [\"*\"]\n";
    let denies = "[[deny]]\nmode = \"observe\"\nplugin = \"acme.crm\"\nreason = \"old\"\n\
         [[deny]]\nmode = \"observe\"\nkey = \"AUTHOR\"\n[[deny]]\nmode = \"observe\"\nplugin = \"acme.other\"\n";
    let told = |text: &str, tenant: Option<&str>| {
        let case = good().under(text);
        let artifact = read(&case.bytes).unwrap();
        let bundles: Vec<&[u8]> = case.bundles.iter().map(String::as_bytes).collect();
        let state = State { tenant: tenant.map(|tenant| tenant.parse().unwrap()), ..State::default() };
        let told = explain(&Facts::of(&artifact), &artifact.digest, &bundles, &case.policy, &state, case.now);
        assert_eq!(told.decision.map(|verdict| verdict.rule), Ok("crm-prod".to_owned()));
        told.observed.into_iter().map(|one| (one.by, one.refusal.code)).collect::<Vec<_>>()
    };

    let of_rule = told(&format!("{POLICY}{strict}"), Some("bank-one"));
    let of_denies = told(&format!("{POLICY}{denies}"), None);
    let of_others =
        told(&format!("{POLICY}{}", strict.replace("tenants = [\"*\"]", "tenants = [\"shop-*\"]")), Some("bank-one"));

    assert_eq!(of_rule, [("strict".to_owned(), Code::VersionOutOfRange)]);
    assert_eq!(of_denies, [("deny".to_owned(), Code::Revoked), ("deny".to_owned(), Code::Revoked)]);
    assert_eq!(of_others, []);
}

#[test]
fn a_rule_that_is_only_observed_allows_nothing() {
    let case = good().under(&POLICY.replace("id = \"crm-prod\"", "id = \"crm-prod\"\nmode = \"observe\""));

    check("observed", &case, &[Code::UnknownSigner]);
}

#[test]
fn any_rule_that_is_met_can_ask_for_a_review_of_what_is_wider() {
    let second = "[[allow]]\nid = \"second\"\nplugin = \"acme.*\"\ntenants = [\"bank-two\"]\nreview_wider = true\n\
         signers = [{ role = \"author\", of = [\"acme-release\"], threshold = 1 }]\n\
         [allow.ceiling]\ninterfaces = [\"bulkhead:plugin/sql\"]\n";
    let wanted = |text: &str| {
        let case = good().under(text);
        let artifact = read(&case.bytes).unwrap();
        let bundles: Vec<&[u8]> = case.bundles.iter().map(String::as_bytes).collect();
        evaluate(&Facts::of(&artifact), &artifact.digest, &bundles, &case.policy, &case.state, case.now)
            .unwrap()
            .review_wider
    };

    assert!(!wanted(POLICY));
    assert!(wanted(&format!("{POLICY}{second}")));
    assert!(!wanted(&format!("{POLICY}{}", second.replace("acme.*", "acme.other"))));
}

#[test]
fn dev_mode_denies_what_the_policy_denies() {
    let artifact = read(&artifact()).unwrap();
    let policy = policy(&format!("{POLICY}[[deny]]\ndigest = \"{}\"\n", artifact.digest));

    let refused = evaluate_unsigned_dev(&Facts::of(&artifact), &artifact.digest, &policy, now()).unwrap_err();

    assert_eq!(codes(&refused), [Code::Revoked]);
}

#[test]
fn dev_mode_admits_without_signature_but_not_without_checks() {
    let artifact = read(&artifact()).unwrap();
    let facts = Facts::of(&artifact);

    let verdict = evaluate_unsigned_dev(&facts, &artifact.digest, &Policy::deny_all(), now()).unwrap();

    assert_eq!((verdict.rule.as_str(), verdict.core, verdict.critical), ("dev", false, false));
    assert_eq!(verdict.grants, Grants::of([Interface::Sql]));
    assert!(verdict.allows_tenant(&"anybody".parse().unwrap()));
    let bad = Facts { exports: Vec::new(), ..facts };
    assert_eq!(
        codes(&evaluate_unsigned_dev(&bad, &artifact.digest, &Policy::deny_all(), now()).unwrap_err()),
        [Code::ManifestMismatch; 2]
    );
}
