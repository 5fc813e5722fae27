//! Verdicts: who may ship what, and every reason against it.
//! Broken bytes are the matter of `artifact` and `bundle`.

mod explain;
mod rollback;

use bulkhead_model::{Code, Digest, Grants, Interface};
use bulkhead_trust::admit::{Known, Signer, evaluate_unsigned_dev, explain};
use bulkhead_trust::statement::Decision;
use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{Facts, Policy, Refusal, ReleaseStatement, Role, State, Verdict, admit, bundle, evaluate};
use jiff::Timestamp;

use crate::fixtures::{
    ANNA, ANNA2, AUTHOR, BO, MANIFEST, OTHER, POLICY, STRANGER, artifact, codes, component, crm, key, manifest, now,
    packed, policy, read, reviewed, signed, statement, version, wat, with_sections,
};

/// A case: what is there, and what changes in it.
pub(crate) struct Case {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bundles: Vec<String>,
    pub(crate) policy: Policy,
    pub(crate) state: State,
    pub(crate) now: Timestamp,
}

/// The artifact signed by its author, under [`POLICY`].
pub(crate) fn good() -> Case {
    let bytes = artifact();
    let bundles = vec![signed(&bytes, AUTHOR)];
    Case { bytes, bundles, policy: policy(POLICY), state: State::default(), now: now() }
}

impl Case {
    fn under(self, policy_text: &str) -> Self {
        Self { policy: policy(policy_text), ..self }
    }

    fn with(mut self, bundle: String) -> Self {
        self.bundles.push(bundle);
        self
    }

    fn only(self, bundle: String) -> Self {
        Self { bundles: vec![bundle], ..self }
    }

    fn statement(self, edit: impl Fn(&mut ReleaseStatement)) -> Self {
        let mut statement = statement(&self.bytes);
        edit(&mut statement);
        self.only(bundle::sign(&key(AUTHOR), &statement))
    }

    fn known(self, version_text: &str, sequence: u64) -> Self {
        let known = Known { version: version(version_text), sequence, digest: Digest::of(b"another release") };
        Self { state: State { known: Some(known), ..State::default() }, ..self }
    }

    fn for_tenant(self, tenant: &str) -> Self {
        Self { state: State { tenant: Some(tenant.parse().unwrap()), ..State::default() }, ..self }
    }

    fn at(self, now: &str) -> Self {
        Self { now: now.parse().unwrap(), ..self }
    }

    /// The same verdict from the bytes and from what a host keeps of them.
    pub(crate) fn verdict(&self) -> Result<Verdict, Vec<Refusal>> {
        let bundles: Vec<&[u8]> = self.bundles.iter().map(String::as_bytes).collect();
        let admitted = admit(&self.bytes, &bundles, &self.policy, &self.state, self.now, &StructuralLimits::DEFAULT)
            .map(|(_, verdict)| verdict);
        if let Ok(artifact) = read(&self.bytes) {
            let facts = Facts::of(&artifact);
            let evaluated = evaluate(&facts, &artifact.digest, &bundles, &self.policy, &self.state, self.now);
            assert_eq!(admitted, evaluated);
        }
        admitted
    }
}

fn check(name: &str, case: &Case, wanted: &[Code]) {
    let found = case.verdict().err().unwrap_or_default();
    assert_eq!(codes(&found), wanted, "{name}: {found:#?}");
}

fn replaced(from: &str, to: &str) -> String {
    assert!(POLICY.contains(from), "{from}");
    POLICY.replacen(from, to, 1)
}

const TWO_REVIEWERS: &str = "threshold = 1 }, { role = \"reviewer\", of = [\"sec-anna\", \"sec-bo\"], threshold = 2 }";

#[test]
fn a_signed_release_that_one_rule_allows_is_admitted() {
    let verdict = good().verdict().unwrap();

    assert_eq!((verdict.rule.as_str(), verdict.sequence, verdict.policy_version), ("crm-prod", 7, 14));
    assert_eq!(
        verdict.signers,
        [Signer { principal: "acme-release".to_owned(), role: Role::Author, key_id: key(AUTHOR).verifying_key().id() }]
    );
    assert_eq!(verdict.grants, Grants::of([Interface::Sql]));
    assert_eq!(verdict.limits_ceiling.storage_bytes, Some(512 << 20));
    assert!(verdict.allows_tenant(&"bank-1".parse().unwrap()) && !verdict.allows_tenant(&"shop-1".parse().unwrap()));
    assert!(!verdict.core && !verdict.critical);
}

