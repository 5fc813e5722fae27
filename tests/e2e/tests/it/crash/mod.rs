//! `kill -9` of a host that works: nothing that it acknowledged is lost, and a restart takes up what was begun.
//! The instants are drawn at random from a fixed seed.

mod install;
mod together;
mod writes;

use std::time::Duration;

use bulkhead_model::Role;
use bulkhead_testkit::Client;
use bulkhead_testkit::binary::{Installation, Served};
use bulkhead_testkit::policies::{STANDARD, signed};
use bulkhead_testkit::tokens::token;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

/// Where kills fall.
struct Instants(TestRng);

impl Instants {
    fn new() -> Self {
        Self(TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    }

    /// A time below `most`.
    fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }
}

/// An installation with a policy and the tenant `acme`.
async fn installation() -> Installation {
    let installation = Installation::new();
    let served = installation.serve();
    let security = served.client(&token("sec", None, &[Role::Security], &[]));
    security.put_policy(&signed(1, STANDARD)).await.expect(200);
    admin(&served).create_tenant("acme").await.expect(201);
    served.kill();
    installation
}

fn admin(served: &Served) -> Client {
    served.client(&token("root", None, &[Role::SuperAdmin], &[]))
}

fn tenant_admin(served: &Served) -> Client {
    served.client(&token("admin@acme", Some("acme"), &[Role::TenantAdmin], &[]))
}

/// The audit log is whole: what a crash left of it proves itself.
async fn audit_is_whole(served: &Served) {
    let security = served.client(&token("sec", None, &[Role::Security], &[]));
    let proof = security.get("/api/v1/audit/verify").await.expect(200).json();
    assert_eq!(proof["first_broken"], json!(null), "{proof}");
}
