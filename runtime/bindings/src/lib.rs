//! The contract `bulkhead:plugin` as Rust, for the host: one trait per import, one typed handle per export.
//! Nothing is written by hand here; a crate of its own keeps the macro's time out of every other edit.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "everything",
    // What reaches the database may wait; everything else answers at once. A host's fault is a trap.
    imports: {
        "bulkhead:plugin/sql": async | trappable,
        "bulkhead:plugin/kv": async | trappable,
        "bulkhead:plugin/blob": async | trappable,
        "bulkhead:plugin/views": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    // What goes into a guest is borrowed: nothing is copied before it is copied into the guest.
    ownership: Borrowing { duplicate_if_necessary: true },
});
