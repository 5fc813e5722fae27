//! `bulkhead check`, `pack`, `build`: a project becomes an artifact, or every reason why not is told.

use std::fs;
use std::path::Path;

use crate::bench::{Bench, MANIFEST};

#[test]
fn packing_twice_gives_the_same_bytes_and_leaves_one_file() {
    let bench = Bench::project();

    bench.ok("pack");
    let first = bench.read("echo-1.2.0.wasm");
    bench.ok("pack --out other.wasm");

    assert_eq!(bench.read("other.wasm"), first);
    assert_eq!(bench.names(), ["echo-1.2.0.wasm", "echo.component.wasm", "other.wasm", "plugin.toml"]);
}

#[test]
fn a_good_project_passes_before_and_after_its_component_is_compiled() {
    let bench = Bench::project();
    assert_eq!(bench.json("check")["component_checked"], true);

    fs::remove_file(bench.path("echo.component.wasm")).unwrap();
    assert_eq!(bench.json("check")["component_checked"], false);
}

#[test]
fn every_problem_of_a_manifest_is_told_with_its_pointer() {
    let bench = Bench::project();
    let bad = MANIFEST.replace("acme.echo", "Acme").replace("kind = \"filter\"", "kind = \"fliter\"\nprio = 1");
    bench.write("plugin.toml", bad);

    for command in ["check", "pack"] {
        let stderr = bench.fails(1, command);
        for pointer in ["/plugin/id", "/hooks/0/kind", "/hooks/0/prio"] {
            assert!(stderr.contains(pointer), "{stderr}");
        }
    }
}

#[test]
fn a_manifest_that_asks_for_what_the_component_has_not_is_refused() {
    let bench = Bench::project();
    bench.write("plugin.toml", format!("{MANIFEST}\n[health]\nexport = true\n"));

    assert_eq!(bench.refusal("check"), ["manifest-mismatch"]);
    assert_eq!(bench.refusal("pack"), ["manifest-mismatch"]);
}

/// A project with these migrations beside its component.
fn project_with(migrations: &[(&str, &str)]) -> Bench {
    let bench = Bench::project();
    fs::create_dir(bench.path("migrations")).unwrap();
    for (name, text) in migrations {
        bench.write(&format!("migrations/{name}"), text);
    }
    bench
        .write("plugin.toml", format!("{MANIFEST}\n[capabilities]\nsql = true\n[migrations]\npath = \"migrations\"\n"));
    bench
}

#[test]
fn a_statement_that_no_host_runs_is_refused_with_its_file_and_number() {
    let bench = project_with(&[
        ("0001_notes.sql", "CREATE TABLE notes (id text);\nSELECT pg_sleep(10);"),
        ("0002_more.sqlite.sql", "PRAGMA foreign_keys = OFF"),
        ("0002_more.postgres.sql", "SELECT 1"),
        ("0002_more.down.sql", "TRUNCATE notes"),
    ]);

    for (command, is_compiled) in [("check", true), ("pack", true), ("check", false)] {
        if !is_compiled {
            fs::remove_file(bench.path("echo.component.wasm")).unwrap();
        }
        let stderr = bench.fails(1, command);
        for told in [
            "migrations/0001_notes.sql: statement 2 (line 2): function:pg_sleep",
            "migrations/0002_more.sqlite.sql: statement 1 (line 1): syntax:",
            "migrations/0002_more.down.sql: statement 1 (line 1): statement:truncate",
        ] {
            assert!(stderr.contains(told), "{command}: {told}: {stderr}");
        }
        assert!(!stderr.contains("0002_more.postgres.sql"), "{stderr}");
    }
}

#[test]
fn what_a_migration_locks_or_does_on_one_engine_alone_is_a_warning() {
    let bench = project_with(&[
        ("0001_notes.sql", "CREATE TABLE notes (id text PRIMARY KEY); CREATE INDEX notes_by_id ON notes (id)"),
        ("0002_more.sql", "ALTER TABLE notes ADD COLUMN at timestamp;\nUPDATE notes SET at = now();\nDROP TABLE old"),
    ]);

    let warnings = bench.json("check")["sql"].take();
    let text = bench.ok("check");

    let found: Vec<_> =
        warnings.as_array().unwrap().iter().map(|w| (&w["file"], &w["statement"], &w["code"])).collect();
    let wanted = [(2, "touches-all-rows"), (2, "clock"), (3, "drops")];
    assert_eq!(found.len(), wanted.len(), "{warnings}");
    for ((file, statement, code), (number, name)) in found.into_iter().zip(wanted) {
        assert_eq!(
            (file.as_str(), statement.as_u64(), code.as_str()),
            (Some("migrations/0002_more.sql"), Some(number), Some(name))
        );
    }
    assert!(text.contains("warning: migrations/0002_more.sql, statement 3: drops: "), "{text}");
    bench.ok("pack");
}

