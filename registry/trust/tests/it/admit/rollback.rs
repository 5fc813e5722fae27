//! Going back to an older release, windows of keys, and what reviewers sign about a step between two releases.

use bulkhead_model::{Code, Digest};
use bulkhead_trust::admit::{Known, late_signatures};
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{ReleaseStatement, Review, State, Verdict, bundle};

use super::{Case, TWO_REVIEWERS, check, good, replaced};
use crate::fixtures::{
    ANNA, ANNA2, AUTHOR, BO, OTHER, POLICY, artifact, codes, key, now, policy, review, reviewed, signed, statement,
    version,
};

fn newer() -> Digest {
    Digest::of(b"a newer release")
}

/// A reviewer's statement about the artifact.
fn says(seed: u8, decision: Decision, base: Option<Digest>, diff: Option<Digest>) -> String {
    let review = Review { base_digest: base, capability_diff_digest: diff, ..review(decision) };
    bundle::sign(&key(seed), &ReleaseStatement { review: Some(review), ..statement(&artifact()) })
}

fn lets_back(seed: u8) -> String {
    says(seed, Decision::Rollback, Some(newer()), None)
}

/// The artifact behind a newer release, under this policy.
fn behind(policy_text: &str) -> Case {
    let known = Known { version: version("1.3.0"), sequence: 9, digest: newer() };
    Case { state: State { known: Some(known), ..State::default() }, ..good().under(policy_text) }
}

fn reviewers() -> String {
    // A second rule, for another plugin, names reviewers: they are the policy's.
    format!(
        "{POLICY}[[allow]]\nid = \"other\"\nplugin = \"acme.billing\"\ntenants = [\"*\"]\n\
         signers = [{{ role = \"reviewer\", of = [\"sec-anna\", \"sec-bo\"], threshold = \"any\" }}]\n"
    )
}

#[test]
fn an_older_release_comes_back_by_a_reviewers_signature_for_exactly_this_step() {
    let two = replaced("threshold = 1 }", TWO_REVIEWERS);
    let approved = || {
        let bytes = artifact();
        behind(&two).with(reviewed(&bytes, ANNA, Decision::Approve)).with(reviewed(&bytes, BO, Decision::Approve))
    };
    let elsewhere = says(ANNA, Decision::Rollback, Some(Digest::of(b"another")), None);
    for (name, case, wanted) in [
        ("nobody", behind(&reviewers()), &[Code::Downgrade][..]),
        ("a reviewer of the policy", behind(&reviewers()).with(lets_back(ANNA)), &[]),
        ("the author as reviewer", behind(&reviewers()).with(lets_back(AUTHOR)), &[Code::Downgrade]),
        ("a principal who reviews nothing", behind(&reviewers()).with(lets_back(OTHER)), &[Code::Downgrade]),
        ("a policy without reviewers", behind(POLICY).with(lets_back(ANNA)), &[Code::Downgrade]),
        ("from another release", behind(&reviewers()).with(elsewhere), &[Code::Downgrade]),
        (
            "an approval is no way back",
            behind(&reviewers()).with(says(ANNA, Decision::Approve, Some(newer()), None)),
            &[Code::Downgrade],
        ),
        ("one of two that the rule wants", approved().with(lets_back(ANNA)), &[Code::Downgrade]),
        ("one with two keys", approved().with(lets_back(ANNA)).with(lets_back(ANNA2)), &[Code::Downgrade]),
        ("two of two", approved().with(lets_back(ANNA)).with(lets_back(BO)), &[]),
        ("a way back is no approval", behind(&two).with(lets_back(ANNA)).with(lets_back(BO)), &[Code::ThresholdNotMet]),
    ] {
        check(name, &case, wanted);
    }
}

#[test]
fn a_way_back_leads_to_no_revoked_release_and_changes_no_version() {
    let denied = format!("{}[[deny]]\nplugin = \"acme.crm\"\nversion = \"<1.3.0\"\n", reviewers());
    let same = Known { version: version("1.2.0"), sequence: 6, digest: newer() };
    let same = Case { state: State { known: Some(same), ..State::default() }, ..good().under(&reviewers()) };

    check("revoked", &behind(&denied).with(lets_back(ANNA)), &[Code::Revoked]);
    check("other bytes of a known version", &same.with(lets_back(ANNA)), &[Code::Downgrade]);
}

#[test]
fn a_statement_that_lets_a_release_come_back_names_the_newer_one() {
    let nameless = says(ANNA, Decision::Rollback, None, None);

    check("nameless", &behind(&reviewers()).with(nameless), &[Code::Malformed, Code::Downgrade]);
}

