//! Hostile artifacts: each is refused with its reason, and a good one is still read.
//! Signatures and policy have files of their own.

mod structure;

use bulkhead_model::{Code, Interface};
use bulkhead_trust::exports::ExtensionPoint;
use bulkhead_trust::{StructuralLimits, artifact};
use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, Instruction, Module, TypeSection, ValType};

use crate::fixtures::{
    MANIFEST, append_section, artifact, component, crm, file, files, manifest, packed, read, wat, with_sections,
};

/// Each case is refused with this code and a text that contains this.
fn check(name: &str, bytes: &[u8], code: Code, detail: &str) {
    let refusals = read(bytes).expect_err(name);
    let found = refusals.iter().any(|refusal| refusal.code == code && refusal.detail.contains(detail));
    assert!(found, "{name}: wanted {code} with `{detail}`, found {refusals:#?}");
}

fn json(text: &str) -> Vec<u8> {
    manifest(text).for_artifact().to_json()
}

/// The good component with these sections behind it.
fn sections(sections: &[(&str, &[u8])]) -> Vec<u8> {
    with_sections(&crm(), sections)
}

#[test]
fn a_good_artifact_is_read_completely() {
    let artifact = read(&artifact()).unwrap();

    assert_eq!(artifact.manifest.plugin.id.as_str(), "acme.crm");
    assert_eq!(artifact.imports.interfaces().iter().copied().collect::<Vec<_>>(), [Interface::Log, Interface::Sql]);
    assert!(artifact.exports.has(ExtensionPoint::Routes) && artifact.exports.has(ExtensionPoint::Hooks));
    assert!(!artifact.exports.has(ExtensionPoint::Health));
    assert!(artifact.structure.functions > 0 && artifact.structure.sections > 0);
    assert_eq!(artifact.digest, bulkhead_model::Digest::of(&crate::fixtures::artifact()));
}

#[test]
fn import_names_and_their_digest_are_those_that_wit_tools_see() {
    let bytes = crm();
    let packed = packed(MANIFEST, &bytes);

    let wit_component::DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else {
        panic!("a component")
    };
    let mut names: Vec<String> = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
    names.sort();

    let artifact = read(&packed).unwrap();
    assert_eq!(artifact.imports.names().collect::<Vec<_>>(), names);
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    assert_eq!(artifact.imports_digest, bulkhead_model::Digest::of(text.as_bytes()));
}

#[test]
fn bytes_that_are_no_component_are_refused() {
    let module = Module::new().finish();
    let component = crm();
    let half = &component[..component.len() / 2];
    for (name, bytes, detail) in [
        ("nothing", &b""[..], "not a WebAssembly binary"),
        ("text", b"(component)", "text form is never read"),
        ("a header alone", b"\0asm", "invalid component"),
        ("a core module", &module, "a core module"),
        ("an unknown layer", b"\0asm\x0d\0\x02\0", "invalid component"),
        ("half a component", half, "invalid component"),
        ("zeros", &[0; 4096], "not a WebAssembly binary"),
        ("a gzip file", b"\x1f\x8b\x08\0\0\0\0\0", "not a WebAssembly binary"),
        ("an unknown section", b"\0asm\x0d\0\x01\0\x7f\x00", "section"),
        ("a section longer than the file", b"\0asm\x0d\0\x01\0\x0b\xff\xff\xff\xff\x0f", "invalid component"),
    ] {
        check(name, bytes, Code::Malformed, detail);
    }
}