#[test]
fn nothing_unsigned_or_untrusted_is_admitted() {
    let bytes = artifact();
    let other = packed(&MANIFEST.replace("name = \"CRM\"", "name = \"CRM 2\""), &crm());
    for (name, case, wanted) in [
        ("unsigned", Case { bundles: Vec::new(), ..good() }, &[Code::Unsigned][..]),
        (
            "unsigned under a fresh policy",
            Case { bundles: Vec::new(), policy: Policy::deny_all(), ..good() },
            &[Code::Unsigned],
        ),
        ("a stranger", good().only(signed(&bytes, STRANGER)), &[Code::UnknownSigner]),
        ("any signer under a fresh policy", Case { policy: Policy::deny_all(), ..good() }, &[Code::UnknownSigner; 2]),
        (
            "a principal of another rule",
            good().only(signed(&bytes, OTHER)),
            &[Code::UnknownSigner, Code::ThresholdNotMet],
        ),
        ("the author as reviewer", good().only(reviewed(&bytes, AUTHOR, Decision::Approve)), &[Code::ThresholdNotMet]),
        (
            "the signature of another release",
            good().only(signed(&other, AUTHOR)),
            &[Code::DigestMismatch, Code::ManifestMismatch],
        ),
        ("a broken bundle", good().only("{}".to_owned()), &[Code::Malformed]),
        ("a broken bundle beside a good one", good().with("{}".to_owned()), &[Code::Malformed]),
        (
            "another release's bundle beside a good one",
            good().with(signed(&other, AUTHOR)),
            &[Code::DigestMismatch, Code::ManifestMismatch],
        ),
        (
            "too many bundles",
            Case { bundles: vec![signed(&bytes, AUTHOR); 17], ..good() },
            &[Code::TooLarge, Code::ThresholdNotMet],
        ),
        (
            "no rule for the plugin",
            good().under(&replaced("plugin = \"acme.crm\"", "plugin = \"acme.billing\"")),
            &[Code::UnknownSigner],
        ),
    ] {
        check(name, &case, wanted);
    }
    check("a stranger beside the author", &good().with(signed(&bytes, STRANGER)), &[]);
}

#[test]
fn a_statement_about_something_else_does_not_count() {
    for (name, case, wanted) in [
        ("digest", good().statement(|it| it.digest = Digest::of(b"x")), Code::DigestMismatch),
        ("plugin", good().statement(|it| it.plugin = "acme.billing".parse().unwrap()), Code::ManifestMismatch),
        ("version", good().statement(|it| it.version = version("1.3.0")), Code::ManifestMismatch),
        ("size", good().statement(|it| it.size_bytes += 1), Code::ManifestMismatch),
        ("imports", good().statement(|it| it.imports_digest = Digest::of(b"")), Code::ManifestMismatch),
        ("over", good().statement(|it| it.not_after = now()), Code::Expired),
        (
            "from the future",
            good().statement(|it| it.issued_at = "2026-06-01T12:10:01Z".parse().unwrap()),
            Code::Expired,
        ),
    ] {
        check(name, &case, &[wanted]);
    }
    check(
        "a clock that is ten minutes ahead",
        &good().statement(|it| it.issued_at = "2026-06-01T12:10:00Z".parse().unwrap()),
        &[],
    );
}

#[test]
fn thresholds_count_principals_in_their_role() {
    let text = replaced("threshold = 1 }", TWO_REVIEWERS);
    let bytes = artifact();
    let approve = |seed| reviewed(&bytes, seed, Decision::Approve);
    let base = || good().under(&text);
    for (name, case, wanted) in [
        ("both", base().with(approve(ANNA)).with(approve(BO)), &[][..]),
        ("one", base().with(approve(ANNA)), &[Code::ThresholdNotMet]),
        ("none", base(), &[Code::ThresholdNotMet]),
        ("one with two keys", base().with(approve(ANNA)).with(approve(ANNA2)), &[Code::ThresholdNotMet]),
        ("one bundle twice", base().with(approve(ANNA)).with(approve(ANNA)), &[Code::ThresholdNotMet]),
        ("as authors", base().with(signed(&bytes, ANNA)).with(signed(&bytes, BO)), &[Code::ThresholdNotMet]),
        (
            "one rejects",
            base().with(approve(ANNA)).with(reviewed(&bytes, BO, Decision::Reject)),
            &[Code::ThresholdNotMet; 2],
        ),
        ("reviewers without the author", base().only(approve(ANNA)).with(approve(BO)), &[Code::ThresholdNotMet]),
    ] {
        check(name, &case, wanted);
    }
}

