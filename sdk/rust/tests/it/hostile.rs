//! Each hostile guest is a valid component that exports the hooks of the WIT and imports nothing
//! that an honest guest could not. What it does when it runs is not looked at here.

use std::fs;
use std::path::{Path, PathBuf};

use wasmparser::{Validator, WasmFeatures};
use wit_parser::{Resolve, WorldId};

/// The inert imports of the guests that make timers and draw random bytes.
const WORLD: &str = r#"
    package hostile:guests;

    world guest {
        include bulkhead:plugin/hooks-only@0.1.0;
        import wasi:clocks/monotonic-clock@0.2.6;
        import wasi:random/random@0.2.6;
    }

    package wasi:io@0.2.6 {
        interface poll { resource pollable; }
    }

    package wasi:clocks@0.2.6 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.6.{pollable};
            subscribe-duration: func(when: u64) -> pollable;
        }
    }

    package wasi:random@0.2.6 {
        interface random { get-random-bytes: func(len: u64) -> list<u8>; }
    }
"#;

#[test]
fn each_hostile_guest_exports_the_hooks_of_the_wit() {
    let (resolve, world) = world();

    for (name, component) in guests() {
        Validator::new_with_features(WasmFeatures::default())
            .validate_all(&component)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        wit_component::targets(&resolve, world, &component, false).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

#[test]
fn there_is_a_hostile_guest_for_each_axis() {
    let names: Vec<_> = guests().map(|(name, _)| name).collect();

    let expected = [
        "echo",
        "handle_flood",
        "host_call_flood",
        "huge_response",
        "log_flood",
        "loop",
        "many_memories",
        "memory",
        "memory_at_start",
        "panic",
        "random_flood",
        "recursion",
        "table",
        "trap_in_start",
    ];
    assert_eq!(names, expected);
}

/// The guests by name, in order, as binary components.
fn guests() -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("plugins/hostile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    files.sort();
    files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let component = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
        (name, component)
    })
}

fn world() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    resolve.push_dir(root().join("wit")).unwrap();
    let package = resolve.push_str("world.wit", WORLD).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    (resolve, world)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