#[test]
fn our_sections_come_once_in_order_and_last() {
    let json = json(MANIFEST);
    let empty = files(&[]).encode();
    let sbom = b"{}".as_slice();
    let mut after = sections(&[("bulkhead:manifest", &json)]);
    append_section(&mut after, "producers", b"");
    let mut component_after = sections(&[("bulkhead:manifest", &json)]);
    component_after.extend_from_slice(&crm()[8..]);
    let mut garbage = sections(&[("bulkhead:manifest", &json)]);
    garbage.push(7);
    let nested = {
        let mut module = Module::new();
        module.section(&wasm_encoder::CustomSection { name: "bulkhead:manifest".into(), data: json.as_slice().into() });
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::ModuleSection(&module));
        with_sections(&component.finish(), &[("bulkhead:manifest", &json)])
    };
    for (name, bytes, detail) in [
        ("no manifest", crm(), "bulkhead pack"),
        ("no manifest beside an sbom", sections(&[("bulkhead:sbom", sbom)]), "no section `bulkhead:manifest`"),
        ("two manifests", sections(&[("bulkhead:manifest", &json), ("bulkhead:manifest", &json)]), "twice"),
        (
            "two manifests around another",
            sections(&[("bulkhead:manifest", &json), ("bulkhead:assets", &empty), ("bulkhead:manifest", &json)]),
            "out of order",
        ),
        ("the manifest not first", sections(&[("bulkhead:sbom", sbom), ("bulkhead:manifest", &json)]), "out of order"),
        ("an unknown name", sections(&[("bulkhead:manifest", &json), ("bulkhead:extra", b"")]), "reserved"),
        ("a name in another case", sections(&[("bulkhead:Manifest", &json)]), "reserved"),
        ("a section after ours", after, "after section `bulkhead:manifest`"),
        ("a component after ours", component_after, "after section"),
        ("a byte after ours", garbage, "invalid component"),
        ("a nested one", nested, "inside a nested"),
        (
            "an sbom that is no JSON",
            sections(&[("bulkhead:manifest", &json), ("bulkhead:sbom", b"<bom/>")]),
            "not JSON",
        ),
    ] {
        check(name, &bytes, Code::Malformed, detail);
    }
}

#[test]
fn a_section_above_its_size_is_too_large() {
    let json = json(MANIFEST);
    let padded = [json.as_slice(), &vec![b' '; 64 << 10]].concat();
    for (name, bytes) in [
        ("manifest", sections(&[("bulkhead:manifest", &padded)])),
        ("migrations", sections(&[("bulkhead:manifest", &json), ("bulkhead:migrations", &vec![0; (1 << 20) + 1])])),
        ("assets", sections(&[("bulkhead:manifest", &json), ("bulkhead:assets", &vec![0; (8 << 20) + 1])])),
        ("sbom", sections(&[("bulkhead:manifest", &json), ("bulkhead:sbom", &vec![b' '; (1 << 20) + 1])])),
    ] {
        check(name, &bytes, Code::TooLarge, &format!("`bulkhead:{name}`"));
    }
}

#[test]
fn a_manifest_with_mistakes_names_them_all() {
    let text = String::from_utf8(json(MANIFEST)).unwrap();
    let broken = text.replace("\"1.2.0\"", "\"1.2\"").replace("\"filter\"", "\"filtre\"");
    let refusals = read(&sections(&[("bulkhead:manifest", broken.as_bytes())])).unwrap_err();

    let pointers: Vec<_> = refusals.iter().filter_map(|refusal| refusal.pointer.as_deref()).collect();
    assert!(pointers.contains(&"/plugin/version") && pointers.contains(&"/hooks/0/kind"), "{refusals:#?}");

    let twice = text.replace("\"name\":\"CRM\"", "\"name\":\"CRM\",\"name\":\"CRM\"");
    check("a field twice", &sections(&[("bulkhead:manifest", twice.as_bytes())]), Code::Malformed, "duplicate");
    let local = text.replace("\"plugin\":", "\"component\":{\"path\":\"/etc/passwd\"},\"plugin\":");
    check("a local path", &sections(&[("bulkhead:manifest", local.as_bytes())]), Code::Malformed, "plugin.toml");
    check("no JSON", &sections(&[("bulkhead:manifest", b"[plugin]")]), Code::Malformed, "not JSON");
    check("deep JSON", &sections(&[("bulkhead:manifest", "[".repeat(60_000).as_bytes())]), Code::Malformed, "not JSON");
}