#[test]
fn signers_agree_on_the_sequence_number() {
    let text =
        replaced("threshold = 1 }", "threshold = 1 }, { role = \"reviewer\", of = [\"sec-anna\"], threshold = 1 }");
    let review = ReleaseStatement {
        sequence: 8,
        review: Some(crate::fixtures::review(Decision::Approve)),
        ..statement(&artifact())
    };

    check("two numbers", &good().under(&text).with(bundle::sign(&key(ANNA), &review)), &[Code::ManifestMismatch]);
}

#[test]
fn versions_outside_the_range_are_refused() {
    let case = |text: &str, policy_text: &str| {
        let bytes = packed(&MANIFEST.replace("1.2.0", text), &crm());
        let bundles = vec![signed(&bytes, AUTHOR)];
        Case { bytes, bundles, ..good() }.under(policy_text)
    };
    let loose = replaced("tenants =", "prerelease = true\ntenants =");
    for (text, policy_text, wanted) in [
        ("1.2.0", POLICY, &[][..]),
        ("1.99.0", POLICY, &[]),
        ("1.1.9", POLICY, &[Code::VersionOutOfRange]),
        ("2.0.0", POLICY, &[Code::VersionOutOfRange]),
        ("1.3.0-rc.1", POLICY, &[Code::VersionOutOfRange]),
        ("1.3.0-rc.1", &loose, &[]),
        ("1.2.0-rc.1", &loose, &[Code::VersionOutOfRange]),
        ("2.0.0-rc.1", &loose, &[Code::VersionOutOfRange]),
    ] {
        check(text, &case(text, policy_text), wanted);
    }
}

#[test]
fn nothing_counts_outside_its_time() {
    let rule = replaced("[allow.ceiling]", "valid_from = \"2026-05-01\"\nexpires = \"2026-06-30\"\n[allow.ceiling]");
    let policy_over = replaced("2027-01-31T00:00:00Z", "2026-06-01T12:00:00Z");
    for (name, case, wanted) in [
        ("the policy's last moment", good().under(&policy_over), &[Code::Expired][..]),
        ("before the policy's last moment", good().under(&policy_over).at("2026-06-01T11:59:59Z"), &[]),
        ("in the rule's time", good().under(&rule), &[]),
        ("the rule's last day", good().under(&rule).at("2026-06-30T23:59:59Z"), &[]),
        ("after the rule", good().under(&rule).at("2026-07-01T00:00:00Z"), &[Code::Expired]),
        ("before the rule", good().under(&rule.replace("2026-05-01", "2026-06-02")), &[Code::Expired]),
        ("before the key", good().under(&replaced("[\"2026-01-01\"", "[\"2026-06-02\"")), &[Code::Expired]),
        ("after the key", good().under(&replaced("\"2026-12-31\"", "\"2026-05-31\"")), &[Code::Expired]),
        ("after the statement", good().at("2026-12-01T00:00:00Z"), &[Code::Expired]),
    ] {
        check(name, &case, wanted);
    }
}

#[test]
fn deny_wins() {
    let digest = Digest::of(&artifact());
    let deny = |entry: &str| format!("{POLICY}[[deny]]\n{entry}\n");
    let mut table = vec![
        ("the plugin", deny("plugin = \"acme.crm\""), &[Code::Revoked][..]),
        ("its namespace", deny("plugin = \"acme.*\""), &[Code::Revoked]),
        ("everything", deny("plugin = \"*\""), &[Code::Revoked]),
        ("another plugin", deny("plugin = \"acme.billing\""), &[]),
        ("a range", deny("plugin = \"*\"\nversion = \"<=1.2.0\""), &[Code::Revoked]),
        ("another range", deny("plugin = \"*\"\nversion = \"<1.2.0\""), &[]),
        ("another digest", deny(&format!("digest = \"{}\"", Digest::of(b""))), &[]),
        ("the author's key", deny("key = \"AUTHOR\""), &[Code::Revoked]),
        ("a reviewer's key that did not sign", deny("key = \"ANNA\""), &[]),
        ("the key for another plugin", deny("key = \"AUTHOR\"\nplugin = \"acme.billing\""), &[]),
        ("the key from today", deny("key = \"AUTHOR\"\nfrom = \"2026-06-01\""), &[Code::Revoked]),
        ("the key from tomorrow", deny("key = \"AUTHOR\"\nfrom = \"2026-06-02\""), &[]),
    ];
    table.push(("the digest", deny(&format!("digest = \"{digest}\"")), &[Code::Revoked]));
    for (name, text, wanted) in table {
        check(name, &good().under(&text), wanted);
    }
    let stranger = good().under(&deny("key = \"STRANGER\"")).with(signed(&artifact(), STRANGER));
    check("a denied key beside a good one", &stranger, &[Code::Revoked]);
}

