//! The guests of the measurements: the Rust plugin `hello`, the tiny filter of `plugins/hostile/echo.wat`, one of a
//! usual plugin's size, and those that read keys and rows. It signs and installs none.

use bulkhead_model::manifest::LocalPath;
use bulkhead_model::{Manifest, Reuse};
use bulkhead_testkit::Source;
use bulkhead_testkit::guests::{self, HELLO, hostile};
use bulkhead_trust::File;

use crate::Result;

/// Keys that one call of [`kv`] reads.
pub(crate) const KV_READS: u32 = 400;
/// Rows that one call of [`sql`] reads.
pub(crate) const SQL_READS: u32 = 200;
/// The table of [`sql`], and of the bare query beside it.
pub(crate) const ITEMS: &str =
    "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL); INSERT INTO items (id, name) VALUES (1, 'one');";
/// The read of one row by its key.
pub(crate) const GET_ITEM: &str = "SELECT name FROM items WHERE id = $1";
/// Functions of [`sized`], each about 200 bytes: together a usual Rust plugin's 120 KB.
const FUNCTIONS: usize = 600;

/// `bench.<name>` with the code of `hello`, a filter of its own hook that it leaves as it is.
pub(crate) fn rust(name: &str, reuse: Reuse) -> Source {
    named(HELLO.source(), name, reuse)
}

/// `bench.<name>` with the smallest filter, behind `hook`.
pub(crate) fn tiny(name: &str, hook: &str, reuse: Reuse) -> Source {
    guests::plain(&manifest(name, hook, reuse), hostile("echo").source().component)
}

/// `bench.<name>` whose filter traps as a panic does.
pub(crate) fn trapping(name: &str) -> Source {
    filter(name, Reuse::Never, hostile("panic").source().component)
}

/// `bench.<name>`, as large as a usual Rust plugin, a filter of its own hook that leaves its value as it is.
pub(crate) fn sized(name: &str, reuse: Reuse) -> Source {
    use std::fmt::Write as _;
    let mut functions = String::new();
    for index in 0..FUNCTIONS {
        let steps = (0..16).fold(String::new(), |mut steps, step| {
            let factor = index * 31 + step * 7 + 3;
            let line = write!(steps, "(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const {factor})) (i32.shr_u (local.get 0) (i32.const {}))))", step % 31 + 1);
            debug_assert!(line.is_ok());
            steps
        });
        functions.push_str(&format!("(func (param i32) (result i32) {steps} (local.get 0))"));
    }
    let module = hooks_module("", &functions, "(i32.const 16)", 17);
    filter(name, reuse, guests::component(&module, &[], &["hooks"]))
}

/// `bench.<name>` whose filter reads a key [`KV_READS`] times when its value is longer than ten bytes, and writes it
/// otherwise.
pub(crate) fn kv(name: &str) -> Source {
    let imports = r#"
        (import "bulkhead:plugin/kv@0.1.0" "increment" (func $increment (param i32 i32 i64 i32)))
        (import "bulkhead:plugin/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
    let body = format!(
        r#"(local $left i32)
        (if (i32.le_u (local.get 13) (i32.const 10)) (then
            (call $increment (i32.const 4096) (i32.const 5) (i64.const 1) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then unreachable))
            (return (i32.const 16))))
        (local.set $left (i32.const {KV_READS}))
        (loop $more
            (call $get (i32.const 4096) (i32.const 5) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then unreachable))
            (if (i32.eqz (i32.load8_u (i32.const 264))) (then unreachable))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 16)"#
    );
    let module = hooks_module(imports, r#"(data (i32.const 4096) "calls")"#, &body, 2);
    let component = guests::component(&module, &["kv"], &["hooks"]);
    let manifest = manifest(name, &hook(name), Reuse::Tenant) + "[capabilities]\nkv = true\n";
    guests::plain(&manifest, component)
}

/// How [`sql`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Each in a transaction of its own.
    Alone,
    /// All of a call in one.
    Within,
}

