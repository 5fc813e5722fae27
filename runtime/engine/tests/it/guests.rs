//! Guests of the tests: the hostile ones that ship as text, and small core modules wrapped into components.
//! It runs none of them.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The WASI that these guests import.
const WASI: &str = r"
package wasi:io@0.2.6 {
    interface error { resource error; }
    interface poll { resource pollable { block: func(); } }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.6 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.6.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:cli@0.2.6 {
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
    interface stderr {
        use wasi:io/streams@0.2.6.{output-stream};
        get-stderr: func() -> output-stream;
    }
}
package wasi:sockets@0.2.6 {
    interface instance-network {
        resource network;
        instance-network: func() -> network;
    }
}
";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A component out of `plugins/hostile`.
pub(crate) fn hostile(name: &str) -> Vec<u8> {
    wat::parse_file(repository().join("plugins/hostile").join(format!("{name}.wat"))).unwrap()
}

/// A component out of a core module in text and the items of its world in WIT.
pub(crate) fn guest(world: &str, core: &str) -> Vec<u8> {
    guest_of(&repository().join("wit"), world, core)
}

/// As [`guest`], against another copy of the contract.
pub(crate) fn guest_of(wit: &Path, world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit).unwrap();
    let text = format!("package test:guest;\n{WASI}\nworld guest {{ {world} }}\n");
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(core).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// World of a guest that exports hooks.
pub(crate) const HOOKS: &str = "include bulkhead:plugin/hooks-only@0.1.0;";

/// Parameters of the core function behind `apply-filter`; value and length are 12 and 13.
const FILTER: &str = r#"(func (export "bulkhead:plugin/hooks@0.1.0#apply-filter")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)"#;

/// A core module that exports hooks: `items` are its imports, globals and helpers, `filter` the body of
/// `apply-filter`, which leaves where its answer is. `$none` leaves the value as it is, `$digit` answers a digit.
pub(crate) fn hooks_core(items: &str, filter: &str) -> String {
    format!(
        r#"(module {items}
            (memory (export "memory") 2)
            (global $heap (mut i32) (i32.const 0x10000))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (if (i32.gt_u (local.get $at) (i32.const 0x1c000)) (then (local.set $at (i32.const 0x10000))))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $none (result i32) i32.const 16)
            (func $digit (param $n i32) (result i32)
                (i32.store8 (i32.const 64) (i32.add (i32.const 48) (local.get $n)))
                (i32.store8 (i32.const 36) (i32.const 1))
                (i32.store (i32.const 40) (i32.const 64))
                (i32.store (i32.const 44) (i32.const 1))
                i32.const 32)
            {FILTER} {filter})
            (func (export "bulkhead:plugin/hooks@0.1.0#on-action")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
                i32.const 16))"#
    )
}

/// Counts its calls within one instance and answers the count; traps on a value of six bytes, as `"trap"`.
pub(crate) fn counter() -> Vec<u8> {
    let filter = r"(if (i32.eq (local.get 13) (i32.const 6)) (then unreachable))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (call $digit (global.get $calls))";
    guest(HOOKS, &hooks_core("(global $calls (mut i32) (i32.const 0))", filter))
}