#[test]
fn an_older_release_needs_an_explicit_act() {
    for (name, case, wanted) in [
        ("newer", good().known("1.1.0", 6), &[][..]),
        ("older", good().known("1.3.0", 6), &[Code::Downgrade]),
        ("the same version with other bytes", good().known("1.2.0", 6), &[Code::Downgrade]),
        ("the same sequence", good().known("1.1.0", 7), &[Code::Downgrade]),
        ("a lower sequence", good().known("1.1.0", 8), &[Code::Downgrade]),
    ] {
        check(name, &case, wanted);
    }
    let same = Known { version: version("1.2.0"), sequence: 7, digest: Digest::of(&artifact()) };
    check("the same release again", &Case { state: State { known: Some(same), ..State::default() }, ..good() }, &[]);
}

#[test]
fn nothing_is_granted_above_the_ceiling() {
    let kv = packed(
        &MANIFEST.replace("sql = true", "sql = true\nkv = true"),
        &component(&["sql", "kv"], &["routes", "hooks"]),
    );
    let case = |bytes: &[u8], interfaces: &str| {
        let text = replaced("[\"bulkhead:plugin/sql\"]", interfaces);
        Case { bytes: bytes.to_vec(), bundles: vec![signed(bytes, AUTHOR)], ..good() }.under(&text)
    };
    let over = [Code::CapabilityOverCeiling];

    check("sql", &case(&artifact(), "[]"), &over);
    check("a pattern", &case(&artifact(), "[\"bulkhead:plugin/*\"]"), &[]);
    check("everything", &case(&artifact(), "[\"*\"]"), &[]);
    check("another one", &case(&artifact(), "[\"bulkhead:plugin/kv\"]"), &over);
    check("both", &case(&kv, "[\"bulkhead:plugin/kv\", \"bulkhead:plugin/sql\"]"), &[]);
    check("one of both", &case(&kv, "[\"bulkhead:plugin/sql\"]"), &over);
    let refusal = case(&kv, "[\"bulkhead:plugin/sql\"]").verdict().unwrap_err().remove(0);
    assert_eq!(refusal.pointer.as_deref(), Some("/capabilities/kv"));
    assert!(refusal.detail.contains("bulkhead:plugin/kv"), "{refusal}");

    let none = case(&artifact(), "[]").under(&POLICY[..POLICY.find("[allow.ceiling]").unwrap()]);
    check("no ceiling at all", &none, &over);
}

#[test]
fn a_grant_is_asked_for_and_really_imported() {
    let text = MANIFEST.replace("sql = true", "sql = true\nkv = true\nblob = true");
    let bytes = packed(&text, &crm());
    let case = Case { bundles: vec![signed(&bytes, AUTHOR)], bytes, ..good() };

    assert_eq!(case.verdict().unwrap().grants, Grants::of([Interface::Sql]));
}

#[test]
fn migrations_need_sql_under_the_ceiling_although_nothing_imports_it() {
    let text = format!("{MANIFEST}[migrations]\n");
    let migrations = crate::fixtures::files(&[("0001_a.sql", "create table a (b)")]);
    let component = component(&[], &["routes", "hooks"]);
    let bytes = bulkhead_trust::pack(
        &component,
        &manifest(&text),
        &migrations,
        &bulkhead_trust::Files::new(),
        None,
        &StructuralLimits::DEFAULT,
    )
    .unwrap();
    let bundles = vec![signed(&bytes, AUTHOR)];

    let case = Case { bytes, bundles, ..good() };

    assert_eq!(case.verdict().unwrap().grants, Grants::of([Interface::Sql]));
    check("no sql", &case.under(&replaced("[\"bulkhead:plugin/sql\"]", "[]")), &[Code::CapabilityOverCeiling]);
}

#[test]
fn hosts_and_secrets_stay_under_the_ceiling_too() {
    let text = MANIFEST
        .replace("sql = true", "sql = true\nhttp = [{ host = \"API.acme.example\" }]\nsecrets = [\"crm_api_key\"]");
    let bytes = packed(&text, &crm());
    let bundles = vec![signed(&bytes, AUTHOR)];
    let case = || Case { bytes: bytes.clone(), bundles: bundles.clone(), ..good() };

    check("neither", &case(), &[Code::CapabilityOverCeiling; 2]);
    let both = replaced("storage_mb = 512", "hosts = [\"api.acme.example\"]\nsecrets = [\"crm_*\"]");
    check("both", &case().under(&both), &[]);
}

