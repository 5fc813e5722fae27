//! What a release can do, from its bytes, and what the next one does beyond it.

use bulkhead_trust::capabilities::{Area, Direction};
use bulkhead_trust::{Capabilities, CapabilityDiff, StructuralLimits, functions};

use crate::fixtures::{MANIFEST, component, crm, packed, read, wat};

fn capabilities(bytes: &[u8]) -> Capabilities {
    Capabilities::of(bytes, &StructuralLimits::DEFAULT).unwrap()
}

/// The difference that a changed manifest makes.
fn edited(change: impl FnOnce(&str) -> String) -> CapabilityDiff {
    let newer = packed(&change(MANIFEST), &crm());
    capabilities(&packed(MANIFEST, &crm())).diff(&capabilities(&newer))
}

fn differences(diff: &CapabilityDiff) -> Vec<(Area, &str, Direction)> {
    diff.differences.iter().map(|one| (one.area, one.name.as_str(), one.direction)).collect()
}

/// The differences other than in sizes.
fn spoken(diff: &CapabilityDiff) -> Vec<(Area, &str, Direction)> {
    differences(diff).into_iter().filter(|(area, ..)| *area != Area::Size).collect()
}

#[test]
fn the_same_release_differs_in_nothing() {
    let diff = edited(str::to_owned);

    assert_eq!(diff.differences, []);
    assert!(!diff.widens());
}

#[test]
fn functions_are_read_from_the_component_with_their_types() {
    let bytes = packed(MANIFEST, &crm());

    let functions = functions::read(&bytes, &read(&bytes).unwrap()).unwrap();

    let query = &functions.imports["bulkhead:plugin/sql@0.1.0"]["query"];
    assert!(query.starts_with("func(") && query.contains("string") && query.contains("result<"), "{query}");
    assert!(functions.imports["bulkhead:plugin/log@0.1.0"]["write"].contains("enum{trace, debug, info, warn, error}"));
    assert!(functions.exports["bulkhead:plugin/routes@0.1.0"].contains_key("handle"), "{functions:?}");
    let all = functions.imports.values().chain(functions.exports.values()).flat_map(|of| of.iter());
    for (name, ty) in all {
        assert!(name.len() <= functions::TEXT_BYTES_MAX && ty.len() <= functions::TEXT_BYTES_MAX, "{name}: {ty}");
    }
}

#[test]
fn a_further_interface_is_wider_and_one_less_is_narrower() {
    let plain = MANIFEST.replace("sql = true", "");
    let none = capabilities(&packed(&plain, &component(&["log"], &["routes", "hooks"])));
    let with_kv = capabilities(&packed(&(plain + "kv = true"), &component(&["log", "kv"], &["routes", "hooks"])));

    let (wider, narrower) = (none.diff(&with_kv), with_kv.diff(&none));

    assert!(wider.widens());
    assert!(spoken(&wider).contains(&(Area::Interface, "bulkhead:plugin/kv", Direction::Wider)), "{wider:#?}");
    assert!(spoken(&wider).contains(&(Area::Import, "bulkhead:plugin/kv@0.1.0#get", Direction::Wider)), "{wider:#?}");
    assert!(!narrower.widens());
    assert!(spoken(&narrower).iter().all(|(.., direction)| *direction == Direction::Narrower), "{narrower:#?}");
}

#[test]
fn a_manifest_that_asks_for_more_widens_and_one_that_changes_other_things_does_not() {
    let check = |added: &str, area: Area, name: &str, widens: bool| {
        let diff = edited(|manifest| format!("{manifest}\n{added}"));
        let found = diff.differences.iter().find(|one| (one.area, one.name.as_str()) == (area, name));
        assert_eq!(found.map(|one| one.direction), Some(Direction::Wider), "{added}: {diff:#?}");
        assert_eq!(diff.widens(), widens, "{added}: {diff:#?}");
    };

    check("http = [{ host = \"API.acme.example\" }]", Area::Host, "api.acme.example:443 GET", true);
    check("secrets = [\"crm_api_key\"]", Area::Secret, "crm_api_key", true);
    check("signals = [\"deals\"]", Area::Signal, "deals", true);
    check("[[hooks]]\nname = \"order.paid\"\nkind = \"filter\"", Area::Hook, "filter order.paid", true);
    check("[limits]\nfuel_per_call = 1_000_000_000", Area::Limit, "fuel_per_call", true);
    check("[limits]\nreuse = \"tenant\"", Area::Limit, "reuse", true);
    check("[[routes]]\nmethod = \"POST\"\npath = \"/deals\"", Area::Route, "POST /deals", false);
    check("[[permissions]]\nname = \"deals.view\"", Area::Permission, "deals.view", false);
}