#[test]
fn a_verdict_tells_whether_a_way_back_needs_a_reviewer_and_has_one() {
    let verdict = |case: Case| -> Verdict { case.verdict().unwrap() };
    let wanted = reviewers().replace("id = \"crm-prod\"", "id = \"crm-prod\"\nreview_rollback = true");

    assert!(verdict(good()).may_come_back_from(&newer()), "no rule asks for it");
    assert!(!verdict(good().under(&wanted)).may_come_back_from(&newer()));
    let signed = verdict(good().under(&wanted).with(lets_back(BO)));
    assert!(signed.may_come_back_from(&newer()));
    assert!(!signed.may_come_back_from(&Digest::of(b"another")));
    let alone = replaced("id = \"crm-prod\"", "id = \"crm-prod\"\nreview_rollback = true");
    assert!(bulkhead_trust::Policy::from_toml(&crate::fixtures::policy_text(&alone)).is_err(), "nobody could sign");
}

#[test]
fn a_wider_version_is_approved_for_exactly_two_releases_and_their_difference() {
    let text =
        replaced("threshold = 1 }", "threshold = 1 }, { role = \"reviewer\", of = [\"sec-anna\"], threshold = 1 }");
    let diff = Digest::of(b"the difference");
    let approved = |base: Option<Digest>, of: Option<Digest>| {
        let case = good().under(&text).with(says(ANNA, Decision::Approve, base, of));
        case.verdict().unwrap().is_approved(&newer(), &diff)
    };

    assert!(approved(Some(newer()), Some(diff)));
    assert!(!approved(Some(Digest::of(b"another")), Some(diff)));
    assert!(!approved(Some(newer()), Some(Digest::of(b"another"))));
    assert!(!approved(Some(newer()), None));
    assert!(!approved(None, Some(diff)));
    let unasked = good().with(says(ANNA, Decision::Approve, Some(newer()), Some(diff)));
    assert!(!unasked.verdict().unwrap().is_approved(&newer(), &diff), "the rule names no reviewer");
}

#[test]
fn a_key_whose_time_is_over_signs_nothing_more_and_what_it_signed_in_time_stays() {
    let rotated = POLICY.replace(
        "[[allow]]",
        "[[principal]]\nname = \"acme-next\"\nkeys = [\"STRANGER\"]\nvalid = [\"2026-11-01\", \"2027-12-31\"]\n[[allow]]",
    );
    let rotated = rotated.replace("of = [\"acme-release\"]", "of = [\"acme-release\", \"acme-next\"]");
    let long = |seed: u8| {
        let statement =
            ReleaseStatement { not_after: "2028-01-01T00:00:00Z".parse().unwrap(), ..statement(&artifact()) };
        bundle::sign(&key(seed), &statement)
    };
    let rotated = rotated.replace("2027-01-31T00:00:00Z", "2028-01-31T00:00:00Z");
    let case = |seed: u8, at: &str| good().under(&rotated).only(long(seed)).at(at);
    let old = |at: &str| case(AUTHOR, at);
    let next = |at: &str| case(crate::fixtures::STRANGER, at);
    let admitted = |case: Case, at: &str| Case {
        state: State { admitted_at: Some(at.parse().unwrap()), ..State::default() },
        ..case
    };

    check("the old key before the overlap", &old("2026-10-01T00:00:00Z"), &[]);
    check("the new key before the overlap", &next("2026-10-01T00:00:00Z"), &[Code::Expired]);
    check("the old key in the overlap", &old("2026-12-01T00:00:00Z"), &[]);
    check("the new key in the overlap", &next("2026-12-01T00:00:00Z"), &[]);
    check("the old key after it", &old("2027-01-01T00:00:00Z"), &[Code::Expired]);
    check("the new key after it", &next("2027-01-01T00:00:00Z"), &[]);
    let stays = admitted(old("2027-06-01T00:00:00Z"), "2026-12-31T23:59:59Z");
    check("admitted in time", &stays, &[]);
    let late = admitted(old("2027-06-01T00:00:00Z"), "2027-01-01T00:00:00Z");
    check("admitted too late", &late, &[Code::Expired]);
    let back = admitted(old("2027-06-01T00:00:00Z"), "2029-01-01T00:00:00Z");
    check("a clock that went back", &back, &[Code::Expired]);
    let over = admitted(old("2028-01-01T00:00:00Z"), "2026-12-01T00:00:00Z");
    check("the statement's own end still counts", &over, &[Code::Expired]);
}

#[test]
fn late_signatures_are_found_among_others() {
    let bytes = artifact();
    let found = |seed: u8, at: &str| {
        let bundle = signed(&bytes, seed);
        codes(&late_signatures(&[bundle.as_bytes()], &policy(POLICY), at.parse().unwrap()))
    };

    assert_eq!(found(AUTHOR, &now().to_string()), []);
    assert_eq!(found(AUTHOR, "2027-01-01T00:00:00Z"), [Code::Expired]);
    assert_eq!(found(ANNA, "2027-01-01T00:00:00Z"), []);
    assert_eq!(found(crate::fixtures::STRANGER, "2027-01-01T00:00:00Z"), []);
}