#[test]
fn a_rule_counts_for_its_tenants() {
    check("in", &good().for_tenant("bank-7"), &[]);
    check("out", &good().for_tenant("shop-7"), &[Code::UnknownSigner]);
    check("almost", &good().for_tenant("bank"), &[Code::UnknownSigner]);
}

#[test]
fn a_rule_may_want_a_runtime() {
    let text = replaced("tenants =", "min_runtime = \"48.0.8\"\ntenants =");
    let case = |runtime: Option<&str>| Case {
        state: State { runtime: runtime.map(|text| text.parse().unwrap()), ..State::default() },
        ..good().under(&text)
    };
    check("same", &case(Some("48.0.8")), &[]);
    check("newer", &case(Some("48.1.0")), &[]);
    check("older", &case(Some("48.0.7")), &[Code::IncompatibleContract]);
    check("unknown", &case(None), &[Code::IncompatibleContract]);
}

#[test]
fn one_single_rule_must_be_met_completely() {
    // The first rule has the right signers without sql, the second sql with other signers.
    let text = format!(
        "{}[[allow]]\nid = \"other\"\nplugin = \"acme.*\"\ntenants = [\"*\"]\n\
         signers = [{{ role = \"author\", of = [\"other-team\"], threshold = 1 }}]\n[allow.ceiling]\ninterfaces = [\"*\"]\n",
        replaced("[\"bulkhead:plugin/sql\"]", "[]")
    );

    check("the first rule's signer", &good().under(&text), &[Code::CapabilityOverCeiling]);
    let other = good().under(&text).only(signed(&artifact(), OTHER));
    assert_eq!(other.verdict().unwrap().rule, "other");
}

#[test]
fn core_and_critical_count_only_if_the_rule_grants_them() {
    let bytes =
        packed(&MANIFEST.replace("name = \"CRM\"", "name = \"CRM\"\ncategory = \"core\"\ncritical = true"), &crm());
    let bundles = vec![signed(&bytes, AUTHOR)];
    let case = |text: &str| Case { bytes: bytes.clone(), bundles: bundles.clone(), ..good() }.under(text);
    let flags = |verdict: Verdict| (verdict.core, verdict.critical);

    assert_eq!(flags(case(POLICY).verdict().unwrap()), (false, false));
    assert_eq!(flags(case(&replaced("tenants =", "category = \"core\"\ntenants =")).verdict().unwrap()), (true, false));
    assert_eq!(flags(case(&replaced("tenants =", "critical = true\ntenants =")).verdict().unwrap()), (false, true));
    let granted = replaced("tenants =", "category = \"core\"\ncritical = true\ntenants =");
    assert_eq!(flags(good().under(&granted).verdict().unwrap()), (false, false));
}

#[test]
fn a_rule_bounds_the_structure_of_its_plugins() {
    let tight = replaced("[allow.ceiling]", "limits = { functions = 1 }\n[allow.ceiling]");
    check("less than the host", &good().under(&tight), &[Code::TooLarge]);

    let body = "nop ".repeat(200_000);
    let large = wat(&format!("(component (core module (func {body})))"));
    let manifest = manifest("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n").to_json();
    let bytes = with_sections(&large, &[("bulkhead:manifest", &manifest)]);
    let loose = policy(&replaced("[allow.ceiling]", "limits = { function_bytes = 300_000 }\n[allow.ceiling]"));
    let limits = StructuralLimits { function_bytes: 300_000, ..StructuralLimits::DEFAULT };
    let artifact = bulkhead_trust::artifact::read(&bytes, &limits).unwrap();
    let statement = ReleaseStatement {
        digest: artifact.digest,
        size_bytes: artifact.size_bytes,
        imports_digest: artifact.imports_digest,
        ..statement(&crate::fixtures::artifact())
    };
    let bundle = bundle::sign(&key(AUTHOR), &statement);
    let verdict = |policy: &Policy| {
        admit(&bytes, &[bundle.as_bytes()], policy, &State::default(), now(), &StructuralLimits::DEFAULT)
    };

    assert!(verdict(&loose).is_ok());
    assert_eq!(codes(&verdict(&policy(POLICY)).unwrap_err()), [Code::TooLarge]);
}