fn index(entries: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(entries.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(entries.as_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn entry(path: &str, length: u64, content: &[u8]) -> String {
    let sha256 = bulkhead_model::Digest::of(content).hex();
    format!(r#"{{"path":"{path}","media_type":"text/plain","length":{length},"sha256":"{sha256}"}}"#)
}

#[test]
fn files_cannot_leave_their_section_or_shadow_each_other() {
    let json = json(MANIFEST);
    let one = |path: &str| index(&format!("[{}]", entry(path, 1, b"x")), b"x");
    let two = |left: &str, right: &str| index(&format!("[{},{}]", entry(left, 1, b"x"), entry(right, 1, b"x")), b"xx");
    let long = format!("{}/x", "a".repeat(199));
    for (name, assets, detail) in [
        ("shorter than its length", b"\x01\0".to_vec(), "ends before"),
        ("a length beyond the section", index("[]", b"")[..4].to_vec(), "ends before"),
        ("an enormous length", b"\xff\xff\xff\xff[]".to_vec(), "ends before"),
        ("no JSON", index("{", b""), "index is not readable"),
        (
            "an unknown field",
            index(r#"[{"path":"a","media_type":"text/plain","length":0,"sha256":"","mode":1}]"#, b""),
            "index",
        ),
        ("an absolute path", one("/etc/passwd"), "a path is"),
        ("a parent", one("../x"), "a path is"),
        ("a parent inside", one("a/../x"), "a path is"),
        ("a hidden file", one(".env"), "a path is"),
        ("a backslash", one("a\\\\b"), "a path is"),
        ("an empty part", one("a//b"), "a path is"),
        ("a trailing slash", one("a/"), "a path is"),
        ("a drive", one("c:x"), "a path is"),
        ("a NUL", one("a\\u0000b"), "a path is"),
        ("a non-ASCII letter", one("ä"), "a path is"),
        ("too long", one(&long), "a path is"),
        ("too deep", one("a/b/c/d/e/f/g/h/i"), "a path is"),
        ("twice", two("a", "a"), "twice"),
        ("case alone", two("a", "A"), "case alone"),
        ("file and folder", two("a", "a/b"), "a file and a folder"),
        ("file and folder by case", two("A", "a/b"), "a file and a folder"),
        ("a length beyond the bytes", index(&format!("[{}]", entry("a", 2, b"x")), b"x"), "ends before"),
        ("a length of 2^64-1", index(&format!("[{}]", entry("a", u64::MAX, b"x")), b"x"), "ends before"),
        ("other bytes", index(&format!("[{}]", entry("a", 1, b"x")), b"y"), "SHA-256"),
        ("bytes left over", index(&format!("[{}]", entry("a", 1, b"x")), b"xy"), "1 bytes after"),
    ] {
        check(name, &sections(&[("bulkhead:manifest", &json), ("bulkhead:assets", &assets)]), Code::Malformed, detail);
    }
    let header =
        index(&format!("[{}]", entry("a", 1, b"x").replace("text/plain", "text/html\\r\\nSet-Cookie: a")), b"x");
    check(
        "a header",
        &sections(&[("bulkhead:manifest", &json), ("bulkhead:assets", &header)]),
        Code::Malformed,
        "media type",
    );
}

#[test]
fn migrations_are_a_gapless_sequence_of_well_named_files() {
    let text = format!("{MANIFEST}\n[migrations]\n");
    let json = json(&text);
    let with = |entries: &[(&str, &str)]| {
        sections(&[("bulkhead:manifest", &json), ("bulkhead:migrations", &files(entries).encode())])
    };
    for (name, entries, detail) in [
        ("no number", &[("deals.sql", "")][..], "named"),
        ("three digits", &[("001_deals.sql", "")], "named"),
        ("number 0", &[("0000_deals.sql", "")], "named"),
        ("no name", &[("0001_.sql", "")], "named"),
        ("upper case", &[("0001_Deals.sql", "")], "named"),
        ("another ending", &[("0001_deals.txt", "")], "named"),
        ("another engine", &[("0001_deals.mysql.sql", "")], "named"),
        ("the way back before the engine", &[("0001_deals.down.sqlite.sql", "")], "named"),
        ("two ways back", &[("0001_deals.down.down.sql", "")], "named"),
        ("in a folder", &[("sqlite/0001_deals.sql", "")], "named"),
        ("a gap", &[("0001_a.sql", ""), ("0003_c.sql", "")], "migration 2 is missing"),
        ("not from 1", &[("0002_a.sql", "")], "migration 1 is missing"),
        ("one number, two names", &[("0001_a.sql", ""), ("0001_b.sql", "")], "number 1 is `a` already"),
        ("one engine alone", &[("0001_a.sqlite.sql", "")], "no step for both engines"),
        ("a way back alone", &[("0001_a.down.sql", "")], "no step for both engines"),
    ] {
        check(name, &with(entries), Code::Malformed, detail);
    }

    let good = read(&with(&[
        ("0001_a.sql", "one"),
        ("0001_a.down.sql", "back"),
        ("0002_b.sqlite.sql", "l"),
        ("0002_b.postgres.sql", "p"),
        ("0002_b.postgres.down.sql", "p back"),
    ]));

    let steps = good.unwrap().migration_steps();
    assert_eq!(steps.len(), 2);
    let (first, second) = (&steps[0], &steps[1]);
    assert_eq!((first.up.portable.as_deref(), first.down.portable.as_deref()), (Some("one"), Some("back")));
    assert_eq!((second.up.sqlite.as_deref(), second.up.postgres.as_deref()), (Some("l"), Some("p")));
    assert_eq!((&second.down.sqlite, second.down.postgres.as_deref()), (&None, Some("p back")));
}

#[test]
fn only_names_of_the_table_are_imported() {
    let json = json("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n");
    for (name, code, detail) in [
        ("wasi:sockets/tcp@0.2.0", Code::ForbiddenImport, "wasi:sockets/tcp@0.2.0"),
        ("wasi:sockets/udp@0.2.6", Code::ForbiddenImport, "never links"),
        ("wasi:sockets/ip-name-lookup@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:http/outgoing-handler@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:http/types@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:cli/run@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:keyvalue/store@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:nn/tensor@0.2.0", Code::ForbiddenImport, "never links"),
        ("wasi:io/poll@0.3.0", Code::ForbiddenImport, "never links"),
        ("wasi:io/poll@0.2.0-rc-2023-11-10", Code::ForbiddenImport, "never links"),
        ("wasi:io/poll", Code::ForbiddenImport, "never links"),
        ("wasi:filesystem/types@1.0.0", Code::ForbiddenImport, "never links"),
        ("evil:io/poll@0.2.0", Code::ForbiddenImport, "never links"),
        ("bulkhead:host/sql@0.1.0", Code::ForbiddenImport, "never links"),
        ("url=<https://evil.example/a.wasm>", Code::ForbiddenImport, "never links"),
        ("unlocked-dep=<evil:a/b>", Code::ForbiddenImport, "never links"),
        ("locked-dep=<evil:a/b@1.0.0>", Code::ForbiddenImport, "never links"),
        ("integrity=<sha256-qL/w>", Code::ForbiddenImport, "never links"),
        ("sql", Code::ForbiddenImport, "never links"),
        ("bulkhead:plugin/sql", Code::IncompatibleContract, "^0.1"),
        ("bulkhead:plugin/sql@0.2.0", Code::IncompatibleContract, "^0.1"),
        ("bulkhead:plugin/sql@1.1.0", Code::IncompatibleContract, "^0.1"),
        ("bulkhead:plugin/sql@0.1.0-rc.1", Code::IncompatibleContract, "^0.1"),
        ("bulkhead:plugin/types@0.2.0", Code::IncompatibleContract, "^0.1"),
        ("bulkhead:plugin/http@0.1.0", Code::IncompatibleContract, "bulkhead:plugin/http@0.1.0"),
        ("bulkhead:plugin/events-publish@0.1.0", Code::IncompatibleContract, "does not serve"),
        ("bulkhead:plugin/secrets@0.1.0", Code::IncompatibleContract, "does not serve"),
        ("bulkhead:plugin/root@0.1.0", Code::IncompatibleContract, "no interface"),
        ("bulkhead:plugin/routes@0.1.0", Code::IncompatibleContract, "no interface"),
        ("bulkhead:plugin/sql@0.1.0", Code::ManifestMismatch, "bulkhead:plugin/sql"),
        ("bulkhead:plugin/kv@0.1.0", Code::ManifestMismatch, "bulkhead:plugin/kv"),
    ] {
        let bytes = wat(&format!("(component (import \"{name}\" (instance)))"));
        check(name, &with_sections(&bytes, &[("bulkhead:manifest", &json)]), code, detail);
    }
    for name in [
        "wasi:io/poll@0.2.0",
        "wasi:cli/environment@0.2.6",
        "wasi:filesystem/preopens@0.2.3",
        "bulkhead:plugin/log@0.1.0",
        "bulkhead:plugin/types@0.1.7",
    ] {
        let bytes = wat(&format!("(component (import \"{name}\" (instance)))"));
        let artifact = read(&with_sections(&bytes, &[("bulkhead:manifest", &json)])).expect(name);
        assert_eq!(artifact.imports.names().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn an_interface_is_imported_as_an_instance_or_not_at_all() {
    let json = json("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n");
    for item in ["(func)", "(component)", "(core module)", "(type (sub resource))"] {
        for name in ["bulkhead:plugin/log@0.1.0", "wasi:io/poll@0.2.0", "plain"] {
            let bytes = wat(&format!("(component (import \"{name}\" {item}))"));
            check(item, &with_sections(&bytes, &[("bulkhead:manifest", &json)]), Code::ForbiddenImport, name);
        }
    }
}

#[test]
fn all_forbidden_imports_are_named_at_once() {
    let bytes = wat(
        "(component (import \"wasi:sockets/tcp@0.2.0\" (instance)) (import \"wasi:http/types@0.2.0\" (instance)) (import \"bulkhead:plugin/crypto@0.1.0\" (instance)))",
    );
    let refusals = read(&with_sections(&bytes, &[("bulkhead:manifest", &json(MANIFEST))])).unwrap_err();

    let text = format!("{refusals:?}");
    for name in
        ["wasi:sockets/tcp@0.2.0", "wasi:http/types@0.2.0", "bulkhead:plugin/crypto@0.1.0", "does not export `routes`"]
    {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[test]
fn manifest_and_exports_agree_both_ways() {
    let plain = "[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n";
    let check = |manifest: &str, exports: &[&str], wanted: &[(Code, &str)]| {
        let bytes = with_sections(&component(&[], exports), &[("bulkhead:manifest", &json(manifest))]);
        let refusals = read(&bytes).err().unwrap_or_default();
        let found: Vec<_> = refusals.iter().map(|r| (r.code, r.pointer.as_deref().unwrap_or(&r.detail))).collect();
        assert_eq!(found, wanted, "{exports:?} with {manifest}");
    };
    let route = format!("{plain}[[routes]]\nmethod = \"GET\"\npath = \"/a\"\n");
    let hook = format!("{plain}[[hooks]]\nname = \"a.b\"\nkind = \"action\"\n");
    let health = format!("{plain}[health]\nexport = true\n");

    check(plain, &[], &[]);
    check(plain, &["lifecycle"], &[]);
    check(&route, &["routes"], &[]);
    check(&hook, &["hooks", "lifecycle"], &[]);
    check(&health, &["health"], &[]);
    check(&route, &[], &[(Code::ManifestMismatch, "/routes")]);
    check(plain, &["routes"], &[(Code::ManifestMismatch, "/routes")]);
    check(&hook, &["routes"], &[(Code::ManifestMismatch, "/routes"), (Code::ManifestMismatch, "/hooks")]);
    check(plain, &["hooks"], &[(Code::ManifestMismatch, "/hooks")]);
    check(plain, &["health"], &[(Code::ManifestMismatch, "/health/export")]);
    check(&health, &[], &[(Code::ManifestMismatch, "/health/export")]);
    for unserved in ["events", "jobs", "services", "guards", "sockets", "config-migration"] {
        let name = format!("this host does not call an export `bulkhead:plugin/{unserved}@0.1.0`");
        check(plain, &[unserved], &[(Code::IncompatibleContract, &name)]);
    }
}

#[test]
fn what_this_host_does_not_serve_is_refused_where_it_stands() {
    let check = |addition: &str, wanted: &str| {
        let text = format!("{MANIFEST}{addition}");
        let refusals = read(&sections(&[("bulkhead:manifest", &json(&text))])).expect_err(addition);
        let found =
            refusals.iter().any(|r| r.code == Code::IncompatibleContract && r.pointer.as_deref() == Some(wanted));
        assert!(found, "{addition}: {refusals:?}");
    };
    check("[[websockets]]\npath = \"/live\"\n", "/websockets");
    check("[[guards]]\nname = \"office_hours\"\n", "/guards");
    check("[[routes]]\nmethod = \"PUT\"\npath = \"/x\"\nguards = [\"g\"]\n", "/routes/1/guards");
    check("[[jobs]]\nname = \"nightly\"\ncron = \"0 2 * * *\"\n", "/jobs");
    check("[[events.publishes]]\ntopic = \"crm.deal_won\"\n", "/events/publishes");
    check("[[events.subscribes]]\ntopic = \"crm.deal_won\"\n", "/events/subscribes");
    check("[[services.provides]]\nname = \"score\"\n", "/services/provides");
    check("[[services.uses]]\nplugin = \"acme.billing\"\nservice = \"x\"\n", "/services/uses");

    let newer = MANIFEST.replace("name = \"CRM\"", "name = \"CRM\"\ncontract = \"^0.2\"");
    let refusals = read(&sections(&[("bulkhead:manifest", &json(&newer))])).unwrap_err();
    assert_eq!(
        (refusals[0].code, refusals[0].pointer.as_deref()),
        (Code::IncompatibleContract, Some("/plugin/contract"))
    );
}

#[test]
fn files_that_the_manifest_names_are_there() {
    let with = |addition: &str, assets: &[(&str, &str)]| {
        let json = json(&format!("{MANIFEST}{addition}"));
        read(&sections(&[("bulkhead:manifest", &json), ("bulkhead:assets", &files(assets).encode())]))
    };
    let pointer =
        |addition: &str, assets: &[(&str, &str)]| with(addition, assets).unwrap_err()[0].pointer.clone().unwrap();

    assert_eq!(pointer("[config]\nschema = \"config.schema.json\"\n", &[]), "/config/schema");
    assert_eq!(pointer("[openapi]\n", &[]), "/openapi");
    assert_eq!(
        pointer("[[ui.pages]]\npath = \"/\"\ntitle = \"x\"\nentry = \"index.html\"\n", &[]),
        "/ui/pages/0/entry"
    );
    assert_eq!(pointer("[migrations]\n", &[]), "/migrations");
    let point = "[[extension_points]]\nname = \"deal.score\"\nkind = \"filter\"\nschema = \"score.json\"\n";
    assert_eq!(pointer(point, &[]), "/extension_points/0/schema");
    assert!(with(point, &[("score.json", "{}")]).is_ok());
    assert!(with("[config]\nschema = \"config.schema.json\"\n", &[("config.schema.json", "{}")]).is_ok());

    let json = json(MANIFEST);
    let undeclared =
        [("bulkhead:manifest", &json[..]), ("bulkhead:migrations", &files(&[("0001_a.sql", "")]).encode())];
    check("undeclared", &sections(&undeclared), Code::ManifestMismatch, "the manifest declares none");
    let text = format!("{}[migrations]\n", MANIFEST.replace("sql = true", ""));
    let refusals = read(&with_sections(
        &component(&[], &["routes", "hooks"]),
        &[("bulkhead:manifest", &self::json(&text)), ("bulkhead:migrations", &files(&[("0001_a.sql", "")]).encode())],
    ));
    assert_eq!(refusals.unwrap_err()[0].pointer.as_deref(), Some("/capabilities/sql"));
}

#[test]
fn a_view_is_published_with_its_select_and_used_with_its_import() {
    let check = |imports: &[&str], addition: &str, assets: &[(&str, &[u8])], wanted: &[(Code, &str)]| {
        let text = format!("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"x\"\n{addition}");
        let (json, mut files) = (json(&text), bulkhead_trust::Files::new());
        for (path, bytes) in assets {
            files.insert(path, file("application/sql", bytes)).unwrap();
        }
        let sections = [("bulkhead:manifest", &json[..]), ("bulkhead:assets", &files.encode())];
        let sections = if assets.is_empty() { &sections[..1] } else { &sections[..] };
        let refusals = read(&with_sections(&component(imports, &[]), sections)).err().unwrap_or_default();
        let found: Vec<_> = refusals.iter().map(|r| (r.code, r.pointer.as_deref().unwrap_or(&r.detail))).collect();
        assert_eq!(found, wanted, "{addition}");
    };
    let provides = "[[views.provides]]\nname = \"c\"\nversion = 1\nsql = \"views/c.sql\"\n[capabilities]\nsql = true\n";
    let uses = "[[views.uses]]\nplugin = \"acme.billing\"\nview = \"b\"\nversion = 1\n";
    let long = vec![b' '; 64 * 1024 + 1];

    check(&["sql"], provides, &[("views/c.sql", b"select 1 as one")], &[]);
    check(&["sql"], provides, &[], &[(Code::ManifestMismatch, "/views/provides/0/sql")]);
    check(&["sql"], provides, &[("views/c.sql", b"select '\xff'")], &[(Code::Malformed, "/views/provides/0/sql")]);
    check(&["sql"], provides, &[("views/c.sql", &long)], &[(Code::Malformed, "/views/provides/0/sql")]);
    let without_sql = provides.replace("sql = true", "kv = true");
    check(
        &["sql"],
        &without_sql,
        &[("views/c.sql", b"select 1")],
        &[(Code::ManifestMismatch, "/capabilities/sql"), (Code::ManifestMismatch, "/capabilities/sql")],
    );
    check(
        &["kv"],
        &provides.replace("sql = true", "sql = true\nkv = true"),
        &[("views/c.sql", b"select 1")],
        &[(Code::ManifestMismatch, "/views/provides")],
    );
    check(&["views"], uses, &[], &[]);
    check(&["log"], uses, &[], &[(Code::ManifestMismatch, "/views/uses")]);
    check(&["views"], "", &[], &[(Code::ManifestMismatch, "/views/uses")]);
}

#[test]
fn files_read_back_as_they_were_written() {
    let mut written = files(&[("ui/index.html", "<p>"), ("a", "")]);
    written.insert("b.json", file("application/json; charset=utf-8", b"{}")).unwrap();

    let read = bulkhead_trust::Files::decode(&written.encode()).unwrap();

    assert_eq!(read, written);
    assert_eq!(read.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["a", "b.json", "ui/index.html"]);
}
