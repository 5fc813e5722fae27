//! Compile bombs: small components over whose compilation a compiler spends far more than over reading them. Every one is
//! valid, and none is ever run.

/// A bomb as the text of a component, by its name in [`BOMBS`].
pub type Bomb = (&'static str, fn() -> String);

/// Each of them within what some policy's rule may allow, and far above what a rule allows that says nothing.
pub const BOMBS: [Bomb; 4] = [
    ("many loops over many locals", || many_loops(20_000, 20_000)),
    ("many loops over a few live values", || live_values(20_000, 64)),
    ("blocks in each other", || nested_blocks(100, 2_000)),
    ("many functions", || many_functions(100_000, 4)),
];

/// One function with `locals` locals and `loops` loops, each of which reads one local and writes another.
pub fn many_loops(locals: usize, loops: usize) -> String {
    let last = locals.saturating_sub(1);
    let body = format!("(loop (local.set 1 (local.get {last})) (br_if 0 (local.get 0)))").repeat(loops);
    component(&format!("(func (local {}) {body})", "i32 ".repeat(locals)))
}

/// One function with `loops` loops, over each of which `live` values stay alive.
pub fn live_values(loops: usize, live: usize) -> String {
    let values: String =
        (0..live).map(|local| format!("(local.set {local} (i32.add (local.get {local}) (local.get 0)))")).collect();
    let body = "(loop (local.set 0 (i32.add (local.get 0) (local.get 1))) (br_if 0 (local.get 0)))".repeat(loops);
    component(&format!("(func (local {}) {values}{body}{values})", "i32 ".repeat(live)))
}

/// `functions` functions of `depth` blocks in each other, with a way out of each.
pub fn nested_blocks(functions: usize, depth: usize) -> String {
    let (open, close) = ("(block (br_if 0 (local.get 0))".repeat(depth), ")".repeat(depth));
    component(&format!("(func (param i32) {open}{close})").repeat(functions))
}

/// `count` functions of so many additions.
pub fn many_functions(count: usize, additions: usize) -> String {
    let body = "(local.set 0 (i32.add (local.get 0) (local.get 1)))".repeat(additions);
    component(&format!("(func (param i32 i32) {body})").repeat(count))
}

fn component(functions: &str) -> String {
    format!("(component (core module {functions}))")
}