#[test]
fn a_limit_is_wider_only_if_it_is_more_than_before() {
    let check = |before: &str, after: &str, wanted: Option<Direction>| {
        let with = |limits: &str| capabilities(&packed(&format!("{MANIFEST}\n[limits]\n{limits}"), &crm()));
        let diff = with(before).diff(&with(after));
        let found = spoken(&diff).first().map(|(_, _, direction)| *direction);
        assert_eq!(found, wanted, "{before} -> {after}: {diff:#?}");
        assert_eq!(diff.widens(), wanted == Some(Direction::Wider), "{before} -> {after}");
    };

    check("", "fuel_per_call = 50_000_000", Some(Direction::Narrower));
    check("fuel_per_call = 50_000_000", "", Some(Direction::Wider));
    check("fuel_per_call = 50_000_000", "fuel_per_call = 60_000_000", Some(Direction::Wider));
    check("fuel_per_call = 60_000_000", "fuel_per_call = 50_000_000", Some(Direction::Narrower));
    check("fuel_per_call = 50_000_000", "fuel_per_call = 50_000_000", None);
    // Left to the host a deadline is one or two seconds, by the entry: both ways something may grow.
    check("", "deadline_ms = 1_500", Some(Direction::Wider));
    check("deadline_ms = 1_500", "", Some(Direction::Wider));
    check("", "deadline_ms = 500", Some(Direction::Narrower));
    // Left to the host a window is all that policy allows.
    check("", "fuel_per_month = 90_000_000_000_000_000", Some(Direction::Narrower));
    check("fuel_per_month = 5_000", "", Some(Direction::Wider));
}

#[test]
fn a_hook_that_fails_closed_or_takes_longer_is_wider_and_another_place_in_the_chain_is_neither() {
    let check = |line: &str, wanted: Direction| {
        let diff = edited(|manifest| manifest.replace("kind = \"filter\"", &format!("kind = \"filter\"\n{line}")));
        assert_eq!(spoken(&diff), [(Area::Hook, "filter order.validate", wanted)], "{line}: {diff:#?}");
    };

    check("on_failure = \"closed\"", Direction::Wider);
    check("deadline_ms = 4_000", Direction::Wider);
    check("deadline_ms = 500", Direction::Narrower);
    check("priority = 3", Direction::Same);
}

#[test]
fn imports_without_authority_are_told_and_never_widen() {
    let clocks =
        r#"(component (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64))))))"#;
    let manifest = "[plugin]\nid = \"acme.tiny\"\nversion = \"1.0.0\"\nname = \"Tiny\"\n";
    let (plain, with) = (packed(manifest, &wat("(component)")), packed(manifest, &wat(clocks)));

    let diff = capabilities(&plain).diff(&capabilities(&with));

    assert!(!diff.widens(), "{diff:#?}");
    let told = (Area::InertImport, "wasi:clocks/monotonic-clock@0.2.0#now", Direction::Same);
    assert_eq!(spoken(&diff), [told]);
}

#[test]
fn a_function_under_the_same_name_with_another_type_is_wider() {
    let import = |result: &str| {
        let text = format!(
            "(component (import \"bulkhead:plugin/log@0.1.0\" (instance (export \"write\" (func (result {result}))))))"
        );
        capabilities(&packed("[plugin]\nid = \"acme.tiny\"\nversion = \"1.0.0\"\nname = \"Tiny\"\n", &wat(&text)))
    };

    let diff = import("u32").diff(&import("string"));

    let [only] = diff.differences.iter().filter(|one| one.area == Area::Import).collect::<Vec<_>>()[..] else {
        panic!("{diff:#?}")
    };
    assert_eq!((only.before.as_deref(), only.after.as_deref()), (Some("func() -> u32"), Some("func() -> string")));
    assert!(diff.widens());
}

#[test]
fn the_digest_of_a_difference_is_the_same_each_time_and_tells_any_two_apart() {
    let secret = |name: &str| edited(|manifest| format!("{manifest}\nsecrets = [\"{name}\"]"));

    assert_eq!(secret("one").digest(), secret("one").digest());
    assert_ne!(secret("one").digest(), secret("two").digest());
    let json: serde_json::Value = serde_json::from_slice(&secret("one").to_json()).unwrap();
    assert_eq!(json["widens"], true);
    assert_eq!(json["from"]["plugin"], "acme.crm");
    let areas: Vec<&str> =
        json["differences"].as_array().unwrap().iter().map(|one| one["area"].as_str().unwrap()).collect();
    assert!(areas.contains(&"secret"), "{areas:?}");
}

#[test]
fn types_that_share_parts_are_written_in_time_that_grows_with_the_file() {
    // Each type holds the one before it twice: unfolded, the last would fill a disk.
    let mut types = String::from("(type $t0 (tuple u8 u8))");
    for number in 1..18 {
        types.push_str(&format!("(type $t{number} (tuple $t{} $t{}))", number - 1, number - 1));
    }
    let text = format!(
        "(component {types} (import \"bulkhead:plugin/log@0.1.0\" (instance (export \"write\" (func (param \"a\" $t17))))))"
    );
    let bytes = packed("[plugin]\nid = \"acme.tiny\"\nversion = \"1.0.0\"\nname = \"Tiny\"\n", &wat(&text));

    let functions = functions::read(&bytes, &read(&bytes).unwrap()).unwrap();

    let write = &functions.imports["bulkhead:plugin/log@0.1.0"]["write"];
    assert!(write.len() <= functions::TEXT_BYTES_MAX, "{write}");
}
