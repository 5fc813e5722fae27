//! Trust levels: the policy's word alone, what each allows by default, and what a rule names beside it.

use bulkhead_model::{Interface, TrustLevel};
use bulkhead_trust::{Policy, admit};

use crate::admit::good;
use crate::fixtures::{AUTHOR, POLICY, STRANGER, artifact, now, policy, read, signed, version};

/// [`POLICY`] with its rule's ceiling replaced and lines added to the rule.
fn with(rule: &str, ceiling: &str) -> Policy {
    let (head, _) = POLICY.split_once("[allow.ceiling]").unwrap();
    policy(&format!("{head}\n{rule}\n{ceiling}"))
}

#[test]
fn a_level_is_the_rules_and_untrusted_where_it_says_nothing() {
    let check = |rule: &str, wanted: TrustLevel| {
        let policy = with(rule, "[allow.ceiling]\ninterfaces = [\"bulkhead:plugin/sql\"]");
        assert_eq!(policy.allow[0].level(), wanted, "{rule}");
        assert_eq!(crate::admit::Case { policy, ..good() }.verdict().unwrap().trust, wanted, "{rule}");
    };

    check("", TrustLevel::Untrusted);
    check("trust = \"untrusted\"", TrustLevel::Untrusted);
    check("trust = \"community\"", TrustLevel::Community);
    check("trust = \"verified\"", TrustLevel::Verified);
    check("trust = \"core\"", TrustLevel::Core);
    check("category = \"core\"", TrustLevel::Core);
    check("critical = true", TrustLevel::Core);
    check("trust = \"core\"\ncategory = \"core\"\ncritical = true", TrustLevel::Core);
}

#[test]
fn a_rule_without_a_ceiling_has_its_levels_and_one_that_names_something_has_that() {
    let interfaces = |policy: &Policy| -> Vec<String> {
        policy.allow[0].ceiling.interfaces.iter().map(|one| one.to_string()).collect()
    };
    let sql = Interface::Sql.qualified();

    assert_eq!(interfaces(&with("", "")), [] as [String; 0]);
    assert_eq!(interfaces(&with("trust = \"untrusted\"", "")), [] as [String; 0]);
    let community = with("trust = \"community\"", "");
    assert_eq!(interfaces(&community).len(), 3);
    assert!(community.allow[0].limits.storage_bytes.is_none(), "the host's default");
    let verified = with("trust = \"verified\"", "");
    assert!(interfaces(&verified).contains(&Interface::Views.qualified()));
    assert!(!interfaces(&verified).contains(&Interface::Crypto.qualified()));
    assert_eq!(verified.allow[0].limits.storage_bytes, Some(1 << 30));
    let core = with("trust = \"core\"", "");
    assert!(interfaces(&core).contains(&Interface::Crypto.qualified()));
    assert_eq!(core.allow[0].ceiling.events[0].as_str(), "*");
    for policy in [&community, &verified, &core] {
        assert!(policy.allow[0].ceiling.hosts.is_empty() && policy.allow[0].ceiling.secrets.is_empty());
    }
    let narrowed = with("trust = \"core\"", "[allow.ceiling]\ninterfaces = []\nstorage_mb = 5");
    assert_eq!(interfaces(&narrowed), [] as [String; 0]);
    assert_eq!(narrowed.allow[0].limits.storage_bytes, Some(5 << 20));
    assert_eq!(narrowed.allow[0].ceiling.events[0].as_str(), "*", "what is not named stays the level's");
    let raised = with("trust = \"untrusted\"", "[allow.ceiling]\ninterfaces = [\"bulkhead:plugin/sql\"]");
    assert_eq!(interfaces(&raised), [sql]);
}

#[test]
fn what_a_level_allows_is_written_into_the_form_that_root_keys_sign() {
    for policy in [
        with("trust = \"core\"", ""),
        with("trust = \"verified\"", "[allow.ceiling]\ninterfaces = []\nevents = []"),
        with("trust = \"community\"", "[allow.ceiling]\nstorage_mb = 1"),
        with("trust = \"untrusted\"", ""),
    ] {
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap(), policy);
    }
    let text = String::from_utf8(with("trust = \"community\"", "").to_json()).unwrap();
    assert!(text.contains("bulkhead:plugin/blob") && text.contains("\"events\":[]"), "{text}");
}

#[test]
fn a_lower_level_lets_no_plugin_be_core_and_other_words_are_mistakes() {
    let pointers = |rule: &str| -> Vec<String> {
        let text =
            crate::fixtures::policy_text(&POLICY.replace("[allow.ceiling]", &format!("{rule}\n[allow.ceiling]")));
        match Policy::from_toml(&text) {
            Err(bulkhead_trust::policy::Error::Invalid(issues)) => {
                issues.into_iter().map(|issue| issue.pointer).collect()
            }
            other => panic!("{other:?}"),
        }
    };

    for level in ["untrusted", "community", "verified"] {
        let rule = format!("trust = \"{level}\"\ncategory = \"core\"\ncritical = true");
        assert_eq!(pointers(&rule), ["/allow/0/category", "/allow/0/critical"]);
    }
    for word in ["\"Core\"", "\"\"", "\"root\"", "1", "true", "[\"core\"]"] {
        assert_eq!(pointers(&format!("trust = {word}")), ["/allow/0/trust"], "{word}");
    }
}

#[test]
fn the_manifest_has_no_say_in_its_level() {
    assert!(bulkhead_model::Manifest::parse_toml(&format!("{}\ntrust = \"core\"", crate::fixtures::MANIFEST)).is_err());
    let asking =
        crate::fixtures::MANIFEST.replace("name = \"CRM\"", "name = \"CRM\"\ncategory = \"core\"\ncritical = true");
    let bytes = crate::fixtures::packed(&asking, &crate::fixtures::crm());
    let bundles = vec![signed(&bytes, AUTHOR)];

    let verdict = crate::admit::Case { bytes, bundles, ..good() }.verdict().unwrap();

    assert_eq!((verdict.trust, verdict.core, verdict.critical), (TrustLevel::Untrusted, false, false));
}

#[test]
fn the_level_of_what_is_only_offered_is_told_by_its_signers() {
    let bytes = artifact();
    let digest = read(&bytes).unwrap().digest;
    let told = |version_text: &str, seed: Option<u8>, policy: &Policy| {
        let bundles: Vec<String> = seed.iter().map(|seed| signed(&bytes, *seed)).collect();
        let bundles: Vec<&[u8]> = bundles.iter().map(String::as_bytes).collect();
        let plugin: bulkhead_model::PluginId = "acme.crm".parse().unwrap();
        admit::level((&plugin, &version(version_text)), &digest, &bundles, policy, now())
    };
    let community = with("trust = \"community\"", "");
    let denied = policy(&format!("{POLICY}[[deny]]\ndigest = \"{digest}\"\n"));

    assert_eq!(told("1.2.0", Some(AUTHOR), &community), Some(TrustLevel::Community));
    assert_eq!(told("1.2.0", Some(AUTHOR), &policy(POLICY)), Some(TrustLevel::Untrusted));
    assert_eq!(told("2.0.0", Some(AUTHOR), &community), None);
    assert_eq!(told("1.2.0", Some(STRANGER), &community), None);
    assert_eq!(told("1.2.0", None, &community), None);
    assert_eq!(told("1.2.0", Some(AUTHOR), &denied), None);
}
