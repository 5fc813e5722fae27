//! Packing: the same input gives the same bytes, and what must not be published is not packed.
//! What a packed artifact may hold is the matter of `artifact`.

use bulkhead_model::Code;
use bulkhead_trust::lint::{self, Severity};
use bulkhead_trust::structure::StructuralLimits;
use bulkhead_trust::{Files, Refusal, pack};

use crate::fixtures::{MANIFEST, crm, file, files, manifest, read};

fn packed(text: &str, migrations: &Files, assets: &Files, sbom: Option<&[u8]>) -> Result<Vec<u8>, Vec<Refusal>> {
    pack(&crm(), &manifest(text), migrations, assets, sbom, &StructuralLimits::DEFAULT)
}

#[test]
fn the_same_input_gives_the_same_bytes_and_nothing_of_the_authors_machine() {
    let text = format!(
        "{MANIFEST}[component]\npath = \"target/secret-project/crm.wasm\"\n[migrations]\npath = \"migrations\"\n[openapi]\npath = \"api/openapi.json\"\n"
    );
    let migrations = files(&[("0001_deals.sql", "create table deals (id integer)")]);
    let assets = files(&[("z.css", "b"), ("openapi.json", "{}"), ("a.css", "a")]);
    let make = || packed(&text, &migrations, &assets, Some(b"{}")).unwrap();

    let bytes = make();

    assert_eq!(bytes, make());
    let artifact = read(&bytes).unwrap();
    assert_eq!((artifact.migrations, artifact.assets, artifact.sbom), (migrations, assets, b"{}".to_vec()));
    assert_eq!(artifact.manifest_json, manifest(&text).for_artifact().to_json());
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("secret-project") && !text.contains("api/openapi"));
}

#[test]
fn what_could_not_be_read_is_not_packed() {
    let none = Files::new();
    let unread =
        |text: &str, migrations: &Files, assets: &Files| packed(text, migrations, assets, None).unwrap_err()[0].code;

    assert_eq!(unread(&format!("{MANIFEST}[migrations]\n"), &none, &none), Code::ManifestMismatch);
    assert_eq!(unread(MANIFEST, &files(&[("0001_a.sql", "")]), &none), Code::ManifestMismatch);
    assert_eq!(unread(&MANIFEST.replace("sql = true", ""), &none, &none), Code::ManifestMismatch);
    assert_eq!(unread(&format!("{MANIFEST}[migrations]\n"), &files(&[("0002_a.sql", "")]), &none), Code::Malformed);
    assert_eq!(unread(MANIFEST, &none, &files(&[("a", ""), ("A", "")])), Code::Malformed);
    assert_eq!(
        pack(b"(component)", &manifest(MANIFEST), &none, &none, None, &StructuralLimits::DEFAULT).unwrap_err()[0].code,
        Code::Malformed
    );
    let large = {
        let mut large = Files::new();
        large.insert("big.bin", file("application/octet-stream", &vec![0; 9 << 20])).unwrap();
        large
    };
    assert_eq!(unread(MANIFEST, &none, &large), Code::TooLarge);
    let twice = pack(
        &packed(MANIFEST, &none, &none, None).unwrap(),
        &manifest(MANIFEST),
        &none,
        &none,
        None,
        &StructuralLimits::DEFAULT,
    );
    assert!(twice.unwrap_err()[0].detail.contains("packed already"));
}

#[test]
fn a_secret_stops_the_release_without_being_repeated() {
    let run = |length: usize| "Ab3dE6gH1jK".repeat(20)[..length].to_owned();
    let secrets = [
        (format!("-----BEGIN PRIVATE KEY-----\n{}\n", run(60)), "a private key"),
        (format!("-----BEGIN RSA PRIVATE KEY-----\\n{}\\n", run(60)), "a private key"),
        (format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n", run(60)), "a private key"),
        ("key = AKIAIOSFODNN7EXAMPLE".to_owned(), "an AWS access key id"),
        (format!("ghp_{}", run(36)), "a GitHub token"),
        (format!("github_pat_{}", run(60)), "a GitHub token"),
        (format!("glpat-{}", run(20)), "a GitLab token"),
        (format!("//registry.npmjs.org/:_authToken=npm_{}", run(36)), "an npm token"),
        (format!("xoxb-{}", run(40)), "a Slack token"),
        (format!("sk_live_{}", run(24)), "a Stripe key"),
        (format!("AIza{}", run(35)), "a Google API key"),
        (format!("Bearer eyJhbGciOiJIUzI1NiJ9.{}.{}", run(60), run(43)), "a signed token (JWT)"),
        (
            {
                let pem = crate::fixtures::key(9).to_pem();
                pem.to_string()
            },
            "a private key",
        ),
    ];
    for (text, kind) in &secrets {
        let refusals = packed(MANIFEST, &Files::new(), &files(&[("ui/config.js", text)]), None).expect_err(text);
        assert_eq!(refusals[0].detail, format!("assets/ui/config.js: it contains {kind}"));

        let sql = format!("{MANIFEST}[migrations]\n");
        assert!(packed(&sql, &files(&[("0001_a.sql", text)]), &Files::new(), None).is_err(), "{text}");
        let named = MANIFEST.replace("name = \"CRM\"", &format!("name = \"CRM\"\ndescription = '''{text}'''"));
        assert!(packed(&named, &Files::new(), &Files::new(), None).is_err(), "{text}");
    }
}

#[test]
fn what_only_looks_like_a_secret_is_packed() {
    for harmless in [
        "if line == \"-----BEGIN PRIVATE KEY-----\" { parse() }",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n",
        "AKIA is how they begin",
        "AKIAIOSFODNN7EXAMPLEANDMUCHMORE",
        "xAKIAIOSFODNN7EXAMPLE",
        "ghp_short",
        "eyJhbGciOi",
        "skeleton_live_wire",
    ] {
        assert!(packed(MANIFEST, &Files::new(), &files(&[("a.js", harmless)]), None).is_ok(), "{harmless}");
    }
}

#[test]
fn files_that_do_not_belong_are_not_packed() {
    for path in [
        "prod.env",
        "ui/server.pem",
        "a/b/tls.KEY",
        "store.p12",
        "id_rsa",
        "ui/credentials",
        "old.zip",
        "x.tar.gz",
        "a.so",
        "test.db",
    ] {
        let refusals = packed(MANIFEST, &Files::new(), &files(&[(path, "x")]), None).expect_err(path);
        assert!(refusals[0].detail.contains("does not belong"), "{path}: {refusals:?}");
    }
    for path in ["index.html", "keyboard.js", "environment.json", "tarball.css"] {
        assert!(packed(MANIFEST, &Files::new(), &files(&[(path, "x")]), None).is_ok(), "{path}");
    }
}

#[test]
fn oddities_are_told_and_stop_nothing() {
    let text = format!("{}[[permissions]]\nname = \"deals.view\"\n", MANIFEST.replace("1.2.0", "0.0.0"));

    let findings = lint::lint(&crm(), &manifest(&text), &Files::new(), &Files::new(), None);

    let places: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.place.as_str())).collect();
    let wanted = ["/permissions/0", "/plugin/description", "/plugin/license", "/plugin/version", "/routes/0"];
    assert_eq!(places, wanted.map(|place| (Severity::Warning, place)));
    assert!(packed(&text, &Files::new(), &Files::new(), None).is_ok());
}