/// `bench.<name>` whose filter reads the first of [`ITEMS`] by its key [`SQL_READS`] times.
pub(crate) fn sql(name: &str, reads: Reads) -> Result<Source> {
    let imports = r#"
        (import "bulkhead:plugin/sql@0.1.0" "query" (func $query (param i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "begin" (func $begin (param i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[method]transaction.query"
            (func $within (param i32 i32 i32 i32 i32 i32)))
        (import "bulkhead:plugin/sql@0.1.0" "[resource-drop]transaction" (func $end (param i32)))"#;
    // The statement, and its one parameter: `int64(1)`.
    let items = format!(
        r#"(data (i32.const 4096) "{GET_ITEM}") (data (i32.const 8192) "\02\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00")"#
    );
    let arguments =
        format!("(i32.const 4096) (i32.const {}) (i32.const 8192) (i32.const 1) (i32.const 256)", GET_ITEM.len());
    let (begin, query, end) = match reads {
        Reads::Alone => ("", format!("(call $query {arguments})"), ""),
        Reads::Within => (
            "(call $begin (i32.const 0) (i32.const 256))
             (if (i32.load8_u (i32.const 256)) (then unreachable))
             (local.set $transaction (i32.load (i32.const 260)))",
            format!("(call $within (local.get $transaction) {arguments})"),
            "(call $end (local.get $transaction))",
        ),
    };
    // The answer is a table of one row, or the call has failed.
    let body = format!(
        r#"(local $left i32) (local $transaction i32)
        {begin}
        (local.set $left (i32.const {SQL_READS}))
        (loop $more
            {query}
            (if (i32.load8_u (i32.const 256)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 276)) (i32.const 1)) (then unreachable))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        {end}
        (i32.const 16)"#
    );
    let component = guests::component(&hooks_module(imports, &items, &body, 2), &["sql"], &["hooks"]);
    migrating(guests::plain(&manifest(name, &hook(name), Reuse::Tenant), component), &[ITEMS])
}

/// The same plugin with tables: migrations of these texts, in order.
pub(crate) fn migrating(source: Source, steps: &[&str]) -> Result<Source> {
    let mut source = source.edit(|manifest| {
        manifest.capabilities.sql = true;
        manifest.migrations = Some(LocalPath { path: None });
    });
    for (number, step) in (1..).zip(steps) {
        let file = File { media_type: "application/sql".to_owned(), bytes: step.as_bytes().to_vec() };
        source.migrations.insert(&format!("{number:04}_step.sql"), file).map_err(|refusal| format!("{refusal:?}"))?;
    }
    Ok(source)
}

fn filter(name: &str, reuse: Reuse, component: Vec<u8>) -> Source {
    guests::plain(&manifest(name, &hook(name), reuse), component)
}

fn manifest(name: &str, hook: &str, reuse: Reuse) -> String {
    let reuse = match reuse {
        Reuse::Never => "never",
        Reuse::Tenant => "tenant",
    };
    format!(
        "[plugin]\nid = \"bench.{name}\"\nversion = \"0.1.0\"\nname = \"{name}\"\n\
        [[hooks]]\nname = \"{hook}\"\nkind = \"filter\"\n[limits]\nreuse = \"{reuse}\"\n"
    )
}

/// The same plugin as `bench.<name>`, behind its own hook.
pub(crate) fn named(source: Source, name: &str, reuse: Reuse) -> Source {
    source.id(&format!("bench.{name}")).edit(|manifest: &mut Manifest| {
        manifest.limits.reuse = reuse;
        if let (Some(first), Ok(name)) = (manifest.hooks.first_mut(), hook(name).parse()) {
            first.name = name;
        }
    })
}

/// `bench.<name>`, hyphens as underscores: the hook of a plugin that has one to itself.
pub(crate) fn hook(name: &str) -> String {
    format!("bench.{}", name.replace('-', "_"))
}

/// A core module that exports hooks; parameter 13 of the filter is the length of its value.
fn hooks_module(imports: &str, items: &str, filter: &str, pages: u32) -> String {
    format!(
        r#"(module {imports}
            (memory (export "memory") {pages})
            (global $heap (mut i32) (i32.const 0x10000))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (if (i32.gt_u (local.get $at) (i32.const 0x1c000)) (then (local.set $at (i32.const 0x10000))))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            {items}
            (func (export "bulkhead:plugin/hooks@0.1.0#apply-filter")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (result i32)
                {filter})
            (func (export "bulkhead:plugin/hooks@0.1.0#on-action")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
                (i32.const 16)))"#
    )
}