/// Waits for an hour in a host call.
pub(crate) fn sleeper() -> Vec<u8> {
    let imports = r#"
        (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#;
    let filter = "(call $block (call $subscribe (i64.const 3600000000000))) (call $none)";
    guest(&format!("{HOOKS} import wasi:clocks/monotonic-clock@0.2.6;"), &hooks_core(imports, filter))
}

/// Writes `message` to standard error and traps, as a panic does.
pub(crate) fn panicking(message: &str) -> Vec<u8> {
    let imports = format!(
        r#"(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))
        (data (i32.const 4096) "{message}")"#
    );
    let filter = format!(
        "(call $write (call $stderr) (i32.const 4096) (i32.const {}) (i32.const 128)) unreachable",
        message.len()
    );
    guest(&format!("{HOOKS} import wasi:cli/stderr@0.2.6;"), &hooks_core(&imports, &filter))
}

/// Makes `calls` WASI calls and answers.
pub(crate) fn clock_reader(calls: u32) -> Vec<u8> {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#;
    let filter = format!(
        "(local $left i32) (local.set $left (i32.const {calls}))
        (loop $more
            (drop (call $now))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $none)"
    );
    guest(&format!("{HOOKS} import wasi:clocks/monotonic-clock@0.2.6;"), &hooks_core(imports, &filter))
}

/// Traps after a log line; its functions have names.
pub(crate) fn named_trap() -> Vec<u8> {
    let items = r#"(import "bulkhead:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
        (data (i32.const 4096) "about to fail")
        (func $innermost unreachable)
        (func $middle (call $innermost))"#;
    let filter = "(call $write (i32.const 2) (i32.const 4096) (i32.const 13) (i32.const 0) (i32.const 0))
        (call $middle) unreachable";
    guest(HOOKS, &hooks_core(items, filter))
}

/// Imports the network.
pub(crate) fn socket_user() -> Vec<u8> {
    let imports = r#"(import "wasi:sockets/instance-network@0.2.6" "instance-network" (func $network (result i32)))"#;
    guest(
        &format!("{HOOKS} import wasi:sockets/instance-network@0.2.6;"),
        &hooks_core(imports, "(drop (call $network)) (call $none)"),
    )
}

/// Imports an interface of the contract whose host side is not built.
pub(crate) fn event_publisher() -> Vec<u8> {
    let imports = r#"(import "bulkhead:plugin/events-publish@0.1.0" "publish"
        (func $publish (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let filter = "(call $publish (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 128)) (call $none)";
    guest(HOOKS, &hooks_core(imports, filter))
}

/// Loops in its start function.
pub(crate) fn loop_in_start() -> Vec<u8> {
    guest(HOOKS, &hooks_core("(func $start (loop $for_ever (br $for_ever))) (start $start)", "(call $none)"))
}

/// A module whose functions are dear to compile: `functions` of them, each with nested blocks.
pub(crate) fn bomb(functions: usize, nesting: usize) -> Vec<u8> {
    let open = "(block (br_if 0 (local.get 0))".repeat(nesting);
    let close = ")".repeat(nesting);
    let bodies = format!("(func (param i32) {open}{close})").repeat(functions);
    guest(HOOKS, &hooks_core(&bodies, "(call $none)"))
}

/// Adds one to a key and answers the sum; a refusal is answered as a letter, `a` for the first storage error.
pub(crate) fn kv_counter() -> Vec<u8> {
    let items = r#"(import "bulkhead:plugin/kv@0.1.0" "increment" (func $increment (param i32 i32 i64 i32)))
        (data (i32.const 4096) "calls")"#;
    let filter = "(call $increment (i32.const 4096) (i32.const 5) (i64.const 1) (i32.const 256))
        (if (result i32) (i32.load8_u (i32.const 256))
            (then (call $digit (i32.add (i32.const 49) (i32.load8_u (i32.const 264)))))
            (else (call $digit (i32.wrap_i64 (i64.load (i32.const 264))))))";
    guest(HOOKS, &hooks_core(items, filter))
}

/// Reads ten rows of the view `notes` of `acme.notes` as often as its value has bytes; answers the rows of the last read, or a
/// letter for a storage error.
pub(crate) fn view_reader() -> Vec<u8> {
    let items = r#"(import "bulkhead:plugin/views@0.1.0" "read"
            (func $read (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (data (i32.const 4096) "acme.notes")"#;
    let filter = "(local $left i32) (local.set $left (local.get 13))
        (loop $more
            (call $read (i32.const 4096) (i32.const 10) (i32.const 4101) (i32.const 5) (i32.const 0) (i32.const 0)
                (i32.const 10) (i32.const 256))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (if (result i32) (i32.load8_u (i32.const 256))
            (then (call $digit (i32.add (i32.const 49) (i32.load8_u (i32.const 264)))))
            (else (call $digit (i32.load (i32.const 276)))))";
    guest(HOOKS, &hooks_core(items, filter))
}

/// Works on the table `t (n integer)`, as the length of the filter's value says: 1 inserts in a transaction and
/// leaves it open; 2 counts the rows; 3 inserts and commits; 4 uses the transaction that an earlier call left;
/// 5 begins two transactions; 6 publishes an event in one; 7 leaves a cursor open; 8 reads a cursor to its end
/// and counts; 9 traps inside a transaction. Answers the count or `0`, or a letter for a storage error.
pub(crate) fn sql_user() -> Vec<u8> {
    let items = r#"
        (import "bulkhead:plugin/sql@0.1.0" "begin" (func $begin (param i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "query" (func $query (param i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[method]cursor.next" (func $next (param i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[resource-drop]cursor" (func $drop_cursor (param i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[method]transaction.execute"
            (func $execute (param i32 i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[method]transaction.publish"
            (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[static]transaction.commit" (func $commit (param i32 i32)))
        (data (i32.const 4096) "insert into t (n) values (1)")
        (data (i32.const 4160) "select count(*) from t")
        (data (i32.const 4224) "select n from t")
        (global $left (mut i32) (i32.const 0))

        (func $failed (result i32) (call $digit (i32.add (i32.const 49) (i32.load8_u (i32.const 264)))))
        (func $refused (param $at i32) (result i32)
            (call $digit (i32.add (i32.const 49) (i32.load8_u (local.get $at)))))
        (func $insert (param $transaction i32)
            (call $execute (local.get $transaction) (i32.const 4096) (i32.const 28)
                (i32.const 0) (i32.const 0) (i32.const 256)))
        (func $count (result i32)
            (call $query (i32.const 4160) (i32.const 22) (i32.const 0) (i32.const 0) (i32.const 256))
            (if (result i32) (i32.load8_u (i32.const 256))
                (then (call $failed))
                (else (call $digit (i32.wrap_i64 (i64.load offset=8 (i32.load (i32.load (i32.const 272)))))))))"#;
    let filter = r"
        (if (i32.eq (local.get 13) (i32.const 2)) (then (return (call $count))))
        (if (i32.eq (local.get 13) (i32.const 4)) (then
            (call $insert (global.get $left))
            (return (if (result i32) (i32.load8_u (i32.const 256))
                (then (call $failed)) (else (call $digit (i32.const 0)))))))
        (if (i32.ge_u (local.get 13) (i32.const 7)) (then
            (if (i32.le_u (local.get 13) (i32.const 8)) (then
                (call $open (i32.const 4224) (i32.const 15) (i32.const 0) (i32.const 0) (i32.const 512))
                (if (i32.load8_u (i32.const 512)) (then (return (call $refused (i32.const 516)))))
                (if (i32.eq (local.get 13) (i32.const 7)) (then (return (call $digit (i32.const 0)))))
                (call $next (i32.load (i32.const 516)) (i32.const 100) (i32.const 256))
                (call $drop_cursor (i32.load (i32.const 516)))
                (return (call $digit (i32.load (i32.const 264))))))))
        (call $begin (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $refused (i32.const 516)))))
        (global.set $left (i32.load (i32.const 516)))
        (if (i32.eq (local.get 13) (i32.const 5)) (then
            (call $begin (i32.const 0) (i32.const 512))
            (return (if (result i32) (i32.load8_u (i32.const 512))
                (then (call $refused (i32.const 516))) (else (call $digit (i32.const 0)))))))
        (if (i32.eq (local.get 13) (i32.const 6)) (then
            (call $publish (global.get $left) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 1)
                (i32.const 4096) (i32.const 1) (i32.const 512))
            (return (if (result i32) (i32.load8_u (i32.const 512))
                (then (call $refused (i32.const 516))) (else (call $digit (i32.const 0)))))))
        (call $insert (global.get $left))
        (if (i32.eq (local.get 13) (i32.const 9)) (then unreachable))
        (if (i32.eq (local.get 13) (i32.const 3)) (then (call $commit (global.get $left) (i32.const 256))))
        (if (result i32) (i32.load8_u (i32.const 256)) (then (call $failed)) (else (call $digit (i32.const 0))))";
    guest(HOOKS, &hooks_core(items, filter))
}

/// What a guest needs to write blobs: `$open` begins the writer `$left`, `$piece` writes to it, `$end` finishes it.
const BLOB_WRITING: &str = r#"
    (import "bulkhead:plugin/blob@0.1.0" "read" (func $read (param i32 i32 i64 i32 i32)))
    (import "bulkhead:plugin/blob@0.1.0" "create" (func $create (param i32 i32 i32 i32 i32)))
    (import "bulkhead:plugin/blob@0.1.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32)))
    (import "bulkhead:plugin/blob@0.1.0" "[method]writer.write" (func $write (param i32 i32 i32 i32)))
    (import "bulkhead:plugin/blob@0.1.0" "[static]writer.finish" (func $finish (param i32 i32)))
    (import "bulkhead:plugin/blob@0.1.0" "[resource-drop]writer" (func $drop_writer (param i32)))
    (data (i32.const 4096) "a")
    (data (i32.const 4112) "text/plain")
    (data (i32.const 4128) "b")
    (global $left (mut i32) (i32.const 0))
    (global $turns (mut i32) (i32.const 0))

    ;; The answer at `at`, whose error is at `error`.
    (func $told (param $at i32) (param $error i32) (result i32)
        (if (result i32) (i32.load8_u (local.get $at))
            (then (call $digit (i32.add (i32.const 49) (i32.load8_u (local.get $error)))))
            (else (call $digit (i32.const 0)))))
    (func $open (call $create (i32.const 4096) (i32.const 1) (i32.const 4112) (i32.const 10) (i32.const 512))
        (if (i32.eqz (i32.load8_u (i32.const 512))) (then (global.set $left (i32.load (i32.const 516))))))
    (func $piece (param $bytes i32)
        (call $write (global.get $left) (i32.const 0) (local.get $bytes) (i32.const 256)))
    (func $end (result i32) (call $finish (global.get $left) (i32.const 256))
        (call $told (i32.const 256) (i32.const 264)))"#;

/// Works on blobs, as the length of the filter's value says: 1 writes and leaves the writer open; 2 counts the blobs;
/// 3 writes `a` and finishes; 4 uses the writer that an earlier call left; 5 creates two writers; 6 finishes one twice;
/// 7 creates, writes and drops 50 writers; 8 reads `a` from the last offset of all; 9 traps inside a writer; 10 writes
/// until it is refused; 11 reads what is not there; 12 uses a name of 48 KiB; 13 finishes after a refused piece.
/// Answers a count or `0`, or a letter for a storage error.
pub(crate) fn blob_user() -> Vec<u8> {
    let filter = r"
        (if (i32.eq (local.get 13) (i32.const 2)) (then
            (call $scan (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100)
                (i32.const 256))
            (return (if (result i32) (i32.load8_u (i32.const 256))
                (then (call $told (i32.const 256) (i32.const 260)))
                (else (call $digit (i32.load (i32.const 264))))))))
        (if (i32.eq (local.get 13) (i32.const 4)) (then
            (call $piece (i32.const 16))
            (return (call $told (i32.const 256) (i32.const 260)))))
        (if (i32.eq (local.get 13) (i32.const 7)) (then
            (global.set $turns (i32.const 50))
            (loop $again
                (call $open)
                (if (i32.load8_u (i32.const 512)) (then (return (call $told (i32.const 512) (i32.const 516)))))
                (call $piece (i32.const 65536))
                (call $drop_writer (global.get $left))
                (global.set $turns (i32.sub (global.get $turns) (i32.const 1)))
                (br_if $again (global.get $turns)))
            (return (call $digit (i32.const 0)))))
        (if (i32.eq (local.get 13) (i32.const 8)) (then
            (call $read (i32.const 4096) (i32.const 1) (i64.const -1) (i32.const 100) (i32.const 256))
            (return (if (result i32) (i32.load8_u (i32.const 256))
                (then (call $told (i32.const 256) (i32.const 260)))
                (else (call $digit (i32.load (i32.const 264))))))))
        (if (i32.eq (local.get 13) (i32.const 11)) (then
            (call $read (i32.const 4128) (i32.const 1) (i64.const 0) (i32.const 100) (i32.const 256))
            (return (call $told (i32.const 256) (i32.const 260)))))
        (if (i32.eq (local.get 13) (i32.const 12)) (then
            (memory.fill (i32.const 8192) (i32.const 120) (i32.const 49152))
            (call $create (i32.const 8192) (i32.const 49152) (i32.const 4112) (i32.const 10) (i32.const 512))
            (return (call $told (i32.const 512) (i32.const 516)))))
        (call $open)
        (if (i32.load8_u (i32.const 512)) (then (return (call $told (i32.const 512) (i32.const 516)))))
        (if (i32.eq (local.get 13) (i32.const 5)) (then
            (call $open)
            (return (call $told (i32.const 512) (i32.const 516)))))
        (call $piece (i32.const 65536))
        (if (i32.eq (local.get 13) (i32.const 9)) (then unreachable))
        (if (i32.eq (local.get 13) (i32.const 10)) (then
            (loop $more
                (call $piece (i32.const 131072))
                (br_if $more (i32.eqz (i32.load8_u (i32.const 256)))))
            (return (call $told (i32.const 256) (i32.const 260)))))
        (if (i32.eq (local.get 13) (i32.const 13)) (then
            (loop $more
                (call $piece (i32.const 131072))
                (br_if $more (i32.eqz (i32.load8_u (i32.const 256)))))
            (return (call $end))))
        (if (i32.eq (local.get 13) (i32.const 1)) (then (return (call $told (i32.const 256) (i32.const 260)))))
        (if (i32.eq (local.get 13) (i32.const 6)) (then (drop (call $end))))
        (call $end)";
    guest(HOOKS, &hooks_core(BLOB_WRITING, filter))
}

/// Answers the configuration; to a value of two bytes, whether the user has the permission `deals.view`; to one
/// of three, the number of the user's roles.
pub(crate) fn asker() -> Vec<u8> {
    let items = r#"
        (import "bulkhead:plugin/config@0.1.0" "get" (func $config (param i32)))
        (import "bulkhead:plugin/authz@0.1.0" "has" (func $has (param i32 i32) (result i32)))
        (import "bulkhead:plugin/authz@0.1.0" "roles" (func $roles (param i32)))
        (data (i32.const 4096) "deals.view")"#;
    let filter = "
        (if (i32.eq (local.get 13) (i32.const 2)) (then
            (return (call $digit (call $has (i32.const 4096) (i32.const 10))))))
        (if (i32.eq (local.get 13) (i32.const 3)) (then
            (call $roles (i32.const 256))
            (return (call $digit (i32.load (i32.const 260))))))
        (call $config (i32.const 40))
        (i32.store8 (i32.const 36) (i32.const 1))
        i32.const 32";
    guest(HOOKS, &hooks_core(items, filter))
}

/// Answers routes with the status in `status`, the request's own body, and a header; has lifecycle and health.
pub(crate) fn web(status: u32, header: &str) -> Vec<u8> {
    let core = format!(
        r#"(module
            (memory (export "memory") 4)
            (global $heap (mut i32) (i32.const 0x10000))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (data (i32.const 4096) "x-test")
            (data (i32.const 4112) "{header}")
            ;; Context, request: behind a pointer. The body stands at its end.
            (func (export "bulkhead:plugin/routes@0.1.0#handle") (param $args i32) (result i32)
                (i32.store (i32.const 512) (i32.const 4096))
                (i32.store (i32.const 516) (i32.const 6))
                (i32.store (i32.const 520) (i32.const 4112))
                (i32.store (i32.const 524) (i32.const {header_bytes}))
                (i32.store8 (i32.const 256) (i32.const 0))
                (i32.store16 (i32.const 260) (i32.const {status}))
                (i32.store (i32.const 264) (i32.const 512))
                (i32.store (i32.const 268) (i32.const 1))
                (i32.store (i32.const 272) (i32.load offset=100 (local.get $args)))
                (i32.store (i32.const 276) (i32.load offset=104 (local.get $args)))
                i32.const 256)
            (func $done (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) i32.const 768)
            (export "bulkhead:plugin/lifecycle@0.1.0#init" (func $done))
            (export "bulkhead:plugin/lifecycle@0.1.0#ready" (func $done))
            (export "bulkhead:plugin/lifecycle@0.1.0#shutdown" (func $done))
            (func (export "bulkhead:plugin/health@0.1.0#check")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
                (i32.store8 (i32.const 800) (i32.const 1))
                i32.const 800))"#,
        header_bytes = header.len(),
    );
    let world = "include bulkhead:plugin/routes-only@0.1.0; include bulkhead:plugin/lifecycle-only@0.1.0; \
                 include bulkhead:plugin/health-only@0.1.0;";
    guest(world, &core)
}

/// Has 20 MiB of zeros; writes `lines` log lines of `line_bytes`, then answers a text of `answer_bytes`.
pub(crate) fn mover(lines: u32, line_bytes: u32, answer_bytes: u32) -> Vec<u8> {
    let items = r#"(import "bulkhead:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#;
    let filter = format!(
        "(local $left i32) (local.set $left (i32.const {lines}))
        (block $done (loop $more
            (br_if $done (i32.eqz (local.get $left)))
            (call $write (i32.const 2) (i32.const 0x20000) (i32.const {line_bytes}) (i32.const 0) (i32.const 0))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $more)))
        (i32.store8 (i32.const 36) (i32.const 1))
        (i32.store (i32.const 40) (i32.const 0x20000))
        (i32.store (i32.const 44) (i32.const {answer_bytes}))
        i32.const 32"
    );
    let core =
        hooks_core(items, &filter).replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 330)"#);
    guest(HOOKS, &core)
}