#[test]
fn a_view_is_read_before_it_is_packed_and_shown_by_inspect() {
    let bench = Bench::project();
    let imports = ["sql", "views"].map(|name| format!("(import \"bulkhead:plugin/{name}@0.1.0\" (instance))"));
    let echo =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hostile/echo.wat")).unwrap();
    let component = echo.replacen("(component", &format!("(component {}", imports.concat()), 1);
    bench.write("echo.component.wasm", wat::parse_str(component).unwrap());
    let views = "[[views.provides]]\nname = \"notes\"\nversion = 2\nsql = \"views/notes.sql\"\n\
         [[views.uses]]\nplugin = \"acme.billing\"\nview = \"balances\"\nversion = 1\n";
    bench.write("plugin.toml", format!("{MANIFEST}\n{views}[capabilities]\nsql = true\n"));

    assert!(bench.fails(1, "check").contains("/views/provides/0/sql"), "the file is missing");
    fs::create_dir(bench.path("views")).unwrap();
    bench.write("views/notes.sql", "SELECT id FROM notes WHERE id = $1");
    for command in ["check", "pack"] {
        let stderr = bench.fails(1, command);
        assert!(stderr.contains("assets/views/notes.sql: parameter:a view takes none"), "{command}: {stderr}");
    }
    bench.write("views/notes.sql", "SELECT id, now() AS at FROM notes");
    assert_eq!(bench.json("check")["sql"][0]["code"], "clock");
    bench.ok("pack");

    let (body, text) = (bench.json("inspect echo-1.2.0.wasm"), bench.ok("inspect echo-1.2.0.wasm"));
    assert_eq!(body["views"]["provides"][0], "notes version 2");
    assert!(text.contains("views for other plugins\n  notes version 2\n"), "{text}");
    assert!(text.contains("views of other plugins\n  acme.billing balances version 1\n"), "{text}");
}

#[test]
fn a_misnamed_migration_is_refused_before_anything_is_compiled() {
    let bench = project_with(&[("1_notes.sql", "SELECT 1")]);
    fs::remove_file(bench.path("echo.component.wasm")).unwrap();

    assert_eq!(bench.refusal("check"), ["malformed"]);
}

#[test]
fn a_secret_among_the_files_is_found_before_and_after_the_build() {
    let bench = Bench::project();
    bench.ok("key generate --out author");
    fs::create_dir(bench.path("ui")).unwrap();
    fs::rename(bench.path("author.key.pem"), bench.path("ui/author.key.pem")).unwrap();
    bench.write("plugin.toml", format!("{MANIFEST}\n[ui]\nassets = \"ui\"\n"));

    assert!(bench.fails(3, "pack").contains("author.key.pem"));
    fs::remove_file(bench.path("echo.component.wasm")).unwrap();
    assert!(bench.fails(1, "check").contains("author.key.pem"));
}

#[test]
fn a_component_that_is_none_is_told_as_such() {
    let bench = Bench::project();

    bench.write("echo.component.wasm", b"\0asm\x01\0\0\0");
    assert!(bench.fails(1, "pack").contains("it is a core module"));
    bench.write("echo.component.wasm", b"hello, world");
    assert!(bench.fails(1, "pack").contains("does not begin as WebAssembly"));
    fs::remove_file(bench.path("echo.component.wasm")).unwrap();
    assert!(bench.fails(1, "pack").contains("bulkhead build"));
}

#[test]
fn a_packed_file_is_not_packed_again() {
    let bench = Bench::project();
    bench.ok("pack");
    bench.write("echo.component.wasm", bench.read("echo-1.2.0.wasm"));

    assert!(bench.fails(3, "pack --out twice.wasm").contains("packed already"));
}

#[test]
fn a_project_without_cargo_is_not_built() {
    let bench = Bench::project();

    let stderr = bench.fails(1, "build");

    assert!(stderr.contains("no `Cargo.toml`") && stderr.contains("bulkhead pack"), "{stderr}");
}

#[test]
fn a_manifest_that_is_missing_is_not_found() {
    let bench = Bench::new();

    for command in ["check", "pack", "build"] {
        bench.fails(4, command);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_as_such() {
    let bench = Bench::project();
    bench.ok("pack");
    bench.ok("key generate --out acme");

    // Nobody writes there, not even root.
    for line in [
        "pack --out /proc/echo.wasm",
        "key generate --out /proc/acme",
        "init --dir /proc/host",
        "new acme.crm --dir /proc/crm",
    ] {
        let stderr = bench.fails(1, line);
        assert!(stderr.contains("failed to write `/proc/"), "{stderr}");
    }
}
