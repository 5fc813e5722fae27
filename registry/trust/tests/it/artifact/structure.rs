//! Structural limits and features: what is too large or not understood is refused before anything compiles.
//! Sections and files stand in `artifact`.

use super::*;

/// A component around one module with `functions` copies of a function.
fn bomb(functions: u32, locals: u32, body: &[Instruction<'_>]) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    module.section(&types);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..functions {
        declared.function(0);
        let mut function = Function::new([(locals, ValType::I32)]);
        for instruction in body {
            function.instruction(instruction);
        }
        code.function(&function);
    }
    module.section(&declared).section(&code);
    let mut component = wasm_encoder::Component::new();
    component.section(&wasm_encoder::ModuleSection(&module));
    component.finish()
}

fn nested(depth: usize) -> Vec<Instruction<'static>> {
    let mut body = vec![Instruction::Loop(BlockType::Empty); depth];
    body.extend(vec![Instruction::End; depth + 1]);
    body
}

#[test]
fn compile_bombs_are_too_large_before_anything_compiles() {
    let json = json("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n");
    let packed = |component: &[u8]| with_sections(component, &[("bulkhead:manifest", &json)]);
    let end = [Instruction::End];
    let mut long = vec![Instruction::Nop; 128 << 10];
    long.push(Instruction::End);
    let modules = |count: usize| wat(&format!("(component {})", "(core module)".repeat(count)));
    let imports: String = (0..101).map(|n| format!("(import \"a:b/c{n}@1.0.0\" (instance))")).collect();
    let deep = |depth: usize| wat(&format!("(component {}{})", "(component ".repeat(depth), ")".repeat(depth)));
    let many = with_sections(&crm(), &vec![("x", &b""[..]); 4_097]);

    for (name, bytes, detail) in [
        ("functions", bomb(20_001, 0, &end), "`functions` is 20001"),
        ("locals", bomb(1, 5_001, &end), "`locals` is 5001"),
        ("nesting", bomb(1, 0, &nested(501)), "`nesting` is 501"),
        ("a long function", bomb(1, 0, &long), "`function_bytes`"),
        ("much code", bomb(70, 0, &long), "`code_bytes`"),
        ("modules", modules(33), "`modules` is 33"),
        ("imports", wat(&format!("(component {imports})")), "`imports` is 101"),
        ("sections", many, "`sections`"),
        ("components in each other", deep(9), "nest deeper"),
        (
            "components beside each other",
            wat(&format!("(component {})", "(component)".repeat(65))),
            "`components` is 65",
        ),
        ("a large file", [crm(), vec![0; 16 << 20]].concat(), "`file_bytes`"),
    ] {
        check(name, &packed(&bytes), Code::TooLarge, detail);
    }
    for (name, bytes) in [
        ("functions", bomb(20_000, 0, &end)),
        ("locals", bomb(1, 5_000, &end)),
        ("nesting", bomb(1, 0, &nested(500))),
        ("modules", modules(32)),
        ("components in each other", deep(8)),
    ] {
        assert!(read(&packed(&bytes)).is_ok(), "{name} at the limit");
    }
}

#[test]
fn a_rule_may_allow_more_and_less_than_the_default_limits() {
    let bytes = artifact();
    let small = StructuralLimits { functions: 1, imports: 1, ..StructuralLimits::DEFAULT };

    let refusals = artifact::read(&bytes, &small).unwrap_err();

    assert_eq!(refusals.iter().map(|r| r.code).collect::<Vec<_>>(), [Code::TooLarge, Code::TooLarge]);
}

#[test]
fn features_that_the_engine_does_not_have_are_refused() {
    let json = json("[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n");
    for (name, text) in [
        ("threads", "(component (core module (memory 1 1 shared)))"),
        ("gc", "(component (core module (type (struct (field i32)))))"),
        ("exceptions", "(component (core module (tag)))"),
        ("function references", "(component (core module (type $t (func)) (func (param (ref $t)))))"),
        ("error contexts", "(component (type (func (param \"x\" error-context))))"),
        ("async functions", "(component (import \"wasi:io/poll@0.2.0\" (instance (export \"f\" (func async)))))"),
        ("streams", "(component (type (stream u8)))"),
        ("fixed-length lists", "(component (type (list u8 4)))"),
    ] {
        check(name, &with_sections(&wat(text), &[("bulkhead:manifest", &json)]), Code::Malformed, "invalid component");
    }
    for (name, text) in [
        ("several memories", "(component (core module (memory 1) (memory 1)))"),
        ("simd", "(component (core module (func (drop (v128.const i64x2 0 0)))))"),
        ("tail calls", "(component (core module (func $f return_call $f)))"),
    ] {
        assert!(read(&with_sections(&wat(text), &[("bulkhead:manifest", &json)])).is_ok(), "{name}");
    }
}

#[test]
fn a_type_error_inside_is_found_without_compiling() {
    let json = json(MANIFEST);
    let bytes = wat("(component (core module (func (result i32) nop)))");

    check(
        "a type error",
        &with_sections(&bytes, &[("bulkhead:manifest", &json)]),
        Code::Malformed,
        "invalid component",
    );
}
