//! Builds the crate again when a migration is added: the embedding macro notices only changed ones.
//! It generates nothing.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
